"""Flow records: IPFIX of Open vSwitch read, flows kept until a timeout, NetFlow v5 and IPFIX written as scapy reads it.

What Open vSwitch sends is put together here by RFC 7011, field by field in its order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.netflow import (
    NetflowDataflowsetV9,
    NetflowFlowsetV9,
    NetflowHeader,
    NetflowHeaderV5,
    NetflowHeaderV10,
    NetflowRecordV5,
    NetflowV910TemplateFieldTypes,
    netflowv9_defragment,
)
from scapy.packet import Packet

from lab.agents import netflow as agent
from lab.agents.netflow import FlowCache
from traffic.netflow import (
    ACCESS,
    IPFIX,
    IPFIX_MOST,
    UPLINK,
    V5,
    V5_MOST,
    Ended,
    Exporter,
    Flow,
    FlowKey,
    IpfixReader,
    Report,
    Sample,
    packed,
)

MS, SECOND = 10**6, 10**9
NOW = 1_700_000_001 * SECOND
ROOM = 1500 - 20 - 8
"""What a datagram holds on an ordinary Ethernet."""
KEY4 = FlowKey(packed("10.0.0.1"), packed("10.0.0.2"), 6, 40000, 443, 0x28, 3, 17)
KEY6 = FlowKey(packed("fd00::1"), packed("fd00::2"), 17, 5353, 53, 0, 70000, 2)
FLOW = Flow(5, 700, NOW - 3 * SECOND, NOW - 2 * SECOND, 64)

# -- messages of Open vSwitch

ANY = 0xFFFF
"""A length that each record tells for itself."""
Field = tuple[int, int]
COMES_BY, LEAVES_BY, NAME, TEXT = 10, 14, 82, 83
INTERFACES: list[Field] = [
    (COMES_BY, 4), (368, 4), (NAME, ANY), (TEXT, ANY), (LEAVES_BY, 4), (368, 4), (NAME, ANY), (TEXT, ANY),
]  # fmt: skip
HEAD: list[Field] = [(138, 4), (61, 1), (56, 6), (80, 6), (256, 2), (240, 1), *INTERFACES]
IP_HEADER: list[Field] = [(60, 1), (192, 1), (4, 1), (195, 1), (196, 1), (5, 1)]
COUNTS: list[Field] = [(158, 4), (159, 4), (2, 8), (1, 8), (352, 8), (136, 1)]
FIELDS4: list[Field] = [*HEAD, *IP_HEADER, (8, 4), (12, 4), (7, 2), (11, 2), *COUNTS]
FIELDS6: list[Field] = [*HEAD, *IP_HEADER, (27, 16), (28, 16), (7, 2), (11, 2), *COUNTS]
ICMP4: list[Field] = [*HEAD, *IP_HEADER, (8, 4), (12, 4), (176, 1), (177, 1), *COUNTS]
ICMP6: list[Field] = [*HEAD, *IP_HEADER, (27, 16), (28, 16), (178, 1), (179, 1), *COUNTS]
NOT_IP: list[Field] = [*HEAD, *COUNTS]
BASIC: dict[int, int | bytes] = {
    56: bytes.fromhex("005056000001"), 80: bytes.fromhex("005056000002"), 256: 0x0800, 240: 14, 60: 4, 192: 64, 4: 6,
    195: 10, 196: 1, 5: 0x28, 8: packed("10.0.0.1"), 12: packed("10.0.0.2"), 27: packed("fd00::1"),
    28: packed("fd00::2"), 7: 40000, 11: 443, 158: 900_000, 159: 200_000, 2: 7, 1: 4200, 352: 4298, 136: 2,
}  # fmt: skip
NAMES = ("vmnic0", "", "web1.eth0", "a guest")
"""Of the port that the flow comes by, its description, and the same of the one that it leaves by."""


def template(number: int, fields: Sequence[Field], enterprise: int = 6876) -> bytes:
    told = struct.pack("!HH", number, len(fields))
    for kind, length in fields:
        told += struct.pack("!HH", kind, length) + (struct.pack("!I", enterprise) if kind & 0x8000 else b"")
    return told


def a_set(number: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack("!HH", number, 4 + len(body)) + body


def message(*sets: bytes) -> bytes:
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), NOW // SECOND, 0, 0) + body


def text(value: bytes) -> bytes:
    return (bytes([len(value)]) if len(value) < 255 else b"\xff" + struct.pack("!H", len(value))) + value


def record(
    fields: Sequence[Field], names: Sequence[str | bytes] = NAMES, values: dict[int, int | bytes] | None = None
) -> bytes:
    known, texts, raw = BASIC | (values or {}), iter(names), b""
    for kind, length in fields:
        if length == ANY:
            name = next(texts)
            raw += text(name if isinstance(name, bytes) else name.encode())
        else:
            value = known.get(kind, 0)
            raw += value if isinstance(value, bytes) else value.to_bytes(length, "big")
    return raw


def samples_of(
    fields: Sequence[Field], names: Sequence[str | bytes] = NAMES, values: dict[int, int | bytes] | None = None
) -> list[Sample]:
    return IpfixReader().samples(
        message(a_set(2, template(256, fields)), a_set(256, record(fields, names, values))), NOW
    )


def one(found: Sequence[Any]) -> Any:
    assert len(found) == 1
    return found[0]


SOUND = message(
    a_set(2, template(256, FIELDS4), template(257, FIELDS6)),
    a_set(256, record(FIELDS4), record(FIELDS4, values={7: 40001})),
    a_set(257, record(FIELDS6)),
)
READ = [
    Sample(
        FlowKey(packed(src), packed(dst), 6, port, 443, 0x28, 0, 0),
        Flow(7, 4200, NOW - 900 * MS, NOW - 200 * MS, 64),
        "vmnic0",
        "web1.eth0",
    )
    for src, dst, port in [
        ("10.0.0.1", "10.0.0.2", 40000), ("10.0.0.1", "10.0.0.2", 40001), ("fd00::1", "fd00::2", 40000),
    ]
]  # fmt: skip


def test_a_message_with_two_templates_and_three_records_is_read() -> None:
    assert IpfixReader().samples(SOUND, NOW) == READ


@pytest.mark.parametrize(
    ("number", "value", "told"),
    [
        (8, packed("192.0.2.255"), {"src": packed("192.0.2.255")}),
        (12, bytes(4), {"dst": bytes(4)}),
        (4, 255, {"protocol": 255}),
        (7, 65535, {"src_port": 65535}),
        (11, 1, {"dst_port": 1}),
        (5, 0xFF, {"tos": 255}),
    ],
)
def test_each_part_of_a_key_comes_from_its_element(number: int, value: int | bytes, told: dict[str, Any]) -> None:
    sample = one(samples_of(FIELDS4, values={number: value}))
    assert sample == replace(READ[0], key=replace(READ[0].key, **told))


@pytest.mark.parametrize(
    ("number", "value", "told"),
    [
        (2, 2**64 - 1, {"packets": 2**64 - 1}),
        (1, 2**40, {"octets": 2**40}),
        (192, 255, {"ttl": 255}),
        (158, 2**32 - 1, {"first_ns": NOW - (2**32 - 1) * 1000}),
        (159, 0, {"last_ns": NOW}),
        (159, 1, {"last_ns": NOW - 1000}),
    ],
)
def test_each_count_comes_from_its_element(number: int, value: int, told: dict[str, int]) -> None:
    sample = one(samples_of(FIELDS4, values={number: value}))
    assert sample == replace(READ[0], flow=replace(READ[0].flow, **told))


@pytest.mark.parametrize("number", [136, 138, 195, 196, 240, 256, 352, 368, 60, 61, COMES_BY, LEAVES_BY])
def test_other_elements_change_nothing(number: int) -> None:
    assert samples_of(FIELDS4, values={number: 1}) == samples_of(FIELDS4, values={number: 0}) == READ[:1]


@pytest.mark.parametrize(("fields", "elements"), [(ICMP4, (176, 177)), (ICMP6, (178, 179))])
@pytest.mark.parametrize(("kind", "code"), [(8, 0), (3, 13), (128, 0), (0, 0), (255, 255)])
def test_type_and_code_of_icmp_stand_for_the_port(
    fields: Sequence[Field], elements: tuple[int, int], kind: int, code: int
) -> None:
    key = one(samples_of(fields, values={4: 1, elements[0]: kind, elements[1]: code})).key
    assert (key.src_port, key.dst_port) == (0, kind * 256 + code)


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (("a", "", "b", ""), ("a", "b")),
        (("", "", "", ""), ("", "")),
        (("a", "the description", "", "is no name"), ("a", "")),
        (("x" * 254, "", "y" * 255, ""), ("x" * 254, "y" * 255)),
        (("x" * 256, "z" * 300, "y" * 1000, ""), ("x" * 256, "y" * 1000)),
        ((b"\xffa", "", "ü", ""), ("\ufffda", "ü")),
    ],
)
def test_ports_are_told_apart_by_their_names(names: Sequence[str | bytes], read: tuple[str, str]) -> None:
    sample = one(samples_of(FIELDS4, names))
    assert (sample.came_by, sample.leaves_by) == read
    assert sample == replace(READ[0], came_by=read[0], leaves_by=read[1])


def test_the_ports_may_come_the_other_way_round() -> None:
    fields = [*HEAD[:6], *INTERFACES[4:], *INTERFACES[:4], *FIELDS4[len(HEAD) :]]
    sample = one(samples_of(fields, ("out", "", "in", "")))
    assert (sample.came_by, sample.leaves_by) == ("in", "out")


def test_frames_that_are_not_ip_are_left_out() -> None:
    assert samples_of(NOT_IP) == []
    both = a_set(2, template(256, FIELDS4), template(258, NOT_IP))
    arp = a_set(258, record(NOT_IP), record(NOT_IP))
    assert IpfixReader().samples(message(both, arp, a_set(256, record(FIELDS4)), arp), NOW) == READ[:1]


@pytest.mark.parametrize("missing", [8, 12])
def test_frames_with_one_address_are_left_out(missing: int) -> None:
    assert samples_of([field for field in FIELDS4 if field[0] != missing]) == []


def test_what_is_not_told_is_nothing() -> None:
    key = FlowKey(packed("10.0.0.1"), packed("10.0.0.2"), 0, 0, 0, 0, 0, 0)
    assert samples_of([(8, 4), (12, 4)]) == [Sample(key, Flow(0, 0, NOW, NOW, 0), "", "")]


def test_counts_may_be_written_shorter() -> None:
    short = [(kind, 4 if kind in (1, 2) else length) for kind, length in FIELDS4]
    assert samples_of(short) == READ[:1]


def test_an_element_of_an_enterprise_is_no_other_s() -> None:
    own: list[Field] = [(0x8000 | kind, length) for kind, length in ((8, 4), (12, 4), (1, 8), (NAME, ANY))]
    fields = [*own, *FIELDS4]
    raw = packed("192.0.2.1") + packed("192.0.2.2") + bytes(7) + b"\1" + text(b"else") + record(FIELDS4)
    assert IpfixReader().samples(message(a_set(2, template(300, fields)), a_set(300, raw)), NOW) == READ[:1]


# -- templates


def test_templates_are_remembered_from_earlier_messages() -> None:
    reader = IpfixReader()
    assert reader.samples(message(a_set(2, template(256, FIELDS4))), NOW) == []
    assert reader.samples(message(a_set(256, record(FIELDS4))), NOW) == READ[:1]
    assert reader.samples(message(a_set(256, record(FIELDS4))), NOW) == READ[:1]


def test_each_reader_has_its_own_templates() -> None:
    IpfixReader().samples(SOUND, NOW)
    assert IpfixReader().samples(message(a_set(256, record(FIELDS4))), NOW) == []


def test_sets_of_a_template_that_was_not_sent_yet_are_skipped() -> None:
    late = message(a_set(999, record(FIELDS4)), a_set(2, template(256, FIELDS4)), a_set(256, record(FIELDS4)))
    assert IpfixReader().samples(late, NOW) == READ[:1]
    early = message(a_set(256, record(FIELDS4)), a_set(2, template(256, FIELDS4)))
    assert IpfixReader().samples(early, NOW) == []


def test_a_template_that_is_sent_again_takes_the_place_of_the_old() -> None:
    reader = IpfixReader()
    reader.samples(message(a_set(2, template(256, FIELDS6))), NOW)
    assert reader.samples(message(a_set(2, template(256, FIELDS4)), a_set(256, record(FIELDS4))), NOW) == READ[:1]


def test_a_template_that_is_withdrawn_is_not_used() -> None:
    reader = IpfixReader()
    reader.samples(SOUND, NOW)
    assert reader.samples(message(a_set(2, template(256, []))), NOW) == []
    assert reader.samples(message(a_set(256, record(FIELDS4))), NOW) == []
    assert reader.samples(message(a_set(257, record(FIELDS6))), NOW) == READ[2:]


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_sets_may_be_padded(padding: int) -> None:
    padded = message(
        a_set(2, template(256, FIELDS4), bytes(padding)),
        a_set(256, record(FIELDS4), bytes(padding)),
        a_set(2, template(257, FIELDS6), bytes(padding)),
        a_set(257, record(FIELDS6), bytes(padding)),
    )
    assert IpfixReader().samples(padded, NOW) == [READ[0], READ[2]]


def test_a_template_of_options_is_none_of_flows() -> None:
    options = a_set(3, template(256, FIELDS4))
    assert IpfixReader().samples(message(options, a_set(256, record(FIELDS4))), NOW) == []


@pytest.mark.parametrize("fields", [[], [(8, 0)], [(8, 0), (12, 0)]])
def test_records_without_a_byte_have_no_end_and_are_not_read(fields: list[Field]) -> None:
    assert IpfixReader().samples(message(a_set(2, template(256, fields)), a_set(256, bytes(8))), NOW) == []


# -- what is no IPFIX


def test_bytes_behind_the_message_are_not_read() -> None:
    assert IpfixReader().samples(SOUND + a_set(256, record(FIELDS4)), NOW) == READ


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"\0\x0a\0",
        struct.pack("!HH", 10, 4),
        struct.pack("!HHIII", 10, 15, 0, 0, 0),
        struct.pack("!HHIII", 10, 17, 0, 0, 0),
        struct.pack("!HHIII", 9, 16, 0, 0, 0),
        struct.pack("!HHIII", 5, 16, 0, 0, 0),
        message(struct.pack("!HH", 2, 3)),
        message(struct.pack("!HH", 256, 0)),
        message(a_set(2, template(256, FIELDS4)[:-1])),
        message(a_set(2, struct.pack("!HH", 256, 65535))),
    ],
)
def test_what_is_no_ipfix_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        IpfixReader().samples(raw, NOW)


def test_a_header_alone_says_nothing() -> None:
    assert IpfixReader().samples(message(), NOW) == []


def read_or_refused(raw: bytes, reader: IpfixReader | None = None) -> list[Sample] | None:
    """None when it was refused. Anything but ValueError ends the test."""
    try:
        return (reader or IpfixReader()).samples(raw, NOW)
    except ValueError:
        return None


def as_long_as_it_is(raw: bytes) -> bytes:
    """The message, with a length in its header that is right."""
    return raw[:2] + struct.pack("!H", len(raw)) + raw[4:]


def test_a_message_that_is_cut_off_is_refused() -> None:
    assert [size for size in range(len(SOUND)) if read_or_refused(SOUND[:size]) is not None] == []


def test_of_a_message_that_ends_early_only_whole_records_are_read() -> None:
    fixed = [field for field in FIELDS4 if field not in INTERFACES]
    rows = [record(fixed, values={7: port}) for port in (1, 2, 3)]
    whole = message(a_set(2, template(256, fixed)), a_set(256, *rows))
    data = len(whole) - sum(map(len, rows))
    for size in range(16, len(whole) + 1):
        ports = [sample.key.src_port for sample in read_or_refused(as_long_as_it_is(whole[:size])) or []]
        assert ports == [1, 2, 3][: max(0, size - data) // len(rows[0])]


def test_a_message_with_one_wrong_byte_is_read_or_refused() -> None:
    for at in range(len(SOUND)):
        for wrong in (0x01, 0x40, 0x80, 0xFF):
            flipped = bytearray(SOUND)
            flipped[at] ^= wrong
            reader = IpfixReader()
            read_or_refused(bytes(flipped), reader)
            assert reader.samples(SOUND, NOW) == READ


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    reader = IpfixReader()
    assert read_or_refused(raw, reader) in (None, [])
    assert reader.samples(SOUND, NOW) == READ


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 255, 256, 257, 65535]), st.binary(max_size=60)), max_size=5))
def test_any_sets_are_read_or_refused(sets: list[tuple[int, bytes]]) -> None:
    reader = IpfixReader()
    reader.samples(SOUND, NOW)
    for sample in read_or_refused(message(*(a_set(number, body) for number, body in sets)), reader) or []:
        assert sample.key.src
        assert sample.key.dst


@given(st.data())
def test_any_template_with_any_records_is_read_or_refused(data: st.DataObject) -> None:
    fields = data.draw(
        st.lists(
            st.tuples(st.sampled_from([1, 4, 7, 8, 12, 27, 82, 158, 176, 0x8008]), st.sampled_from([0, 1, 4, ANY]))
        )
    )
    raw = data.draw(st.binary(max_size=100))
    found = read_or_refused(message(a_set(2, template(256, fields)), a_set(256, raw)))
    assert found is not None or any(length == ANY for _, length in fields)
    assert len(found or []) <= len(raw)


# -- flows under way

ACTIVE, IDLE = 60 * SECOND, 15 * SECOND
LATE = 1500 * MS
"""For so long more of a flow may still be on its way from Open vSwitch."""


def flow(first_ns: int, last_ns: int | None = None, packets: int = 1, octets: int = 100, ttl: int = 64) -> Flow:
    return Flow(packets, octets, first_ns, first_ns if last_ns is None else last_ns, ttl)


def cache_with(*flows: Flow, key: FlowKey = KEY4) -> FlowCache:
    cache = FlowCache(ACTIVE, IDLE)
    for more in flows:
        assert list(cache.add(key, more)) == []
    return cache


def test_what_belongs_to_one_flow_is_added_up() -> None:
    cache = cache_with(
        flow(NOW + 5, NOW + 9, 2, 300, 64), flow(NOW, NOW + 7, 3, 500, 128), flow(NOW + 6, NOW + 8, 1, 1, 1)
    )
    assert len(cache) == 1
    assert list(cache.ended(NOW + ACTIVE)) == [(KEY4, Flow(6, 801, NOW, NOW + 9, 128), Ended.IDLE)]


@pytest.mark.parametrize(
    "other",
    [
        {"src": packed("10.0.0.3")},
        {"dst": packed("10.0.0.3")},
        {"protocol": 17},
        {"src_port": 40001},
        {"dst_port": 80},
        {"tos": 0},
        {"input": 4},
        {"output": 18},
    ],
)
def test_flows_that_differ_in_one_thing_are_two(other: dict[str, Any]) -> None:
    cache = cache_with(flow(NOW, packets=1))
    assert list(cache.add(replace(KEY4, **other), flow(NOW, packets=2))) == []
    ended = {key: counts.packets for key, counts, _ in cache.ended(NOW + ACTIVE)}
    assert ended == {KEY4: 1, replace(KEY4, **other): 2}


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (0, None),
        (IDLE, None),
        (IDLE + LATE - 1, None),
        (IDLE + LATE, Ended.IDLE),
        (ACTIVE - 1, Ended.IDLE),
        (10 * ACTIVE, Ended.IDLE),
    ],
)
def test_a_flow_without_more_is_idle(now: int, why: Ended | None) -> None:
    cache = cache_with(flow(NOW))
    assert list(cache.ended(NOW + now)) == ([(KEY4, flow(NOW), why)] if why else [])
    assert len(cache) == (0 if why else 1)


@pytest.mark.parametrize(("now", "why"), [(ACTIVE - 1, None), (ACTIVE, Ended.ACTIVE), (ACTIVE + SECOND, Ended.ACTIVE)])
def test_a_flow_that_goes_on_is_told_of_after_the_active_timeout(now: int, why: Ended | None) -> None:
    cache = cache_with(flow(NOW, NOW + ACTIVE - SECOND))
    assert [ended for _, _, ended in cache.ended(NOW + now)] == ([why] if why else [])
    assert len(cache) == (0 if why else 1)


def test_idle_counts_from_the_last_frame_and_active_from_the_first() -> None:
    cache = cache_with(flow(NOW), flow(NOW + 10 * SECOND))
    assert list(cache.ended(NOW + IDLE + LATE)) == []
    assert [ended for *_, ended in cache.ended(NOW + 10 * SECOND + IDLE + LATE)] == [Ended.IDLE]


def test_only_what_is_due_is_taken_and_only_once() -> None:
    cache = cache_with(flow(NOW))
    list(cache.add(KEY6, flow(NOW + 5 * SECOND)))
    assert [key for key, *_ in cache.ended(NOW + IDLE + LATE)] == [KEY4]
    assert list(cache.ended(NOW + IDLE + LATE)) == []
    assert [key for key, *_ in cache.ended(NOW + 5 * SECOND + IDLE + LATE)] == [KEY6]
    assert len(cache) == 0


@pytest.mark.parametrize(("gap", "over"), [(0, False), (IDLE - 1, False), (IDLE, True), (ACTIVE, True)])
def test_after_a_pause_it_is_another_flow(gap: int, over: bool) -> None:
    cache = cache_with(flow(NOW, NOW + SECOND, packets=4))
    later = flow(NOW + SECOND + gap, packets=2)
    assert list(cache.add(KEY4, later)) == ([(KEY4, flow(NOW, NOW + SECOND, packets=4), Ended.IDLE)] if over else [])
    assert len(cache) == 1
    assert [counts.packets for _, counts, _ in cache.ended(NOW + 100 * ACTIVE)] == [2 if over else 6]


def test_a_full_cache_tells_of_its_oldest_flow_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_MOST_FLOWS", 2)
    keys = [replace(KEY4, src_port=port) for port in (1, 2, 3)]
    cache = cache_with(flow(NOW), key=keys[0])
    assert list(cache.add(keys[1], flow(NOW + 1))) == []
    assert list(cache.add(keys[0], flow(NOW + 2))) == []
    assert list(cache.add(keys[2], flow(NOW + 3))) == [(keys[0], flow(NOW, NOW + 2, 2, 200), Ended.ACTIVE)]
    assert len(cache) == 2
    assert {key for key, *_ in cache.ended(NOW + 100 * ACTIVE)} == {keys[1], keys[2]}


def test_a_flow_that_begins_anew_in_a_full_cache_takes_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_MOST_FLOWS", 2)
    cache = cache_with(flow(NOW))
    assert list(cache.add(KEY6, flow(NOW))) == []
    assert list(cache.add(KEY6, flow(NOW + ACTIVE))) == [(KEY6, flow(NOW), Ended.IDLE)]
    assert len(cache) == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from([KEY4, KEY6, replace(KEY4, tos=0)]), st.integers(0, 20), st.integers(0, 2), st.booleans()
        ),
        max_size=60,
    )
)
def test_no_frame_is_lost_or_told_of_twice(steps: list[tuple[FlowKey, int, int, bool]]) -> None:
    cache, now, heard, told = FlowCache(ACTIVE, IDLE), NOW, 0, []
    for number, (key, pause, length, look) in enumerate(steps):
        now += pause * SECOND
        heard += number
        told += list(cache.add(key, flow(now - length * SECOND, now, number, 2 * number)))
        told += list(cache.ended(now)) if look else []
    assert len(cache) <= 3
    told += list(cache.ended(now + ACTIVE))
    assert len(cache) == 0
    assert sum(counts.packets for _, counts, _ in told) == heard
    assert sum(counts.octets for _, counts, _ in told) == 2 * heard


def test_a_flow_that_never_rests_is_told_of_in_pieces_without_a_gap() -> None:
    cache, told = FlowCache(ACTIVE, IDLE), []
    for second in range(301):
        now = NOW + second * SECOND
        told += list(cache.ended(now))
        told += list(cache.add(KEY4, flow(now)))
    assert {ended for *_, ended in told} == {Ended.ACTIVE}
    assert [(counts.first_ns - NOW) // SECOND for _, counts, _ in told] == [0, 60, 120, 180, 240]
    assert [counts.packets for _, counts, _ in told] == [60] * 5


# -- NetFlow v5


def reports(count: int, key: FlowKey = KEY4) -> list[Report]:
    """They can be told apart by their source ports: 1, 2, 3, ..."""
    return [Report(replace(key, src_port=number + 1), FLOW, Ended.IDLE) for number in range(count)]


def v5_of(report: Report, exporter: Exporter | None = None, now_ns: int = NOW) -> tuple[Packet, Packet]:
    raw = one(list((exporter or Exporter(V5, started_ns=NOW - 3600 * SECOND)).datagrams([report], now_ns)))
    assert len(raw) == 24 + 48
    read = NetflowHeader(raw)
    assert read.version == 5
    return read[NetflowHeaderV5], read[NetflowRecordV5]


def test_v5_all_fields_of_the_header() -> None:
    exporter = Exporter(V5, domain=0x1234, sampling=100, started_ns=NOW - 3600 * SECOND)
    header, _ = v5_of(Report(KEY4, FLOW, Ended.IDLE), exporter, NOW + 123_456_789)
    assert (header.count, header.sysUptime, header.flowSequence) == (1, 3_600_123, 0)
    assert (header.unixSecs, header.unixNanoSeconds) == (NOW // SECOND, 123_456_789)
    assert (header.engineType, header.engineID) == (0, 0x34)
    assert header.samplingInterval == 0x8000 + 100


def test_v5_all_fields_of_a_record() -> None:
    _, read = v5_of(Report(KEY4, FLOW, Ended.ACTIVE))
    assert (read.src, read.dst, read.nexthop) == ("10.0.0.1", "10.0.0.2", "0.0.0.0")
    assert (read.input, read.output) == (3, 17)
    assert (read.dpkts, read.dOctets) == (5, 700)
    assert (read.first, read.last) == (3_597_000, 3_598_000)
    assert (read.srcport, read.dstport, read.prot, read.tos) == (40000, 443, 6, 0x28)
    assert (int(read.tcpFlags), read.src_as, read.dst_as, read.src_mask, read.dst_mask) == (0, 0, 0, 0, 0)
    assert (read.pad1, read.pad2) == (0, 0)


@pytest.mark.parametrize(
    ("sampling", "mode", "interval"),
    [(0, 0, 0), (1, 0, 0), (2, 2, 2), (4096, 2, 4096), (16383, 2, 16383), (16384, 2, 16383), (10**6, 2, 16383)],
)
def test_v5_two_bits_say_that_frames_were_chosen_at_random(sampling: int, mode: int, interval: int) -> None:
    header, _ = v5_of(Report(KEY4, FLOW, Ended.IDLE), Exporter(V5, sampling=sampling))
    assert (header.samplingInterval >> 14, header.samplingInterval & 0x3FFF) == (mode, interval)


@pytest.mark.parametrize(("domain", "engine"), [(0, 0), (255, 255), (256, 0), (0xDEADBEEF, 0xEF)])
def test_v5_the_engine_is_the_low_byte_of_the_domain(domain: int, engine: int) -> None:
    header, _ = v5_of(Report(KEY4, FLOW, Ended.IDLE), Exporter(V5, domain=domain, sampling=3))
    assert (header.engineType, header.engineID, header.samplingInterval) == (0, engine, 0x8003)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (-5 * SECOND, -SECOND, (0, 0)),
        (-SECOND, MS, (0, 1)),
        (0, MS - 1, (0, 0)),
        (2**32 * MS - MS, 2**32 * MS, (2**32 - 1, 0)),
    ],
)
def test_v5_times_are_milliseconds_since_the_switch_began_to_count(
    first: int, last: int, told: tuple[int, int]
) -> None:
    counted = Flow(1, 1, NOW + first, NOW + last)
    header, read = v5_of(Report(KEY4, counted, Ended.IDLE), Exporter(V5, started_ns=NOW), NOW + last)
    assert (read.first, read.last) == told
    assert header.sysUptime == told[1]


@pytest.mark.parametrize("count", [2**32 - 1, 2**32, 2**33 + 7])
def test_v5_counters_have_32_bits(count: int) -> None:
    _, read = v5_of(Report(KEY4, replace(FLOW, packets=count, octets=count + 1), Ended.IDLE))
    assert (read.dpkts, read.dOctets) == (count % 2**32, (count + 1) % 2**32)


def v5_read(datagrams: Sequence[bytes]) -> list[tuple[int, int, list[int]]]:
    """(sequence number, count, source ports) of each."""
    told = []
    for raw in datagrams:
        header = NetflowHeader(raw)[NetflowHeaderV5]
        records = [header.getlayer(NetflowRecordV5, nr) for nr in range(1, (len(raw) - 24) // 48 + 1)]
        told.append((header.flowSequence, header.count, [read.srcport for read in records]))
    return told


@pytest.mark.parametrize("count", [0, 1, 29, 30, 31, 60, 61, 100])
def test_v5_a_datagram_holds_thirty_records(count: int) -> None:
    told = v5_read(list(Exporter(V5).datagrams(reports(count), NOW)))
    assert [number for _, number, _ in told] == [30] * (count // 30) + [count % 30] * (count % 30 > 0)
    assert [port for *_, ports in told for port in ports] == list(range(1, count + 1))
    assert [len(ports) for *_, ports in told] == [number for _, number, _ in told]
    assert [sequence for sequence, *_ in told] == list(range(0, count, 30))


def test_v5_a_full_datagram_is_not_fragmented() -> None:
    assert V5_MOST == 30
    assert len(one(list(Exporter(V5).datagrams(reports(V5_MOST), NOW)))) == 24 + 30 * 48 <= ROOM


def test_v5_the_sequence_counts_records_from_call_to_call() -> None:
    exporter = Exporter(V5)
    calls = [v5_read(list(exporter.datagrams(reports(count), NOW))) for count in (7, 0, 35, 1, 1)]
    assert [sequence for call in calls for sequence, *_ in call] == [0, 7, 37, 42, 43]
    assert exporter.sequence == 44


def test_v5_flows_of_ipv6_are_left_out_and_not_counted() -> None:
    exporter = Exporter(V5)
    mixed = [report for pair in zip(reports(31), reports(31, KEY6), strict=True) for report in pair]
    assert [(sequence, count) for sequence, count, _ in v5_read(list(exporter.datagrams(mixed, NOW)))] == [
        (0, 30),
        (30, 1),
    ]
    assert list(exporter.datagrams(reports(5, KEY6), NOW)) == []
    assert v5_read(list(exporter.datagrams(reports(1), NOW))) == [(31, 1, [1])]


@pytest.mark.parametrize("version", [V5, IPFIX])
def test_the_sequence_wraps_at_32_bits(version: int) -> None:
    exporter = Exporter(version)
    exporter.sequence = 2**32 - 2
    told = [NetflowHeader(one(list(exporter.datagrams(reports(3), NOW)))).payload.flowSequence for _ in range(2)]
    assert told == [2**32 - 2, 1]


def test_an_exporter_of_which_no_more_is_said() -> None:
    header, _ = v5_of(Report(KEY4, FLOW, Ended.IDLE), Exporter(V5))
    assert (header.flowSequence, header.engineID, header.samplingInterval) == (0, 0, 0)
    assert header.sysUptime == NOW // MS % 2**32
    assert NetflowHeader(ipfix(reports(1)))[NetflowHeaderV10].ObservationDomainID == 0


# -- IPFIX


@pytest.fixture
def known_to_scapy(monkeypatch: pytest.MonkeyPatch) -> None:
    """scapy calls all that it does not know alike, and then refuses two of them in one record."""
    monkeypatch.setitem(NetflowV910TemplateFieldTypes, 890, "came_by")
    monkeypatch.setitem(NetflowV910TemplateFieldTypes, 888, "leaves_by")


def sets_of(raw: bytes) -> dict[int, list[Packet]]:
    """Records of the data sets by template, as scapy reads them with the templates of this message alone."""
    (read,) = netflowv9_defragment([NetflowHeader(raw)], verb=0)
    assert read.version == 10
    found, layer = {}, read.getlayer(NetflowDataflowsetV9)
    while layer:
        assert layer.templateID not in found
        found[layer.templateID] = layer.records
        layer = layer.payload.getlayer(NetflowDataflowsetV9)
    return found


def ipfix(some: Sequence[Report], **about: int) -> bytes:
    return one(list(Exporter(IPFIX, **about).datagrams(some, NOW)))


def test_ipfix_all_fields_of_the_header() -> None:
    raw = one(list(Exporter(IPFIX, domain=0xDEADBEEF, sampling=7).datagrams(reports(3), NOW + SECOND - 1)))
    header = NetflowHeader(raw)[NetflowHeaderV10]
    assert (header.length, header.ExportTime) == (len(raw), NOW // SECOND)
    assert (header.flowSequence, header.ObservationDomainID) == (0, 0xDEADBEEF)


@pytest.mark.parametrize(("nr", "addresses"), [(0, [(8, 4), (12, 4)]), (1, [(27, 16), (28, 16)])], ids=["IPv4", "IPv6"])
def test_ipfix_templates_name_iana_s_elements_and_two_of_vmware(nr: int, addresses: list[Field]) -> None:
    told = NetflowHeader(ipfix(reports(1)))[NetflowFlowsetV9]
    assert (told.flowSetID, [read.templateID for read in told.templates]) == (2, [256, 257])
    fields = [(f.fieldType, f.fieldLength, f.enterpriseNumber) for f in told.templates[nr].template_fields]
    assert fields == [
        *((number, length, None) for number, length in addresses),
        *((number, 8, None) for number in (1, 2, 152, 153)),
        *((number, 2, None) for number in (7, 11)),
        *((number, 4, None) for number in (10, 14)),
        *((number, 1, None) for number in (4, 136, 5, 53, 61)),
        *((number, 2, 6876) for number in (890, 888)),
    ]
    assert told.templates[nr].fieldCount == len(fields)


@pytest.mark.usefixtures("known_to_scapy")
@pytest.mark.parametrize(
    ("key", "number", "names", "addresses", "numbers"),
    [
        (KEY4, 256, ("IPV4_SRC_ADDR", "IPV4_DST_ADDR"), ("10.0.0.1", "10.0.0.2"), [40000, 443, 6, 0x28, 3, 17]),
        (KEY6, 257, ("IPV6_SRC_ADDR", "IPV6_DST_ADDR"), ("fd00::1", "fd00::2"), [5353, 53, 17, 0, 70000, 2]),
    ],
    ids=["IPv4", "IPv6"],
)
def test_ipfix_all_fields_of_a_record(
    key: FlowKey, number: int, names: tuple[str, str], addresses: tuple[str, str], numbers: list[int]
) -> None:
    counted = Flow(2**33, 2**40 + 1, NOW - 3 * SECOND + 999_999, NOW - 1, 255)
    read = one(sets_of(ipfix([Report(key, counted, Ended.ACTIVE, (UPLINK, ACCESS))]))[number])
    assert tuple(getattr(read, name) for name in names) == addresses
    assert (read.IN_PKTS, read.IN_BYTES) == (2**33, 2**40 + 1)
    assert (read.flowStartMilliseconds, read.flowEndMilliseconds) == (NOW // MS - 3000, NOW // MS - 1)
    who = [read.L4_SRC_PORT, read.L4_DST_PORT, read.PROTOCOL, read.TOS, read.INPUT_SNMP, read.OUTPUT_SNMP]
    assert who == numbers
    assert (read.flowEndReason, read.MAX_TTL, read.DIRECTION) == (b"\2", b"\xff", 1)
    assert (read.came_by, read.leaves_by) == (b"\0\1", b"\0\2")


@pytest.mark.usefixtures("known_to_scapy")
@pytest.mark.parametrize(("ended", "number"), [(Ended.IDLE, 1), (Ended.ACTIVE, 2)])
@pytest.mark.parametrize("kinds", [(UPLINK, UPLINK), (UPLINK, ACCESS), (ACCESS, UPLINK), (ACCESS, ACCESS)])
def test_ipfix_says_why_a_flow_ended_and_between_which_kinds_of_port(
    ended: Ended, number: int, kinds: tuple[int, int]
) -> None:
    read = one(sets_of(ipfix([Report(KEY4, FLOW, ended, kinds)]))[256])
    assert read.flowEndReason == bytes([number])
    assert (read.came_by, read.leaves_by) == tuple(bytes([0, kind]) for kind in kinds)


def test_vmware_counts_uplinks_as_1_and_other_ports_as_2() -> None:
    assert (UPLINK, ACCESS) == (1, 2)


@pytest.mark.usefixtures("known_to_scapy")
def test_ipfix_each_family_has_a_set_of_its_own() -> None:
    mixed = [reports(2)[0], *reports(3, KEY6), reports(2)[1]]
    told = {number: [read.L4_SRC_PORT for read in records] for number, records in sets_of(ipfix(mixed)).items()}
    assert told == {256: [1, 2], 257: [1, 2, 3]}


@pytest.mark.usefixtures("known_to_scapy")
@pytest.mark.parametrize(("key", "number"), [(KEY4, 256), (KEY6, 257)], ids=["IPv4", "IPv6"])
def test_ipfix_a_family_without_flows_has_no_set(key: FlowKey, number: int) -> None:
    assert list(sets_of(ipfix(reports(2, key)))) == [number]


@pytest.mark.usefixtures("known_to_scapy")
@pytest.mark.parametrize("key", [KEY4, KEY6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 30, 31])
def test_ipfix_each_datagram_can_be_read_alone(key: FlowKey, count: int) -> None:
    datagrams = list(Exporter(IPFIX).datagrams(reports(count, key), NOW))
    told = [[read.L4_SRC_PORT for records in sets_of(raw).values() for read in records] for raw in datagrams]
    assert [port for ports in told for port in ports] == list(range(1, count + 1))
    assert [len(ports) for ports in told] == [15] * (count // 15) + [count % 15] * (count % 15 > 0)
    headers = [NetflowHeader(raw)[NetflowHeaderV10] for raw in datagrams]
    assert [header.flowSequence for header in headers] == list(range(0, count, 15))
    assert [header.length for header in headers] == [len(raw) for raw in datagrams]


def test_ipfix_the_sequence_counts_records_of_both_families_and_no_templates() -> None:
    exporter = Exporter(IPFIX)
    told = [
        NetflowHeader(raw)[NetflowHeaderV10].flowSequence
        for some in (reports(3), [], reports(2, KEY6), [*reports(10), *reports(10, KEY6)], reports(1))
        for raw in exporter.datagrams(some, NOW)
    ]
    assert told == [0, 3, 5, 20, 25]


@pytest.mark.parametrize("key", [KEY4, KEY6], ids=["IPv4", "IPv6"])
def test_ipfix_a_full_datagram_is_not_fragmented(key: FlowKey) -> None:
    assert IPFIX_MOST == 15
    assert len(ipfix(reports(IPFIX_MOST, key))) <= ROOM


@pytest.mark.parametrize("cut", range(1, 18))
def test_a_record_that_ends_too_early_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="not whole"):
        IpfixReader().samples(message(a_set(2, template(256, FIELDS4)), a_set(256, record(FIELDS4)[:-cut])), NOW)


def test_a_template_with_a_number_that_belongs_to_templates_is_refused() -> None:
    with pytest.raises(ValueError, match="a number that is none"):
        IpfixReader().samples(message(a_set(2, template(2, [(8, 4), (12, 4)]))), NOW)


def test_a_template_that_is_cut_in_an_enterprise_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole"):
        IpfixReader().samples(message(a_set(2, struct.pack("!HHHH", 256, 1, 0x8001, 4) + b"\0\0")), NOW)


@pytest.mark.parametrize("fields", [[(8, 3), (12, 4)], [(8, 4), (27, 16), (28, 16)]])
def test_addresses_of_other_lengths_are_no_flow(fields: list[tuple[int, int]]) -> None:
    data = bytes(sum(length for _, length in fields))
    assert IpfixReader().samples(message(a_set(2, template(256, fields)), a_set(256, data)), NOW) == []


# -- from frame to record

keys = st.sampled_from([4, 16]).flatmap(
    lambda size: st.builds(
        FlowKey,
        st.binary(min_size=size, max_size=size),
        st.binary(min_size=size, max_size=size),
        st.integers(0, 255),
        st.integers(0, 65535),
        st.integers(0, 65535),
        st.integers(0, 255),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
    )
)
flows = st.builds(
    Flow,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, NOW),
    st.integers(0, NOW),
    st.integers(0, 255),
)


@given(st.lists(st.builds(Report, keys, flows, st.sampled_from(Ended)), max_size=40))
@settings(max_examples=40)
def test_ipfix_that_is_written_is_read_back(some: list[Report]) -> None:
    reader = IpfixReader()
    read = [sample for raw in Exporter(IPFIX).datagrams(some, NOW) for sample in reader.samples(raw, NOW)]
    wanted = [(replace(report.key, input=0, output=0), report.flow.packets, report.flow.octets) for report in some]
    found = [(sample.key, sample.flow.packets, sample.flow.octets) for sample in read]
    assert sorted(found, key=repr) == sorted(wanted, key=repr)


@pytest.mark.parametrize("version", [V5, IPFIX])
def test_mir_11_what_was_carried_is_in_no_record(version: int) -> None:
    secret = b"PASSWORD"
    fields = [*FIELDS4, (313, ANY), (314, 8), (0x8000 | 1, 8)]
    raw = record(FIELDS4) + text(secret) + secret + secret
    cache = FlowCache(ACTIVE, IDLE)
    for sample in IpfixReader().samples(message(a_set(2, template(256, fields)), a_set(256, raw, raw)), NOW):
        list(cache.add(sample.key, sample.flow))
    datagram = one(list(Exporter(version).datagrams([Report(*ended) for ended in cache.ended(NOW + ACTIVE)], NOW)))
    assert packed("10.0.0.1") + packed("10.0.0.2") in datagram
    assert secret not in datagram


@pytest.mark.parametrize(
    ("address", "raw"),
    [("10.0.0.255", b"\x0a\0\0\xff"), ("::1", bytes(15) + b"\1"), ("fd00::2", b"\xfd" + bytes(14) + b"\2")],
)
def test_an_address_as_bytes(address: str, raw: bytes) -> None:
    assert packed(address) == raw
