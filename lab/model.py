"""vSphere's nouns, frozen. A `Topology` is what a topology file says, with every default filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType

from lab.chassis import Module, Pvnic
from lab.units import Rate, Size

VLAN_MAX = 4094
VM_MEMORY = Size(16 * 1024**2)
"""Of a VM whose file does not say."""
PortKey = tuple[str, str]
"""(host or pSwitch, port name there): ("esx1", "web1.eth0"), ("esx1", "vmnic0"), ("tor1", "esx1-vmnic0")."""
Ranges = tuple[tuple[int, int], ...]
ALL_VLANS: Ranges = ((1, VLAN_MAX),)


def in_ranges(vid: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(low <= vid <= high for low, high in ranges)


class Tagging(StrEnum):
    """Who tags (VLAN-1, VLAN-3, VLAN-8, PVL-6)."""

    EST = "EST"
    VST = "VST"
    VGT = "VGT"
    PVLAN = "PVLAN"


class PvlanKind(StrEnum):
    """What a secondary VLAN of a private VLAN lets its ports do (PVL-1 to PVL-4)."""

    PROMISCUOUS = "promiscuous"
    ISOLATED = "isolated"
    COMMUNITY = "community"


@dataclass(frozen=True)
class Pvlan:
    """One entry of a distributed switch's private VLAN map. Promiscuous: `secondary` is `primary`."""

    primary: int
    secondary: int
    kind: PvlanKind

    def __str__(self) -> str:
        return f"PVLAN {self.primary}/{self.secondary} {self.kind}"


PvlanMap = Mapping[int, Pvlan]
"""By secondary VLAN ID."""
NO_PVLANS: PvlanMap = MappingProxyType({})


@dataclass(frozen=True)
class VlanPolicy:
    """`vlan` of a VST port group; `ranges` of a VGT one, where 0 stands for untagged frames.

    4095 on a standard switch is VGT with ranges 0-4094. With PVLAN, `vlan` is the secondary ID, in which the port's
    frames travel, and `pvlan` its entry of the map.
    """

    tagging: Tagging
    vlan: int = 0
    ranges: Ranges = ()
    pvlan: Pvlan | None = None

    def carries(self, vid: int) -> bool:
        """True when a port with this policy belongs to VLAN `vid` (0: untagged) inside the switch. Not for PVLAN."""
        if self.tagging is Tagging.VGT:
            return in_ranges(vid, self.ranges)
        return vid == self.vlan

    def __str__(self) -> str:
        if self.pvlan is not None:
            return str(self.pvlan)
        if self.tagging is Tagging.VGT:
            return "VGT " + ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in self.ranges)
        return f"{self.tagging} {self.vlan}"


@dataclass(frozen=True)
class Security:
    """Layer-2 security policy; the defaults differ by release (docs/topology-file.md)."""

    promiscuous: bool = False
    mac_changes: bool = True
    forged_transmits: bool = True


@dataclass(frozen=True)
class Teaming:
    """Uplink names: pNICs on a standard switch, uplink1.. or one LAG on a distributed one. In neither list: unused.
    `detection` is `link` or `beacon`; `notify`: RARP frames when a port's uplink changes."""

    policy: str = "loadbalance_srcid"
    active: tuple[str, ...] = ()
    standby: tuple[str, ...] = ()
    failback: bool = True
    detection: str = "link"
    notify: bool = True


@dataclass(frozen=True)
class MacLearning:
    """Source MACs learned per port (SEC-15 to SEC-17): at most `limit`; over it frames are dropped, or forwarded and
    not learned (`allow`). `age`: seconds after which an entry that was not used is forgotten."""

    limit: int = 4096
    allow: bool = False
    flooding: bool = True
    age: int = 600


@dataclass(frozen=True)
class Shaping:
    """A token bucket for one port, nominal (SHP-1 to SHP-10): `average` in the long run, up to `peak` while the bonus
    of `burst` lasts."""

    average: Rate
    peak: Rate
    burst: Size


@dataclass(frozen=True)
class Shapers:
    """From the switch's side: `ingress` holds for what a port sends, `egress` for what it gets (SHP-7)."""

    ingress: Shaping | None = None
    egress: Shaping | None = None


NOTHING = Rate(0)
TYPE_OF_SERVICE: Mapping[str, str] = MappingProxyType(
    {
        "management": "management",
        "vmotion": "vmotion",
        "ft_logging": "faultTolerance",
        "provisioning": "provisioning",
        "vsphere_replication": "hbr",
        "vsphere_replication_nfc": "hbr",
        "vsan": "vsan",
        "iscsi": "iSCSI",
        "nfs": "nfs",
    }
)
"""A vmkernel adapter's service -> the traffic type of its frames, by the API's name."""


