"""Canaries: frames, or any other data, that carry a token nobody else has and a number.

In bytes: 8 of magic, 16 of token, 4 of sequence number, 4 of the same number with every bit turned (big endian),
then filler. The turned copy makes the sum over both words the same for every number, so that an Internet checksum
(UDP, TCP, ICMP; IPv4 and IPv6) over the payload stays right when only the number is patched.
"""

from __future__ import annotations

import mmap
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lab.errors import UsageError
from lab.frame import Frame, Tag
from traffic.frames import FrameSpec, build

MAGIC = b"VLABCNRY"
TOKEN_SIZE = 16
PAYLOAD_SIZE = 32
ETHERTYPE = 0x88B5
"""IEEE's ethertype for local experiments: no IP stack answers it."""

DISCARD_PORT = 9
SEQ_MASK = 0xFFFFFFFF
_NUMBERS = struct.Struct("!II")
_SEQ_AT = len(MAGIC) + TOKEN_SIZE


@dataclass(frozen=True, slots=True)
class Canary:
    """One canary as found: its token (16 bytes) and its number."""

    token: bytes
    seq: int = 0


def new_token() -> bytes:
    """16 random bytes, unlike any other in this or another lab."""
    return secrets.token_bytes(TOKEN_SIZE)


def canary_payload(token: bytes, seq: int = 0, size: int = PAYLOAD_SIZE) -> bytes:
    """The bytes of one canary, filled up with zeros to `size`. Raises UsageError for a bad token, number or size."""
    if len(token) != TOKEN_SIZE or not 0 <= seq <= SEQ_MASK:
        raise UsageError(f"a canary has a token of {TOKEN_SIZE} bytes and a number below 2^32")
    if size < PAYLOAD_SIZE:
        raise UsageError(f"a canary needs {PAYLOAD_SIZE} bytes, {size} are given")
    return (MAGIC + token + _NUMBERS.pack(seq, seq ^ SEQ_MASK)).ljust(size, b"\0")


def canary_frame(src: str, dst: str, token: bytes, seq: int = 0, vlans: tuple[Tag, ...] = (), size: int = 60) -> bytes:
    """A canary straight behind the Ethernet header; `size` bytes, at least 60, before tags."""
    payload = canary_payload(token, seq, max(size, 60) - 14)
    return Frame(src, dst, vlans, ETHERTYPE, payload).to_bytes()


def canary_data(spec: FrameSpec, token: bytes, seq: int = 0, size: int = PAYLOAD_SIZE) -> bytes:
    """A canary inside the frame that `spec` describes (its payload is replaced), so that data looks like data."""
    return build(replace(spec, payload=canary_payload(token, seq, size)))


def seq_offset(frame: bytes) -> int:
    """Where the eight bytes of the number stand in a frame; `Injector.send(seq_at=...)` patches them.

    Raises UsageError when the frame carries no canary.
    """
    at = frame.find(MAGIC)
    if at < 0 or at + PAYLOAD_SIZE > len(frame):
        raise UsageError("the frame carries no canary")
    return at + _SEQ_AT


def read_canary(data: bytes) -> Canary | None:
    """The first whole canary in `data`, if there is one."""
    return next((Canary(token, seq) for _, token, seq in find_canaries(data)), None)


def find_canaries(buffer: bytes | bytearray | mmap.mmap) -> Iterator[tuple[int, bytes, int]]:
    """(offset of the magic, token, number) of every whole canary in `buffer`, in order.

    What begins with the magic but whose two copies of the number differ is no canary.
    """
    at = buffer.find(MAGIC)
    while at >= 0 and at + PAYLOAD_SIZE <= len(buffer):
        seq, turned = _NUMBERS.unpack_from(buffer, at + _SEQ_AT)
        if seq ^ turned == SEQ_MASK:
            yield at, bytes(buffer[at + len(MAGIC) : at + _SEQ_AT]), seq
        at = buffer.find(MAGIC, at + 1)
