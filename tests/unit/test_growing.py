"""A capture file that is read while it grows: in pieces of any size, it tells what the whole file would."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter

from lab.errors import CannotTell
from lab.observe.growing import Growing
from lab.observe.pcapng import CaptureFile

NEEDLE = b"NEEDLE"
FRAMES = [(b"one" + NEEDLE, 100.0), (b"none", 300.0), (NEEDLE, 200.25), (b"NEEDL", 400.0)]


def whole(tmp_path: Path) -> bytes:
    path = tmp_path / "whole.pcapng"
    with PcapNgWriter(str(path)) as writer:
        for data, at in FRAMES:
            packet = Ether(b"\0" * 14 + data)
            packet.time = at
            writer.write(packet)
    return path.read_bytes()


@pytest.mark.parametrize("step", [1, 7, 50, 10_000])
def test_pieces_of_any_size_tell_what_the_whole_tells(tmp_path: Path, step: int) -> None:
    data, file = whole(tmp_path), tmp_path / "growing.pcapng"
    file.write_bytes(b"")
    growing = Growing(file, NEEDLE)
    for end in range(0, len(data) + step, step):
        file.write_bytes(data[:end])
        growing.look()
    with CaptureFile(tmp_path / "whole.pcapng") as capture:
        times = [packet.time_ns for packet in capture.find(NEEDLE)]
    assert growing.newest_ns == max(times) == 200_250_000_000


def test_a_packet_counts_once_it_is_there_whole(tmp_path: Path) -> None:
    data, file = whole(tmp_path), tmp_path / "growing.pcapng"
    growing = Growing(file, NEEDLE)
    file.write_bytes(data[: data.index(NEEDLE) + len(NEEDLE)])
    growing.look()
    assert growing.newest_ns == 0
    file.write_bytes(data)
    growing.look()
    assert growing.newest_ns == 200_250_000_000


def test_what_is_no_capture_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"these are only words")
    with pytest.raises(CannotTell, match="no pcapng file"):
        Growing(tmp_path / "notes", NEEDLE).look()
