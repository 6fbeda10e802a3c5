"""What a host tells of: links, failovers, guests that ask for what policy refuses (SEC-14), changes of policy."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.model import ClientPort, PortKey, Topology
from lab.state import State

KEPT = 100_000
"""Events that are kept; of a guest that changes without end the oldest go."""


@dataclass(frozen=True)
class Moment:
    """The lab as it is or was."""

    topology: Topology
    state: State


class EventLog:
    """Events by number, from 0, with the lab's own time: `nominal` seconds since it began. Not for several threads at
    once."""

    def __init__(self, speedup: float = 1.0) -> None:
        self._events: deque[dict[str, object]] = deque(maxlen=KEPT)
        self._next = 0
        self._speedup = speedup
        self._began = time.monotonic()

    def add(self, kind: str, **facts: object) -> None:
        nominal = round((time.monotonic() - self._began) * self._speedup, 3)
        self._events.append(
            {"number": self._next, "time_ns": time.time_ns(), "nominal": nominal, "event": kind, **facts}
        )
        self._next += 1

    def since(self, number: int) -> list[dict[str, object]]:
        """Those with this number and later, as far as they are kept."""
        missing = self._next - number
        return list(self._events)[-missing:] if missing > 0 else []


def events_between(before: Moment, after: Moment) -> Iterator[tuple[str, dict[str, object]]]:
    """(kind, facts) of everything that is different in a way that a host tells of."""
    yield from _links(before.state, after.state)
    for kind in ("discarding", "blocked", "deaf", "unstable"):
        was, now = getattr(before.state, kind), getattr(after.state, kind)
        for box, port in sorted(was ^ now):
            yield kind, {"port": f"{box}:{port}", "on": (box, port) in now}
    yield from _probing(before.state, after.state)
    yield from _macs(before, after)
    yield from _promiscuous(before, after)


def _links(before: State, after: State) -> Iterator[tuple[str, dict[str, object]]]:
    for box, port in sorted(before.links_down ^ after.links_down):
        yield "link", {"port": f"{box}:{port}", "up": (box, port) not in after.links_down}
    if before.uplink_of is after.uplink_of:
        return
    for (box, port), uplink in after.uplink_of.items():
        if (box, port) not in before.uplink_of:
            continue  # vMotion has brought it here, which is told by itself
        was = before.uplink_of[box, port]
        if uplink != was:
            placed = after.placed.get((box, port))
            kind = "lbt" if placed == uplink != before.placed.get((box, port)) else "failover"
            yield kind, {"port": f"{box}:{port}", "uplink": uplink, "was": was}


def _probing(before: State, after: State) -> Iterator[tuple[str, dict[str, object]]]:
    """What beacons (BCN-6, BCN-7) and LACP have found."""
    for host, uplink in sorted(before.beacons_lost ^ after.beacons_lost):
        yield "beacon", {"port": f"{host}:{uplink}", "heard": (host, uplink) not in after.beacons_lost}
    for host, switch in sorted(before.beacons_unsure ^ after.beacons_unsure):
        yield "shotgun", {"switch": f"{host}:{switch}", "on": (host, switch) in after.beacons_unsure}
    for kind in ("lag_members", "channel_members"):
        was, now = getattr(before, kind), getattr(after, kind)
        for box, port in sorted(was ^ now):
            yield "lacp", {"port": f"{box}:{port}", "up": (box, port) in now}


def _clients(topology: Topology, keys: frozenset[PortKey]) -> Mapping[PortKey, ClientPort]:
    parts = topology.host_switches.values() if keys else ()
    found = (((part.host, port.name), port) for part in parts for port in part.ports)
    return {key: port for key, port in found if key in keys}


def _violation(port: ClientPort, request: str) -> str:
    return (
        f"L2Sec_EnforcePortCompliance: client {port.nic.label} requested {request} on port {port.number}, "
        "disallowed by vswitch policy"
    )


def _macs(before: Moment, after: Moment) -> Iterator[tuple[str, dict[str, object]]]:
    keys = frozenset((*before.state.macs, *after.state.macs))
    were, are = _clients(before.topology, keys), _clients(after.topology, keys)
    for key, port in ((key, port) for key, port in are.items() if key in were):
        mac, allowed = after.state.macs.get(key, port.nic.mac), _mac_allowed(after.state, key, port)
        old = (before.state.macs.get(key, port.nic.mac), _mac_allowed(before.state, key, were[key]))
        if (mac, allowed) == old:
            continue
        facts = {"port": f"{key[0]}:{key[1]}", "mac": mac, "allowed": allowed}
        if not allowed:
            facts["message"] = _violation(port, f"mac address change to {mac}")
        yield "mac", facts


def _mac_allowed(state: State, key: PortKey, port: ClientPort) -> bool:
    return port.security.mac_changes or key not in state.macs


def _promiscuous(before: Moment, after: Moment) -> Iterator[tuple[str, dict[str, object]]]:
    keys = before.state.promiscuous | after.state.promiscuous
    were, are = _clients(before.topology, keys), _clients(after.topology, keys)
    for key, port in ((key, port) for key, port in are.items() if key in were):
        on, allowed = key in after.state.promiscuous, port.security.promiscuous
        was_on, was_allowed = key in before.state.promiscuous, were[key].security.promiscuous
        if on == was_on and (allowed == was_allowed or not on):
            continue
        facts: dict[str, object] = {"port": f"{key[0]}:{key[1]}", "on": on, "allowed": allowed or not on}
        if on and not allowed:
            facts["message"] = _violation(port, "promiscuous mode")
        yield "promiscuous", facts
