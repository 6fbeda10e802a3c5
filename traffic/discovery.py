"""CDP and LLDP frames: what a device says of itself to whoever is at the other end of the cable.

Written out here and not with scapy: who listens on every uplink must survive whatever a guest sends, and start quickly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import UsageError
from lab.frame import CDP_MAC, LLDP_MAC, TPIDS, mac_bytes, mac_text

CDP, LLDP = "cdp", "lldp"
CDP_INTERVAL, CDP_TTL = 60, 180
LLDP_INTERVAL, LLDP_TTL = 30, 120
LLDP_ETHERTYPE = 0x88CC
MIN_FRAME = 60
"""Bytes of the shortest Ethernet frame, without its checksum."""

_SNAP_CDP = bytes.fromhex("aaaa0300000c2000")
_CDP_TYPES = {"device": 1, "port": 3, "description": 5, "platform": 6}
_CDP_CAPABILITIES, _CDP_NATIVE_VLAN = 4, 10
_CDP_BITS = {"router": 0x01, "bridge": 0x02, "switch": 0x08, "host": 0x10}
_LLDP_CHASSIS, _LLDP_PORT, _LLDP_TTL, _LLDP_NAME, _LLDP_TEXT, _LLDP_ABLE = 1, 2, 3, 5, 6, 7
_LLDP_ORGANISATION = 127
_LLDP_PVID = bytes.fromhex("0080c201")
_LLDP_BITS = {"repeater": 0x02, "bridge": 0x04, "router": 0x10, "station": 0x80}
_CHASSIS_MAC, _CHASSIS_INTERFACE = 4, 6
_PORT_MAC, _PORT_INTERFACE = 3, 5
_LLDP_LONGEST, _LLDP_TEXT_LONGEST = 511, 255
_LONGEST_LENGTH = 0x5FF
"""Of the length that stands where other frames have their ethertype."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one frame says: `device` and `port` name its sender; `capabilities` are `switch`, `bridge`, `router`, ...

    `native_vlan` is the VLAN of untagged frames there, where it says one; `ttl` the seconds to believe it.
    `platform` and `description` are CDP's platform and software version; LLDP has only a system description.
    """

    protocol: str
    device: str
    port: str
    ttl: int
    native_vlan: int | None = None
    platform: str = ""
    description: str = ""
    capabilities: tuple[str, ...] = ()


def interval_of(protocol: str) -> int:
    """Seconds between two frames (MIR-12)."""
    return CDP_INTERVAL if protocol == CDP else LLDP_INTERVAL


def build(said: Announcement, src: str, esx: bool = False) -> bytes:
    """A whole frame from the MAC `src`. An ESX host names its LLDP chassis by the pNIC and its LLDP port by the MAC.

    Raises UsageError for a text that is too long for its field.
    """
    body = _cdp(said) if said.protocol == CDP else _lldp(said, src, esx)
    to, kind = (CDP_MAC, len(body)) if said.protocol == CDP else (LLDP_MAC, LLDP_ETHERTYPE)
    return (mac_bytes(to) + mac_bytes(src) + struct.pack("!H", kind) + body).ljust(MIN_FRAME, b"\0")


def parse(raw: bytes) -> Announcement | None:
    """What a frame says, or None for any frame that is not whole and sound CDP or LLDP. Tags are skipped."""
    at = 12
    while len(raw) >= at + 4 and int.from_bytes(raw[at : at + 2], "big") in TPIDS:
        at += 4
    kind, body = int.from_bytes(raw[at : at + 2], "big"), raw[at + 2 :]
    to = mac_text(raw[:6])
    try:
        if to == CDP_MAC and kind <= min(len(body), _LONGEST_LENGTH) and body.startswith(_SNAP_CDP):
            return _read_cdp(body[len(_SNAP_CDP) : kind])
        if to == LLDP_MAC and kind == LLDP_ETHERTYPE:
            return _read_lldp(body)
    except (ValueError, struct.error):
        return None
    return None


def _cdp(said: Announcement) -> bytes:
    fields = [(number, getattr(said, name).encode()) for name, number in _CDP_TYPES.items()]
    bits = sum(_CDP_BITS.get(word, 0) for word in said.capabilities)
    fields.append((_CDP_CAPABILITIES, struct.pack("!I", bits)))
    if said.native_vlan is not None:
        fields.append((_CDP_NATIVE_VLAN, struct.pack("!H", said.native_vlan)))
    told = b"".join(struct.pack("!HH", kind, len(value) + 4) + value for kind, value in sorted(fields) if value)
    head = struct.pack("!BBH", 2, said.ttl, 0) + told
    if len(head) > 1400:
        raise UsageError(f"{said.device} {said.port}: the texts do not fit in a CDP frame")
    return _SNAP_CDP + head[:2] + struct.pack("!H", cdp_checksum(head)) + head[4:]


def cdp_checksum(packet: bytes) -> int:
    """The Internet checksum, but for an odd length: Cisco's code adds the last byte as a signed number, and one less
    when it is negative (so does Wireshark's). Zero over a packet whose checksum is right."""
    pairs = len(packet) // 2
    total: int = sum(struct.unpack_from(f"!{pairs}H", packet))
    if len(packet) % 2:
        total += packet[-1] if packet[-1] < 0x80 else 0xFF00 | (packet[-1] - 1)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _read_cdp(packet: bytes) -> Announcement | None:
    if len(packet) < 4 or packet[0] not in (1, 2) or cdp_checksum(packet) != 0:
        return None
    fields = dict(_cdp_fields(packet))
    texts = {name: _text(fields.get(number, b"")) for name, number in _CDP_TYPES.items()}
    if not texts["device"] or not texts["port"]:
        return None
    native = fields.get(_CDP_NATIVE_VLAN, b"")
    bits = int.from_bytes(fields.get(_CDP_CAPABILITIES, b"")[:4], "big")
    return Announcement(
        CDP, ttl=packet[1], native_vlan=int.from_bytes(native, "big") & 0xFFF if len(native) == 2 else None,
        capabilities=_words(bits, _CDP_BITS), **texts,
    )  # fmt: skip


def _cdp_fields(packet: bytes) -> Iterator[tuple[int, bytes]]:
    at = 4
    while at < len(packet):
        kind, length = struct.unpack_from("!HH", packet, at)
        if length < 4 or at + length > len(packet):
            raise ValueError("a field that is not whole")
        yield kind, packet[at + 4 : at + length]
        at += length


def _lldp(said: Announcement, src: str, esx: bool) -> bytes:
    mac, name = mac_bytes(src), said.port.encode()
    chassis = bytes([_CHASSIS_INTERFACE]) + name if esx else bytes([_CHASSIS_MAC]) + mac
    port = bytes([_PORT_MAC]) + mac if esx else bytes([_PORT_INTERFACE]) + name
    bits = sum(_LLDP_BITS.get(word, 0) for word in said.capabilities)
    fields = [
        (_LLDP_CHASSIS, chassis),
        (_LLDP_PORT, port),
        (_LLDP_TTL, struct.pack("!H", said.ttl)),
        (_LLDP_NAME, said.device.encode()),
        (_LLDP_TEXT, said.description.encode()),
        (_LLDP_ABLE, struct.pack("!HH", bits, bits)),
    ]
    if said.native_vlan is not None:
        fields.append((_LLDP_ORGANISATION, _LLDP_PVID + struct.pack("!H", said.native_vlan)))
    if max(len(text.encode()) for text in (said.device, said.port, said.description)) > _LLDP_TEXT_LONGEST:
        raise UsageError(f"{said.device} {said.port}: a text does not fit in an LLDP frame")
    return b"".join(struct.pack("!H", kind << 9 | len(value)) + value for kind, value in fields if value) + b"\0\0"


def _read_lldp(body: bytes) -> Announcement | None:
    fields: dict[int, bytes] = {}
    native = None
    for kind, value in _lldp_fields(body):
        if kind == _LLDP_ORGANISATION and value[:4] == _LLDP_PVID and len(value) == 6:
            native = int.from_bytes(value[4:], "big") & 0xFFF
        fields.setdefault(kind, value)
    ttl = fields.get(_LLDP_TTL, b"")
    if len(ttl) < 2 or not all(len(fields.get(kind, b"")) > 1 for kind in (_LLDP_CHASSIS, _LLDP_PORT)):
        return None
    chassis, port = (_identity(kind, fields[kind]) for kind in (_LLDP_CHASSIS, _LLDP_PORT))
    if fields[_LLDP_CHASSIS][0] == _CHASSIS_INTERFACE and fields[_LLDP_PORT][0] == _PORT_MAC:
        chassis, port = port, chassis  # ESX
    bits = int.from_bytes(fields.get(_LLDP_ABLE, b"")[2:4], "big")
    return Announcement(
        LLDP, _text(fields.get(_LLDP_NAME, b"")) or chassis, port, int.from_bytes(ttl[:2], "big"), native or None,
        description=_text(fields.get(_LLDP_TEXT, b"")), capabilities=_words(bits, _LLDP_BITS),
    )  # fmt: skip


def _lldp_fields(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Until the end mark; a frame without one, or with a field that is not whole, is not sound."""
    at = 0
    while True:
        (head,) = struct.unpack_from("!H", body, at)
        kind, length = head >> 9, head & _LLDP_LONGEST
        if kind == 0:
            return
        if at + 2 + length > len(body):
            raise ValueError("a field that is not whole")
        yield kind, body[at + 2 : at + 2 + length]
        at += 2 + length


def _identity(kind: int, value: bytes) -> str:
    """Of a chassis or port: the first byte says how it is written."""
    if value[0] == (_CHASSIS_MAC if kind == _LLDP_CHASSIS else _PORT_MAC) and len(value) == 7:
        return mac_text(value[1:])
    return _text(value[1:])


def _text(raw: bytes) -> str:
    """Printable, whatever was sent: it is shown on a terminal."""
    shown = raw.rstrip(b"\0").decode(errors="replace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def _words(bits: int, known: dict[str, int]) -> tuple[str, ...]:
    return tuple(word for word, bit in known.items() if bits & bit)
