"""Whole frames in and out of one interface, for agents: a packet socket that hears only what comes in."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lab.errors import SystemRefused
from lab.frame import TPID_8021Q, mac_bytes
from lab.realise.run import inside

_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA = 263, 6, 8
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_ETH_P_ALL = 3
_AUXDATA = struct.Struct("=IIIHHHH")
_SO_TIMESTAMPNS, _STAMP = 35, struct.Struct("=qq")
_ANCILLARY = socket.CMSG_SPACE(_AUXDATA.size) + socket.CMSG_SPACE(_STAMP.size)
_VLAN_VALID, _TPID_VALID = 0x10, 0x40
_FRAME_MAX = 65536
_RETURN, _LOAD_WORD, _LOAD_HALF, _JUMP_EQUAL = 0x06, 0x20, 0x28, 0x15
_PACKET_TYPE, _OUTGOING = 0xFFFFF004, 4


class PacketSocket:
    """`only`: destination MACs of the frames to hear, or `kind`: their ethertype, behind one tag or none, and
    `sources`: MACs that they come from (every frame without all of these). Never blocks."""

    def __init__(
        self, namespace: int, interface: str, only: Sequence[str] = (), buffer: int | None = None,
        kind: int | None = None, sources: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.interface = interface
        self.arrived_ns = 0
        self._room = bytearray(_FRAME_MAX)
        try:
            with inside(namespace):
                # Protocol 0 hears nothing until the filter is there.
                self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
                self._prepare(_filter(only) if kind is None else _kind_filter(kind, sources), buffer)
                self._socket.bind((interface, _ETH_P_ALL))
        except OSError as error:
            raise SystemRefused(f"listening on {interface}: {error.strerror}") from error

    def _prepare(self, program: bytes, buffer: int | None) -> None:
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        code = ctypes.create_string_buffer(program)
        attached = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)
        if buffer is not None:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            with suppress(OSError):  # beyond the system's limit, where the kernel lets a namespace's root do that
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)

    def fileno(self) -> int:
        return self._socket.fileno()

    def stamp(self) -> None:
        """From now on `arrived_ns` is when the frame that was last received came in (ns since the epoch)."""
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def receive(self) -> bytes | None:
        """The next frame that came in, with all its tags in place; None when there is none now."""
        try:
            size, said, _, _ = self._socket.recvmsg_into([self._room], _ANCILLARY)
        except OSError:  # nothing there, or the interface has just gone down
            return None
        frame = bytes(memoryview(self._room)[:size])
        for level, kind, data in said:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = _STAMP.unpack(data)
                self.arrived_ns = seconds * 10**9 + nanoseconds
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and len(data) >= _AUXDATA.size:
                status, _, _, _, _, tci, tpid = _AUXDATA.unpack_from(data)
                if status & _VLAN_VALID:
                    # The kernel has taken the outer tag off and tells of it here.
                    tag = struct.pack("!HH", tpid if status & _TPID_VALID else TPID_8021Q, tci)
                    return frame[:12] + tag + frame[12:]
        return frame

    def lost(self) -> int:
        """Frames that found no room here since this was last asked."""
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        return int(dropped)

    def send(self, frame: bytes) -> None:
        """Raises OSError: no room, no carrier, interface down."""
        self._socket.send(frame)

    def close(self) -> None:
        self._socket.close()


class Sender:
    """Frames out of interfaces of several namespaces, past the switch that is there; it hears nothing."""

    def __init__(self, namespaces: Mapping[str, int]) -> None:
        self._namespaces = namespaces
        self._sockets: dict[tuple[str, str], socket.socket] = {}

    def send(self, node: str, interface: str, frame: bytes) -> bool:
        """False when it did not go out: no carrier, interface down, no room. Not for several threads at once."""
        try:
            if (node, interface) not in self._sockets:
                with inside(self._namespaces[node]):
                    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
                    made.bind((interface, 0))
                self._sockets[node, interface] = made
            self._sockets[node, interface].send(frame)
        except OSError:
            return False
        return True


def drop_all(receiver: socket.socket) -> None:
    """Let a socket take everything and keep nothing. One that is merely full does not count as there."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(code)))


def _kind_filter(kind: int, sources: Sequence[str] = ()) -> bytes:
    """A classic BPF program: incoming frames of this ethertype, from one of these MACs where there are any. The kernel
    has taken an outer tag off by then."""
    head = [(_LOAD_HALF, 0, 0, 12), (_JUMP_EQUAL, 1, 0, kind), (_RETURN, 0, 0, 0)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in head) + _filter(sources, 6)


def _filter(only: Sequence[str], at: int = 0) -> bytes:
    """A classic BPF program: incoming frames with one of these MACs, where there are any, `at` so many bytes."""
    accept = 2 + 4 * len(only)
    refuse = accept + 1
    code = [(_LOAD_WORD, 0, 0, _PACKET_TYPE), (_JUMP_EQUAL, refuse - 2, 0, _OUTGOING)]
    for number, mac in enumerate(only, start=1):
        here, raw = len(code), mac_bytes(mac)
        other = here + 4 if number < len(only) else refuse
        code += [
            (_LOAD_WORD, 0, 0, at),
            (_JUMP_EQUAL, 0, other - (here + 2), int.from_bytes(raw[:4], "big")),
            (_LOAD_HALF, 0, 0, at + 4),
            (_JUMP_EQUAL, accept - (here + 4), other - (here + 4), int.from_bytes(raw[4:], "big")),
        ]
    code += [(_RETURN, 0, 0, _FRAME_MAX), (_RETURN, 0, 0, 0)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)
