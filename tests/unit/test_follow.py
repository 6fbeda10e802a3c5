"""Frames followed in files alone: what is told apart, what bad files say, and what a user's words mean."""

from __future__ import annotations

import random
import re
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from answered import topology_named
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet as Layers
from scapy.utils import PcapNgWriter, PcapWriter

from lab.answers.follow import grouped
from lab.answers.offline import follow_files
from lab.answers.wanted import Wanted, canaries, flow_wanted, token_wanted
from lab.client import Place, resolve
from lab.errors import CannotTell, LabError, UsageError
from lab.frame import Frame, Hop, Point, Tag
from lab.observe.pcapng import survey
from lab.observe.peel import identity, peel
from lab.report.follow import Followed
from lab.report.follow import as_text as text_of
from traffic.erspan import Copy, encapsulate

A, B, GW = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:01"
SECRET = bytes.fromhex("c0ffee00c0ffee11")
PLACES = {
    "web1.eth0": Place("web1.eth0", "web1", "eth0", A, "10.0.10.1/24"),
    "db1.eth0": Place("db1.eth0", "db1", "eth0", B, ""),
}


def data(ttl: int = 64, number: int = 1, src: str = A, dst: str = B) -> Layers:
    return Ether(src=src, dst=dst) / IP(src="10.0.0.1", dst="10.0.0.2", ttl=ttl, id=number) / UDP(dport=7) / SECRET


AT = (("b", Point.VNIC_RX), ("c", Point.VNIC_RX))


def capture(path: Path, frames: Sequence[tuple[float, bytes]]) -> Path:
    writer = PcapNgWriter(str(path))
    for at, raw in frames:
        packet = Ether(raw)
        packet.time = at
        writer.write(packet)
    writer.close()
    return path


def test_a_frame_is_the_same_with_other_tags_macs_and_time_to_live() -> None:
    plain, routed = Frame.parse(bytes(data())), Frame.parse(bytes(data(ttl=63, src=GW)))
    tagged = Frame(A, B, (Tag(10),), plain.ethertype, plain.payload)
    assert identity(plain) == identity(routed) == identity(tagged)
    assert identity(plain) != identity(Frame.parse(bytes(data(number=2))))


@pytest.mark.parametrize("kind", ["gre", "erspan2", "erspan3"])
def test_mir_6_a_mirrored_copy_is_taken_out_of_its_encapsulation(kind: str) -> None:
    inner = bytes(data())
    packet = IP(src="10.9.0.1", dst="10.9.0.2", proto=47) / encapsulate(kind, Copy(inner), 5, 0, 1, 0)
    peeled = peel(bytes(Ether(src=GW, dst=B) / packet))
    assert (peeled.encapsulation, peeled.frame.to_bytes()) == (kind, inner)


def test_vxlan_is_taken_off_and_what_only_looks_like_it_is_not() -> None:
    outer = Ether(src=GW, dst=B) / IP(src="10.9.0.1", dst="10.9.0.2") / UDP(sport=5, dport=4789)
    assert peel(bytes(outer / VXLAN(vni=7) / data())).encapsulation == "vxlan"
    assert peel(bytes(outer / b"short")).encapsulation == ""


def test_a_token_is_followed_over_files_and_a_routed_hop(tmp_path: Path) -> None:
    first = capture(tmp_path / "a.pcapng", [(1.0, bytes(data())), (1.5, bytes(data(number=2)))])
    second = capture(
        tmp_path / "b.pcapng", [(1.001, bytes(data(ttl=63, src=GW))), (1.2, bytes(Ether(src=A) / b"else"))]
    )
    told, whole = follow_files([first, second], token_wanted(SECRET.hex(":")), None)
    assert whole
    assert (told.frames, [t.count for t in told.trails]) == (2, [1, 1])
    ways = [[(hop.box, hop.src) for hop in trail.hops] for trail in told.trails]
    assert [("a", A), ("b", GW)] in ways
    assert [("a", A)] in ways


def test_what_is_sent_again_is_another_frame(tmp_path: Path) -> None:
    file = capture(tmp_path / "a.pcapng", [(1.0, bytes(data())), (2.0, bytes(data()))])
    told, _ = follow_files([file], token_wanted(SECRET.hex()), None)
    assert (told.frames, told.trails[0].count) == (2, 2)


def test_each_way_of_frames_that_went_several_is_a_trail_with_its_count() -> None:
    start = Hop("esx1", "a", Point.VNIC_TX, "out", "eth0", (), A, B)
    ends = [start._replace(node=node, point=point, parent=0) for node, point in AT]
    told = grouped([(start, *ends), (start, ends[0])])
    assert [(t.count, [hop.node for hop in t.hops]) for t in told] == [(2, ["a", "b"]), (1, ["a", "c"])]
    frames = text_of(Followed("x", 2, (), tuple(told)))
    assert "2 frames seen so" in frames
    assert "also: 1 frame: a copy reached c" in frames


