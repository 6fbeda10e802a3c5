"""A chassis: its modules and pvNICs in the topology file, as the prediction sees them, and the rates that they have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from foretelling import Foretold, copies, ends, pswitch_ports, why
from topology_slots import MARK, told, words

from lab.agents.loops import probed, probes
from lab.agents.pvnics import Need, parts_of
from lab.chassis import cut_cables, shared_ports, smart_links, with_consequences
from lab.errors import UsageError
from lab.frame import BROADCAST, LOOP_ETHERTYPE, DropReason, Frame, Point
from lab.model import PortKey
from lab.plan import compile_plan
from lab.plan.queues import Tree
from lab.predict import predict
from lab.predict.exposure import Flow, could_see
from lab.predict.passing import CouldSee
from lab.report.picture import picture, svg
from lab.state_json import from_json, to_json
from lab.teaming import initial_state
from lab.topology import read_topology, warnings
from lab.topology.edit import edits_of, first_edition

BASE = """\
name: blades
release: "5.0"
knobs: {pvnic_rx_cap: <cap>}
speed_scale: 0.01
physical_switches: {tor1: {}, tor2: {}}
cables:
  - {ends: [tor1, tor2]}
chassis:
  c7000:
    modules:
      bay1:
        <bay1>
        uplinks:
          X1: {switch: tor1, native: 1<x1>}
          X2: {switch: tor2, native: 1}
        networks:
          prod: {vlans: [1, 10], uplinks: [X1, X2]<prod>}
          back: {vlans: [20-29], uplinks: [X2, X1]<back>}
          inner: {vlans: [40]}
hosts:
  b1:
    uplinks:
      vmnic0: {switch: bay1, pvnic: 1a, speed: 4G, networks: [prod, inner]<vmnic0>}
      vmnic1: {switch: bay1, pvnic: 1b<vmnic1>}
      vmnic2: {switch: tor1<vmnic2>}
  b2:
    uplinks:
      vmnic0: {switch: bay1, pvnic: 1a, speed: 4G, networks: [prod, back, inner], native: 10}
distributed_switches:
  dvs0:
    uplinks: {b1: [vmnic0], b2: [vmnic0]}
    network_io_control: {}
    port_groups: {web: {vlan: 10}, lost: {vlan: 99}, in: {vlan: 40}, none: {vlan: 0}}
  dvs1:
    uplinks: {b1: [vmnic1]}
    port_groups: {db: {vlan: 20}}
vms:
  web1: {host: b1, networks: [web]}
  none2: {host: b2, networks: [none]}
  lost1: {host: b1, networks: [lost]}
  in1: {host: b1, networks: [in]}
  in2: {host: b2, networks: [in]}
  db1: {host: b1, networks: [db]}
machines:
  gw: {switch: tor1, access: 10}
  store: {switch: tor2, access: 20}
"""
SLOTS = {"cap": "off", "bay1": "mode: mapped", "vmnic1": ", speed: 6G, networks: [back]"}
TUNNEL = """\
name: tunnel
release: "5.0"
physical_switches: {tor1: {}}
chassis:
  c7000:
    modules:
      bay1: {mode: tunnelled, uplinks: {X1: {switch: tor1, native: 7}}, networks: {all: {uplinks: [X1]}}}
hosts:
  b1: {uplinks: {vmnic0: {switch: bay1, pvnic: 2c}}}
  b2: {uplinks: {vmnic0: {switch: bay1, pvnic: 2a}}}
distributed_switches:
  dvs0:
    uplinks: {b1: [vmnic0], b2: [vmnic0]}
    port_groups: {any: {vlan: [0, 99]}}
