"""Network I/O Control of distributed switches: which traffic types a version has, what they are allotted, and whether
the reservations of VMs fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        _check_pool(reading, (*path, "pools", pool), allotted, version, pool in known)
    _check_reserved(reading, path, name, said)
    quotas = {pool: s.quota for pool, s in said.pools.items() if pool not in known and s.quota is not None}
    if version == 3:
        _check_quotas(reading, path, name, said, quotas)
    default = {kind: Allocation(LEVELS["high" if kind == VIRTUAL_MACHINE else "normal"]) for kind in known}
    types = {kind: _allocation(default[kind], said.pools.get(kind)) for kind in known}
    own = {} if version == 3 else said.pools
    pools = {pool: _allocation(Allocation(), s) for pool, s in own.items() if pool not in known}
    opt_out = frozenset((host, pnic) for host, pnics in said.opt_out.items() for pnic in pnics)
    _check_opt_out(reading, path, spec, said)
    if not said.enabled:
        return None
    return NetworkIoControl(
        version, MappingProxyType(types), MappingProxyType(pools), MappingProxyType(quotas), opt_out
    )


def _allocation(base: Allocation, spec: PoolSpec | NetworkSpec | None) -> Allocation:
    if spec is None:
        return base
    tag = spec.qos_tag if isinstance(spec, PoolSpec) else None
    return Allocation(spec.shares or base.shares, spec.limit, spec.reservation or base.reservation, tag)


def _check_pool(reading: Reading, path: Path, spec: PoolSpec, version: int, is_type: bool) -> None:
    _check_allotted(reading, path, spec)
    if not is_type and version == 1:
        reading.wrong(path, "version 1 of Network I/O Control has no pools of one's own", "from 5.0 on", key=True)
    elif not is_type and version == 3:
        _check_quota_alone(reading, path, spec)
        return
    if spec.reservation is not None and version < 3:
        what = f"version {version} of Network I/O Control has no reservations"
        reading.wrong((*path, "reservation"), what, "version: 3, from release 6.0 on", key=True)
    if spec.qos_tag is not None and version == 3:
        what = "version 3 of Network I/O Control marks nothing"
        reading.wrong((*path, "qos_tag"), what, "version: 2 has priority tags (NIOC-15)", key=True)
    if spec.quota is not None:
        what = "a traffic type has no quota" if is_type else f"version {version} of Network I/O Control has no quotas"
        reading.wrong((*path, "quota"), what, "pools of one's own have one, in version 3", key=True)


def _check_quota_alone(reading: Reading, path: Path, spec: PoolSpec) -> None:
    """Version 3 schedules no pool of one's own; a name that was meant for a traffic type has no quota."""
    for key in ("shares", "limit", "reservation", "qos_tag"):
        if getattr(spec, key) is not None:
            what = f"{path[-1]!r} is no traffic type, and a pool of one's own in version 3 has no {key}"
            known = traffic_types(3, reading.spec.release)
            hint = reading.nearest(str(path[-1]), list(known)) or f"quota: alone, or one of {', '.join(known)}"
            reading.wrong((*path, key), what, hint, key=True)
            return
    if spec.quota is None:
        what = f"version 3 of Network I/O Control has no traffic type {path[-1]!r}, and a pool of one's own has a quota"
        hint = reading.nearest(str(path[-1]), list(traffic_types(3, reading.spec.release))) or "quota: 1G"
        reading.wrong(path, what, hint, key=True)


def _check_quotas(
    reading: Reading, path: Path, name: str, spec: NetworkIoControlSpec, quotas: Mapping[str, Rate]
) -> None:
    """Together at most what is reserved for VMs on all pNICs of the switch."""
    virtual = spec.pools.get(VIRTUAL_MACHINE)
    reserved = virtual.reservation.bits if virtual and virtual.reservation else 0
    pnics = len(_speeds(reading, reading.spec.distributed_switches[name]))
    total = sum(quota.bits for quota in quotas.values())
    if total > reserved * pnics:
        what = f"the quotas are {Rate(total)} together, and {Rate(reserved * pnics)} are reserved for VMs"
        hint = f"a higher reservation of virtualMachine: it counts on each of the {pnics} pNICs of {name}"
        reading.wrong((*path, "pools", list(quotas)[-1], "quota"), what, hint)


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
    """A VM is not powered on when its vNIC's reservation does not fit into what is reserved for VMs (NIOC-14), on its
    host's pNICs and in the quota of its port group's pool."""
    used: dict[tuple[str, ...], int] = defaultdict(int)
    for path, nic in nics:
        dvs = switches.get(nic.switch)
        if dvs is not None and dvs.network_io_control and nic.allocation and nic.allocation.reservation.bits:
            for whose, key, offered, hint in _rooms(dvs, dvs.network_io_control, nic):
                used[key] += nic.allocation.reservation.bits
                if used[key] > offered:
                    what = f"VMs {whose} reserve {Rate(used[key])}, {Rate(offered)} fit"
                    reading.wrong((*path, "reservation"), f"{nic.owner} cannot be powered on: {what}", hint)


def _rooms(
    dvs: DistributedSwitch, control: NetworkIoControl, nic: Nic
) -> Iterator[tuple[str, tuple[str, ...], int, str]]:
    """(whose it is, its key, bits/s, how there is more) of everything that a vNIC's reservation must fit into."""
    host = control.types[VIRTUAL_MACHINE].reservation.bits * len(dvs.pnics(nic.host))
    more = f"a higher reservation of virtualMachine on {dvs.name} (NIOC-14)"
    yield f"of {nic.host}", (dvs.name, nic.host), host, more
    group = dvs.port_groups.get(nic.port_group)
    if group is not None and group.network_pool in control.quotas:
        pool = str(group.network_pool)
        more = f"a higher quota of {pool} on {dvs.name}"
        yield f"of the pool {pool}", (dvs.name, "pool", pool), control.quotas[pool].bits, more
