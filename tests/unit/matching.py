"""OpenFlow's meaning of a table of rows, for tests that read rows as a switch does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from lab.plan.types import Row

EVERY_BIT = ~0
PROTOCOLS = {
    "arp": "dl_type=0x0806", "ip": "dl_type=0x0800", "ipv6": "dl_type=0x86dd",
    "tcp": "dl_type=0x0800,nw_proto=6", "udp": "dl_type=0x0800,nw_proto=17",
    "tcp6": "dl_type=0x86dd,nw_proto=6", "udp6": "dl_type=0x86dd,nw_proto=17",
}  # fmt: skip
"""What a word without a value stands for."""


def number(text: str) -> int:
    return int(text.replace(":", ""), 16) if ":" in text else int(text, 0)


@cache
def fields_of(match: str) -> list[tuple[str, int, int]]:
    """Field, value and mask of each part of a match."""
    whole = ",".join(PROTOCOLS.get(part, part) for part in match.split(","))
    parts = [re.split("[=/]", part) for part in filter(None, whole.split(","))]
    return [(key, number(value), number(mask[0]) if mask else EVERY_BIT) for key, value, *mask in parts]


def holds(match: str, packet: dict[str, int]) -> bool:
    """Every field under its mask; what the packet does not say is 0."""
    return all(packet.get(key, 0) & mask == value for key, value, mask in fields_of(match))


def hits(rows: Iterable[Row], table: int, packet: dict[str, int]) -> list[Row]:
    """The rows of the highest priority that match."""
    found = [row for row in rows if row.table == table and holds(row.match, packet)]
    return [row for row in found if row.priority == max(r.priority for r in found)]


def hit(rows: Iterable[Row], table: int, **packet: int | str) -> Row:
    (row,) = hits(rows, table, {key: number(v) if isinstance(v, str) else v for key, v in packet.items()})
    return row


def overlap(one: str, other: str) -> bool:
    """True when a frame may meet both matches."""
    masks = {key: (value, mask) for key, value, mask in fields_of(other)}
    pairs = [(value, mask, *masks[key]) for key, value, mask in fields_of(one) if key in masks]
    return all((value ^ value2) & mask & mask2 == 0 for value, mask, value2, mask2 in pairs)
