"""The topology file's grammar: keys, types and ranges. What names mean is for `resolve`.

`NOT_EMULATED` of a section names keys of vSphere that this version knows and does not build: they are refused by name,
so that a file which asks for them does not seem to have them. `DISTRIBUTED_ONLY` names those that a standard switch
does not have in vSphere either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from lab.model import ALL_VLANS, VLAN_MAX, Ranges
from lab.units import Duration, Rate

NAME_MAX = 80
RELEASES = ("4.1", "5.0", "5.1", "5.5", "6.0", "6.5", "6.7", "7.0", "8.0")
POLICIES = (
    "loadbalance_srcid",
    "loadbalance_srcmac",
    "loadbalance_ip",
    "failover_explicit",
    "loadbalance_loadbased",
)
LATER = "is not emulated by this version"
_NAME = re.compile(r"[\w ._()#+-]+")
_RANGE = re.compile(r"([0-9]{1,4})-([0-9]{1,4})")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def _name(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value!r} is a number where a name is meant; write it in quotes")
    if isinstance(value, str):
        if not value.strip() or value != value.strip():
            raise ValueError("a name must not be empty or begin or end with a space")
        if len(value) > NAME_MAX:
            raise ValueError(f"a name of {len(value)} characters; the longest is {NAME_MAX}")
        if value.startswith(".") or not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no name: letters, digits, space and ._-()#+, not beginning with a dot")
    return value


def _group_name(value: Any) -> Any:
    if isinstance(value, str):
        for part in value.split("/", 1):
            _name(part)
        return value
    return _name(value)


def _release(value: Any) -> Any:
    text = str(value)
    if text not in RELEASES or isinstance(value, bool):
        raise ValueError(f"{text!r} is no release of vSphere that is known here; one of {', '.join(RELEASES)}")
    return text


def _rate(value: Any) -> Rate:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('must be a rate, such as "10G" or "100M"')
    rate = Rate.parse(value)
    if not 0 < rate.bits <= 10**12:
        raise ValueError(f"{value!r} is no rate of a pNIC")
    return rate


def _ranges(value: Any, lowest: int) -> Ranges:
    """A list of VLAN IDs and ranges -> sorted, joined ranges."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("an empty list of VLANs")
    found: list[tuple[int, int]] = []
    for item in items:
        spread = _RANGE.fullmatch(item) if isinstance(item, str) else None
        if spread:
            low, high = int(spread[1]), int(spread[2])
        elif isinstance(item, int) and not isinstance(item, bool):
            low = high = item
        else:
            raise ValueError(f"{item!r} is neither a VLAN ID nor a range such as 20-29")
        if low > high:
            raise ValueError(f"the range {item!r} runs backwards")
        if low < lowest or high > VLAN_MAX:
            raise ValueError(f"VLAN {item} is out of range {lowest}-{VLAN_MAX}")
        found.append((low, high))
    joined: list[tuple[int, int]] = []
    for low, high in sorted(found):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def _trunk(value: Any) -> Ranges:
    return ALL_VLANS if value == "all" else _ranges(value, 1)


def _port_group_vlan(value: Any) -> int | Ranges:
    if isinstance(value, list):
        return _ranges(value, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no VLAN: 0, 1 to {VLAN_MAX}, 4095, or a list of IDs and ranges")
    if not 0 <= value <= 4095:
        raise ValueError(f"VLAN {value} is out of range 0-4095")
    return value


def _mac(value: Any) -> str:
    text = value.lower() if isinstance(value, str) else value
    if not isinstance(text, str) or not _MAC.fullmatch(text):
        raise ValueError(f"{value!r} is no MAC address such as 00:50:56:00:00:01")
    if int(text[:2], 16) & 1 or text == "00:00:00:00:00:00":
        raise ValueError(f"{text} is no address of a single adapter")
    return text


def _address(value: Any) -> str:
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"{value!r} is no address with its prefix length, such as 10.0.10.1/24")
    try:
        found = ipaddress.ip_interface(value)
    except ValueError:
        raise ValueError(f"{value!r} is no address with its prefix length, such as 10.0.10.1/24") from None
    network = found.network
    point_to_point = network.num_addresses <= 2
    if found.version == 4 and not point_to_point and found.ip in (network.network_address, network.broadcast_address):
        raise ValueError(f"{value} is the network's own or its broadcast address")
    if found.is_multicast or found.is_unspecified or found.is_loopback:
        raise ValueError(f"{value} is no address of a single adapter")
    return str(found)