vms: {t1: {host: b1, networks: [any]}, t2: {host: b2, networks: [any]}}
machines: {m: {switch: tor1, trunk: [99]}, n: {switch: tor1, access: 7}}
"""


def text(**parts: str) -> str:
    found = BASE
    for slot in (*SLOTS, "x1", "prod", "back", "vmnic0", "vmnic2"):
        found = found.replace(f"<{slot}>", {**SLOTS, **parts}.get(slot, ""))
    return found


def lab(**parts: str) -> Foretold:
    return Foretold.of(text(**parts))


def rates(said: Foretold) -> dict[PortKey, int]:
    """What each end of a cable between boxes sends, Mbit/s as emulated."""
    queues = compile_plan(said.topology, said.state).queues
    return {(q.node, q.label): q.classes[0].ceil // 10**6 for q in queues if isinstance(q, Tree)}


# -- the file

WRONG: list[tuple[dict[str, str], str, str]] = [
    ({"vmnic2": f", {MARK}pvnic: 3a"}, "tor1 is a pSwitch: 'pvnic' is for what is plugged into a chassis' module",
     "switch: the module's name, or leave it out"),
    ({"vmnic2": f", {MARK}max: 3G"}, "tor1 is a pSwitch: 'max' is for what is plugged into a chassis' module",
     "switch: the module's name, or leave it out"),
    ({"vmnic0": f", {MARK}trunk: [10]"}, "bay1 is a module: a pvNIC has no 'trunk'",
     "its networks say which VLANs it has: networks: [...]"),
    ({"vmnic0": f", {MARK}channel: 1"}, "bay1 is a module: a pvNIC has no 'channel'",
     "its networks say which VLANs it has: networks: [...]"),
    ({"vmnic0": f", native: {MARK}20"}, "VLAN 20 is in none of its networks", "they have 1, 10, 40"),
    ({"vmnic0": f", max: {MARK}3G"}, "the most, 3G, is under the speed 4G", "at least that"),
    ({"vmnic0": f", max: {MARK}11G"}, "11G is no speed of a pvNIC", "100M to 10G, in steps of 100M"),
    ({"vmnic1": f", networks: [back], speed: {MARK}450M"}, "450M is no speed of a pvNIC",
     "100M to 10G, in steps of 100M"),
    ({"vmnic1": f", networks: [back], speed: {MARK}7G"},
     "the pvNICs of port 1 have 11G together, more than its 10G", "less for one of them"),
    ({"vmnic1": f", speed: 6G, networks: [{MARK}bak]"}, "no network of bay1 'bak'", "did you mean 'back'?"),
    ({"vmnic1": f", speed: 6G, networks: {MARK}[]"}, "no network", "there is prod, back, inner"),
    ({"vmnic1": f", speed: 6G, networks: [back, {MARK}back]"}, "'back' is listed twice", ""),
    ({"prod": f", {MARK}vlan: 3"}, "unknown key 'vlan'", "did you mean 'vlans'?"),
    ({"x1": f", speed: {MARK}5"}, "5 is 0 bit/s at the speed_scale of 0.01: nothing is left of it",
     "a higher rate, or a larger speed_scale"),
    ({"cap": f"{MARK}maybe"}, "'maybe' is not one of 'off', 'on'", ""),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "what", "hint"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_a_mistake_about_a_chassis_is_told_once_where_it_is(parts: dict[str, str], what: str, hint: str) -> None:
    before, after = text(**parts).split(MARK)
    (mistake,) = told(before + after)
    assert (mistake.line, mistake.column) == (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert (mistake.what, mistake.hint) == (what, hint)


# Old text, new text, the mistake.
CHANGED = [
    ("pvnic: 1b", "pvnic: 1a", "hosts.b1.uplinks.vmnic1.pvnic: 1a is vmnic0 already"),
    ("pvnic: 1b", "pvnic: 1e",
     "hosts.b1.uplinks.vmnic1.pvnic: '1e' is no pvNIC: a physical port and one of its four functions, such as 1a"),
    ("bay1, pvnic: 1b", "bay1", "hosts.b1.uplinks.vmnic1: bay1 is a module: which pvNIC is it?"),
    ("switch: bay1, pvnic: 1b", "switch: bay7, pvnic: 1b",
     "hosts.b1.uplinks.vmnic1.switch: no physical switch or module 'bay7'"),
    ("inner: {vlans: [40]}", "inner: {}", "chassis.c7000.modules.bay1.networks.inner: says no vlans, and a mapped "
     "network has to know each (PVN-10)"),
    ("inner: {vlans: [40]}", "inner: {vlans: [9-11]}",
     "chassis.c7000.modules.bay1.networks.inner.vlans: VLAN 10 is of network 'prod' already"),
    ("inner: {vlans: [40]}", "inner: {vlans: [40], smart_link: true}", "chassis.c7000.modules.bay1.networks.inner."
     "smart_link: SmartLink follows the uplinks of a network, and this one has none"),
    ("uplinks: [X2, X1]", "uplinks: [X2, X3]",
     "chassis.c7000.modules.bay1.networks.back.uplinks[1]: no uplink 'X3'"),
    ("uplinks: [X2, X1]", "uplinks: [X2, X2]",
     "chassis.c7000.modules.bay1.networks.back.uplinks[1]: X2 is listed twice"),
    ("X2: {switch: tor2", "X2: {switch: tor9",
     "chassis.c7000.modules.bay1.uplinks.X2.switch: no physical switch 'tor9'"),
    ("gw: {switch: tor1", "bay1: {switch: tor1", "machines.bay1: the name 'bay1' is taken"),
    ("gw: {switch: tor1", "bay1-X1: {switch: tor1", "machines.bay1-X1: the name 'bay1-X1' is taken"),
    ("gw: {switch: tor1", "gw: {switch: bay1", "machines.gw.switch: no physical switch 'bay1'"),
    ("  c7000:\n", "  c7000:\n    site: nowhere\n", "chassis.c7000.site: no site 'nowhere'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "mistake"), CHANGED)
def test_what_a_chassis_may_not_have_is_told(old: str, new: str, mistake: str) -> None:
    assert old in text()
    assert [words(found) for found in told(text().replace(old, new, 1))] == [mistake]


TUNNELS = [
    ("all: {uplinks", "all: {vlans: [5], uplinks", "a tunnelled network takes every VLAN (PVN-10)"),
    ("{all: {uplinks: [X1]}}", "{all: {}, more: {}}",
     "'all' takes every VLAN already: a tunnelled module has one network here"),
    ("pvnic: 2c}", "pvnic: 2c, native: 5}",
     "a tunnelled network passes frames as they are: it has no native VLAN (PVN-10)"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "what"), TUNNELS)
def test_pvn_10_what_a_tunnelled_module_may_not_have_is_told(old: str, new: str, what: str) -> None:
    assert old in TUNNEL
    assert [found.what for found in told(TUNNEL.replace(old, new, 1))] == [what]


def test_pvn_5_a_vlan_is_on_one_pvnic_of_a_physical_port() -> None:
    (mistake,) = told(text(vmnic1=", speed: 6G, networks: [back, inner]"))
    assert mistake.what == "VLAN 40 is on vmnic0 too, a pvNIC of the same physical port (PVN-5)"
    assert lab(vmnic1=", speed: 6G, networks: [back]").topology.hosts["b1"].pnics["vmnic1"].port.trunk == ((20, 29),)
    other_port = text(vmnic1=", speed: 6G, networks: [back, inner]").replace("1b", "2b")
    assert str(read_topology(other_port, "f").hosts["b1"].pnics["vmnic1"].pvnic) == "2b"


TWO = """
name: two
physical_switches: {tor1: {}}
chassis:
  c1: {modules: {bay1: {networks: {a: {vlans: [5]}}}, bay2: {networks: {a: {vlans: [6]}}}}}
  c2: {modules: {bay3: {networks: {a: {vlans: [5]}}}}}
