"""A wire between two sites: what comes in at one end goes out at the other, later, and not all of it.

`python -m lab.realise.wire A B`, in a namespace that has these two interfaces; the order as JSON on stdin (`Order`),
`ready` on stdout. It lives until stdin ends. An end that loses its carrier takes the other one down, as a cable does.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from lab.plan.distance import BACKLOG_SECONDS
from lab.realise.packets import PacketSocket

CARRIER_SECONDS = 0.05
"""Between two looks at the carriers."""
ROOM = 8 * 1024 * 1024
_TURN = 64
_PR_SET_TIMERSLACK = 29
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP, _IFF_RUNNING = 0x1, 0x40


@dataclass(frozen=True)
class Order:
    """Of each direction: `delay` and `jitter` in seconds (each frame waits delay +- jitter, evenly spread, and none
    overtakes another), `loss` a share from 0 to 1, `rate` in bit/s (0: any)."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: int = 0


class Direction:
    """When each frame leaves. Times in seconds of one clock."""

    def __init__(self, order: Order, chance: Callable[[], float] = random.random) -> None:
        self._order = order
        self._chance = chance
        self._free = 0.0
        self._last = 0.0

    def leaves(self, now: float, size: int) -> float | None:
        """None for a frame that is lost."""
        order = self._order
        if order.loss and self._chance() < order.loss:
            return None
        start = now
        if order.rate:
            start = max(now, self._free)
            if start - now > BACKLOG_SECONDS:
                return None
            self._free = start + size * 8 / order.rate
            start = self._free
        spread = (2 * self._chance() - 1) * order.jitter if order.jitter else 0.0
        self._last = max(self._last, start + max(0.0, order.delay + spread))
        return self._last


class Wire:
    """The two ends, and what is under way between them."""

    def __init__(self, names: tuple[str, str], order: Order) -> None:
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._ends = [PacketSocket(here, name, buffer=ROOM) for name in names]
        os.close(here)
        for end in self._ends:
            end.stamp()
        self._ways = [Direction(order), Direction(order)]
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._carriers = Carriers(names)

    def run(self) -> None:
        looked = 0.0
        while True:
            now = time.time()
            if now - looked >= CARRIER_SECONDS:
                self._carriers.look()
                looked = now
            left = CARRIER_SECONDS
            if self._waiting:
                left = min(left, max(0.0, self._waiting[0][0] - now))
            ready = select.select([*self._ends, sys.stdin], [], [], left)[0]
            if sys.stdin in ready and not sys.stdin.readline():
                return
            for number, end in enumerate(self._ends):
                if end in ready:
                    self._take(number, end)
            self._give()

    def _take(self, number: int, end: PacketSocket) -> None:
        for _ in range(_TURN):
            frame = end.receive()
            if frame is None:
                return
            due = self._ways[number].leaves(end.arrived_ns / 1e9, len(frame))
            if due is not None:
                self._count += 1
                heapq.heappush(self._waiting, (due, self._count, 1 - number, frame))

    def _give(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.time():
            _, _, number, frame = heapq.heappop(self._waiting)
            with suppress(OSError):  # no carrier: lost, as on a cable that is cut
                self._ends[number].send(frame)


class Carriers:
    """Keeps both ends' carriers alike."""

    def __init__(self, names: tuple[str, str]) -> None:
        self._names = names
        self._handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._taken_down = [False, False]

    def look(self) -> None:
        for number in (0, 1):
            other = 1 - number
            if self._taken_down[number]:
                continue  # its carrier says nothing
            lit = bool(self._flags(number) & _IFF_RUNNING)
            if lit == self._taken_down[other]:
                self._taken_down[other] = not lit
                flags = self._flags(other)
                self._set(other, flags | _IFF_UP if lit else flags & ~_IFF_UP)

    def _flags(self, number: int) -> int:
        asked = struct.pack("16sH22x", self._names[number].encode(), 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(self._handle, _SIOCGIFFLAGS, asked), 16)
        return int(flags)

    def _set(self, number: int, flags: int) -> None:
        asked = struct.pack("16sH22x", self._names[number].encode(), flags)
        fcntl.ioctl(self._handle, _SIOCSIFFLAGS, asked)


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # the kernel may wake others 50 us late
    gc.disable()  # nothing here goes round in circles, and a collection would hold frames up
    order = Order(**json.loads(sys.stdin.readline()))
    wire = Wire((sys.argv[1], sys.argv[2]), order)
    print("ready", flush=True)
    wire.run()


if __name__ == "__main__":
    main()