def _network(value: Any) -> Any:
    return {"port_group": value} if isinstance(value, str) else value


def _off(value: Any) -> bool:
    if value is not False:
        raise ValueError(f"{LATER}; only `false`" if value is True else "must be true or false")
    return False


def _later(*known: str) -> Any:
    def check(value: Any) -> Any:
        if value in known:
            raise ValueError(f"{value} {LATER}")
        return value

    return BeforeValidator(check)


def _duration(low: float, high: float) -> Any:
    """Whole seconds within the API's range."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError('must be a time, such as "60s" or "10min"')
        seconds = Duration.parse(value).seconds
        if not low <= seconds <= high or seconds != int(seconds):
            raise ValueError(f"{value!r} is not a whole number of seconds from {low:g} to {high:g}")
        return int(seconds)

    return PlainValidator(parse)


def _ip(value: Any) -> str:
    try:
        found = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.version != 4 or found.is_multicast or found.is_unspecified or found.is_loopback:
        raise ValueError(f"{value!r} is no IPv4 address of a single adapter, such as 10.0.5.9")
    return str(found)


def _vlan_key(value: Any) -> int:
    text = str(value)
    if not text.isdigit() or not 1 <= int(text) <= VLAN_MAX:
        raise ValueError(f"{text!r} is no VLAN ID from 1 to {VLAN_MAX}")
    return int(text)


_VLANS = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+-[0-9]+$"}]}
Name = Annotated[str, BeforeValidator(_name), Field(min_length=1, max_length=NAME_MAX)]
GroupName = Annotated[str, BeforeValidator(_group_name), Field(min_length=1, max_length=2 * NAME_MAX + 1)]
Release = Annotated[str, BeforeValidator(_release), WithJsonSchema({"enum": [*RELEASES]})]
RateValue = Annotated[Rate, PlainValidator(_rate), WithJsonSchema({"type": ["string", "number"], "examples": ["10G"]})]
Trunk = Annotated[
    tuple[tuple[int, int], ...],
    PlainValidator(_trunk),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": _VLANS}, *_VLANS["anyOf"]]}),
]
PortGroupVlan = Annotated[
    Any,
    PlainValidator(_port_group_vlan),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 4095}, {"type": "array", "items": _VLANS}]}),
]
Vid = Annotated[int, Field(ge=1, le=VLAN_MAX)]
Mac = Annotated[str, PlainValidator(_mac), WithJsonSchema({"type": "string", "examples": ["00:50:56:00:00:01"]})]
Address = Annotated[str, PlainValidator(_address), WithJsonSchema({"type": "string", "examples": ["10.0.10.1/24"]})]
Off = Annotated[bool, PlainValidator(_off), WithJsonSchema({"const": False})]
VlanKey = Annotated[int, PlainValidator(_vlan_key), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,4}$"})]
IpAddress = Annotated[str, PlainValidator(_ip), WithJsonSchema({"type": "string", "examples": ["10.0.5.9"]})]
_TIME = WithJsonSchema({"type": ["string", "number"], "examples": ["60s"]})
PnicName = Annotated[str, Field(pattern=r"^vmnic[0-9]{1,3}$")]
VmkName = Annotated[str, Field(pattern=r"^vmk[0-9]{1,3}$")]
Mtu = Annotated[int, Field(ge=1280, le=9000)]
AcceptReject = Literal["accept", "reject"]
Service = Literal[
    "management",
    "vmotion",
    "ft_logging",
    "provisioning",
    "vsphere_replication",
    "vsphere_replication_nfc",
    "vsan",
    "iscsi",
    "nfs",
]


class Section(BaseModel):
    """A mapping of the file: unknown keys refused, no value turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    NOT_EMULATED: ClassVar[frozenset[str]] = frozenset()
    DISTRIBUTED_ONLY: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _written(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields.get(info.field_name or "")
        if value is None and field is not None and field.default is None:
            raise ValueError("nothing was written after the colon")
        return value


class KnobsSpec(Section):
    NOT_EMULATED = frozenset(
        [
            "beacon_ethertype",
            "iphash",
            "nioc",
            "vmci_vm2vm",
            "vmotion_encrypt",
            "ft_encrypt",
            "pvnic_rx_cap",
            "tps",
        ]
    )
    block_guest_bpdu: Literal[0, 1] | None = None
    reverse_path: Literal[0, 1] = 1
    est_guest_tag: Literal["drop", "pass"] = "drop"
    prio_tag: Literal["untag", "drop"] = "untag"
    reverse_path_promisc: Literal[0, 1] = 0
    forged_compare: Literal["effective", "vmx"] = "effective"


class ClockSpec(Section):
    speedup: Annotated[float, Field(ge=1, le=1000)] = 1.0


class SiteSpec(Section):
    pass


class PhysicalSwitchSpec(Section):
    NOT_EMULATED = frozenset(("channel", "link_state_tracking", "fex"))
    site: Name | None = None
    mac_table: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    bpdu_guard: bool = False
    port_security: Annotated[int, Field(ge=1, le=8192)] | None = None
    pvlan_aware: bool = False
    stp: bool = False
    cdp: bool = False
    lldp: bool = False


class CableSpec(Section):
    NOT_EMULATED = frozenset(("delay", "jitter", "loss", "rate", "channel"))
    ends: Annotated[list[Name], Field(min_length=2, max_length=2)]
    trunk: Trunk | None = None
    native: Vid | None = None
    access: Vid | None = None


class PnicSpec(Section):
    NOT_EMULATED = frozenset(("driver", "pvnic", "sriov"))
    switch: Name
    speed: RateValue = Rate(10**10)
    trunk: Trunk | None = None
    native: Vid | None = None
    access: Vid | None = None
    mac: Mac | None = None


class SecuritySpec(Section):
    promiscuous: AcceptReject | None = None
    mac_changes: AcceptReject | None = None
    forged_transmits: AcceptReject | None = None


class TeamingSpec(Section):
    NOT_EMULATED = frozenset(("notify_switches", "rolling_order", "failback_delay"))
    policy: Annotated[Literal["loadbalance_srcid"], _later(*POLICIES[1:])] | None = None
    active: list[Name] | None = None
    standby: list[Name] | None = None
    failback: bool | None = None
    detection: Annotated[Literal["link"], _later("beacon")] = "link"


class PortGroupSpec(Section):
    NOT_EMULATED = frozenset(("shaping",))
    DISTRIBUTED_ONLY = frozenset(("pvlan", "mac_learning", "netflow", "network_pool"))
    vlan: PortGroupVlan = None
    security: SecuritySpec = SecuritySpec()
    teaming: TeamingSpec = TeamingSpec()


class MacLearningSpec(Section):
    limit: Annotated[int, Field(ge=0, le=4096)] = 4096
    over_limit: Literal["drop", "allow"] = "drop"
    unicast_flooding: bool = True
    age: Annotated[int, _duration(1, 65535), _TIME] = 600


class DistributedPortGroupSpec(PortGroupSpec):
    NOT_EMULATED = frozenset(("shaping", "network_pool", "blocked"))
    DISTRIBUTED_ONLY = frozenset()
    pvlan: Vid | None = None
    mac_learning: MacLearningSpec | None = None
    netflow: bool = False


class StandardDiscoverySpec(Section):
    protocol: Literal["cdp"] = "cdp"
    operation: Literal["none", "listen", "advertise", "both"] = "listen"


class DiscoverySpec(StandardDiscoverySpec):
    protocol: Literal["cdp", "lldp"] = "cdp"  # type: ignore[assignment]


class NetflowSpec(Section):
    collector: IpAddress
    port: Annotated[int, Field(ge=1, le=65535)] = 2055
    active_timeout: Annotated[int, _duration(60, 3600), _TIME] = 60
    idle_timeout: Annotated[int, _duration(10, 600), _TIME] = 15
    sampling: Annotated[int, Field(ge=0, le=16384)] = 4096
    internal_flows_only: bool = False
    domain: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0


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
    length: Annotated[int, Field(ge=60, le=9000)] | None = None
    sampling: Annotated[int, Field(ge=1, le=65535)] = 1
    normal_traffic: bool = False
    encapsulation: Literal["gre", "erspan2", "erspan3"] = "gre"
    id: Annotated[int, Field(ge=0, le=0x3FF)] = 0
    cos: Annotated[int, Field(ge=0, le=7)] = 0


class StandardSwitchSpec(Section):
    NOT_EMULATED = frozenset(("shaping", "ports"))
    DISTRIBUTED_ONLY = frozenset(("pvlans", "mirrors", "netflow", "lags", "network_io_control", "multicast_filtering"))
    uplinks: list[PnicName] = []
    mtu: Mtu = 1500
    security: SecuritySpec = SecuritySpec()
    teaming: TeamingSpec = TeamingSpec()
    port_groups: dict[Name, PortGroupSpec] = {}
    discovery: StandardDiscoverySpec = StandardDiscoverySpec()


class DistributedSwitchSpec(Section):
    NOT_EMULATED = frozenset(("network_io_control", "lags", "health_check", "multicast_filtering"))
    uplinks: dict[Name, list[PnicName]] = {}
    mtu: Mtu = 1500
    security: SecuritySpec = SecuritySpec()
    teaming: TeamingSpec = TeamingSpec()
    port_groups: dict[Name, DistributedPortGroupSpec] = {}
    pvlans: dict[VlanKey, dict[VlanKey, Literal["promiscuous", "isolated", "community"]]] = {}
    mirrors: dict[Name, MirrorSpec] = {}
    netflow: NetflowSpec | None = None
    discovery: DiscoverySpec = DiscoverySpec()


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


class NetworkSpec(Section):
    NOT_EMULATED = frozenset(("shares", "limit", "reservation", "shaping", "vlan", "mac_learning"))
    port_group: GroupName
    mac: Mac | None = None
    ip: Address | None = None
    connected: bool = True
    blocked: bool = False
    security: SecuritySpec | None = None


class VmSpec(Section):
    NOT_EMULATED = frozenset(("disks", "serial", "vmci", "ft", "usb"))
    host: Name
    networks: Annotated[list[Annotated[NetworkSpec, BeforeValidator(_network)]], Field(min_length=1, max_length=10)]
    ip: Address | None = None


class MachineSpec(Section):
    NOT_EMULATED = frozenset(("networks", "collector"))
    switch: Name
    access: Vid | None = None
    trunk: Trunk | None = None
    native: Vid | None = None
    ip: Address | None = None
    mac: Mac | None = None
    routes: bool = False


class ExpectSpec(Section):
    isolate: Annotated[list[GroupName], Field(min_length=2)] | None = None
    reach: Annotated[list[Name], Field(min_length=2)] | None = None


class TopologySpec(Section):
    NOT_EMULATED = frozenset(("storage", "fabrics", "stretch", "chassis", "dvfilters", "mirrors"))
    name: Name
    release: Release = "5.0"
    knobs: KnobsSpec = KnobsSpec()
    speed_scale: Annotated[float, Field(gt=0, le=1)] = 0.01
    clock: ClockSpec = ClockSpec()
    sites: dict[Name, SiteSpec] = {}
    physical_switches: dict[Name, PhysicalSwitchSpec] = {}
    cables: list[CableSpec] = []
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
