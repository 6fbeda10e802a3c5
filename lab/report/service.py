"""A vmkernel service as people read it, and as JSON has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lab.report.clear import ClearReport
from lab.topology.services import Service


def as_text(report: ClearReport) -> Iterator[str]:
    done = report.done
    over = ", ".join(dict.fromkeys(_part(part) for part in done["parts"]))
    yield f"{done['sender']} -> {done['receiver']}: {done['service']}, {over}; {done['bytes']} bytes of data"
    by = f" by the gateway {done['gateway']}" if done["gateway"] else ""
    whose = f", for {done['vm']}, whose vNIC sends nothing of it" if done["vm"] else ""
    yield f"  {done['source']} -> {done['destination']}{by}{whose}"
    yield from report.clear_lines("its data")
    yield f"  its token: {done['token']}"


def _part(part: dict[str, Any]) -> str:
    return f"{part['protocol'].upper()} {part['port']} {'TLS' if part['sealed'] else 'in clear'}"


COLUMNS = ("service", "ports", "on the wire", "by the adapter for", "what")


def rows(known: Iterable[Service]) -> list[list[str]]:
    """For a table of what there is."""
    return [_row(service) for service in known]


def _row(service: Service) -> list[str]:
    where = " or ".join(service.adapters) or "the routing table says"
    return [service.name, ", ".join(service.ports), "TLS" if service.sealed else "in clear", where, service.what]


def listed(known: Iterable[Service]) -> list[dict[str, Any]]:
    return [
        {
            "service": service.name,
            "what": service.what,
            "ports": list(service.ports),
            "sealed": service.sealed,
            "adapters": list(service.adapters),
            "from": "host" if service.from_host else "anybody",
            "to": "host" if service.to_host or not service.from_host else "server",
        }
        for service in known
    ]
