"""Hosts and what is in them: pNICs, switches, VMs and their adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from lab.chassis import Pvnic
from lab.model.physical import PhysicalPort
from lab.model.policies import (
    NO_PVLANS,
    Allocation,
    Lag,
    MacLearning,
    Mirror,
    Netflow,
    NetworkIoControl,
    PortGroup,
    PvlanMap,
    Security,
    Shapers,
    VlanPolicy,
)
from lab.units import Rate, Size

VM_MEMORY = Size(16 * 1024**2)
"""Of a VM whose file does not say."""


@dataclass(frozen=True)
class Pnic:
    """An uplink of a host and the pSwitch port it is plugged into (named `HOST-vmnicN` there). `pvnic`: it is a part of
    a physical port, and `switch` an interconnect module."""

    host: str
    name: str
    switch: str
    speed: Rate
    port: PhysicalPort
    mac: str
    pvnic: Pvnic | None = None

    @property
    def far_port(self) -> str:
        return f"{self.host}-{self.name}"


@dataclass(frozen=True)
class Discovery:
    """CDP or LLDP on a switch's uplinks (MIR-12): `protocol` cdp or lldp; `listens`, `advertises`."""

    protocol: str = "cdp"
    listens: bool = True
    advertises: bool = False


@dataclass(frozen=True)
class StandardSwitch:
    name: str
    host: str
    uplinks: tuple[str, ...]
    mtu: int
    port_groups: Mapping[str, PortGroup]
    discovery: Discovery = Discovery()
    ports: int | None = None
    """How many it has for uplinks and clients together; None: as many as it takes."""


@dataclass(frozen=True)
class DistributedSwitch:
    """`uplinks[host]` are the pNICs that stand behind uplink1, uplink2, ... there; those of `lags` are others."""

    name: str
    uplinks: Mapping[str, tuple[str, ...]]
    mtu: int
    port_groups: Mapping[str, PortGroup]
    pvlans: PvlanMap = field(default_factory=lambda: NO_PVLANS)
    mirrors: tuple[Mirror, ...] = ()
    netflow: Netflow | None = None
    discovery: Discovery = Discovery()
    lags: Mapping[str, Lag] = field(default_factory=lambda: MappingProxyType({}))
    network_io_control: NetworkIoControl | None = None

    def pnics(self, host: str) -> tuple[str, ...]:
        """All its pNICs on this host, those of LAGs last."""
        members = (pnic for lag in self.lags.values() for pnic in lag.uplinks.get(host, ()))
        return (*self.uplinks.get(host, ()), *members)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Those that it is on, in the order of the file."""
        return tuple(dict.fromkeys((*self.uplinks, *(host for lag in self.lags.values() for host in lag.uplinks))))


@dataclass(frozen=True)
class Host:
    name: str
    site: str
    pnics: Mapping[str, Pnic]
    standard_switches: Mapping[str, StandardSwitch]
    gateway: str = ""
    """The one default gateway of its TCP/IP stack (VMK-9)."""


@dataclass(frozen=True)
class Nic:
    """A vNIC or a vmknic. `owner` is the VM, or the host of a vmknic; `address` is CIDR text or empty;
    `switch` and `port_group` name its place on its host. `priority`: the 802.1p priority that its tagged frames leave
    the host with, None for their own (NIOC-15)."""

    owner: str
    name: str
    host: str
    switch: str
    port_group: str
    mac: str
    address: str = ""
    connected: bool = True
    blocked: bool = False
    security: Security | None = None
    services: tuple[str, ...] = ()
    shapers: Shapers | None = None
    allocation: Allocation | None = None
    priority: int | None = None

    @property
    def is_vmk(self) -> bool:
        return self.name.startswith("vmk")

    @property
    def port(self) -> str:
        """The name of the switch's end of its cable: `web1.eth0`, `vmk0`."""
        return self.name if self.is_vmk else f"{self.owner}.{self.name}"

    @property
    def label(self) -> str:
        """Unique in the lab: `web1.eth0`, `esx1.vmk0`."""
        return f"{self.owner}.{self.name}"

    @property
    def node(self) -> str:
        """The namespace it lives in: the VM's, or the host's vmkernel node `esx1-vmk`."""
        return f"{self.host}-vmk" if self.is_vmk else self.owner


@dataclass(frozen=True)
class Vm:
    """`memory`: the RAM that vMotion copies; `devices`: what is attached to it, by the words of the topology file."""

    name: str
    host: str
    nics: tuple[Nic, ...]
    memory: Size = VM_MEMORY
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClientPort:
    """A vNIC's or vmknic's port on one host's part of a switch, with the policy that holds there.

    `number` counts the client ports of the switch on this host from 1, in file order, vmknics first; one that vMotion
    has brought here has the lowest that was free. `active` and `standby` are pNIC names of this host; with a `lag`,
    `active` are its members here.
    """

    nic: Nic
    number: int
    vlan: VlanPolicy
    security: Security
    policy: str
    active: tuple[str, ...]
    standby: tuple[str, ...]
    failback: bool
    mac_learning: MacLearning | None = None
    netflow: bool = False
    detection: str = "link"
    notify: bool = True
    lag: Lag | None = None

    @property
    def name(self) -> str:
        return self.nic.port


@dataclass(frozen=True)
class HostSwitch:
    """One host's part of a switch: what forwards frames there. Standard and distributed switches are alike here.

    `uplinks` are all its pNICs, those of `lags` last; `numbered` are uplink1, uplink2, ... of a distributed switch."""

    host: str
    name: str
    distributed: bool
    uplinks: tuple[str, ...]
    mtu: int
    ports: tuple[ClientPort, ...]
    pvlans: PvlanMap = field(default_factory=lambda: NO_PVLANS)
    mirrors: tuple[Mirror, ...] = ()
    lags: tuple[Lag, ...] = ()
    numbered: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def lag_members(self) -> frozenset[str]:
        """The pNICs here that belong to a LAG."""
        return frozenset(pnic for lag in self.lags for pnic in lag.uplinks.get(self.host, ()))

    def port_of(self, name: str) -> ClientPort:
        return next(p for p in self.ports if p.name == name)
