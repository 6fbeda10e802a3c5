"""The daemon's running captures: one dumpcap a node, started together, waited for by what is in their files."""

from __future__ import annotations

import select
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from lab.errors import CannotTell, SystemRefused, UsageError
from lab.observe.dumpcap import Capture, command_line
from lab.realise import netlink
from lab.realise.net import Network
from lab.realise.run import forget, spawn

Needle = tuple[str, bytes, int]
"""(node, bytes, how often they must be in its file)."""
LOOK_SECONDS = 0.01
QUIET_SECONDS = 0.45
"""Longer than a frame can stay in dumpcap: its ring hands over every 250 ms, and what it gets it writes at once."""


@dataclass
class _Running:
    captures: dict[str, Capture]
    files: dict[str, Path]
    offsets: dict[tuple[str, bytes], tuple[int, int]]


class Captures:
    """By number."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._running: dict[int, _Running] = {}
        self._numbers = count(1)

    def running(self) -> list[int]:
        return sorted(self._running)

    def start(
        self, targets: Sequence[tuple[str, Sequence[str]]], directory: Path, snaplen: int, limit: int
    ) -> dict[str, Any]:
        """All are capturing when this returns; if one cannot, none is left. Files are named after their nodes.

        Interfaces that are switched off (a vNIC that is not connected, the far end of a pulled cable) are left out.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SystemRefused(f"{directory}: {error.strerror}") from error
        targets = [(node, able) for node, labels in targets if (able := self._switched_on(node, labels))]
        files = {node: directory / f"{self._network.plan.node_named[node].id}.pcapng" for node, _ in targets}
        running = _Running({}, files, {})
        try:
            for node, labels in targets:
                running.captures[node] = self._start_one(node, labels, files[node], snaplen, limit)
            for capture in running.captures.values():
                capture.wait_ready()
        except BaseException:
            self._end(running)
            raise
        self._lost_in_switches()  # what was lost before is not this capture's
        number = next(self._numbers)
        self._running[number] = running
        heard = [[node, label] for node, labels in targets for label in labels]
        return {"id": number, "files": {node: str(path) for node, path in files.items()}, "captured": heard}

    def _switched_on(self, node: str, labels: Sequence[str]) -> list[str]:
        on = netlink.switched_on(self._network.namespaces[node])
        return [label for label in labels if self._network.interface_name(node, label) in on]

    def _start_one(self, node: str, labels: Sequence[str], path: Path, snaplen: int, limit: int) -> Capture:
        names = [self._network.interface_name(node, label) for label in labels]
        comment = f"vswitchlab {self._network.plan.name}, {node}"
        within = partial(spawn, namespace=self._network.namespaces[node])
        capture = Capture(within, command_line(names, snaplen, comment, limit), path)
        capture.start()
        return capture

    def _end(self, running: _Running) -> None:
        for capture in running.captures.values():
            capture.process.kill()
            capture.process.wait()
            forget(capture.process)

    def _named(self, number: int) -> _Running:
        if number not in self._running:
            raise UsageError(f"no capture {number}")
        return self._running[number]

    def wait_for(self, number: int, needles: Sequence[Needle], seconds: float) -> bool:
        """True once every needle is there often enough; a capture that died makes it False at once."""
        running, deadline = self._named(number), time.monotonic() + seconds
        left = list(needles)
        while True:
            left = _still_missing(running, left)
            if not left:
                return True
            if time.monotonic() > deadline or not all(c.alive() for c in running.captures.values()):
                return False
            select.select([], [], [], LOOK_SECONDS)

    def alive(self, number: int) -> bool:
        return all(capture.alive() for capture in self._named(number).captures.values())

    def settle(self, number: int, seconds: float, needle: bytes | None = None) -> bool:
        """Until no file has grown for as long as dumpcap can hold a frame back, or, with a needle, by no frame that has
        it: hosts and pSwitches may talk all the time. False: such frames still came at the end."""
        running = self._named(number)
        deadline, seen, since = time.monotonic() + seconds, [-1], time.monotonic()
        while time.monotonic() < deadline:
            now = [_amount(running, node, needle) for node in running.files]
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since >= QUIET_SECONDS:
                return True
            select.select([], [], [], LOOK_SECONDS)
        return False

    def stop(self, number: int) -> dict[str, Any]:
        """Raises CannotTell when one had ended early; all are stopped even then."""
        running = self._named(number)
        del self._running[number]
        said: dict[str, Any] = {}
        broken: list[str] = []
        for capture in running.captures.values():
            capture.ask_to_stop()
        for node, capture in running.captures.items():
            try:
                stats = capture.stop()
                said[node] = {"received": sum(stats.received.values()), "dropped": stats.lost}
            except CannotTell as error:
                broken.append(f"{node}: {error}")
            forget(capture.process)
        if broken:
            raise CannotTell("; ".join(broken))
        for node, lost in self._lost_in_switches().items():
            said.setdefault(node, {"received": 0, "dropped": 0})["lost_in_switch"] = lost
        return said

    def _lost_in_switches(self) -> dict[str, int]:
        """Box -> frames that its switch had no room for since this was last asked; boxes that lost none left out."""
        boxes = [node.name for node in self._network.plan.nodes if node.is_box]
        return {box: lost for box in boxes if (lost := self._network.ovs(box).frames_lost())}


def _amount(running: _Running, node: str, needle: bytes | None) -> int:
    """Bytes in a file, or how often the needle is in it."""
    if needle is None:
        return running.files[node].stat().st_size
    list(_count(running, node, [(node, needle, 0)]))
    return running.offsets[node, needle][1]


def _still_missing(running: _Running, needles: Sequence[Needle]) -> list[Needle]:
    """Those that are not in their files often enough yet; only what the files have got since the last look is read.

    Read, not mapped: a page of a file on a full disk that cannot be mapped would kill this process.
    """
    by_node: dict[str, list[Needle]] = defaultdict(list)
    for needle in needles:
        by_node[needle[0]].append(needle)
    return [needle for node, own in by_node.items() for needle in _count(running, node, own)]


def _count(running: _Running, node: str, needles: Sequence[Needle]) -> Iterator[Needle]:
    seen = {text: running.offsets.get((node, text), (0, 0)) for _, text, _ in needles}
    begin = min(at for at, _ in seen.values())
    with running.files[node].open("rb") as file:
        file.seek(begin)
        data = file.read()
    for _, text, times in needles:
        at, found = seen[text]
        hit = data.find(text, at - begin)
        while hit >= 0:
            found, at = found + 1, begin + hit + len(text)
            hit = data.find(text, at - begin)
        running.offsets[node, text] = (max(at, begin + len(data) - len(text) + 1, 0), found)
        if found < times:
            yield node, text, times
