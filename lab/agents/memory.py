"""The memory of VMs: a process in each guest that has written something, and its RAM as the hypervisor sees it.

RAM is a sparse file of the sandbox's own tmpfs, mapped by the guest; pages that nobody wrote take nothing.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from lab.errors import SystemRefused, UsageError
from lab.model import Vm
from lab.realise.net import Network
from lab.realise.run import forget, spawn
from traffic.canary import canary_payload
from traffic.vmotion import PAGE

MARKER = 64
"""Bytes of the marker that fills a page: a canary and filler (VMK-1)."""
_ZEROS = bytes(PAGE)


class Ram:
    """A file that is a VM's memory on one host. `size` in bytes, whole pages."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._handle, size)
        self._map = mmap.mmap(self._handle, size)

    def page(self, number: int) -> bytes:
        return self._map[number * PAGE : (number + 1) * PAGE]

    def write(self, number: int, data: bytes) -> None:
        if not 0 <= number < self.size // PAGE or len(data) != PAGE:
            raise SystemRefused(f"page {number} is not in this memory")
        self._map[number * PAGE : (number + 1) * PAGE] = data

    def commit(self) -> None:
        """Pages are in place as they come."""

    def touched(self) -> Iterator[int]:
        """Pages that were ever written, zeros included; the file system knows the others without reading them."""
        at = 0
        while at < self.size:
            try:
                start = os.lseek(self._handle, at, os.SEEK_DATA)
            except OSError:  # nothing but holes from here on
                return
            at = os.lseek(self._handle, start, os.SEEK_HOLE)
            yield from range(start // PAGE, -(-at // PAGE))

    def changed(self, known: dict[int, bytes]) -> list[tuple[int, bytes]]:
        """(number, bytes) of each page that is not as in `known`, which then is; zero pages count as known."""
        found = [(n, page) for n in self.touched() if (page := self.page(n)) != known.get(n, _ZEROS)]
        known.update(found)
        return found

    def close(self) -> None:
        self._map.close()
        os.close(self._handle)
        self.path.unlink(missing_ok=True)


@dataclass
class Guest:
    """A VM's guest process with its RAM; `tokens` were written by people who want to find them again."""

    vm: str
    ram: Ram
    process: subprocess.Popen[str]
    tokens: list[bytes] = field(default_factory=list)
    asking: threading.Lock = field(default_factory=threading.Lock)
    writing: threading.Lock = field(default_factory=threading.Lock)
    """Held while the guest is stunned: what is written then would be written into memory that is left behind."""

    def ask(self, *words: object) -> dict[str, Any]:
        """Raises UsageError for what the guest cannot do, SystemRefused when it has ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with self.asking:
            try:
                self.process.stdin.write(" ".join(map(str, words)) + "\n")
                self.process.stdin.flush()
                line = self.process.stdout.readline()
            except OSError:
                line = ""
        if not line:
            raise SystemRefused(f"the guest process of {self.vm} has ended; its memory is gone")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise UsageError(f"{self.vm}: {said['error']}")
        return said


class Memories:
    """By VM; a guest process starts when somebody first writes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._directory = network.directory / "memory"
        self._directory.mkdir(exist_ok=True)
        self._guests: dict[str, Guest] = {}
        self._numbers = count()
        self._starting = threading.Lock()

    def started(self, vm: Vm) -> Guest:
        with self._starting:
            known = self._guests.get(vm.name)
            if known is None or known.process.poll() is not None:
                ram = self.new_ram(vm)
                argv = [sys.executable, "-m", "traffic.guest_memory", str(ram.path)]
                child = spawn(
                    argv, self._network.namespaces[vm.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
                known = self._guests[vm.name] = Guest(vm.name, ram, child)
            return known

    def new_ram(self, vm: Vm) -> Ram:
        name = f"{self._network.plan.node_named[vm.name].id}.{next(self._numbers)}"
        return Ram(self._directory / name, vm.memory.bytes)

    def write(self, vm: Vm, token: bytes, page: int, pages: int) -> dict[str, Any]:
        """Fill pages with the token's marker, again and again; each marker says which page it is of."""
        guest = self.started(vm)
        with guest.writing:
            for number in range(page, page + pages):
                guest.ask("write", number, (canary_payload(token, number, MARKER) * (PAGE // MARKER)).hex())
            if token not in guest.tokens:
                guest.tokens.append(token)
        return {"vm": vm.name, "token": token.hex(), "page": page, "pages": pages}

    def tokens(self, vm: str) -> list[str]:
        """As hex, of what `write` has written there; none for a VM that has written nothing."""
        guest = self._guests.get(vm)
        return [token.hex() for token in guest.tokens] if guest else []

    def take_over(self, guest: Guest, ram: Ram) -> None:
        """The guest goes on in `ram`; its former memory is given back."""
        guest.ask("resume", ram.path)
        guest.ram.close()
        guest.ram = ram

    def end(self) -> None:
        for guest in self._guests.values():
            guest.process.kill()
            guest.process.wait()
            forget(guest.process)
