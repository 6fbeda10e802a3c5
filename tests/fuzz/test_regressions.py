"""What drawn frames once found: cases in which foretelling and the switches did not agree, each with its outcome.

All switches are asked, as in test_trace.py; here the case has a name, and what must come of it is written down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from lab.errors import CannotTell
from lab.frame import BPDU_MACS, BROADCAST, DropReason, Frame, Point, Tag
from lab.model import PortKey, Topology
from lab.plan import compile_plan
from lab.predict import Prediction
from lab.predict.prediction import RECEIVED
from lab.state import State
from lab.teaming import initial_state
from lab.topology import read_topology

from .offline import Offline
from .opinions import walk
from .strategies import Case

NEW = "00:50:56:3f:00:01"
ALL = {"promiscuous": "accept", "mac_changes": "accept", "forged_transmits": "accept"}


def topology_of(groups: dict[str, Any], vms: dict[str, Any], **more: Any) -> Topology:
    """One host (esx2 too, when a VM is there), each with vmnic0 and vmnic1 on tor1; `more` goes into dvs0, or
    replaces a top-level key."""
    hosts = sorted({"esx1", *(vm["host"] for vm in vms.values())})
    trunk = [*range(1, 40), *range(100, 104), 999]
    pnics = {nic: {"switch": "tor1", "trunk": trunk} for nic in ("vmnic0", "vmnic1")}
    top = {key: more.pop(key) for key in ("physical_switches", "machines", "cables") if key in more}
    document = {
        "name": "regression", "release": "8.0", "physical_switches": {"tor1": {}},
        "hosts": {host: {"uplinks": {nic: dict(what) for nic, what in pnics.items()}} for host in hosts},
        "distributed_switches": {"dvs0": {"uplinks": {h: [*pnics] for h in hosts}, "port_groups": groups, **more}},
        "vms": vms, **top,
    }  # fmt: skip
    return read_topology(yaml.dump(document, Dumper=_Plain, sort_keys=False), "regression.yaml")


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def vm(group: str, host: str = "esx1", **more: Any) -> dict[str, Any]:
    return {"host": host, "networks": [{"port_group": group, **more} if more else group]}


@dataclass(frozen=True)
class Lab:
    switches: Offline
    topology: Topology
    state: State

    @classmethod
    def of(cls, switches: Offline, topology: Topology) -> Lab:
        return cls(switches, topology, initial_state(topology))

    def port(self, name: str) -> PortKey:
        return next((nic.host, nic.port) for nic in self.topology.vnics if nic.label == f"{name}.eth0")

    def mac(self, name: str) -> str:
        machine = self.topology.machines.get(name)
        return machine.mac if machine else next(nic.mac for nic in self.topology.vnics if nic.label == f"{name}.eth0")

    def given(self, **fields: Any) -> Lab:
        return replace(self, state=replace(self.state, **fields))

    def agreed(self, *shots: tuple[str, Frame]) -> Prediction:
        """What all switches do with the last frame. Raises Disagreement when one does not do what is foretold."""
        named = tuple((who if who in self.topology.machines else f"{who}.eth0", frame) for who, frame in shots)
        case = Case("a regression test", self.topology, self.state, named)
        self.switches.load(compile_plan(self.topology, self.state))
        steps = list(walk(self.switches, case))
        assert steps[-1].asked
        return steps[-1].prediction

    def send(self, who: str, to: str, *tags: int | Tag, src: str = "") -> tuple[str, Frame]:
        vlans = tuple(tag if isinstance(tag, Tag) else Tag(tag) for tag in tags)
        macs = (name if ":" in name else self.mac(name) for name in (src or who, to))
        return who, Frame(*macs, vlans, payload=bytes(46))


def got(said: Prediction) -> list[tuple[str, tuple[int, ...]]]:
    """Who has a copy in hand, with the VLAN IDs of its tags."""
    return sorted((hop.node, tuple(tag.vid for tag in hop.vlans)) for hop in said.hops if hop.point in RECEIVED)


def ends(said: Prediction) -> set[tuple[DropReason | None, str]]:
    return {(hop.reason, hop.statements[0]) for hop in said.drops}


# -- mirror copies

MIRROR = {"from": {"transmitted": ["vm1"]}}


def test_a_sampled_session_with_an_encapsulation_vlan_can_be_loaded(switches: Offline) -> None:
    """Three tags in one list of actions are refused by Open vSwitch as a whole: the lab would not start."""
    session = {"type": "mixedDestMirror", **MIRROR, "to": {"uplinks": ["uplink1"]}, "vlan": 30, "sampling": 2}
    vms = {"vm1": vm("web"), "vm2": vm("web")}
    lab = Lab.of(switches, topology_of({"web": {"vlan": 10}}, vms, mirrors={"m": session}))
    said = lab.agreed(lab.send("vm1", "vm2"))
    assert ("vm2", ()) in got(said)
    out = {tuple(tag.vid for tag in hop.vlans) for hop in said.possible if hop.interface == "vmnic0"}
    assert out == {(30, 10)}


def test_a_sampled_session_without_a_destination_here_sends_nothing_to_the_mirror_port(switches: Offline) -> None:
    session = {"type": "dvPortMirror", **MIRROR, "to": {"ports": ["ids"]}, "sampling": 2}
    vms = {"vm1": vm("web"), "vm2": vm("web"), "vm3": vm("web"), "ids": vm("web", "esx2")}
    session["from"] = {"transmitted": ["vm1", "far"]}
    vms["far"] = vm("web", "esx2")
    lab = Lab.of(switches, topology_of({"web": {"vlan": 10}}, vms, mirrors={"m": session}))
    said = lab.agreed(lab.send("vm1", "vm2"))
    assert not [hop for hop in said.hops if hop.interface == "dvs0.mirror"]
    assert got(said) == [("vm2", ())]


def test_a_truncated_copy_leaves_by_the_uplink_that_the_frame_came_in_on(switches: Offline) -> None:
    session = {
        "type": "mixedDestMirror", "from": {"received": ["vm1"]}, "to": {"uplinks": ["uplink1"]}, "vlan": 30,
        "length": 60,
    }  # fmt: skip
    groups = {"web": {"vlan": 10, "teaming": {"active": ["uplink1"]}}}
    machines = {"gw": {"switch": "tor1", "access": 10}, "probe": {"switch": "tor1", "access": 30}}
    lab = Lab.of(switches, topology_of(groups, {"vm1": vm("web")}, mirrors={"m": session}, machines=machines))
    said = lab.agreed(lab.send("gw", BROADCAST))
    assert ("vm1", ()) in got(said)
    assert [n for n, _ in got(said)].count("probe") == 1


def test_a_copy_with_three_tags_keeps_the_innermost(switches: Offline) -> None:
    """Open vSwitch's flow holds two tags at most: it looks at one only, and takes the others for payload."""
    session = {"type": "remoteMirrorSource", **MIRROR, "to": {"uplinks": ["uplink1"]}, "vlan": 999}
    vms = {"vm1": vm("trunk"), "vm2": vm("trunk")}
    lab = Lab.of(switches, topology_of({"trunk": {"vlan": [10, 30]}}, vms, mirrors={"m": session}))
    said = lab.agreed(lab.send("vm1", "vm2", 30, Tag(30, 2)))
    out = {tuple(tag.vid for tag in hop.vlans) for hop in said.hops if hop.interface == "vmnic0" and not hop.reason}
    assert out == {(999, 30, 30)}


