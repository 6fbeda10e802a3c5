"""Rows for private VLANs, MAC learning, promiscuous ports, MAC changes, multicast filters and mirroring, one table at a
time; and what must hold of every row of every switch."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from graphlib import TopologicalSorter
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from matching import fields_of, hit, overlap
from planned import RULES, Planned, after, copies, onward, planned

from lab.frame import ALL_SYSTEMS, BPDU_MACS, BROADCAST, CDP_MAC, LLDP_MAC, DropReason
from lab.model import (
    NO_PVLANS,
    VLAN_MAX,
    Knobs,
    Pvlan,
    PvlanKind,
    Ranges,
    Tagging,
    VlanPolicy,
    in_ranges,
)
from lab.plan import compile_plan
from lab.plan.clients import Client, accepted_vlans, blocks_of, clients_of, domain
from lab.plan.mirroring import MIRROR_PORT
from lab.plan.render import render
from lab.plan.tables import (
    ADAPTER,
    BPDU,
    DISPATCH,
    FORGED,
    LEARN,
    LEARNED,
    LEARNED_OUT,
    LIMIT,
    MIRROR_COPY,
    MIRROR_IN,
    MIRROR_OUT,
    MIRROR_SEND,
    PORT_INPUT,
    PROMISCUOUS,
    PUSH_TAG,
    REVERSE,
    TABLE_NAMES,
    TEAMING,
    VLAN_IN,
    VLAN_OUT,
)
from lab.plan.types import Bridge, Row, reason_of_cookie
from lab.teaming import initial_state
from lab.topology import read_topology_file

ROOT = Path(__file__).resolve().parents[2]
STATEMENTS = {entry["id"] for entry in yaml.safe_load((ROOT / "docs/statements.yaml").read_text())}
LAB = planned()
UNKNOWN, FORGED_MAC = "00:50:56:3f:00:01", "00:50:56:3f:00:02"
STREAM, QUIET = "01:00:5e:01:01:01", "01:00:5e:02:02:02"
UNTAGGED, PRIORITY, OWN_TAG = 0x0000, 0xB000, 0x1065
UP: dict[str, Any] = {"reg2": 1}

Dropping = tuple[DropReason | None, str]


def verdict(row: Row) -> Dropping:
    return row.reason, row.why


# -- which VLANs a client takes

PVLANS = LAB.topology.distributed_switches["dvs0"].pvlans


def private(secondary: int) -> VlanPolicy:
    return VlanPolicy(Tagging.PVLAN, secondary, pvlan=PVLANS[secondary])


@pytest.mark.parametrize(
    ("policy", "vlans"),
    [
        pytest.param(VlanPolicy(Tagging.EST), ((0, 0),), id="vlan_2 est"),
        pytest.param(VlanPolicy(Tagging.VST, 10), ((10, 10),), id="vlan_4 vst"),
        pytest.param(VlanPolicy(Tagging.VST, 100), ((100, 100),), id="vlan_4 vst in a primary"),
        pytest.param(VlanPolicy(Tagging.VGT, ranges=((0, 0), (10, 12))), ((0, 0), (10, 12)), id="vlan_9 vgt"),
        pytest.param(private(100), ((100, 100), (101, 101), (102, 102), (103, 103)), id="pvl_1 promiscuous"),
        pytest.param(private(101), ((100, 100),), id="pvl_7 isolated"),
        pytest.param(private(102), ((100, 100), (102, 102)), id="pvl_7 community"),
        pytest.param(private(103), ((100, 100), (103, 103)), id="pvl_7 another community"),
        pytest.param(private(201), ((200, 200),), id="pvl_7 isolated, another primary"),
        pytest.param(private(200), ((200, 200), (201, 201)), id="pvl_1 promiscuous, another primary"),
    ],
)
def test_pvl_7_a_port_takes_the_vlans_of_its_kind(policy: VlanPolicy, vlans: Ranges) -> None:
    assert accepted_vlans(policy, PVLANS) == vlans


def test_a_primary_that_is_above_its_secondaries_does_not_disturb_the_order() -> None:
    pvlans = {900: Pvlan(900, 900, PvlanKind.PROMISCUOUS), 7: Pvlan(900, 7, PvlanKind.COMMUNITY)}
    assert accepted_vlans(VlanPolicy(Tagging.PVLAN, 7, pvlan=pvlans[7]), pvlans) == ((7, 7), (900, 900))


def test_pvl_1_the_domain_of_a_primary_is_all_of_its_own_vlans() -> None:
    assert (domain(100, PVLANS), domain(200, PVLANS)) == ({100, 101, 102, 103}, {200, 201})
    assert domain(300, NO_PVLANS) == {300}


CLIENTS = clients_of(LAB.topology.host_switches["esx1", "dvs0"], LAB.state, Knobs())
vlan_sets = st.frozensets(st.integers(0, VLAN_MAX), min_size=1, max_size=6) | st.sampled_from(
    [frozenset(range(0, 4095)), frozenset(range(1, 4095)), frozenset(range(10, 20)), frozenset(range(15, 25))]
)


def ranges_of(vlans: frozenset[int], joined: bool) -> Ranges:
    """As ranges; not joined: one for each VLAN, as a private VLAN's port has them."""
    found: list[tuple[int, int]] = []
    for vlan in sorted(vlans):
        if joined and found and found[-1][1] == vlan - 1:
            found[-1] = (found[-1][0], vlan)
        else:
            found.append((vlan, vlan))
    return tuple(found)


@settings(deadline=None)
@given(st.lists(st.tuples(vlan_sets, st.booleans()), max_size=6))
def test_every_vlan_is_in_the_block_of_exactly_those_clients_that_take_it(
    taken: list[tuple[frozenset[int], bool]],
) -> None:
    clients = [
        replace(CLIENTS[0], number=n, vlans=ranges_of(vlans, joined or len(vlans) > 100))
        for n, (vlans, joined) in enumerate(taken, start=100)
    ]
    blocks = list(blocks_of(clients))
    for vlan in range(VLAN_MAX + 1):
        takers = tuple(c for c, (vlans, _) in zip(clients, taken, strict=True) if vlan in vlans)
        assert [members for ranges, members in blocks if in_ranges(vlan, ranges)] == ([takers] if takers else [])
    assert len({tuple(c.number for c in members) for _, members in blocks}) == len(blocks)
    for ranges, _ in blocks:
        assert all(low <= high for low, high in ranges)
        assert all(high + 1 < low for (_, high), (low, _) in pairwise(ranges))


def test_no_clients_make_no_blocks() -> None:
    assert list(blocks_of([])) == []


def test_blocks_of_the_clients_of_a_host() -> None:
    found = {ranges: {c.port.nic.owner for c in members} for ranges, members in blocks_of(CLIENTS)}
    in_ten = {"esx1", "web1", "web2", "loud1", "loud2", "nest1", "nest2", "dry1", "free1", "off1", "mute1"}
    shops, everyone = {"shop1", "shop2"}, {"iso1", "iso2", "shop1", "shop2", "park1", "gate1"}
    assert found == {
        ((0, 0),): {"trunk1"},
        ((10, 10),): {*in_ten, "trunk1", "loudest1"},
        ((11, 12),): {"trunk1", "loudest1"},
        ((20, 20),): {"other1"},
        ((100, 100),): {*everyone, "trunk1"},
        ((101, 101),): {"gate1"},
        ((102, 102),): {*shops, "gate1"},
        ((103, 103),): {"park1", "gate1"},
        ((200, 200),): {"apart1"},
    }


# -- what a client is, by policy and by what its guest did


