"""Layer-2 security, multicast and MAC learning as the prediction sees them, each rule with its negative twin."""

from __future__ import annotations

import pytest
from foretelling import (
    FORGED,
    GROUP,
    NEW,
    UNKNOWN,
    Foretold,
    copies,
    ends,
    heard,
    leaving,
    local,
    reason,
    why,
)
from foretold_labs import RULES

from lab.frame import ALL_SYSTEMS, BROADCAST, CDP_MAC, LLDP_MAC, DropReason, Point, Tag

BPDU, PVST = "01:80:c2:00:00:00", "01:00:0c:cc:cc:cd"
COLD = Foretold.of(RULES)
LAB = COLD.taught("web1", "web2", "far", "db1", "db2", "spy", "aa", "ar", "ra", "rr", "other", "gw", "gw2")
SPYING = LAB.listening("spy", "web2")
POLICIES = ("aa", "ar", "ra", "rr")
IN_10 = ["aa", "allow", "ar", "nest", "quiet", "ra", "rr", "spy", "spyall", "strict", "web1", "web2"]
"""Ports of esx1's dvs0 that accept VLAN 10."""


# -- promiscuous ports


def test_sec_1_a_promiscuous_guest_hears_nothing_more_where_the_policy_rejects_it() -> None:
    assert heard(SPYING.ask("web1", "gw"), "web2") == []
    assert heard(SPYING.ask("web1", GROUP), "web2") == []
    assert heard(SPYING.ask("web1", "web2"), "web2") == [()]
    assert len(heard(SPYING.ask("web1", BROADCAST), "web2")) == len(heard(LAB.ask("web1", BROADCAST), "web2"))


@pytest.mark.parametrize("to", ["web2", "gw", "far", UNKNOWN, "web1", GROUP, "db1"])
def test_sec_2_a_promiscuous_port_hears_all_that_is_sent_in_its_vlan(to: str) -> None:
    said = SPYING.ask("web1", to)
    assert local(said).count(("spy", ())) == 1
    assert "SEC-2" in why(said, Point.VNIC_OUT, "spy") or to == GROUP
    assert heard(LAB.ask("web1", to), "spy") == []


def test_sec_2_it_gets_one_copy_of_what_is_for_it_and_none_of_its_own() -> None:
    assert copies(SPYING.ask("web1", "spy")) == [("spy", ())]
    assert "SEC-2" not in SPYING.ask("web1", "spy").statements
    assert copies(SPYING.ask("spy", "web1")) == [("web1", ())]


def test_sec_2_it_hears_what_lookup_then_drops_but_nothing_that_the_port_refused() -> None:
    own = SPYING.ask("web1", "web1")
    assert ends(own) == {("esx1", "web1", DropReason.OWN_PORT)}
    assert copies(own) == [("spy", ())]
    assert copies(SPYING.ask("web1", "web2", src=FORGED)) == []


@pytest.mark.parametrize(
    ("sender", "to", "hears"),
    [
        pytest.param("web1", "gw", 1, id="its VLAN"),
        pytest.param("db1", "db2", 0, id="another VLAN"),
        pytest.param("far", "gw", 0, id="another host, not sent here"),
        pytest.param("other", "gw", 0, id="another vSwitch of the host"),
        pytest.param("gw", "gw2", 0, id="outside to outside"),
    ],
)
def test_sec_3_what_a_promiscuous_port_does_not_see(sender: str, to: str, hears: int) -> None:
    assert len(heard(SPYING.ask(sender, to), "spy")) == hears


@pytest.mark.parametrize("victim", ["web1", "web2"])
def test_sec_4_inbound_only_on_its_own_uplink_when_the_filter_is_on(victim: str) -> None:
    same = LAB.uplink("spy") == LAB.uplink(victim)
    said = SPYING.knobs(reverse_path_promisc=True).ask("gw", victim)
    assert heard(said, "spy") == [()] * same
    assert reason(said, "esx1", "spy") is (None if same else DropReason.REVERSE_PATH)
    assert "SEC-4" in said.statements
    unfiltered = SPYING.ask("gw", victim)
    assert heard(unfiltered, "spy") == [()]
    assert ("SEC-5" in unfiltered.statements) is not same