def test_a_classic_pcap_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "old.pcap"
    writer = PcapWriter(str(path), linktype=1)
    writer.write(data())
    writer.close()
    assert follow_files([path], token_wanted(SECRET.hex()), None)[0].frames == 1


def test_a_file_that_breaks_off_is_read_up_to_there_and_told(tmp_path: Path) -> None:
    whole = capture(tmp_path / "a.pcapng", [(1.0, bytes(data())), (2.0, bytes(data(number=2)))])
    cut = tmp_path / "cut.pcapng"
    cut.write_bytes(whole.read_bytes()[:-10])
    told, complete = follow_files([cut], token_wanted(SECRET.hex()), None)
    assert (told.frames, complete) == (1, False)
    assert "breaks off at byte" in told.notes[0]
    assert survey(whole).cut_at is None


def classic(path: Path, frames: int) -> Path:
    writer = PcapWriter(str(path), linktype=1)
    for number in range(frames):
        writer.write(data(number=number))
    writer.close()
    return path


def test_a_classic_pcap_file_that_breaks_off_is_told_too(tmp_path: Path) -> None:
    whole = classic(tmp_path / "old.pcap", 2)
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole.read_bytes()[:-10])
    told, complete = follow_files([cut], token_wanted(SECRET.hex()), None)
    assert (told.frames, complete) == (1, False)
    assert "cut.pcap breaks off" in told.notes[0]
    assert follow_files([whole], token_wanted(SECRET.hex()), None)[1]


def test_frames_of_which_only_the_beginning_was_kept_are_told(tmp_path: Path) -> None:
    raw = bytes(data())
    writer = PcapWriter(str(tmp_path / "short.pcap"), linktype=1)
    writer.write_header(None)
    writer._write_packet(raw[:40], linktype=1, sec=1, usec=0, caplen=40, wirelen=len(raw))
    writer.close()
    told, complete = follow_files([tmp_path / "short.pcap"], Wanted("all"), None)
    assert not complete
    assert "only the first bytes of 1 frame" in told.notes[0]


def test_frames_without_a_time_are_told_and_not_forgotten(tmp_path: Path) -> None:
    file = capture(tmp_path / "a.pcapng", [(1.0, bytes(data()))])
    raw = bytes(data(number=7))
    raw += bytes(-len(raw) % 4)
    simple = struct.pack("<III", 3, 16 + len(raw), len(raw)) + raw + struct.pack("<I", 16 + len(raw))
    file.write_bytes(file.read_bytes() + simple)
    told, complete = follow_files([file], token_wanted(SECRET.hex()), None)
    assert (told.frames, complete) == (1, False)
    assert "1 frames without a time" in told.notes[0]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    file = capture(tmp_path / "a.pcapng", [(1.0, bytes(data()))])
    again = tmp_path / "." / ".." / tmp_path.name / "a.pcapng"
    told, whole = follow_files([file, again], token_wanted(SECRET.hex()), None)
    assert (told.frames, told.trails[0].count, len(told.trails[0].hops), whole) == (1, 1, 1, True)


def test_places_that_the_topology_does_not_have_are_named(tmp_path: Path) -> None:
    file = capture(tmp_path / "elsewhere.pcapng", [(1.0, bytes(data()))])
    told, whole = follow_files([file], token_wanted(SECRET.hex()), topology_named("two-hosts"))
    assert whole
    assert told.notes == ("the topology has no elsewhere:interface 0: where these stand is not known",)
    assert follow_files([file], token_wanted(SECRET.hex()), None)[0].notes == ()


def of_link_type(path: Path, link: int) -> Path:
    interface = struct.pack("<IIHHI", 1, 20, link, 0, 0) + struct.pack("<I", 20)
    section = struct.pack("<IIIHHq", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1) + struct.pack("<I", 28)
    path.write_bytes(section + interface)
    return path


def test_captures_that_bits_have_fallen_out_of_never_show_a_traceback(tmp_path: Path) -> None:
    rng, whole = random.Random(3), capture(tmp_path / "a.pcapng", [(n / 10, bytes(data(number=n))) for n in range(9)])
    outcomes = Counter(_followed(tmp_path / "b.pcapng", broken(whole.read_bytes(), rng)) for _ in range(300))
    assert set(outcomes) == {"told", "refused"}


def broken(raw: bytes, rng: random.Random) -> bytes:
    """With some bytes changed, taken out or put in."""
    mangled = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(mangled))
        mangled[at : at + rng.randrange(8)] = rng.randbytes(rng.randrange(8))
    return bytes(mangled)


