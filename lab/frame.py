"""A frame, a hop and a trail as values, and the closed words for capture points and drop reasons."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

BROADCAST = "ff:ff:ff:ff:ff:ff"
BPDU_MACS = ("01:80:c2:00:00:00", "01:00:0c:cc:cc:cd")
CDP_MAC = "01:00:0c:cc:cc:cc"
LLDP_MAC = "01:80:c2:00:00:0e"
ALL_SYSTEMS = "01:00:5e:00:00:01"
"""The multicast group that every IPv4 guest asks its adapter for."""
LACP_ETHERTYPE = 0x8809
LOOP_ETHERTYPE = 0x9000
"""Of the frames by which an interconnect module looks for loops behind its ports to blades."""
TPID_8021Q = 0x8100
TPIDS = (0x8100, 0x88A8)
_TPID_BYTES = (b"\x81\x00", b"\x88\xa8")


class DropReason(StrEnum):
    """Why a frame ended. The lab's own closed vocabulary (CAP-5); not claimed to be VMware's."""

    VLAN_MISMATCH = "VlanTag Mismatch"
    DOUBLE_TAG = "Double Tag"
    FORGED_TRANSMIT = "Forged Transmit"
    MAC_CHANGE = "MAC Change Reject"
    GUEST_BPDU = "Guest BPDU Blocked"
    PVLAN_ISOLATED = "PVLAN Isolated"
    UNKNOWN_UNICAST = "Unknown Unicast from Uplink"
    REVERSE_PATH = "Reverse Path"
    PORT_BLOCKED = "Port Blocked"
    SHAPER_QUEUE = "Shaper Queue Full"
    NIOC_QUEUE = "NIOC Queue Full"
    DVFILTER = "DVFilter Drop"
    DVFILTER_CLOSED = "DVFilter FailClosed"
    NO_UPLINK = "No Active Uplink"
    MAC_LIMIT = "MAC Limit"
    OWN_PORT = "Destination Is Source Port"
    DISCONNECTED = "Port Disconnected"
    NO_RECEIVER = "No Receiver"
    MTU = "MTU Exceeded"
    MIRROR_DESTINATION = "Mirror Destination"
    DISCOVERY = "Discovery Frame Not Forwarded"
    PSWITCH_VLAN = "PSwitch VLAN Not Allowed"
    PSWITCH_NO_NATIVE = "PSwitch Untagged Without Native VLAN"
    PSWITCH_ACCESS_TAGGED = "PSwitch Tagged Frame On Access Port"
    PSWITCH_SAME_PORT = "PSwitch Destination Is Source Port"
    PSWITCH_NO_RECEIVER = "PSwitch No Port In VLAN"
    PSWITCH_BPDU_GUARD = "PSwitch BPDU Guard"
    PSWITCH_PORT_SECURITY = "PSwitch Port Security"
    PSWITCH_STP = "PSwitch Spanning Tree Discarding"
    PSWITCH_DISCOVERY = "PSwitch Discovery Frame Consumed"
    LINK_DOWN = "Link Down"
    BEACON = "Beacon Frame Not Forwarded"
    LACPDU = "LACPDU Not Forwarded"
    LAG_MEMBER = "LAG Member Not Up"
    PSWITCH_BLOCKED = "PSwitch Port Blocked"
    PSWITCH_CHANNEL = "PSwitch Channel Member Suspended"
    STRETCH = "Stretch Not Forwarded"
    UNUSED_PNIC = "No Switch Uses This pNIC"
    MODULE_STANDBY = "Module Uplink On Standby"
    PSWITCH_DEAF = "PSwitch Port Hears Nothing"


class Point(StrEnum):
    """Capture points, in pktcap-uw's words where it has one (statements CAP)."""

    VNIC_TX = "VnicTx"
    VNIC_RX = "VnicRx"
    VMK_TX = "VmkTx"
    VMK_RX = "VmkRx"
    NIC_TX = "NicTx"
    NIC_RX = "NicRx"
    PORT_INPUT = "PortInput"
    VNIC_OUT = "VnicOut"
    VMK_OUT = "VmkOut"
    UPLINK_RCV = "UplinkRcv"
    UPLINK_SND = "UplinkSnd"
    PSWITCH_RCV = "PSwitchRcv"
    PSWITCH_SND = "PSwitchSnd"
    DISPATCH = "EtherswitchDispath"
    SWITCH_OUTPUT = "EtherswitchOutput"
    PORT_OUTPUT = "PortOutput"
    DROP = "Drop"
    CAPTURE = "Capture"
    """Somewhere: a capture file that says no more than an interface's name."""


