"""Network I/O Control as measured beside what it should give: values in, values and text out.

What a type wants cannot be seen, only that it wants more than it gets: its queue drops frames, or is never empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from lab.model import Allocation, DistributedSwitch, NetworkIoControl, Topology
from lab.nioc import Sender, rates

TOLERANCE = 0.03
"""Of the link."""
BUSY_IDLE = 0.10
"""With less of the machine idle, a difference may be the machine's."""
LIVELY = 0.01
"""Of the link: less is no traffic."""
ALWAYS = 0.9
"""A queue that has frames waiting at more looks than this is never empty."""
LINK = "link"


class Verdict(StrEnum):
    AGREES = "as it should be"
    DIFFERS = "differs"
    IDLE = "idle"
    NO_CONTENTION = "could not tell: nobody wants more than it gets"
    BUSY = "could not tell: this machine was too busy"


@dataclass(frozen=True)
class Line:
    """One class of a pNIC; rates in bits/s as emulated. `wants_more`: it offered more than it got."""

    name: str
    shares: int
    reservation: float
    limit: float
    wants_more: bool
    oracle: float
    measured: float
    level: int = 0


@dataclass(frozen=True)
class Judged:
    """One pNIC."""

    host: str
    pnic: str
    capacity: float
    lines: tuple[Line, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Quota:
    """A pool of one's own of version 3: bits/s, nominal, and how much of it vNICs reserve."""

    switch: str
    pool: str
    quota: int
    taken: int


def quotas(topology: Topology) -> list[Quota]:
    """Of all switches, in file order."""
    return [
        Quota(dvs.name, pool, quota.bits, _taken(topology, dvs, pool))
        for dvs in topology.distributed_switches.values()
        if dvs.network_io_control is not None
        for pool, quota in dvs.network_io_control.quotas.items()
    ]


def _taken(topology: Topology, dvs: DistributedSwitch, pool: str) -> int:
    groups = {name for name, group in dvs.port_groups.items() if group.network_pool == pool}
    nics = (nic for nic in topology.vnics if nic.switch == dvs.name and nic.port_group in groups)
    return sum(nic.allocation.reservation.bits for nic in nics if nic.allocation is not None)


def judge(topology: Topology, measured: Mapping[str, Any]) -> list[Judged]:
    """`measured` is the daemon's answer."""
    return [_judged(topology, pnic, measured["seconds"], measured["idle"]) for pnic in measured["pnics"]]


def _judged(topology: Topology, pnic: Mapping[str, Any], seconds: float, idle: float) -> Judged:
    capacity = float(pnic["capacity"])
    control = _control(topology, pnic["host"], pnic["pnic"])
    lines = _lines(pnic["classes"], control, capacity, topology, seconds)
    return Judged(pnic["host"], pnic["pnic"], capacity, tuple(lines), _verdict(lines, capacity, idle))


def _control(topology: Topology, host: str, pnic: str) -> NetworkIoControl:
    for dvs in topology.distributed_switches.values():
        if dvs.network_io_control is not None and pnic in dvs.pnics(host):
            return dvs.network_io_control
    raise KeyError(pnic)


def _lines(
    classes: Sequence[Mapping[str, Any]], control: NetworkIoControl, capacity: float, topology: Topology, seconds: float
) -> list[Line]:
    top = next(c["minor"] for c in classes if c["label"] == LINK)
    types = [c for c in classes if c["parent"] == top]
    found = []
    of_types = _level(types, classes, control, capacity, topology, seconds)
    for kind, line in zip(types, of_types, strict=True):
        found.append(line)
        below = [c for c in classes if c["parent"] == kind["minor"]]
        found += _level(below, classes, control, line.oracle, topology, seconds, 1)
    return found


def _level(
    sisters: Sequence[Mapping[str, Any]],
    classes: Sequence[Mapping[str, Any]],
    control: NetworkIoControl,
    capacity: float,
    topology: Topology,
    seconds: float,
    level: int = 0,
) -> list[Line]:
    """Classes that share one capacity."""
    rate = {c["label"]: c["bytes"] * 8 / seconds for c in sisters}
    more = {c["label"]: any(map(_wants_more, _leaves(c, classes))) for c in sisters}
    senders = {
        c["label"]: Sender(
            math.inf if more[c["label"]] else rate[c["label"]],
            c["shares"],
            _reserved(topology, control, c["label"]) * topology.speed_scale,
            c["limit"] if c["limit"] < capacity else math.inf,
        )
        for c in sisters
    }
    oracle = rates(capacity, senders)
    return [
        Line(name, s.shares, s.reservation, s.limit, more[name], oracle[name], rate[name], level)
        for name, s in senders.items()
    ]


def _leaves(one: Mapping[str, Any], classes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [c for c in classes if c["parent"] == one["minor"]] or [one]


def _wants_more(leaf: Mapping[str, Any]) -> bool:
    return bool(leaf["dropped"] > 0 or leaf["waiting"] > ALWAYS)


def _reserved(topology: Topology, control: NetworkIoControl, name: str) -> float:
    known = control.types.get(name) or control.pools.get(name)
    if known is None:
        nics = {nic.label: nic.allocation for nic in topology.vnics}
        known = nics.get(name) or Allocation()
    return known.reservation.bits


def _verdict(lines: Sequence[Line], capacity: float, idle: float) -> Verdict:
    if sum(line.measured for line in lines if not line.level) < LIVELY * capacity:
        return Verdict.IDLE
    if not any(line.wants_more for line in lines):
        return Verdict.NO_CONTENTION
    if all(abs(line.measured - line.oracle) <= TOLERANCE * capacity for line in lines):
        return Verdict.AGREES
    return Verdict.BUSY if idle < BUSY_IDLE else Verdict.DIFFERS


def exit_code(judged: Sequence[Judged]) -> int:
    """0 when every pNIC that has traffic is as it should be, 1 when one differs, 6 when one, or all, could not be
    judged."""
    found = {one.verdict for one in judged}
    if Verdict.DIFFERS in found:
        return 1
    return 0 if Verdict.AGREES in found and found <= {Verdict.AGREES, Verdict.IDLE} else 6


def as_json(judged: Sequence[Judged], measured: Mapping[str, Any], topology: Topology) -> dict[str, Any]:
    """Rates in bits/s, nominal."""
    scale = topology.speed_scale
    return {
        "schema": 1, "seconds": measured["seconds"], "idle": measured["idle"], "speed_scale": scale,
        "pnics": [
            {
                "host": one.host, "pnic": one.pnic, "capacity": one.capacity / scale,
                "verdict": one.verdict.name.lower(),
                "types": [
                    {
                        "type": line.name, "shares": line.shares, "reservation": line.reservation / scale,
                        "limit": None if math.isinf(line.limit) else line.limit / scale, "wants_more": line.wants_more,
                        "oracle": line.oracle / scale, "measured": line.measured / scale,
                        "difference": (line.measured - line.oracle) / one.capacity,
                    }
                    for line in one.lines
                ],
            }
            for one in judged
        ],
        "pools": [asdict(one) for one in quotas(topology)],
    }  # fmt: skip


COLUMNS = ("type", "shares", "reservation", "limit", "wants", "should get", "gets", "difference")


POOL_COLUMNS = ("pool", "quota", "reserved by vNICs", "free")


def pool_rows(topology: Topology) -> list[list[str]]:
    """For a table of quotas; nothing without one."""
    return [
        [f"{one.switch} {one.pool}", *(_rate(bits) for bits in (one.quota, one.taken, one.quota - one.taken))]
        for one in quotas(topology)
    ]


def rows(one: Judged, scale: float) -> list[list[str]]:
    """For a table; rates nominal, the difference as part of the link."""
    return [_row(one, line, scale) for line in one.lines]


def _row(one: Judged, line: Line, scale: float) -> list[str]:
    return [
        "  " * line.level + line.name,
        str(line.shares),
        _rate(line.reservation / scale) if line.reservation else "",
        "" if math.isinf(line.limit) else _rate(line.limit / scale),
        "more" if line.wants_more else "no more" if line.measured > LIVELY * one.capacity else "",
        _rate(line.oracle / scale),
        _rate(line.measured / scale),
        f"{(line.measured - line.oracle) / one.capacity:+.1%}",
    ]


def _rate(bits: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if bits >= unit:
            return f"{bits / unit:.3g}{letter}"
    return f"{bits:.0f}"
