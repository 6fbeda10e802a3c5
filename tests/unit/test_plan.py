"""The plan compiler: names, VLAN blocks, the rows of both kinds of switch, nodes and cables, cookies."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching import hit, hits, holds, number

from lab.frame import ALL_SYSTEMS, BROADCAST, CDP_MAC, LLDP_MAC, DropReason
from lab.model import Cable, HostSwitch, Knobs, PhysicalPort, Topology, in_ranges
from lab.plan import compile_plan, vswitch
from lab.plan.names import INTERFACE_MAX, NODE_MAX, box_mac, datapath_id, linux_name
from lab.plan.render import render
from lab.plan.tables import (
    DISPATCH,
    KEEP_PRIORITY,
    POP_TAG,
    PUSH_TAG,
    REVERSE,
    TEAMING,
    VLAN_IN,
)
from lab.plan.types import Bridge, Dropped, NodeKind, Row, reason_of_cookie
from lab.plan.vlans import blocks, register_matches, tag_matches
from lab.plan.wiring import pswitch_ports
from lab.teaming import initial_state, with_links_down
from lab.topology import read_topology, read_topology_file

FILE = Path(__file__).parents[1] / "lab" / "switching.yaml"
TOPOLOGY = read_topology_file(FILE)
STATE = initial_state(TOPOLOGY)
PLAN = compile_plan(TOPOLOGY, STATE)
KEYS = [(bridge.node, bridge.label) for bridge in PLAN.bridges]
MAC = {nic.owner: nic.mac for nic in (*TOPOLOGY.vnics, *TOPOLOGY.vmknics)}
UNKNOWN = "00:50:56:3f:00:01"
BPDU = "01:80:c2:00:00:00"
MULTICAST = "01:00:5e:00:00:fb"

ranges = st.lists(st.integers(1, 4094), min_size=2, max_size=8, unique=True).map(
    lambda edges: tuple(zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False))
)
unhurried = settings(deadline=None, max_examples=30)
labels = st.text(st.characters(codec="utf-8"), max_size=70)


def bridge_of(box: str, label: str) -> Bridge:
    return next(b for b in PLAN.bridges if (b.node, b.label) == (box, label))


def rows_of(box: str, label: str, topology: Topology = TOPOLOGY, down: Iterable[tuple[str, str]] = ()) -> list[Row]:
    state = with_links_down(topology, initial_state(topology), down)
    return list(next(b for b in compile_plan(topology, state).bridges if (b.node, b.label) == (box, label)).rows)


def knobs(**changes: bool | str) -> Topology:
    return replace(TOPOLOGY, knobs=replace(Knobs(), **changes))  # type: ignore[arg-type]


# -- names


@pytest.mark.parametrize("label", ["web1.eth0", "vmnic0", "vSwitch0", "esx1-vmnic0", "a" * 15, "Tor_1", "a+b"])
def test_a_name_that_linux_takes_stays(label: str) -> None:
    assert linux_name(label) == label


@pytest.mark.parametrize(
    ("label", "start"),
    [
        pytest.param("a" * 16, "aaaaaaaa_", id="too long"),
        pytest.param("DMZ (#2)", "DMZ-2_", id="marks"),
        pytest.param("Management Network", "Manageme_", id="blank"),
        pytest.param("-x", "x_", id="dash in front"),
        pytest.param("..", "x_", id="dots only"),
        pytest.param("日本", "x_", id="no Latin letter"),
        pytest.param("", "x_", id="empty"),
    ],
)
def test_a_name_that_linux_refuses_keeps_its_readable_start(label: str, start: str) -> None:
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{6}", linux_name(label))


@given(labels, st.sampled_from([INTERFACE_MAX, NODE_MAX]))
def test_every_label_becomes_a_name_that_linux_takes(label: str, longest: int) -> None:
    name = linux_name(label, longest)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name)
    assert len(name) <= longest
    assert linux_name(name, longest) == name


@given(st.lists(labels, unique=True, max_size=20))
def test_different_labels_get_different_names(some: list[str]) -> None:
    assert len({linux_name(label) for label in some}) == len(some)
    assert len({datapath_id("esx1", label) for label in some}) == len(some)
    assert len({box_mac("esx1", label) for label in some}) == len(some)


@given(labels)
def test_generated_addresses_are_local_unicast_and_never_zero(label: str) -> None:
    assert re.fullmatch(r"02(:[0-9a-f]{2}){5}", box_mac(label))
    assert re.fullmatch(r"[0-9a-f]{16}", datapath_id(label))
    assert int(datapath_id(label), 16)


# -- sets of VLANs


@unhurried
@given(st.integers(0, 4095), st.integers(0, 4095))
def test_blocks_cover_a_range_and_nothing_else(one: int, other: int) -> None:
    low, high = min(one, other), max(one, other)
    covered = [vid for vid in range(4096) for value, mask in blocks(low, high) if vid & mask == value]
    assert covered == list(range(low, high + 1))


@given(st.integers(0, 4095), st.integers(0, 4095))
def test_blocks_are_the_fewest_there_can_be(one: int, other: int) -> None:
    for (value, mask), (after, mask_after) in pairwise(blocks(min(one, other), max(one, other))):
        size = 4096 - mask
        assert mask != mask_after or value & size or after != value + size


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (10, 10, [(10, 0xFFF)]),
        (0, 4095, [(0, 0)]),
        (10, 11, [(10, 0xFFE)]),
        (10, 20, [(10, 0xFFE), (12, 0xFFC), (16, 0xFFC), (20, 0xFFF)]),
        (11, 10, []),
    ],
)
def test_blocks_of(low: int, high: int, expected: list[tuple[int, int]]) -> None:
    assert list(blocks(low, high)) == expected


@unhurried
@given(ranges)
def test_tag_matches_are_met_by_tagged_frames_of_the_ranges_only(some: tuple[tuple[int, int], ...]) -> None:
    matches = list(tag_matches(((0, 0), *some)))
    met = {vid for vid in range(4096) if any(holds(m, {"vlan_tci": 0x1000 | vid}) for m in matches)}
    assert met == {vid for vid in range(4096) if in_ranges(vid, some)}
    assert not any(holds(m, {"vlan_tci": vid}) for m in matches for vid in (0, *sorted(met)[:3]))


@unhurried
@given(ranges, st.booleans())
def test_register_matches_are_met_by_the_ranges_only(some: tuple[tuple[int, int], ...], untagged: bool) -> None:
    some = ((0, 0), *some) if untagged else some
    matches = list(register_matches(some))
    met = {vid for vid in range(4096) if any(holds(m, {"reg0": vid}) for m in matches)}
    assert met == {vid for vid in range(4096) if in_ranges(vid, some)}


# -- vSwitch rows

DVS = ("esx1", "dvs0")
VSS = ("esx1", "vSwitch0")
UNTAGGED, PRIORITY = 0x0000, 0x1000


def port_number(key: tuple[str, str], label: str) -> int:
    return bridge_of(*key).port(label).number


def packet(key: tuple[str, str], port: str = "", to: str = "", **more: int | str) -> dict[str, int | str]:
    """Fields in the words of the model: a port's label, and whose MAC it is sent to."""
    named = {"in_port": port_number(key, port)} if port else {}
    return {**named, **({"dl_dst": MAC.get(to, to)} if to else {}), **more}