@dataclass(frozen=True)
class Allocation:
    """What Network I/O Control gives a traffic type, a pool or a vNIC: `shares` of what is free, at least
    `reservation`, at most `limit`; nominal. `qos_tag`: the 802.1p priority that its frames leave with."""

    shares: int = 50
    limit: Rate | None = None
    reservation: Rate = NOTHING
    qos_tag: int | None = None


@dataclass(frozen=True)
class NetworkIoControl:
    """Of a distributed switch (NIOC-1 to NIOC-21). `types`: by the API's name, all that the version knows; `pools`:
    user-defined ones of version 2. `quotas`: those of version 3, which set apart a part of what is reserved for VMs on
    all pNICs of the switch. `opt_out`: (host, pNIC) that are scheduled first come, first served (NIOC-20)."""

    version: int
    types: Mapping[str, Allocation]
    pools: Mapping[str, Allocation] = field(default_factory=lambda: MappingProxyType({}))
    quotas: Mapping[str, Rate] = field(default_factory=lambda: MappingProxyType({}))
    opt_out: frozenset[PortKey] = frozenset()


@dataclass(frozen=True)
class PortGroup:
    name: str
    switch: str
    vlan: VlanPolicy
    security: Security
    teaming: Teaming
    mac_learning: MacLearning | None = None
    netflow: bool = False
    shapers: Shapers = Shapers()
    network_pool: str | None = None

    @property
    def label(self) -> str:
        return f"{self.switch}/{self.name}"


class StretchKind(StrEnum):
    """What carries VLANs to another site."""

    TRUNK = "trunk"
    OTV = "otv"
    VPLS = "vpls"
    VXLAN = "vxlan"


@dataclass(frozen=True)
class Stretch:
    """A Layer-2 stretch between pSwitches of several sites (docs/stretch.md). `vlans` cross it, others do not; `mtu` is
    that of the transport network (IP bytes) and `udp_port` VXLAN's there, of no meaning for other kinds. `delay`
    and `jitter` in seconds one way, `loss` a share of frames, `rate` nominal."""

    name: str
    kind: StretchKind
    switches: tuple[str, ...]
    vlans: Ranges
    mtu: int = 1600
    udp_port: int = 4789
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: Rate | None = None

    @property
    def room(self) -> int | None:
        """Bytes behind a frame's Ethernet header and one tag that the transport network has room for (L2S-8): what is
        put in front of a frame is 42 bytes for OTV, 50 for VXLAN. None: no limit of its own."""
        added = {StretchKind.OTV: 42, StretchKind.VXLAN: 50}.get(self.kind)
        return None if added is None else self.mtu - added

    @property
    def splits_horizon(self) -> bool:
        """What comes in by one of its ports leaves by no other one of them: every site has a way to every other."""
        return self.kind is not StretchKind.TRUNK

    @property
    def floods_unknown(self) -> bool:
        """Unicast to a MAC that was not learned crosses."""
        return self.kind is not StretchKind.OTV

    @property
    def carries_bpdus(self) -> bool:
        return self.kind in (StretchKind.TRUNK, StretchKind.VPLS)


@dataclass(frozen=True)
class PhysicalPort:
    """A port of a pSwitch. `access` None: a trunk that carries `trunk`; `native` None: untagged frames drop.
    `channel`: it is a member of that port channel, by LACP when `lacp` is `active` or `passive`. `stretch`: it leads to
    another site by that."""

    access: int | None = None
    trunk: Ranges = ALL_VLANS
    native: int | None = None
    channel: int | None = None
    lacp: str | None = None
    stretch: Stretch | None = None

    def carries(self, vid: int) -> bool:
        if self.access is not None:
            return vid == self.access
        return vid == self.native or in_ranges(vid, self.trunk)

    @property
    def untagged(self) -> int | None:
        """The VLAN whose frames are untagged on this wire, or None."""
        return self.native if self.access is None else self.access


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


class MirrorKind(StrEnum):
    """Types of a port mirroring session, by their names in the API."""

    DV_PORT = "dvPortMirror"
    REMOTE_SOURCE = "remoteMirrorSource"
    REMOTE_DESTINATION = "remoteMirrorDest"
    ENCAPSULATED = "encapsulatedRemoteMirrorSource"
    MIXED = "mixedDestMirror"


