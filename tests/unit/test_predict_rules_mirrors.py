"""Mirroring sessions of all five kinds as the prediction sees them."""

from __future__ import annotations

import pytest
from foretelling import (
    FORGED,
    NESTED,
    NESTED_2,
    UNKNOWN,
    Foretold,
    copies,
    ends,
    heard,
    leaving,
    mirrored,
    places,
    pswitch_ports,
    why,
)
from foretold_labs import mirroring, mirrors, rdst, rspan, tap

from lab.frame import BROADCAST, DropReason, Point, Tag

PLAIN = mirroring()


# -- what is copied


def test_mir_1_what_a_port_transmits() -> None:
    said = tap().ask("web1", "web2")
    assert copies(said) == [("ids1", (10,)), ("web2", ())]
    assert {"MIR-1", "MIR-8"} <= why(said, Point.VNIC_OUT, "ids1")
    assert heard(tap().ask("web2", "web1"), "ids1") == []
    assert heard(PLAIN.ask("web1", "web2"), "ids1") == []


def test_mir_1_what_a_port_receives() -> None:
    for sender in ("web2", "web3", "m1"):
        assert heard(tap(sources="received: [web1]").ask(sender, "web1"), "ids1") == [(10,)]
    assert heard(tap(sources="received: [web1]").ask("web1", "web2"), "ids1") == []
    assert heard(tap(sources="received: [web1]").ask("web2", "m1"), "ids1") == []


def test_mir_1_a_local_frame_between_two_sources_is_copied_twice() -> None:
    both = tap(sources="transmitted: [web1, web2], received: [web1, web2]")
    assert heard(both.ask("web1", "web2"), "ids1") == [(10,), (10,)]
    assert heard(both.ask("web1", "spy"), "ids1") == [(10,)]
    assert heard(both.ask("web1", "m1"), "ids1") == [(10,)]


def test_mir_1_a_broadcast_is_copied_for_each_port_that_receives_it() -> None:
    both = tap(sources="transmitted: [web1], received: [web2, spy]")
    here = [h for h in both.ask("web1", BROADCAST).hops if h.node == "ids1" and h.parent == 1]
    assert len(here) == 3


def test_mir_1_two_sessions_are_two_copies() -> None:
    two = mirroring(
        "a: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [ids1]}},"
        "b: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [ids1]}}"
    )
    assert heard(two.ask("web1", "web2"), "ids1") == [(10,), (10,)]


def test_mir_1_the_copy_is_a_hop_of_its_own_after_the_frame_came_in() -> None:
    said = tap().ask("web1", "web2")
    assert places(said) == [
        ("web1", "VnicTx", "eth0", (), True),
        ("web1", "PortInput", "web1.eth0", (), True),
        ("ids1", "VnicOut", "ids1.eth0", (10,), True),
        ("ids1", "VnicRx", "eth0", (10,), True),
        ("web2", "VnicOut", "web2.eth0", (), True),
        ("web2", "VnicRx", "eth0", (), True),
    ]
    assert [h.parent for h in said.hops] == [None, 0, 1, 2, 1, 4]
    came_in = tap(sources="received: [web1]").ask("m1", "web1")
    (copy,) = mirrored(came_in)
    assert came_in.hops[copy.parent or 0].point is Point.UPLINK_RCV


def test_mir_1_vmknics_are_mirrored_and_mirrored_to() -> None:
    vmk = tap(sources="transmitted: [esx1.vmk0], received: [esx1.vmk0]")
    assert heard(vmk.ask("esx1.vmk0", "esx2.vmk0"), "ids1") == [(5,)]
    assert heard(vmk.ask("esx2.vmk0", "esx1.vmk0"), "ids1") == [(5,)]
    assert heard(tap(ports="esx1.vmk0").ask("web1", "web2"), "esx1.vmk0") == [(10,)]