@pytest.mark.parametrize(
    ("key", "table", "port", "fields", "reason", "why"),
    [
        pytest.param(DVS, 0, "gone.eth0", {}, DropReason.DISCONNECTED, "FWD-17", id="fwd_17 disconnected sends"),
        pytest.param(DVS, 0, "mute.eth0", {}, DropReason.PORT_BLOCKED, "SEC-19", id="sec_19 blocked sends"),
        pytest.param(
            DVS, 10, "db1.eth0", {"dl_src": MAC["web1"]}, DropReason.FORGED_TRANSMIT, "SEC-7", id="sec_7 forged"
        ),
        pytest.param(DVS, 20, "web1.eth0", {"vlan_tci": 0x100A}, DropReason.DOUBLE_TAG, "VLAN-6", id="vlan_6 own tag"),
        pytest.param(DVS, 20, "web1.eth0", {"vlan_tci": 0x1014}, DropReason.DOUBLE_TAG, "VLAN-6", id="vlan_6 other"),
        pytest.param(VSS, 20, "est1.eth0", {"vlan_tci": 0x100A}, DropReason.VLAN_MISMATCH, "VLAN-7", id="vlan_7 est"),
        pytest.param(
            DVS, 20, "trunk1.eth0", {"vlan_tci": 0x100B}, DropReason.VLAN_MISMATCH, "VLAN-9", id="vlan_9 out of range"
        ),
        pytest.param(
            DVS, 20, "trunk1.eth0", {"vlan_tci": UNTAGGED}, DropReason.VLAN_MISMATCH, "VLAN-9", id="vlan_9 untagged"
        ),
        pytest.param(
            DVS, 20, "trunk1.eth0", {"vlan_tci": PRIORITY}, DropReason.VLAN_MISMATCH, "VLAN-14", id="vlan_14 in a trunk"
        ),
        pytest.param(
            DVS, 30, "web1.eth0", {"to": "web1", "reg0": 10}, DropReason.OWN_PORT, "FWD-1", id="to its own address"
        ),
        pytest.param(
            VSS, 30, "vmnic0", {"to": "est1", "reg0": 5, "reg2": 1}, DropReason.VLAN_MISMATCH, "VLAN-2", id="vlan_2"
        ),
        pytest.param(
            DVS, 30, "vmnic1", {"to": UNKNOWN, "reg0": 10, "reg2": 1}, DropReason.UNKNOWN_UNICAST, "FWD-5", id="fwd_5"
        ),
        pytest.param(
            DVS, 30, "vmnic1", {"to": "gone", "reg0": 10, "reg2": 1}, DropReason.UNKNOWN_UNICAST, "FWD-5",
            id="fwd_17 to a disconnected port",
        ),
        pytest.param(
            VSS, 30, "vmnic0", {"to": "old1", "reg0": 20, "reg2": 1}, DropReason.VLAN_MISMATCH, "VLAN-4", id="vlan_4"
        ),
        pytest.param(
            DVS, 30, "vmnic1", {"to": BROADCAST, "reg0": 99, "reg2": 1}, DropReason.NO_RECEIVER, "FWD-7",
            id="broadcast of a VLAN that nobody is in",
        ),
        pytest.param(
            DVS, 30, "vmnic1", {"to": ALL_SYSTEMS, "reg0": 99, "reg2": 1}, DropReason.NO_RECEIVER, "FWD-19",
            id="multicast of a VLAN that nobody is in",
        ),
        pytest.param(
            DVS, 30, "vmnic1", {"to": MULTICAST, "reg0": 10, "reg2": 1}, DropReason.NO_RECEIVER, "FWD-19",
            id="fwd_19 multicast that nobody asked for",
        ),
        pytest.param(DVS, 0, "vmnic1", {"to": CDP_MAC}, DropReason.DISCOVERY, "MIR-13", id="mir_13 cdp"),
        pytest.param(DVS, 0, "vmnic2", {"to": LLDP_MAC}, DropReason.DISCOVERY, "MIR-13", id="mir_13 lldp"),
        pytest.param(DVS, 50, "vmnic2", {"reg5": 100}, DropReason.REVERSE_PATH, "FWD-11", id="fwd_11 other uplink"),
        pytest.param(DVS, 50, "vmnic2", {"reg5": 107}, DropReason.PORT_BLOCKED, "SEC-19", id="sec_19 blocked receives"),
    ],
)  # fmt: skip
def test_what_a_vswitch_drops(
    key: tuple[str, str], table: int, port: str, fields: dict[str, int | str], reason: DropReason, why: str
) -> None:
    row = hit(bridge_of(*key).rows, table, **packet(key, port, **fields))  # type: ignore[arg-type]
    assert (row.reason, row.why, row.actions) == (reason, why, "drop")


