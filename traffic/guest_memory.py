"""A guest that has memory: a process in the VM's namespace that maps its RAM, writes into it, and goes on in another
copy of it when vMotion tells it to.

`python -m traffic.guest_memory FILE`; one command a line on stdin, one JSON answer a line on stdout:
`write PAGE HEX`, `churn PAGES_A_SECOND`, `slow FACTOR`, `stun`, `resume FILE`, `find HEX`.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

PAGE = 4096
_TICK = 0.005
_STAMP = 8


class Guest:
    """`churn` writes a number into one page after another, as a busy program does; `slow` is vSphere's stun during page
    send: the guest is held back until the wire keeps up."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._ram = _mapped(path)
        self._rate = 0.0
        self._slowed = 1.0
        self._stunned = False
        self._count = 0
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def pages(self) -> int:
        return len(self._ram) // PAGE

    def do_write(self, page: str, text: str) -> dict[str, Any]:
        data, at = bytes.fromhex(text), int(page) * PAGE
        if not 0 <= at <= len(self._ram) - len(data):
            raise ValueError(f"the VM has {self.pages} pages of memory")
        with self._lock:
            self._ram[at : at + len(data)] = data
        return {"page": int(page), "bytes": len(data)}

    def do_churn(self, rate: str) -> dict[str, Any]:
        self._rate = float(rate)
        return {"pages_a_second": self._rate}

    def do_slow(self, factor: str) -> dict[str, Any]:
        self._slowed = float(factor)
        return {"pages_a_second": self._rate * self._slowed}

    def do_stun(self) -> dict[str, Any]:
        with self._lock:
            self._stunned = True
        return {"stunned": True}

    def do_resume(self, path: str) -> dict[str, Any]:
        with self._lock:
            if path:
                there = _mapped(path)
                self._ram.close()
                self._ram = there
            self._slowed, self._stunned = 1.0, False
        return {"stunned": False, "pages": self.pages}

    def do_find(self, text: str) -> dict[str, Any]:
        needle = bytes.fromhex(text)
        with self._lock:
            return {"pages": [at // PAGE for at in _found(self._ram, needle)], "written": self._count}

    def _work(self) -> None:
        """From the last page downwards, so that what others write at the bottom stays."""
        due, before = 0.0, time.monotonic()
        while True:
            threading.Event().wait(_TICK)
            now = time.monotonic()
            with self._lock:
                due, before = min(due + (now - before) * self._rate * self._slowed, self.pages / 2), now
                while due >= 1 and not self._stunned:
                    self._count += 1
                    at = (self.pages - 1 - self._count % max(1, self.pages // 2)) * PAGE
                    self._ram[at : at + _STAMP] = self._count.to_bytes(_STAMP, "big")
                    due -= 1


def _mapped(path: str) -> mmap.mmap:
    handle = os.open(path, os.O_RDWR)
    try:
        return mmap.mmap(handle, 0)
    finally:
        os.close(handle)


def _found(ram: mmap.mmap, needle: bytes) -> Iterator[int]:
    at = ram.find(needle)
    while at >= 0:
        yield at
        at = ram.find(needle, (at // PAGE + 1) * PAGE)


def answer(guest: Guest, line: str) -> dict[str, Any]:
    """One command. A command that is none, or cannot be done, is answered with `error`."""
    word, *arguments = line.rstrip("\n").split(" ")
    try:
        said: dict[str, Any] = getattr(guest, f"do_{word}")(*arguments)
    except (AttributeError, TypeError, ValueError, OSError) as error:
        return {"error": str(error)}
    return said


def serve(guest: Guest, lines: Iterable[str]) -> None:
    for line in lines:
        print(json.dumps(answer(guest, line)), flush=True)


if __name__ == "__main__":
    serve(Guest(sys.argv[1]), sys.stdin)
