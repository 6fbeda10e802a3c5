"""The topology file's grammar: which keys each section has, and their types. What names mean is for `resolve`.

`NOT_EMULATED` of a section names keys of vSphere that this version knows and does not build: they are refused by name,
so that a file which asks for them does not seem to have them. `DISTRIBUTED_ONLY` names those that a standard switch
does not have in vSphere either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from lab.model import VM_MEMORY
from lab.topology.bandwidth_schema import NetworkIoControlSpec, ShapingSpec, SharesValue, StandardShapingSpec
from lab.topology.chassis_schema import ChassisSpec, PvnicName
from lab.topology.section import Section
from lab.topology.values import (
    AcceptReject,
    Address,
    Between,
    CdpOnly,
    Delay,
    GroupName,
    IpAddress,
    Mac,
    Mtu,
    Name,
    PnicName,
    PortGroupVlan,
    RateValue,
    Release,
    Seconds,
    Service,
    SizeValue,
    Trunk,
    Vid,
    VlanKey,
    VmkName,
    network,
)
from lab.units import Rate

TeamingPolicy = Literal[
    "loadbalance_srcid",
    "loadbalance_srcmac",
    "loadbalance_ip",
    "failover_explicit",
    "loadbalance_loadbased",
]
LagHash = Literal[
    "srcMac",
    "destMac",
    "srcDestMac",
    "destIpVlan",
    "srcIpVlan",
    "srcDestIpVlan",
    "destTcpUdpPort",
    "srcTcpUdpPort",
    "srcDestTcpUdpPort",
    "destIpTcpUdpPort",
    "srcIpTcpUdpPort",
    "srcDestIpTcpUdpPort",
    "destIpTcpUdpPortVlan",
    "srcIpTcpUdpPortVlan",
    "srcDestIpTcpUdpPortVlan",
    "destIp",
    "srcIp",
    "srcDestIp",
    "vlan",
    "srcPortId",
]
"""As the API names them (VMwareDvsLacpLoadBalanceAlgorithm)."""


Device = Literal[
    "usb",
    "usb_vmotion",
    "physical_serial",
    "physical_parallel",
    "network_serial",
    "proxied_serial",
    "passthrough",
]
"""Attached to a VM; they decide where it may go, and carry no data here."""


class KnobsSpec(Section):
    NOT_EMULATED = frozenset(
        [
            "vmci_vm2vm",
            "tps",
        ]
    )
    block_guest_bpdu: Literal[0, 1] | None = None
    reverse_path: Literal[0, 1] = 1
    est_guest_tag: Literal["drop", "pass"] = "drop"
    prio_tag: Literal["untag", "drop"] = "untag"
    reverse_path_promisc: Literal[0, 1] = 0
    forged_compare: Literal["effective", "vmx"] = "effective"
    iphash: Literal["xor32", "lastoctet"] = "xor32"
    beacon_ethertype: Annotated[int, Between(0x0600, 0xFFFF)] = 0x8922
    vmotion_encrypt: Literal["off", "opportunistic", "required"] | None = None
    ft_encrypt: Literal["off", "opportunistic", "required"] | None = None
    pvnic_rx_cap: Literal["off", "on"] = "off"
    nfc_ssl: Literal["off", "on"] = "off"
    hbr_encrypt: Literal["off", "on"] = "off"


class ClockSpec(Section):
    speedup: Annotated[float, Between(1, 1000)] = 1.0


class SiteSpec(Section):
    pass


class PhysicalSwitchSpec(Section):
    NOT_EMULATED = frozenset(("fex",))
    site: Name | None = None
    mac_table: Annotated[int, Between(1, 1_000_000)] = 8192
    bpdu_guard: bool = False
    port_security: Annotated[int, Between(1, 8192)] | None = None
    pvlan_aware: bool = False
    stp: bool = False
    cdp: bool = False
    lldp: bool = False
    channel_hash: Literal["src-dst-ip", "src-mac", "dst-mac", "src-dst-mac", "src-ip", "dst-ip", "src-dst-port"] = (
        "src-dst-ip"
    )
    link_state_tracking: bool = False


class CableSpec(Section):
    NOT_EMULATED = frozenset(("delay", "jitter", "loss", "rate", "channel"))
    ends: Annotated[list[Name], Field(min_length=2, max_length=2)]
    trunk: Trunk | None = None
    native: Vid | None = None
    access: Vid | None = None


class PnicSpec(Section):
    NOT_EMULATED = frozenset(("driver", "sriov"))
    switch: Name
    speed: RateValue = Rate(10**10)
    trunk: Trunk | None = None
    native: Vid | None = None
    access: Vid | None = None
    mac: Mac | None = None
    channel: Annotated[int, Between(1, 4096)] | None = None
    lacp: Literal["active", "passive"] | None = None
    pvnic: PvnicName | None = None
    networks: list[Name] | None = None
    max: RateValue | None = None


class SecuritySpec(Section):
    promiscuous: AcceptReject | None = None
    mac_changes: AcceptReject | None = None
    forged_transmits: AcceptReject | None = None


class TeamingSpec(Section):
    NOT_EMULATED = frozenset(("failback_delay",))
    policy: TeamingPolicy | None = None
    active: list[Name] | None = None
    standby: list[Name] | None = None
    failback: bool | None = None
    rolling_order: bool | None = None
    detection: Literal["link", "beacon"] | None = None
    notify_switches: bool | None = None


class PortGroupSpec(Section):
    DISTRIBUTED_ONLY = frozenset(("pvlan", "mac_learning", "netflow", "network_pool"))
    vlan: PortGroupVlan = None
    security: SecuritySpec = SecuritySpec()
    teaming: TeamingSpec = TeamingSpec()
    shaping: StandardShapingSpec | None = None


class MacLearningSpec(Section):
    limit: Annotated[int, Between(0, 4096)] = 4096
    over_limit: Literal["drop", "allow"] = "drop"
    unicast_flooding: bool = True
    age: Annotated[int, Seconds(1, 65535)] = 600


class DistributedPortGroupSpec(PortGroupSpec):
    NOT_EMULATED = frozenset(("blocked",))
    DISTRIBUTED_ONLY = frozenset()
    pvlan: Vid | None = None
    mac_learning: MacLearningSpec | None = None
    netflow: bool = False
    shaping: ShapingSpec | None = None  # type: ignore[assignment]
    network_pool: Name | None = None


class StandardDiscoverySpec(Section):
    protocol: CdpOnly = "cdp"
    operation: Literal["none", "listen", "advertise", "both"] = "listen"


class DiscoverySpec(StandardDiscoverySpec):
    protocol: Literal["cdp", "lldp"] = "cdp"  # type: ignore[assignment]


class NetflowSpec(Section):
    collector: IpAddress
    port: Annotated[int, Between(1, 65535)] = 2055
    active_timeout: Annotated[int, Seconds(60, 3600)] = 60
    idle_timeout: Annotated[int, Seconds(10, 600)] = 15
    sampling: Annotated[int, Between(0, 16384)] = 4096
    internal_flows_only: bool = False
    domain: Annotated[int, Between(0, 2**32 - 1)] = 0


class MirrorFromSpec(Section):
    transmitted: list[Name] = []
    received: list[Name] = []
    vlans: list[Vid] = []


class MirrorToSpec(Section):
    ports: list[Name] = []
    uplinks: list[Name] = []
    addresses: list[IpAddress] = []


class MirrorSpec(Section):
    type: Literal[
        "dvPortMirror", "remoteMirrorSource", "remoteMirrorDest", "encapsulatedRemoteMirrorSource", "mixedDestMirror"
    ]
    sources: Annotated[MirrorFromSpec, Field(alias="from")]
    to: MirrorToSpec
    vlan: Vid | None = None
    strip_vlan: bool = False
    length: Annotated[int, Between(60, 9000)] | None = None
    sampling: Annotated[int, Between(1, 65535)] = 1
    normal_traffic: bool = False
    encapsulation: Literal["gre", "erspan2", "erspan3"] = "gre"
    id: Annotated[int, Between(0, 0x3FF)] = 0
    cos: Annotated[int, Between(0, 7)] = 0


class LagSpec(Section):
    uplinks: dict[Name, list[PnicName]]
    mode: Literal["active", "passive"] = "active"
    timeout: Literal["slow", "fast"] = "slow"
    hash: LagHash = "srcDestIpTcpUdpPortVlan"


class StandardSwitchSpec(Section):
    DISTRIBUTED_ONLY = frozenset(("pvlans", "mirrors", "netflow", "lags", "network_io_control", "multicast_filtering"))
    uplinks: list[PnicName] = []
    mtu: Mtu = 1500
    security: SecuritySpec = SecuritySpec()
    teaming: TeamingSpec = TeamingSpec()
    port_groups: dict[Name, PortGroupSpec] = {}
    discovery: StandardDiscoverySpec = StandardDiscoverySpec()
    shaping: StandardShapingSpec | None = None
    ports: Annotated[int, Between(1, 4088)] | None = None


class DistributedSwitchSpec(Section):
    NOT_EMULATED = frozenset(("health_check", "multicast_filtering"))
    uplinks: dict[Name, list[PnicName]] = {}
    lags: dict[Name, LagSpec] = {}
    mtu: Mtu = 1500
    security: SecuritySpec = SecuritySpec()
    teaming: TeamingSpec = TeamingSpec()
    port_groups: dict[Name, DistributedPortGroupSpec] = {}
    pvlans: dict[VlanKey, dict[VlanKey, Literal["promiscuous", "isolated", "community"]]] = {}
    mirrors: dict[Name, MirrorSpec] = {}
    netflow: NetflowSpec | None = None
    discovery: DiscoverySpec = DiscoverySpec()
    network_io_control: NetworkIoControlSpec | None = None


class VmkSpec(Section):
    NOT_EMULATED = frozenset(("netstack", "gateway", "dhcp"))
    port_group: GroupName
    services: list[Service] = []
    ip: Address | None = None
    mac: Mac | None = None


class HostSpec(Section):
    NOT_EMULATED = frozenset(("fabric", "storage", "dvfilters"))
    site: Name | None = None
    uplinks: dict[PnicName, PnicSpec] = {}
    standard_switches: dict[Name, StandardSwitchSpec] = {}
    vmkernel: dict[VmkName, VmkSpec] = {}
    gateway: IpAddress | None = None


class NetworkSpec(Section):
    NOT_EMULATED = frozenset(("vlan", "mac_learning"))
    port_group: GroupName
    mac: Mac | None = None
    ip: Address | None = None
    connected: bool = True
    blocked: bool = False
    security: SecuritySpec | None = None
    shaping: ShapingSpec | None = None
    shares: SharesValue | None = None
    limit: RateValue | None = None
    reservation: RateValue | None = None


class VmSpec(Section):
    NOT_EMULATED = frozenset(("disks", "serial", "vmci", "ft", "usb"))
    host: Name
    networks: Annotated[list[Annotated[NetworkSpec, BeforeValidator(network)]], Field(min_length=1, max_length=10)]
    ip: Address | None = None
    memory: SizeValue = VM_MEMORY
    devices: list[Device] = []


class StretchSpec(Section):
    kind: Literal["trunk", "otv", "vpls", "vxlan"] = "trunk"
    switches: Annotated[list[Name], Field(min_length=2)]
    vlans: Trunk | None = None
    mtu: Annotated[int, Between(1280, 9216)] = 1600
    delay: Delay = 0.0
    jitter: Delay = 0.0
    loss: Annotated[float, Between(0, 1)] = 0.0
    rate: RateValue | None = None


class MachineSpec(Section):
    NOT_EMULATED = frozenset(("networks", "collector"))
    switch: Name
    access: Vid | None = None
    trunk: Trunk | None = None
    native: Vid | None = None
    ip: Address | None = None
    mac: Mac | None = None
    routes: bool = False
    more_ips: list[Address] = []
    gateway: IpAddress | None = None


class ExpectSpec(Section):
    isolate: Annotated[list[GroupName], Field(min_length=2)] | None = None
    reach: Annotated[list[Name], Field(min_length=2)] | None = None


class TopologySpec(Section):
    NOT_EMULATED = frozenset(("storage", "fabrics", "dvfilters", "mirrors"))
    name: Name
    release: Release = "5.0"
    knobs: KnobsSpec = KnobsSpec()
    speed_scale: Annotated[float, Between(0, 1, above=True)] = 0.01
    clock: ClockSpec = ClockSpec()
    sites: dict[Name, SiteSpec] = {}
    physical_switches: dict[Name, PhysicalSwitchSpec] = {}
    cables: list[CableSpec] = []
    stretch: dict[Name, StretchSpec] = {}
    chassis: dict[Name, ChassisSpec] = {}
    hosts: dict[Name, HostSpec] = {}
    distributed_switches: dict[Name, DistributedSwitchSpec] = {}
    vms: dict[Name, VmSpec] = {}
    machines: dict[Name, MachineSpec] = {}
    expect: list[ExpectSpec] = []


def json_schema() -> Mapping[str, Any]:
    """JSON Schema of the file, for editors."""
    schema = TopologySpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "vswitchlab topology"
    return schema
