"""Private VLANs as the prediction sees them: on a host, between hosts, and in pSwitches that know them or not."""

from __future__ import annotations

import pytest
from foretelling import NESTED, UNKNOWN, Foretold, copies, ends, heard, leaving, local, pswitch_ports, reason, why

from lab.frame import BROADCAST, DropReason, Point, Tag

TEXT = """
name: pvlan
release: "6.7"
physical_switches: {tor1: {}, tor2: {pvlan_aware: true}}
cables: [{ends: [tor1, tor2], trunk: [50, 100-103, 200-201]}]
hosts:
  esx1: {uplinks: {vmnic0: {switch: tor1, trunk: [50, 100-103, 200-201]}}}
  esx2: {uplinks: {vmnic0: {switch: tor2, trunk: [50, 100-103, 200-201]}}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic0], esx2: [vmnic0]}
    security: {promiscuous: accept, mac_changes: accept, forged_transmits: accept}
    pvlans: {100: {101: isolated, 102: community, 103: community}, 200: {201: isolated}}
    port_groups:
      iso: {pvlan: 101}
      shop: {pvlan: 102}
      park: {pvlan: 103}
      gate: {pvlan: 100}
      gate200: {pvlan: 200}
      plain: {vlan: 50}
      trunk: {vlan: [100-103]}
      nest: {pvlan: 101, mac_learning: {}}
vms:
  iso1: {host: esx1, networks: [iso]}
  iso2: {host: esx1, networks: [iso]}
  iso3: {host: esx2, networks: [iso]}
  shop1: {host: esx1, networks: [shop]}
  shop2: {host: esx1, networks: [shop]}
  shop3: {host: esx2, networks: [shop]}
  park1: {host: esx1, networks: [park]}
  park3: {host: esx2, networks: [park]}
  gate1: {host: esx1, networks: [gate]}
  gate2: {host: esx1, networks: [gate]}
  gate3: {host: esx2, networks: [gate]}
  other1: {host: esx1, networks: [gate200]}
  plain1: {host: esx1, networks: [plain]}
  vgt1: {host: esx1, networks: [trunk]}
  nest1: {host: esx1, networks: [nest]}
machines:
  gw: {switch: tor1, access: 100}
  lone1: {switch: tor1, access: 101}
  lone2: {switch: tor1, access: 101}
  gw2: {switch: tor2, access: 100}
  kept1: {switch: tor2, access: 101}
  kept2: {switch: tor2, access: 101}
  club1: {switch: tor2, access: 102}
  club2: {switch: tor2, access: 102}
  fair1: {switch: tor2, access: 103}
"""
COLD = Foretold.of(TEXT)
VMS = ("iso1", "iso2", "iso3", "shop1", "shop2", "shop3", "park1", "park3", "gate1", "gate2", "gate3")
LAB = COLD.taught(*VMS)
VLAN_OF = {"iso": 101, "shop": 102, "park": 103, "gate": 100}
AWARE = {"kept": "iso", "club": "shop", "fair": "park", "gw": "gate"}
"""What a machine at tor2 is like."""


def kind(name: str) -> str:
    found = name.rstrip("0123456789")
    return AWARE.get(found, found)


def may(sender: str, receiver: str) -> bool:
    """What a private VLAN is for."""
    return "gate" in (kind(sender), kind(receiver)) or (kind(sender) == kind(receiver) != "iso")


def rule(sender: str, receiver: str) -> str:
    if may(sender, receiver):
        return "PVL-1" if "gate" in (kind(sender), kind(receiver)) else "PVL-4"
    return {0: "PVL-4", 1: "PVL-3", 2: "PVL-2"}[[kind(sender), kind(receiver)].count("iso")]


def on(name: str) -> str:
    return "esx2" if name.endswith("3") else "esx1"


PAIRS = [(a, b) for a in VMS for b in VMS if a != b]


