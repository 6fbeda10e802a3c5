"""Reading whole pcapng files by searching their bytes: only the packets that hold the needle are decoded."""

from __future__ import annotations

import mmap
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from lab.errors import CannotTell, MachineLacks

_SECTION, _INTERFACE, ENHANCED = 0x0A0D0D0A, 1, 6
_LITTLE_MAGIC = b"\x4d\x3c\x2b\x1a"
_TIMELESS = frozenset((2, 3))
"""Packet blocks of the first draft, and simple packet blocks."""
_LEAST_PACKET = 32
_OPT_END, _OPT_COMMENT, _OPT_NAME, _OPT_RESOLUTION = 0, 1, 2, 9


_CUT_SHORT = "cut short"
"""What editcap says of a file that breaks off, with exit code 0."""
_Stamp = tuple[str, bytes, int]
"""Interface, its time as it stands in the file, hash of the rest."""


class Packet(NamedTuple):
    """`interface` is the name in its interface description; `time_ns` counts from the epoch."""

    interface: str
    time_ns: int
    data: bytes
    original_length: int
    comment: str = ""


@dataclass
class _Section:
    """What must be known of a section to read its packets. `ticks` is ticks a second."""

    order: str = "<"
    names: list[str] = field(default_factory=list)
    links: list[int] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)


class CaptureFile:
    """One pcapng file. A last block that is cut off (disk full, still being written) is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else None

    def __enter__(self) -> CaptureFile:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._map is not None:
            self._map.close()
        self._file.close()

    def find(self, needle: bytes) -> Iterator[Packet]:
        """Packets whose bytes hold `needle`, in file order; all packets for an empty needle. Raises CannotTell."""
        data = self._map
        if data is None:
            return
        section, at, size = _Section(), 0, len(data)
        hit = data.find(needle)
        while at + 12 <= size:
            kind, length = struct.unpack_from(section.order + "II", data, at)
            if kind == _SECTION:
                section = _Section("<" if data[at + 8 : at + 12] == _LITTLE_MAGIC else ">")
                (length,) = struct.unpack_from(section.order + "I", data, at + 4)
            if length < 12 or length % 4 or (at == 0 and kind != _SECTION):
                raise CannotTell(f"{self.path} is no pcapng file (byte {at})")
            end = at + length
            if end > size:
                return
            if kind == _INTERFACE:
                _describe(section, data[at:end])
            elif kind == ENHANCED and (not needle or at <= hit < end):
                packet = self._packet(section, data[at:end])
                if needle in packet.data:  # not in a comment
                    yield packet
            at = end
            if needle and 0 <= hit < at:
                hit = data.find(needle, at)
                if hit < 0:
                    return
            elif hit < 0:
                return

    def _packet(self, section: _Section, block: bytes) -> Packet:
        index, high, low, kept, original = struct.unpack_from(section.order + "5I", block, 8)
        if index >= len(section.names) or 28 + kept > len(block):
            raise CannotTell(f"{self.path} has a packet that its headers do not describe")
        ticks = (high << 32 | low) * 1_000_000_000 // section.ticks[index]
        options = block[28 + (kept + 3 & ~3) : -4]
        comment = ""
        if options:
            comment = dict(_options(section.order, options)).get(_OPT_COMMENT, b"").decode(errors="replace")
        return Packet(section.names[index], ticks, bytes(block[28 : 28 + kept]), original, comment)


def _describe(section: _Section, block: bytes) -> None:
    (link,) = struct.unpack_from(section.order + "H", block, 8)
    section.links.append(link)
    options = dict(_options(section.order, block[16:-4]))
    section.names.append(options.get(_OPT_NAME, b"").decode(errors="replace") or f"interface {len(section.names)}")
    (resolution,) = (options.get(_OPT_RESOLUTION) or b"\x06")[:1]
    section.ticks.append(2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution)


def _options(order: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == _OPT_END:
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)


class Survey(NamedTuple):
    """What a file is as a whole. `comment` is its section's; `links` the link types of its interfaces (1: Ethernet);
    `cut_at`: the byte where it breaks off, None when it is whole; `shortened`: packets that lack
    bytes; `timeless`: packets in blocks that have no time, or an old form, which are not read."""

    comment: str
    links: frozenset[int]
    packets: int
    cut_at: int | None
    shortened: int = 0
    timeless: int = 0


def survey(path: Path) -> Survey:
    """A walk over all blocks of a file that is not empty. Raises CannotTell for what is no pcapng file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _surveyed(path, data)


