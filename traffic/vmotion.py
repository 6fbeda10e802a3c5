"""The bytes of a vMotion: pages of memory in records over TCP 8000, in clear or encrypted.

VMware does not publish its format; this one is the lab's own. A record is its length (4 bytes) and its body, or the
body's AES-256-GCM with the 64-bit nonce of the migration's spec and a 32-bit count. A body is items: a kind (1 byte), a
page number (8), a length (4) and so many bytes.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lab.errors import SystemRefused

PORT = 8000
PAGE = 4096
RECORD = 16 * PAGE
"""Bytes of pages that go into one record."""
_LENGTH = struct.Struct("!I")
_ITEM = struct.Struct("!BQI")
_LONGEST = 2 * RECORD
_ZEROS = bytes(PAGE)


class Kind(IntEnum):
    """`ZERO`: a page that was sent has become zero. `ROUND`: everything before has to be in place; it is answered with
    one byte. `DEVICES`: the state of the VM's devices, at the end. `INPUT`: a frame that a VM
    with FT has heard."""

    PAGE = 1
    ZERO = 2
    ROUND = 3
    DEVICES = 4
    INPUT = 5


@dataclass(frozen=True)
class Key:
    """Of one migration: handed to both hosts with its spec."""

    key: bytes
    nonce: bytes

    @classmethod
    def new(cls) -> Key:
        return cls(secrets.token_bytes(32), secrets.token_bytes(8))


class _Cipher:
    """Counts records, so that no nonce is used twice; `stream` keeps several connections apart."""

    def __init__(self, key: Key, stream: int) -> None:
        self._gcm = AESGCM(key.key)
        self._nonce = key.nonce
        self._count = stream << 24

    def _next(self) -> bytes:
        self._count += 1
        return self._nonce + _LENGTH.pack(self._count)

    def seal(self, body: bytes) -> bytes:
        return self._gcm.encrypt(self._next(), body, None)

    def open(self, record: bytes) -> bytes:
        return self._gcm.decrypt(self._next(), record, None)


class Sender:
    """The source's end of one connection. Raises SystemRefused when the connection breaks."""

    def __init__(self, connection: socket.socket, key: Key | None, stream: int = 0) -> None:
        self._connection = connection
        self._cipher = _Cipher(key, stream) if key else None
        self.sent = 0

    def pages(self, pages: Iterable[tuple[int, bytes]]) -> None:
        body = bytearray()
        for number, data in pages:
            kind, content = (Kind.ZERO, b"") if data == _ZEROS else (Kind.PAGE, data)
            body += _ITEM.pack(kind, number, len(content)) + content
            if len(body) >= RECORD:
                self._record(bytes(body))
                body.clear()
        if body:
            self._record(bytes(body))

    def devices(self, state: bytes) -> None:
        self._record(_ITEM.pack(Kind.DEVICES, 0, len(state)) + state)

    def input(self, frame: bytes) -> None:
        self._record(_ITEM.pack(Kind.INPUT, 0, len(frame)) + frame)

    def abort(self) -> None:
        """Whoever waits for the other end waits no longer."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def end_round(self) -> None:
        """Returns when the other end has written everything."""
        self._record(_ITEM.pack(Kind.ROUND, 0, 0))
        try:
            answered = self._connection.recv(1)
        except OSError as error:
            raise _refused(error) from error
        if not answered:
            raise SystemRefused("copying memory: the destination has closed the connection")

    def close(self) -> None:
        """Nothing more comes: the other end's `receive` ends."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _record(self, body: bytes) -> None:
        record = self._cipher.seal(body) if self._cipher else body
        try:
            self._connection.sendall(_LENGTH.pack(len(record)) + record)
        except OSError as error:
            raise _refused(error) from error
        self.sent += _LENGTH.size + len(record)


def _refused(error: OSError) -> SystemRefused:
    why = error.strerror or str(error)
    if isinstance(error, TimeoutError):
        why = "no answer in time; is every wire on the way there, and long enough for the adapters' frames (L2S-8)?"
    return SystemRefused(f"copying memory: {why}")


def receive(
    connection: socket.socket, key: Key | None, stream: int, write: Callable[[int, bytes], None],
    commit: Callable[[], None] = lambda: None,
) -> Iterator[bytes]:  # fmt: skip
    """The destination's end: writes pages as they come, commits each round before it answers, and gives the devices'
    states and inputs. Ends with the connection.

    Raises SystemRefused for what is no record of this migration.
    """
    cipher = _Cipher(key, stream) if key else None
    while (head := _exactly(connection, _LENGTH.size)) is not None:
        (length,) = _LENGTH.unpack(head)
        record = _exactly(connection, length) if length <= _LONGEST else None
        if record is None:
            raise SystemRefused("copying memory: not a record of this lab's format")
        try:
            body = cipher.open(record) if cipher else record
        except InvalidTag:
            raise SystemRefused("copying memory: a record that this migration's key does not open") from None
        for kind, number, content in _items(body):
            if kind is Kind.ROUND:
                commit()
                connection.sendall(b"\x06")
            elif kind in (Kind.DEVICES, Kind.INPUT):
                yield content
            else:
                write(number, content if kind is Kind.PAGE else _ZEROS)


def _items(body: bytes) -> Iterator[tuple[Kind, int, bytes]]:
    at = 0
    while at < len(body):
        try:
            kind, number, length = _ITEM.unpack_from(body, at)
            at += _ITEM.size + length
            yield Kind(kind), number, body[at - length : at]
        except (struct.error, ValueError):
            raise SystemRefused("copying memory: not an item of this lab's format") from None


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    """None when the connection ends before."""
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        try:
            more = connection.recv_into(view[got:])
        except OSError:
            return None
        if not more:
            return None
        got += more
    return bytes(data)