@pytest.mark.parametrize(("sender", "receiver"), [p for p in PAIRS if on(p[0]) == on(p[1])], ids="-".join)
def test_pvl_1_to_pvl_4_unicast_on_one_host(sender: str, receiver: str) -> None:
    said = LAB.ask(sender, receiver)
    assert leaving(said, on(sender)) == []
    assert rule(sender, receiver) in said.statements
    if may(sender, receiver):
        assert (copies(said), ends(said)) == ([(receiver, ())], set())
    else:
        assert (copies(said), ends(said)) == ([], {(on(sender), receiver, DropReason.PVLAN_ISOLATED)})


@pytest.mark.parametrize(("sender", "receiver"), [p for p in PAIRS if on(p[0]) != on(p[1])], ids="-".join)
def test_pvl_1_to_pvl_7_unicast_to_another_host(sender: str, receiver: str) -> None:
    said = LAB.ask(sender, receiver)
    assert set(leaving(said, on(sender))) == {("vmnic0", (VLAN_OF[kind(sender)],))}
    assert "PVL-6" in why(said, Point.UPLINK_SND)
    assert heard(said, receiver) == [()] * may(sender, receiver)
    isolated = reason(said, on(receiver), receiver) is DropReason.PVLAN_ISOLATED
    assert isolated is not may(sender, receiver)
    assert "PVL-7" in why(said, Point.DROP if isolated else Point.VNIC_OUT, receiver)


@pytest.mark.parametrize("sender", VMS)
def test_pvl_5_broadcast_reaches_those_that_may_hear_and_one_uplink(sender: str) -> None:
    said = LAB.ask(sender, BROADCAST)
    assert leaving(said, on(sender)) == [("vmnic0", (VLAN_OF[kind(sender)],))]
    hears = sorted(name for name in VMS if name != sender and may(sender, name))
    assert sorted({name for name, _ in copies(said)} & set(VMS)) == hears
    assert heard(said, "vgt1") == [(VLAN_OF[kind(sender)],)]
    assert heard(said, "other1") == heard(said, "plain1") == []
    assert ("PVL-5" in said.statements) is (kind(sender) == "iso")
    assert {r for _, _, r in ends(said)} <= {DropReason.PSWITCH_NO_RECEIVER}


@pytest.mark.parametrize("group", ["01:00:5e:00:00:01", "01:80:c2:00:00:00"])
def test_pvl_2_multicast_from_isolated_to_isolated(group: str) -> None:
    lab = LAB.given(all_groups=frozenset(map(LAB.port, VMS)))
    assert {name for name, _ in copies(lab.ask("iso1", group))} & set(VMS) == {"gate1", "gate2", "gate3"}


@pytest.mark.parametrize("sender", ["iso1", "shop1", "gate1"])
def test_pvl_6_a_guests_own_tag_is_a_double_tag_and_a_priority_is_none(sender: str) -> None:
    own = VLAN_OF[kind(sender)]
    for tag in (own, 100, 101, 50):
        said = LAB.ask(sender, "gate2", tag)
        assert ends(said) == {("esx1", sender, DropReason.DOUBLE_TAG)}
        assert "PVL-6" in said.statements
    assert heard(LAB.ask(sender, "gate2", Tag(0, 5)), "gate2") == [()]
    marked = LAB.ask(sender, "gate3", Tag(0, 5))
    assert {h.vlans for h in marked.hops if h.point is Point.UPLINK_SND} == {(Tag(own, 5),)}
    assert ends(LAB.knobs(prio_tag="drop").ask(sender, "gate2", 0)) == {("esx1", sender, DropReason.VLAN_MISMATCH)}


# VLAN ID on the wire, who of esx2 gets a broadcast in it.
@pytest.mark.parametrize(
    ("vid", "hears"),
    [
        (100, {"gate3", "shop3", "park3", "iso3"}),
        (101, {"gate3"}),
        (102, {"gate3", "shop3"}),
        (103, {"gate3", "park3"}),
        (50, set()),
        (200, set()),
    ],
)
def test_pvl_7_what_an_uplink_brings_goes_where_its_id_says(vid: int, hears: set[str]) -> None:
    trunk = Foretold.of(TEXT.replace("vlan: [100-103]", "vlan: [50, 100-103, 200]"))
    said = trunk.ask("vgt1", BROADCAST, vid)
    assert {name for name, _ in copies(said) if name.endswith("3")} == hears
    assert reason(said, "esx2", "vmnic0") is (None if hears else DropReason.NO_RECEIVER)