@pytest.mark.parametrize(
    ("key", "table", "port", "fields", "actions"),
    [
        pytest.param(DVS, 0, "web1.eth0", {}, "goto_table:10", id="connected"),
        pytest.param(DVS, 0, "vmnic1", {}, "set_field:1->reg2,goto_table:20", id="uplink: no forged check"),
        pytest.param(DVS, 10, "db1.eth0", {"dl_src": MAC["db1"]}, "goto_table:15", id="sec_7 own source"),
        pytest.param(DVS, 10, "web1.eth0", {"dl_src": UNKNOWN}, "goto_table:15", id="sec_7 forged, accepted"),
        pytest.param(DVS, 15, "web1.eth0", {"to": BPDU}, "goto_table:20", id="fwd_16 not blocked"),
        pytest.param(DVS, 20, "web1.eth0", {"vlan_tci": UNTAGGED}, "set_field:0xa->reg0,goto_table:25", id="vlan_3"),
        pytest.param(
            DVS, 20, "web1.eth0", {"vlan_tci": 0xB000},
            f"{KEEP_PRIORITY},pop_vlan,set_field:0xa->reg0,goto_table:25",
            id="vlan_14 priority tag, PCP 5",
        ),
        pytest.param(VSS, 20, "est1.eth0", {"vlan_tci": UNTAGGED}, "set_field:0x0->reg0,goto_table:25", id="vlan_1"),
        pytest.param(DVS, 20, "trunk1.eth0", {"vlan_tci": 0x1015}, f"{POP_TAG},goto_table:25", id="vlan_9 in range"),
        pytest.param(VSS, 20, "vgt1.eth0", {"vlan_tci": 0x1FFE}, f"{POP_TAG},goto_table:25", id="vlan_8"),
        pytest.param(VSS, 20, "vmnic0", {"vlan_tci": 0x1FFE}, f"{POP_TAG},goto_table:25", id="uplink, any tag"),
        pytest.param(
            DVS, 30, "web1.eth0", {"to": "app1", "reg0": 10}, "set_field:102->reg5,goto_table:50", id="fwd_1 local"
        ),
        pytest.param(DVS, 30, "web1.eth0", {"to": "db1", "reg0": 10}, "goto_table:40", id="fwd_3 other VLAN"),
        pytest.param(DVS, 30, "web1.eth0", {"to": UNKNOWN, "reg0": 10}, "goto_table:40", id="fwd_4 unknown"),
        pytest.param(DVS, 30, "web1.eth0", {"to": "gone", "reg0": 10}, "goto_table:40", id="fwd_17 sent outside"),
        pytest.param(DVS, 0, "web1.eth0", {"to": CDP_MAC}, "goto_table:10", id="mir_13 a guest's cdp goes on"),
        pytest.param(DVS, 25, "web1.eth0", {"reg0": 10}, "goto_table:28", id="no session mirrors what comes in"),
        pytest.param(DVS, 28, "web1.eth0", {"to": "app1", "reg0": 10}, "goto_table:30", id="nobody is promiscuous"),
        pytest.param(DVS, 30, "web1.eth0", {"to": BROADCAST, "reg0": 99}, "goto_table:40", id="no receiver inside"),
        pytest.param(DVS, 30, "web1.eth0", {"to": MULTICAST, "reg0": 10}, "goto_table:40", id="fwd_19 nobody asked"),
        pytest.param(DVS, 40, "web1.eth0", {}, "set_field:1->reg5,goto_table:60", id="team_pid_1 vmnic1"),
        pytest.param(DVS, 40, "web2.eth0", {}, "set_field:2->reg5,goto_table:60", id="team_pid_2 vmnic2"),
        pytest.param(DVS, 40, "vmnic1", {"reg2": 1}, "drop", id="fwd_8 uplink to uplink"),
        pytest.param(DVS, 50, "vmnic1", {"reg5": 100}, "goto_table:52", id="fwd_11 own uplink"),
        pytest.param(DVS, 50, "web2.eth0", {"reg5": 100}, "goto_table:52", id="from a local port"),
        pytest.param(DVS, 50, "web1.eth0", {"reg5": 100}, "drop", id="its own frame is no drop of the switch"),
        pytest.param(DVS, 52, "web2.eth0", {"reg5": 100}, "goto_table:55", id="sec_9 its own MAC"),
        pytest.param(DVS, 55, "web2.eth0", {"reg5": 100}, "goto_table:60", id="no session mirrors what goes out"),
        pytest.param(DVS, 60, "", {"reg5": 100, "reg0": 10}, "output:100", id="vlan_4 tag off"),
        pytest.param(DVS, 60, "", {"reg5": 1, "reg0": 10}, f"{PUSH_TAG},output:1", id="vlan_3 tag on"),
        pytest.param(DVS, 60, "", {"reg5": 104, "reg0": 10}, f"{PUSH_TAG},output:104", id="vlan_8 tag on"),
        pytest.param(VSS, 60, "", {"reg5": 102, "reg0": 0}, "output:102", id="vlan_8 untagged stays"),
        pytest.param(VSS, 60, "", {"reg5": 1, "reg0": 0}, "output:1", id="vlan_1 untagged stays"),
    ],
)  # fmt: skip
def test_what_a_vswitch_does(
    key: tuple[str, str], table: int, port: str, fields: dict[str, int | str], actions: str
) -> None:
    row = hit(bridge_of(*key).rows, table, **packet(key, port, **fields))  # type: ignore[arg-type]
    assert (row.actions, row.reason) == (actions, None)


