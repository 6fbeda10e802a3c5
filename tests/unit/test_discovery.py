"""CDP and LLDP frames: written as scapy and Wireshark read them, read as scapy writes them; any garbage (MIR-12)."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.cdp import (
    CDPMsgCapabilities,
    CDPMsgDeviceID,
    CDPMsgDuplex,
    CDPMsgNativeVLAN,
    CDPMsgPlatform,
    CDPMsgPortID,
    CDPMsgSoftwareVersion,
    CDPMsgVTPMgmtDomain,
    CDPv2_HDR,
)
from scapy.contrib.lldp import (
    LLDPDU,
    LLDPDUChassisID,
    LLDPDUEndOfLLDPDU,
    LLDPDUGenericOrganisationSpecific,
    LLDPDUManagementAddress,
    LLDPDUPortDescription,
    LLDPDUPortID,
    LLDPDUSystemCapabilities,
    LLDPDUSystemDescription,
    LLDPDUSystemName,
    LLDPDUTimeToLive,
)
from scapy.layers.inet import IP
from scapy.layers.l2 import LLC, SNAP, Dot3, Ether
from scapy.packet import Packet, Padding

from lab.errors import UsageError
from lab.frame import CDP_MAC, LLDP_MAC
from traffic.discovery import (
    CDP,
    CDP_TTL,
    LLDP,
    LLDP_TTL,
    MIN_FRAME,
    Announcement,
    build,
    cdp_checksum,
    interval_of,
    parse,
)

SRC, OTHER = "00:50:56:00:00:01", "00:50:56:00:00:02"
LARGEST = 1514
CDP_WORDS = {"router": "Router", "bridge": "TransparentBridge", "switch": "Switch", "host": "Host"}
LLDP_WORDS = {"repeater": "repeater", "bridge": "mac_bridge", "router": "router", "station": "station_only"}
"""Each word of ours, and scapy's for the same bit."""
OF_CDP = Announcement(
    CDP, "tor1", "Ethernet1/7", 180, 10, "pSwitch", "a physical switch, and what it runs", ("switch",)
)
OF_LLDP = Announcement(LLDP, "tor1", "Ethernet1/7", 120, 10, "", "a physical switch, and what it runs", ("bridge",))
BOTH = pytest.mark.parametrize("said", [OF_CDP, OF_LLDP], ids=[CDP, LLDP])


def subsets(words: dict[str, str]) -> list[tuple[str, ...]]:
    return [some for size in range(len(words) + 1) for some in combinations(words, size)]


# -- the frame


def test_mir_12_cdp_goes_to_its_group_as_llc_and_snap() -> None:
    raw = build(OF_CDP, SRC)
    frame = Dot3(raw)
    assert (frame.dst, frame.src, frame.len) == ("01:00:0c:cc:cc:cc", SRC, len(raw) - 14)
    assert (frame[LLC].dsap, frame[LLC].ssap, frame[LLC].ctrl) == (0xAA, 0xAA, 3)
    assert (frame[SNAP].OUI, frame[SNAP].code) == (0x00000C, 0x2000)
    assert CDPv2_HDR in frame


def test_mir_12_lldp_goes_to_its_group_by_its_ethertype() -> None:
    frame = Ether(build(OF_LLDP, SRC))
    assert (frame.dst, frame.src, frame.type) == ("01:80:c2:00:00:0e", SRC, 0x88CC)
    assert LLDPDU in frame


def test_mir_12_cdp_speaks_every_minute_and_lldp_every_half() -> None:
    assert (interval_of(CDP), interval_of(LLDP)) == (60, 30)
    assert (CDP_TTL, LLDP_TTL) == (3 * 60, 4 * 30)


@pytest.mark.parametrize("protocol", [CDP, LLDP])
def test_a_short_frame_is_padded_and_the_padding_is_none_of_it(protocol: str) -> None:
    said = Announcement(protocol, "a", "b", 9)
    raw = build(said, SRC)
    assert len(raw) == MIN_FRAME == 60
    assert parse(raw) == said
    assert parse(raw + bytes(20)) == said


@BOTH
def test_a_frame_that_is_long_enough_is_not_padded(said: Announcement) -> None:
    raw = build(said, SRC)
    assert len(raw) > MIN_FRAME
    assert Padding not in Dot3(raw)
    assert parse(raw[:-1]) is None


