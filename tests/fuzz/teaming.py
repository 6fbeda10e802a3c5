"""Teaming drawn: policies, LAGs, port channels, and what teaming has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from lab.model import PortKey, Topology
from lab.state import State
from lab.teaming import settled
from lab.topology.schema import LagHash

if TYPE_CHECKING:
    from .strategies import Dice

Section = dict[str, Any]
PINNING = ("loadbalance_srcid", "failover_explicit")
HASHING = ("loadbalance_srcmac", "loadbalance_ip")
CHANNEL_HASHES = ("src-dst-ip", "src-mac", "dst-mac", "src-dst-mac", "src-ip", "dst-ip", "src-dst-port")


def draw_team(dice: Dice, uplinks: Sequence[str], distributed: bool) -> Section:
    """Each uplink active, standby or unused, in any order; seldom none."""
    role = {uplink: dice.pick(("active", "active", "standby", "unused")) for uplink in uplinks}
    if not {"active", "standby"} & {*role.values()} and dice.chance(85):
        role[uplinks[0]] = "active"
    order = [*uplinks[::-1]] if dice.chance(50) else [*uplinks]
    drawn: Section = {kind: [u for u in order if role[u] == kind] for kind in ("active", "standby")}
    if dice.chance(25):
        drawn["failback"] = dice.chance(50)
    if dice.chance(70):
        drawn["policy"] = dice.pick(
            (*PINNING, *HASHING, *HASHING, *(["loadbalance_loadbased"] * 4 if distributed else []))
        )
    if dice.chance(30):
        drawn["detection"] = "beacon"
    return drawn


def draw_lag(dice: Dice, uplinks: dict[str, list[str]]) -> Section | None:
    """Takes the last pNICs of hosts that have several for it; None where there are none."""
    members: dict[str, list[str]] = {}
    for host, pnics in uplinks.items():
        if len(pnics) > 1 and dice.chance(80):
            kept = dice.number(0, len(pnics) - 1)
            members[host], uplinks[host] = pnics[kept:], pnics[:kept]
    if not members:
        return None
    return {"uplinks": members, "hash": dice.pick(get_args(LagHash)), "mode": dice.pick(("active", "passive"))}


def draw_channels(dice: Dice, doc: Section, wires: bool) -> None:
    """pNICs of one host in one pSwitch, configured alike, become a port channel."""
    for number, host in enumerate(doc["hosts"].values(), start=1):
        by_switch: dict[str, list[Section]] = {}
        for pnic in host["uplinks"].values():
            by_switch.setdefault(pnic["switch"], []).append(pnic)
        for members in by_switch.values():
            if dice.chance(45 if len(members) > 1 else 8):
                said: Section = {"channel": number}
                if not wires and dice.chance(50):
                    said["lacp"] = dice.pick(("active", "passive"))
                first = dict(members[0])
                for member in members:
                    member.clear()
                    member.update({**first, **said})
    for switch in doc["physical_switches"].values():
        if dice.chance(50):
            switch["channel_hash"] = dice.pick(CHANNEL_HASHES)


def with_seen(dice: Dice, topology: Topology, state: State) -> State:
    """What beacons, counters, LACP and people have brought about; and what teaming makes of it."""
    uplinks = [(part, uplink) for part in topology.host_switches.values() for uplink in part.uplinks]
    keys: list[PortKey] = [(part.host, uplink) for part, uplink in uplinks]
    lags = [(part.host, pnic) for part in topology.host_switches.values() for pnic in sorted(part.lag_members)]
    wired = [pnic for host in topology.hosts.values() for pnic in host.pnics.values()]
    return settled(
        topology,
        replace(
            state,
            beacons_lost=frozenset(dice.some(keys, 8)),
            beacons_unsure=frozenset((p.host, p.name) for p in topology.host_switches.values() if dice.chance(15)),
            unstable=frozenset(dice.some(keys, 3)),
            settling=frozenset(dice.some(keys, 6)),
            lag_members=frozenset(dice.some(lags, 80)),
            channel_members=frozenset((p.switch, p.far_port) for p in wired if p.port.lacp and dice.chance(75)),
            blocked=frozenset((p.switch, p.far_port) for p in wired if dice.chance(4)),
            placed=MappingProxyType(dict(_placed(dice, topology))),
            deaf=frozenset((p.switch, p.far_port) for p in wired if dice.chance(4)),
        ),
    )


def _placed(dice: Dice, topology: Topology) -> Iterator[tuple[PortKey, str]]:
    for part in topology.host_switches.values():
        for port in part.ports:
            if port.policy == "loadbalance_loadbased" and port.active and dice.chance(75):
                yield (part.host, port.name), dice.pick(port.active)
