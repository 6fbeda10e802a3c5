"""What stands behind a drawn frame's ethertype: headers that hashes read, whole and broken ones."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from lab.frame import mac_bytes
from traffic.canary import PAYLOAD_SIZE

if TYPE_CHECKING:
    from .strategies import Dice

IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
TCP, UDP, ICMP = 6, 17, 1
PLAIN = bytes(46)
ROOM = bytes(PAYLOAD_SIZE)
"""Where a canary has room behind a UDP header."""
ADDRESSES = ((10, 0, 0, 10), (10, 0, 1, 21), (172, 16, 9, 200), (192, 168, 7, 33), (255, 255, 255, 255))
PORTS = (9, 80, 3306, 65535)


def draw_payload(dice: Dice, ethertype: int, src: str, dst: str) -> bytes:
    """One in eight is nothing but zeros, or cut short."""
    if ethertype not in (IPV4, ARP, IPV6) or dice.chance(6):
        return PLAIN
    here, there = bytes(dice.pick(ADDRESSES)), bytes(dice.pick(ADDRESSES))
    if ethertype == ARP:
        asked = struct.pack("!HHBBH", 1, IPV4, 6, 4, dice.pick((1, 2)))
        payload = (asked + mac_bytes(src) + here + mac_bytes(dst) + there).ljust(46, b"\0")
    elif ethertype == IPV4:
        payload = _ipv4(dice, here, there)
    else:
        payload = _ipv6(dice, here, there)
    return payload[: dice.number(14, len(payload))] if dice.chance(6) else payload


def udp_with_room(dice: Dice) -> bytes:
    """IPv4 and UDP headers, and room for a canary."""
    here, there = bytes(dice.pick(ADDRESSES)), bytes(dice.pick(ADDRESSES))
    return _packet(here, there, UDP, _l4(UDP, dice.pick(PORTS), dice.pick(PORTS)), 0)


def _l4(protocol: int, src: int, dst: int) -> bytes:
    if protocol == UDP:
        return struct.pack("!HHHH", src, dst, 8 + len(ROOM), 0) + ROOM
    if protocol == TCP:
        return struct.pack("!HHIIBBHHH", src, dst, 1, 0, 5 << 4, 2, 100, 0, 0) + ROOM
    return struct.pack("!BBHHH", 8, 0, 0, 1, 1) + ROOM


def _ipv4(dice: Dice, src: bytes, dst: bytes) -> bytes:
    protocol = dice.pick((UDP, TCP, UDP, TCP, ICMP))
    flags = dice.pick((0, 0x4000, 0x4000, 0x2000, 0x2005, 5))
    return _packet(src, dst, protocol, _l4(protocol, dice.pick(PORTS), dice.pick(PORTS)), flags)


def _packet(src: bytes, dst: bytes, protocol: int, inner: bytes, flags: int) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inner), 1, flags, 64, protocol, 0) + src + dst
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", total ^ 0xFFFF) + head[12:] + inner


def _ipv6(dice: Dice, src: bytes, dst: bytes) -> bytes:
    protocol = dice.pick((UDP, TCP, 58))
    inner = _l4(protocol, dice.pick(PORTS), dice.pick(PORTS))
    kind, rest = protocol, inner
    if dice.chance(20):  # hop-by-hop options in front
        kind, rest = 0, bytes([protocol, 0, 1, 4, 0, 0, 0, 0]) + inner
    net = bytes.fromhex("20010db8") + bytes(8)
    return struct.pack("!IHBB", 6 << 28, len(rest), kind, 64) + net + src + net + dst + rest
