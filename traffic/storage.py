"""Software iSCSI (RFC 7143) and NFS version 3 (RFC 1813) as they are on the wire: enough to write blocks.

Both carry what a VM writes in clear; CHAP or AUTH_SYS would change nothing about that (VMK-3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Protocol

from lab.errors import SystemRefused

SECTOR = 512
LUN_WRITE, LUN_LENGTH = 0x2A, 10
_LOGIN, _LOGIN_ANSWER, _COMMAND, _ANSWER, _LOGOUT, _LOGOUT_ANSWER = 0x43, 0x23, 0x01, 0x21, 0x46, 0x26
_NFS, _VERSION, _WRITE = 100003, 3, 7
_UNSTABLE, _AUTH_SYS = 0, 1


class Connection(Protocol):
    """A TCP connection, or one inside TLS."""

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...


def exactly(connection: Connection, size: int) -> bytes:
    """Raises SystemRefused when the connection ends before."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise SystemRefused(f"the other end has closed the connection after {len(data)} of {size} bytes")
        data += more
    return data


# -- iSCSI


def initiate(connection: Connection, blocks: Iterable[bytes]) -> None:
    """Log in, write each block with its data at once, log out."""
    names = b"InitiatorName=iqn.1998-01.com.vmware:esx\0TargetName=iqn.2011-11.lab:disk\0SessionType=Normal\0"
    _send(connection, struct.pack("!BBH", _LOGIN, 0x87, 0), 0, names)
    _answered(connection, _LOGIN_ANSWER)
    sector = 0
    for number, block in enumerate(blocks, start=1):
        command = struct.pack("!BBIBHB", LUN_WRITE, 0, sector, 0, len(block) // SECTOR, 0).ljust(16, b"\0")
        head = struct.pack("!BBH", _COMMAND, 0xA1, 0)  # final, write, simple queue tag
        _send(connection, head, number, block, struct.pack("!III", len(block), number, 0) + command)
        _answered(connection, _ANSWER)
        sector += len(block) // SECTOR
    _send(connection, struct.pack("!BBH", _LOGOUT, 0x80, 0), 0xFFFF, b"")
    _answered(connection, _LOGOUT_ANSWER)


def target(connection: Connection) -> int:
    """Until the initiator has logged out. Returns how many bytes were written."""
    written = 0
    while True:
        head, data = _receive(connection)
        (tag,) = struct.unpack_from("!I", head, 16)
        if head[0] == _COMMAND:
            written += len(data)
        elif head[0] not in (_LOGIN, _LOGOUT):
            raise SystemRefused(f"the target does not know the PDU {head[0]:#x}")
        answer = {_LOGIN: _LOGIN_ANSWER, _COMMAND: _ANSWER, _LOGOUT: _LOGOUT_ANSWER}[head[0]]
        _send(connection, struct.pack("!BBH", answer, 0x87 if head[0] == _LOGIN else 0x80, 0), tag, b"")
        if head[0] == _LOGOUT:
            return written


def _send(connection: Connection, head: bytes, tag: int, data: bytes, rest: bytes = b"") -> None:
    """A PDU: 48 bytes of header, then the data filled up to words."""
    length = len(data).to_bytes(4, "big")  # no additional headers, 24 bits of length
    header = (head + length + bytes(8) + struct.pack("!I", tag) + rest).ljust(48, b"\0")
    connection.sendall(header + data + bytes(-len(data) % 4))


def _receive(connection: Connection) -> tuple[bytes, bytes]:
    head = exactly(connection, 48)
    size = int.from_bytes(head[5:8], "big")
    return head, exactly(connection, size + -size % 4)[:size]


def _answered(connection: Connection, wanted: int) -> None:
    head, _ = _receive(connection)
    if head[0] != wanted:
        raise SystemRefused(f"the target answered with {head[0]:#x} where {wanted:#x} was due")


# -- NFS


def write_file(connection: Connection, blocks: Iterable[bytes]) -> None:
    """WRITE each block, as root, and wait for its answer."""
    handle = b"vlab-datastore!!"
    at = 0
    for number, block in enumerate(blocks, start=1):
        body = _opaque(handle) + struct.pack("!QII", at, len(block), _UNSTABLE) + _opaque(block)
        credentials = struct.pack("!I", number) + _opaque(b"esx") + struct.pack("!III", 0, 0, 0)
        call = struct.pack("!IIIIII", number, 0, 2, _NFS, _VERSION, _WRITE)
        call += struct.pack("!I", _AUTH_SYS) + _opaque(credentials) + struct.pack("!II", 0, 0)
        _record(connection, call + body)
        answer = _fragment(connection)
        if answer is None or struct.unpack_from("!II", answer) != (number, 1):
            raise SystemRefused("the NFS server did not answer a WRITE")
        at += len(block)


def serve_files(connection: Connection) -> int:
    """Until the connection ends. Returns how many bytes were written."""
    written = 0
    while (call := _fragment(connection)) is not None:
        number, _, _, program, version, procedure = struct.unpack_from("!6I", call)
        if (program, version, procedure) != (_NFS, _VERSION, _WRITE):
            raise SystemRefused(f"the NFS server does not know procedure {procedure} of program {program}")
        (credentials,) = struct.unpack_from("!I", call, 28)
        at = 32 + credentials + 8  # and a verifier that is empty
        (handle,) = struct.unpack_from("!I", call, at)
        (count,) = struct.unpack_from("!I", call, at + 4 + handle + 8)
        written += count
        accepted = struct.pack("!6I", number, 1, 0, 0, 0, 0)
        done = struct.pack("!5I", 0, 0, 0, count, _UNSTABLE) + bytes(8)  # no attributes before or after
        _record(connection, accepted + done)
    return written


def _opaque(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data + bytes(-len(data) % 4)


def _record(connection: Connection, data: bytes) -> None:
    connection.sendall((0x80000000 | len(data)).to_bytes(4, "big") + data)


def _fragment(connection: Connection) -> bytes | None:
    """None when the connection has ended."""
    first = connection.recv(1)
    if not first:
        return None
    head = int.from_bytes(first + exactly(connection, 3), "big")
    return exactly(connection, head & 0x7FFFFFFF)
