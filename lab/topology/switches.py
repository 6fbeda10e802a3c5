"""Hosts, their standard switches, distributed switches and the port groups of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from lab.model import (
    Discovery,
    DistributedSwitch,
    Host,
    PhysicalPort,
    Pnic,
    PortGroup,
    Security,
    Shapers,
    StandardSwitch,
    Teaming,
)
from lab.topology import addressing, chassis, distributed, nioc, policies, shaping
from lab.topology.addressing import Addresses
from lab.topology.names import site_of
from lab.topology.nodes import Path
from lab.topology.physical import check_plugged, physical_port
from lab.topology.pvlans import PvlanMaps
from lab.topology.reading import Reading
from lab.topology.releases import default_security
from lab.topology.schema import (
    DiscoverySpec,
    DistributedPortGroupSpec,
    DistributedSwitchSpec,
    HostSpec,
    PnicSpec,
    PortGroupSpec,
    StandardDiscoverySpec,
    StandardSwitchSpec,
)


@dataclass(frozen=True)
class _Above:
    """What a port group has from its switch; `known` are the uplinks that teaming may name (see policies.teaming)."""

    switch: str
    distributed: bool
    security: Security
    teaming: Teaming
    known: Sequence[str] | None
    lags: Sequence[str] | None
    shapers: Shapers


def hosts(reading: Reading, addresses: Addresses) -> dict[str, Host]:
    return {name: _host(reading, addresses, name, spec) for name, spec in reading.spec.hosts.items()}


def distributed_switches(reading: Reading, maps: PvlanMaps) -> dict[str, DistributedSwitch]:
    """Without their mirroring sessions, which name ports."""
    return {name: _distributed(reading, maps, name, s) for name, s in reading.spec.distributed_switches.items()}


def check_uplinks_used_once(reading: Reading) -> None:
    users: dict[tuple[str, str], str] = {}
    for host, spec in reading.spec.hosts.items():
        for name, vss in spec.standard_switches.items():
            path: Path = ("hosts", host, "standard_switches", name, "uplinks")
            _claim(reading, users, host, name, vss.uplinks, path)
    for name, dvs in reading.spec.distributed_switches.items():
        for host, uplinks in dvs.uplinks.items():
            _claim(reading, users, host, name, uplinks, ("distributed_switches", name, "uplinks", host))
        for lag, group in dvs.lags.items():
            for host, uplinks in group.uplinks.items():
                path = ("distributed_switches", name, "lags", lag, "uplinks", host)
                _claim(reading, users, host, name, uplinks, path)


def _claim(
    reading: Reading, users: dict[tuple[str, str], str], host: str, name: str, uplinks: list[str], path: Path
) -> None:
    for n, pnic in enumerate(uplinks):
        other = users.get((host, pnic))
        if other is not None:
            what = "is listed twice" if other == name else f"of {host} is an uplink of {other!r} already"
            reading.wrong((*path, n), f"{pnic} {what}", "a pNIC belongs to one switch")
        users[host, pnic] = name


def _host(reading: Reading, addresses: Addresses, name: str, spec: HostSpec) -> Host:
    path: Path = ("hosts", name)
    pnics = {
        pnic: _pnic(reading, addresses, (*path, "uplinks", pnic), name, pnic, s) for pnic, s in spec.uplinks.items()
    }
    switches = {
        switch: _standard(reading, (*path, "standard_switches", switch), name, switch, s)
        for switch, s in spec.standard_switches.items()
    }
    site = site_of(reading, path, spec.site)
    return Host(name, site, MappingProxyType(pnics), MappingProxyType(switches), spec.gateway or "")


def _pnic(reading: Reading, addresses: Addresses, path: Path, host: str, name: str, spec: PnicSpec) -> Pnic:
    mac = spec.mac or addresses.mac(addressing.PNIC)
    shaping.check_emulated(reading, (*path, "speed"), spec.speed)
    if chassis.is_module(reading, spec.switch):
        return chassis.pvnic(reading, path, spec, Pnic(host, name, spec.switch, spec.speed, PhysicalPort(), mac))
    chassis.check_no_pvnic(reading, path, spec)
    check_plugged(reading, (*path, "switch"), spec.switch, modules_too=True)
    return Pnic(host, name, spec.switch, spec.speed, physical_port(reading, path, spec), mac)


def _check_pnics(reading: Reading, path: Path, host: str, uplinks: list[str]) -> None:
    for n, pnic in enumerate(uplinks):
        reading.known((*path, n), pnic, reading.pnics(host), f"pNIC on {host}")


def _standard(reading: Reading, path: Path, host: str, name: str, spec: StandardSwitchSpec) -> StandardSwitch:
    _check_pnics(reading, (*path, "uplinks"), host, spec.uplinks)
    twin = reading.spec.distributed_switches.get(name)
    if twin is not None and (host in twin.uplinks or any(host in lag.uplinks for lag in twin.lags.values())):
        what = f"{host} is on a distributed switch {name!r} too"
        reading.wrong(path, what, "give one of them another name", key=True)
    known = list(spec.uplinks) if reading.whole((*path, "uplinks")) else None
    groups = _groups(reading, path, spec, _above(reading, path, spec, known, spec.uplinks))
    return StandardSwitch(name, host, tuple(spec.uplinks), spec.mtu, groups, _discovery(spec.discovery), spec.ports)


def _distributed(reading: Reading, maps: PvlanMaps, name: str, spec: DistributedSwitchSpec) -> DistributedSwitch:
    path: Path = ("distributed_switches", name)
    for host, uplinks in spec.uplinks.items():
        if reading.known((*path, "uplinks", host), host, reading.declared("hosts"), "host"):
            _check_pnics(reading, (*path, "uplinks", host), host, uplinks)
    distributed.check_release(reading, path, spec)
    numbered = distributed.known_uplinks(reading, name)
    known = [*numbered, *spec.lags] if numbered is not None and reading.whole((*path, "lags")) else None
    above = _above(reading, path, spec, known, distributed.uplink_names(spec))
    groups = {
        group: distributed.extended(reading, (*path, "port_groups", group), found, spec.port_groups[group], maps[name])
        for group, found in _groups(reading, path, spec, above).items()
    }
    return DistributedSwitch(
        name=name,
        uplinks=MappingProxyType({host: tuple(uplinks) for host, uplinks in spec.uplinks.items()}),
        mtu=spec.mtu,
        port_groups=MappingProxyType(groups),
        pvlans=maps[name],
        netflow=distributed.netflow(spec.netflow) if spec.netflow else None,
        discovery=_discovery(spec.discovery),
        lags=MappingProxyType(distributed.lags(reading, name, spec)),
        network_io_control=nioc.network_io_control(reading, name, spec),
    )


def _above(
    reading: Reading,
    path: Path,
    spec: StandardSwitchSpec | DistributedSwitchSpec,
    known: Sequence[str] | None,
    uplinks: Sequence[str],
) -> _Above:
    is_distributed = isinstance(spec, DistributedSwitchSpec)
    security = policies.security(default_security(reading.spec.release, is_distributed), spec.security)
    lags = list(spec.lags) if isinstance(spec, DistributedSwitchSpec) else None
    team = policies.teaming(reading, (*path, "teaming"), Teaming(active=tuple(uplinks)), spec.teaming, known, lags)
    own = spec.shaping if isinstance(spec, StandardSwitchSpec) else None
    shapers = shaping.shapers(reading, (*path, "shaping"), Shapers(), own)
    return _Above(str(path[-1]), is_distributed, security, team, known, lags, shapers)


def _groups(
    reading: Reading, path: Path, spec: StandardSwitchSpec | DistributedSwitchSpec, above: _Above
) -> MappingProxyType[str, PortGroup]:
    groups: dict[str, PortGroupSpec] | dict[str, DistributedPortGroupSpec] = spec.port_groups
    found = {name: _group(reading, (*path, "port_groups", name), name, s, above) for name, s in groups.items()}
    return MappingProxyType(found)


def _group(reading: Reading, path: Path, name: str, spec: PortGroupSpec, above: _Above) -> PortGroup:
    return PortGroup(
        name=name,
        switch=above.switch,
        vlan=policies.vlan(reading, (*path, "vlan"), spec.vlan or 0, above.distributed),
        security=policies.security(above.security, spec.security),
        teaming=policies.teaming(reading, (*path, "teaming"), above.teaming, spec.teaming, above.known, above.lags),
        shapers=shaping.shapers(reading, (*path, "shaping"), above.shapers, spec.shaping),
    )


def _discovery(spec: StandardDiscoverySpec | DiscoverySpec) -> Discovery:
    return Discovery(spec.protocol, spec.operation in ("listen", "both"), spec.operation in ("advertise", "both"))