def test_sec_4_both_uplinks_are_in_use() -> None:
    assert {LAB.uplink("web1"), LAB.uplink("web2")} == {"vmnic0", "vmnic1"}


@pytest.mark.parametrize(("filtered", "times"), [(False, 2), (True, 1)])
def test_sec_5_flooded_frames_arrive_twice_unless_filtered(filtered: bool, times: int) -> None:
    lab = SPYING.knobs(reverse_path_promisc=filtered)
    for to in (BROADCAST, UNKNOWN, GROUP):
        assert len(heard(lab.ask("gw", to), "spy")) == times
    assert len(heard(lab.ask("gw", BROADCAST), "web1")) == 1
    assert len(heard(LAB.ask("gw", BROADCAST), "spy")) == 1


def test_sec_5_reverse_path_off_is_off_for_all() -> None:
    lab = SPYING.knobs(reverse_path=False, reverse_path_promisc=True)
    assert [len(heard(lab.ask("gw", BROADCAST), who)) for who in ("spy", "web1")] == [2, 2]


@pytest.mark.parametrize(("filtered", "times"), [(False, 1), (True, 0)])
def test_sec_6_a_promiscuous_port_gets_its_own_broadcast_back(filtered: bool, times: int) -> None:
    assert len(heard(SPYING.knobs(reverse_path_promisc=filtered).ask("spy", BROADCAST), "spy")) == times
    assert heard(LAB.ask("spy", BROADCAST), "spy") == []


def test_sec_2_the_promiscuous_copy_of_an_unknown_unicast_is_beside_its_drop() -> None:
    said = LAB.listening("spy2").ask("gw", UNKNOWN)
    assert heard(said, "spy2") == [()]
    assert ends(said, "esx2") == {("esx2", "vmnic0", DropReason.UNKNOWN_UNICAST)}
    assert "FWD-5" in why(said, Point.DROP, "vmnic0")
    assert ends(LAB.ask("gw", UNKNOWN), "esx2") == ends(said, "esx2")


def test_vlan_11_vgt_and_promiscuous_sees_every_vlan_with_its_tag() -> None:
    lab = LAB.listening("spyall")
    assert heard(lab.ask("web1", "web2"), "spyall") == [(10,)]
    assert heard(lab.ask("db1", "db2"), "spyall") == [(20,)]
    assert "VLAN-11" in why(lab.ask("db1", "db2"), Point.VNIC_OUT, "spyall")
    assert heard(LAB.ask("web1", "web2"), "spyall") == []


# -- MAC changes, forged transmits


@pytest.mark.parametrize("guest", POLICIES)
def test_sec_7_a_forged_source_passes_where_it_is_accepted_only(guest: str) -> None:
    said = LAB.ask(guest, "web1", src=FORGED)
    passes = guest.endswith("a")
    assert heard(said, "web1") == [()] * passes
    assert ends(said) == (set() if passes else {("esx1", guest, DropReason.FORGED_TRANSMIT)})
    assert ("SEC-7" in said.statements) is not passes
    assert heard(LAB.ask(guest, "web1"), "web1") == [()]


@pytest.mark.parametrize(("compare", "passes"), [("effective", True), ("vmx", False)])
def test_sec_8_what_a_source_is_compared_with(compare: str, passes: bool) -> None:
    lab = LAB.renamed("ar", NEW).knobs(forged_compare=compare)
    assert heard(lab.ask("ar", "web1", src=NEW), "web1") == [()] * passes
    assert ("SEC-8" in lab.ask("ar", "web1", src=NEW).statements) is not passes
    assert heard(lab.ask("ar", "web1", src=lab.mac("ar")), "web1") == [()] * (not passes)


@pytest.mark.parametrize("guest", POLICIES)
@pytest.mark.parametrize("sender", ["web1", "gw"])
def test_sec_9_a_rejected_mac_change_stops_all_that_comes_in(guest: str, sender: str) -> None:
    lab = LAB.renamed(guest, NEW)
    rejected = guest.startswith("r")
    for to in (guest, BROADCAST):
        said = lab.ask(sender, to)
        assert (("esx1", guest, DropReason.MAC_CHANGE) in ends(said)) is rejected
        assert ("SEC-9" in why(said, Point.DROP, guest)) is rejected
        if rejected:
            assert heard(said, guest) == []
    assert heard(LAB.ask(sender, guest), guest) == [()]
    assert len(heard(LAB.ask(sender, BROADCAST), guest)) >= 1