def test_a_storm_of_mirror_copies_is_told_as_what_cannot_be_foretold(switches: Offline) -> None:
    """A session that copies what comes in again, by way of the pSwitch and the other uplink."""
    session = {
        "type": "mixedDestMirror", "from": {"received": ["vm1"]}, "to": {"uplinks": ["uplink1"]}, "vlan": 10,
        "strip_vlan": True,
    }  # fmt: skip
    vms = {"vm1": vm("web"), "vm2": vm("web", "esx2")}
    groups = {"web": {"vlan": 10, "teaming": {"active": ["uplink2"]}}}
    lab = Lab.of(switches, topology_of(groups, vms, mirrors={"m": session}))
    with pytest.raises(CannotTell, match="never ends"):
        lab.agreed(lab.send("vm2", BROADCAST))


# -- VLANs and private VLANs


def test_unicast_from_an_uplink_in_a_vlan_outside_the_owner_s_ranges_is_dropped_by_vlan_9(switches: Offline) -> None:
    groups = {"trunk": {"vlan": ["20-21", 25]}}
    machines = {"gw": {"switch": "tor1", "access": 10}}
    lab = Lab.of(switches, topology_of(groups, {"vm1": vm("trunk")}, machines=machines))
    said = lab.agreed(lab.send("gw", "vm1"))
    assert got(said) == []
    assert (DropReason.VLAN_MISMATCH, "VLAN-9") in ends(said)


