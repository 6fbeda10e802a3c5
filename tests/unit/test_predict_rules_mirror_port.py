"""Copies that leave by a host's mirror port, and what mirroring leaves as it is."""

from __future__ import annotations

import pytest
from foretelling import UNKNOWN, Foretold, copies, heard, places, why
from foretold_labs import l3, mirroring, mirrors, rspan, tap

from lab.frame import BROADCAST, Point, Tag

PLAIN = mirroring()


def test_mir_5_a_sampled_copy_goes_to_the_mirror_port_and_perhaps_on() -> None:
    said = tap(", sampling: 10").ask("web1", "web2")
    assert places(said)[2:8] == [
        ("esx1-vmk", "VmkOut", "dvs0.mirror", (1, 10), True),
        ("esx1-vmk", "VmkRx", "dvs0.mirror", (1, 10), True),
        ("esx1-vmk", "VmkTx", "dvs0.mirror", (1, 10), False),
        ("esx1-vmk", "PortInput", "dvs0.mirror", (1, 10), False),
        ("ids1", "VnicOut", "ids1.eth0", (10,), False),
        ("ids1", "VnicRx", "eth0", (10,), False),
    ]
    assert [h.parent for h in said.hops[2:8]] == [1, 2, 3, 4, 5, 6]
    assert "MIR-5" in why(said, Point.VMK_OUT)
    assert said.receivers == ("web2.eth0",)
    assert [h.node for h in said.possible] == ["esx1-vmk", "esx1-vmk", "ids1", "ids1"]
    assert tap(", sampling: 1").ask("web1", "web2").possible == ()


def test_mir_5_all_that_follows_a_sampled_copy_is_uncertain() -> None:
    sampled, every = rspan(", sampling: 2"), rspan()
    said = sampled.ask("web1", "web2")
    after = [h for h in said.hops if h.vlans[:1] == (Tag(999),) or h.node == "probe" or h.reason]
    assert len(after) > 5 and not any(h.certain for h in after)
    assert not any(h in said.wire for h in after)
    assert [who for who, _ in copies(said, False)] == [
        who for who, _ in copies(every.ask("web1", "web2")) if who == "probe"
    ]
    assert said.state_after(sampled.state) is sampled.state
    assert every.ask("web1", "web2").state_after(every.state) is not every.state


@pytest.mark.parametrize(("sampling", "secured"), [(1, {10, 999}), (2, {10})])
def test_mir_5_nothing_is_taught_by_a_copy_that_may_not_be(sampling: int, secured: set[int]) -> None:
    to = f"to: {{uplinks: [uplink1]}}, vlan: 999, sampling: {sampling}"
    session = f"rspan: {{type: remoteMirrorSource, from: {{transmitted: [web1]}}, {to}}}"
    state = Foretold.of(mirrors(session, "port_security: 9")).after("web1", BROADCAST).state
    assert {vlan for vlan, _ in state.secured["tor1"]} == secured
    assert {vlan for vlan, _ in state.mac_tables["tor1"]} == secured


@pytest.mark.parametrize("encapsulation", ["gre", "erspan2", "erspan3"])
def test_mir_6_a_copy_to_an_address_is_foretold_as_far_as_the_mirror_port(encapsulation: str) -> None:
    session = l3(f", encapsulation: {encapsulation}", "transmitted: [web1], received: [web2]")
    said = session.ask("web1", "web2")
    assert copies(said) == [("esx1.dvs0.mirror", (1, 10))] * 2 + [("web2", ())]
    assert "MIR-6" in why(said, Point.VMK_OUT)
    assert (said.receivers, said.possible) == (("web2.eth0",), ())
    assert copies(session.ask("web1", "spy")) == [("esx1.dvs0.mirror", (1, 10)), ("spy", ())]
    assert copies(l3("", "received: [web3]").ask("m1", "web3")) == [("esx2.dvs0.mirror", (1, 10)), ("web3", ())]


def test_mir_6_sessions_are_told_apart_by_their_place_in_the_list() -> None:
    three = mirroring(
        "a: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [ids1]}},"
        "b: {type: encapsulatedRemoteMirrorSource, from: {transmitted: [web1]}, to: {addresses: [10.0.5.9]},"
        " strip_vlan: true},"
        "c: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [ids1]}, sampling: 3}"
    )
    assert heard(three.ask("web1", "web2"), "esx1.dvs0.mirror") == [(2,), (3, 10)]


def test_mir_6_one_copy_for_each_session_however_many_addresses_and_ports() -> None:
    addresses = "to: {addresses: [10.0.5.9, 10.0.5.10]}"
    many = mirroring(f"l3: {{type: encapsulatedRemoteMirrorSource, from: {{transmitted: [web1]}}, {addresses}}}")
    assert heard(many.ask("web1", "web2"), "esx1.dvs0.mirror") == [(1, 10)]
    ports = tap(", sampling: 4", ports="ids1, spy")
    assert heard(ports.ask("web1", "web2"), "esx1.dvs0.mirror") == [(1, 10)]
    assert {who for who, _ in copies(ports.ask("web1", "web2"), False)} == {"ids1", "spy"}


def test_mir_1_a_copy_is_never_mirrored_again() -> None:
    chain = mirroring(
        "a: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [web2]}, normal_traffic: true},"
        "b: {type: dvPortMirror, from: {received: [web2]}, to: {ports: [ids1]}}"
    )
    assert copies(chain.ask("web1", "spy")) == [("spy", ()), ("web2", (10,))]
    assert heard(chain.ask("spy", "web2"), "ids1") == [(10,)]


def test_mir_1_a_session_is_of_its_switch_and_host() -> None:
    session = tap(sources="transmitted: [web1, web3]", ports="ids1, ids2")
    assert heard(session.ask("web3", "web1"), "ids1") == []
    assert heard(session.ask("web3", "web1"), "ids2") == [(10,)]


def test_a_mirror_changes_nothing_for_the_frame_itself() -> None:
    for sender, to in (("web1", "web2"), ("web1", "web3"), ("web1", BROADCAST), ("m1", "web1")):
        said = tap(sources="transmitted: [web1], received: [web1]").ask(sender, to)
        assert [place for place in places(said) if place[0] != "ids1"] == places(PLAIN.ask(sender, to))


def test_mir_2_a_copy_of_what_goes_out_in_a_private_vlan_has_the_secondary_id() -> None:
    told = mirrors("tap: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [ids1]}}")
    private = Foretold.of(told.replace("web: {vlan: 10}", "web: {pvlan: 20}"))
    assert heard(private.ask("web1", UNKNOWN), "ids1") == [(20,)]
