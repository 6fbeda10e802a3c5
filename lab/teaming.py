"""Which uplinks a host's ports send on: a pure function of the topology and of what has been seen (docs/teaming.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType

from lab.model import ClientPort, HostSwitch, PortKey, Topology
from lab.state import State

HASHED = frozenset({"loadbalance_srcmac", "loadbalance_ip"})


def initial_state(topology: Topology) -> State:
    """All links up, every client port on the uplinks that its policy gives, nothing learned; no LACP is up yet."""
    return settled(topology, State())


def with_links_down(topology: Topology, state: State, down: Iterable[PortKey]) -> State:
    """The same lab with exactly these ports without carrier; teaming answers as TEAM-F-1, F-2 and F-6 say."""
    return settled(topology, replace(state, links_down=frozenset(down)))


def settled(topology: Topology, state: State) -> State:
    """`state` with `uplink_of`, `spread` and `copied` as they must be; placements on unusable uplinks are forgotten."""
    placed = _still_good(topology, state)
    uplink_of: dict[PortKey, str | None] = {}
    spread: dict[PortKey, tuple[str, ...]] = {}
    copied: dict[PortKey, tuple[str, ...]] = {}
    state = replace(state, placed=MappingProxyType(placed))
    for part in topology.host_switches.values():
        for port in part.ports:
            key = (part.host, port.name)
            if port.lag is not None or port.policy in HASHED:
                spread[key] = _spread(part, port, state)
                uplink_of[key] = next(iter(spread[key]), None)
            else:
                uplink_of[key] = _pinned(part, port, state)
            probing = port.detection == "beacon" and port.lag is None  # a LAG does not probe (LACP-5)
            if probing and (part.host, part.name) in state.beacons_unsure:
                lit = [u for u in (*port.active, *port.standby) if _has_link(part, u, state)]
                if len(lit) > 1:
                    copied[key] = tuple(lit)
    return replace(
        state,
        uplink_of=MappingProxyType(uplink_of),
        spread=MappingProxyType(spread),
        copied=MappingProxyType(copied),
    )


def _still_good(topology: Topology, state: State) -> dict[PortKey, str]:
    """The placements of Load-Based Teaming that hold."""
    if not state.placed:
        return {}
    ports = {(part.host, p.name): (part, p) for part in topology.host_switches.values() for p in part.ports}
    good = {}
    for key, uplink in state.placed.items():
        if key in ports:
            part, port = ports[key]
            balanced = port.policy == "loadbalance_loadbased" and uplink in port.active
            if balanced and _usable(part, port, [uplink], state):
                good[key] = uplink
    return good


def _has_link(part: HostSwitch, uplink: str, state: State) -> bool:
    key = (part.host, uplink)
    return key not in state.links_down and key not in state.unstable


def _usable(part: HostSwitch, port: ClientPort, uplinks: Iterable[str], state: State) -> list[str]:
    """Those with a stable carrier that beacons, where the port believes them, have not declared dead."""
    dead = state.beacons_lost if port.detection == "beacon" else frozenset()
    return [u for u in uplinks if _has_link(part, u, state) and (part.host, u) not in dead]


def _candidates(part: HostSwitch, port: ClientPort, state: State) -> list[str]:
    """Usable active ones, or else usable standby ones; those that settle only when there is no other."""
    active, standby = (_usable(part, port, names, state) for names in (port.active, port.standby))
    ready = [[u for u in names if (part.host, u) not in state.settling] for names in (active, standby)]
    return next((names for names in (*ready, active, standby) if names), [])


def _spread(part: HostSwitch, port: ClientPort, state: State) -> tuple[str, ...]:
    """In the order that the hash counts them. With failback off, the standby list stays while one of it is usable."""
    if port.lag is not None:
        return tuple(u for u in port.active if (part.host, u) in state.lag_members and _has_link(part, u, state))
    former = state.spread.get((part.host, port.name), ())
    if not port.failback and former and set(former) <= set(port.standby):
        staying = _usable(part, port, port.standby, state)
        if staying:
            return tuple(staying)
    return tuple(_candidates(part, port, state))


def _pinned(part: HostSwitch, port: ClientPort, state: State) -> str | None:
    """One uplink. No move while the present one is as good as any, and with failback off while it is usable at all."""
    key = (part.host, port.name)
    present, candidates = state.uplink_of.get(key), _candidates(part, port, state)
    stays = present is not None and present in _usable(part, port, (*port.active, *port.standby), state)
    placed = state.placed.get(key)
    if stays and not port.failback:
        # A placement by load is no failback: without this the port would be moved again every window, and stay.
        return placed if placed in candidates else present
    best = _home(port, placed, candidates)
    if best is not None:
        return best
    if stays and present in candidates:
        return present
    return _by_number(port, candidates) if candidates else None


def _home(port: ClientPort, placed: str | None, candidates: Sequence[str]) -> str | None:
    """The uplink that the port is to be on by its policy, where that is a candidate."""
    if port.policy == "failover_explicit":
        return next(iter(candidates), None)
    home = placed or (_by_number(port, port.active) if port.active else None)
    return home if home in candidates else None


def _by_number(port: ClientPort, uplinks: Sequence[str]) -> str:
    return uplinks[(port.number - 1) % len(uplinks)]