hosts:
  b1: {uplinks: {vmnic0: {switch: bay1, pvnic: 1a, speed: 1G}, vmnic1: {switch: SWITCH, pvnic: PVNIC, speed: 1G}}}
"""
WIRED = [
    ("bay2", "1b", "port 1 is wired to bay1, where vmnic0 is"),
    ("bay3", "2a", "bay3 is in c2, and vmnic0 is in c1"),
]


@pytest.mark.parametrize(("switch", "pvnic", "what"), WIRED)
def test_pvn_4_a_physical_port_has_one_cable_and_a_blade_one_chassis(switch: str, pvnic: str, what: str) -> None:
    wrong = TWO.replace("SWITCH", switch).replace("PVNIC", pvnic)
    assert [found.what for found in told(wrong)] == [what]
    assert read_topology(TWO.replace("SWITCH", "bay2").replace("PVNIC", "2a"), "f").hosts["b1"].pnics["vmnic1"]


def told_of(text: str) -> list[str]:
    return [line for line in warnings(read_topology(text, "f")) if line.startswith("bay1")]


# Old text, new text, what is warned of.
SURPRISES = [
    ("uplinks: [X1, X2]", "uplinks: [X1, X2]", []),
    ("native: 1}", "trunk: [1, 10, 20-29], native: 1}", []),
    ("native: 1}", "trunk: [1]}",
     ["bay1:X1: VLAN 10 of network 'prod' is not in the trunk of tor1's port, frames are lost there (VLAN-13)",
      "bay1:X1: VLAN 20-29 of network 'back' is not in the trunk of tor1's port, frames are lost there (VLAN-13)"]),
    ("native: 1}", "native: 9}",
     ["bay1:X1: no network of it has tor1's native VLAN 9, its frames are dropped (VLAN-16)"]),
    ("X2: {switch", "X3: {switch: tor1}\n          X2: {switch", ["bay1:X3 is no network's uplink"]),
    ("inner: {vlans: [40]}", "inner: {vlans: [40]}\n          far: {vlans: [50], uplinks: [X1], smart_link: true}",
     ["bay1: no blade has network 'far', whose SmartLink has nothing to take down (PVN-9)"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "lines"), SURPRISES)
def test_what_will_surprise_about_a_chassis_is_warned_of(old: str, new: str, lines: list[str]) -> None:
    assert old in text()
    assert told_of(text().replace(old, new, 1)) == lines


def test_a_module_is_changed_by_its_name() -> None:
    edition = first_edition(text(), "f")
    changed = edition.with_edits(edits_of(edition, "module bay1", {"networks.prod.smart_link": True, "dcc": False}))
    module = changed.topology.physical_switches["bay1"].module
    assert module is not None
    assert (module.networks["prod"].smart_link, module.dcc) == (True, False)
    for what, settings in (("module bay1", {"uplinks.X1.switch": "tor2"}), ("physical-switch bay1", {"stp": True})):
        with pytest.raises(UsageError):
            edits_of(edition, what, settings)


# -- frames


def test_pvn_6_a_network_has_one_uplink_and_the_other_takes_nothing_in() -> None:
    said = lab().ask("web1", BROADCAST)
    assert pswitch_ports(said, "bay1") == ["X1", "b2-vmnic0"]
    assert (("bay1", "X2", DropReason.MODULE_STANDBY)) in ends(said, "bay1")
    assert pswitch_ports(lab().ask("db1", BROADCAST), "bay1") == ["X2", "b2-vmnic0"]


def test_pvn_6_the_next_uplink_takes_over_and_gives_back() -> None:
    failed = lab().dark(("bay1", "X1"), ("tor1", "bay1-X1"))
    said = failed.ask("web1", BROADCAST)
    assert pswitch_ports(said, "bay1") == ["X2", "b2-vmnic0"]
    assert ("gw", ()) in copies(said)
    assert pswitch_ports(failed.dark().ask("web1", BROADCAST), "bay1") == ["X1", "b2-vmnic0"]


def test_pvn_6_nothing_goes_from_uplink_to_uplink() -> None:
    said = lab().ask("gw", BROADCAST)
    assert pswitch_ports(said, "bay1") == ["b1-vmnic0", "b2-vmnic0"]
    assert pswitch_ports(said, "tor1") == ["b1-vmnic2", "bay1-X1", "tor2"]


def test_pvn_7_blades_talk_inside_the_chassis() -> None:
    said = lab().taught("web1", "none2").ask("web1", "none2")
    assert copies(said) == [("none2", ())]
    assert {hop.box for hop in said.hops} == {"b1", "bay1", "b2"}
    assert "PVN-7" in said.statements
    outside = lab().taught("web1", "gw").ask("web1", "gw")
    assert "tor1" in {hop.box for hop in outside.hops}


def test_pvn_7_a_network_without_uplinks_stays_in_the_chassis() -> None:
    assert pswitch_ports(lab().ask("in1", BROADCAST), "bay1") == ["b2-vmnic0"]
    assert ("in2", ()) in copies(lab().ask("in1", BROADCAST))


def test_pvn_10_a_mapped_module_drops_a_vlan_that_it_does_not_know() -> None:
    said = lab().ask("lost1", BROADCAST)
    assert ends(said, "bay1") == {("bay1", "b1-vmnic0", DropReason.PSWITCH_VLAN)}
    assert why(said, Point.DROP, "b1-vmnic0") == {"PVN-10"}
    assert not ends(lab().ask("web1", BROADCAST), "bay1") & ends(said, "bay1")


@pytest.mark.parametrize(("tag", "to"), [(99, ["m", "t2"]), (0, ["n", "t2"])])
def test_pvn_10_a_tunnelled_module_passes_every_tag_and_none(tag: int, to: list[str]) -> None:
    said = Foretold.of(TUNNEL).ask("t1", BROADCAST, *([tag] if tag else []))
    assert [who for who, _ in copies(said)] == to
    assert not ends(said, "bay1")


@pytest.mark.parametrize(("protected", "taken"), [("true", True), ("false", False)])
def test_pvn_8_a_module_takes_its_own_loop_frames(protected: str, taken: bool) -> None:
    said = lab(bay1=f"loop_protection: {protected}")
    frame = Frame(said.mac("web1"), BROADCAST, (), LOOP_ETHERTYPE)
    drops = ends(predict(said.topology, said.state, "web1.eth0", frame), "bay1")
    assert (("bay1", "b1-vmnic0", DropReason.PSWITCH_DISCOVERY) in drops) is taken
    assert (not any("b1-vmnic0" in port for _, port, _ in drops)) is not taken


def test_pvn_8_blades_are_probed_in_each_of_their_vlans() -> None:
    sent = {key: [Frame.parse(raw) for raw in probes(*key, config)] for key, config in probed(lab().topology)}
    tags = {key[1]: [[tag.vid for tag in frame.vlans] for frame in frames] for key, frames in sent.items()}
    assert tags["b1-vmnic0"] == [[1], [10], [40]]
    assert tags["b2-vmnic0"][1] == []  # its native VLAN
    assert not list(probed(lab(bay1="loop_protection: false").topology))
    ((key, config),) = [(k, c) for k, c in probed(Foretold.of(TUNNEL).topology) if k[1] == "b1-vmnic0"]
    assert [Frame.parse(raw).vlans for raw in probes(*key, config)] == [()]


# -- links


def test_pvn_4_pvnics_of_a_physical_port_are_cut_together() -> None:
    topology = lab().topology
    four = {("b1", "vmnic0"), ("b1", "vmnic1"), ("bay1", "b1-vmnic0"), ("bay1", "b1-vmnic1")}
    assert cut_cables(topology, [("b1", "vmnic0")]) == four
    assert cut_cables(topology, [("bay1", "b1-vmnic1")]) == four
    assert cut_cables(topology, [("b1", "vmnic2")]) == {("b1", "vmnic2")}


SMART = ", smart_link: true"
UPLINKS = [("bay1", "X1"), ("bay1", "X2")]
# SmartLink of prod and of back, DCC, what goes down when both uplinks have.
DROPPED = [
    ("", "", "true", []),
    ("", SMART, "true", ["b1-vmnic1"]),
    ("", SMART, "false", ["b1-vmnic0", "b1-vmnic1"]),
    (SMART, SMART, "true", ["b1-vmnic1"]),
]


@pytest.mark.parametrize(("prod", "back", "dcc", "dropped"), DROPPED)
def test_pvn_9_smart_link_drops_pvnics_whose_networks_have_no_uplink(
    prod: str, back: str, dcc: str, dropped: list[str]
) -> None:
    topology = lab(prod=prod, back=back, bay1=f"dcc: {dcc}").topology
    assert sorted(smart_links(topology, UPLINKS)) == [("bay1", port) for port in dropped]
    assert not list(smart_links(topology, UPLINKS[:1]))


def test_pvn_9_a_failure_takes_along_what_smart_link_drops() -> None:
    lost = with_consequences(lab(back=SMART).topology, UPLINKS)
    assert lost == {*UPLINKS, ("b1", "vmnic1"), ("bay1", "b1-vmnic1")}


# -- rates


def test_pvn_1_a_pnic_has_the_speed_of_its_pvnic() -> None:
    pnics = lab(vmnic0=", max: 9G").topology.hosts["b1"].pnics
    assert [str(pnics[name].speed) for name in ("vmnic0", "vmnic1")] == ["9G", "6G"]


def test_pvn_2_nioc_19_a_pvnic_sends_at_its_speed_and_nioc_divides_that() -> None:
    plan = compile_plan(lab().topology, lab().state)
    tree = next(q for q in plan.queues if isinstance(q, Tree) and (q.node, q.label) == ("b1", "vmnic0"))
    assert (rates(lab())["b1", "vmnic0"], rates(lab())["b1", "vmnic1"]) == (40, 60)
    assert [c.ceil // 10**6 for c in tree.classes] == [40, 40]


@pytest.mark.parametrize(("cap", "got"), [("off", [50, 50, 100]), ("on", [40, 60, 40])])
def test_pvn_3_what_a_chassis_sends_to_a_blade_is_held_back_or_not(cap: str, got: list[int]) -> None:
    found = rates(lab(cap=cap))
    assert [found["bay1", port] for port in ("b1-vmnic0", "b1-vmnic1", "b2-vmnic0")] == got


def test_pvn_2_where_a_pvnic_may_use_more_the_chassis_says_how_much_now() -> None:
    elastic = lab(vmnic0=", max: 10G")
    assert rates(elastic)["b1", "vmnic0"] == 40
    given = MappingProxyType({("b1", "vmnic0"): 77e6, ("b1", "vmnic1"): 23e6})
    assert rates(elastic.given(pvnic_rates=given))["b1", "vmnic0"] == 77
    assert from_json(to_json(elastic.given(pvnic_rates=given).state)).pvnic_rates == given


# Mbit/s that each of two pvNICs of 4G (at most 10G) and 6G sends, those that want more, and what they may send.
NEEDS = [
    ((0, 0), (), (50, 60)),
    ((40, 0), (0,), (80, 60)),
    ((80, 0), (0,), (97, 60)),
    ((97, 3), (0, 1), (40, 60)),
    ((40, 60), (0, 1), (40, 60)),
    ((10, 60), (1,), (40, 60)),
]


@pytest.mark.parametrize(("sent", "hungry", "given"), NEEDS)
def test_pvn_2_what_a_pvnic_leaves_another_may_use(
    sent: tuple[int, int], hungry: tuple[int, ...], given: tuple[int, int]
) -> None:
    port = next(port for port in shared_ports(lab(vmnic0=", max: 10G").topology) if ("b1", "vmnic0") in port.ends)
    needs = {end: Need(sent[n] * 1e6, n in hungry) for n, end in enumerate(port.ends)}
    found = parts_of(port, 0.01, needs)
    assert [rate / 1e6 for rate in found.values()] == pytest.approx(given, abs=4)
    assert sum(min(rate, need.sent) for rate, need in zip(found.values(), needs.values(), strict=True)) <= 1e8


# -- who could see it, and the picture


def seen(said: Foretold) -> tuple[CouldSee, ...]:
    flow = Flow("web1.eth0", "none2.eth0", Frame(said.mac("web1"), said.mac("none2")))
    return could_see(said.topology, said.state, flow)


def test_pvn_11_whoever_has_the_chassis_could_have_seen_it() -> None:
    found = {entry.node: entry for entry in seen(lab().taught("web1", "none2"))}
    assert found["bay1"].statements == ("PVN-11",)
    assert "chassis c7000" in found["bay1"].why
    assert "tor1" not in found


def test_the_picture_has_the_chassis_between_pswitches_and_blades() -> None:
    drawn = picture(lab().topology)
    places: Mapping[tuple[str, str], tuple[float, float]] = drawn.anchors
    heights = [places[key][1] for key in (("tor1", "tor1"), ("bay1", "bay1"), ("b1", "vmnic0"))]
    assert heights == sorted(heights)
    assert 'data-role="chassis" data-name="c7000"' in svg(lab().topology)
    assert initial_state(lab().topology).pvnic_rates == {}
