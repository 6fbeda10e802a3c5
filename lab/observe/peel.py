"""What is inside a captured frame, and which frame it is wherever it was seen.

A frame that switches pass on differs in tags only; a router changes MACs, the time to live and a checksum. All of these
are left out of its identity.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from lab.frame import TPIDS, Frame

IPV4, IPV6 = 0x0800, 0x86DD
_GRE, _UDP = 47, 17
_VXLAN_PORTS = (4789, 8472)
"""IANA's, and VMware's before 6.5."""
_VXLAN_HAS_VNI = 0x08
_GRE_KINDS = {0x6558: ("gre", 0), 0x88BE: ("erspan2", 8), 0x22EB: ("erspan3", 12)}
_CHECKSUM, _KEY, _SEQUENCE = 0x8000, 0x2000, 0x1000
_ERSPAN3_OPTION = 0x01
IDENTITY_SIZE = 16


class Peeled(NamedTuple):
    """The innermost Ethernet frame, and what it is inside of, outermost first (`erspan2`, `vxlan`; empty: nothing)."""

    frame: Frame
    encapsulation: str


def peel(raw: bytes) -> Peeled:
    """Raises ValueError for less than an Ethernet header."""
    around: list[str] = []
    frame = Frame.parse(raw)
    while len(around) < 4:
        kind, inner = _inside(frame)
        if len(inner) < 14:
            break
        around.append(kind)
        frame = Frame.parse(inner)
    return Peeled(frame, " ".join(around))


def _inside(frame: Frame) -> tuple[str, bytes]:
    protocol, data = _transport(frame)
    if protocol == _UDP and len(data) > 16 and int.from_bytes(data[2:4], "big") in _VXLAN_PORTS:
        return ("vxlan", data[16:]) if data[8] & _VXLAN_HAS_VNI else ("", b"")
    if protocol != _GRE or len(data) < 4:
        return "", b""
    flags, kind = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    if kind not in _GRE_KINDS:
        return "", b""
    name, header = _GRE_KINDS[kind]
    at = 4 + 4 * sum(bool(flags & bit) for bit in (_CHECKSUM, _KEY, _SEQUENCE))
    if name == "erspan2" and not flags & _SEQUENCE:
        header = 0  # type I has no header of its own
    if name == "erspan3" and data[at + 11 : at + 12] and data[at + 11] & _ERSPAN3_OPTION:
        header += 8
    return name, data[at + header :]


def _transport(frame: Frame) -> tuple[int, bytes]:
    """(IP protocol, what follows the IP header); (-1, nothing) for what is no whole IP packet or a later fragment."""
    data = frame.payload
    if frame.ethertype == IPV4 and len(data) >= 20:
        later = int.from_bytes(data[6:8], "big") & 0x1FFF
        length = int.from_bytes(data[2:4], "big") or len(data)
        return (-1, b"") if later else (data[9], data[(data[0] & 0xF) * 4 : length])
    if frame.ethertype == IPV6 and len(data) >= 40:
        return data[6], data[40 : 40 + int.from_bytes(data[4:6], "big")]
    return -1, b""


def untagged(raw: bytes) -> bytes:
    """A frame without its tags, as filters for untagged frames want it."""
    at = 12
    while int.from_bytes(raw[at : at + 2], "big") in TPIDS:
        at += 4
    return raw[:12] + raw[at:]


def identity(frame: Frame) -> bytes:
    """16 bytes, the same wherever the frame is seen."""
    data = frame.payload
    if frame.ethertype == IPV4 and len(data) >= 20:
        data = data[:8] + b"\0" + data[9:10] + b"\0\0" + data[12:]
    elif frame.ethertype == IPV6 and len(data) >= 40:
        data = data[:7] + b"\0" + data[8:]
    head = frame.ethertype.to_bytes(2, "big")
    return hashlib.blake2b(head + data.rstrip(b"\0"), digest_size=IDENTITY_SIZE).digest()


def conversation(frame: Frame) -> tuple[object, ...]:
    """What frames of one direction of a flow share: MACs, tags, protocol and ports."""
    protocol, data = _transport(frame)
    ports = data[:4] if protocol in (6, _UDP) else b""
    addresses = frame.payload[12:20] if frame.ethertype == IPV4 else frame.payload[8:40] if protocol >= 0 else b""
    return frame.src, frame.dst, frame.vlans, frame.ethertype, protocol, addresses, ports
