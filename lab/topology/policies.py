"""Policies that a switch hands down to its port groups and those to their ports: VLAN, security, teaming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.model import VLAN_MAX, Security, Tagging, Teaming, VlanPolicy
from lab.topology.nodes import Path
from lab.topology.reading import Reading
from lab.topology.schema import SecuritySpec, TeamingSpec


def vlan(reading: Reading, path: Path, written: Any, distributed: bool) -> VlanPolicy:
    if isinstance(written, tuple):
        if not distributed:
            hint = "4095 for all VLANs, or a distributed switch"
            reading.wrong(path, "a standard switch has no VLAN ranges", hint)
        return VlanPolicy(Tagging.VGT, ranges=written)
    if written == 4095:
        if distributed:
            reading.wrong(path, "a distributed switch has no VLAN 4095", "write a range, such as [0-4094]")
        return VlanPolicy(Tagging.VGT, ranges=((0, VLAN_MAX),))
    return VlanPolicy(Tagging.VST, written) if written else VlanPolicy(Tagging.EST)


def security(base: Security, spec: SecuritySpec) -> Security:
    def said(value: str | None, default: bool) -> bool:
        return default if value is None else value == "accept"

    return Security(
        said(spec.promiscuous, base.promiscuous),
        said(spec.mac_changes, base.mac_changes),
        said(spec.forged_transmits, base.forged_transmits),
    )


def teaming(reading: Reading, path: Path, base: Teaming, spec: TeamingSpec, uplinks: Sequence[str] | None) -> Teaming:
    """`uplinks` are those of the switch; None where its own list is wrong."""
    _check_order(reading, path, spec, uplinks)
    standby = base.standby if spec.standby is None else tuple(spec.standby)
    active = tuple(u for u in base.active if u not in standby) if spec.active is None else tuple(spec.active)
    if spec.standby is None:
        standby = tuple(u for u in standby if u not in active)
    failback = base.failback if spec.failback is None else spec.failback
    return Teaming(spec.policy or base.policy, active, standby, failback)


def _check_order(reading: Reading, path: Path, spec: TeamingSpec, uplinks: Sequence[str] | None) -> None:
    listed = [("active", n, u) for n, u in enumerate(spec.active or ())]
    listed += [("standby", n, u) for n, u in enumerate(spec.standby or ())]
    seen: set[str] = set()
    for which, n, uplink in listed:
        at = (*path, which, n)
        if uplink in seen:
            reading.wrong(at, f"{uplink!r} is listed twice", "an uplink is active, standby or unused")
        elif uplinks == []:
            reading.wrong(at, f"no uplink {uplink!r}", "this switch has none")
        else:
            reading.known(at, uplink, uplinks, "uplink of this switch")
        seen.add(uplink)
