"""The daemon's running captures: one dumpcap a node, started together, waited for by what is in their files."""

from __future__ import annotations

import select
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from lab.errors import CannotTell, LabError, SystemRefused, UsageError
from lab.observe.dumpcap import Capture, command_line
from lab.observe.growing import Growing
from lab.observe.pcapng import join_segments
from lab.plan.names import linux_name
from lab.realise import netlink
from lab.realise.net import Network
from lab.realise.run import forget, spawn
from lab.realise.sockets import Taken

Needle = tuple[str, bytes, int]
"""(node, bytes, how often they must be in its file)."""
LOOK_SECONDS = 0.01
QUIET_SECONDS = 0.45
"""Longer than a frame can stay in dumpcap (its ring hands over every 250 ms, and what it gets it writes at once) and on
its way through switches together; the longest wire's delay comes on top."""
SPREAD = 13
"""Interfaces that one dumpcap listens to where there may be several: it begins after 40 ms, and 12 more for each."""
HELD_SECONDS = 0.3
"""Longer than a frame can stay in dumpcap's ring."""


@dataclass
class _Part:
    """One dumpcap's share of a capture: a port that leaves its host ends one and begins another. `file_of`: the node
    in whose file it ends up."""

    node: str
    file_of: str
    labels: tuple[str, ...]
    path: Path
    capture: Capture
    taken: Taken | None = None


@dataclass
class _Running:
    """`files`: one a node, which has all of its parts once the capture is stopped. `overlap`: a port has moved, and
    several parts may have the same packets."""

    files: dict[str, Path]
    snaplen: int
    limit: int
    parts: list[_Part] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    overlap: bool = False
    offsets: dict[tuple[Path, bytes], tuple[int, int]] = field(default_factory=dict)

    @property
    def live(self) -> list[_Part]:
        return [part for part in self.parts if part.taken is None]

    def paths(self, node: str) -> list[Path]:
        return [part.path for part in self.parts if part.file_of == node]


