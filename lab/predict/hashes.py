"""The hashes that choose an uplink or a channel's member, from the bytes of a frame (docs/teaming.md, "Hashes")."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import xor

from lab.frame import Frame, mac_bytes

_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_TCP, _UDP, _FRAGMENT, _AUTHENTICATION = 6, 17, 44, 51
_SHORTEST = {_TCP: 20, _UDP: 8}
_OPTIONS = (0, 43, 60)
_BOTH_IPS = ("src_ip", "dst_ip")
_BOTH_PORTS = ("src_port", "dst_port")

LAG_WORDS: Mapping[str, tuple[str, ...]] = {
    "srcMac": ("src_mac",),
    "destMac": ("dst_mac",),
    "srcDestMac": ("src_mac", "dst_mac"),
    "destIpVlan": ("dst_ip", "vlan"),
    "srcIpVlan": ("src_ip", "vlan"),
    "srcDestIpVlan": (*_BOTH_IPS, "vlan"),
    "destTcpUdpPort": ("dst_port",),
    "srcTcpUdpPort": ("src_port",),
    "srcDestTcpUdpPort": _BOTH_PORTS,
    "destIpTcpUdpPort": ("dst_ip", "dst_port"),
    "srcIpTcpUdpPort": ("src_ip", "src_port"),
    "srcDestIpTcpUdpPort": (*_BOTH_IPS, *_BOTH_PORTS),
    "destIpTcpUdpPortVlan": ("dst_ip", "dst_port", "vlan"),
    "srcIpTcpUdpPortVlan": ("src_ip", "src_port", "vlan"),
    "srcDestIpTcpUdpPortVlan": (*_BOTH_IPS, *_BOTH_PORTS, "vlan"),
    "destIp": ("dst_ip",),
    "srcIp": ("src_ip",),
    "srcDestIp": _BOTH_IPS,
    "vlan": ("vlan",),
    "srcPortId": ("port_id",),
}
CHANNEL_WORDS: Mapping[str, tuple[str, ...]] = {
    "src-mac": ("src_mac",),
    "dst-mac": ("dst_mac",),
    "src-dst-mac": ("src_mac", "dst_mac"),
    "src-ip": ("src_ip",),
    "dst-ip": ("dst_ip",),
    "src-dst-ip": _BOTH_IPS,
    "src-dst-port": (*_BOTH_IPS, *_BOTH_PORTS),
}


@dataclass(frozen=True)
class Words:
    """The 32-bit words of one frame. Addresses and ports are 0 where it has none that a switch can read."""

    src_mac: int
    dst_mac: int
    src_ip: int = 0
    dst_ip: int = 0
    src_port: int = 0
    dst_port: int = 0

    def hash(self, names: tuple[str, ...], vlan: int = 0, port_id: int = 0) -> int:
        """XOR of the words with these names."""
        given = {"vlan": vlan, "port_id": port_id}
        return reduce(xor, (given[name] if name in given else getattr(self, name) for name in names), 0)


def words_of(frame: Frame, *, behind_a_tag: bool) -> Words:
    """`behind_a_tag`: inside the switch it still has a tag, and nothing behind that is read."""
    macs = _last_four(mac_bytes(frame.src)), _last_four(mac_bytes(frame.dst))
    if behind_a_tag:
        return Words(*macs)
    data = frame.payload
    if frame.ethertype == _ARP:
        return Words(*macs, *_arp(data))
    if frame.ethertype == _IPV4:
        return Words(*macs, *_ipv4(data))
    if frame.ethertype == _IPV6:
        return Words(*macs, *_ipv6(data))
    return Words(*macs)


def octet(mac: str) -> int:
    """The last one."""
    return mac_bytes(mac)[-1]


def _last_four(mac: bytes) -> int:
    return int.from_bytes(mac[-4:], "big")


def _arp(data: bytes) -> tuple[int, ...]:
    """What stands at octets 26 to 33 of the frame, 12 to 19 behind the ethertype (TEAM-IPH-5)."""
    if len(data) < 28 or data[:6] != b"\x00\x01\x08\x00\x06\x04":
        return ()
    return struct.unpack_from("!II", data, 12)


def _ipv4(data: bytes) -> tuple[int, ...]:
    if len(data) < 20:
        return ()
    header, total = (data[0] & 0xF) * 4, int.from_bytes(data[2:4], "big")
    if header < 20 or header > len(data) or not header <= total <= len(data):
        return ()
    (flags,) = struct.unpack_from("!H", data, 6)
    fragment = bool(flags & 0x3FFF)
    return (*struct.unpack_from("!II", data, 12), *(() if fragment else _ports(data[9], data[header:total])))


def _ipv6(data: bytes) -> tuple[int, ...]:
    if len(data) < 40:
        return ()
    length = int.from_bytes(data[4:6], "big")
    if 40 + length > len(data):
        return ()
    addresses = struct.unpack_from("!I", data, 20) + struct.unpack_from("!I", data, 36)
    return (*addresses, *_behind_options(data[6], data[40 : 40 + length]))


def _behind_options(kind: int, rest: bytes) -> tuple[int, ...]:
    """Ports behind IPv6's extension headers; none in a fragment, and none where a header is cut short."""
    while kind in (*_OPTIONS, _AUTHENTICATION, _FRAGMENT):
        if len(rest) < 8:
            return ()
        if kind == _FRAGMENT:
            if rest[2:4] != b"\0\0":
                return ()
            size = 8
        else:
            size = (rest[1] + 2) * 4 if kind == _AUTHENTICATION else (rest[1] + 1) * 8
        if size > len(rest):
            return ()
        kind, rest = rest[0], rest[size:]
    return _ports(kind, rest)


def _ports(protocol: int, data: bytes) -> tuple[int, ...]:
    shortest = _SHORTEST.get(protocol)
    return struct.unpack_from("!HH", data) if shortest is not None and len(data) >= shortest else ()
