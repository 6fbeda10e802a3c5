"""The bytes of a vMotion, the guest's memory, the stream that measures, and captures in parts: without a lab."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest

from lab.agents.memory import Ram
from lab.errors import CannotTell, SystemRefused
from lab.observe.pcapng import CaptureFile, join_segments
from lab.report.clear import ClearReport, Exposed
from lab.report.vmotion import as_text
from traffic import guest_memory
from traffic.stream import _longest_gap
from traffic.vmotion import PAGE, Key, Sender, receive

KEYS = [None, Key(b"k" * 32, b"n" * 8)]
PAGES = [(n, bytes([n + 1]) * PAGE) for n in range(40)]


def transferred(key: Key | None, other: Key | None) -> tuple[dict[int, bytes], list[bytes], bytes, str]:
    """What arrives of PAGES and a devices' state; what was on the wire; what went wrong."""
    ours, theirs = socket.socketpair()
    raw, tap = bytearray(), theirs
    got: dict[int, bytes] = {}
    states: list[bytes] = []
    failed: list[str] = []

    class Tapped:
        def recv_into(self, view: memoryview) -> int:
            size = tap.recv_into(view)
            raw.extend(view[:size])
            return size

        def sendall(self, data: bytes) -> None:
            tap.sendall(data)

    def take() -> None:
        try:
            states.extend(receive(Tapped(), other, 3, got.__setitem__))  # type: ignore[arg-type]
        except SystemRefused as error:
            failed.append(str(error))
            tap.close()

    thread = threading.Thread(target=take)
    thread.start()
    sender = Sender(ours, key, 3)
    try:
        sender.pages(PAGES)
        sender.end_round()
        sender.devices(b"state")
        sender.close()
    except SystemRefused as error:
        failed.append(str(error))
    thread.join(10)
    ours.close()
    return got, states, bytes(raw), "; ".join(failed)


@pytest.mark.parametrize("key", KEYS, ids=["clear", "encrypted"])
def test_vmk_1_every_page_arrives_and_only_without_a_key_it_can_be_read(key: Key | None) -> None:
    got, states, wire, failed = transferred(key, key)
    assert (got, states, failed) == (dict(PAGES), [b"state"], "")
    assert (PAGES[7][1] in wire) == (key is None)


def test_vmk_1_another_migrations_key_opens_nothing() -> None:
    got, _, _, failed = transferred(KEYS[1], Key(b"x" * 32, b"n" * 8))
    assert got == {} and "key does not open" in failed