def test_pvl_7_a_mac_in_another_vlan_is_a_mismatch_and_no_isolation() -> None:
    trunk = Foretold.of(TEXT.replace("vlan: [100-103]", "vlan: [50, 100-103, 200]"))
    for vid in (50, 200):
        assert reason(trunk.ask("vgt1", "gate3", vid), "esx2", "gate3") is DropReason.VLAN_MISMATCH
    assert reason(trunk.ask("vgt1", "iso3", 102), "esx2", "iso3") is DropReason.PVLAN_ISOLATED


def test_pvl_2_another_primary_is_another_vlan() -> None:
    said = LAB.ask("other1", "iso1")
    assert leaving(said, "esx1") == [("vmnic0", (200,))]
    assert DropReason.PVLAN_ISOLATED not in {r for _, _, r in ends(said, "esx1")}
    assert heard(said, "iso1") == []


def test_pvl_8_a_missing_id_in_a_trunk_cuts_only_its_ports() -> None:
    cut = Foretold.of(TEXT.replace("esx2: {uplinks: {vmnic0: {switch: tor2, trunk: [50, 100-103,", "esx2: {uplinks: {"
                                   "vmnic0: {switch: tor2, trunk: [50, 100, 102-103,"))  # fmt: skip
    assert heard(cut.ask("iso1", "gate3"), "gate3") == []
    assert heard(cut.ask("shop1", "gate3"), "gate3") == heard(COLD.ask("iso1", "gate3"), "gate3") == [()]


def test_pvl_9_a_pswitch_without_private_vlans_floods_both_directions() -> None:
    lab = COLD.taught("iso1", "gw", "iso3", "gw2")
    assert (101, lab.mac("iso1")) in lab.state.mac_tables["tor1"]
    assert (100, lab.mac("gw")) in lab.state.mac_tables["tor1"]
    assert pswitch_ports(lab.ask("iso1", "gw"), "tor1") == ["lone1", "lone2", "tor2"]
    aware = lab.ask("iso3", "gw2")
    assert pswitch_ports(aware, "tor2") == ["gw2"]
    assert {vlan for vlan, _ in lab.state.mac_tables["tor2"]} == {100}
    assert pswitch_ports(COLD.ask("iso3", "gw2"), "tor2") == ["gw2", "tor1"]


def test_pvl_10_a_machine_in_the_primary_vlan_is_promiscuous_on_a_pswitch_that_knows_it() -> None:
    lab = COLD.taught("iso3", "gw2")
    assert heard(lab.ask("iso3", "gw2"), "gw2") == [()]
    assert heard(lab.ask("gw2", "iso3"), "iso3") == [()]
    assert "PVL-10" in why(lab.ask("iso3", "gw2"), Point.PSWITCH_SND, "gw2")
    plain = COLD.taught("iso1", "gw")
    assert heard(plain.ask("iso1", "gw"), "gw") == []
    assert heard(plain.ask("gw", "iso1"), "iso1") == [()]


def test_pvl_10_isolation_is_enforced_only_by_a_pswitch_that_knows_it() -> None:
    assert heard(LAB.taught("lone1", "lone2").ask("lone1", "lone2"), "lone2") == [()]
    kept = LAB.taught("kept1", "kept2").ask("kept1", "kept2")
    assert (copies(kept), ends(kept)) == ([], {("tor2", "kept2", DropReason.PVLAN_ISOLATED)})
    assert "PVL-2" in kept.statements


def test_pvl_9_an_address_is_secured_in_the_primary_vlan() -> None:
    told = TEXT.replace("tor2: {pvlan_aware: true}", "tor2: {pvlan_aware: true, port_security: 1}")
    assert dict(Foretold.of(told).taught("kept1").state.secured["tor2"]) == {(100, COLD.mac("kept1")): "kept1"}


