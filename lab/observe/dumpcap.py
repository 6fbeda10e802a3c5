"""One dumpcap for the interfaces of one namespace, into one pcapng."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.errors import CannotTell, SystemRefused
from lab.realise.sockets import Taken, taken_in

READY = b"File:"
READY_SECONDS = 60.0
"""A box with thirty interfaces in an emulated VM took more than 20."""
RING_MIB = 2
"""Ring buffer of each interface: enough for 10,000 short frames until dumpcap's thread gets to run."""
QUEUE = 10_000_000
"""Packets between dumpcap's threads; its own default of 1,000 loses frames in any burst."""
_SUMMARY = re.compile(
    r"Packets received/dropped on interface '.*': (\d+)/(\d+)(?: \(pcap:\d+/dumpcap:\d+/flushed:(\d+)/)?"
)
"""What was flushed was waiting to be written when the capture was told to end: it came at the end, and is not lost."""

Spawn = Callable[..., subprocess.Popen[Any]]
"""Starts a command in the right namespace; keyword arguments are Popen's."""


def command_line(interfaces: Sequence[str], snaplen: int = 0, comment: str = "", count: int = 0) -> list[str]:
    """It writes to stdout: only then does dumpcap hand on every frame at once instead of twice a second. `-p`: the
    capture must not make an interface promiscuous."""
    argv = ["dumpcap", "-q", "-p", "-n", "-B", str(RING_MIB), "-N", str(QUEUE), "-w", "-"]
    if snaplen:
        argv += ["-s", str(snaplen)]
    if count:
        argv += ["-c", str(count)]
    if comment:
        argv += ["--capture-comment", comment]
    for interface in interfaces:
        argv += ["-i", interface]
    return argv


class Capture:
    """Start, wait until it captures, stop, and know what was lost."""

    def __init__(self, spawn: Spawn, argv: Sequence[str], target: Path) -> None:
        self._spawn = spawn
        self._target = target
        self._argv = argv
        self._said = b""
        self._asked = False
        self._process: subprocess.Popen[Any] | None = None

    @property
    def process(self) -> subprocess.Popen[Any]:
        if self._process is None:
            raise CannotTell("the capture has not been started")
        return self._process

    def start(self) -> None:
        """Raises MachineLacks without dumpcap, SystemRefused when the file cannot be made."""
        try:
            with self._target.open("wb") as out:
                self._process = self._spawn(self._argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)
        except OSError as error:
            raise SystemRefused(f"{self._target}: {error.strerror}") from error

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until dumpcap captures on every interface. Raises SystemRefused with its own words."""
        deadline = time.monotonic() + seconds
        assert self.process.stderr is not None
        while READY not in self._said:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stderr], [], [], left)[0]:
                raise SystemRefused(f"dumpcap did not begin to capture within {seconds:g} s")
            chunk = os.read(self.process.stderr.fileno(), 65536)
            if not chunk:
                self.process.wait()
                raise SystemRefused(f"dumpcap: {self._last_words()}")
            self._said += chunk

    def alive(self) -> bool:
        return self.process.poll() is None

    def ask_to_stop(self) -> None:
        """dumpcap looks up every 250 ms: with several, ask all before waiting for one."""
        if self.alive():
            self._asked = True
            self.process.send_signal(signal.SIGINT)

    def cut(self) -> Taken | None:
        """End it at once, when all that matters has had its time to get into the file: dumpcap's own stop takes 0.3 s.
        The kernel tells of its sockets what dumpcap would have told; the file may end within a packet. None, and it is
        to be stopped, where they cannot be asked or it had ended by itself."""
        try:
            taken = taken_in(self.process.pid)
        except (SystemRefused, OSError):
            return None
        if not self.alive():
            return None
        self.process.kill()
        return taken

    def stop(self) -> Taken:
        """The file is whole on return; the process may live a little longer (`forget` it).

        Raises CannotTell when dumpcap failed (a full disk, an interface that went away) or had ended by itself
        without having reached its limit of frames: what came afterwards is not in the file."""
        limited = "-c" in self._argv
        if not self.alive() and not self.process.returncode and not limited and not self._asked:
            raise CannotTell("the capture was ended by somebody else: what came after that is not in it")
        self.ask_to_stop()
        if not self._read_summary():
            self.process.wait()
            if self.process.returncode:
                raise CannotTell(f"the capture ended early: dumpcap: {self._last_words()}")
        found = _SUMMARY.findall(self._said.decode(errors="replace"))
        if not found:
            raise CannotTell(f"the capture did not say what it lost: dumpcap: {self._last_words()}")
        # With a limit, dumpcap counts as dropped what came after it.
        lost = 0 if limited else sum(int(dropped) - int(flushed or 0) for _, dropped, flushed in found)
        return Taken(sum(int(got) for got, _, _ in found), lost)

    def _read_summary(self) -> bool:
        """True once dumpcap has told what it lost at every interface and complained of nothing: the file is whole
        then, and what is left is to close its sockets, for which the kernel takes 25 ms each. False at its end."""
        assert self.process.stderr is not None
        wanted = self._argv.count("-i")
        with self.process.stderr as words:
            while self._summaries() < wanted or not self._said.endswith(b"\n") or self._complaints():
                chunk = os.read(words.fileno(), 65536)
                if not chunk:
                    return False
                self._said += chunk
        return True

    def _summaries(self) -> int:
        return len(_SUMMARY.findall(self._said.decode(errors="replace")))

    def _complaints(self) -> list[str]:
        lines = (line.strip() for line in self._said.decode(errors="replace").splitlines())
        return [line for line in lines if line and not line.startswith(("Capturing on", "File:", "Packets"))]

    def _last_words(self) -> str:
        return " ".join(self._complaints()) or f"exit status {self.process.poll()}"
