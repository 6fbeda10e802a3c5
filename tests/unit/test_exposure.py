"""Who could have seen a frame, by prediction alone; each remedy that is named closes the way that it is named for."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.client import Place, places_of
from lab.frame import BROADCAST, Frame, Tag
from lab.predict import Predictor
from lab.predict.clear import in_clear
from lab.predict.exposure import Flow, could_see
from lab.predict.passing import CouldSee
from lab.state import State
from lab.teaming import initial_state
from lab.topology.edit import Edition, edits_of, first_edition, settings_of

ROOT = Path(__file__).resolve().parents[2]
FILES = ("sniffing", "where-is-my-data", "two-uplinks", "trunk-vgt", "private-vlan", "two-hosts", "teaming")


def edition(name: str, *changes: tuple[str, str]) -> Edition:
    text = (ROOT / "topologies" / f"{name}.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return first_edition(text, name)


def flow(places: dict[str, Place], sender: str, receiver: str, **look: object) -> Flow:
    frame = Frame(places[sender].mac, places[receiver].mac, (), 0x0800, bytes(60))
    return Flow(sender, receiver, replace(frame, **look))


def exposed(used: Edition, sender: str, receiver: str, state: State | None = None, **look: object) -> list[CouldSee]:
    topology = used.topology
    return list(
        could_see(topology, state or initial_state(topology), flow(places_of(topology), sender, receiver, **look))
    )


def ways(used: Edition, sender: str, receiver: str, state: State | None = None, **look: object) -> set[tuple[str, str]]:
    found = exposed(used, sender, receiver, state, **look)
    return {(e.node, e.action) for e in found if e.kind in ("guest", "machine")}


def closed(used: Edition, entry: CouldSee) -> Edition:
    """With the remedy carried out as `vlab set` would."""
    words = shlex.split(entry.closes)
    assert words[:2] == ["vlab", "set"]
    what = " ".join(word for word in words[2:] if "=" not in word)
    settings = settings_of([word for word in words[2:] if "=" in word])
    return used.with_edits(edits_of(used, what, settings))


def pairs(used: Edition) -> Iterator[tuple[str, str]]:
    """Ends between which a frame is delivered, two receivers for each sender."""
    topology = used.topology
    places = places_of(topology)
    predictor = Predictor(topology, initial_state(topology))
    for sender in places:
        frames = {to: flow(places, sender, to).frame for to in places if to != sender}
        reached = [to for to, frame in frames.items() if to in predictor.predict(sender, frame).receivers]
        yield from ((sender, to) for to in reached[:2])


@pytest.mark.parametrize("name", FILES)
def test_every_remedy_that_is_named_closes_its_way(name: str) -> None:
    used, tried = edition(name), 0
    for sender, to in pairs(used):
        for entry in (e for e in exposed(used, sender, to) if e.closes):
            tried += 1
            left = {(e.node, e.action, e.after) for e in exposed(closed(used, entry), sender, to)}
            assert (entry.node, entry.action, entry.after) not in left, (sender, to, entry)
    assert tried > 3


def test_sec_2_a_guest_that_may_listen_and_one_that_may_not() -> None:
    accepts, rejects = edition("sniffing"), edition("sniffing", ("promiscuous: accept", "promiscuous: reject"))
    assert ("sniffer", "promiscuous") in ways(accepts, "victim.eth0", "gw")
    assert ("sniffer", "promiscuous") not in ways(rejects, "victim.eth0", "gw")


def test_sec_10_a_guest_that_may_take_the_receivers_mac_and_one_that_may_not() -> None:
    found = ways(edition("sniffing"), "gw", "victim.eth0")
    assert ("sniffer", "mac") in found
    assert ("evil", "mac") not in found  # honest: mac_changes reject


def test_sec_12_arp_spoofing_passes_every_policy_and_needs_a_flow_of_ip() -> None:
    used = edition("sniffing")
    assert ("evil", "arp") in ways(used, "victim.eth0", "gw")
    assert ("evil", "arp") not in ways(used, "victim.eth0", "gw", ethertype=0x88B5)


def test_pvl_2_an_isolated_guest_cannot_spoof_another() -> None:
    used = edition("private-vlan")
    topology = used.topology
    isolated = {n.label for n in topology.vnics if str(topology.port_group(n).vlan).endswith("isolated")}
    sender = min(isolated)
    found = ways(used, sender, "gw")
    assert not {node for node, action in found if action == "arp" and f"{node}.eth0" in isolated}
    assert {node for node, action in found if action == "arp"}


def test_atk_11_a_trunk_port_tags_its_way_into_a_vlan_of_its_range_only() -> None:
    used = edition("trunk-vgt")
    entries = [e for e in exposed(used, "web1.eth0", "web2.eth0") if "ATK-11" in e.statements]
    assert entries
    assert all(e.action == "arp" for e in entries)


def test_atk_7_a_machine_floods_a_pswitch_unless_port_security_limits_it() -> None:
    known = {"tor1": {(10, edition("sniffing").topology.vms["victim"].nics[0].mac): "esx1-vmnic0"}}
    other = ("  gw: {switch: tor1", "  spy: {switch: tor1, access: 10}\n  gw: {switch: tor1")
    secured = ("mac_table: 16", "mac_table: 16, port_security: 4")
    for used, floods in ((edition("sniffing", other), True), (edition("sniffing", other, secured), False)):
        state = replace(initial_state(used.topology), mac_tables=known)
        assert (("spy", "flood") in ways(used, "gw", "victim.eth0", state)) is floods


def test_mir_5_the_port_that_a_session_copies_some_frames_to_and_none_of_a_whole_session() -> None:
    some = edition("port-mirroring", ("to: {ports: [ids1]}}", "to: {ports: [ids1]}, sampling: 2}"))
    (entry,) = (e for e in exposed(some, "web1.eth0", "web2.eth0") if e.action == "sampled")
    assert (entry.node, entry.statements) == ("ids1", ("MIR-5",))
    assert "sampled" not in {action for _, action in ways(closed(some, entry), "web1.eth0", "web2.eth0")}
    assert "sampled" not in {action for _, action in ways(edition("port-mirroring"), "web1.eth0", "web2.eth0")}


def test_team_f_1_boxes_and_cables_of_the_failover_path_and_of_none() -> None:
    found = exposed(edition("where-is-my-data"), "web1.eth0", "web2.eth0")
    assert [e.node for e in found if e.kind == "box" and not e.after and not e.copy] == ["esx1", "tor2", "esx2"]
    assert [e.node for e in found if e.kind == "box" and e.after] == ["tor1"]
    alone = exposed(edition("vlan-isolation"), "web1.eth0", "web2.eth0")
    assert [e.node for e in alone if e.after] == []
    assert [e.node for e in alone if e.kind == "cable"] != []


def test_cables_and_boxes_of_a_flooded_copy_are_told_and_none_once_the_pswitches_know() -> None:
    used = edition("where-is-my-data")
    places, state = places_of(used.topology), initial_state(used.topology)
    copies = {e.node for e in exposed(used, "web1.eth0", "web2.eth0") if e.copy}
    austin = {"tor1:wan1 - wan1:tor1", "wan1:wan2 - wan2:wan1", "wan2:tor3 - tor3:wan2", "wan1", "wan2", "tor3", "esx3"}
    assert copies == austin | {"tor3:esx3-vmnic2 - esx3:vmnic2", "tor3:esx3-vmnic3 - esx3:vmnic3"} | {
        "tor1",
        "tor2:tor1 - tor1:tor2",
        "tor1:esx1-vmnic2 - esx1:vmnic2",
        "tor1:esx2-vmnic2 - esx2:vmnic2",
    }
    said = Predictor(used.topology, state).predict("web2.eth0", Frame(places["web2.eth0"].mac, BROADCAST))
    assert not [e for e in exposed(used, "web1.eth0", "web2.eth0", said.state_after(state)) if e.copy]


def test_the_path_of_what_another_vlan_drops_leads_to_the_port_that_drops_it() -> None:
    found = exposed(edition("where-is-my-data"), "web1.eth0", "db1.eth0")
    cables = [e.node for e in found if e.kind == "cable" and not e.copy]
    assert cables[-1] == "tor1:esx1-vmnic2 - esx1:vmnic2"  # db1 is on the sender's own host
    assert {e.node for e in found if e.kind == "box" and e.copy} == {"esx2", "esx3", "wan1", "wan2", "tor3"}
    other = exposed(edition("where-is-my-data"), "web1.eth0", "db2.eth0")
    assert [e.node for e in other if e.kind == "box" and not e.copy] == ["esx1", "tor2", "esx2"]
    nobody = exposed(edition("where-is-my-data"), "web1.eth0", "nas")  # its VLAN is not the frame's
    assert "tor1" in {e.node for e in nobody if e.kind == "box"}


def test_who_has_it_already_is_no_could_have_seen() -> None:
    used = edition("sniffing")
    listening = replace(initial_state(used.topology), promiscuous=frozenset({("esx1", "sniffer.eth0")}))
    assert "sniffer" not in {node for node, _ in ways(used, "victim.eth0", "gw", listening)}


def test_the_other_vnics_of_the_two_ends_are_no_third_party() -> None:
    two = ("victim: {host: esx1, networks: [web]}", "victim: {host: esx1, networks: [web, sniffers]}")
    assert "victim" not in {node for node, _ in ways(edition("sniffing", two), "victim.eth0", "gw")}
    other = ("evil: {host: esx1, networks: [honest]}", "evil: {host: esx1, networks: [honest, sniffers]}")
    assert ("evil", "promiscuous") in ways(edition("sniffing", other), "victim.eth0", "gw")


def test_vlan_12_a_guest_in_the_native_vlan_is_near_to_one_without_a_vlan() -> None:
    native = ("vmnic0: {switch: tor1, trunk: [10]}", "vmnic0: {switch: tor1, trunk: [10], native: 10}")
    plain = ("web: {vlan: 10}", "web: {vlan: 0}")
    found = exposed(edition("sniffing", native, plain), "victim.eth0", "gw")
    assert ("remote", "arp") in {(e.node, e.action) for e in found}


def test_a_frame_that_is_dropped_in_its_own_host_passes_no_other() -> None:
    dropped = exposed(edition("sniffing"), "victim.eth0", "gw", vlans=(Tag(10),))
    assert [(e.node, e.action) for e in dropped] == [("esx1", "capture")]


IP4 = bytes.fromhex("4500003c0000000040060000") + bytes(8)
TCP = bytes(12) + b"\x50" + bytes(7)
CLEAR = [
    pytest.param(0x0800, IP4 + TCP + b"GET / HTTP/1.0", True, id="HTTP"),
    pytest.param(0x0800, IP4 + TCP + bytes.fromhex("1703030020"), False, id="TLS record"),
    pytest.param(0x0800, IP4[:9] + b"\x32" + IP4[10:], False, id="ESP"),
    pytest.param(
        0x0800, IP4[:9] + b"\x11" + IP4[10:] + bytes(8) + bytes.fromhex("17fefd") + bytes(10), False, id="DTLS"
    ),
    pytest.param(0x86DD, bytes(6) + b"\x32" + bytes(33), False, id="ESP over IPv6"),
    pytest.param(0x88E5, b"", False, id="MACsec"),
    pytest.param(0x88B5, b"\x17\x03\x03\0\0", True, id="no IP"),
    pytest.param(0x0800, IP4[:9], True, id="cut"),
]


@pytest.mark.parametrize(("ethertype", "payload", "clear"), CLEAR)
def test_in_clear_or_encrypted(ethertype: int, payload: bytes, clear: bool) -> None:
    assert in_clear(Frame("02:00:00:00:00:01", "02:00:00:00:00:02", (), ethertype, payload)) is clear