@dataclass(frozen=True)
class Mirror:
    """A port mirroring session of a distributed switch (MIR-1 to MIR-8).

    `transmitted` and `received` are labels of the vNICs and vmknics (`web1.eth0`, `esx1.vmk0`) whose sent and received
    frames are copied; `source_vlans` those of remoteMirrorDest. Copies go to the ports `to_ports` (labels), the
    uplinks `to_uplinks` (uplink1, ...) or the IP addresses `to_addresses`. `vlan` is the encapsulation VLAN;
    `strip` takes the original tag off; `length` truncates (bytes); one of `sampling` frames is copied;
    `normal_traffic`: destination ports send and receive their own traffic too. `encapsulation` is `gre`, `erspan2` or
    `erspan3`, with `session_id` and `cos`.
    """

    name: str
    switch: str
    kind: MirrorKind
    transmitted: tuple[str, ...] = ()
    received: tuple[str, ...] = ()
    source_vlans: tuple[int, ...] = ()
    to_ports: tuple[str, ...] = ()
    to_uplinks: tuple[str, ...] = ()
    to_addresses: tuple[str, ...] = ()
    vlan: int | None = None
    strip: bool = False
    length: int | None = None
    sampling: int = 1
    normal_traffic: bool = False
    encapsulation: str = "gre"
    session_id: int = 0
    cos: int = 0


@dataclass(frozen=True)
class Netflow:
    """Flow records to `collector` (address, UDP port), for port groups that have netflow on (MIR-10, MIR-11).
    Timeouts in seconds; one of `sampling` frames is looked at (0: every one)."""

    collector: str
    port: int
    active_timeout: int = 60
    idle_timeout: int = 15
    sampling: int = 4096
    internal_only: bool = False
    domain: int = 0


@dataclass(frozen=True)
class Discovery:
    """CDP or LLDP on a switch's uplinks (MIR-12): `protocol` cdp or lldp; `listens`, `advertises`."""

    protocol: str = "cdp"
    listens: bool = True
    advertises: bool = False


@dataclass(frozen=True)
class Lag:
    """A link aggregation group of a distributed switch (LACP-1 to LACP-5). `uplinks[host]` are its pNICs there; `mode`
    is `active` or `passive`; `fast`: a LACPDU every second instead of every 30; `hash` is the API's name."""

    name: str
    uplinks: Mapping[str, tuple[str, ...]]
    mode: str = "active"
    fast: bool = False
    hash: str = "srcDestIpTcpUdpPortVlan"


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
class Machine:
    """What is no VM, on a pSwitch port that bears its name. `routes`: it forwards IP between its own interfaces."""

    name: str
    switch: str
    port: PhysicalPort
    mac: str
    address: str = ""
    routes: bool = False
    more: tuple[str, ...] = ()
    """Further addresses of its adapter."""
    gateway: str = ""


@dataclass(frozen=True)
class PhysicalSwitch:
    """`mac_table`: entries that its CAM holds; full, it learns nothing more and floods. `bpdu_guard` and
    `port_security` (source MACs that a port may have) are for ports to hosts and machines, not for cables between
    pSwitches. `pvlans`: the map that a PVLAN-aware switch knows. `stp`: rapid spanning tree. `cdp`, `lldp`: it speaks
    that protocol. `channel_hash`: how its port channels choose a member. `link_state_tracking`: it takes ports to hosts
    down while it has no link to another pSwitch (TEAM-F-5). `module`: it is an interconnect module of a chassis."""

    name: str
    site: str
    mac_table: int = 8192
    bpdu_guard: bool = False
    port_security: int | None = None
    stp: bool = False
    pvlans: PvlanMap = field(default_factory=lambda: NO_PVLANS)
    cdp: bool = False
    lldp: bool = False
    channel_hash: str = "src-dst-ip"
    link_state_tracking: bool = False
    module: Module | None = None


@dataclass(frozen=True)
class ModuleUplink:
    """What a cable is at its end in an interconnect module: the name and configuration of its port there. `speed`
    holds in both directions."""

    name: str
    port: PhysicalPort
    speed: Rate


@dataclass(frozen=True)
class Cable:
    """Between two pSwitches; each end's port bears the other's name (`tor2`, and `tor2#2` for a second cable). With an
    `uplink`, the first of `ends` is an interconnect module, and the other's port is named `bay1-X1`."""

    ends: tuple[str, str]
    port: PhysicalPort
    index: int = 1
    uplink: ModuleUplink | None = None

    def config_at(self, switch: str) -> PhysicalPort:
        return self.uplink.port if self.uplink is not None and switch == self.ends[0] else self.port

    def port_at(self, switch: str) -> str:
        if self.uplink is not None:
            return self.uplink.name if switch == self.ends[0] else f"{self.ends[0]}-{self.uplink.name}"
        other = self.ends[1] if switch == self.ends[0] else self.ends[0]
        return other if self.index == 1 else f"{other}#{self.index}"


@dataclass(frozen=True)
class Expectation:
    """`kind` is `isolate` (port groups) or `reach` (VMs or machines); the names as the file says them, resolved."""

    kind: str
    names: tuple[str, ...]
    line: int = 0


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