@pytest.mark.parametrize(
    ("to", "src", "copied"), [("web2", None, 1), ("web1", None, 1), (UNKNOWN, None, 1), ("web2", FORGED, 0)]
)
def test_mir_8_the_copy_is_taken_after_what_the_port_refuses_and_before_lookup(
    to: str, src: str | None, copied: int
) -> None:
    assert len(heard(tap().ask("web1", to, src=src), "ids1")) == copied


def test_mir_8_what_mac_learning_refuses_is_not_copied() -> None:
    session = tap(sources="transmitted: [nest]").after("nest", "web1", src=NESTED)
    refused = session.ask("nest", "web1", src=NESTED_2)
    assert (ends(refused), copies(refused)) == ({("esx1", "nest", DropReason.MAC_LIMIT)}, [])
    assert heard(session.ask("nest", "web1", src=NESTED), "ids1") == [(10,)]


def test_mir_8_what_is_stopped_on_the_way_out_is_not_received() -> None:
    session = tap(sources="received: [web1]")
    moved = session.renamed("web1", UNKNOWN)
    assert heard(session.ask("web2", "web1"), "ids1") == [(10,)]
    assert heard(moved.ask("web2", "web1"), "ids1") == []
    filtered = session.ask("web2", BROADCAST)
    assert len(heard(filtered, "ids1")) == len(heard(filtered, "web1"))


def test_sec_2_a_promiscuous_copy_is_mirrored_like_any_that_a_port_receives() -> None:
    session = tap(sources="received: [spy]")
    assert heard(session.listening("spy").ask("web1", "web2"), "ids1") == [(10,)]
    assert heard(session.ask("web1", "web2"), "ids1") == []


# -- what a copy looks like


def test_mir_2_a_copy_has_its_original_tag_unless_it_is_stripped() -> None:
    assert heard(tap().ask("web1", "web2"), "ids1") == [(10,)]
    assert heard(tap(", strip_vlan: true").ask("web1", "web2"), "ids1") == [()]
    inner = tap(sources="transmitted: [trunk1]")
    assert heard(inner.ask("trunk1", "web2", 10, 77), "ids1") == [(10, 77)]


@pytest.mark.parametrize(("how", "tags"), [("", (999, 10)), (", strip_vlan: true", (999,))])
def test_mir_2_the_encapsulation_vlan_is_in_front(how: str, tags: tuple[int, ...]) -> None:
    said = rspan(how).ask("web1", "web2")
    assert leaving(said, "esx1") == [("vmnic1", tags)]
    assert {"MIR-2", "MIR-7"} <= why(said, Point.UPLINK_SND, "vmnic1")
    assert heard(said, "probe") == [tags[1:]]
    assert leaving(PLAIN.ask("web1", "web2"), "esx1") == []


def test_mir_2_the_priority_stays_with_the_original_tag() -> None:
    said = rspan().ask("web1", "web2", Tag(0, 5))
    assert [h.vlans for h in said.hops if h.point is Point.UPLINK_SND] == [(Tag(999), Tag(10, 5))]


@pytest.mark.parametrize(("length", "certain"), [(60, False), (99, False), (100, True), (9000, True), (None, True)])
def test_mir_3_a_copy_that_is_cut_short_may_not_be_told(length: int | None, certain: bool) -> None:
    cut = f", length: {length}" if length else ""
    for session, name in ((tap(cut), "ids1"), (rspan(cut), "probe")):
        said = session.ask("web1", "web2")
        assert [who for who, _ in copies(said, certain)] == ([name, "web2"] if certain else [name])
        assert ("MIR-3" in said.statements) is (length is not None)
        assert (name in {h.node for h in said.possible}, f"{name}.eth0" in said.receivers) == (
            not certain,
            certain and name == "ids1",
        )
    after = rspan(cut).after("web1", "web2").state
    assert after.mac_tables["tor1"][999, PLAIN.mac("web1")] == "esx1-vmnic1"


# -- destination ports