def client(lab: Planned, name: str) -> Client:
    part = lab.topology.host_switches[lab.host, lab.switch]
    return next(c for c in clients_of(part, lab.state, Knobs()) if c.port.name == f"{name}.eth0")


@pytest.mark.parametrize(
    ("name", "wanted", "accepted", "refused"),
    [
        pytest.param("web1", None, "web1", False, id="nothing done"),
        pytest.param("web1", "web1", "web1", False, id="its own set again"),
        pytest.param("web1", FORGED_MAC, "web1", True, id="sec_9 rejected"),
        pytest.param("free1", FORGED_MAC, FORGED_MAC, False, id="sec_10 accepted"),
        pytest.param("free1", "web1", "web1", False, id="sec_10 somebody else's"),
    ],
)
def test_sec_9_sec_10_a_mac_that_the_guest_sets_is_accepted_or_refused(
    name: str, wanted: str | None, accepted: str, refused: bool
) -> None:
    macs = {} if wanted is None else {name: wanted if ":" in wanted else LAB.mac(wanted)}
    found = client(after(LAB, macs=macs), name)
    assert (found.mac, found.refused) == (accepted if ":" in accepted else LAB.mac(accepted), refused)


@pytest.mark.parametrize(
    ("name", "listens", "promiscuous"),
    [("loud1", True, True), ("loud1", False, False), ("web1", True, False), ("web1", False, False)],
    ids=["sec_2 both", "sec_2 policy only", "sec_1 guest only", "neither"],
)
def test_sec_1_sec_2_a_port_is_promiscuous_when_its_policy_and_its_guest_are(
    name: str, listens: bool, promiscuous: bool
) -> None:
    assert client(after(LAB, promiscuous=[name] if listens else []), name).promiscuous is promiscuous


def test_fwd_19_a_client_wants_what_its_guest_asked_for() -> None:
    lab = after(LAB, promiscuous=["loud1"], groups={"web1": [STREAM], "web2": []}, all_groups=["other1"])
    wants = {
        name: [client(lab, name).wants(group) for group in (ALL_SYSTEMS, STREAM, "")]
        for name in ("loud1", "loud2", "web1", "web2", "other1")
    }
    assert wants == {
        "loud1": [True, True, True], "loud2": [True, False, False], "web1": [False, True, False],
        "web2": [False, False, False], "other1": [True, True, True],
    }  # fmt: skip


# -- in


@pytest.mark.parametrize(
    ("name", "session", "expected"),
    [
        pytest.param("web1", "", (None, "web1.eth0"), id="connected"),
        pytest.param("off1", "", (DropReason.DISCONNECTED, "FWD-17"), id="fwd_17"),
        pytest.param("mute1", "", (DropReason.PORT_BLOCKED, "SEC-19"), id="sec_19"),
        pytest.param("web2", "to: {ports: [web2]}", (DropReason.MIRROR_DESTINATION, "MIR-4"), id="mir_4"),
        pytest.param("web2", "to: {ports: [web2]}, normal_traffic: true", (None, "web2.eth0"), id="mir_4 allowed"),
        pytest.param("mute1", "to: {ports: [mute1]}", (DropReason.PORT_BLOCKED, "SEC-19"), id="blocked comes first"),
        pytest.param("off1", "to: {ports: [off1]}", (DropReason.DISCONNECTED, "FWD-17"), id="disconnected comes first"),
    ],
)
def test_who_may_send_at_all(name: str, session: str, expected: Dropping) -> None:
    mirrors = f"m: {{type: dvPortMirror, from: {{transmitted: [web1]}}, {session}}}" if session else ""
    assert verdict(planned(mirrors=mirrors).hit(PORT_INPUT, name)) == expected


@pytest.mark.parametrize(
    ("knobs", "name", "set_mac", "source", "passes"),
    [
        pytest.param("", "web1", None, "own", True, id="sec_7 its own"),
        pytest.param("", "web1", None, FORGED_MAC, False, id="sec_7 forged"),
        pytest.param("", "free1", None, FORGED_MAC, True, id="sec_12 accepted"),
        pytest.param("", "both", FORGED_MAC, FORGED_MAC, True, id="sec_8 effective: the MAC that was set"),
        pytest.param("", "both", FORGED_MAC, "own", False, id="sec_8 effective: the old one is forged"),
        pytest.param("forged_compare: vmx", "both", FORGED_MAC, FORGED_MAC, False, id="sec_8 vmx: forged"),
        pytest.param("forged_compare: vmx", "both", FORGED_MAC, "own", True, id="sec_8 vmx: the configured one"),
        pytest.param("", "web1", FORGED_MAC, FORGED_MAC, False, id="sec_11 a MAC that was refused is forged"),
        pytest.param("", "web1", FORGED_MAC, "own", True, id="sec_11 and the configured one passes"),
    ],
)
def test_sec_7_sec_8_which_source_passes(knobs: str, name: str, set_mac: str | None, source: str, passes: bool) -> None:
    changes = "{port_group: free, security: {forged_transmits: reject, mac_changes: accept}}"
    lab = planned(knobs, more=f"  both: {{host: esx1, networks: [{changes}]}}\n")
    lab = after(lab, macs={name: set_mac} if set_mac else {})
    row = lab.hit(FORGED, name, dl_src=lab.mac(name) if source == "own" else source)
    assert verdict(row)[0] is (None if passes else DropReason.FORGED_TRANSMIT)
    assert row.actions == (f"goto_table:{BPDU}" if passes else "drop")
    assert passes or row.why == "SEC-7"


@pytest.mark.parametrize(("name", "vlan"), [("iso1", 101), ("shop1", 102), ("park1", 103), ("gate1", 100)])
def test_pvl_6_a_private_vlan_s_port_sends_in_its_own_vlan_and_may_not_tag(name: str, vlan: int) -> None:
    enter = f"set_field:{vlan:#x}->reg0,goto_table:{MIRROR_IN}"
    assert LAB.hit(VLAN_IN, name, vlan_tci=UNTAGGED).actions == enter
    assert LAB.hit(VLAN_IN, name, vlan_tci=PRIORITY).actions.endswith(f"pop_vlan,{enter}")
    assert verdict(LAB.hit(VLAN_IN, name, vlan_tci=0x1000 | vlan)) == (DropReason.DOUBLE_TAG, "PVL-6")
    dropping = planned("prio_tag: drop")
    assert verdict(dropping.hit(VLAN_IN, name, vlan_tci=PRIORITY)) == (DropReason.VLAN_MISMATCH, "VLAN-14")


@pytest.mark.parametrize("name", ["nest1", "dry1"])
def test_sec_15_only_a_learning_port_s_frames_go_by_the_learning_table(name: str) -> None:
    assert LAB.hit(VLAN_IN, name, vlan_tci=UNTAGGED).actions == f"set_field:0xa->reg0,goto_table:{LEARN}"
    assert LAB.hit(VLAN_IN, "web1", vlan_tci=UNTAGGED).actions == f"set_field:0xa->reg0,goto_table:{MIRROR_IN}"


@pytest.mark.parametrize("mac", [CDP_MAC, LLDP_MAC])
def test_mir_13_discovery_ends_at_an_uplink_and_passes_from_a_guest(mac: str) -> None:
    assert verdict(LAB.hit(PORT_INPUT, "vmnic0", to=mac)) == (DropReason.DISCOVERY, "MIR-13")
    assert LAB.hit(PORT_INPUT, "web1", to=mac).reason is None


# -- MAC learning