class Captures:
    """By number."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._running: dict[int, _Running] = {}
        self._numbers = count(1)

    def running(self) -> list[int]:
        return sorted(self._running)

    def start(
        self, targets: Sequence[tuple[str, Sequence[str]]], directory: Path, snaplen: int, limit: int, spread: bool
    ) -> dict[str, Any]:
        """All are capturing when this returns; if one cannot, none is left. Files are named after their nodes.

        `spread`: several dumpcaps where a node has many interfaces, which begin sooner.

        Interfaces that are switched off (a vNIC that is not connected, the far end of a pulled cable) are left out.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SystemRefused(f"{directory}: {error.strerror}") from error
        targets = [(node, able) for node, labels in targets if (able := self._switched_on(node, labels))]
        files = {node: directory / f"{self._network.plan.node_named[node].id}.pcapng" for node, _ in targets}
        running = _Running(files, snaplen, limit)
        try:
            for node, labels in targets:
                for path, some in zip(self._paths(running, node), _portions(labels, spread), strict=False):
                    running.parts.append(self._part(running, node, tuple(some), path))
            for part in running.parts:
                part.capture.wait_ready()
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

    def _part(
        self, running: _Running, node: str, labels: tuple[str, ...], path: Path, file_of: str | None = None
    ) -> _Part:
        names = [linux_name(label) for label in labels]
        comment = f"vswitchlab {self._network.plan.name}, {node}"
        within = partial(spawn, namespace=self._network.namespaces[node])
        argv = command_line(names, running.snaplen, comment, running.limit)
        part = _Part(node, file_of or node, labels, path, Capture(within, argv, path))
        part.capture.start()
        return part

    def _end(self, running: _Running) -> None:
        for part in running.live:
            part.capture.process.kill()
            part.capture.process.wait()
            forget(part.capture.process)

    # -- ports that move

    def prepare(self, node: str, label: str) -> None:
        """This port will leave its box. dumpcap ends when one of its interfaces goes, so whoever hears it together with
        others gets a successor for those; until the port goes both write, and what both have is in the file once."""
        for running in self._running.values():
            for part in self._hearing(running, node, label):
                rest = tuple(other for other in part.labels if other != label)
                if rest and not part.path.is_fifo():  # two cannot write into one pipe
                    self._add(running, node, rest, node, self._next_path(running, node))

    def leave(self, node: str, label: str) -> list[int]:
        """The port is in no switch any more. Returns the numbers of the captures that heard it. Where there are any, it
        takes half a second: so long dumpcap can hold a frame, and what it holds when it is to stop is lost."""
        heard = {n: parts for n, running in self._running.items() if (parts := self._hearing(running, node, label))}
        if heard:
            select.select([], [], [], HELD_SECONDS)
        for part in (part for parts in heard.values() for part in parts):
            part.capture.ask_to_stop()
        for number, parts in heard.items():
            for part in parts:
                self._close(self._running[number], part)
                rest = tuple(other for other in part.labels if other != label)
                if rest and part.path.is_fifo():
                    self._add(self._running[number], node, rest, node, part.path)
        return list(heard)

    def arrive(self, numbers: Sequence[int], source: str, node: str, label: str) -> None:
        """The port is in its new box, and switched on: these captures hear it there, before any frame passes it. Where
        nothing else is captured, what it hears belongs to the file of the box that it came from. Streams go without."""
        for running in (self._running[number] for number in numbers if number in self._running):
            file_of = node if node in running.files else source
            if not running.files[file_of].is_fifo():
                self._add(running, node, (label,), file_of, self._next_path(running, node))

    @staticmethod
    def _hearing(running: _Running, node: str, label: str) -> list[_Part]:
        return [part for part in running.live if part.node == node and label in part.labels]

    def _add(self, running: _Running, node: str, labels: tuple[str, ...], file_of: str, path: Path) -> None:
        """One that cannot be started makes its capture tell so at its end; the port moves all the same."""
        running.overlap = True
        try:
            part = self._part(running, node, labels, path, file_of)
            part.capture.wait_ready()
        except LabError as error:
            running.broken.append(f"{node}: {error}")
        else:
            running.parts.append(part)

    def _path_beside(self, running: _Running, node: str) -> Path:
        return next(iter(running.files.values())).parent / f"{self._network.plan.node_named[node].id}.pcapng"

    def _paths(self, running: _Running, node: str) -> Iterator[Path]:
        """For the parts of a node: its file first."""
        yield running.files[node]
        while True:
            yield self._next_path(running, node)

    def _next_path(self, running: _Running, node: str) -> Path:
        return self._path_beside(running, node).with_suffix(f".{len(running.parts)}.pcapng")

    def _close(self, running: _Running, part: _Part) -> None:
        """What its end tells is kept: why it ended early, or what it lost."""
        try:
            part.taken = part.capture.stop()
        except CannotTell as error:
            running.broken.append(f"{part.node}: {error}")
            part.taken = Taken(0, 0)
        forget(part.capture.process)

    def _cut(self, running: _Running) -> None:
        """Those whose sockets can be asked what they lost; the others are left to be stopped."""
        for part in running.live:
            part.taken = part.capture.cut()
            if part.taken is not None:
                forget(part.capture.process)

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
            if time.monotonic() > deadline or not _all_alive(running):
                return False
            select.select([], [], [], LOOK_SECONDS)

    def alive(self, number: int) -> bool:
        return _all_alive(self._named(number))

    def settle(self, number: int, seconds: float, needle: bytes | None = None) -> bool:
        """Until nothing can be left in dumpcap: no file has grown for so long or, with a needle, the newest frame that
        has it was on its wire so long ago: hosts and pSwitches may talk all the time. False: such frames still came."""
        running = self._named(number)
        come = _Needles(running, needle) if needle else _Bytes(running)
        quiet = QUIET_SECONDS + self._network.longest_way()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            come.look()
            if come.quiet() >= quiet:
                return True
            select.select([], [], [], LOOK_SECONDS)
        return False

    def stop(self, number: int, at_once: bool = False) -> dict[str, Any]:
        """Nodes with what was received and dropped, and their files. Raises CannotTell when one had ended early; all
        are stopped even then. `at_once`: after `settle`, for files that nobody keeps; there may be several a node."""
        running = self._named(number)
        del self._running[number]
        if at_once:
            self._cut(running)
        for part in running.live:
            part.capture.ask_to_stop()
        for part in running.live:
            self._close(running, part)
        if running.broken:
            raise CannotTell("; ".join(running.broken))
        said: dict[str, Any] = {}
        for part in running.parts:
            assert part.taken is not None
            node = said.setdefault(part.node, {"received": 0, "dropped": 0})
            node["received"] += part.taken.received
            node["dropped"] += part.taken.lost
        for node_name, file in running.files.items():
            paths = list(dict.fromkeys(running.paths(node_name)))
            if running.overlap or not at_once:
                _put_together(paths, file)
                paths = [file]
            said.setdefault(node_name, {"received": 0, "dropped": 0})["files"] = [str(path) for path in paths]
        for node, lost in self._lost_in_switches().items():
            said.setdefault(node, {"received": 0, "dropped": 0})["lost_in_switch"] = lost
        return said

    def _lost_in_switches(self) -> dict[str, int]:
        """Box -> frames that its switch had no room for since this was last asked; boxes that lost none left out."""
        boxes = [node.name for node in self._network.plan.nodes if node.is_box]
        return {box: lost for box in boxes if (lost := self._network.ovs(box).frames_lost())}


