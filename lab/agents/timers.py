"""What is to be done later, in the lab's own time: `clock.speedup` shortens it."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count

from lab.agents.supervised import Tell, supervise

LOOK_SECONDS = 0.5
"""A thread that waits longer than this cannot be told to end."""


class Timers:
    """Actions run one after the other in one thread, which `start` starts."""

    def __init__(self, speedup: float, tell: Tell) -> None:
        self.speedup = speedup
        self._tell = tell
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """`seconds` are nominal."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds / self.speedup, next(self._numbers), action))
            self._changed.notify()

    def start(self) -> None:
        supervise("timers", self._run, self._tell)

    def _run(self) -> None:
        while True:
            self._next()()

    def _next(self) -> Callable[[], None]:
        with self._changed:
            while True:
                left = self._due[0][0] - time.monotonic() if self._due else LOOK_SECONDS
                if self._due and left <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(min(left, LOOK_SECONDS))