def copies(row: Row) -> set[int]:
    return {int(found) for found in re.findall(r"clone\(set_field:(\d+)->reg5,resubmit\(,50\)\)", row.actions)}


@pytest.mark.parametrize("key", list(TOPOLOGY.host_switches), ids="-".join)
@pytest.mark.parametrize("to", [BROADCAST, ALL_SYSTEMS])
def test_fwd_6_fwd_19_a_group_that_all_ask_for_is_copied_to_every_connected_port_of_its_vlan(
    key: tuple[str, str], to: str
) -> None:
    part, rows = TOPOLOGY.host_switches[key], bridge_of(*key).rows
    client = vswitch.client_number(part.ports[0])
    for vid in range(4095):
        members = {vswitch.client_number(p) for p in part.ports if p.nic.connected and p.vlan.carries(vid)}
        row = hit(rows, 30, in_port=client, reg0=vid, dl_dst=to)
        assert copies(row) == members
        assert row.actions.endswith("goto_table:40")


@pytest.mark.parametrize("key", list(TOPOLOGY.host_switches), ids="-".join)
def test_fwd_18_no_row_learns_or_floods(key: tuple[str, str]) -> None:
    rows = bridge_of(*key).rows
    assert len(rows) > 20
    assert [r for r in rows if re.search(r"learn|NORMAL|FLOOD|ALL\b|CONTROLLER", r.actions)] == []