def learn(lab: Planned, name: str, limit: int, age: int = 600) -> str:
    number = lab.port(name)
    return (
        f"learn(table={LEARNED},priority=50,hard_timeout={age},cookie={0x1EA << 32 | number:#x},limit={limit},"
        "result_dst=NXM_NX_REG3[0],NXM_NX_REG0[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
        f"load:{number:#x}->NXM_NX_REG5[]),"
    )


@pytest.mark.parametrize(
    ("written", "limit", "age"),
    [("limit: 3", 3, 600), ("", 4096, 600), ("limit: 1, age: 30s", 1, 30), ("limit: 0, over_limit: allow", 0, 600)],
)
def test_sec_15_sec_17_a_port_learns_sources_that_are_not_its_own(written: str, limit: int, age: int) -> None:
    lab = planned(learning=written)
    learned = learn(lab, "nest1", limit, age) if limit else ""
    assert lab.hit(LEARN, "nest1", dl_src=FORGED_MAC).actions == f"{learned}goto_table:{LIMIT}"
    assert lab.hit(LEARN, "nest1", dl_src=lab.mac("nest2")).actions == f"{learned}goto_table:{LIMIT}"
    for source in (lab.mac("nest1"), "03:00:00:00:00:01"):
        assert lab.hit(LEARN, "nest1", dl_src=source).actions == f"goto_table:{MIRROR_IN}"


def test_sec_15_a_limit_of_0_learns_nothing_at_all() -> None:
    lab = planned(learning="limit: 0")
    learning = {row.match for row in lab.rows if "learn(" in row.actions}
    assert learning == {f"in_port={lab.port('dry1')}"}
    assert not [row for row in lab.rows if "limit=0" in row.actions]  # to Open vSwitch: without a limit


@pytest.mark.parametrize(
    ("name", "room", "expected"),
    [
        ("nest1", 1, (None, f"goto_table:{MIRROR_IN}")),
        ("nest1", 0, (DropReason.MAC_LIMIT, "drop")),
        ("dry1", 1, (None, f"goto_table:{MIRROR_IN}")),
        ("dry1", 0, (None, f"goto_table:{MIRROR_IN}")),
    ],
    ids=["room", "full, drop", "room, allow", "full, allow"],
)
def test_sec_15_what_happens_over_the_limit(name: str, room: int, expected: tuple[DropReason | None, str]) -> None:
    row = LAB.hit(LIMIT, name, reg3=room)
    assert (row.reason, row.actions) == expected


def test_sec_15_the_accepted_mac_is_the_one_that_is_not_learned() -> None:
    changes = "{port_group: nest, security: {mac_changes: accept, forged_transmits: accept}}"
    lab = after(planned(more=f"  moved: {{host: esx1, networks: [{changes}]}}\n"), macs={"moved": FORGED_MAC})
    assert lab.hit(LEARN, "moved", dl_src=FORGED_MAC).actions == f"goto_table:{MIRROR_IN}"
    assert lab.hit(LEARN, "moved", dl_src=lab.mac("moved")).actions.startswith("learn(")


def test_what_is_learned_is_in_a_table_of_its_own_with_a_cookie_of_its_own() -> None:
    assert LAB.table(LEARNED) == {}
    cookies = {int(found, 16) for row in LAB.rows for found in re.findall(r"cookie=(0x[0-9a-f]+)", row.actions)}
    assert cookies == {0x1EA << 32 | LAB.port(name) for name in ("nest1", "nest2", "dry1")}
    assert {reason_of_cookie(cookie) for cookie in cookies} == {None}


def test_sec_15_unknown_unicast_is_looked_up_among_what_was_learned() -> None:
    places: list[dict[str, Any]] = [{"port": "web1"}, {"port": "vmnic0", **UP}]
    for where in places:
        row = LAB.hit(DISPATCH, to=UNKNOWN, reg0=10, **where)
        assert row.actions == f"resubmit(,{LEARNED}),goto_table:{LEARNED_OUT}"
    assert LAB.hit(DISPATCH, "web1", to="web2", reg0=10).actions == f"set_field:{LAB.port('web2')}->reg5,goto_table:50"


def test_sec_15_a_learned_mac_is_delivered_to_its_port() -> None:
    learned: dict[str, Any] = {"reg5": LAB.port("nest1"), "reg0": 10}
    assert LAB.hit(LEARNED_OUT, "web1", **learned).actions == f"goto_table:{REVERSE}"
    assert LAB.hit(LEARNED_OUT, "vmnic0", **learned, **UP).actions == f"goto_table:{REVERSE}"
    assert verdict(LAB.hit(LEARNED_OUT, "nest1", **learned)) == (DropReason.OWN_PORT, "SEC-15")


@pytest.mark.parametrize(
    ("port", "vlan", "flooded", "ends"),
    [
        pytest.param("web1", 10, {"nest1", "nest2"}, None, id="sec_16 local"),
        pytest.param("vmnic0", 10, {"nest1", "nest2"}, None, id="sec_16 from an uplink"),
        pytest.param("other1", 20, set(), None, id="sec_16 not in another VLAN"),
        pytest.param("vmnic0", 20, set(), DropReason.UNKNOWN_UNICAST, id="fwd_5 nobody learns there"),
    ],
)
def test_sec_16_what_nobody_learned_is_flooded_to_learners_with_flooding(
    port: str, vlan: int, flooded: set[str], ends: DropReason | None
) -> None:
    row = LAB.hit(LEARNED_OUT, port, reg0=vlan, reg5=0, reg2=int(port == "vmnic0"))
    assert copies(row) == LAB.ports(*flooded)
    assert (row.reason, onward(row)) == (ends, "" if ends else f"goto_table:{TEAMING}")


def test_sec_16_without_flooding_unknown_unicast_is_as_without_learning() -> None:
    lab = planned(learning="unicast_flooding: false")
    assert lab.hit(LEARNED_OUT, "web1", reg0=10, reg5=0).actions == f"goto_table:{TEAMING}"
    assert verdict(lab.hit(LEARNED_OUT, "vmnic0", reg0=10, reg5=0, **UP)) == (DropReason.UNKNOWN_UNICAST, "FWD-5")


def test_without_mac_learning_there_are_no_tables_for_it() -> None:
    far = LAB.on("esx2")
    assert {LEARN, LIMIT, LEARNED, LEARNED_OUT}.isdisjoint(row.table for row in far.rows)
    assert far.hit(DISPATCH, "far1", to=UNKNOWN, reg0=10).actions == f"goto_table:{TEAMING}"
    assert verdict(far.hit(DISPATCH, "vmnic0", to=UNKNOWN, reg0=10, **UP)) == (DropReason.UNKNOWN_UNICAST, "FWD-5")


# -- promiscuous ports

LOUD = after(LAB, promiscuous=["loud1", "loud2", "loudest1", "web1"])