def _followed(path: Path, raw: bytes) -> str:
    path.write_bytes(raw)
    try:
        follow_files([path], Wanted("all"), None)
    except LabError:
        return "refused"
    return "told"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def other_clock(path: Path) -> list[Path]:
    first = capture(path / "a.pcapng", [(1.0, bytes(data()))])
    return [first, capture(path / "b.pcapng", [(3601.0, bytes(data()))])]


BAD = [
    pytest.param(lambda p: [written(p / "empty.pcapng", b"")], CannotTell, "is empty: 0 bytes", id="0 bytes"),
    pytest.param(lambda p: [of_link_type(p / "cooked.pcapng", 113)], UsageError, "link type 113", id="link type"),
    pytest.param(lambda p: [written(p / "text.pcapng", b"hello, world\n" * 9)], CannotTell, "no capture", id="text"),
    pytest.param(lambda p: [p / "none.pcapng"], UsageError, "No such file", id="no file"),
    pytest.param(lambda p: [p], UsageError, "directory", id="directory"),
    pytest.param(lambda p: [capture(p / "a.pcapng", [(1.0, bytes(Ether(src=A) / b"else"))])], CannotTell,
                 "token c0ffee00c0ffee11: not in", id="token not found"),
    pytest.param(other_clock, CannotTell, r"3,600.000 s later than a: their clocks differ", id="another clock"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "error", "said"), BAD)
def test_a_bad_file_says_what_is_wrong_with_it(tmp_path: Path, files: object, error: type[LabError], said: str) -> None:
    with pytest.raises(error, match=said):
        follow_files(files(tmp_path), token_wanted(SECRET.hex()), None)  # type: ignore[operator]


FLOWS = [
    (
        "src 10.0.0.1 dst 10.0.0.2",
        "(src host 10.0.0.1 and dst host 10.0.0.2) or (dst host 10.0.0.1 and src host 10.0.0.2)",
    ),
    ("host web1 port 22", "(host 10.0.10.1 and port 22)"),
    ("src web1 dst db1", f"(src host 10.0.10.1 and ether dst {B}) or (dst host 10.0.10.1 and ether src {B})"),
    ("tcp and port 80", "tcp and port 80"),
    ("host web1 proto icmp", r"(host 10.0.10.1 and ip proto \icmp)"),
    ("host web1 proto 89", "(host 10.0.10.1 and ip proto 89)"),
    (f"src {A} dst web1", f"(ether src {A} and dst host 10.0.10.1) or (ether dst {A} and src host 10.0.10.1)"),
    (f"host {A}", f"(ether host {A})"),
]


@pytest.mark.parametrize(("text", "meant"), FLOWS, ids=[text for text, _ in FLOWS])
def test_a_flow_in_a_users_words(text: str, meant: str) -> None:
    wanted = flow_wanted(text, PLACES)
    assert wanted.filter is not None
    assert wanted.filter.text == meant


@pytest.mark.parametrize("text", ["src nobody", "src 10.0.0.1 src 10.0.0.2", "host web1 port nine"])
def test_a_flow_that_cannot_be_understood(text: str) -> None:
    with pytest.raises(UsageError):
        flow_wanted(text, PLACES)


def test_a_name_needs_a_lab() -> None:
    with pytest.raises(UsageError, match="topology FILE"):
        flow_wanted("src web1", {})


@pytest.mark.parametrize("text", ["xyz", "c0", "0x"])
def test_a_token_that_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        token_wanted(text)


def test_a_filter_sees_behind_tags_and_tells_flows_apart(tmp_path: Path) -> None:
    web = Ether(src=A, dst=B) / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=999, dport=80)
    tagged = Frame.parse(bytes(web))
    raw = Frame(A, B, (Tag(10),), tagged.ethertype, tagged.payload).to_bytes()
    file = capture(tmp_path / "a.pcapng", [(1.0, raw), (2.0, bytes(data()))])
    told, _ = follow_files([file], flow_wanted("tcp port 80", {}), None)
    assert [hop.vlans for trail in told.trails for hop in trail.hops] == [(Tag(10),)]
    assert canaries().text == "canaries"


@pytest.mark.parametrize("name", ["db1", "db1.eth0", B, B.upper(), B.replace(":", "-")])
def test_an_end_is_named_by_its_name_or_its_mac(name: str) -> None:
    assert resolve(name, PLACES).label == "db1.eth0"
    assert resolve("10.0.10.1", PLACES).label == "web1.eth0"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("10.0.10.99", "nobody in this lab was given the address 10.0.10.99"),
        ("00:50:56:00:00:99", "nobody in this lab was given"),
        ("db2", "did you mean db1"),
        ("", "no VM, vmknic or machine ''"),
    ],
)
def test_an_end_that_is_nobody_has_a_hint(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(hint)):
        resolve(name, PLACES)
