"""A `Topology`: what a topology file says, with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from lab.model.physical import Cable, Machine, PhysicalSwitch, Stretch
from lab.model.policies import Lag, PortGroup
from lab.model.virtual import ClientPort, DistributedSwitch, Host, HostSwitch, Nic, Vm


@dataclass(frozen=True)
class Expectation:
    """`kind` is `isolate` (port groups) or `reach` (VMs or machines); the names as the file says them, resolved."""

    kind: str
    names: tuple[str, ...]
    line: int = 0


@dataclass(frozen=True)
class Knobs:
    """Behaviour that releases or sources differ in (docs/knobs.md); the release sets the defaults."""

    block_guest_bpdu: bool = False
    reverse_path: bool = True
    est_guest_tag: str = "drop"
    prio_tag: str = "untag"
    reverse_path_promisc: bool = False
    forged_compare: str = "effective"
    iphash: str = "xor32"
    beacon_ethertype: int = 0x8922
    vmotion_encrypt: str = "off"
    ft_encrypt: str = "off"
    pvnic_rx_cap: bool = False
    nfc_ssl: str = "off"
    hbr_encrypt: str = "off"


@dataclass(frozen=True)
class Topology:
    """A whole lab. Mappings keep file order."""

    name: str
    release: str
    speed_scale: float = 0.01
    speedup: float = 1.0
    knobs: Knobs = field(default_factory=Knobs)
    sites: tuple[str, ...] = ()
    physical_switches: Mapping[str, PhysicalSwitch] = field(default_factory=lambda: MappingProxyType({}))
    cables: tuple[Cable, ...] = ()
    hosts: Mapping[str, Host] = field(default_factory=lambda: MappingProxyType({}))
    distributed_switches: Mapping[str, DistributedSwitch] = field(default_factory=lambda: MappingProxyType({}))
    vms: Mapping[str, Vm] = field(default_factory=lambda: MappingProxyType({}))
    vmknics: tuple[Nic, ...] = ()
    machines: Mapping[str, Machine] = field(default_factory=lambda: MappingProxyType({}))
    stretches: tuple[Stretch, ...] = ()
    expect: tuple[Expectation, ...] = ()
    source: str = ""
    numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """By label, once a VM has moved: the number of every client port on its host. Empty: counted in file order."""

    @cached_property
    def vnics(self) -> tuple[Nic, ...]:
        """Every VM's vNICs in file order."""
        return tuple(nic for vm in self.vms.values() for nic in vm.nics)

    def port_group(self, nic: Nic) -> PortGroup:
        """The port group that `nic` is connected to."""
        standard = self.hosts[nic.host].standard_switches.get(nic.switch)
        return (standard or self.distributed_switches[nic.switch]).port_groups[nic.port_group]

    @cached_property
    def host_switches(self) -> Mapping[tuple[str, str], HostSwitch]:
        """(host, switch name) -> that host's part of the switch; hosts in file order, standard switches first."""
        parts: dict[tuple[str, str], HostSwitch] = {}
        for host in self.hosts.values():
            for vss in host.standard_switches.values():
                ports = self._clients(host.name, vss.name, {u: u for u in vss.uplinks}, {})
                parts[host.name, vss.name] = HostSwitch(host.name, vss.name, False, vss.uplinks, vss.mtu, ports)
            for dvs in self.distributed_switches.values():
                if host.name in dvs.hosts:
                    parts[host.name, dvs.name] = self._distributed(host.name, dvs)
        return MappingProxyType(parts)

    def _distributed(self, host: str, dvs: DistributedSwitch) -> HostSwitch:
        numbered = {f"uplink{n}": pnic for n, pnic in enumerate(dvs.uplinks.get(host, ()), start=1)}
        return HostSwitch(
            host=host,
            name=dvs.name,
            distributed=True,
            uplinks=dvs.pnics(host),
            mtu=dvs.mtu,
            ports=self._clients(host, dvs.name, numbered, dvs.lags),
            pvlans=dvs.pvlans,
            mirrors=dvs.mirrors,
            lags=tuple(lag for lag in dvs.lags.values() if host in lag.uplinks),
            numbered=MappingProxyType(numbered),
        )

    @cached_property
    def _nics_at(self) -> Mapping[tuple[str, str], tuple[Nic, ...]]:
        placed: dict[tuple[str, str], list[Nic]] = {}
        for nic in (*self.vmknics, *self.vnics):
            placed.setdefault((nic.host, nic.switch), []).append(nic)
        return {key: tuple(nics) for key, nics in placed.items()}

    def _clients(
        self, host: str, name: str, pnics: Mapping[str, str], lags: Mapping[str, Lag]
    ) -> tuple[ClientPort, ...]:
        """`pnics`: what the uplinks' names in teaming policies stand for on this host."""
        nics = self._nics_at.get((host, name), ())
        return tuple(
            self._client(nic, self.numbers.get(nic.label, n), pnics, lags) for n, nic in enumerate(nics, start=1)
        )

    def _client(self, nic: Nic, number: int, pnics: Mapping[str, str], lags: Mapping[str, Lag]) -> ClientPort:
        group = self.port_group(nic)
        team = group.teaming
        lag = next((lags[name] for name in team.active if name in lags), None)
        active = tuple(pnics[u] for u in team.active if u in pnics)
        return ClientPort(
            nic=nic,
            number=number,
            vlan=group.vlan,
            security=nic.security or group.security,
            policy=team.policy,
            active=active if lag is None else lag.uplinks.get(nic.host, ()),
            standby=tuple(pnics[u] for u in team.standby if u in pnics),
            failback=team.failback,
            mac_learning=group.mac_learning,
            netflow=group.netflow,
            detection=team.detection,
            notify=team.notify,
            lag=lag,
        )
