"""Mirrored frames inside GRE: each field of ERSPAN type II and III as scapy reads it, edges, tags and cuts (MIR-6)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III, ERSPAN_PlatformSpecific
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.packet import Packet, Raw

from traffic.erspan import IPPROTO_GRE, KINDS, SESSION_MAX, Copy, encapsulate, make_copy

A, B = "00:50:56:00:00:01", "00:50:56:00:00:02"
PLAIN = bytes(Ether(src=A, dst=B) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=5000, dport=9) / Raw(b"x" * 40))
MACS, REST = PLAIN[:12], PLAIN[12:]
LAYERS = {"erspan2": ERSPAN_II, "erspan3": ERSPAN_III}
HEAD = {"gre": 4, "erspan2": 16, "erspan3": 20}
"""Bytes in front of the frame: GRE, its sequence number, and 8 or 12 bytes of ERSPAN."""
WITHOUT_TAG, TAG_TAKEN, TAG_KEPT = 0b00, 0b10, 0b11
"""Type II's field En (draft-foschiano-erspan)."""
BOTH = pytest.mark.parametrize("kind", LAYERS)


def tagged(vlan: int, pcp: int = 0, tpid: int = 0x8100) -> bytes:
    return MACS + struct.pack("!HH", tpid, pcp << 13 | vlan) + REST


def gre_of(
    kind: str, copy: Copy | None = None, session: int = 5, cos: int = 0, sequence: int = 0, time_ns: int = 0
) -> Packet:
    return GRE(encapsulate(kind, copy or Copy(PLAIN), session, cos, sequence, time_ns))


def erspan_of(kind: str, copy: Copy | None = None, session: int = 5, cos: int = 0, time_ns: int = 0) -> Packet:
    return gre_of(kind, copy, session, cos, 0, time_ns)[LAYERS[kind]]


# -- the header


