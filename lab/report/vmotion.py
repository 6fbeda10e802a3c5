"""A vMotion as people read it, and as JSON has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exposed:
    """A capture point where the guest's memory was read as plain bytes: `count` packets with one of its markers."""

    box: str
    node: str
    interface: str
    point: str
    vlans: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class MigrationReport:
    """`done`: what the daemon says of it (`lab.agents.migration.Moved`); `exposed`: None when nothing was captured, or
    the guest had no marker in its memory to look for."""

    done: dict[str, Any]
    exposed: tuple[Exposed, ...] | None

    def as_json(self) -> dict[str, Any]:
        exposed = None if self.exposed is None else [{**vars(e), "vlans": list(e.vlans)} for e in self.exposed]
        return {"schema": 1, **self.done, "in_clear_at": exposed}


def as_text(report: MigrationReport) -> Iterator[str]:
    done = report.done
    copied = sum(r["pages"] for r in done["rounds"])
    over = ", ".join(f"{a} to {b}" for a, b in done["adapters"])
    yield f"{done['vm']} is on {done['target']} (was on {done['source']}), {done['seconds']:.1f} s"
    how = "encrypted" if done["encrypted"] else "in clear"
    rounds = len(done["rounds"])
    pages = "1 page" if copied == 1 else f"{copied} pages"
    yield f"  memory: {pages}, {done['bytes']} bytes in {rounds} rounds over TCP 8000, {how}, {over}"
    if done["latency_aware"]:
        yield "  latency-aware mode: 4 ms or more there and back (VMO-10)"
    yield f"  stunned: {done['stunned_ms']:g} ms, its ports moved in {done['switch_over_ms']:g} ms"
    yield f"  {_reach(done['reach'])}"
    yield from _exposure(report)


def _reach(reach: dict[str, Any] | None) -> str:
    if reach is None:
        return "out of reach: not measured, nobody else is in its VLAN"
    of = f"of {reach['sent']} frames from {reach['from']} ({reach['rate']}/s)"
    if not reach["received"]:
        return f"out of reach: none {of} came, before or after"
    if reach["unheard"] > reach["rate"]:
        return (
            f"out of reach: still, after {reach['unheard'] / reach['rate']:.1f} s; {reach['unheard']} {of} did not come"
        )
    return f"out of reach: {reach['gap_ms']:g} ms, {reach['missing']} {of} lost"


def _exposure(report: MigrationReport) -> Iterator[str]:
    if report.exposed is None:
        yield "  its memory in clear: not looked for (vlab guest write-memory puts a marker there to look for)"
    elif not report.exposed:
        yield "  its memory in clear: nowhere"
    else:
        yield "  its memory in clear at:"
        for e in report.exposed:
            tags = f" VLAN {'/'.join(map(str, e.vlans))}" if e.vlans else ""
            yield f"    {e.box}:{e.interface} {e.point}{tags} ({e.count} packets)"