@pytest.mark.parametrize("garbage", [b"\xff" * 8, struct.pack("!I", 5) + b"\x09zzzz", struct.pack("!I", 9) + b"ab"])
def test_what_is_no_record_is_refused(garbage: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(garbage)
    ours.close()
    with pytest.raises(SystemRefused):
        list(receive(theirs, None, 0, lambda _page, _data: None))
    theirs.close()


# -- memory


def test_vmo_2_only_pages_that_changed_are_told_and_zero_pages_are_not(tmp_path: Path) -> None:
    ram, known = Ram(tmp_path / "ram", 64 * PAGE), {}
    ram.write(5, b"a" * PAGE)
    ram.write(6, bytes(PAGE))
    assert [n for n, _ in ram.changed(known)] == [5]
    assert ram.changed(known) == []
    ram.write(5, bytes(PAGE))
    assert ram.changed(known) == [(5, bytes(PAGE))]  # it was sent, and is zero now
    with pytest.raises(SystemRefused):
        ram.write(64, b"a" * PAGE)
    ram.close()


def guest(path: Path) -> guest_memory.Guest:
    path.write_bytes(bytes(16 * PAGE))
    return guest_memory.Guest(str(path))


def test_a_guest_writes_finds_and_goes_on_in_another_copy(tmp_path: Path) -> None:
    here, there = guest(tmp_path / "a"), tmp_path / "b"
    assert guest_memory.answer(here, "write 3 " + b"token".hex()) == {"page": 3, "bytes": 5}
    there.write_bytes((tmp_path / "a").read_bytes())
    guest_memory.answer(here, "stun")
    guest_memory.answer(here, f"resume {there}")
    guest_memory.answer(here, "write 4 " + b"later".hex())
    assert guest_memory.answer(here, "find " + b"token".hex())["pages"] == [3]
    assert b"later" in there.read_bytes() and b"later" not in (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("line", ["", "write", "write 99 00", "write x 00", "find zz", "nothing 1", "resume /none"])
def test_a_guest_answers_every_command(tmp_path: Path, line: str) -> None:
    assert "error" in guest_memory.answer(guest(tmp_path / "a"), line)


def test_a_guest_that_is_stunned_changes_nothing(tmp_path: Path) -> None:
    busy = guest(tmp_path / "a")
    guest_memory.answer(busy, "stun")
    guest_memory.answer(busy, "churn 100000")
    before = (tmp_path / "a").read_bytes()
    threading.Event().wait(0.05)
    assert (tmp_path / "a").read_bytes() == before
    guest_memory.answer(busy, "resume ")
    for _ in range(200):
        if (tmp_path / "a").read_bytes() != before:
            return
        threading.Event().wait(0.01)
    pytest.fail("it does nothing when it is not stunned either")


# -- the stream


@pytest.mark.parametrize(
    ("numbers", "gap"),
    [
        ([], (0, 0, 0.0)),
        ([0, 1, 2], (0, 0, 0.0)),
        ([0, 1, 5, 6], (3, 3, 4.0)),
        ([0, 2, 9], (7, 6, 7.0)),
    ],
)
def test_the_longest_gap(numbers: list[int], gap: tuple[int, int, float]) -> None:
    found = _longest_gap({n: n * 1_000_000 for n in numbers})
    assert (found["missing"], found["gap_frames"], found["gap_ms"]) == gap


# -- captures in parts


def block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("=II", kind, length) + body + struct.pack("=I", length)


def capture(path: Path, interfaces: list[str], packets: list[tuple[int, int, bytes]]) -> Path:
    """`packets`: (interface number, ticks, four bytes)."""
    blocks = block(0x0A0D0D0A, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1))
    for name in interfaces:
        padded = name.encode().ljust(4, b"\0")
        blocks += block(1, struct.pack("=HHI", 1, 0, 0) + struct.pack("=HH", 2, len(name)) + padded + bytes(4))
    for index, ticks, data in packets:
        blocks += block(6, struct.pack("=5I", index, ticks >> 32, ticks & 0xFFFFFFFF, 4, 4) + data)
    path.write_bytes(blocks)
    return path


def test_parts_that_overlap_become_one_file_with_each_packet_once(tmp_path: Path) -> None:
    first = capture(tmp_path / "1", ["a", "b"], [(0, 1, b"aaaa"), (1, 2, b"bbbb"), (1, 2, b"bbbb"), (1, 3, b"cccc")])
    second = capture(tmp_path / "2", ["b"], [(0, 2, b"bbbb"), (0, 3, b"cccc"), (0, 4, b"dddd")])
    third = capture(tmp_path / "3", ["new"], [(0, 3, b"cccc")])
    join_segments([first, second, third], tmp_path / "out")
    with CaptureFile(tmp_path / "out") as joined:
        found = [(p.interface, p.data) for p in joined.find(b"")]
    both = [("b", b"bbbb"), ("b", b"bbbb"), ("b", b"cccc"), ("b", b"dddd")]
    assert found == [("a", b"aaaa"), *both, ("new", b"cccc")]


def test_what_is_no_capture_is_told(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(b"nonsense and more of it")
    with pytest.raises(CannotTell):
        join_segments([tmp_path / "1"], tmp_path / "out")


# -- the report


def report(**facts: object) -> str:
    reach = {"from": "gw", "rate": 1000, "sent": 500, "received": 430, "missing": 70, "gap_ms": 71.5, "unheard": 0}
    done = {
        "vm": "web1", "source": "esx1", "target": "esx2", "seconds": 1.0, "encrypted": False, "bytes": 4200,
        "latency_aware": False,
        "adapters": [("esx1.vmk1", "esx2.vmk1")], "rounds": [{"pages": 1}], "stunned_ms": 80.0, "switch_over_ms": 60.0,
        "reach": reach | dict(facts.pop("reach", {}) or {}),  # type: ignore[call-overload]
    }  # fmt: skip
    return "\n".join(as_text(ClearReport({**done, **facts}, facts.pop("exposed", None))))  # type: ignore[arg-type]


def test_the_report_says_what_is_known() -> None:
    assert "out of reach: 71.5 ms, 70 of 500 frames from gw (1000/s) lost" in report()
    assert "out of reach: still" in report(reach={"unheard": 2000})
    assert "none of 500" in report(reach={"received": 0})
    assert "not looked for" in report() and "in clear: nowhere" in report(exposed=())
    assert "esx1:vmnic0 UplinkSnd VLAN 6 (3 packets)" in report(
        exposed=(Exposed("esx1", "esx1", "vmnic0", "UplinkSnd", (6,), 3),)
    )