def test_mir_4_a_destination_without_normal_traffic_takes_and_gives_nothing_else() -> None:
    session = tap(ports="web2")
    sent = session.ask("web2", "web1")
    assert (copies(sent), ends(sent)) == ([], {("esx1", "web2", DropReason.MIRROR_DESTINATION)})
    got = session.ask("spy", "web2")
    assert (copies(got), ends(got)) == ([], {("esx1", "web2", DropReason.MIRROR_DESTINATION)})
    assert "MIR-4" in got.statements
    assert ("esx1", "web2", DropReason.MIRROR_DESTINATION) in ends(session.ask("spy", BROADCAST))
    assert heard(session.ask("web1", "spy"), "web2") == [(10,)]


def test_mir_4_with_normal_traffic_it_is_a_port_like_others() -> None:
    session = tap(", normal_traffic: true", ports="web2")
    assert heard(session.ask("web2", "web1"), "web1") == [()]
    assert heard(session.ask("spy", "web2"), "web2") == [()]
    assert heard(session.ask("web1", "web2"), "web2") == [(), (10,)]


def test_mir_4_one_session_without_normal_traffic_is_enough() -> None:
    two = mirroring(
        "a: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [web2]}, normal_traffic: true},"
        "b: {type: dvPortMirror, from: {transmitted: [spy]}, to: {ports: [web2]}}"
    )
    assert heard(two.ask("trunk1", "web2", 10), "web2") == []


def test_mir_1_a_destination_must_be_on_this_host_connected_and_not_blocked() -> None:
    assert heard(tap(ports="ids2").ask("web1", "web2"), "ids2") == []
    assert heard(tap(ports="ids2, ids1").ask("web1", "web2"), "ids1") == [(10,)]
    session = "tap: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [ids1]}}"
    for wrong in ("connected: false", "blocked: true"):
        told = mirrors(session).replace("ids1: {host: esx1, networks: [ids]}",
                                     f"ids1: {{host: esx1, networks: [{{port_group: ids, {wrong}}}]}}")  # fmt: skip
        said = Foretold.of(told).ask("web1", "web2")
        assert (heard(said, "ids1"), mirrored(said), heard(said, "web2")) == ([], [], [()])


def test_a_copy_ends_at_the_port_of_a_guest_without_carrier() -> None:
    session = tap()
    said = session.dark(session.port("ids1")).ask("web1", "web2")
    assert [h.point for h in said.hops if h.node == "ids1"] == [Point.VNIC_OUT]


# -- to the wire


@pytest.mark.parametrize("down", [(), (("esx1", "vmnic1"),), (("esx1", "vmnic0"), ("esx1", "vmnic1"))], ids=len)
def test_mir_1_a_copy_goes_to_the_uplinks_whose_link_is_up(down: tuple[tuple[str, str], ...]) -> None:
    said = rspan(uplinks="uplink1, uplink2").dark(*down).ask("web1", "web2")
    up = [u for u in ("vmnic0", "vmnic1") if ("esx1", u) not in down]
    assert leaving(said, "esx1") == [(u, (999, 10)) for u in up]
    assert heard(said, "web2") == [()]


def test_mir_1_a_copy_goes_back_to_the_uplink_that_the_frame_came_from() -> None:
    session = rspan(sources="received: [web1]", uplinks="uplink1, uplink2")
    said = session.ask("m1", "web1")
    assert session.uplink("web1") in ("vmnic0", "vmnic1")
    assert leaving(said, "esx1") == [("vmnic0", (999, 10)), ("vmnic1", (999, 10))]
    assert leaving(PLAIN.ask("m1", "web1"), "esx1") == []


def test_mir_7_a_pswitch_treats_a_copy_like_any_frame() -> None:
    said = rspan().ask("web1", "web2")
    assert pswitch_ports(said, "tor1") == ["esx1-vmnic0", "esx2-vmnic0", "probe"]
    table = rspan().after("web1", "web2").state.mac_tables["tor1"]
    assert table[999, PLAIN.mac("web1")] == "esx1-vmnic1"
    assert (999, PLAIN.mac("web1")) not in PLAIN.after("web1", "web2").state.mac_tables["tor1"]
    assert ends(said, "esx1") == {("esx1", "web2", DropReason.VLAN_MISMATCH)}