@pytest.mark.parametrize(
    ("kind", "protocol", "numbered"), [("gre", 0x6558, 0), ("erspan2", 0x88BE, 1), ("erspan3", 0x22EB, 1)]
)
def test_mir_6_the_gre_header_says_what_it_carries(kind: str, protocol: int, numbered: int) -> None:
    gre = gre_of(kind)
    assert (gre.proto, gre.version, gre.seqnum_present) == (protocol, 0, numbered)
    assert (gre.chksum_present, gre.routing_present, gre.key_present) == (0, 0, 0)
    assert (gre.strict_route_source, gre.recursion_control, gre.flags) == (0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_mir_6_the_frame_inside_is_whole_and_last(kind: str) -> None:
    packet = encapsulate(kind, Copy(PLAIN), 5, 0, 0, 0)
    assert packet[HEAD[kind] :] == PLAIN
    inside = GRE(packet)[Ether]
    assert (inside.src, inside.dst, bytes(inside)) == (A, B, PLAIN)
    assert (inside[IP].dst, inside[UDP].dport) == ("10.0.0.2", 9)


def test_mir_6_all_fields_of_type_ii() -> None:
    erspan = erspan_of("erspan2", Copy(PLAIN, vlan=10), session=7, cos=5, time_ns=10**18)
    assert (erspan.ver, erspan.vlan, erspan.cos, erspan.en, erspan.t) == (1, 10, 5, TAG_TAKEN, 0)
    assert (erspan.session_id, erspan.reserved, erspan.index) == (7, 0, 0)


def test_mir_6_all_fields_of_type_iii() -> None:
    erspan = erspan_of("erspan3", Copy(PLAIN, vlan=10), session=7, cos=5, time_ns=1_234_500_000)
    assert (erspan.ver, erspan.vlan, erspan.cos, erspan.bso, erspan.t) == (2, 10, 5, 0, 0)
    assert (erspan.session_id, erspan.timestamp, erspan.sgt_other) == (7, 12345, 0)
    assert (erspan.p, erspan.ft, erspan.hw, erspan.d, erspan.gra, erspan.o) == (0, 0, 0, 0, 0, 0)
    assert ERSPAN_PlatformSpecific not in erspan


@pytest.mark.parametrize("kind", KINDS)
def test_mir_6_it_follows_an_ip_header(kind: str) -> None:
    outer = IP(src="10.0.5.1", dst="10.0.5.9", proto=IPPROTO_GRE) / Raw(encapsulate(kind, Copy(PLAIN), 5, 0, 0, 0))
    assert IP(bytes(outer))[GRE][Ether][UDP].dport == 9


@BOTH
@pytest.mark.parametrize("session", [0, 1, 511, 512, SESSION_MAX])
@pytest.mark.parametrize("cos", [0, 1, 7])
@pytest.mark.parametrize("vlan", [0, 1, 2048, 4094])
def test_mir_6_no_field_runs_into_its_neighbour(kind: str, session: int, cos: int, vlan: int) -> None:
    erspan = erspan_of(kind, Copy(PLAIN, vlan), session, cos)
    assert (erspan.session_id, erspan.cos, erspan.vlan, erspan.t) == (session, cos, vlan, 0)
    assert erspan.ver == {"erspan2": 1, "erspan3": 2}[kind]
    assert bytes(erspan[Ether]) == PLAIN


def test_mir_6_a_session_has_ten_bits() -> None:
    assert SESSION_MAX == 1023


def test_mir_6_plain_gre_has_no_room_for_a_session() -> None:
    copies = {encapsulate("gre", Copy(PLAIN, 9), session, cos, n, n) for session, cos, n in [(0, 0, 0), (1023, 7, 99)]}
    assert copies == {bytes.fromhex("00006558") + PLAIN}


@BOTH
@pytest.mark.parametrize(
    ("sequence", "written"),
    [(0, 0), (1, 1), (0x01020304, 0x01020304), (2**32 - 1, 2**32 - 1), (2**32, 0), (2**32 + 5, 5)],
)
def test_mir_6_the_sequence_number_wraps_at_32_bits(kind: str, sequence: int, written: int) -> None:
    gre = gre_of(kind, sequence=sequence)
    assert gre.sequence_number == written
    assert bytes(gre[Ether]) == PLAIN


@pytest.mark.parametrize(
    ("time_ns", "ticks"),
    [
        (0, 0),
        (99_999, 0),
        (100_000, 1),
        (199_999, 1),
        (10**9, 10_000),
        (60 * 10**9, 600_000),
        ((2**32 - 1) * 100_000, 2**32 - 1),
        (2**32 * 100_000, 0),
        (2**32 * 100_000 + 300_000, 3),
    ],
)
def test_mir_6_type_iii_tells_the_time_in_100_microseconds(time_ns: int, ticks: int) -> None:
    erspan = erspan_of("erspan3", time_ns=time_ns)
    assert (erspan.timestamp, erspan.gra) == (ticks, 0)
    assert bytes(erspan[Ether]) == PLAIN


def test_mir_6_type_ii_tells_no_time() -> None:
    assert encapsulate("erspan2", Copy(PLAIN), 1, 0, 0, 10**18) == encapsulate("erspan2", Copy(PLAIN), 1, 0, 0, 0)


@BOTH
@pytest.mark.parametrize("session", [0, SESSION_MAX])
@pytest.mark.parametrize("truncated", [False, True])
def test_mir_6_the_truncated_bit_stands_alone(kind: str, session: int, truncated: bool) -> None:
    erspan = erspan_of(kind, Copy(PLAIN, 4094, truncated=truncated), session, 7)
    assert (erspan.t, erspan.session_id, erspan.cos, erspan.vlan) == (truncated, session, 7, 4094)


@pytest.mark.parametrize(
    ("copy", "tagging"),
    [
        (Copy(PLAIN), WITHOUT_TAG),
        (Copy(PLAIN, vlan=10), TAG_TAKEN),
        (make_copy(tagged(0, 5), True, None), TAG_TAKEN),
        (make_copy(tagged(0, 5), False, None), TAG_KEPT),
        (Copy(tagged(10), vlan=10, tagged=True), TAG_KEPT),
        (Copy(tagged(4094)[:30], vlan=4094, tagged=True, truncated=True), TAG_KEPT),
    ],
)
def test_mir_6_type_ii_says_what_became_of_the_tag(copy: Copy, tagging: int) -> None:
    erspan = erspan_of("erspan2", copy, SESSION_MAX, 7)
    assert (erspan.en, erspan.vlan, erspan.t) == (tagging, copy.vlan or 0, copy.truncated)


@pytest.mark.parametrize(
    "copy", [Copy(PLAIN), Copy(PLAIN, 10), Copy(tagged(10), 10, True), Copy(PLAIN, 10, False, True)]
)
def test_mir_6_type_iii_calls_no_frame_damaged(copy: Copy) -> None:
    assert erspan_of("erspan3", copy, SESSION_MAX, 7).bso == 0


@given(
    st.sampled_from(sorted(LAYERS)),
    st.builds(Copy, st.binary(max_size=80), st.integers(0, 4095), st.booleans(), st.booleans()),
    st.integers(0, SESSION_MAX),
    st.integers(0, 7),
    st.integers(0, 2**40),
    st.integers(0, 2**62),
)
def test_every_number_is_read_back_from_its_documented_bits(
    kind: str, copy: Copy, session: int, cos: int, sequence: int, time_ns: int
) -> None:
    packet = encapsulate(kind, copy, session, cos, sequence, time_ns)
    bits = f"{int.from_bytes(packet[: HEAD[kind]], 'big'):0{HEAD[kind] * 8}b}"
    assert int(bits[32:64], 2) == sequence % 2**32
    assert int(bits[68:80], 2) == (copy.vlan or 0)
    assert int(bits[80:83], 2) == cos
    assert int(bits[85]) == copy.truncated
    assert int(bits[86:96], 2) == session
    if kind == "erspan3":
        assert int(bits[96:128], 2) == time_ns // 100_000 % 2**32
    assert set(bits[128 if kind == "erspan3" else 96 :]) == {"0"}
    assert packet[HEAD[kind] :] == copy.data


# -- what becomes of a frame before it travels


def test_a_frame_without_tag_is_copied_as_it_is() -> None:
    for strip in (False, True):
        assert make_copy(PLAIN, strip, None) == Copy(PLAIN, vlan=None, tagged=False, truncated=False)


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
@pytest.mark.parametrize(("vlan", "pcp"), [(1, 0), (10, 7), (4094, 0), (4094, 7)])
def test_the_tag_is_kept_or_taken_and_the_vlan_known_anyway(tpid: int, vlan: int, pcp: int) -> None:
    frame = tagged(vlan, pcp, tpid)
    assert make_copy(frame, False, None) == Copy(frame, vlan, tagged=True)
    assert make_copy(frame, True, None) == Copy(PLAIN, vlan, tagged=False)


def test_only_the_outer_tag_is_taken() -> None:
    double = bytes(Ether(src=A, dst=B) / Dot1Q(vlan=100) / Dot1Q(vlan=20) / IP(dst="10.0.0.2") / Raw(b"y" * 30))
    copy = make_copy(double, True, None)
    inner = Ether(copy.data)
    assert (copy.vlan, inner[Dot1Q].vlan, inner[IP].dst) == (100, 20, "10.0.0.2")
    assert Dot1Q not in inner[Dot1Q].payload


def test_a_priority_tag_names_no_vlan_and_is_taken_too() -> None:
    copy = make_copy(tagged(0, 5), True, None)
    assert (copy.data, copy.vlan, copy.tagged) == (PLAIN, 0, False)


def test_vlan_numbers_have_twelve_bits() -> None:
    assert make_copy(tagged(4094, 7), True, None).vlan == 4094
    drop_eligible = MACS + bytes.fromhex("8100fffe") + REST
    assert make_copy(drop_eligible, True, None) == Copy(PLAIN, 4094)


def test_no_tag_is_read_from_the_payload() -> None:
    assert make_copy(MACS + b"\x08\x00" + tagged(10)[12:], True, None).vlan is None
    assert make_copy(MACS + b"\x81\x01" + REST, True, None) == Copy(MACS + b"\x81\x01" + REST)


@pytest.mark.parametrize(
    ("length", "kept", "truncated"),
    [
        (None, len(PLAIN), False),
        (len(PLAIN) + 1, len(PLAIN), False),
        (len(PLAIN), len(PLAIN), False),
        (len(PLAIN) - 1, len(PLAIN) - 1, True),
        (60, 60, True),
        (1, 1, True),
    ],
)
def test_a_copy_is_cut_and_says_so(length: int | None, kept: int, truncated: bool) -> None:
    copy = make_copy(PLAIN, False, length)
    assert (copy.data, copy.truncated) == (PLAIN[:kept], truncated)


def test_the_tag_that_is_taken_does_not_count_towards_the_cut() -> None:
    assert make_copy(tagged(10), True, len(PLAIN)) == Copy(PLAIN, 10)
    assert make_copy(tagged(10), False, len(PLAIN)) == Copy(tagged(10)[: len(PLAIN)], 10, tagged=True, truncated=True)


@pytest.mark.parametrize("size", [*range(18), 18])
def test_a_frame_with_less_than_a_tag_and_a_type_is_copied_as_it_is(size: int) -> None:
    frame = tagged(10)[:size]
    copy = make_copy(frame, True, None)
    assert copy == (Copy(frame[:12] + frame[16:], 10) if size == 18 else Copy(frame))


@given(
    st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: MACS + b"\x81\x00" + rest),
    st.booleans(),
    st.none() | st.integers(0, 100),
)
def test_any_bytes_can_be_copied(frame: bytes, strip: bool, length: int | None) -> None:
    copy = make_copy(frame, strip, length)
    if copy.truncated:
        assert len(copy.data) == length
    else:
        assert copy.data in (frame, frame[:12] + frame[16:])
        assert length is None or len(copy.data) <= length
    assert copy.data[:12] == frame[: min(12, len(copy.data))]
    assert copy.vlan in (None, *range(4096))
    assert not (strip and copy.tagged)


@BOTH
@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("length", [None, 40])
@pytest.mark.parametrize("vlan", [None, 1, 4094])
def test_mir_6_a_frame_goes_in_and_comes_out(kind: str, strip: bool, length: int | None, vlan: int | None) -> None:
    frame = PLAIN if vlan is None else tagged(vlan, 3)
    wanted = (PLAIN if strip else frame)[:length]
    erspan = erspan_of(kind, make_copy(frame, strip, length), 12, 0)
    assert (erspan.vlan, erspan.t, erspan.session_id) == (vlan or 0, length is not None, 12)
    assert bytes(erspan.payload.original) == wanted
    assert (Dot1Q in erspan) == (vlan is not None and not strip)