@pytest.mark.parametrize("guest", POLICIES)
def test_sec_10_an_accepted_mac_change_moves_reception(guest: str) -> None:
    lab = LAB.renamed(guest, NEW)
    accepted = guest.startswith("a")
    to_new, to_old = lab.ask("web1", NEW), lab.ask("web1", guest)
    assert copies(to_new) == ([(guest, ())] if accepted else copies(LAB.ask("web1", UNKNOWN)))
    assert ("SEC-10" in to_new.statements) is accepted
    assert heard(to_old, guest) == []
    assert bool(leaving(to_old, "esx1")) is accepted
    assert copies(LAB.ask("web1", guest)) == [(guest, ())]


def test_sec_10_its_own_address_is_the_one_that_was_accepted() -> None:
    for guest, accepted in (("aa", True), ("ra", False)):
        lab = LAB.renamed(guest, NEW)
        own, other = (NEW, lab.mac(guest)) if accepted else (lab.mac(guest), NEW)
        assert ends(lab.ask(guest, own)) == {("esx1", guest, DropReason.OWN_PORT)}
        assert leaving(lab.ask(guest, other), "esx1")


# Guest, receives at its new MAC, sends with its new MAC.
@pytest.mark.parametrize(
    ("guest", "receives", "sends"),
    [("aa", True, True), ("ar", True, True), ("ra", False, True), ("rr", False, False)],
)
def test_sec_11_the_two_policies_are_independent(guest: str, receives: bool, sends: bool) -> None:
    lab = LAB.renamed(guest, NEW)
    assert bool(heard(lab.ask("web1", NEW), guest)) is receives
    assert bool(heard(lab.ask(guest, "web1", src=NEW), "web1")) is sends


def test_sec_12_the_policy_looks_at_the_ethernet_source_only() -> None:
    assert heard(LAB.ask("rr", "web1"), "web1") == [()]
    assert heard(LAB.ask("aa", "web1", src=LAB.mac("web2")), "web1") == [()]
    assert heard(LAB.ask("ar", "web1", src=LAB.mac("web2")), "web1") == []


@pytest.mark.parametrize(("guest", "leaves"), [("aa", True), ("ar", False)])
def test_sec_13_forged_transmits_stop_the_bpdus_of_a_guests_bridge(guest: str, leaves: bool) -> None:
    said = LAB.ask(guest, BPDU, src=FORGED)
    assert bool(leaving(said, "esx1")) is leaves
    assert ("SEC-13" in said.statements) is not leaves
    assert leaving(LAB.ask(guest, BPDU), "esx1")


def test_atk_6_two_ports_with_one_mac_both_get_it() -> None:
    lab = LAB.renamed("aa", LAB.mac("web2"))
    assert copies(lab.ask("web1", "web2")) == [("aa", ()), ("web2", ())]
    assert copies(LAB.ask("web1", "web2")) == [("web2", ())]


@pytest.mark.parametrize(
    ("to", "first"), [("web2", DropReason.FORGED_TRANSMIT), (BPDU, DropReason.FORGED_TRANSMIT), ("web1", None)]
)
def test_sec_7_comes_before_everything_that_looks_at_the_frame(to: str, first: DropReason | None) -> None:
    lab = LAB.knobs(block_guest_bpdu=True)
    said = lab.ask("web1", to, 10, src=FORGED if first else None)
    assert ends(said) == {("esx1", "web1", first or DropReason.DOUBLE_TAG)}


# -- multicast


def test_fwd_19_multicast_goes_to_those_that_asked_and_to_one_uplink() -> None:
    lab = LAB.asked_for(web2=GROUP, db1=GROUP)
    said = lab.ask("web1", GROUP)
    assert local(said) == [("web2", ())]
    assert leaving(said, "esx1") == [(lab.uplink("web1"), (10,))]
    assert {"FWD-19"} <= why(said, Point.VNIC_OUT, "web2") & why(said, Point.UPLINK_SND)
    assert heard(LAB.ask("web1", GROUP), "web2") == []


