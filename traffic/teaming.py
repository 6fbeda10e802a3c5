"""Frames that a host sends for its uplinks: RARP that tells pSwitches where a MAC is (NSW-6), and beacons (BCN-2)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from lab.frame import BROADCAST, Frame, Tag, mac_bytes, mac_text

RARP_ETHERTYPE = 0x8035
_RARP_REQUEST = 3
_SHORTEST = 46
_MARK = b"VLBC"
_HEAD = struct.Struct("!4s6sI")
_NAME_MAX = 255


def rarp(mac: str, vlan: int = 0) -> bytes:
    """A reverse ARP request of `mac` for itself, to everybody; `vlan` 0: untagged. At least 60 bytes before tags."""
    own = mac_bytes(mac)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, _RARP_REQUEST) + own + bytes(4) + own + bytes(4)
    return _frame(mac, vlan, RARP_ETHERTYPE, body)


class Beacon(NamedTuple):
    """`mac` is the virtual MAC of the pNIC that sent it, `uplink` that pNIC's name; `number` counts beacons."""

    mac: str
    uplink: str
    number: int


def virtual_mac(mac: str) -> str:
    """The MAC that a pNIC's beacons come from: 00:50:56:5x:xx:xx with the last digits of its own."""
    digits = mac.replace(":", "")[-5:]
    return f"00:50:56:5{digits[0]}:{digits[1:3]}:{digits[3:]}"


def beacon(said: Beacon, ethertype: int, vlan: int = 0) -> bytes:
    """To everybody, from the virtual MAC."""
    name = said.uplink.encode()[:_NAME_MAX]
    body = _HEAD.pack(_MARK, mac_bytes(said.mac), said.number & 0xFFFFFFFF) + bytes([len(name)]) + name
    return _frame(said.mac, vlan, ethertype, body)


def read_beacon(raw: bytes) -> Beacon | None:
    """None for what is no beacon, or not a whole one."""
    try:
        frame = Frame.parse(raw)
        mark, mac, number = _HEAD.unpack_from(frame.payload)
    except (ValueError, struct.error):
        return None
    rest = frame.payload[_HEAD.size :]
    if mark != _MARK or not rest or len(rest) <= rest[0]:
        return None
    name = rest[1 : 1 + rest[0]].decode(errors="replace")
    return Beacon(mac_text(mac), name, number)


def _frame(src: str, vlan: int, ethertype: int, body: bytes) -> bytes:
    tags = (Tag(vlan),) if vlan else ()
    return Frame(src, BROADCAST, tags, ethertype, body.ljust(_SHORTEST, b"\0")).to_bytes()
