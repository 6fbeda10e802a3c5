"""Network I/O Control of distributed switches: which traffic types a version has, what they are allotted, and whether
the reservations of VMs fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from lab.model import TYPE_OF_SERVICE, Allocation, DistributedSwitch, NetworkIoControl, Nic
from lab.topology.bandwidth_schema import LEVELS, NetworkIoControlSpec, PoolSpec
from lab.topology.nodes import Path
from lab.topology.reading import Reading
from lab.topology.releases import since
from lab.topology.schema import DistributedSwitchSpec, NetworkSpec
from lab.topology.shaping import check_emulated
from lab.units import Rate

VIRTUAL_MACHINE = "virtualMachine"
_FIRST = ("management", "vmotion", "faultTolerance", "iSCSI", "nfs", VIRTUAL_MACHINE)
_LATER = {2: ("hbr",), 3: ("hbr", "vsan", "vdp")}
_SINCE_7 = ("backupNfc", "nvmetcp", "provisioning")
_VERSION_SINCE = {1: "4.1", 2: "5.0", 3: "6.0"}
RESERVABLE = 0.75
"""Of the slowest pNIC (NIOC-9)."""


def traffic_types(version: int, release: str) -> tuple[str, ...]:
    """By the API's names, as that version of Network I/O Control has them in that release."""
    newest = _SINCE_7 if version == 3 and since(release, "7.0") else ()
    return (*_FIRST, *_LATER.get(version, ()), *newest)


def network_io_control(reading: Reading, name: str, spec: DistributedSwitchSpec) -> NetworkIoControl | None:
    """None when the file does not ask for it, or has it switched off."""
    said = spec.network_io_control
    if said is None:
        return None
    path: Path = ("distributed_switches", name, "network_io_control")
    version = said.version or max(v for v, first in _VERSION_SINCE.items() if since(reading.spec.release, first))
    if reading.lacks(_VERSION_SINCE[version]):
        what = f"release {reading.spec.release} has no version {version} of Network I/O Control"
        reading.wrong((*path, "version"), what, f"from {_VERSION_SINCE[version]} on")
    known = traffic_types(version, reading.spec.release)
    for pool, allotted in said.pools.items():
        _check_pool(reading, (*path, "pools", pool), pool, allotted, version, known)
    _check_reserved(reading, path, name, said)
    default = {kind: Allocation(LEVELS["high" if kind == VIRTUAL_MACHINE else "normal"]) for kind in known}
    types = {kind: _allocation(default[kind], said.pools.get(kind)) for kind in known}
    pools = {pool: _allocation(Allocation(), s) for pool, s in said.pools.items() if pool not in known}
    opt_out = frozenset((host, pnic) for host, pnics in said.opt_out.items() for pnic in pnics)
    _check_opt_out(reading, path, spec, said)
    if not said.enabled:
        return None
    return NetworkIoControl(version, MappingProxyType(types), MappingProxyType(pools), opt_out)


def _allocation(base: Allocation, spec: PoolSpec | NetworkSpec | None) -> Allocation:
    if spec is None:
        return base
    tag = spec.qos_tag if isinstance(spec, PoolSpec) else None
    return Allocation(spec.shares or base.shares, spec.limit, spec.reservation or base.reservation, tag)


def _check_pool(
    reading: Reading, path: Path, pool: str, spec: PoolSpec, version: int, known: Iterable[str]
) -> None:  # fmt: skip
    _check_allotted(reading, path, spec)
    if spec.reservation is not None and version < 3:
        what = f"version {version} of Network I/O Control has no reservations"
        reading.wrong((*path, "reservation"), what, "version: 3, from release 6.0 on", key=True)
    if spec.qos_tag is not None and version == 3:
        what = "version 3 of Network I/O Control marks nothing"
        reading.wrong((*path, "qos_tag"), what, "version: 2 has priority tags (NIOC-15)", key=True)
    if pool not in known and version == 1:
        reading.wrong(path, "version 1 of Network I/O Control has no pools of one's own", "from 5.0 on", key=True)
    if pool not in known and version == 3:
        hint = reading.nearest(pool, list(known)) or f"there is {', '.join(known)}"
        reading.wrong(path, f"version 3 of Network I/O Control has no traffic type {pool!r}", hint, key=True)


def _check_allotted(reading: Reading, path: Path, spec: PoolSpec | NetworkSpec) -> None:
    if spec.limit is not None:
        check_emulated(reading, (*path, "limit"), spec.limit)
        if spec.reservation is not None and spec.limit < spec.reservation:
            what = f"the limit {spec.limit} is under the reservation {spec.reservation}"
            reading.wrong((*path, "limit"), what, "a higher limit or a lower reservation")


