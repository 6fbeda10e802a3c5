"""RARP and beacons: written as scapy reads them, read whatever comes (NSW-5, NSW-6, BCN-1, BCN-2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Dot1Q, Ether

from traffic.teaming import Beacon, beacon, rarp, read_beacon, virtual_mac

MAC = "00:50:56:01:02:03"
KIND = 0x8922
SHORTEST = 60
SAID = Beacon("00:50:56:51:02:03", "vmnic0", 7)


@pytest.mark.parametrize("vlan", [0, 1, 10, 4094])
def test_nsw_5_nsw_6_rarp_as_scapy_reads_it(vlan: int) -> None:
    raw = rarp(MAC, vlan)
    frame = Ether(raw)
    assert (frame.src, frame.dst) == (MAC, "ff:ff:ff:ff:ff:ff")
    assert (frame[Dot1Q].vlan if vlan else None, frame.haslayer(Dot1Q)) == (vlan or None, int(bool(vlan)))
    assert (frame[Dot1Q] if vlan else frame).type == 0x8035
    body = ARP(raw[18 if vlan else 14 :])
    assert (body.hwtype, body.ptype, body.hwlen, body.plen, body.op) == (1, 0x0800, 6, 4, 3)
    assert (body.hwsrc, body.hwdst, body.psrc, body.pdst) == (MAC, MAC, "0.0.0.0", "0.0.0.0")
    assert len(raw) == SHORTEST + (4 if vlan else 0)


@pytest.mark.parametrize("vlan", [0, 10])
@pytest.mark.parametrize("kind", [0x8922, 0x88B6])
def test_bcn_1_bcn_2_beacon_as_scapy_reads_it(vlan: int, kind: int) -> None:
    raw = beacon(SAID, kind, vlan)
    frame = Ether(raw)
    assert (frame.src, frame.dst) == (SAID.mac, "ff:ff:ff:ff:ff:ff")
    assert (frame[Dot1Q] if vlan else frame).type == kind
    assert frame[Dot1Q].vlan == vlan if vlan else not frame.haslayer(Dot1Q)
    assert len(raw) >= SHORTEST


NUMBERS = st.integers(0, 0xFFFFFFFF)


@given(st.text(max_size=60), NUMBERS, st.sampled_from([0, 20]))
def test_bcn_2_a_beacon_is_read_as_it_was_said(uplink: str, number: int, vlan: int) -> None:
    said = Beacon(SAID.mac, uplink, number)
    assert read_beacon(beacon(said, KIND, vlan)) == said


@given(st.integers(0, len(beacon(SAID, KIND)) - 1))
def test_bcn_2_half_a_beacon_is_none_or_the_whole_one(size: int) -> None:
    """All that follows the name is filling."""
    assert read_beacon(beacon(SAID, KIND)[:size]) in (None, SAID)


@given(st.binary(max_size=200))
def test_read_beacon_takes_any_garbage(raw: bytes) -> None:
    assert read_beacon(raw) is None


@given(st.binary(max_size=80))
def test_read_beacon_takes_garbage_behind_a_good_start(raw: bytes) -> None:
    found = read_beacon(beacon(SAID, KIND)[:24] + raw)
    assert found is None or isinstance(found, Beacon)


@pytest.mark.parametrize("raw", [b"", bytes(14), rarp(MAC), rarp(MAC, 10), bytes(60)])
def test_bcn_2_other_frames_are_no_beacons(raw: bytes) -> None:
    assert read_beacon(raw) is None


@pytest.mark.parametrize(("mac", "expected"), [(MAC, "00:50:56:51:02:03"), ("0c:c4:7a:ff:ee:dd", "00:50:56:5f:ee:dd")])
def test_bcn_2_virtual_mac_has_the_pnics_last_digits(mac: str, expected: str) -> None:
    assert virtual_mac(mac) == expected