@pytest.mark.parametrize(
    ("vlan", "to", "heard_by"),
    [
        pytest.param(10, "web2", {"loud1", "loud2", "loudest1"}, id="sec_2 somebody else's"),
        pytest.param(10, UNKNOWN, {"loud1", "loud2", "loudest1"}, id="sec_2 nobody's"),
        pytest.param(10, "loud1", {"loud2", "loudest1"}, id="the owner is left out"),
        pytest.param(10, "loudest1", {"loud1", "loud2"}, id="the owner is left out, in a trunk"),
        pytest.param(11, "web2", {"loudest1"}, id="sec_3 another VLAN, in a trunk's range"),
        pytest.param(12, "loudest1", set(), id="the owner is the only one"),
        pytest.param(11, "loud1", {"loudest1"}, id="an owner that does not take the VLAN matters not"),
        pytest.param(20, "other1", set(), id="sec_3 another VLAN"),
        pytest.param(10, BROADCAST, set(), id="broadcast is not copied here"),
        pytest.param(10, STREAM, set(), id="multicast is not copied here"),
    ],
)
@pytest.mark.parametrize("port", ["web2", "loud1", "vmnic0"])
def test_sec_2_who_overhears_a_unicast(vlan: int, to: str, heard_by: set[str], port: str) -> None:
    row = LOUD.hit(PROMISCUOUS, port, to=to, reg0=vlan, reg2=int(port == "vmnic0"))
    assert copies(row) == LOUD.ports(*heard_by)
    assert onward(row) == f"goto_table:{DISPATCH}" or row.actions == f"goto_table:{DISPATCH}"


def test_sec_2_a_port_never_hears_itself() -> None:
    for name in ("loud1", "web1"):
        row = LOUD.hit(REVERSE, name, reg5=LOUD.port(name))
        assert (row.actions, row.reason) == ("drop", None)


def test_sec_1_nothing_is_copied_where_nobody_listens() -> None:
    assert LAB.table(PROMISCUOUS) == {"": f"goto_table:{DISPATCH}"}
    assert after(LAB, promiscuous=["web1"]).table(PROMISCUOUS) == {"": f"goto_table:{DISPATCH}"}


def test_sec_2_a_multicast_reaches_a_promiscuous_port_though_it_did_not_ask() -> None:
    assert copies(LOUD.hit(DISPATCH, "web1", to=QUIET, reg0=10)) == LOUD.ports("loud1", "loud2", "loudest1")
    assert copies(LOUD.hit(DISPATCH, "web1", to=QUIET, reg0=11)) == LOUD.ports("loudest1")


@pytest.mark.parametrize(
    ("knobs", "name", "checked"),
    [
        ("", "loud1", False), ("reverse_path_promisc: 1", "loud1", True), ("", "web2", True),
        ("reverse_path: 0, reverse_path_promisc: 1", "loud1", False), ("reverse_path: 0", "web2", False),
    ],
)  # fmt: skip
def test_sec_5_reverse_path_at_a_promiscuous_port_is_a_knob(knobs: str, name: str, checked: bool) -> None:
    lab = after(planned(knobs), promiscuous=["loud1"])
    own = lab.state.uplink_of["esx1", f"{name}.eth0"]
    (wrong,) = {"vmnic0", "vmnic1"} - {own}
    row = lab.hit(REVERSE, wrong, reg5=lab.port(name), **UP)
    assert verdict(row) == ((DropReason.REVERSE_PATH, "FWD-11") if checked else (None, f"{name}.eth0"))
    assert lab.hit(REVERSE, str(own), reg5=lab.port(name), **UP).actions == f"goto_table:{ADAPTER}"


def test_sec_16_a_promiscuous_learner_has_one_copy_only() -> None:
    lab = after(
        planned(more="  all1: {host: esx1, networks: [{port_group: nest, security: {promiscuous: accept}}]}\n"),
        promiscuous=["all1"],
    )
    assert copies(lab.hit(PROMISCUOUS, "web1", to=UNKNOWN, reg0=10)) == lab.ports("all1")
    assert copies(lab.hit(LEARNED_OUT, "web1", reg0=10, reg5=0)) == lab.ports("nest1", "nest2")
    learned = lab.hit(LEARNED_OUT, "web1", reg0=10, reg5=lab.port("all1"))
    assert (learned.actions, learned.reason) == ("drop", None)


# -- private VLANs inside

HEARD: dict[str, dict[str, str | DropReason | None]] = {
    # sender -> what each of these says of its unicast
    "gate1": {"iso1": None, "shop1": None, "park1": None, "gate1": DropReason.OWN_PORT},
    "iso1": {"iso2": "PVL-2", "shop1": "PVL-3", "park1": "PVL-3", "gate1": None},
    "shop1": {"iso1": "PVL-3", "shop2": None, "park1": "PVL-4", "gate1": None},
    "park1": {"iso1": "PVL-3", "shop1": "PVL-4", "gate1": None},
}
VLAN_OF = {"gate1": 100, "iso1": 101, "shop1": 102, "park1": 103}


@pytest.mark.parametrize(
    ("sender", "receiver", "why"), [(s, r, why) for s, heard in HEARD.items() for r, why in heard.items()]
)
def test_pvl_1_to_pvl_4_who_reaches_whom_on_one_host(sender: str, receiver: str, why: str | DropReason | None) -> None:
    row = LAB.hit(DISPATCH, sender, to=receiver, reg0=VLAN_OF[sender])
    if why is None:
        assert row.actions == f"set_field:{LAB.port(receiver)}->reg5,goto_table:{REVERSE}"
    elif isinstance(why, DropReason):
        assert row.reason is why
    else:
        assert verdict(row) == (DropReason.PVLAN_ISOLATED, why)
        assert row.port == LAB.port(receiver)


@pytest.mark.parametrize(
    ("vlan", "reached"),
    [
        (100, {"iso1", "shop1", "park1", "gate1"}),
        (101, {"gate1"}),
        (102, {"shop1", "gate1"}),
        (103, {"park1", "gate1"}),
    ],
)
def test_pvl_7_who_is_reached_from_the_uplink(vlan: int, reached: set[str]) -> None:
    for name in ("iso1", "shop1", "park1", "gate1"):
        row = LAB.hit(DISPATCH, "vmnic0", to=name, reg0=vlan, **UP)
        assert verdict(row)[0] is (None if name in reached else DropReason.PVLAN_ISOLATED)
        assert name in reached or (row.why, row.port) == ("PVL-7", LAB.port(name))


@pytest.mark.parametrize(
    ("sender", "heard_by"),
    [
        pytest.param("gate1", {"iso1", "iso2", "shop1", "shop2", "park1", "gate1", "trunk1"}, id="pvl_1 promiscuous"),
        pytest.param("iso1", {"gate1"}, id="pvl_5 isolated"),
        pytest.param("shop1", {"shop1", "shop2", "gate1"}, id="pvl_4 community"),
        pytest.param("park1", {"park1", "gate1"}, id="pvl_4 another community"),
    ],
)
@pytest.mark.parametrize("to", [BROADCAST, ALL_SYSTEMS])
def test_pvl_5_who_hears_a_broadcast(sender: str, heard_by: set[str], to: str) -> None:
    row = LAB.hit(DISPATCH, sender, to=to, reg0=VLAN_OF[sender])
    assert copies(row) == LAB.ports(*heard_by)
    assert onward(row) == f"goto_table:{TEAMING}"


def test_pvl_2_ports_of_different_private_vlans_are_in_different_vlans_and_not_isolated() -> None:
    assert LAB.hit(DISPATCH, "iso1", to="apart1", reg0=101).reason is None
    from_wire = LAB.hit(LEARNED_OUT, "vmnic0", to="apart1", reg0=101, **UP)
    assert verdict(from_wire) == (DropReason.VLAN_MISMATCH, "VLAN-4")


@pytest.mark.parametrize(("name", "vlan"), [("iso1", 101), ("shop1", 102), ("gate1", 100)])
def test_pvl_6_on_the_uplink_a_frame_has_the_tag_of_its_sender_s_vlan(name: str, vlan: int) -> None:
    assert LAB.hit(VLAN_OUT, name, reg5=1, reg0=vlan).actions == f"{PUSH_TAG},output:1"
    assert LAB.hit(VLAN_OUT, "vmnic0", reg5=LAB.port(name), reg0=100, **UP).actions == f"output:{LAB.port(name)}"