@pytest.mark.parametrize(("limit", "vlans"), [(1, {999}), (2, {10, 999})])
def test_mir_7_a_copy_takes_a_place_in_the_mac_table(limit: int, vlans: set[int]) -> None:
    session = "rspan: {type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink1]}, vlan: 999}"
    small = Foretold.of(mirrors(session, f"mac_table: {limit}"))
    table = small.after("web1", BROADCAST).state.mac_tables["tor1"]
    assert {vlan for vlan, _ in table} == vlans


def test_mir_1_a_copy_without_encapsulation_moves_the_address_on_the_pswitch() -> None:
    to = "to: {ports: [ids1], uplinks: [uplink1]}"
    old = mirroring(f"old: {{type: mixedDestMirror, from: {{transmitted: [web1]}}, {to}}}")
    said = old.ask("web1", "web2")
    assert (leaving(said, "esx1"), heard(said, "ids1")) == ([("vmnic0", (10,))], [(10,)])
    assert old.state.mac_tables["tor1"][10, PLAIN.mac("web1")] == "esx1-vmnic1"
    assert said.mac_tables["tor1"][10, PLAIN.mac("web1")] == "esx1-vmnic0"


def test_mir_1_a_mixed_session_has_ports_and_uplinks() -> None:
    to = "to: {ports: [ids1], uplinks: [uplink1]}, vlan: 999"
    said = mirroring(f"old: {{type: mixedDestMirror, from: {{received: [web2]}}, {to}}}").ask("web1", "web2")
    assert heard(said, "ids1") == [(999, 10)]
    assert leaving(said, "esx1") == [("vmnic0", (999, 10))]


# -- from the wire


@pytest.mark.parametrize(("how", "tags"), [("", (20,)), (", strip_vlan: true", ())])
def test_mir_1_a_remote_destination_takes_its_vlan_from_any_uplink(how: str, tags: tuple[int, ...]) -> None:
    said = rdst(how).ask("trunk1", UNKNOWN, 20)
    assert heard(said, "ids2") == [tags]
    assert ends(said, "esx2") == {("esx2", "vmnic0", DropReason.UNKNOWN_UNICAST)}
    assert heard(rdst(how).ask("trunk1", UNKNOWN, 10), "ids2") == []
    assert heard(PLAIN.ask("trunk1", UNKNOWN, 20), "ids2") == []


def test_mir_1_a_remote_destination_sees_no_frame_that_stays_on_its_host() -> None:
    session = mirroring("rdst: {type: remoteMirrorDest, from: {vlans: [10]}, to: {ports: [ids1]}}")
    assert heard(session.ask("web1", "web2"), "ids1") == []
    assert heard(session.ask("m1", "web2"), "ids1") == [(10,)]


def test_mir_1_a_copy_that_came_by_the_wire_arrives_with_its_inner_tag() -> None:
    both = mirroring(
        "rspan: {type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink1]}, vlan: 999},"
        "rdst: {type: remoteMirrorDest, from: {vlans: [999]}, to: {ports: [ids2]}, strip_vlan: true}"
    )
    assert heard(both.ask("web1", "web2"), "ids2") == [(10,)]


def test_mir_13_a_discovery_frame_is_not_copied_from_the_wire() -> None:
    session = mirroring("rdst: {type: remoteMirrorDest, from: {vlans: [10]}, to: {ports: [ids1]}}")
    assert heard(session.ask("m1", "01:80:c2:00:00:0e"), "ids1") == []
    assert heard(session.ask("m1", "01:80:c2:00:00:00"), "ids1") == [(10,), (10,)]  # on both uplinks
