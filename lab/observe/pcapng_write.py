"""Writing a pcapng file in which every packet has a comment."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_SECTION, _INTERFACE, _ENHANCED = 0x0A0D0D0A, 1, 6
_MAGIC, _ETHERNET, _NANOSECONDS = 0x1A2B3C4D, 1, 9
_OPT_END, _OPT_COMMENT, _OPT_NAME, _OPT_RESOLUTION = 0, 1, 2, 9


class Noted(NamedTuple):
    """A frame as it was captured on `interface` at `time_ns` (from the epoch), and what is to be said of it."""

    interface: str
    time_ns: int
    data: bytes
    comment: str


def write_pcapng(path: Path, comment: str, packets: Sequence[Noted]) -> None:
    """One section with `comment`; interfaces in the order of their first packet; packets in the order given."""
    numbers = {name: n for n, name in enumerate(dict.fromkeys(p.interface for p in packets))}
    body = struct.pack("<IHHq", _MAGIC, 1, 0, -1) + _options((_OPT_COMMENT, comment.encode()))
    blocks = [_block(_SECTION, body)]
    for name in numbers:
        options = _options((_OPT_NAME, name.encode()), (_OPT_RESOLUTION, bytes([_NANOSECONDS])))
        blocks.append(_block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, 0) + options))
    for packet in packets:
        size = len(packet.data)
        head = struct.pack(
            "<5I", numbers[packet.interface], packet.time_ns >> 32, packet.time_ns & 0xFFFFFFFF, size, size
        )
        blocks.append(
            _block(_ENHANCED, head + _padded(packet.data) + _options((_OPT_COMMENT, packet.comment.encode())))
        )
    path.write_bytes(b"".join(blocks))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(*options: tuple[int, bytes]) -> bytes:
    said = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options if value)
    return said + struct.pack("<HH", _OPT_END, 0)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length