# -- groups

ASKED = after(LAB, groups={"web1": [STREAM], "other1": [STREAM, ALL_SYSTEMS], "web2": []}, all_groups=["dry1"])


@pytest.mark.parametrize(
    ("to", "vlan", "heard_by"),
    [
        pytest.param(STREAM, 10, {"web1", "dry1"}, id="fwd_19 those that asked, and who asked for all"),
        pytest.param(STREAM, 20, {"other1"}, id="fwd_19 in their own VLAN"),
        pytest.param(QUIET, 10, {"dry1"}, id="fwd_19 nobody asked for it"),
        pytest.param(QUIET, 20, set(), id="fwd_19 nobody at all"),
        pytest.param(BPDU_MACS[0], 10, {"dry1"}, id="fwd_15 a BPDU is a multicast"),
        pytest.param(LLDP_MAC, 10, {"dry1"}, id="mir_13 a guest's LLDP is a multicast"),
        pytest.param(BROADCAST, 20, {"other1"}, id="fwd_6 broadcast needs no asking"),
    ],
)
def test_fwd_19_a_multicast_goes_to_those_that_asked(to: str, vlan: int, heard_by: set[str]) -> None:
    local = ASKED.hit(DISPATCH, "web2", to=to, reg0=vlan)
    assert copies(local) == ASKED.ports(*heard_by)
    assert onward(local) == f"goto_table:{TEAMING}" or local.actions == f"goto_table:{TEAMING}"
    from_wire = ASKED.hit(DISPATCH, "vmnic0", to=to, reg0=vlan, **UP)
    assert copies(from_wire) == ASKED.ports(*heard_by)
    assert heard_by or verdict(from_wire) == (DropReason.NO_RECEIVER, "FWD-19")


@pytest.mark.parametrize("found", [c for c in CLIENTS if c.connected], ids=lambda found: str(found.port.name))
def test_fwd_1_every_connected_port_is_found_by_its_mac_in_the_vlans_that_it_takes(found: Client) -> None:
    for low, high in found.vlans:
        for vlan in {low, high}:
            row = LAB.hit(DISPATCH, "vmnic0", to=found.mac, reg0=vlan, **UP)
            assert row.actions == f"set_field:{found.number}->reg5,goto_table:{REVERSE}"


def test_fwd_8_what_came_in_on_an_uplink_leaves_on_none() -> None:
    assert verdict(LAB.hit(TEAMING, "vmnic0", **UP)) == (None, "FWD-8: never uplink to uplink")
    assert LAB.hit(TEAMING, "vmnic0", **UP).actions == "drop"


def test_fwd_17_a_disconnected_port_asks_for_nothing_and_owns_nothing() -> None:
    assert LAB.port("off1") not in copies(LAB.hit(DISPATCH, "web1", to=BROADCAST, reg0=10))
    assert LAB.hit(DISPATCH, "web1", to="off1", reg0=10).actions.startswith("resubmit")


# -- out


@pytest.mark.parametrize("name", ["web1", "free1"])
def test_sec_9_sec_10_after_a_mac_change(name: str) -> None:
    lab = after(LAB, macs={name: FORGED_MAC})
    out = lab.hit(ADAPTER, "web2", reg5=lab.port(name))
    here = f"set_field:{lab.port(name)}->reg5,goto_table:{REVERSE}"
    to_old, to_new = (lab.hit(DISPATCH, "web2", to=to, reg0=10).actions for to in (name, FORGED_MAC))
    if name == "free1":
        assert out.actions == f"goto_table:{MIRROR_OUT}"
        assert (to_old.startswith("resubmit"), to_new) == (True, here)
    else:
        assert verdict(out) == (DropReason.MAC_CHANGE, "SEC-9")
        assert (to_old, to_new.startswith("resubmit")) == (here, True)
        assert lab.port(name) in copies(lab.hit(DISPATCH, "web2", to=BROADCAST, reg0=10))


def test_sec_9_the_configured_mac_set_again_restores_reception() -> None:
    assert after(LAB, macs={"web1": LAB.mac("web1")}).rows == LAB.rows


def test_sec_10_two_ports_with_one_mac_both_get_its_frames() -> None:
    lab = after(LAB, macs={"free1": LAB.mac("web1")})
    assert copies(lab.hit(DISPATCH, "web2", to="web1", reg0=10)) == lab.ports("web1", "free1")
    assert verdict(lab.hit(DISPATCH, "free1", to="web1", reg0=10)) == (DropReason.OWN_PORT, "FWD-1")


TAP = "type: dvPortMirror, from: {transmitted: [web1], received: [web1]}, to: {ports: [web2]}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mute1", (DropReason.PORT_BLOCKED, "SEC-19")),
        ("web2", (DropReason.MIRROR_DESTINATION, "MIR-4")),
        ("web1", (None, "web1.eth0")),
    ],
)
def test_what_a_port_refuses_on_the_way_out(name: str, expected: Dropping) -> None:
    lab = planned(mirrors=f"m: {{{TAP}}}")
    assert verdict(lab.hit(REVERSE, "other1", reg5=lab.port(name))) == expected
    for uplink in ("vmnic0", "vmnic1"):  # and no reverse path comes before it
        reason = lab.hit(REVERSE, uplink, reg5=lab.port(name), **UP).reason
        assert reason in (expected[0], DropReason.REVERSE_PATH if expected[0] is None else expected[0])


def test_blocked_is_told_before_mirror_destination() -> None:
    lab = planned(mirrors="m: {type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [mute1]}}")
    assert verdict(lab.hit(REVERSE, "web1", reg5=lab.port("mute1"))) == (DropReason.PORT_BLOCKED, "SEC-19")


# -- mirroring


def mirrored(*sessions: str) -> Planned:
    """Sessions m1, m2, ..."""
    return planned(mirrors=", ".join(f"m{n}: {{{session}}}" for n, session in enumerate(sessions, start=1)))


def clones(*sessions: int) -> str:
    return ",".join(f"clone(set_field:{n}->reg6,resubmit(,{MIRROR_COPY}))" for n in sessions)


def sends(*ports: int) -> str:
    return ",".join(f"clone(set_field:{port}->reg7,resubmit(,{MIRROR_SEND}))" for port in ports)


def tag(vlan: int) -> str:
    return f"push_vlan:0x8100,set_field:{0x1000 | vlan:#x}->vlan_tci"


SENT = "type: dvPortMirror, from: {transmitted: [web1]}"
GOT = "type: dvPortMirror, from: {received: [web1]}"
RSPAN = "type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink2]}, vlan: 999"
IN = "type: remoteMirrorDest, from: {vlans: [999, 998]}, to: {ports: [web2]}"
OLD = "type: mixedDestMirror, from: {transmitted: [web1]}, to: {uplinks: [uplink2]}"
L3 = "type: encapsulatedRemoteMirrorSource, from: {transmitted: [web1]}, to: {addresses: [10.0.5.9]}"


def test_without_sessions_frames_pass_both_mirror_tables() -> None:
    assert LAB.table(MIRROR_IN) == {"": f"goto_table:{PROMISCUOUS}"}
    assert LAB.table(MIRROR_OUT) == {"": f"goto_table:{VLAN_OUT}"}
    assert LAB.table(MIRROR_COPY) == LAB.table(MIRROR_SEND) == {}