def test_fwd_19_from_an_uplink_only_those_that_asked() -> None:
    lab = LAB.asked_for(web2=GROUP)
    said = lab.ask("gw", GROUP)
    assert [name for name, _ in copies(said)] == ["gw2", "web2"]
    nobody = LAB.ask("gw", GROUP)
    assert [name for name, _ in copies(nobody)] == ["gw2"]
    dropped = {i for b, i, r in ends(nobody, "esx1", "esx2") if r is DropReason.NO_RECEIVER}
    assert dropped == {"vmnic0", "vmnic1", "vmnic2"}
    assert "FWD-19" in why(nobody, Point.DROP, "vmnic0")


def test_fwd_19_a_guest_that_asked_for_all_gets_all_and_every_guest_gets_all_systems() -> None:
    everything = LAB.given(all_groups=frozenset({LAB.port("web2")}))
    assert heard(everything.ask("rr", GROUP), "web2")
    assert not heard(LAB.ask("rr", GROUP), "web2")
    assert heard(LAB.ask("rr", ALL_SYSTEMS), "web2")


def test_fwd_6_a_broadcast_reaches_every_port_of_the_vlan() -> None:
    here = [(name, (10,) if name == "spyall" else ()) for name in IN_10 if name != "web1"]
    assert local(LAB.ask("web1", BROADCAST)) == here


@pytest.mark.parametrize("to", [BPDU, PVST])
def test_fwd_15_a_bpdu_is_a_multicast_like_others(to: str) -> None:
    lab = LAB.asked_for(web2=to)
    assert ("web2", ()) in copies(lab.ask("gw", to))
    assert "FWD-15" in why(lab.ask("gw", to), Point.VNIC_OUT, "web2")
    assert heard(LAB.ask("gw", to), "web2") == []
    assert heard(SPYING.ask("gw", to), "spy")


@pytest.mark.parametrize("to", [BPDU, PVST])
def test_fwd_16_a_blocked_bpdu_is_on_no_uplink_and_no_port(to: str) -> None:
    said = SPYING.knobs(block_guest_bpdu=True).ask("web1", to)
    assert (ends(said), copies(said)) == ({("esx1", "web1", DropReason.GUEST_BPDU)}, [])
    assert leaving(SPYING.ask("web1", to), "esx1")
    assert leaving(SPYING.knobs(block_guest_bpdu=True).ask("web1", LLDP_MAC), "esx1")


@pytest.mark.parametrize("to", [CDP_MAC, LLDP_MAC])
def test_mir_13_discovery_frames_pass_outwards_and_not_inwards(to: str) -> None:
    lab = SPYING.given(all_groups=frozenset({LAB.port("web2")}))
    said = lab.ask("gw", to)
    assert {(b, i) for b, i, r in ends(said) if r is DropReason.DISCOVERY} == {
        ("esx1", "vmnic0"), ("esx1", "vmnic1"), ("esx1", "vmnic2"), ("esx2", "vmnic0"),
    }  # fmt: skip
    assert copies(said) == [("gw2", ())]
    out = lab.ask("web1", to)
    assert [name for name, _ in copies(out)] == ["gw", "gw2", "spy", "web2"]
    assert "MIR-13" in why(out, Point.UPLINK_SND)


def test_vlan_4_a_mac_of_another_vlan_is_dropped_at_its_owner_though_others_would_be_flooded_to() -> None:
    said = LAB.given(mac_tables={}).ask("gw", "db1")
    assert ("esx1", "db1", DropReason.VLAN_MISMATCH) in ends(said)
    assert heard(said, "nest") == []
    (drop,) = [h for h in said.drops if h.reason is DropReason.VLAN_MISMATCH and h.interface == "db1.eth0"][:1]
    assert (drop.direction, drop.node, drop.switch, drop.statements) == ("out", "db1", "dvs0", ("VLAN-4",))


def test_vlan_14_a_priority_stays_with_the_tag_only() -> None:
    said = LAB.ask("web1", "far", Tag(0, 5))
    assert {hop.vlans for hop in said.hops if hop.point is Point.UPLINK_SND} == {(Tag(10, 5),)}
    assert {hop.vlans for hop in said.hops if hop.point is Point.VNIC_RX} == {()}
