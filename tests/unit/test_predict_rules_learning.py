"""MAC learning on a host's switch as the prediction sees it, each rule with its negative twin."""

from __future__ import annotations

import pytest
from foretelling import (
    NESTED,
    NESTED_2,
    NESTED_3,
    UNKNOWN,
    Foretold,
    copies,
    ends,
    heard,
    leaving,
    reason,
    why,
)
from foretold_labs import RULES

from lab.frame import DropReason, Point

COLD = Foretold.of(RULES)
LAB = COLD.taught("web1", "web2", "far", "db1", "db2", "spy", "aa", "ar", "ra", "rr", "other", "gw", "gw2")


def table(lab: Foretold) -> dict[tuple[int, str], str]:
    return dict(lab.state.learned.get(("esx1", "dvs0"), {}))


def learned(lab: Foretold, guest: str, *macs: str) -> Foretold:
    for mac in macs:
        lab = lab.after(guest, "gw", src=mac)
    return lab


def test_sec_15_a_source_that_is_not_the_ports_own_is_learned() -> None:
    assert table(learned(LAB, "nest", NESTED)) == {(10, NESTED): "nest.eth0"}
    assert table(LAB.after("nest", "gw")) == {}
    assert table(learned(LAB, "aa", NESTED)) == {}
    assert table(learned(LAB, "nest", "01:00:5e:00:00:09")) == {}


@pytest.mark.parametrize("sender", ["web2", "gw"])
def test_sec_15_a_learned_address_leads_to_its_port(sender: str) -> None:
    lab = learned(LAB, "nest", NESTED)
    said = lab.ask(sender, NESTED)
    assert copies(said) == [("nest", ())]
    assert "SEC-15" in why(said, Point.VNIC_OUT, "nest")
    assert leaving(said, "esx1") == []
    assert "SEC-16" in learned(LAB, "aa", NESTED).ask(sender, NESTED).statements


def test_sec_15_the_port_itself_gets_nothing_back_and_another_vlan_does_not_know_it() -> None:
    lab = learned(LAB, "nest", NESTED, NESTED_2)
    own = lab.ask("nest", NESTED_2, src=NESTED)
    assert ends(own) == {("esx1", "nest", DropReason.OWN_PORT)}
    assert "SEC-15" in own.statements
    assert leaving(lab.ask("db1", NESTED), "esx1") == [(lab.uplink("db1"), (20,))]


def test_sec_15_what_a_frame_teaches_holds_from_the_next_frame_on() -> None:
    first = LAB.ask("nest", NESTED, src=NESTED)
    assert leaving(first, "esx1") == [(LAB.uplink("nest"), (10,))]
    known = learned(LAB, "nest", NESTED)
    assert ends(known.ask("nest", NESTED, src=NESTED)) == {("esx1", "nest", DropReason.OWN_PORT)}


@pytest.mark.parametrize(("guest", "passes"), [("nest", False), ("allow", True)])
def test_sec_15_above_the_limit(guest: str, passes: bool) -> None:
    full = learned(LAB, guest, NESTED, NESTED_2)
    assert len(table(full)) == 2
    said = full.ask(guest, "web1", src=NESTED_3)
    assert heard(said, "web1") == [()] * passes
    assert ends(said) == (set() if passes else {("esx1", guest, DropReason.MAC_LIMIT)})
    assert said.state_after(full.state) is full.state
    for known in (NESTED, NESTED_2, full.mac(guest)):
        assert heard(full.ask(guest, "web1", src=known), "web1") == [()]


def test_sec_15_an_address_moves_unless_its_new_port_is_full() -> None:
    moved = learned(learned(LAB, "nest", NESTED, NESTED_2), "quiet", NESTED)
    assert table(moved) == {(10, NESTED): "quiet.eth0", (10, NESTED_2): "nest.eth0"}
    assert heard(moved.ask("nest", "web1", src=NESTED_3), "web1") == [()]
    refused = learned(learned(LAB, "nest", NESTED, NESTED_2), "quiet", NESTED_3).ask("nest", "web1", src=NESTED_3)
    assert ends(refused) == {("esx1", "nest", DropReason.MAC_LIMIT)}


@pytest.mark.parametrize(("sender", "to_uplink"), [("web1", True), ("gw", False)])
def test_sec_16_unknown_unicast_is_flooded_to_ports_that_have_both(sender: str, to_uplink: bool) -> None:
    said = LAB.ask(sender, UNKNOWN)
    guests = {name for name, _ in copies(said) if name not in ("gw", "gw2")}
    assert guests == {"nest", "allow", "strict"}
    assert "SEC-16" in why(said, Point.VNIC_OUT, "nest")
    assert bool(leaving(said, "esx1")) is to_uplink
    assert {i for _, i, r in ends(said, "esx1") if r is DropReason.UNKNOWN_UNICAST} == {"vmnic2"}
    assert reason(LAB.ask(sender, UNKNOWN), "esx2", "vmnic0") is DropReason.UNKNOWN_UNICAST


def test_sec_16_never_back_to_the_sender_and_not_to_another_vlan() -> None:
    said = LAB.ask("nest", UNKNOWN)
    assert {name for name, _ in copies(said)} == {"allow", "strict", "gw", "gw2"}
    in_20 = LAB.ask("db1", UNKNOWN, src=None)
    assert {name for name, _ in copies(in_20)} == {"nestdb"}


def test_sec_18_learning_needs_forged_transmits() -> None:
    assert ends(LAB.ask("strict", "gw", src=NESTED)) == {("esx1", "strict", DropReason.FORGED_TRANSMIT)}
    assert table(LAB.after("strict", "gw", src=NESTED)) == {}


def test_fwd_17_nothing_is_learned_behind_a_port_that_is_not_there() -> None:
    stale = LAB.given(learned={("esx1", "dvs0"): {(10, NESTED): "gone.eth0"}})
    assert leaving(stale.ask("web1", NESTED), "esx1")
    there = LAB.given(learned={("esx1", "dvs0"): {(10, NESTED): "nest.eth0"}})
    assert leaving(there.ask("web1", NESTED), "esx1") == []