PVLANS = {100: {100: "promiscuous", 101: "isolated", 102: "community"}}


def test_what_an_isolated_port_has_learned_is_still_isolated(switches: Offline) -> None:
    groups = {"dmz": {"pvlan": 101, "security": ALL, "mac_learning": {}}}
    vms = {"vm1": vm("dmz"), "vm2": vm("dmz"), "vm3": vm("dmz", "esx2")}
    lab = Lab.of(switches, topology_of(groups, vms, pvlans=PVLANS))
    teach = lab.send("vm2", BROADCAST, src=NEW)
    near = lab.agreed(teach, lab.send("vm1", NEW))
    assert got(near) == []
    assert (DropReason.PVLAN_ISOLATED, "PVL-2") in ends(near)
    far = lab.agreed(teach, lab.send("vm3", NEW))
    assert got(far) == []
    assert (DropReason.PVLAN_ISOLATED, "PVL-7") in ends(far)


# -- lookup and learning


def learning(vm1: str = "web", **nic: Any) -> Topology:
    groups = {
        "web": {"vlan": 10, "security": ALL, "mac_learning": {}},
        "other": {"vlan": 20, "security": ALL, "mac_learning": {}},
        "plain": {"vlan": 10},
    }
    vms = {"vm1": vm(vm1, **nic), "vm2": vm("web"), "vm3": vm("other"), "vm4": vm("plain")}
    machines = {"gw": {"switch": "tor1", "access": 10}}
    return topology_of(groups, {**vms, "vm5": vm("web")}, machines=machines)


def test_what_a_frame_teaches_holds_from_the_next_frame_on(switches: Offline) -> None:
    """Source and destination are one new MAC: it is not yet known when the frame is looked up."""
    lab = Lab.of(switches, learning())
    itself = lab.send("vm1", NEW, src=NEW)
    first = lab.agreed(itself)
    assert DropReason.OWN_PORT not in {hop.reason for hop in first.drops}
    assert "gw" in {name for name, _ in got(first)}
    second = lab.agreed(itself, itself)
    assert got(second) == []
    assert (DropReason.OWN_PORT, "SEC-15") in ends(second)


def test_a_pswitch_learns_after_its_lookup_too(switches: Offline) -> None:
    machines = {f"m{n}": {"switch": "tor1", "access": 10} for n in (1, 2)}
    lab = Lab.of(switches, topology_of({"web": {"vlan": 10}}, {"vm1": vm("web")}, machines=machines))
    itself = lab.send("m1", NEW, src=NEW)
    first, second = lab.agreed(itself), lab.agreed(itself, itself)
    assert ("m2", ()) in got(first)
    assert got(second) == []


def test_a_learned_mac_comes_before_its_owner_in_another_vlan(switches: Offline) -> None:
    lab = Lab.of(switches, learning())
    nested = lab.send("vm1", BROADCAST, src="vm3")
    for sender in ("gw", "vm4"):
        said = lab.agreed(nested, lab.send(sender, "vm3"))
        assert got(said) == [("vm1", ())]


def test_without_having_learned_it_the_other_vlan_s_owner_is_a_mismatch(switches: Offline) -> None:
    lab = Lab.of(switches, learning())
    said = lab.agreed(lab.send("gw", "vm3"))
    assert (DropReason.VLAN_MISMATCH, "VLAN-4") in ends(said)
    assert "vm3" not in {name for name, _ in got(said)}


