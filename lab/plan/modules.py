"""An interconnect module of a chassis: a pSwitch whose networks have one uplink at a time (docs/chassis.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lab.chassis import NO_VLAN
from lab.frame import DropReason
from lab.model import PhysicalPort, PhysicalSwitch, Ranges, in_ranges
from lab.plan.tables import drop
from lab.plan.types import Row
from lab.plan.vlans import PRIORITY_TAGGED, UNTAGGED, tag_matches
from lab.state import State


def waiting(switch: PhysicalSwitch, label: str, config: PhysicalPort, state: State) -> Ranges:
    """VLANs of the networks that this uplink stands by for (PVN-6), 0 where frames without a tag are of such a network
    too. None at a port to a blade, or of a pSwitch."""
    found: list[tuple[int, int]] = []
    for network in switch.module.networks.values() if switch.module else ():
        lit = [uplink for uplink in network.uplinks if (switch.name, uplink) not in state.links_down]
        if label in network.uplinks and lit and lit[0] != label:
            found += network.vlans
    if found and config.native is not None and (config.native == NO_VLAN or in_ranges(config.native, found)):
        found.append((0, 0))
    return tuple(sorted(found))


def without(config: PhysicalPort, vlans: Ranges) -> PhysicalPort:
    """The port when it has no part in these VLANs."""
    if not vlans:
        return config
    return replace(config, trunk=_less(config.trunk, vlans), native=None if (0, 0) in vlans else config.native)


def _less(ranges: Ranges, vlans: Ranges) -> Ranges:
    left = list(ranges)
    for low, high in vlans:
        left = [
            piece for a, b in left for piece in ((a, min(b, low - 1)), (max(a, high + 1), b)) if piece[0] <= piece[1]
        ]
    return tuple(left)


def standby(here: str, number: int, vlans: Ranges, table: int) -> Iterator[Row]:
    """What an uplink that stands by takes nothing in for, in front of the rows of what it has."""
    for match in (UNTAGGED, PRIORITY_TAGGED) if (0, 0) in vlans else ():
        yield drop(table, 110, f"{here},{match}", DropReason.MODULE_STANDBY, "PVN-6", number)
    for match in sorted({*tag_matches(vlans)}):
        yield drop(table, 55, f"{here},{match}", DropReason.MODULE_STANDBY, "PVN-6", number)