def test_mir_1_a_direction_is_mirrored_where_it_passes() -> None:
    sent, got = mirrored(f"{SENT}, to: {{ports: [web2]}}"), mirrored(f"{GOT}, to: {{ports: [web2]}}")
    here, out = f"in_port={LAB.port('web1')}", f"reg5={LAB.port('web1'):#x}"
    assert sent.table(MIRROR_IN) == {
        here: f"{clones(1)},goto_table:{PROMISCUOUS}", "": f"goto_table:{PROMISCUOUS}",
    }  # fmt: skip
    assert sent.table(MIRROR_OUT) == LAB.table(MIRROR_OUT)
    assert got.table(MIRROR_OUT) == {out: f"{clones(1)},goto_table:{VLAN_OUT}", "": f"goto_table:{VLAN_OUT}"}
    assert got.table(MIRROR_IN) == LAB.table(MIRROR_IN)


def test_mir_1_a_local_frame_between_two_sources_is_copied_twice() -> None:
    lab = mirrored("type: dvPortMirror, from: {transmitted: [web1], received: [other1]}, to: {ports: [web2]}")
    assert clones(1) in lab.hit(MIRROR_IN, "web1", reg0=10).actions
    assert clones(1) in lab.hit(MIRROR_OUT, "web1", reg5=lab.port("other1")).actions


def test_mir_1_several_sessions_copy_one_frame_in_file_order() -> None:
    lab = mirrored(f"{SENT}, to: {{ports: [web2]}}", f"{GOT}, to: {{ports: [web2]}}", RSPAN)
    assert lab.hit(MIRROR_IN, "web1", reg0=10).actions == f"{clones(1, 3)},goto_table:{PROMISCUOUS}"
    assert lab.hit(MIRROR_OUT, "web2", reg5=lab.port("web1")).actions == f"{clones(2)},goto_table:{VLAN_OUT}"


@pytest.mark.parametrize(
    ("session", "dressed", "bare"),
    [
        pytest.param(f"{SENT}, to: {{ports: [web2]}}", f"{PUSH_TAG},", "", id="its own tag"),
        pytest.param(f"{SENT}, to: {{ports: [web2]}}, strip_vlan: true", "", "", id="stripped"),
        pytest.param(RSPAN, f"{PUSH_TAG},{tag(999)},", f"{tag(999)},", id="mir_2 the original is the inner one"),
        pytest.param(f"{RSPAN}, strip_vlan: true", f"{tag(999)},", f"{tag(999)},", id="mir_2 a single tag"),
        pytest.param(IN, f"{PUSH_TAG},", "", id="from an RSPAN VLAN"),
        pytest.param(f"{IN}, strip_vlan: true", "", "", id="from an RSPAN VLAN, stripped"),
    ],
)
def test_mir_2_the_tags_of_a_copy(session: str, dressed: str, bare: str) -> None:
    lab = mirrored(session)
    send = sends(2) if "uplink2" in session else sends(lab.port("web2"))
    assert lab.hit(MIRROR_COPY, "web1", reg6=1, reg0=10).actions == f"{dressed}{send}"
    assert lab.hit(MIRROR_COPY, "web1", reg6=1, reg0=0).actions == f"{bare}{send}"


def test_a_copy_goes_out_of_its_destination_and_back_to_where_the_frame_came_from() -> None:
    lab = mirrored("type: mixedDestMirror, from: {transmitted: [web1]}, to: {ports: [web2], uplinks: [uplink1]}")
    for name, number in (("web2", lab.port("web2")), ("vmnic0", 1)):
        assert lab.hit(MIRROR_SEND, "web1", reg6=1, reg7=number).actions == f"output:{number}"
        assert lab.hit(MIRROR_SEND, name, reg6=1, reg7=number).actions == f"set_field:65535->in_port,output:{number}"


@pytest.mark.parametrize(
    "session", [L3, "type: mixedDestMirror, from: {transmitted: [web1]}, to: {uplinks: [uplink1]}, sampling: 2"]
)
def test_mir_5_a_host_without_a_mirror_port_sends_nothing_there(session: str) -> None:
    far = mirrored(session).on("esx2")
    assert "dvs0.mirror" not in {port.label for port in far.bridge.ports}
    assert not [row for row in far.rows if "output:90" in row.actions or "in_port=90" in row.match]


def test_mir_3_a_truncated_copy_is_cut_wherever_it_goes() -> None:
    lab = mirrored(f"{SENT}, to: {{ports: [web2]}}, length: 60", f"{SENT}, to: {{ports: [web2]}}")
    web2 = lab.port("web2")
    assert lab.hit(MIRROR_SEND, "web1", reg6=1, reg7=web2).actions == f"clone(output(port={web2},max_len=60)),note:00"
    assert lab.hit(MIRROR_SEND, "web1", reg6=2, reg7=web2).actions == f"output:{web2}"


def test_mir_1_destinations_are_the_ports_of_this_host_that_are_connected_and_not_blocked() -> None:
    lab = mirrored(f"{SENT}, to: {{ports: [far1, off1, mute1, web2, other1]}}")
    assert lab.hit(MIRROR_COPY, "web1", reg6=1, reg0=0).actions == sends(lab.port("web2"), lab.port("other1"))


def test_mir_7_a_copy_goes_to_the_uplinks_of_this_host_whose_link_is_up() -> None:
    both = RSPAN.replace("[uplink2]", "[uplink1, uplink2]")
    lab = mirrored(both)
    assert lab.hit(MIRROR_COPY, "web1", reg6=1, reg0=0).actions.endswith(sends(1, 2))
    one_down = after(lab, down=["vmnic0"])
    assert one_down.hit(MIRROR_COPY, "web1", reg6=1, reg0=0).actions.endswith(f"vlan_tci,{sends(2)}")
    assert MIRROR_SEND in {row.table for row in one_down.rows}


@pytest.mark.parametrize(
    ("session", "down"),
    [
        pytest.param(f"{SENT}, to: {{ports: [mute1]}}", (), id="the only destination is blocked"),
        pytest.param(f"{SENT}, to: {{ports: [off1]}}", (), id="the only destination is disconnected"),
        pytest.param(f"{SENT}, to: {{ports: [far1]}}", (), id="the only destination is on another host"),
        pytest.param(RSPAN, ("vmnic1",), id="the only uplink is down"),
    ],
)
def test_a_session_without_a_usable_destination_copies_nothing(session: str, down: tuple[str, ...]) -> None:
    lab = after(mirrored(session), down=down)
    assert lab.table(MIRROR_IN) == LAB.table(MIRROR_IN)
    assert lab.table(MIRROR_COPY) == lab.table(MIRROR_SEND) == {}


def test_a_disconnected_source_is_no_source() -> None:
    lab = mirrored("type: dvPortMirror, from: {transmitted: [off1], received: [off1]}, to: {ports: [web2]}")
    assert (lab.table(MIRROR_IN), lab.table(MIRROR_OUT)) == (LAB.table(MIRROR_IN), LAB.table(MIRROR_OUT))


def test_a_host_without_a_source_has_no_rows_that_copy() -> None:
    far = mirrored(f"{SENT}, to: {{ports: [web2]}}", RSPAN).on("esx2")
    assert (far.table(MIRROR_IN), far.table(MIRROR_OUT)) == (LAB.table(MIRROR_IN), LAB.table(MIRROR_OUT))


