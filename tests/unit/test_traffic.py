"""Frames, canaries, hex files and injection. What is sent really goes over `lo`, or over a namespace of its own."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.utils import PcapNgWriter, PcapWriter

from lab.errors import SystemRefused, UsageError
from lab.frame import Frame, Tag, vids_of
from traffic.canary import (
    ETHERTYPE,
    MAGIC,
    PAYLOAD_SIZE,
    Canary,
    canary_data,
    canary_frame,
    canary_payload,
    find_canaries,
    new_token,
    read_canary,
    seq_offset,
)
from traffic.frames import FrameSpec, build, read_hex, read_pcap
from traffic.hexfile import read_hex as read_hex_text
from traffic.inject import Injector, Sent, open_injector

A, B = "00:50:56:00:00:01", "00:50:56:00:00:02"
TOKEN = bytes(range(16))
V4: dict[str, Any] = {"src_ip": "10.0.0.1", "dst_ip": "10.0.0.2"}
V6: dict[str, Any] = {"src_ip": "fd00::1", "dst_ip": "fd00::2"}
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")

tokens = st.binary(min_size=16, max_size=16)
numbers = st.integers(0, 2**32 - 1)


# -- canaries


@given(tokens, numbers, st.integers(PAYLOAD_SIZE, 200), st.binary(max_size=50))
def test_a_canary_is_read_back_from_any_surroundings(token: bytes, seq: int, size: int, before: bytes) -> None:
    payload = canary_payload(token, seq, size)
    assert len(payload) == size
    assert read_canary(before + payload) == Canary(token, seq)


@given(numbers, numbers)
def test_the_internet_checksum_is_the_same_for_every_number(one: int, other: int) -> None:
    sums = [sum(struct.unpack("!16H", canary_payload(TOKEN, seq))) % 0xFFFF for seq in (one, other)]
    assert sums[0] == sums[1]


@pytest.mark.parametrize(
    ("token", "seq", "size"),
    [(b"short", 0, 32), (TOKEN + b"x", 0, 32), (TOKEN, -1, 32), (TOKEN, 2**32, 32), (TOKEN, 0, 31)],
)
def test_no_canary_of_a_bad_token_number_or_size(token: bytes, seq: int, size: int) -> None:
    with pytest.raises(UsageError):
        canary_payload(token, seq, size)


def test_tokens_are_never_the_same() -> None:
    made = {new_token() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(token) for token in made} == {16}


def test_several_canaries_are_found_in_order_at_their_places() -> None:
    other = bytes(reversed(TOKEN))
    buffer = b"ab" + canary_payload(TOKEN, 1) + b"cde" + canary_payload(other, 2) + canary_payload(TOKEN, 3)
    assert list(find_canaries(buffer)) == [(2, TOKEN, 1), (37, other, 2), (69, TOKEN, 3)]
    assert read_canary(buffer) == Canary(TOKEN, 1)


@pytest.mark.parametrize("at", [0, 8, 23, 24, 27, 28, 31])
def test_a_canary_that_is_cut_off_is_none(at: int) -> None:
    assert list(find_canaries(canary_payload(TOKEN, 7)[:at])) == []


@pytest.mark.parametrize("at", range(24, 32))
def test_a_canary_whose_numbers_differ_is_none(at: int) -> None:
    spoiled = bytearray(canary_payload(TOKEN, 7))
    spoiled[at] ^= 1
    assert read_canary(bytes(spoiled)) is None
    assert read_canary(bytes(spoiled) + canary_payload(TOKEN, 9)) == Canary(TOKEN, 9)


def test_a_canary_behind_a_false_magic_is_found() -> None:
    assert list(find_canaries(MAGIC + canary_payload(TOKEN, 5))) == [(8, TOKEN, 5)]


@pytest.mark.parametrize(
    ("size", "tags", "length"), [(60, (), 60), (0, (), 60), (1514, (), 1514), (60, (Tag(10),), 64)]
)
def test_a_canary_frame(size: int, tags: tuple[Tag, ...], length: int) -> None:
    raw = canary_frame(A, B, TOKEN, 3, tags, size)
    frame = Frame.parse(raw)
    assert (frame.src, frame.dst, frame.vlans, frame.ethertype) == (A, B, tags, ETHERTYPE)
    assert (len(raw), read_canary(raw)) == (length, Canary(TOKEN, 3))


def test_a_canary_inside_data_keeps_the_data_right() -> None:
    frame = Ether(canary_data(FrameSpec(A, B, kind="udp", **V4), TOKEN, 9))
    assert frame[UDP].dport == 9
    assert read_canary(bytes(frame[UDP].payload)) == Canary(TOKEN, 9)


@pytest.mark.parametrize(("kind", "addresses"), [("udp", V4), ("udp", V6), ("tcp", V4), ("icmp", V4), ("icmp", V6)])
def test_patching_the_number_keeps_every_checksum_right(kind: str, addresses: dict[str, Any]) -> None:
    spec = FrameSpec(A, B, kind=kind, **addresses)
    patched = bytearray(canary_data(spec, TOKEN, 0))
    struct.pack_into("!II", patched, seq_offset(bytes(patched)), 0xBEEF, 0xBEEF ^ 0xFFFFFFFF)
    assert bytes(patched) == canary_data(spec, TOKEN, 0xBEEF)


def test_the_place_of_the_number() -> None:
    raw = canary_frame(A, B, TOKEN, 0x01020304, (Tag(10),))
    assert raw[seq_offset(raw) :][:4] == b"\1\2\3\4"
    with pytest.raises(UsageError, match="no canary"):
        seq_offset(bytes(60))
    with pytest.raises(UsageError, match="no canary"):
        seq_offset(raw[:40])


# -- building


@pytest.mark.parametrize(
    ("kind", "addresses", "layers"),
    [
        ("arp", V4, (ARP,)),
        ("icmp", V4, (IP, ICMP)),
        ("icmp", V6, (IPv6, ICMPv6EchoRequest)),
        ("udp", V4, (IP, UDP)),
        ("udp", V6, (IPv6, UDP)),
        ("tcp", V4, (IP, TCP)),
        ("tcp", V6, (IPv6, TCP)),
    ],
)
def test_a_built_frame_has_its_layers(kind: str, addresses: dict[str, Any], layers: Sequence[type]) -> None:
    frame = Ether(build(FrameSpec(A, B, kind=kind, **addresses)))
    assert (frame.src, frame.dst) == (A, B)
    assert all(layer in frame for layer in layers)


@pytest.mark.parametrize(("kind", "addresses"), [("udp", V4), ("udp", V6), ("tcp", V4), ("tcp", V6), ("icmp", V4)])
def test_checksums_are_right(kind: str, addresses: dict[str, Any]) -> None:
    raw = build(FrameSpec(A, B, kind=kind, payload=b"data", **addresses))
    anew = Ether(raw)
    upper = next(layer for layer in (UDP, TCP, ICMP) if layer in anew)
    told = anew[upper].chksum
    del anew[upper].chksum
    assert Ether(bytes(anew))[upper].chksum == told


def test_addresses_and_ports_of_a_datagram() -> None:
    frame = Ether(build(FrameSpec(A, B, kind="udp", src_port=1, dst_port=65535, payload=b"hello", **V4)))
    assert (frame[IP].src, frame[IP].dst) == ("10.0.0.1", "10.0.0.2")
    assert (frame[UDP].sport, frame[UDP].dport, frame[UDP].len) == (1, 65535, 13)
    assert bytes(frame[UDP].payload)[:5] == b"hello"


def test_arp_asks_who_has_the_other_address() -> None:
    asked = Ether(build(FrameSpec(A, "ff:ff:ff:ff:ff:ff", kind="arp", **V4)))[ARP]
    assert (asked.op, asked.psrc, asked.pdst, asked.hwsrc) == (1, "10.0.0.1", "10.0.0.2", A)


@pytest.mark.parametrize("kind", ["raw", "udp"])
def test_tags_stand_outermost_first(kind: str) -> None:
    tags = (Tag(10, 5), Tag(20, 1, 0x88A8))
    raw = build(FrameSpec(A, B, tags, kind, **(V4 if kind == "udp" else {})))
    assert Frame.parse(raw).vlans == tags
    assert vids_of(raw) == (10, 20)


@pytest.mark.parametrize(
    ("tags", "payload", "min_size", "length"),
    [((), b"", 60, 60), ((Tag(10),), b"", 60, 64), ((), bytes(100), 60, 114), ((), b"", 14, 14), ((), b"", 1514, 1514)],
)
def test_the_length_of_a_raw_frame(tags: tuple[Tag, ...], payload: bytes, min_size: int, length: int) -> None:
    assert len(build(FrameSpec(A, B, tags, payload=payload, min_size=min_size))) == length


def test_a_raw_frame_is_its_header_its_payload_and_zeros() -> None:
    raw = build(FrameSpec(A.upper(), B, ethertype=0x0842, payload=b"abc"))
    assert raw == bytes.fromhex("005056000002005056000001 0842") + b"abc" + bytes(43)
    assert Frame.parse(build(FrameSpec(A, B))).ethertype == 0x88B5


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(FrameSpec(A, B, kind="ftp"), id="kind"),
        pytest.param(FrameSpec("00:50", B), id="source"),
        pytest.param(FrameSpec(A, "zz:50:56:00:00:01"), id="destination"),
        pytest.param(FrameSpec(A, B, (Tag(4096),)), id="VLAN"),
        pytest.param(FrameSpec(A, B, (Tag(1, 8),)), id="priority"),
        pytest.param(FrameSpec(A, B, (Tag(1, 0, 0x10000),)), id="TPID"),
        pytest.param(FrameSpec(A, B, ethertype=0x10000), id="ethertype"),
        pytest.param(FrameSpec(A, B, kind="udp", dst_port=65536, **V4), id="port"),
        pytest.param(FrameSpec(A, B, kind="udp"), id="no addresses"),
        pytest.param(FrameSpec(A, B, kind="udp", src_ip="10.0.0.1", dst_ip="fd00::1"), id="two versions"),
        pytest.param(FrameSpec(A, B, kind="icmp", src_ip="10.0.0.256", dst_ip="10.0.0.1"), id="bad address"),
        pytest.param(FrameSpec(A, B, kind="arp", **V6), id="ARP for IPv6"),
    ],
)
def test_a_frame_that_cannot_be_is_refused(spec: FrameSpec) -> None:
    with pytest.raises(UsageError):
        build(spec)


# -- hex

FRAME = bytes(range(12)) + b"\x88\xb5" + bytes(range(20))
DUMP = """\
0000  00 01 02 03 04 05 06 07 08 09 0a 0b 88 b5 00 01   ................
0010  02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11   ................
0020  12 13                                             ..
"""
XXD = """\
00000000: 0001 0203 0405 0607 0809 0a0b 88b5 0001  ................
00000010: 0203 0405 0607 0809 0a0b 0c0d 0e0f 1011  ................
00000020: 1213                                     ..
"""
HEXDUMP = """\
00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 88 b5 00 01  |................|
00000010  02 03 04 05 06 07 08 09  0a 0b 0c 0d 0e 0f 10 11  |................|
00000020  12 13                                             |..|
"""


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        pytest.param(FRAME.hex(), 1, id="one line"),
        pytest.param(FRAME.hex().upper(), 1, id="capitals"),
        pytest.param(FRAME.hex(":"), 1, id="colons"),
        pytest.param(FRAME.hex("-", 2), 1, id="dashes"),
        pytest.param(FRAME.hex(" ", 6), 1, id="blanks"),
        pytest.param(f"# a frame\n\n  {FRAME.hex()}  # and why\r\n\t{FRAME.hex('.')}", 2, id="comments, two frames"),
        pytest.param(DUMP, 1, id="tshark -x"),
        pytest.param(f"{DUMP}\n{DUMP}", 2, id="tshark -x, two frames"),
        pytest.param(XXD, 1, id="xxd"),
        pytest.param(HEXDUMP, 1, id="hexdump -C"),
        pytest.param(f"{FRAME.hex()}\n{DUMP}{FRAME.hex()}", 3, id="mixed"),
    ],
)
def test_hex_texts(text: str, frames: int) -> None:
    assert read_hex(text) == [FRAME] * frames


@given(st.lists(st.binary(min_size=14, max_size=80), min_size=1, max_size=4), st.sampled_from(["", ":", "-", "."]))
def test_hex_of_any_frames(frames: list[bytes], between: str) -> None:
    assert read_hex("\n".join(f.hex(between) if between else f.hex() for f in frames)) == frames


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("", "no frame", id="empty"),
        pytest.param("# only a comment\n", "no frame", id="comment"),
        pytest.param(f"{FRAME.hex()}\nhello", "line 2: 'h' is not a hex digit", id="no hex"),
        pytest.param(FRAME.hex() + "a", "not whole bytes", id="half a byte"),
        pytest.param("00112233445566778899aabb88", "13 bytes", id="no header"),
        pytest.param("0010  00 01 02 03", "line 1: offset 0010", id="a dump without its start"),
        pytest.param(DUMP.replace("0020", "0030"), "line 3: offset 0030", id="a dump with a gap"),
    ],
)
def test_bad_hex_is_refused_with_its_line(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read_hex(text)


# -- captures to send

FRAMES = [build(FrameSpec(A, B, payload=bytes([n]))) for n in range(3)]


@pytest.mark.parametrize("writer", [PcapWriter, PcapNgWriter])
def test_the_frames_of_a_capture_file(tmp_path: Path, writer: type) -> None:
    with writer(str(tmp_path / "file")) as file:
        for raw in FRAMES:
            file.write(Ether(raw))
    assert read_pcap(tmp_path / "file") == FRAMES


def pcap(*captured: tuple[bytes, int], link: int = 1) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(struct.pack("<IIII", 0, 0, len(raw), whole) + raw for raw, whole in captured)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(b"", "not a readable", id="empty"),
        pytest.param(b"hello, I am no capture file at all", "not a readable", id="no capture"),
        pytest.param(pcap(), "no frames", id="no frames"),
        pytest.param(pcap((FRAMES[0], 60), (FRAMES[0], 1500)), "packet 2 was captured cut short", id="cut short"),
        pytest.param(pcap((b"abc", 3)), "packet 1 has 3 bytes", id="no header"),
        pytest.param(pcap((FRAMES[0], 60), link=101), "not Ethernet", id="not Ethernet"),
    ],
)
def test_a_capture_file_that_cannot_be_sent_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(UsageError, match=what):
        read_pcap(tmp_path / "bad")


def test_a_capture_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_pcap(tmp_path / "none")


# -- injection


@pytest.fixture
def injector() -> Iterator[Injector]:
    with open_injector("lo") as opened:
        yield opened


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as raw:
        raw.bind(("lo", ETHERTYPE))
        raw.settimeout(5)
        yield raw


def arrivals(listener: socket.socket, count: int, token: bytes) -> list[bytes]:
    """The first `count` frames with this token that come in on `lo`."""
    found: list[bytes] = []
    while len(found) < count:
        data, about = listener.recvfrom(65535)
        canary = read_canary(data)
        if about[2] != socket.PACKET_OUTGOING and canary is not None and canary.token == token:
            found.append(data)
    return found


@ROOT
def test_a_sent_frame_arrives_as_it_is(injector: Injector, listener: socket.socket) -> None:
    token = new_token()
    raw = canary_frame(A, B, token, 5)
    assert injector.send(raw).count == 1
    assert arrivals(listener, 1, token) == [raw]


@ROOT
def test_a_number_is_patched_into_each_frame(injector: Injector, listener: socket.socket) -> None:
    token = new_token()
    raw = canary_frame(A, B, token)
    assert injector.send(raw, 4, seq_at=seq_offset(raw), first_seq=2**32 - 4).count == 4
    assert arrivals(listener, 4, token) == [canary_frame(A, B, token, 2**32 - 4 + n) for n in range(4)]


@ROOT
def test_different_frames_are_sent_in_their_order(injector: Injector, listener: socket.socket) -> None:
    token = new_token()
    frames = [canary_frame(A, B, token, n) for n in range(3)]
    assert injector.send_many(frames, 2).count == 6
    assert arrivals(listener, 6, token) == frames * 2


@ROOT
def test_the_rate_is_kept(injector: Injector) -> None:
    sent = injector.send(FRAMES[0], 101, rate=1000.0)
    assert sent.count == 101
    assert 0.1 <= sent.seconds < 5.0
    assert injector.send(FRAMES[0], 101).seconds < sent.seconds


@ROOT
def test_stop_ends_the_sending_early(injector: Injector) -> None:
    stop = threading.Event()
    stop.set()
    assert injector.send(FRAMES[0], 1000, rate=1.0, stop=stop).count == 0
    assert injector.send(FRAMES[0], 2, stop=threading.Event()).count == 2


@pytest.mark.parametrize(("sent", "rate"), [(Sent(11, 2.0), 5.0), (Sent(1, 1.0), 0.0), (Sent(0, 0.0), 0.0)])
def test_the_rate_counts_the_gaps(sent: Sent, rate: float) -> None:
    assert sent.rate == rate


@ROOT
@pytest.mark.parametrize(
    ("frame", "options"),
    [
        pytest.param(bytes(13), {}, id="no header"),
        pytest.param(bytes(70_000), {}, id="over the MTU"),
        pytest.param(bytes(60), {"count": -1}, id="count"),
        pytest.param(bytes(60), {"rate": 0.0}, id="rate 0"),
        pytest.param(bytes(60), {"rate": float("nan")}, id="rate nan"),
        pytest.param(bytes(60), {"seq_at": 53}, id="no place for the number"),
        pytest.param(bytes(60), {"count": 2, "first_seq": 2**32 - 1}, id="numbers over 32 bits"),
    ],
)
def test_what_cannot_be_sent_is_refused(injector: Injector, frame: bytes, options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        injector.send(frame, **options)  # type: ignore[arg-type]


@ROOT
def test_sending_nothing_is_no_error(injector: Injector) -> None:
    assert injector.send(FRAMES[0], 0).count == 0
    assert injector.send_many([], 3).count == 0


@ROOT
def test_an_interface_that_is_not_there_is_refused() -> None:
    with pytest.raises(SystemRefused, match="cannot send on nothere"):
        open_injector("nothere")


@ROOT
@pytest.mark.parametrize(
    ("setup", "said"),
    [("", "lo is down"), ("ip link set lo up", "1 sent")],
    ids=["down", "up"],
)
def test_an_interface_that_is_down_is_refused(setup: str, said: str) -> None:
    code = (
        "from traffic.inject import open_injector\n"
        "try: print(open_injector('lo').send(bytes(60)).count, 'sent')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    script = f'{setup or "true"} && exec {sys.executable} -c "$0"'
    done = subprocess.run(["unshare", "-n", "sh", "-c", script, code], capture_output=True, text=True, check=True)
    assert said in done.stdout


@ROOT
def test_a_closed_injector_sends_no_more() -> None:
    with open_injector("lo") as opened:
        assert opened.send(FRAMES[0]).count == 1
    with pytest.raises(SystemRefused):
        opened.send(FRAMES[0])


@pytest.mark.parametrize(
    "text",
    [
        "0000  ff ff ff ff ff ff 00 50 56 00 00 01 88 b5 61 7c   .......V....a|\n0010  61 62 7c   ab|",
        "00000000  ff ff ff ff ff ff 00 50  56 00 00 01 88 b5 61 7c  |.......PV.....a||\n"
        "00000010  61 62 7c                                          |ab||\n00000013",
    ],
    ids=["tshark -x", "hexdump -C with its last line"],
)
def test_a_bar_in_the_text_column_is_no_data(text: str) -> None:
    assert read_hex_text(text) == [bytes.fromhex("ffffffffffff00505600000188b5617c61627c")]


def test_repeated_lines_left_out_of_a_dump_are_told() -> None:
    with pytest.raises(UsageError, match=r"line 2: .* hexdump -v"):
        read_hex_text(f"00000000  {'ff ' * 16}\n*\n00000030")
