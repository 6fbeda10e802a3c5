"""What physical switches do beside forwarding, as the prediction sees it."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from foretelling import FORGED, GROUP, NEW, UNKNOWN, Foretold, copies, ends, heard, pswitch_ports, why

from lab.frame import BPDU_MACS, BROADCAST, CDP_MAC, LLDP_MAC, DropReason, Frame, Point
from lab.predict import Predictor


def text(settings: str = "", cables: str = "[tor1, tor2]") -> str:
    cabling = ", ".join(f"{{ends: {ends}, trunk: [10, 20]}}" for ends in cables.split(";"))
    return f"""
name: pswitches
release: "5.0"
physical_switches: {{tor1: {{{settings}}}, tor2: {{{"stp: true" if "stp" in settings else ""}}}}}
cables: [{cabling}]
hosts:
  esx1: {{uplinks: {{vmnic0: {{switch: tor1, trunk: [10, 20]}}, vmnic1: {{switch: tor1, trunk: [10]}}}}}}
distributed_switches:
  dvs0:
    uplinks: {{esx1: [vmnic0]}}
    security: {{promiscuous: accept, forged_transmits: accept}}
    port_groups: {{web: {{vlan: 10}}, db: {{vlan: 20}}, trunk: {{vlan: [10, 20]}}}}
vms:
  web1: {{host: esx1, networks: [web]}}
  web2: {{host: esx1, networks: [web]}}
  trunk1: {{host: esx1, networks: [trunk]}}
machines:
  m1: {{switch: tor1, access: 10}}
  m2: {{switch: tor1, access: 10}}
  m3: {{switch: tor2, access: 10}}
