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


def teaming(
    reading: Reading,
    path: Path,
    base: Teaming,
    spec: TeamingSpec,
    uplinks: Sequence[str] | None,
    lags: Sequence[str] | None = None,
) -> Teaming:
    """`uplinks` are those of the switch, LAGs among them; None where its own list is wrong. `lags`: those that are
    LAGs; None for a standard switch."""
    _check_order(reading, path, spec, uplinks)
    _check_lags(reading, path, spec, lags or ())
    if spec.policy == "loadbalance_loadbased" and lags is None:
        hint = "use a distributed switch"
        reading.wrong((*path, "policy"), "a standard switch has no Load-Based Teaming", hint)
    standby = base.standby if spec.standby is None else tuple(spec.standby)
    active = tuple(u for u in base.active if u not in standby) if spec.active is None else tuple(spec.active)
    if spec.standby is None:
        standby = tuple(u for u in standby if u not in active)
    return Teaming(
        policy=spec.policy or base.policy,
        active=active,
        standby=standby,
        failback=_failback(reading, path, base, spec),
        detection=spec.detection or base.detection,
        notify=base.notify if spec.notify_switches is None else spec.notify_switches,
    )


def _failback(reading: Reading, path: Path, base: Teaming, spec: TeamingSpec) -> bool:
    """The API says it the other way round: in rolling order, what is in use stays in use (TEAM-F-2)."""
    if spec.rolling_order is None:
        return base.failback if spec.failback is None else spec.failback
    if spec.failback is spec.rolling_order:
        said = str(spec.failback).lower()
        what = f"rolling_order {said} and failback {said} contradict each other: one is the other turned round"
        reading.wrong((*path, "rolling_order"), what, "leave one of them out", key=True)
    return not spec.rolling_order


def _check_lags(reading: Reading, path: Path, spec: TeamingSpec, lags: Sequence[str]) -> None:
    """One LAG is active alone, or none is (LACP-5)."""
    active = spec.active or []
    for n, uplink in enumerate(spec.standby or ()):
        if uplink in lags:
            reading.wrong((*path, "standby", n), f"{uplink} is a LAG and cannot be standby", "active: [LAG] alone")
    for n, uplink in enumerate(active):
        if uplink in lags and len(active) > 1:
            what = f"{uplink} is a LAG and cannot be active beside other uplinks"
            reading.wrong((*path, "active", n), what, f"active: [{uplink}] alone")
    if active and active[0] in lags and spec.standby:
        reading.wrong((*path, "standby"), f"no standby beside the LAG {active[0]}", "leave it out")


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
