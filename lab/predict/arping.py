"""ARP at an OTV edge: what it remembers of other sites, and when it answers for them (docs/stretch.md)."""

from __future__ import annotations

from typing import NamedTuple

from lab.frame import Frame, mac_text
from lab.model import StretchKind
from lab.predict.world import Switch

ARP = 0x0806
_REQUEST, _REPLY = 1, 2


class Said(NamedTuple):
    """An ARP packet: `asks` or tells; the sender's MAC and address, and the address asked for."""

    asks: bool
    mac: str
    address: str
    wanted: str


def said_by(frame: Frame, tags_inside: int) -> Said | None:
    """None for what is no ARP, as a switch sees it: behind the tag that it takes off, and no other."""
    data = frame.payload
    if frame.ethertype != ARP or tags_inside or len(data) < 28:
        return None
    kind = int.from_bytes(data[6:8], "big")
    if kind not in (_REQUEST, _REPLY):
        return None
    return Said(kind == _REQUEST, mac_text(data[8:14]), _text(data[14:18]), _text(data[24:28]))


def leads_by_otv(switch: Switch, port: str) -> bool:
    stretch = switch.config(port).stretch
    return stretch is not None and stretch.kind is StretchKind.OTV


def _text(address: bytes) -> str:
    return ".".join(map(str, address))