def _portions(labels: Sequence[str], spread: bool) -> list[Sequence[str]]:
    """For each dumpcap about as many interfaces; the kernel takes 12 ms for each of one process, one after another."""
    many = -(-len(labels) // SPREAD) if spread else 1
    return [labels[n::many] for n in range(many)]


class _Bytes:
    """How long the files of a capture have not grown."""

    def __init__(self, running: _Running) -> None:
        self._running = running
        self._size, self._since = -1, 0.0

    def look(self) -> None:
        files = (path for node in self._running.files for path in self._running.paths(node))
        size = sum(path.stat().st_size for path in files)
        if size != self._size:
            self._size, self._since = size, time.monotonic()

    def quiet(self) -> float:
        return time.monotonic() - self._since


class _Needles:
    """How long ago the newest frame in the files of a capture was sent that has a needle; a file may begin meanwhile.

    Where there is none yet, how long one has been waited for: the clock that frames are stamped with is the machine's.
    """

    def __init__(self, running: _Running, needle: bytes) -> None:
        self._running, self._needle = running, needle
        self._files: dict[Path, Growing] = {}
        self._begun_ns = time.time_ns()

    def look(self) -> None:
        for path in (path for node in self._running.files for path in self._running.paths(node)):
            if path not in self._files:
                self._files[path] = Growing(path, self._needle)
            self._files[path].look()

    def quiet(self) -> float:
        newest = max((file.newest_ns for file in self._files.values()), default=0)
        return (time.time_ns() - (newest or self._begun_ns)) / 1e9


def _all_alive(running: _Running) -> bool:
    return all(part.capture.alive() for part in running.live)


def _put_together(parts: list[Path], file: Path) -> None:
    """Into the node's one file; a stream has its parts already."""
    if parts != [file]:
        joined = file.with_suffix(".joined")
        join_segments(parts, joined)
        for path in parts:
            path.unlink()
        joined.rename(file)


def _still_missing(running: _Running, needles: Sequence[Needle]) -> list[Needle]:
    """Those that are not in their files often enough yet; only what the files have got since the last look is read.

    Read, not mapped: a page of a file on a full disk that cannot be mapped would kill this process.
    """
    by_node: dict[str, list[Needle]] = defaultdict(list)
    for needle in needles:
        by_node[needle[0]].append(needle)
    return [needle for node, own in by_node.items() for needle in _missing_at(running, node, own)]


def _missing_at(running: _Running, node: str, needles: Sequence[Needle]) -> Iterator[Needle]:
    counts: Counter[bytes] = Counter()
    for path in running.paths(node):
        counts += _count(running, path, [text for _, text, _ in needles])
    yield from (needle for needle in needles if counts[needle[1]] < needle[2])


def _count(running: _Running, path: Path, texts: Sequence[bytes]) -> Counter[bytes]:
    seen = {text: running.offsets.get((path, text), (0, 0)) for text in texts}
    begin = min(at for at, _ in seen.values())
    with path.open("rb") as file:
        file.seek(begin)
        data = file.read()
    counts: Counter[bytes] = Counter()
    for text in texts:
        at, found = seen[text]
        hit = data.find(text, at - begin)
        while hit >= 0:
            found, at = found + 1, begin + hit + len(text)
            hit = data.find(text, at - begin)
        running.offsets[path, text] = (max(at, begin + len(data) - len(text) + 1, 0), found)
        counts[text] = found
    return counts