@pytest.mark.parametrize("key", list(TOPOLOGY.host_switches), ids="-".join)
def test_fwd_8_only_the_teaming_table_leads_to_an_uplink(key: tuple[str, str]) -> None:
    uplinks = range(1, len(TOPOLOGY.host_switches[key].uplinks) + 1)
    to_uplink = re.compile(rf"set_field:({'|'.join(map(str, uplinks))})->reg5")
    leading = [row for row in bridge_of(*key).rows if to_uplink.search(row.actions)]
    assert {row.table for row in leading} == {TEAMING}
    assert all("in_port=" in row.match and f"in_port={n}," not in f"{row.match}," for row in leading for n in uplinks)


def outer_tags(part: HostSwitch) -> Iterator[tuple[int, int]]:
    for n in (*range(1, len(part.uplinks) + 1), *map(vswitch.client_number, part.ports)):
        yield from ((n, tci) for tci in (UNTAGGED, PRIORITY, 0xB000, *(0x1000 | vid for vid in range(1, 4095, 7))))


@pytest.mark.parametrize("key", list(TOPOLOGY.host_switches), ids="-".join)
def test_every_frame_meets_exactly_one_row_where_it_enters(key: tuple[str, str]) -> None:
    rows = bridge_of(*key).rows
    table = [row for row in rows if row.table == VLAN_IN]
    met = [len(hits(table, 20, {"in_port": n, "vlan_tci": tci})) for n, tci in outer_tags(TOPOLOGY.host_switches[key])]
    assert set(met) == {1}


@pytest.mark.parametrize("key", list(TOPOLOGY.host_switches), ids="-".join)
@pytest.mark.parametrize("to", [*MAC.values(), BROADCAST, BPDU, UNKNOWN])
def test_every_frame_meets_exactly_one_row_at_dispatch(key: tuple[str, str], to: str) -> None:
    part, table = TOPOLOGY.host_switches[key], [r for r in bridge_of(*key).rows if r.table == DISPATCH]
    ways = [(1, 1), *((vswitch.client_number(p), 0) for p in part.ports)]
    frames = [{"in_port": n, "reg2": up, "reg0": v, "dl_dst": number(to)} for n, up in ways for v in (0, 5, 10, 20, 99)]
    assert {len(hits(table, 30, frame)) for frame in frames} == {1}


@pytest.mark.parametrize("key", KEYS, ids="-".join)
def test_rows_have_keys_of_their_own_and_stand_in_order(key: tuple[str, str]) -> None:
    rows = bridge_of(*key).rows
    assert max(Counter((r.table, r.priority, r.match) for r in rows).values()) == 1
    assert [(r.table, -r.priority) for r in rows] == sorted((r.table, -r.priority) for r in rows)


