"""What only a distributed switch and its port groups have: numbered uplinks, private VLANs, MAC learning, NetFlow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

from lab.model import DistributedSwitch, Lag, MacLearning, Netflow, Nic, PortGroup, PvlanMap, Tagging, VlanPolicy
from lab.topology import nioc, pvlans
from lab.topology.nodes import Path
from lab.topology.reading import Reading
from lab.topology.schema import DistributedPortGroupSpec, DistributedSwitchSpec, MacLearningSpec, NetflowSpec

MOST_LAGS = 64


def uplink_names(spec: DistributedSwitchSpec) -> list[str]:
    """uplink1, uplink2, ...: as many as the host with the most pNICs on the switch has."""
    return [f"uplink{n + 1}" for n in range(max(map(len, spec.uplinks.values()), default=0))]


def known_uplinks(reading: Reading, switch: str) -> list[str] | None:
    """None when the switch's own entry about uplinks is wrong."""
    if not reading.whole(("distributed_switches", switch, "uplinks")):
        return None
    return uplink_names(reading.spec.distributed_switches[switch])


def lags(reading: Reading, switch: str, spec: DistributedSwitchSpec) -> dict[str, Lag]:
    path: Path = ("distributed_switches", switch, "lags")
    release = reading.spec.release
    if spec.lags and reading.lacks("5.1"):
        reading.wrong(path, f"LACP is not in release {release}", "from 5.1 on", key=True)
    elif len(spec.lags) > 1 and reading.lacks("5.5"):
        reading.wrong(path, f"release {release} has one LAG on a switch", "from 5.5 on 64", key=True)
    elif len(spec.lags) > MOST_LAGS:
        reading.wrong(path, f"{len(spec.lags)} LAGs, the most is {MOST_LAGS}", "", key=True)
    found = {}
    for name, lag in spec.lags.items():
        if name in uplink_names(spec):
            reading.wrong((*path, name), f"{name} is an uplink of {switch}", "another name", key=True)
        if not any(lag.uplinks.values()):
            reading.wrong((*path, name, "uplinks"), "a LAG without pNICs", "uplinks: {esx1: [vmnic2, vmnic3]}")
        for host, pnics in lag.uplinks.items():
            if reading.known((*path, name, "uplinks", host), host, reading.declared("hosts"), "host"):
                for n, pnic in enumerate(pnics):
                    reading.known((*path, name, "uplinks", host, n), pnic, reading.pnics(host), f"pNIC on {host}")
        members = MappingProxyType({host: tuple(pnics) for host, pnics in lag.uplinks.items() if pnics})
        found[name] = Lag(name, members, lag.mode, lag.timeout == "fast", lag.hash)
    return found


def netflow(spec: NetflowSpec) -> Netflow:
    return Netflow(
        spec.collector,
        spec.port,
        spec.active_timeout,
        spec.idle_timeout,
        spec.sampling,
        spec.internal_flows_only,
        spec.domain,
    )


def check_release(reading: Reading, path: Path, spec: DistributedSwitchSpec) -> None:
    release = reading.spec.release
    if spec.netflow and reading.lacks("5.0"):
        reading.wrong((*path, "netflow"), f"NetFlow is not in release {release}", "from 5.0 on", key=True)
    if spec.discovery.protocol == "lldp" and reading.lacks("5.0"):
        reading.wrong((*path, "discovery", "protocol"), f"LLDP is not in release {release}", "from 5.0 on")


def extended(
    reading: Reading, path: Path, group: PortGroup, spec: DistributedPortGroupSpec, known: PvlanMap
) -> PortGroup:
    """The group with what only one of a distributed switch has; `known` is its switch's private VLAN map."""
    if spec.mac_learning and reading.lacks("6.7"):
        what = f"MAC learning is not in release {reading.spec.release}"
        reading.wrong((*path, "mac_learning"), what, "from 6.7 on", key=True)
    if spec.netflow and not reading.document.has(("distributed_switches", group.switch, "netflow")):
        what = f"{group.switch} has no 'netflow'"
        reading.wrong((*path, "netflow"), what, "netflow: {collector: 10.0.5.9}", key=True)
    return replace(
        group,
        vlan=_private_vlan(reading, (*path, "pvlan"), group, spec, known) or group.vlan,
        mac_learning=_mac_learning(spec.mac_learning) if spec.mac_learning else None,
        netflow=spec.netflow,
        network_pool=nioc.network_pool(
            reading,
            (*path, "network_pool"),
            reading.spec.distributed_switches[group.switch].network_io_control,
            spec.network_pool,
        ),
    )


def _private_vlan(
    reading: Reading, path: Path, group: PortGroup, spec: DistributedPortGroupSpec, known: PvlanMap
) -> VlanPolicy | None:
    if spec.pvlan is None:
        return None
    if spec.vlan is not None:
        reading.wrong(path, "vlan and pvlan exclude each other", "leave one of them out", key=True)
    elif spec.pvlan in known:
        return VlanPolicy(Tagging.PVLAN, spec.pvlan, pvlan=known[spec.pvlan])
    elif not pvlans.is_told(reading, group.switch, spec.pvlan):
        hint = f"there is {', '.join(map(str, known))}" if known else f"{group.switch} has no 'pvlans'"
        reading.wrong(path, f"no private VLAN {spec.pvlan} on {group.switch}", hint)
    return None


def _mac_learning(spec: MacLearningSpec) -> MacLearning:
    return MacLearning(spec.limit, spec.over_limit == "allow", spec.unicast_flooding, spec.age)


def check_exporters(reading: Reading, switch: DistributedSwitch, ports: Iterable[Nic]) -> None:
    """Hosts with a port that is to export flows must be able to. `ports` are those of the switch."""
    if switch.netflow is None:
        return  # which has been told
    exporting = (nic for nic in ports if switch.port_groups[nic.port_group].netflow)
    for group, host in dict.fromkeys((nic.port_group, nic.host) for nic in exporting):
        if not reading.may_have_vmkernel(host):
            path = ("distributed_switches", switch.name, "port_groups", group, "netflow")
            reading.wrong(path, f"{host} has no vmkernel adapter to export from", f"hosts.{host}.vmkernel")