@pytest.mark.parametrize("field", ["links_down", "discarding"])
def test_an_address_behind_a_port_that_does_not_forward_is_flooded(field: str) -> None:
    lab = COLD.taught("kept2")
    flooded = lab.given(**{field: frozenset({("tor2", "kept2")})}).ask("kept1", "kept2")
    assert ("gw2", ()) in copies(flooded)
    assert copies(lab.ask("kept1", "kept2")) == []


def test_an_address_that_was_learned_in_a_vlan_that_its_port_no_longer_has_is_flooded() -> None:
    told = TEXT.replace("  kept1:", "  far200: {switch: tor2, access: 200}\n  kept1:")
    stale = Foretold.of(told).given(mac_tables={"tor2": {(100, UNKNOWN): "far200"}})
    assert heard(stale.ask("kept1", UNKNOWN), "gw2") == [()]


MACHINES = ("gw2", "kept1", "kept2", "club1", "club2", "fair1")


@pytest.mark.parametrize("sender", MACHINES)
def test_pvl_1_to_pvl_4_between_machines_of_a_pswitch_that_knows_private_vlans(sender: str) -> None:
    lab = COLD.taught(*MACHINES)
    hears = {name for name in MACHINES if name != sender and may(sender, name)}
    assert {name for name, _ in copies(lab.ask(sender, BROADCAST))} & set(MACHINES) == hears
    assert {name for name, _ in copies(lab.ask(sender, UNKNOWN))} & set(MACHINES) == hears
    for receiver in set(MACHINES) - {sender}:
        said = lab.ask(sender, receiver)
        assert heard(said, receiver) == [()] * (receiver in hears)
        if receiver not in hears:
            assert ends(said) == {("tor2", receiver, DropReason.PVLAN_ISOLATED)}
            assert rule(sender, receiver) in said.statements


def test_pvl_8_a_trunk_carries_the_ids_of_its_list_as_they_are() -> None:
    said = COLD.ask("kept1", BROADCAST)
    assert pswitch_ports(said, "tor2") == ["esx2-vmnic0", "gw2", "tor1"]
    assert {h.vlans for h in said.hops if h.point is Point.UPLINK_RCV} == {(Tag(101),)}
    assert {h.vlans for h in said.hops if h.point is Point.PSWITCH_SND and h.interface == "gw2"} == {()}


def test_pvl_8_an_address_behind_a_trunk_that_lacks_the_id_is_not_reached() -> None:
    lab = Foretold.of(TEXT.replace("cables: [{ends: [tor1, tor2], trunk: [50, 100-103,",
                                   "cables: [{ends: [tor1, tor2], trunk: [50, 100, 102-103,")).taught("gw")  # fmt: skip
    cut = lab.ask("kept1", "gw")
    assert (copies(cut), ends(cut)) == ([], {("tor2", "tor1", DropReason.PVLAN_ISOLATED)})
    assert pswitch_ports(lab.ask("club1", "gw"), "tor2") == ["tor1"]


def test_sec_2_a_promiscuous_guest_hears_what_its_private_vlan_lets_it() -> None:
    lab = LAB.listening("iso2", "gate2", "shop2")
    assert local(lab.ask("iso1", "gate1")) == [("gate1", ()), ("gate2", ())]
    assert local(lab.ask("gate1", "park1")) == [("gate2", ()), ("iso2", ()), ("park1", ()), ("shop2", ())]
    assert local(lab.ask("iso1", "iso2")) == [("gate2", ())]


def test_sec_15_a_learned_address_does_not_lead_around_isolation() -> None:
    lab = LAB.after("nest1", "gate1", src=NESTED)
    assert dict(lab.state.learned["esx1", "dvs0"]) == {(101, NESTED): "nest1.eth0"}
    said = lab.ask("iso1", NESTED)
    assert (copies(said), ends(said)) == ([], {("esx1", "nest1", DropReason.PVLAN_ISOLATED)})
    assert local(lab.ask("gate1", NESTED)) == [("nest1", ())]  # unknown in VLAN 100, and so flooded to it
    assert leaving(lab.ask("gate1", NESTED), "esx1") == [("vmnic0", (100,))]