@pytest.mark.parametrize(
    ("topology", "table", "fields", "key", "reason"),
    [
        pytest.param(
            knobs(block_guest_bpdu=True), 15, {"port": "web1.eth0", "to": BPDU}, DVS, DropReason.GUEST_BPDU, id="fwd_16"
        ),
        pytest.param(
            knobs(block_guest_bpdu=True), 15, {"port": "web1.eth0", "to": BROADCAST}, DVS, None, id="fwd_16 others pass"
        ),
        pytest.param(knobs(reverse_path=False), 50, {"port": "vmnic2", "reg5": 100}, DVS, None, id="fwd_11 off"),
        pytest.param(
            knobs(est_guest_tag="pass"), 20, {"port": "est1.eth0", "vlan_tci": 0x100A}, VSS, None, id="vlan_7 pass"
        ),
        pytest.param(
            knobs(est_guest_tag="pass"), 20, {"port": "old1.eth0", "vlan_tci": 0x100A}, VSS, DropReason.DOUBLE_TAG,
            id="vlan_7 pass is not for VST",
        ),
        pytest.param(
            knobs(prio_tag="drop"), 20, {"port": "web1.eth0", "vlan_tci": PRIORITY}, DVS, DropReason.VLAN_MISMATCH,
            id="vlan_14 drop",
        ),
    ],
)  # fmt: skip
def test_a_knob_changes_the_rows(
    topology: Topology, table: int, fields: dict[str, int | str], key: tuple[str, str], reason: DropReason | None
) -> None:
    assert hit(rows_of(*key, topology), table, **packet(key, **fields)).reason is reason  # type: ignore[arg-type]


def test_team_f_7_a_port_without_a_usable_uplink_drops_what_would_leave() -> None:
    rows = rows_of("esx1", "vSwitch0", down=[("esx1", "vmnic0")])
    row = hit(rows, 40, in_port=port_number(VSS, "est1.eth0"))
    assert (row.reason, row.why) == (DropReason.NO_UPLINK, "TEAM-F-7")


def test_team_f_1_a_dead_link_changes_teaming_and_reverse_teaming_of_its_ports_only() -> None:
    before, after = rows_of(*DVS), rows_of(*DVS, down=[("esx1", "vmnic1")])
    changed = set(before) ^ set(after)
    assert {row.table for row in changed} == {TEAMING, REVERSE}
    on_the_other = ["web2.eth0", "db1.eth0", "narrow1.eth0", "mute.eth0"]
    assert not {f"in_port={port_number(DVS, label)}" for label in on_the_other} & {row.match for row in changed}
    assert hit(after, 40, in_port=port_number(DVS, "web1.eth0")).why == "TEAM-PID-1: web1.eth0 on vmnic2"


# -- nodes and cables


def test_nodes_stand_in_order_of_kind_and_of_the_file() -> None:
    by_kind = {kind: [n.name for n in PLAN.nodes if n.kind is kind] for kind in NodeKind}
    assert by_kind[NodeKind.PSWITCH] == ["tor1", "tor2"]
    assert by_kind[NodeKind.HOST] == ["esx1", "esx2"]
    assert by_kind[NodeKind.VMKERNEL] == ["esx1-vmk", "esx2-vmk"]
    assert by_kind[NodeKind.VM] == list(TOPOLOGY.vms)
    assert by_kind[NodeKind.MACHINE] == ["gw", "plain"]


def test_the_ports_of_a_pswitch() -> None:
    assert list(pswitch_ports(TOPOLOGY, "tor1")) == [
        "esx1-vmnic0", "esx1-vmnic1", "esx2-vmnic0", "esx2-vmnic1", "gw", "plain", "tor2",
    ]  # fmt: skip
    assert list(pswitch_ports(TOPOLOGY, "tor2")) == ["esx1-vmnic2", "esx2-vmnic2", "tor1"]


def test_a_second_cable_between_two_pswitches_has_ports_of_its_own() -> None:
    second = Cable(("tor2", "tor1"), PhysicalPort(access=7), index=2)
    topology = replace(TOPOLOGY, cables=(*TOPOLOGY.cables, second))
    ports = pswitch_ports(topology, "tor1")
    assert list(ports)[-2:] == ["tor2", "tor2#2"]
    assert (ports["tor2#2"].access, ports["tor2"].access) == (7, None)
    ends = {end for cable_ in compile_plan(topology, initial_state(topology)).cables for end in (cable_.a, cable_.b)}
    assert {("tor1", "tor2#2"), ("tor2", "tor1#2")} <= ends