def _surveyed(path: Path, data: mmap.mmap) -> Survey:
    blocks, packets, comment, whole = Blocks(path), 0, "", 0
    shortened = timeless = 0
    for kind, start, end in blocks.walk(data):
        whole = end
        if kind == _SECTION:
            said = dict(_options(blocks.section.order, data[start + 24 : end - 4])).get(_OPT_COMMENT, b"")
            comment = said.decode(errors="replace")
        packets += kind == ENHANCED
        timeless += kind in _TIMELESS
        if kind == ENHANCED and end - start >= _LEAST_PACKET:
            kept, original = struct.unpack_from(blocks.section.order + "2I", data, start + 20)
            shortened += kept < original
    return Survey(comment, blocks.links, packets, None if whole == len(data) else whole, shortened, timeless)


class Blocks:
    """The blocks of one file, which may come in pieces: what one piece described, the next one knows.

    `links`: the link types of all interfaces so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False
        self.section = _Section()
        self.links: frozenset[int] = frozenset()

    def walk(self, data: bytes | mmap.mmap) -> Iterator[tuple[int, int, int]]:
        """(kind, start, end) of every whole block; the next piece begins where the last of them ends. Raises
        CannotTell."""
        at, size = 0, len(data)
        while at + 12 <= size:
            kind, length = struct.unpack_from(self.section.order + "II", data, at)
            if kind == _SECTION:
                self.section = _Section("<" if data[at + 8 : at + 12] == _LITTLE_MAGIC else ">")
                (length,) = struct.unpack_from(self.section.order + "I", data, at + 4)
            if length < 12 or length % 4 or (not self._begun and kind != _SECTION):
                raise CannotTell(f"{self._path} is no pcapng file (byte {at})")
            end = at + length
            if end > size:
                return
            self._begun = True
            if kind == _INTERFACE:
                _describe(self.section, data[at:end])
                self.links |= {self.section.links[-1]}
            yield kind, at, end
            at = end

    def time_ns(self, data: bytes | mmap.mmap, start: int) -> int:
        """When the packet was captured whose block begins at `start`, counted from the epoch."""
        index, high, low = struct.unpack_from(self.section.order + "3I", data, start + 8)
        return int((high << 32 | low) * 1_000_000_000 // self.section.ticks[index])


def as_pcapng(path: Path, directory: Path) -> tuple[Path, bool]:
    """The file itself, or a copy in `directory` that Wireshark's editcap made of another kind of capture file. True:
    editcap found that the original breaks off, which the copy does not show.

    Raises CannotTell for what it cannot read either."""
    with path.open("rb") as file:
        if file.read(4) == _SECTION.to_bytes(4, "little"):
            return path, False
    copy = directory / f"{path.stem}.pcapng"
    try:
        done = subprocess.run(["editcap", "-F", "pcapng", str(path), str(copy)], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MachineLacks("editcap is not installed (Debian package wireshark-common)") from error
    if done.returncode:
        raise CannotTell(f"{path} is no capture file: {done.stderr.strip().splitlines()[-1]}")
    return copy, _CUT_SHORT in done.stderr


def join_segments(parts: Sequence[Path], out: Path) -> None:
    """Several captures of one node, one after another, as one section. Where one overlaps the one before, packets that
    both have (same interface, same time, same bytes) are kept once. All are of this machine's byte order. Raises
    CannotTell."""
    names: list[str] = []
    seen: Counter[_Stamp] = Counter()
    with out.open("wb") as file:
        for path in parts:
            here: Counter[_Stamp] = Counter()
            for kind, block, name in _blocks(path):
                if kind == _SECTION and file.tell() == 0:
                    file.write(block)
                elif kind == _INTERFACE and name not in names:
                    names.append(name)
                    file.write(block)
                elif kind == ENHANCED:
                    stamp = (name, block[12:20], hash(block[20:]))
                    here[stamp] += 1
                    if here[stamp] > seen[stamp]:
                        file.write(block[:8] + struct.pack("=I", names.index(name)) + block[12:])
            seen |= here


def _blocks(path: Path) -> Iterator[tuple[int, bytes, str]]:
    """(kind, block, name of the interface that it is about) of every whole block."""
    data, at, section = path.read_bytes(), 0, _Section("=")
    while at + 12 <= len(data):
        kind, length = struct.unpack_from("=II", data, at)
        if length < 12 or length % 4:
            raise CannotTell(f"{path} is no pcapng file (byte {at})")
        block, name = data[at : at + length], ""
        if len(block) < length:
            return
        if kind == _INTERFACE:
            _describe(section, block)
            name = section.names[-1]
        elif kind == ENHANCED:
            name = section.names[struct.unpack_from("=I", block, 8)[0]]
        yield kind, block, name
        at += length


def merge_pcapng(paths: Sequence[Path], out: Path) -> None:
    """One file in time order from several, interface names kept, by Wireshark's mergecap."""
    try:
        done = subprocess.run(
            ["mergecap", "-F", "pcapng", "-w", str(out), *map(str, paths)], capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise MachineLacks("mergecap is not installed (Debian package wireshark-common)") from error
    if done.returncode:
        raise CannotTell(f"mergecap: {done.stderr.strip()}")