def _speeds(reading: Reading, switch: DistributedSwitchSpec) -> list[Rate]:
    """Of all pNICs of the switch that the file really has."""
    members = [*switch.uplinks.items(), *(m for lag in switch.lags.values() for m in lag.uplinks.items())]
    hosts = reading.spec.hosts
    return [
        hosts[host].uplinks[pnic].speed
        for host, pnics in members
        for pnic in pnics
        if host in hosts and pnic in hosts[host].uplinks
    ]


def _check_reserved(reading: Reading, path: Path, name: str, spec: NetworkIoControlSpec) -> None:
    """At most three quarters of the slowest pNIC (NIOC-9)."""
    speeds = _speeds(reading, reading.spec.distributed_switches[name])
    reserved = [(pool, p.reservation.bits) for pool, p in spec.pools.items() if p.reservation is not None]
    total = sum(bits for _, bits in reserved)
    if speeds and total > RESERVABLE * min(speeds).bits:
        what = f"{Rate(total)} are reserved, more than 75 % of the slowest pNIC's {min(speeds)}"
        hint = f"at most {min(speeds).scaled(RESERVABLE)} in all (NIOC-9)"
        reading.wrong((*path, "pools", reserved[-1][0], "reservation"), what, hint)


def _check_opt_out(reading: Reading, path: Path, switch: DistributedSwitchSpec, spec: NetworkIoControlSpec) -> None:
    for host, pnics in spec.opt_out.items():
        lags = (lag.uplinks.get(host, ()) for lag in switch.lags.values())
        mine = [*switch.uplinks.get(host, ()), *(pnic for members in lags for pnic in members)]
        for n, pnic in enumerate(pnics):
            reading.known((*path, "opt_out", host, n), pnic, mine, f"pNIC of this switch on {host}")


def network_pool(reading: Reading, path: Path, control: NetworkIoControlSpec | None, pool: str | None) -> str | None:
    """The pool that a port group names; tells one that is not there."""
    if pool is None:
        return None
    if control is None:
        reading.wrong(path, "its switch has no Network I/O Control", "network_io_control: {pools: ...}", key=True)
        return None
    version = control.version or (3 if since(reading.spec.release, "6.0") else 2)
    known = [name for name in control.pools if name not in traffic_types(version, reading.spec.release)]
    reading.known(path, pool, known, "pool of one's own")
    return pool


# -- vNICs


def allocation(
    reading: Reading, path: Path, spec: NetworkSpec, control: NetworkIoControl | None, told: bool
) -> Allocation | None:
    """What a vNIC is allotted (NIOC-13); `control` is its switch's, `told`: there is one in the file that is wrong."""
    said = [key for key in ("shares", "limit", "reservation") if getattr(spec, key) is not None]
    if not said:
        return None
    _check_allotted(reading, path, spec)
    if (control is None and not told) or (control is not None and control.version < 3):
        what = f"{said[0]} of a single vNIC need version 3 of Network I/O Control on its switch"
        reading.wrong((*path, said[0]), what, "network_io_control: {version: 3}, from release 6.0 on", key=True)
    return _allocation(Allocation(), spec)


def priority(control: NetworkIoControl | None, pool: str | None, services: Sequence[str]) -> int | None:
    """The tag that frames of a vNIC in this pool, or of a vmknic with these services (a vNIC: none), leave with."""
    if control is None:
        return None
    if pool in control.pools:
        return control.pools[str(pool)].qos_tag
    kind = TYPE_OF_SERVICE[services[0]] if services else VIRTUAL_MACHINE
    return control.types[kind if kind in control.types else "management"].qos_tag


def check_admission(
    reading: Reading, switches: Mapping[str, DistributedSwitch], nics: Iterable[tuple[Path, Nic]]
) -> None:
    """A VM is not powered on when its vNIC's reservation does not fit into what is reserved for VMs (NIOC-14)."""
    used: dict[tuple[str, str], int] = defaultdict(int)
    for path, nic in nics:
        dvs = switches.get(nic.switch)
        control = dvs and dvs.network_io_control
        if dvs is None or not control or nic.allocation is None or not nic.allocation.reservation.bits:
            continue
        offered = control.types[VIRTUAL_MACHINE].reservation.bits * len(dvs.pnics(nic.host))
        key = (nic.host, nic.switch)
        used[key] += nic.allocation.reservation.bits
        if used[key] > offered:
            what = f"{nic.owner} cannot be powered on: VMs of {nic.host} reserve {Rate(used[key])}, {Rate(offered)} fit"
            hint = f"a higher reservation of virtualMachine on {nic.switch} (NIOC-14)"
            reading.wrong((*path, "reservation"), what, hint)