def test_every_interface_is_one_end_of_one_cable() -> None:
    ends = Counter(end for cable in PLAN.cables for end in (cable.a, cable.b))
    interfaces = {(node.name, interface.label) for node in PLAN.nodes for interface in node.interfaces}
    assert set(ends) == interfaces
    assert max(ends.values()) == 1


@pytest.mark.parametrize("key", KEYS, ids="-".join)
def test_every_port_of_a_bridge_is_an_interface_of_its_box(key: tuple[str, str]) -> None:
    bridge = bridge_of(*key)
    named = {interface.label: interface.name for interface in PLAN.node_named[bridge.node].interfaces}
    assert {port.label: port.interface for port in bridge.ports}.items() <= named.items()
    assert max(Counter(port.number for port in bridge.ports).values()) == 1
    assert bridge.name not in named.values()


def test_interfaces_of_a_node_have_names_of_their_own_that_linux_takes() -> None:
    for node in PLAN.nodes:
        names = [interface.name for interface in node.interfaces]
        assert len(set(names)) == len(names)
        assert max(map(len, names), default=0) <= INTERFACE_MAX


def test_a_switch_that_bears_the_name_of_a_port_gets_another_bridge_name() -> None:
    text = FILE.read_text().replace("vSwitch0", "vmnic1")
    topology = read_topology(text, "")
    bridge = next(b for b in compile_plan(topology, initial_state(topology)).bridges if b.label == "vmnic1")
    assert bridge.name != "vmnic1"
    assert bridge_of(*VSS).name == "vSwitch0"


def test_fwd_17_a_disconnected_vnic_is_down() -> None:
    assert not PLAN.node_named["gone"].interface("eth0").up
    assert PLAN.node_named["web1"].interface("eth0").up


def test_a_guest_gets_its_mac_its_address_and_its_switchs_mtu() -> None:
    text = FILE.read_text().replace("  dvs0:\n", "  dvs0:\n    mtu: 9000\n")
    topology = read_topology(text, "")
    node = compile_plan(topology, initial_state(topology)).node_named
    web, est = node["web1"].interface("eth0"), node["est1"].interface("eth0")
    assert (web.mac, web.addresses, web.mtu) == (MAC["web1"], ("10.0.10.1/24",), 9000)
    assert (est.mtu, node["trunk1"].interface("eth0").addresses) == (1500, ())


def test_an_unknown_label_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        PLAN.node_named["web1"].interface("eth9")
    with pytest.raises(KeyError):
        bridge_of(*DVS).port("eth9")


# -- cookies


STATEMENTS = ("", "FWD-1", "FWD-21", "VLAN-16", "PVL-11", "SEC-19", "MIR-13", "TEAM-F-7", "TEAM-PID-2", "ATK-15")


@given(st.sampled_from(DropReason), st.integers(0, 0xFFFF), st.sampled_from(STATEMENTS))
def test_a_cookie_gives_back_reason_port_and_statement(reason: DropReason, port: int, statement: str) -> None:
    cookie = Row(0, 0, "", "drop", statement, reason, port).cookie
    assert reason_of_cookie(cookie) == Dropped(reason, port, statement) == (reason, port, statement)
    assert 0 < cookie < 1 << 64


@given(
    st.tuples(st.sampled_from(DropReason), st.integers(0, 0xFFFF), st.sampled_from(STATEMENTS)),
    st.tuples(st.sampled_from(DropReason), st.integers(0, 0xFFFF), st.sampled_from(STATEMENTS)),
)
def test_different_drops_have_different_cookies(
    one: tuple[DropReason, int, str], other: tuple[DropReason, int, str]
) -> None:
    cookies = [Row(0, 0, "", "drop", why, reason, port).cookie for reason, port, why in (one, other)]
    assert (cookies[0] == cookies[1]) is (one == other)


@pytest.mark.parametrize(
    ("why", "statement"),
    [
        ("TEAM-PID-1: web1.eth0 on vmnic1", "TEAM-PID-1"),
        ("SEC-2: it is for one of them", "SEC-2"),
        ("uplink", ""),
        ("ATK-1b", ""),
        ("FWD", ""),
        ("NIOC-3", ""),
        ("its own frame", ""),
        ("FWD-", ""),
    ],
)
def test_a_cookie_has_room_for_an_id_and_not_for_words(why: str, statement: str) -> None:
    assert reason_of_cookie(Row(0, 0, "", "drop", why, DropReason.MTU, 7).cookie) == (DropReason.MTU, 7, statement)


