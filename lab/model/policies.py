"""What ports, port groups and switches are configured to do: VLANs, security, teaming, bandwidth, mirroring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from lab.units import Rate, Size

VLAN_MAX = 4094
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
class Lag:
    """A link aggregation group of a distributed switch (LACP-1 to LACP-5). `uplinks[host]` are its pNICs there; `mode`
    is `active` or `passive`; `fast`: a LACPDU every second instead of every 30; `hash` is the API's name."""

    name: str
    uplinks: Mapping[str, tuple[str, ...]]
    mode: str = "active"
    fast: bool = False
    hash: str = "srcDestIpTcpUdpPortVlan"