def test_sessions_of_a_vlan_copy_what_an_uplink_receives_in_it() -> None:
    lab = mirrored(IN, "type: remoteMirrorDest, from: {vlans: [999]}, to: {ports: [other1]}")
    assert lab.hit(MIRROR_IN, "vmnic1", reg0=999, **UP).actions == f"{clones(1, 2)},goto_table:{PROMISCUOUS}"
    assert lab.hit(MIRROR_IN, "vmnic0", reg0=998, **UP).actions == f"{clones(1)},goto_table:{PROMISCUOUS}"
    assert lab.hit(MIRROR_IN, "vmnic0", reg0=997, **UP).actions == f"goto_table:{PROMISCUOUS}"
    assert lab.hit(MIRROR_IN, "trunk1", reg0=999).actions == f"goto_table:{PROMISCUOUS}"  # a guest's is none


@pytest.mark.parametrize(
    ("session", "ends", "back"),
    [
        pytest.param(f"{SENT}, to: {{ports: [web2]}}, sampling: 5", "web2", True, id="mir_5 sampled"),
        pytest.param(f"{OLD}, sampling: 5", "uplink2", True, id="mir_5 sampled, to the wire"),
        pytest.param(L3, "", False, id="mir_6 encapsulated"),
        pytest.param(f"{L3}, sampling: 9", "", False, id="mir_6 encapsulated and sampled"),
    ],
)
def test_mir_5_mir_6_the_actor_gets_copies_with_the_session_s_number_and_gives_sampled_ones_back(
    session: str, ends: str, back: bool
) -> None:
    lab = mirrored(GOT.replace("web1", "other1") + ", to: {ports: [web1]}", session)
    assert lab.bridge.port("dvs0.mirror").number == MIRROR_PORT
    assert lab.hit(MIRROR_COPY, "web1", reg6=2, reg0=10).actions == f"{PUSH_TAG},{tag(2)},{sends(MIRROR_PORT)}"
    assert lab.hit(MIRROR_COPY, "web1", reg6=2, reg0=0).actions == f"{tag(2)},{sends(MIRROR_PORT)}"
    assert lab.hit(MIRROR_SEND, "web1", reg6=2, reg7=MIRROR_PORT).actions == f"output:{MIRROR_PORT}"
    returned = hit(lab.rows, PORT_INPUT, in_port=MIRROR_PORT, vlan_tci=0x1002)
    if back:
        target = lab.port("web2") if ends == "web2" else 2
        assert returned.actions == f"pop_vlan,set_field:2->reg6,{sends(target)}"
        sent = hit(lab.rows, MIRROR_SEND, in_port=MIRROR_PORT, reg6=2, reg7=target)
        assert sent.actions == f"output:{target}"
    else:
        assert verdict(returned) == (DropReason.MIRROR_DESTINATION, "MIR-4")


@pytest.mark.parametrize("tci", [0, 0x1000, 0x1001, 0x100A])
def test_what_the_actor_was_not_sent_ends_at_its_port(tci: int) -> None:
    lab = mirrored(f"{GOT}, to: {{ports: [web2]}}", f"{SENT}, to: {{ports: [web2]}}, sampling: 5")
    row = hit(lab.rows, PORT_INPUT, in_port=MIRROR_PORT, vlan_tci=tci)
    assert (verdict(row), row.port) == ((DropReason.MIRROR_DESTINATION, "MIR-4"), MIRROR_PORT)


def test_mir_3_the_actor_s_copy_is_cut_on_its_way_back_and_not_before() -> None:
    lab = mirrored(f"{SENT}, to: {{ports: [web2]}}, sampling: 5, length: 60")
    assert lab.hit(MIRROR_SEND, "web1", reg6=1, reg7=MIRROR_PORT).actions == f"output:{MIRROR_PORT}"
    web2 = lab.port("web2")
    cut = f"clone(output(port={web2},max_len=60)),note:00"
    assert hit(lab.rows, MIRROR_SEND, in_port=MIRROR_PORT, reg6=1, reg7=web2).actions == cut


@pytest.mark.parametrize(
    ("session", "hosts"),
    [
        (f"{SENT}, to: {{ports: [web2]}}", set()),
        (f"{SENT}, to: {{ports: [web2]}}, sampling: 2", {"esx1"}),
        (L3, {"esx1"}),
        ("type: dvPortMirror, from: {received: [far1]}, to: {ports: [far2]}, sampling: 2", {"esx2"}),
        (f"{IN}, sampling: 2", {"esx1", "esx2"}),
    ],
)
def test_mir_5_the_actor_is_on_hosts_with_a_source_of_a_session_that_needs_it(session: str, hosts: set[str]) -> None:
    plan = mirrored(session).plan
    ported = {b.node for b in plan.bridges if any(port.label == "dvs0.mirror" for port in b.ports)}
    cabled = {cable.b[0] for cable in plan.cables if cable.b[1] == "dvs0.mirror"}
    kernels = {node.name for node in plan.nodes if any(i.label == "dvs0.mirror" for i in node.interfaces)}
    assert ported == cabled == hosts
    assert kernels == hosts | {f"{host}-vmk" for host in hosts}


def test_copies_pass_no_policy_on_their_way_and_are_never_mirrored_again() -> None:
    lab = mirrored(TAP, RSPAN, IN.replace("web2", "web1"), f"{L3}, sampling: 3")
    leads = leads_of(lab.rows)
    assert (leads[MIRROR_COPY], leads[MIRROR_SEND]) == ({MIRROR_SEND}, set())


# -- what holds of every row of every switch


def leads_of(rows: Iterable[Row]) -> dict[int, set[int]]:
    """Table -> those that its rows go or resubmit to."""
    leads: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        leads[row.table] |= {int(table) for table in re.findall(r"(?:resubmit\(,|goto_table:)(\d+)", row.actions)}
    return leads


EVERYTHING = mirrored(
    TAP, RSPAN, IN, f"{L3}, sampling: 3", f"{GOT}, to: {{ports: [other1]}}, length: 60, sampling: 2, strip_vlan: true"
)
BUSY = after(
    EVERYTHING,
    macs={"free1": FORGED_MAC, "web1": UNKNOWN, "dry1": FORGED_MAC},
    promiscuous=["loud1", "loud2", "loudest1", "web2"],
    groups={"web1": [STREAM, QUIET], "other1": [STREAM], "iso1": []},
    all_groups=["trunk1"],
    down=["vmnic1"],
)
NO_UPLINK = after(LAB, down=["vmnic0", "vmnic1"])
KNOBBED = planned(
    "block_guest_bpdu: 1, reverse_path: 0, est_guest_tag: pass, prio_tag: drop, reverse_path_promisc: 1, "
    "forged_compare: vmx"
)
FILES = sorted([*(ROOT / "topologies").glob("*.yaml"), *(ROOT / "tests" / "lab").glob("*.yaml")])


def bridges() -> Iterator[tuple[str, Bridge]]:
    for name, lab in (("rules", LAB), ("everything", EVERYTHING), ("busy", BUSY), ("dark", NO_UPLINK),
                      ("knobs", KNOBBED)):  # fmt: skip
        yield from ((f"{name} {b.node} {b.label}", b) for b in lab.plan.bridges)
    for file in FILES:
        topology = read_topology_file(file)
        plan = compile_plan(topology, initial_state(topology))
        yield from ((f"{file.stem} {b.node} {b.label}", b) for b in plan.bridges)


ALL = dict(bridges())
PSWITCHES = {name: bridge for name, bridge in ALL.items() if bridge.node == bridge.label}
VSWITCHES = {name: bridge for name, bridge in ALL.items() if name not in PSWITCHES}


