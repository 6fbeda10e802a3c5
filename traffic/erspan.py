"""Mirrored frames inside GRE: transparent Ethernet bridging, ERSPAN type II and type III (MIR-6).

What is built here follows the outer IP header, which the sender's own stack adds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.frame import TPIDS

IPPROTO_GRE = 47
GRE_TEB, GRE_ERSPAN2, GRE_ERSPAN3 = 0x6558, 0x88BE, 0x22EB
KINDS = ("gre", "erspan2", "erspan3")
SESSION_MAX = 0x3FF
TICK_NS = 100_000
"""Type III timestamps count 100 microseconds (its granularity 0)."""

_SEQUENCE_PRESENT = 0x1000
_ORIGINALLY_TAGGED, _TAG_PRESERVED = 2, 3
_MASK32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Copy:
    """A mirrored frame as it is to travel. `vlan` is what its tag said, None without one, and `tagged` whether the
    tag is still in `data`; `truncated` when bytes were cut off."""

    data: bytes
    vlan: int | None = None
    tagged: bool = False
    truncated: bool = False


def make_copy(frame: bytes, strip: bool, length: int | None) -> Copy:
    """Take the outer tag off where the session strips it, then cut to `length` bytes."""
    vlan, tagged = None, False
    if int.from_bytes(frame[12:14], "big") in TPIDS and len(frame) >= 18:
        vlan, tagged = int.from_bytes(frame[14:16], "big") & 0xFFF, not strip
        frame = frame[:12] + frame[16:] if strip else frame
    cut = length is not None and len(frame) > length
    return Copy(frame[:length] if cut else frame, vlan, tagged, cut)


def encapsulate(kind: str, copy: Copy, session: int, cos: int, sequence: int, time_ns: int) -> bytes:
    """The GRE packet of a copy. `session` and `cos` are the mirroring session's; plain GRE has no room for them."""
    if kind == "gre":
        return struct.pack("!HH", 0, GRE_TEB) + copy.data
    protocol = GRE_ERSPAN2 if kind == "erspan2" else GRE_ERSPAN3
    head = struct.pack("!HHI", _SEQUENCE_PRESENT, protocol, sequence & _MASK32)
    version = 1 if kind == "erspan2" else 2
    # Type II says here how the frame was tagged; type III whether it came in damaged (never).
    tagging = 0 if version == 2 or copy.vlan is None else _TAG_PRESERVED if copy.tagged else _ORIGINALLY_TAGGED
    words = cos << 13 | tagging << 11 | copy.truncated << 10 | session & SESSION_MAX
    head += struct.pack("!HH", version << 12 | (copy.vlan or 0), words)
    head += struct.pack("!I", 0) if version == 1 else struct.pack("!IHH", time_ns // TICK_NS & _MASK32, 0, 0)
    return head + copy.data