"""


def lab(settings: str = "", **how: str) -> Foretold:
    return Foretold.of(text(settings, **how))


def macs(said: Foretold, switch: str = "tor1") -> dict[tuple[int, str], str]:
    return dict(said.state.mac_tables.get(switch, {}))


# -- the MAC table


def test_atk_7_a_full_table_learns_nothing_new_and_floods() -> None:
    full = lab("mac_table: 2").taught("m1", "web1", "m2", "m3")
    assert set(macs(full)) == {(10, full.mac("m1")), (10, full.mac("web1"))}
    assert pswitch_ports(full.ask("m1", "m2"), "tor1") == ["esx1-vmnic0", "esx1-vmnic1", "m2", "tor2"]
    assert pswitch_ports(full.ask("m2", "m1"), "tor1") == ["m1"]
    roomy = lab().taught("m1", "web1", "m2", "m3")
    assert len(macs(roomy)) == 4
    assert pswitch_ports(roomy.ask("m1", "m2"), "tor1") == ["m2"]


def test_atk_7_the_other_switches_have_tables_of_their_own() -> None:
    full = lab("mac_table: 1").taught("m1", "m2")
    assert (len(macs(full)), len(macs(full, "tor2"))) == (1, 2)


def test_a_move_overwrites_also_when_the_table_is_full() -> None:
    full = lab("mac_table: 1").taught("m1").after("m2", BROADCAST, src=lab().mac("m1"))
    assert macs(full) == {(10, full.mac("m1")): "m2"}


def test_the_limit_counts_what_one_frame_has_taught_in_two_vlans() -> None:
    one = lab("mac_table: 1").after("trunk1", BROADCAST, 10).after("trunk1", BROADCAST, 20)
    assert set(macs(one)) == {(10, one.mac("trunk1"))}
    both = lab("mac_table: 2").after("trunk1", BROADCAST, 10).after("trunk1", BROADCAST, 20)
    assert {vlan for vlan, _ in macs(both)} == {10, 20}


# -- BPDU guard


@pytest.mark.parametrize("bpdu", BPDU_MACS)
@pytest.mark.parametrize(("sender", "port"), [("m1", "m1"), ("web1", "esx1-vmnic0")])
def test_atk_8_bpdu_guard_stops_a_bpdu_at_an_edge_port(bpdu: str, sender: str, port: str) -> None:
    said = lab("bpdu_guard: true").ask(sender, bpdu)
    assert ends(said, "tor1") == {("tor1", port, DropReason.PSWITCH_BPDU_GUARD)}
    assert "ATK-8" in why(said, Point.DROP)
    assert macs(lab("bpdu_guard: true").after(sender, bpdu)) == {}
    assert heard(lab().ask(sender, bpdu), "m2") == [()]
    assert heard(lab("bpdu_guard: true").ask(sender, BROADCAST), "m2") == [()]


def test_atk_8_a_cable_between_pswitches_has_no_guard() -> None:
    assert heard(lab("bpdu_guard: true").ask("m3", BPDU_MACS[0]), "m1") == [()]


# -- port security


def test_port_security_lets_as_many_macs_in_as_it_may() -> None:
    secured = lab("port_security: 2").taught("web1", "web2")
    assert dict(secured.state.secured["tor1"]) == {
        (10, secured.mac("web1")): "esx1-vmnic0",
        (10, secured.mac("web2")): "esx1-vmnic0",
    }
    refused = secured.ask("web1", "m1", src=FORGED)
    assert ends(refused) == {("tor1", "esx1-vmnic0", DropReason.PSWITCH_PORT_SECURITY)}
    assert refused.state_after(secured.state) is secured.state
    assert heard(secured.ask("web1", "m1"), "m1") == [()]
    assert heard(lab("port_security: 3").taught("web1", "web2").ask("web1", "m1", src=FORGED), "m1") == [()]
    assert dict(lab().taught("web1").state.secured) == {}


def test_port_security_counts_an_address_in_each_vlan() -> None:
    one = lab("port_security: 1").after("trunk1", BROADCAST, 10)
    assert ends(one.ask("trunk1", BROADCAST, 20), "tor1") == {("tor1", "esx1-vmnic0", DropReason.PSWITCH_PORT_SECURITY)}
    assert heard(one.ask("trunk1", BROADCAST, 10), "m1") == [()]


def test_port_security_ties_an_address_to_the_port_that_it_came_in_by() -> None:
    secured = lab("port_security: 5").taught("m1")
    moved = secured.ask("m2", "web1", src=secured.mac("m1"))
    assert ends(moved) == {("tor1", "m2", DropReason.PSWITCH_PORT_SECURITY)}
    assert macs(secured) == {(10, secured.mac("m1")): "m1"}
    assert heard(secured.ask("m2", "m1", src=NEW), "m1") == [()]


def test_port_security_looks_at_no_group_source() -> None:
    group = "01:00:5e:00:00:09"
    secured = lab("port_security: 1").taught("m1")
    assert heard(secured.ask("m1", "web1", src=group), "web1") == [()]
    assert secured.after("m2", "web1", src=group).state is secured.state
    assert ends(secured.ask("m1", "web1", src=FORGED), "tor1") == {("tor1", "m1", DropReason.PSWITCH_PORT_SECURITY)}


def test_port_security_is_not_for_cables_between_pswitches() -> None:
    secured = lab("port_security: 1").taught("m3").after("m3", BROADCAST, src=FORGED)
    assert dict(secured.state.secured) == {}
    assert set(macs(secured)) == {(10, secured.mac("m3")), (10, FORGED)}


def test_port_security_remembers_what_a_full_mac_table_does_not() -> None:
    secured = lab("port_security: 1, mac_table: 1").taught("m1", "m2")
    assert set(macs(secured)) == {(10, secured.mac("m1"))}
    assert set(secured.state.secured["tor1"].values()) == {"m1", "m2"}


# -- spanning tree

LOOP = {"cables": "[tor1, tor2];[tor1, tor2]"}
BLOCKED = MappingProxyType({"discarding": frozenset({("tor2", "tor1#2")})})


def test_a_discarding_port_takes_and_gives_nothing() -> None:
    loop = lab("stp: true", **LOOP).given(**BLOCKED)
    said = loop.ask("m1", BROADCAST)
    assert ends(said, "tor2") == {("tor2", "tor1#2", DropReason.PSWITCH_STP)}
    assert "TEAM-F-1" in why(said, Point.DROP, "tor1#2")
    assert heard(said, "m3") == [()]
    back = loop.ask("m3", BROADCAST)
    assert pswitch_ports(back, "tor2") == ["tor1"]
    assert heard(back, "m1") == [()]
    assert set(macs(loop.taught("m1"), "tor2").values()) == {"tor1"}


def test_without_a_discarding_port_both_cables_forward() -> None:
    tree = lab("stp: true", **LOOP).given(discarding=frozenset({("tor1", "tor2#2")}))
    assert pswitch_ports(tree.ask("m3", BROADCAST), "tor2") == ["tor1", "tor1#2"]
    assert ends(tree.ask("m3", BROADCAST), "tor1") == {("tor1", "tor2#2", DropReason.PSWITCH_STP)}


def test_an_address_behind_a_discarding_port_is_flooded() -> None:
    loop = lab("stp: true", **LOOP).given(**BLOCKED)
    stale = loop.given(mac_tables={"tor2": {(10, loop.mac("m1")): "tor1#2"}})
    assert pswitch_ports(stale.ask("m3", "m1"), "tor2") == ["tor1"]
    assert heard(stale.ask("m3", "m1"), "m1") == [()]


def test_a_host_on_a_discarding_port_is_cut_off_though_it_has_carrier() -> None:
    cut = lab("stp: true").given(discarding=frozenset({("tor1", "esx1-vmnic0")}))
    assert ends(cut.ask("web1", "m1")) == {("tor1", "esx1-vmnic0", DropReason.PSWITCH_STP)}
    assert heard(cut.ask("web1", "web2"), "web2") == [()]
    assert heard(cut.ask("m1", "web1"), "web1") == []
    assert heard(lab("stp: true").ask("m1", "web1"), "web1") == [()]


# -- CDP and LLDP


@pytest.mark.parametrize(
    ("settings", "to", "consumed"),
    [
        ("cdp: true", CDP_MAC, True),
        ("lldp: true", LLDP_MAC, True),
        ("cdp: true", LLDP_MAC, False),
        ("lldp: true", CDP_MAC, False),
        ("", CDP_MAC, False),
        ("cdp: true, lldp: true", UNKNOWN, False),
    ],
)
def test_mir_13_a_pswitch_keeps_what_it_speaks(settings: str, to: str, consumed: bool) -> None:
    said = lab(settings).ask("web1", to)
    own = {("tor1", "esx1-vmnic0", DropReason.PSWITCH_DISCOVERY)}
    assert (ends(said, "tor1") == own) is consumed
    assert heard(said, "m1") == [()] * (not consumed)
    assert (macs(lab(settings).after("web1", to)) == {}) is consumed


# -- what a prediction carries


def test_a_state_after_holds_all_three_tables_and_the_same_objects_when_nothing_is_new() -> None:
    cold = lab("port_security: 2")
    said = cold.ask("m1", BROADCAST)
    assert said.mac_tables is not cold.state.mac_tables and said.secured is not cold.state.secured
    assert said.learned is cold.state.learned
    after = said.state_after(cold.state)
    assert (dict(after.mac_tables), dict(after.secured)) == (dict(said.mac_tables), dict(said.secured))
    again = cold.taught("m1")
    assert again.ask("m1", BROADCAST).state_after(again.state) is again.state


def test_a_state_after_holds_what_is_new_in_one_table_only() -> None:
    cold = lab("port_security: 2")
    known = cold.given(mac_tables=cold.taught("m1").state.mac_tables)
    said = known.ask("m1", "m1")
    assert said.mac_tables is known.state.mac_tables
    assert dict(said.state_after(known.state).secured["tor1"]) == {(10, cold.mac("m1")): "m1"}


# A state that differs in one field, and a frame to which that makes a difference.
OTHER_STATES = [
    ({"links_down": frozenset({("tor1", "m2")})}, "m2"),
    ({"uplink_of": {("esx1", "web1.eth0"): None}}, "web1"),
    ({"macs": {("esx1", "web1.eth0"): NEW}}, NEW),
    ({"promiscuous": frozenset({("esx1", "web2.eth0")})}, "web1"),
    ({"groups": {("esx1", "web1.eth0"): frozenset({GROUP})}}, GROUP),
    ({"all_groups": frozenset({("esx1", "web1.eth0")})}, GROUP),
    ({"discarding": frozenset({("tor1", "m2")})}, BROADCAST),
    ({"mac_tables": {"tor1": {(10, UNKNOWN): "m2"}}}, UNKNOWN),
    ({"secured": {"tor1": {(10, FORGED): "m1", (20, FORGED): "m1"}}}, BROADCAST),
]


@pytest.mark.parametrize(("fields", "to"), OTHER_STATES, ids=lambda value: "-".join(value) if value else "")
def test_a_predictor_with_another_state_predicts_as_one_made_for_it(fields: dict[str, object], to: str) -> None:
    cold = lab("port_security: 2")
    topology, asked = cold.topology, Frame(cold.mac("m1"), cold.mac(to))
    before, changed = Predictor(topology, cold.state), cold.given(**fields).state
    first = before.predict("m1", asked)
    other = before.with_state(changed)
    assert other.predict("m1", asked) == Predictor(topology, changed).predict("m1", asked)
    assert other.predict("m1", asked).hops != first.hops
    assert other.with_state(cold.state).predict("m1", asked) == first


def test_a_pnic_that_no_switch_uses_gets_its_copy_and_no_more() -> None:
    said = lab().ask("m1", BROADCAST)
    (index,) = [i for i, h in enumerate(said.hops) if h.point is Point.UPLINK_RCV and h.interface == "vmnic1"]
    assert [h.reason for h in said.hops if h.parent == index] == [DropReason.UNUSED_PNIC]
    assert {name for name, _ in copies(said)} == {"web1", "web2", "trunk1", "m2", "m3"}