def each(some: dict[str, Bridge]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bridge", some.values(), ids=some)


@each(ALL)
def test_no_two_rows_have_the_same_key(bridge: Bridge) -> None:
    keys = Counter((row.table, row.priority, row.match) for row in bridge.rows)
    assert [key for key, count in keys.items() if count > 1] == []


def implied(row: Row) -> str:
    """The match with what else is true then: a client's frame did not come in on an uplink."""
    ports = [value for key, value, _ in fields_of(row.match) if key == "in_port"]
    return f"{row.match},reg2=0" if ports and ports[0] >= MIRROR_PORT and "reg2" not in row.match else row.match


@each(VSWITCHES)
def test_a_frame_never_meets_two_rows_of_one_priority(bridge: Bridge) -> None:
    by_rank: dict[tuple[int, int], list[Row]] = {}
    for row in bridge.rows:
        by_rank.setdefault((row.table, row.priority), []).append(row)
    ambiguous = [
        (one.match, other.match)
        for rows in by_rank.values() if len(rows) < 200
        for one, other in combinations(rows, 2)
        if one.actions != other.actions and overlap(implied(one), implied(other))
    ]  # fmt: skip
    assert ambiguous == []


NO_DROP = {
    "FWD-8: never uplink to uplink", "its own frame", "it has a promiscuous copy", "takes the room",
    "never back into the channel",
}  # fmt: skip
"""Rows that let a frame end though nothing is refused: its copies are on their way."""


@each(ALL)
def test_every_row_that_drops_has_a_reason_and_a_cookie_that_tells_it(bridge: Bridge) -> None:
    dropping = [row for row in bridge.rows if row.actions == "drop"]
    assert {row.why for row in dropping if row.reason is None} <= NO_DROP
    assert {row.actions for row in bridge.rows if row.reason} <= {"drop"}
    for row in dropping:
        found = reason_of_cookie(row.cookie)
        if row.reason is None:
            assert (found, row.cookie) == (None, 0)
        else:
            assert found is not None
            assert (found.reason, found.port) == (row.reason, row.port)
            assert found.statement in {*STATEMENTS, ""}
            assert found.statement or row.why not in STATEMENTS  # no statement is lost on its way through a cookie


@each(VSWITCHES)
def test_every_drop_of_a_vswitch_is_by_a_statement(bridge: Bridge) -> None:
    named = {row.why for row in bridge.rows if row.reason}
    assert named
    assert named <= STATEMENTS


@each(ALL)
def test_a_drop_is_at_a_port_of_the_switch_or_at_none(bridge: Bridge) -> None:
    assert {row.port for row in bridge.rows if row.reason} <= {0, *(port.number for port in bridge.ports)}


@each(VSWITCHES)
def test_a_reason_names_the_port_that_a_frame_met(bridge: Bridge) -> None:
    nowhere = {DropReason.GUEST_BPDU, DropReason.NO_RECEIVER, DropReason.UNKNOWN_UNICAST}
    assert {row.reason for row in bridge.rows if row.reason and not row.port} <= nowhere


@each(ALL)
def test_rows_never_lead_in_a_circle_and_only_to_tables_that_have_rows(bridge: Bridge) -> None:
    filled = {row.table for row in bridge.rows}
    learned = {int(table) for row in bridge.rows for table in re.findall(r"learn\(table=(\d+)", row.actions)}
    leads = leads_of(bridge.rows)
    TopologicalSorter(leads).prepare()  # raises CycleError
    assert {table for found in leads.values() for table in found} <= filled | learned
    assert all(int(table) > row.table for row in bridge.rows for table in re.findall(r"goto_table:(\d+)", row.actions))


@each(VSWITCHES)
def test_no_copy_gets_more_than_two_tags(bridge: Bridge) -> None:
    """Open vSwitch takes no more in one row."""
    assert max(row.actions.count("push_vlan") for row in bridge.rows) <= 2


@each(VSWITCHES)
def test_every_table_has_a_name(bridge: Bridge) -> None:
    assert {row.table for row in bridge.rows} <= set(TABLE_NAMES)


@each(ALL)
def test_a_row_sends_to_ports_that_the_switch_has(bridge: Bridge) -> None:
    text = " ".join(row.actions for row in bridge.rows)
    sent = {int(port) for port in re.findall(r"output(?::|\(port=)(\d+)", text)}
    assert sent - {MIRROR_PORT} <= {port.number for port in bridge.ports}


@each(VSWITCHES)
def test_every_client_port_has_a_way_in_and_a_way_out(bridge: Bridge) -> None:
    clients = [port.number for port in bridge.ports if port.number > MIRROR_PORT]
    for table, match in ((PORT_INPUT, "in_port={}"), (VLAN_IN, "in_port={}"), (TEAMING, "in_port={}"),
                         (REVERSE, "reg5={:#x}"), (ADAPTER, "reg5={:#x}"), (VLAN_OUT, "reg5={:#x}")):  # fmt: skip
        matches = {row.match for row in bridge.rows if row.table == table}
        assert {match.format(number) for number in clients} <= matches, TABLE_NAMES[table]


# -- the same bytes for the same input


def test_a_state_in_another_order_is_compiled_to_the_same_plan() -> None:
    state = BUSY.state
    turned: dict[str, Any] = {
        name: dict(reversed(list(getattr(state, name).items()))) for name in ("uplink_of", "macs", "groups")
    }
    assert render(compile_plan(BUSY.topology, replace(state, **turned))) == render(BUSY.plan)


def test_the_printed_plan_is_the_same_in_every_interpreter() -> None:
    code = "from test_plan_rules import BUSY, render; print(render(BUSY.plan), end='')"
    here = Path(__file__).parent
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{here}"}, cwd=here,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert printed == {render(BUSY.plan)}


def test_the_lab_of_the_tables_has_what_they_need() -> None:
    assert RULES.count("host: esx1") == len([nic for nic in LAB.topology.vnics if nic.host == "esx1"])


def test_sec_2_a_promiscuous_twin_of_the_sender_hears_what_the_sender_sends_itself() -> None:
    lab = after(LAB, macs={"free1": LAB.mac("loud1")}, promiscuous=["loud1"])
    assert copies(lab.hit(PROMISCUOUS, "free1", to="loud1", reg0=10)) == lab.ports("loud1")
    assert copies(lab.hit(PROMISCUOUS, "web1", to="loud1", reg0=10)) == set()


def test_sec_15_a_learned_mac_that_somebody_owns_in_another_vlan_is_delivered_from_the_wire_too() -> None:
    asks = f"resubmit(,{LEARNED}),goto_table:{LEARNED_OUT}"
    assert LAB.hit(DISPATCH, "web1", to="other1", reg0=10).actions == asks
    assert LAB.hit(DISPATCH, "vmnic0", to="other1", reg0=10, **UP).actions == asks


def test_sec_15_what_was_learned_on_a_port_that_is_gone_or_learns_no_more_is_unknown() -> None:
    lab = planned(more="  gone: {host: esx1, networks: [{port_group: nest, connected: false}]}\n")
    for reg5 in (0, lab.port("gone"), lab.port("web1")):
        row = lab.hit(LEARNED_OUT, "web1", reg0=10, reg5=reg5)
        assert (copies(row), onward(row)) == (lab.ports("nest1", "nest2"), f"goto_table:{TEAMING}")


def test_sec_15_what_was_learned_in_a_vlan_that_the_port_is_in_no_more_is_unknown() -> None:
    assert LAB.hit(LEARNED_OUT, "web1", reg0=10, reg5=LAB.port("nest1")).actions == f"goto_table:{REVERSE}"
    row = LAB.hit(LEARNED_OUT, "web1", reg0=20, reg5=LAB.port("nest1"))
    assert onward(row) == f"goto_table:{TEAMING}"