def test_a_frame_to_the_sender_s_own_mac_is_seen_by_its_promiscuous_twin(switches: Offline) -> None:
    groups = {"web": {"vlan": 10, "security": ALL}}
    lab = Lab.of(switches, topology_of(groups, {"vm1": vm("web"), "vm2": vm("web")}))
    twin = lab.given(macs=MappingProxyType({lab.port("vm2"): lab.mac("vm1")}), promiscuous=frozenset({lab.port("vm2")}))
    said = twin.agreed(lab.send("vm1", "vm1"))
    assert got(said) == [("vm2", ())]
    deaf = lab.given(macs=twin.state.macs)
    assert got(deaf.agreed(lab.send("vm1", "vm1"))) == []


# -- learned before a change


def relearned(before: Lab, after: Lab, teach: tuple[str, Frame], shot: tuple[str, Frame]) -> Prediction:
    """The switches learn under the rows of `before`, and keep it when the rows are changed to those of `after`."""
    state = before.agreed(teach).state_after(before.state)
    assert state is not before.state
    before.switches.change(compile_plan(after.topology, after.state))
    state = replace(after.state, mac_tables=state.mac_tables, learned=state.learned, secured=state.secured)
    name = shot[0] if shot[0] in after.topology.machines else f"{shot[0]}.eth0"
    (step,) = walk(before.switches, Case("learned before", after.topology, state, ((name, shot[1]),)))
    assert step.asked
    return step.prediction


def leaves(said: Prediction) -> bool:
    return any(hop.point is Point.UPLINK_SND for hop in said.wire)


def test_what_led_to_a_port_that_is_off_now_is_unknown(switches: Offline) -> None:
    lab = Lab.of(switches, learning())
    teach, shot = lab.send("vm1", BROADCAST, src=NEW), lab.send("vm2", NEW)
    assert not leaves(relearned(lab, lab, teach, shot))
    said = relearned(lab, Lab.of(switches, learning(connected=False)), teach, shot)
    assert leaves(said)
    assert {name for name, _ in got(said)} == {"vm5"}


def test_what_led_to_a_port_in_another_vlan_now_is_unknown(switches: Offline) -> None:
    lab = Lab.of(switches, learning())
    moved = Lab.of(switches, learning(vm1="other"))
    said = relearned(lab, moved, lab.send("vm1", BROADCAST, src=NEW), lab.send("vm2", NEW))
    assert leaves(said)
    assert {name for name, _ in got(said)} == {"vm5"}


def test_a_pswitch_entry_for_a_vlan_that_the_port_has_left_is_unknown(switches: Offline) -> None:
    def in_vlan(access: int) -> Lab:
        machines = {name: {"switch": "tor1", "access": 10} for name in ("m2", "m3")}
        machines["m1"] = {"switch": "tor1", "access": access}
        return Lab.of(switches, topology_of({"web": {"vlan": 10}}, {"vm1": vm("web")}, machines=machines))

    lab = in_vlan(10)
    teach, shot = lab.send("m1", BROADCAST), lab.send("m2", "m1")
    assert got(relearned(lab, lab, teach, shot)) == [("m1", ())]
    said = relearned(lab, in_vlan(20), teach, shot)
    assert {name for name, _ in got(said)} == {"m3"}


# -- pSwitches


@pytest.mark.parametrize("stp", [True, False])
def test_a_pswitch_with_spanning_tree_consumes_bpdus(switches: Offline, stp: bool) -> None:
    machines = {f"m{n}": {"switch": "tor1", "access": 10} for n in (1, 2)}
    pswitches = {"tor1": {"stp": stp}}
    topology = topology_of({"web": {"vlan": 10}}, {"vm1": vm("web")}, machines=machines, physical_switches=pswitches)
    lab = Lab.of(switches, topology)
    said = lab.agreed(lab.send("m1", BPDU_MACS[0]))
    assert (("m2", ()) in got(said)) is not stp
    assert (DropReason.PSWITCH_DISCOVERY in {hop.reason for hop in said.drops}) is stp