@pytest.mark.parametrize(
    "cookie",
    [
        0, 1, 0xD, 0xD_0001_0064, 0xC_0001_0000_0064, 0x1_000D_0001_0000_0064,
        0xD << 48 | len(DropReason) << 32, 0xD_FFFF_0000_0000, 0xD_0000_3000_0000, 0xD_0000_FF00_0000,
        0x1EA << 32 | 100,
    ],
)  # fmt: skip
def test_another_cookie_gives_nothing(cookie: int) -> None:
    assert reason_of_cookie(cookie) is None


def test_only_rows_that_drop_for_a_reason_have_a_cookie() -> None:
    rows = [row for bridge in PLAN.bridges for row in bridge.rows]
    assert {row.cookie == 0 for row in rows if row.reason is None} == {True}
    assert {(reason_of_cookie(row.cookie) or (None,))[0] is row.reason for row in rows if row.reason} == {True}
    assert {row.actions for row in rows if row.reason} == {"drop"}


def test_a_row_as_ovs_ofctl_reads_it() -> None:
    assert Row(20, 10, "in_port=100", "drop", "VLAN-6", DropReason.DOUBLE_TAG, 100).text() == (
        "cookie=0xd000102060064,table=20,priority=10,in_port=100,actions=drop"
    )
    assert Row(15, 0, "", "goto_table:20").text() == "table=15,priority=0,actions=goto_table:20"


# -- the whole


def test_compiling_twice_gives_the_same_plan() -> None:
    assert compile_plan(TOPOLOGY, STATE) == PLAN
    assert compile_plan(read_topology_file(FILE), STATE) == PLAN
    assert compile_plan(TOPOLOGY, with_links_down(TOPOLOGY, STATE, [("esx1", "vmnic1")])) != PLAN


def test_the_printed_plan_is_the_same_in_every_interpreter() -> None:
    code = (
        "import sys; from pathlib import Path; from lab.topology import read_topology_file as read;"
        "from lab.plan import compile_plan; from lab.plan.render import render; from lab.teaming import initial_state;"
        "t = read(Path(sys.argv[1])); print(render(compile_plan(t, initial_state(t))), end='')"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code, str(FILE)], env={"PYTHONHASHSEED": seed}, cwd=FILE.parents[2],
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert printed == {render(PLAN)}


def test_the_printed_plan_shows_every_row_cable_and_node_once() -> None:
    lines = Counter(line.strip() for line in render(PLAN).splitlines())
    assert all(lines[f"{c.a[0]}:{c.a[1]} -- {c.b[0]}:{c.b[1]}"] == 1 for c in PLAN.cables)
    assert all(lines[f"{node.kind} {node.name}"] == 1 for node in PLAN.nodes)
    assert sum(n for line, n in lines.items() if " -> " in line) == sum(len(b.rows) for b in PLAN.bridges)


@pytest.mark.parametrize("name", ["all", "default", "lo", "ovs-system", "ovs-netdev"])
def test_names_that_the_system_keeps_for_itself_are_changed(name: str) -> None:
    assert linux_name(name) != name
    assert linux_name(name + "1") == name + "1"


def test_a_pswitch_is_compiled_with_all_that_its_file_says() -> None:
    switches = "{tor1: {mac_table: 16, port_security: 2, bpdu_guard: true, cdp: true}, tor2: {}}"
    topology = read_topology(FILE.read_text().replace("{tor1: {}, tor2: {}}", switches), "")
    tor1, tor2 = compile_plan(topology, initial_state(topology)).bridges[:2]
    special = {DropReason.PSWITCH_BPDU_GUARD, DropReason.PSWITCH_PORT_SECURITY, DropReason.PSWITCH_DISCOVERY}
    assert special <= {row.reason for row in tor1.rows}
    assert special.isdisjoint(row.reason for row in tor2.rows)
    assert {row.actions for row in tor1.rows if "limit=2," in row.actions}
    assert [dict(bridge.columns)["flow_tables:35"] for bridge in (tor1, tor2)] == ["16", "8192"]
