"""Room in the packet sockets of a running switch.

ovs-vswitchd reads its ports through AF_PACKET sockets of the system's default size, which holds 277 short frames: a
burst that a real switch takes with ease would be lost there. It has no option for this, so the sandbox's PID 1, whose
descendant it is, takes a second handle on each socket (pidfd_getfd) and enlarges its receive buffer.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from lab.errors import SystemRefused

SEND_BUFFER = 4 * 1024 * 1024
"""What waits in the queues of all ports is held against the one socket that a switch sends by; where this much is not
allowed it is twice the system's default."""
RECEIVE_BUFFER = 16 * 1024 * 1024
"""About 20,000 short frames; memory is taken only while frames wait."""

_PIDFD_GETFD = 438
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_libc = ctypes.CDLL(None, use_errno=True)


def deepen_packet_sockets(pid: int, size: int = RECEIVE_BUFFER) -> int:
    """Enlarge the buffers of every AF_PACKET socket of process `pid`; returns the smallest receive buffer reached, in
    the kernel's own count (bytes), 0 without such a socket. Raises SystemRefused when the process cannot be reached."""
    reached = []
    for handle in _sockets(pid):
        with suppress(OSError):
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        _deepen_sending(handle)
        with suppress(OSError):  # beyond the system's limit, where the kernel lets a namespace's root do that
            handle.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
        reached.append(handle.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
    return min(reached, default=0)


def _deepen_sending(handle: socket.socket) -> None:
    with suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    with suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER)


def send_room(pid: int) -> int:
    """The smallest send buffer of the AF_PACKET sockets of process `pid` (bytes); 0 without such a socket."""
    rooms = [handle.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) for handle in _sockets(pid)]
    return min(rooms, default=0)


class Taken(NamedTuple):
    """Frames that sockets took in, and that they had no room for."""

    received: int
    lost: int


def taken_in(pid: int) -> Taken:
    """By the packet sockets of process `pid` since this was last asked, by itself or by anybody else."""
    received = lost = 0
    for handle in _sockets(pid):
        every, dropped = struct.unpack("II", handle.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        received, lost = received + every - dropped, lost + dropped
    return Taken(received, lost)


def _sockets(pid: int) -> Iterator[socket.socket]:
    with _process(pid) as process:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if not str(entry.readlink()).startswith("socket:"):
                    continue
            except OSError:
                continue  # closed since
            copy = _libc.syscall(_PIDFD_GETFD, process, int(entry.name), 0)
            if copy < 0:
                code = ctypes.get_errno()
                if code == errno.EBADF:
                    continue
                raise SystemRefused(f"reaching a switch's sockets: {os.strerror(code)}")
            with socket.socket(fileno=copy) as handle:
                if handle.family == socket.AF_PACKET:
                    yield handle


@contextmanager
def _process(pid: int) -> Iterator[int]:
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        raise SystemRefused(f"reaching process {pid}: {error.strerror}") from error
    try:
        yield handle
    finally:
        os.close(handle)