# -- CDP


def cdp_messages(raw: bytes) -> list[Packet]:
    return list(Dot3(raw)[CDPv2_HDR].msg)


def cdp_from(*messages: Packet, version: int = 2, ttl: int = 180) -> bytes:
    """As scapy writes it."""
    head = Dot3(dst=CDP_MAC, src=OTHER) / LLC() / SNAP() / CDPv2_HDR(vers=version, ttl=ttl, msg=list(messages))
    return bytes(head)


def sum_of(packet: bytes) -> int:
    """The Internet's sum, where an odd byte at the end is a signed number, modulo 65535."""
    words = sum(struct.unpack(f"!{len(packet) // 2}H", packet[: len(packet) // 2 * 2]))
    odd = struct.unpack("b", packet[-1:])[0] if len(packet) % 2 else 0
    return int(words + odd) % 0xFFFF


def cdp_holding(fields: bytes, version: int = 2) -> bytes:
    """A frame of any fields, with a right checksum."""
    zero = bytes([version, 180, 0, 0]) + fields
    packet = zero[:2] + struct.pack("!H", -sum_of(zero) % 0xFFFF) + zero[4:]
    body = bytes.fromhex("aaaa0300000c2000") + packet
    return bytes.fromhex("01000ccccccc005056000002") + struct.pack("!H", len(body)) + body


NAMED = (CDPMsgDeviceID(val="sw9"), CDPMsgPortID(iface="Fa0/1"))


def test_mir_12_all_fields_of_cdp() -> None:
    header = Dot3(build(OF_CDP, SRC))[CDPv2_HDR]
    assert (header.vers, header.ttl) == (2, 180)
    device, port, able, version, platform, native = header.msg
    assert [message.type for message in header.msg] == [1, 3, 4, 5, 6, 10]
    assert (device.val, port.iface) == (b"tor1", b"Ethernet1/7")
    assert (version.val, platform.val) == (b"a physical switch, and what it runs", b"pSwitch")
    assert (str(able.cap), native.vlan) == ("Switch", 10)


@pytest.mark.parametrize("words", subsets(CDP_WORDS))
def test_cdp_capabilities_are_bits_of_their_own(words: tuple[str, ...]) -> None:
    raw = build(replace(OF_CDP, capabilities=words), SRC)
    (able,) = [message for message in cdp_messages(raw) if message.type == 4]
    assert set(str(able.cap).split("+")) - {""} == {CDP_WORDS[word] for word in words}
    assert parse(raw) == replace(OF_CDP, capabilities=words)


def test_cdp_what_it_has_no_bit_for_is_not_said() -> None:
    read = parse(build(replace(OF_CDP, capabilities=("repeater", "switch", "station", "teapot")), SRC))
    assert read == OF_CDP


@pytest.mark.parametrize("ttl", [0, 1, 60, 255])
@pytest.mark.parametrize("native", [None, 0, 1, 255, 256, 4094])
def test_cdp_ttl_and_native_vlan(ttl: int, native: int | None) -> None:
    raw = build(replace(OF_CDP, ttl=ttl, native_vlan=native), SRC)
    assert Dot3(raw)[CDPv2_HDR].ttl == ttl
    assert [message.vlan for message in cdp_messages(raw) if message.type == 10] == ([] if native is None else [native])
    assert parse(raw) == replace(OF_CDP, ttl=ttl, native_vlan=native)


def test_cdp_an_empty_text_has_no_field() -> None:
    raw = build(Announcement(CDP, "a", "b", 180), SRC)
    assert [message.type for message in cdp_messages(raw)] == [1, 3, 4]


@pytest.mark.parametrize(
    ("platform", "native", "checksum"),
    [
        ("a", None, 0x19F6),
        ("ab", None, 0xB8F3),
        ("é", None, 0x56AC),
        ("xé", None, 0xA1E8),
        ("À", None, 0x56D5),
        ("xÀ", None, 0xA211),
        ("ab", 127, 0xB864),
        ("abc", 127, 0x4573),
        ("abc", 128, 0x4672),
        ("abc", 129, 0x4671),
        ("abc", 255, 0x45F3),
        ("abc", 256, 0x45F1),
        ("abc", 4094, 0x45E5),
    ],
)
def test_cdp_wireshark_finds_these_checksums_right(platform: str, native: int | None, checksum: int) -> None:
    raw = build(Announcement(CDP, "dev", "p", 180, native, platform), SRC)
    assert raw[24:26].hex() == f"{checksum:04x}"


@pytest.mark.parametrize(("platform", "odd"), [("ab", 0), ("abc", 1)])
def test_cdp_the_checksum_is_right_whatever_the_last_byte_is(platform: str, odd: int) -> None:
    for last in range(256):
        said = Announcement(CDP, "dev", "p", 180, 0x300 | last, platform)
        raw = build(said, SRC)
        packet = raw[22 : 14 + int.from_bytes(raw[12:14], "big")]
        assert (packet[-1], len(packet) % 2) == (last, odd)
        assert sum_of(packet) == 0
        assert parse(raw) == said
        if last != 0x80:  # which scapy takes for a positive number
            assert Dot3(cdp_from(*cdp_messages(raw)))[CDPv2_HDR].cksum == int.from_bytes(packet[2:4], "big")


@given(st.binary(min_size=1, max_size=300))
def test_cdp_checksum_is_what_makes_the_sum_nothing(packet: bytes) -> None:
    assert (cdp_checksum(packet) + sum_of(packet)) % 0xFFFF == 0


@pytest.mark.parametrize("wrong", [1, 0x80, 0xFF00, 0x0101, 0x8000])
def test_cdp_with_a_wrong_checksum_is_not_believed(wrong: int) -> None:
    raw = bytearray(build(OF_CDP, SRC))
    struct.pack_into("!H", raw, 24, int.from_bytes(raw[24:26], "big") ^ wrong)
    assert parse(bytes(raw)) is None


@pytest.mark.parametrize(
    "packet", [bytes.fromhex("02b4"), bytes.fromhex("02b400"), bytes.fromhex("02b4fd4b"), b""], ids=["2", "3", "4", "0"]
)
def test_cdp_without_a_field_says_nothing(packet: bytes) -> None:
    body = bytes.fromhex("aaaa0300000c2000") + packet
    head = bytes.fromhex("01000ccccccc005056000002") + struct.pack("!H", len(body))
    assert parse((head + body).ljust(60, b"\0")) is None


def test_cdp_as_scapy_writes_it_is_read() -> None:
    raw = cdp_from(
        *NAMED,
        CDPMsgCapabilities(cap="Router+Switch+IGMPCapable"),
        CDPMsgSoftwareVersion(val="IOS 12"),
        CDPMsgPlatform(val="C2950"),
        CDPMsgVTPMgmtDomain(val="domain"),
        CDPMsgNativeVLAN(vlan=99),
        CDPMsgDuplex(duplex=1),
        ttl=200,
    )
    assert parse(raw) == Announcement(CDP, "sw9", "Fa0/1", 200, 99, "C2950", "IOS 12", ("router", "switch"))


def test_cdp_fields_may_come_in_any_order() -> None:
    assert parse(cdp_from(CDPMsgNativeVLAN(vlan=5), *reversed(NAMED))) == Announcement(CDP, "sw9", "Fa0/1", 180, 5)


@pytest.mark.parametrize(("version", "known"), [(0, False), (1, True), (2, True), (3, False), (255, False)])
def test_cdp_has_two_versions(version: int, known: bool) -> None:
    raw = cdp_from(*NAMED, version=version)
    assert parse(raw) == (Announcement(CDP, "sw9", "Fa0/1", 180) if known else None)


@pytest.mark.parametrize("messages", [[], NAMED[:1], NAMED[1:], [*NAMED[:1], CDPMsgPortID(iface="")]])
def test_cdp_that_does_not_name_its_sender_is_not_read(messages: list[Packet]) -> None:
    assert parse(cdp_from(*messages)) is None


@pytest.mark.parametrize(
    "fields", ["000100", "00010003", "0001000061", "000affff", "00010008616263", "00000000", "0007000300000561"]
)
def test_cdp_with_a_field_that_is_not_whole_is_not_read(fields: str) -> None:
    sound = b"".join(map(bytes, NAMED))
    assert parse(cdp_holding(sound)) == Announcement(CDP, "sw9", "Fa0/1", 180)
    assert parse(cdp_holding(sound + bytes.fromhex(fields))) is None
    assert parse(cdp_holding(bytes.fromhex(fields) + sound)) is None


@pytest.mark.parametrize("native", ["000a0004", "000a000505", "000a000700000a"])
def test_cdp_a_native_vlan_of_a_wrong_size_is_none(native: str) -> None:
    raw = cdp_holding(b"".join(map(bytes, NAMED)) + bytes.fromhex(native))
    assert parse(raw) == Announcement(CDP, "sw9", "Fa0/1", 180)


@pytest.mark.parametrize("code", [0x2003, 0x2004, 0x010B, 0x0111])
def test_other_protocols_of_cisco_are_not_cdp(code: int) -> None:
    raw = bytearray(build(OF_CDP, SRC))
    struct.pack_into("!H", raw, 20, code)
    assert parse(bytes(raw)) is None


# -- LLDP


def lldp_from(*more: Packet, chassis: Packet | None = None, port: Packet | None = None, ttl: int = 120) -> bytes:
    """As scapy writes it."""
    frame = Ether(dst=LLDP_MAC, src=OTHER, type=0x88CC)
    frame /= chassis or LLDPDUChassisID(subtype=4, id=OTHER)
    frame /= port or LLDPDUPortID(subtype=5, id="Gi0/1")
    frame /= LLDPDUTimeToLive(ttl=ttl)
    for tlv in more:
        frame /= tlv
    return bytes(frame / LLDPDUEndOfLLDPDU())


def lldp_kinds(raw: bytes) -> list[int]:
    frame, kinds = Ether(raw), []
    while frame:
        kinds += [frame._type] if isinstance(frame, LLDPDU) and type(frame) is not LLDPDU else []
        frame = frame.payload
    return kinds


def test_mir_12_all_fields_of_lldp() -> None:
    frame = Ether(build(OF_LLDP, SRC))
    assert lldp_kinds(bytes(frame)) == [1, 2, 3, 5, 6, 7, 127, 0]
    chassis, port = frame[LLDPDUChassisID], frame[LLDPDUPortID]
    assert (chassis.subtype, chassis.id, port.subtype, port.id) == (4, SRC, 5, b"Ethernet1/7")
    assert frame[LLDPDUTimeToLive].ttl == 120
    assert frame[LLDPDUSystemName].system_name == b"tor1"
    assert frame[LLDPDUSystemDescription].description == b"a physical switch, and what it runs"
    native = frame[LLDPDUGenericOrganisationSpecific]
    assert (native.org_code, native.subtype, native.data) == (0x0080C2, 1, b"\0\x0a")


def test_mir_12_lldp_of_an_esx_host_names_the_chassis_by_pnic_and_the_port_by_mac() -> None:
    said = replace(OF_LLDP, device="esx1", port="vmnic2")
    raw = build(said, SRC, esx=True)
    frame = Ether(raw)
    chassis, port = frame[LLDPDUChassisID], frame[LLDPDUPortID]
    assert (chassis.subtype, chassis.id, port.subtype, port.id) == (6, b"vmnic2", 3, SRC)
    assert frame[LLDPDUSystemName].system_name == b"esx1"
    assert parse(raw) == said
    assert raw != build(said, SRC)


def test_cdp_of_an_esx_host_is_like_any_other() -> None:
    assert build(OF_CDP, SRC, esx=True) == build(OF_CDP, SRC)


@pytest.mark.parametrize("words", subsets(LLDP_WORDS))
def test_lldp_capabilities_are_there_and_on(words: tuple[str, ...]) -> None:
    raw = build(replace(OF_LLDP, capabilities=words), SRC)
    able = Ether(raw)[LLDPDUSystemCapabilities]
    for state in ("available", "enabled"):
        on = {name for name in able.fields if name.endswith(f"_{state}") and getattr(able, name)}
        assert on == {f"{LLDP_WORDS[word]}_{state}" for word in words}
    assert parse(raw) == replace(OF_LLDP, capabilities=words)


def test_lldp_what_it_has_no_bit_for_is_not_said() -> None:
    raw = build(replace(OF_LLDP, capabilities=("switch", "bridge", "host", "teapot")), SRC)
    assert raw == build(OF_LLDP, SRC)


@pytest.mark.parametrize("ttl", [0, 1, 255, 256, 65535])
@pytest.mark.parametrize("native", [None, 1, 255, 256, 4094])
def test_lldp_ttl_and_native_vlan(ttl: int, native: int | None) -> None:
    raw = build(replace(OF_LLDP, ttl=ttl, native_vlan=native), SRC)
    assert Ether(raw)[LLDPDUTimeToLive].ttl == ttl
    assert (127 in lldp_kinds(raw)) == (native is not None)
    assert parse(raw) == replace(OF_LLDP, ttl=ttl, native_vlan=native)


def test_lldp_an_empty_text_has_no_field() -> None:
    assert lldp_kinds(build(Announcement(LLDP, "a", "b", 120), SRC)) == [1, 2, 3, 5, 7, 0]


def test_lldp_as_scapy_writes_it_is_read() -> None:
    raw = lldp_from(
        LLDPDUPortDescription(description="to esx1"),
        LLDPDUSystemName(system_name="sw9"),
        LLDPDUSystemDescription(description="NX-OS"),
        LLDPDUSystemCapabilities(mac_bridge_available=1, router_available=1, router_enabled=1, telephone_enabled=1),
        LLDPDUManagementAddress(management_address=b"\x0a\0\0\1", management_address_subtype=1),
        LLDPDUGenericOrganisationSpecific(org_code=0x00120F, subtype=1, data=b"\0\7"),
        LLDPDUGenericOrganisationSpecific(org_code=0x0080C2, subtype=2, data=b"\0\x08"),
        LLDPDUGenericOrganisationSpecific(org_code=0x0080C2, subtype=1, data=b"\0\x63"),
        LLDPDUGenericOrganisationSpecific(org_code=0x0080C2, subtype=3, data=b"\0\x09"),
    )
    assert parse(raw) == Announcement(LLDP, "sw9", "Gi0/1", 120, 99, "", "NX-OS", ("router",))


@pytest.mark.parametrize(
    ("chassis", "port", "device", "name"),
    [
        ((4, OTHER), (5, "Gi0/1"), OTHER, "Gi0/1"),
        ((4, OTHER), (3, SRC), OTHER, SRC),
        ((6, "vmnic0"), (3, SRC), SRC, "vmnic0"),
        ((6, "chassis"), (5, "Gi0/1"), "chassis", "Gi0/1"),
        ((7, "my own"), (7, "17"), "my own", "17"),
        ((1, "part"), (1, "alias"), "part", "alias"),
        ((7, b"sixsix"), (7, b"sixsix"), "sixsix", "sixsix"),
    ],
)
def test_lldp_a_sender_without_a_name_is_called_by_its_chassis(
    chassis: tuple[int, Any], port: tuple[int, Any], device: str, name: str
) -> None:
    parts = LLDPDUChassisID(subtype=chassis[0], id=chassis[1]), LLDPDUPortID(subtype=port[0], id=port[1])
    assert parse(lldp_from(chassis=parts[0], port=parts[1])) == Announcement(LLDP, device, name, 120)


@pytest.mark.parametrize("data", [b"\0\0", b"\0", b"", b"\0\1\2"])
def test_lldp_a_native_vlan_of_zero_or_a_wrong_size_is_none(data: bytes) -> None:
    raw = lldp_from(LLDPDUGenericOrganisationSpecific(org_code=0x0080C2, subtype=1, data=data))
    assert parse(raw) == Announcement(LLDP, OTHER, "Gi0/1", 120)


@pytest.mark.parametrize(
    "tlvs",
    [
        "0000",
        "0403056162" "06020078" "0000",
        "02070400505600000206020078" "0000",
        "020704005056000002" "0403056162" "0000",
        "020704005056000002" "0403056162" "060178" "0000",
        "020104" "0403056162" "06020078" "0000",
        "020704005056000002" "040105" "06020078" "0000",
        "020704005056000002" "0403056162" "06020078",
        "020704005056000002" "0403056162" "06020078" "00",
        "020704005056000002" "0403056162" "06020078" "0aff61" "0000",
    ],
    ids=["nothing", "no chassis", "no port", "no ttl", "half a ttl", "an empty chassis", "an empty port", "no end",
         "half an end", "a field too long"],
)  # fmt: skip
def test_lldp_that_is_not_whole_is_not_read(tlvs: str) -> None:
    head = bytes.fromhex("0180c200000e00505600000288cc")
    sound = bytes.fromhex("0207040050560000020403056162060200780000")
    assert parse(head + sound) == Announcement(LLDP, OTHER, "ab", 120)
    assert parse(head + bytes.fromhex(tlvs)) is None


def test_lldp_ends_at_its_end_mark() -> None:
    raw = lldp_from(LLDPDUSystemName(system_name="sw9"), LLDPDUPortDescription(description="x" * 60))
    native = bytes.fromhex("fe060080c2010063")
    assert parse(raw + native) == parse(raw) == Announcement(LLDP, "sw9", "Gi0/1", 120)


# -- texts


@pytest.mark.parametrize("field", ["device", "port", "description"])
@pytest.mark.parametrize("esx", [False, True])
def test_lldp_a_text_that_is_too_long_is_refused(field: str, esx: bool) -> None:
    said = replace(OF_LLDP, **{field: "x" * 255})
    assert parse(build(said, SRC, esx)) == said
    for text in ("x" * 256, "é" * 128):
        with pytest.raises(UsageError, match="does not fit in an LLDP frame"):
            build(replace(OF_LLDP, **{field: text}), SRC, esx)


@pytest.mark.parametrize("field", ["device", "port", "platform", "description"])
def test_cdp_texts_that_are_too_long_are_refused(field: str) -> None:
    said = replace(OF_CDP, **{field: "x" * 1000})
    assert parse(build(said, SRC)) == said
    for text in ("x" * 1480, "é" * 740):
        with pytest.raises(UsageError, match="do not fit in a CDP frame"):
            build(replace(OF_CDP, **{field: text}), SRC)


def test_cdp_a_frame_is_read_back_or_refused_at_every_length() -> None:
    refused = []
    for length in range(1200, 1520):
        said = replace(OF_CDP, description="y" * length)
        try:
            raw = build(said, SRC)
        except UsageError:
            refused.append(length)
        else:
            assert len(raw) <= LARGEST
            assert parse(raw) == said
    assert refused == list(range(refused[0], 1520))
    assert 1200 < refused[0] < 1500


@BOTH
def test_the_words_of_a_refusal_name_the_sender(said: Announcement) -> None:
    with pytest.raises(UsageError, match=r"^tor1 Ethernet1/7: "):
        build(replace(said, description="x" * 2000), SRC)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[2Jgone", "\\x1b[2Jgone"),
        (b"two\nlines\r", "two\\nlines\\r"),
        (b"bell\a\0\0", "bell\\x07"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u202etxt".encode(), "\\u202etxt"),
        ("größe 5µ".encode(), "größe 5µ"),
        (b"in\0side", "in\\x00side"),
    ],
)
def test_a_text_cannot_harm_a_terminal(raw: bytes, shown: str) -> None:
    by_cdp = parse(cdp_from(CDPMsgDeviceID(val=raw), CDPMsgPortID(iface=raw), CDPMsgPlatform(val=raw)))
    assert by_cdp == Announcement(CDP, shown, shown, 180, platform=shown)
    tlvs = LLDPDUSystemName(system_name=raw), LLDPDUSystemDescription(description=raw)
    by_lldp = parse(lldp_from(*tlvs, port=LLDPDUPortID(subtype=5, id=raw)))
    assert by_lldp == Announcement(LLDP, shown, shown, 120, description=shown)


# -- there and back

texts = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=60)
names = texts.filter(bool)


@given(
    st.builds(
        Announcement, st.just(CDP), names, names, st.integers(0, 255), st.none() | st.integers(0, 4094), texts, texts,
        st.sampled_from(subsets(CDP_WORDS)),
    ),
    st.booleans(),
)  # fmt: skip
def test_cdp_is_read_as_it_was_said(said: Announcement, esx: bool) -> None:
    assert parse(build(said, SRC, esx)) == said


@given(
    st.builds(
        Announcement, st.just(LLDP), names, names, st.integers(0, 65535), st.none() | st.integers(1, 4094), st.just(""),
        texts, st.sampled_from(subsets(LLDP_WORDS)),
    ),
    st.booleans(),
)  # fmt: skip
def test_lldp_is_read_as_it_was_said(said: Announcement, esx: bool) -> None:
    assert parse(build(said, SRC, esx)) == said


@BOTH
@pytest.mark.parametrize(
    "tags", ["81000000", "8100e00a", "88a80064", "88a800648100000a", "810000018100000288a80003"], ids=str
)
def test_tags_are_skipped(said: Announcement, tags: str) -> None:
    raw = build(said, SRC)
    tagged = raw[:12] + bytes.fromhex(tags) + raw[12:]
    assert parse(tagged) == said
    assert [size for size in range(len(tagged)) if parse(tagged[:size]) is not None] == []


@BOTH
@pytest.mark.parametrize("to", [CDP_MAC, LLDP_MAC, "01:00:0c:cc:cc:cd", "01:80:c2:00:00:00", "ff:ff:ff:ff:ff:ff", SRC])
def test_only_what_goes_to_its_own_group_is_read(said: Announcement, to: str) -> None:
    raw = bytes.fromhex(to.replace(":", "")) + build(said, SRC)[6:]
    assert parse(raw) == (said if to == {CDP: CDP_MAC, LLDP: LLDP_MAC}[said.protocol] else None)


@pytest.mark.parametrize("to", [CDP_MAC, LLDP_MAC])
def test_ordinary_frames_are_not_read(to: str) -> None:
    assert parse(bytes(Ether(dst=to, src=SRC) / IP(dst="10.0.0.1") / bytes(100))) is None
    assert parse(bytes(Ether(dst=to, src=SRC, type=0x88CC) / bytes(46))) is None


# -- garbage


def harmless(read: Announcement | None) -> bool:
    texts = (read.device, read.port, read.platform, read.description) if read else ()
    return all(text.isprintable() for text in texts)


@BOTH
def test_a_frame_that_is_cut_off_is_not_read(said: Announcement) -> None:
    raw = build(said, SRC)
    assert [size for size in range(len(raw)) if parse(raw[:size]) is not None] == []


def test_cdp_with_one_wrong_byte_is_not_read() -> None:
    raw = build(OF_CDP, SRC)
    read = set()
    for at in range(len(raw)):
        for wrong in range(1, 256):
            flipped = bytearray(raw)
            flipped[at] ^= wrong
            if (found := parse(bytes(flipped))) is not None:
                assert found == OF_CDP
                read.add(at)
    assert read == set(range(6, 12))


def test_lldp_with_one_wrong_byte_is_read_or_not() -> None:
    raw = build(replace(OF_LLDP, description="short"), SRC)
    for at in range(len(raw)):
        for wrong in range(1, 256):
            flipped = bytearray(raw)
            flipped[at] ^= wrong
            found = parse(bytes(flipped))
            assert harmless(found)
            assert found is None or at >= 6


@given(st.binary(max_size=200))
def test_any_bytes_can_be_given(raw: bytes) -> None:
    assert parse(raw) is None


@given(st.sampled_from(["01000ccccccc", "0180c200000e"]), st.sampled_from(["", "8100000a", "88a88100"]), st.binary())
def test_any_bytes_may_go_to_the_groups(to: str, tags: str, rest: bytes) -> None:
    assert harmless(parse(bytes.fromhex(to) + bytes(6) + bytes.fromhex(tags) + rest))


tlv_texts = st.sampled_from([b"", b"\0", b"\4", b"\x80", b"\xff" * 7, b"vmnic0", b"\x04\x1b[2J\0"]) | st.binary(
    max_size=20
)


@given(st.lists(st.tuples(st.sampled_from([1, 3, 4, 5, 6, 10, 11]), tlv_texts, st.sampled_from([0, 0, 0, -1, 1]))))
def test_cdp_of_any_fields_is_read_or_not(fields: list[tuple[int, bytes, int]]) -> None:
    raw = cdp_holding(b"".join(struct.pack("!HH", kind, 4 + len(v) + off) + v for kind, v, off in fields))
    found = parse(raw)
    assert harmless(found)
    assert found is None or (found.device and found.port)


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 5, 6, 7, 8, 127]), tlv_texts, st.sampled_from([0, 0, 0, -1, 1])))
)
def test_lldp_of_any_fields_is_read_or_not(fields: list[tuple[int, bytes, int]]) -> None:
    tlvs = b"".join(struct.pack("!H", kind << 9 | max(0, len(v) + off)) + v for kind, v, off in fields)
    found = parse(build(Announcement(LLDP, "a", "b", 1), SRC)[:14] + tlvs + b"\0\0")
    assert harmless(found)
    assert found is None or {1, 2, 3} <= {kind for kind, *_ in fields} or any(off for *_, off in fields)