RECEIVE_POINTS = frozenset({Point.VNIC_RX, Point.VMK_RX, Point.NIC_RX})
WIRE_POINTS = frozenset(Point) - {Point.DISPATCH, Point.SWITCH_OUTPUT, Point.PORT_OUTPUT, Point.DROP, Point.CAPTURE}


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """One 802.1Q header. The TPID is kept for building frames; switches here cannot tell TPIDs apart (VLAN-15)."""

    vid: int
    pcp: int = 0
    tpid: int = TPID_8021Q

    def __str__(self) -> str:
        return f"{self.vid}" + (f"p{self.pcp}" if self.pcp else "")


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame: MACs as lower-case colon text, tag stack outermost first, type, and what follows it."""

    src: str
    dst: str
    vlans: tuple[Tag, ...] = ()
    ethertype: int = 0x88B5
    payload: bytes = b""

    @property
    def is_multicast(self) -> bool:
        """True for broadcast too: the group bit of the destination."""
        return bool(int(self.dst[:2], 16) & 1)

    def to_bytes(self) -> bytes:
        head = mac_bytes(self.dst) + mac_bytes(self.src)
        for tag in self.vlans:
            head += struct.pack("!HH", tag.tpid, (tag.pcp << 13) | tag.vid)
        return head + struct.pack("!H", self.ethertype) + self.payload

    @classmethod
    def parse(cls, raw: bytes) -> Frame:
        """Raises ValueError for less than a whole header."""
        if len(raw) < 14:
            raise ValueError(f"{len(raw)} bytes are no Ethernet frame")
        tags: list[Tag] = []
        at = 12
        (kind,) = struct.unpack_from("!H", raw, at)
        while kind in TPIDS and len(raw) >= at + 6:
            tci, following = struct.unpack_from("!HH", raw, at + 2)
            tags.append(Tag(tci & 0xFFF, tci >> 13, kind))
            at, kind = at + 4, following
        return cls(mac_text(raw[6:12]), mac_text(raw[:6]), tuple(tags), kind, raw[at + 2 :])


class Hop(NamedTuple):
    """One sighting of a frame at one point, seen on a wire, read from a switch's trace, or predicted.

    `box` is the host (a VM's or vmkernel's too), pSwitch or machine; `node` the VM, vmkernel node or machine whose
    interface or switch port it is, and the box itself at uplinks and between pSwitches; `interface` is the model's
    name where the hop was seen (`eth0` in web1, `web1.eth0` on its switch, `vmnic0`, `esx1-vmnic0`); `direction`
    is `in` or `out` as that interface's side sees it (VnicTx is `out`, PortInput `in`). A hop with a `reason` is
    where the frame, or one copy, ended. `parent` is the index of the hop before it in the same sequence. A predicted
    hop that is not `certain` may be seen or not (a sampled mirror copy). `encapsulation` is what the frame was seen
    inside of (`gre`, `erspan2`, `erspan3`, `vxlan`), innermost last. `port_group` (`dvs0/web`) is filled in for people
    (`lab.predict.groups`).

    A named tuple, because a matrix makes a million of them and a frozen dataclass takes three times as long to make.
    """

    box: str
    node: str
    point: Point
    direction: str
    interface: str
    vlans: tuple[Tag, ...]
    src: str
    dst: str
    evidence: str = "predicted"
    switch: str = ""
    reason: DropReason | None = None
    statements: tuple[str, ...] = ()
    time_ns: int | None = None
    parent: int | None = None
    medium: str = "vswitch"
    in_clear: bool = True
    certain: bool = True
    encapsulation: str = ""
    port_group: str = ""

    @property
    def observation(self) -> str:
        """In NSX Traceflow's words: Received, Forwarded, Delivered or Dropped."""
        if self.reason is not None:
            return "Dropped"
        if self.point in RECEIVE_POINTS:
            return "Delivered"
        if not self.direction:
            return "Seen"
        return "Received" if self.direction == "in" else "Forwarded"

    @property
    def key(self) -> tuple[str, str, str, str, tuple[int, ...], str, str]:
        """What a prediction and a sighting must share to be the same hop."""
        vids = tuple(t.vid for t in self.vlans)
        return (self.box, self.node, self.point.value, self.interface, vids, self.src, self.dst)


def vids_of(raw: bytes) -> tuple[int, ...]:
    """The VLAN IDs of a frame's tags, outermost first, without parsing the rest of it."""
    vids: tuple[int, ...] = ()
    at = 12
    while raw[at : at + 2] in _TPID_BYTES:
        vids += ((raw[at + 2] & 0xF) << 8 | raw[at + 3],)
        at += 4
    return vids


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def mac_text(raw: bytes) -> str:
    return raw.hex(":")


_IPV4, _GRE = 0x0800, 47


def is_gre(raw: bytes) -> bool:
    """True for a frame, tags or not, that carries GRE over IPv4."""
    at = 12
    while int.from_bytes(raw[at : at + 2], "big") in TPIDS:
        at += 4
    return int.from_bytes(raw[at : at + 2], "big") == _IPV4 and raw[at + 11 : at + 12] == bytes([_GRE])


def way_to(hops: Sequence[Hop], index: int) -> tuple[Hop, ...]:
    """From where the frame was first seen to the hop at `index`."""
    way: list[Hop] = []
    at: int | None = index
    while at is not None:
        way.append(hops[at])
        at = hops[at].parent
    return tuple(reversed(way))


def ways(hops: Sequence[Hop]) -> Iterator[tuple[Hop, ...]]:
    """From where one frame was first seen to each of its ends."""
    parents = {hop.parent for hop in hops}
    yield from (way_to(hops, index) for index in range(len(hops)) if index not in parents)
