"""A physical switch as rows, read as a switch reads them; its spanning tree as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching import hit, hits

from lab.agents.pswitches import Tree, converged, read_tree
from lab.frame import BPDU_MACS, BROADCAST, CDP_MAC, LLDP_MAC, DropReason, Tag
from lab.model import ALL_VLANS, Cable, PhysicalPort, PhysicalSwitch, Pvlan, PvlanKind, Topology, in_ranges
from lab.observe.trace import Output, read_trace
from lab.plan.pswitch import (
    FLOOD,
    KNOWN,
    LEARN,
    LIMIT,
    LOOKUP,
    NEW,
    OWNER,
    PRIVATE,
    PROBE,
    RECEIVE,
    SECURITY,
    SOURCE,
    TABLE_NAMES,
    VLAN_IN,
    columns_of,
    columns_of_bridge,
    edges_of,
    rows_of,
)
from lab.plan.types import Row, reason_of_cookie
from lab.state import State
from lab.topology import read_topology

SWITCH = PhysicalSwitch("tor1", "site")
ACCESS, TRUNK = PhysicalPort(access=10), PhysicalPort()
STATION, OTHER, GROUP = "00:50:56:00:00:01", "00:50:56:00:00:02", "01:50:56:00:00:01"
PVLANS = {
    100: Pvlan(100, 100, PvlanKind.PROMISCUOUS),
    101: Pvlan(100, 101, PvlanKind.ISOLATED),
    102: Pvlan(100, 102, PvlanKind.COMMUNITY),
    103: Pvlan(100, 103, PvlanKind.COMMUNITY),
}
AWARE = PhysicalSwitch("tor1", "site", pvlans=MappingProxyType(PVLANS))
UNTAGGED, PRIORITY = 0, 0x1000

vids = st.integers(1, 4094)
ranges = st.lists(vids, min_size=2, max_size=8, unique=True).map(
    lambda edges: tuple(zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False))
)
physical_ports = st.one_of(
    st.builds(PhysicalPort, access=vids),
    st.builds(PhysicalPort, trunk=ranges | st.just(ALL_VLANS), native=vids | st.none()),
)
unhurried = settings(deadline=None, max_examples=60)


def rows(*ports: PhysicalPort, switch: PhysicalSwitch = SWITCH, edges: str = "", **state: object) -> tuple[Row, ...]:
    """Ports 1, 2, ... are called a, b, ..."""
    numbered = {n: (chr(96 + n), port) for n, port in enumerate(ports, start=1)}
    return rows_of(switch, numbered, frozenset(edges), State(**state))  # type: ignore[arg-type]


def edges_of_vlans(ports: list[PhysicalPort]) -> set[int]:
    spans = [span for port in ports for span in (*port.trunk, (port.untagged or 7, port.untagged or 7))]
    return {v for low, high in spans for v in (low - 1, low, high, high + 1) if 0 < v < 4095}


def leaving(row: Row) -> tuple[set[int], set[int]]:
    """Ports that a flood row sends to: untagged, tagged."""
    plain, _, tagged = row.actions.partition("push_vlan")
    return tuple({int(a.removeprefix("output:")) for a in part.split(",") if "output" in a} for part in (plain, tagged))  # type: ignore[return-value]


# -- in


def admitted(port: PhysicalPort, tci: int) -> DropReason | None:
    """By the meaning of access, trunk and native VLAN: None for a frame that comes in."""
    if tci & 0xFFF == 0:
        return DropReason.PSWITCH_NO_NATIVE if port.access is None and port.native is None else None
    if port.access is not None:
        return DropReason.PSWITCH_ACCESS_TAGGED
    allowed = in_ranges(tci & 0xFFF, port.trunk) or tci & 0xFFF == port.native
    return None if allowed else DropReason.PSWITCH_VLAN


@unhurried
@given(st.lists(physical_ports, min_size=1, max_size=3), st.data())
def test_vlan_16_a_pswitch_admits_what_its_port_is_configured_for(
    ports: list[PhysicalPort], data: st.DataObject
) -> None:
    vid = data.draw(st.sampled_from(sorted(edges_of_vlans(ports))) | vids)
    made = rows(*ports)
    for number, port in enumerate(ports, start=1):
        for tci in (UNTAGGED, PRIORITY, 0x1000 | vid, 0x1FFF):
            met = hits(made, VLAN_IN, {"in_port": number, "vlan_tci": tci})
            assert {row.reason for row in met} == {admitted(port, tci)}
            assert all(row.actions.endswith("goto_table:30") for row in met if not row.reason)


@pytest.mark.parametrize(
    ("port", "tci", "actions"),
    [
        pytest.param(ACCESS, UNTAGGED, "set_field:0xa->reg0", id="access"),
        pytest.param(ACCESS, PRIORITY, "pop_vlan,set_field:0xa->reg0", id="priority tag"),
        pytest.param(PhysicalPort(native=7), UNTAGGED, "set_field:0x7->reg0", id="native"),
        pytest.param(TRUNK, 0x1014, "NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11]", id="trunk"),
    ],
)
def test_a_frame_gets_its_vlan_and_loses_its_outer_tag(port: PhysicalPort, tci: int, actions: str) -> None:
    row = hit(rows(port), VLAN_IN, in_port=1, vlan_tci=tci)
    assert actions in row.actions
    assert ("pop_vlan" in row.actions) is bool(tci)
    assert ("NXM_NX_REG1" in row.actions) is bool(tci)


def test_vlan_13_a_vlan_that_the_trunk_does_not_carry_is_dropped_there() -> None:
    made = rows(PhysicalPort(trunk=((20, 30),)))
    refused, taken = (hit(made, VLAN_IN, in_port=1, vlan_tci=0x1000 | vid) for vid in (31, 30))
    assert (refused.reason, refused.why, refused.port) == (DropReason.PSWITCH_VLAN, "VLAN-13", 1)
    assert taken.reason is None


GUARDED = PhysicalSwitch("tor1", "site", bpdu_guard=True)
CDP, LLDP, STP = (PhysicalSwitch("tor1", "site", **{what: True}) for what in ("cdp", "lldp", "stp"))


@pytest.mark.parametrize(
    ("switch", "dst", "port", "reason", "why"),
    [
        pytest.param(GUARDED, BPDU_MACS[0], 1, DropReason.PSWITCH_BPDU_GUARD, "ATK-8", id="atk_8 IEEE BPDU"),
        pytest.param(GUARDED, BPDU_MACS[1], 1, DropReason.PSWITCH_BPDU_GUARD, "ATK-8", id="atk_8 Cisco BPDU"),
        pytest.param(GUARDED, BPDU_MACS[0], 2, None, "", id="atk_8 not on a cable"),
        pytest.param(GUARDED, BROADCAST, 1, None, "", id="atk_8 other frames"),
        pytest.param(SWITCH, BPDU_MACS[0], 1, None, "", id="atk_8 no guard"),
        pytest.param(SWITCH, CDP_MAC, 1, None, "", id="no CDP"),
        pytest.param(CDP, CDP_MAC, 2, DropReason.PSWITCH_DISCOVERY, "MIR-13", id="CDP"),
        pytest.param(CDP, LLDP_MAC, 2, None, "", id="CDP only"),
        pytest.param(
            LLDP, LLDP_MAC, 1, DropReason.PSWITCH_DISCOVERY, "MIR-13", id="LLDP"
        ),
        pytest.param(
            STP, BPDU_MACS[0], 2, DropReason.PSWITCH_DISCOVERY, "BPDU", id="its own tree"
        ),
    ],
)  # fmt: skip
def test_frames_that_a_pswitch_keeps(
    switch: PhysicalSwitch, dst: str, port: int, reason: DropReason | None, why: str
) -> None:
    row = hit(rows(ACCESS, TRUNK, switch=switch, edges="a"), RECEIVE, in_port=port, dl_dst=dst)
    assert (row.reason, row.why) == (reason, why)
    assert row.port == (port if reason else 0)


# -- port security

SECURE = PhysicalSwitch("tor1", "site", port_security=2)


def test_port_security_stands_before_learning_on_ports_to_hosts_only() -> None:
    made = rows(ACCESS, TRUNK, switch=SECURE, edges="a")
    assert {row.actions.split(":")[-1] for row in made if row.table == VLAN_IN and not row.reason} == {str(SECURITY)}
    assert hit(made, SECURITY, in_port=1, dl_src=STATION).actions == "resubmit(,21),goto_table:22"
    assert hit(made, SECURITY, in_port=2, dl_src=STATION).actions == f"goto_table:{SOURCE}"
    assert hit(made, SECURITY, in_port=1, dl_src=GROUP).actions == f"goto_table:{SOURCE}"


@pytest.mark.parametrize(
    ("table", "fields", "reason"),
    [
        pytest.param(OWNER, {"reg6": 1}, None, id="its own"),
        pytest.param(OWNER, {"reg6": 3}, DropReason.PSWITCH_PORT_SECURITY, id="another port's"),
        pytest.param(OWNER, {"reg6": 0}, None, id="nobody's"),
        pytest.param(LIMIT, {"reg3": 0}, DropReason.PSWITCH_PORT_SECURITY, id="no room"),
        pytest.param(LIMIT, {"reg3": 1}, None, id="room"),
    ],
)
def test_port_security_decides(table: int, fields: dict[str, int], reason: DropReason | None) -> None:
    row = hit(rows(ACCESS, TRUNK, ACCESS, switch=SECURE, edges="ac"), table, in_port=1, **fields)
    assert row.reason is reason


def test_port_security_counts_each_port_by_itself_and_forgets_nothing() -> None:
    made = rows(ACCESS, ACCESS, switch=SECURE, edges="ab")
    learns = [hit(made, OWNER, in_port=port, reg6=0).actions for port in (1, 2)]
    assert all("limit=2," in text and "timeout" not in text for text in learns)
    assert len({text.split("cookie=")[1].split(",")[0] for text in learns}) == 2


# -- learning


def test_atk_7_the_table_holds_as_many_addresses_as_the_file_says() -> None:
    small = PhysicalSwitch("tor1", "site", mac_table=16)
    assert dict(columns_of_bridge(small))["flow_tables:35"] == "16"
    made = hit(rows(ACCESS, TRUNK, switch=small), NEW, in_port=1).actions
    assert made.startswith("learn(table=35,")
    assert "hard_timeout=300" in made
    assert "limit" not in made


def test_a_learned_address_is_refreshed_where_it_is() -> None:
    made = rows(ACCESS, TRUNK)
    assert "learn(table=35,priority=50,hard_timeout=300," in hit(made, LEARN, in_port=2, reg6=2).actions
    assert hit(made, LEARN, in_port=2, reg6=1).actions == hit(made, LEARN, in_port=2).actions
    assert hit(made, LEARN, in_port=2).actions.endswith(f"goto_table:{NEW}")


def test_nothing_is_learned_without_a_frame() -> None:
    made = rows(ACCESS)
    assert f"learn(table={PROBE},priority=1,limit=1" in hit(made, LEARN, in_port=1).actions
    assert hit(made, PROBE).cookie == 0, "the learn() into this table has cookie 0 too: that is what it counts"
    assert hit(made, NEW, reg7=1).actions == f"goto_table:{LOOKUP}"


def test_a_group_source_is_not_learned() -> None:
    made = rows(ACCESS)
    assert hit(made, SOURCE, dl_src=GROUP).actions == f"goto_table:{LOOKUP}"
    assert hit(made, SOURCE, dl_src=STATION).actions.endswith(f"goto_table:{LEARN}")


# -- out


@pytest.mark.parametrize(("dst", "table"), [(BROADCAST, FLOOD), (GROUP, FLOOD), (STATION, KNOWN)])
def test_a_group_is_flooded_and_a_station_looked_up(dst: str, table: int) -> None:
    assert hit(rows(ACCESS), LOOKUP, dl_dst=dst).actions.endswith(f"goto_table:{table}")


@pytest.mark.parametrize(
    ("known", "in_port", "vlan", "result"),
    [
        pytest.param(1, 2, 10, "output:1", id="access"),
        pytest.param(3, 2, 7, "output:3", id="native"),
        pytest.param(3, 2, 10, "push,output:3", id="trunk"),
        pytest.param(2, 2, 10, DropReason.PSWITCH_SAME_PORT, id="same port"),
        pytest.param(0, 2, 10, f"goto_table:{FLOOD}", id="unknown"),
        pytest.param(4, 2, 10, f"goto_table:{FLOOD}", id="learned on a port that is down"),
        pytest.param(5, 2, 10, f"goto_table:{FLOOD}", id="learned on a port that discards now"),
        pytest.param(6, 2, 20, "push,output:6", id="trunk of some VLANs"),
        pytest.param(6, 2, 10, f"goto_table:{FLOOD}", id="a VLAN that the trunk has left"),
        pytest.param(1, 2, 20, f"goto_table:{FLOOD}", id="a VLAN that the access port has left"),
    ],
)
def test_where_a_learned_address_leads(known: int, in_port: int, vlan: int, result: str | DropReason) -> None:
    down = {"links_down": frozenset({("tor1", "d")}), "discarding": frozenset({("tor1", "e")})}
    row = hit(
        rows(ACCESS, TRUNK, PhysicalPort(native=7), ACCESS, ACCESS, PhysicalPort(trunk=((20, 29),)), **down),
        KNOWN,
        reg5=known,
        in_port=in_port,
        reg0=vlan,
    )
    said = "push," + row.actions.rsplit(",", 1)[1] if row.actions.startswith("push_vlan") else row.actions
    assert (row.reason or said) == result


@unhurried
@given(st.lists(physical_ports, min_size=1, max_size=4), st.data())
def test_a_flood_goes_to_every_port_that_carries_the_vlan(ports: list[PhysicalPort], data: st.DataObject) -> None:
    vid = data.draw(st.sampled_from(sorted(edges_of_vlans(ports))) | vids)
    came_in = data.draw(st.integers(1, len(ports) + 1))
    row = hit(rows(*ports), FLOOD, reg0=vid, in_port=came_in)
    carrying = {n: port for n, port in enumerate(ports, start=1) if port.carries(vid)}
    if carrying.keys() <= {came_in}:
        assert row.reason is DropReason.PSWITCH_NO_RECEIVER
    else:
        untagged = {n for n, port in carrying.items() if port.untagged == vid}
        assert leaving(row) == (untagged, carrying.keys() - untagged)


@pytest.mark.parametrize("state", ["links_down", "discarding"])
def test_a_flood_leaves_out_ports_that_do_not_forward(state: str) -> None:
    closed = {state: frozenset({("tor1", "b"), ("tor2", "c")})}
    assert leaving(hit(rows(ACCESS, ACCESS, TRUNK, **closed), FLOOD, reg0=10, in_port=1)) == ({1}, {3})
    alone = hit(rows(ACCESS, ACCESS, **closed), FLOOD, reg0=10, in_port=1)
    assert (alone.reason, alone.port) == (DropReason.PSWITCH_NO_RECEIVER, 1)


def test_trunks_of_every_vlan_need_one_flood_row_for_all_that_others_do_not_have() -> None:
    flood = [row for row in rows(TRUNK, TRUNK, ACCESS) if row.table == FLOOD]
    assert [(row.priority, row.match) for row in flood] == [(50, "reg0=0xa"), (30, ""), (0, "")]


def test_team_f_1_a_discarding_port_takes_nothing() -> None:
    made = rows(ACCESS, TRUNK, switch=GUARDED, edges="a", discarding=frozenset({("tor1", "a")}))
    for dst in (BROADCAST, STATION, BPDU_MACS[0]):
        row = hit(made, RECEIVE, in_port=1, dl_dst=dst)
        assert (row.reason, row.why, row.port) == (DropReason.PSWITCH_STP, "TEAM-F-1", 1)
    assert hit(made, RECEIVE, in_port=2, dl_dst=BROADCAST).reason is None


# -- private VLANs

PRIVATE_PORTS = [PhysicalPort(access=vid) for vid in (100, 101, 101, 102, 103)] + [
    TRUNK,
    PhysicalPort(trunk=((101, 101),)),
]


@pytest.mark.parametrize(
    ("vid", "hears"),
    [
        pytest.param(100, {1, 2, 3, 4, 5}, id="pvl_10 from a promiscuous one to all"),
        pytest.param(101, {1}, id="pvl_2 from an isolated one"),
        pytest.param(102, {1, 4}, id="pvl_4 from a community"),
    ],
)  # fmt: skip
def test_pvl_10_who_hears_whom_on_an_aware_switch(vid: int, hears: set[int]) -> None:
    untagged, _ = leaving(hit(rows(*PRIVATE_PORTS, switch=AWARE), FLOOD, reg0=vid, in_port=9))
    assert untagged == hears
    plain, _ = leaving(hit(rows(*PRIVATE_PORTS), FLOOD, reg0=vid, in_port=9))
    assert plain == {n for n, port in enumerate(PRIVATE_PORTS, start=1) if port.access == vid}


def test_pvl_8_trunks_carry_the_ids_of_their_list_as_they_are() -> None:
    made = rows(*PRIVATE_PORTS, switch=AWARE)
    assert [leaving(hit(made, FLOOD, reg0=vid, in_port=9))[1] for vid in (100, 101, 102)] == [{6}, {6, 7}, {6}]


def test_pvl_9_an_aware_switch_learns_in_the_primary_vlan() -> None:
    made = rows(*PRIVATE_PORTS, switch=AWARE)
    assert "set_field:0x64->reg4" in hit(made, PRIVATE, reg0=101).actions
    assert "NXM_NX_REG0[]->NXM_NX_REG4[]" in hit(made, PRIVATE, reg0=10).actions
    assert "NXM_NX_REG4[],NXM_OF_ETH_DST[]" in hit(made, NEW).actions
    assert "NXM_NX_REG0[],NXM_OF_ETH_DST[]" in hit(rows(ACCESS), NEW).actions


@pytest.mark.parametrize(
    ("known", "vid", "why"),
    [
        pytest.param(3, 101, "PVL-2", id="isolated to isolated"),
        pytest.param(3, 102, "PVL-3", id="community to isolated"),
        pytest.param(4, 101, "PVL-3", id="isolated to community"),
        pytest.param(4, 103, "PVL-4", id="to another community"),
        pytest.param(7, 100, "PVL-8", id="to a trunk that has only the isolated one"),
        pytest.param(4, 102, None, id="in its community"),
        pytest.param(1, 101, None, id="to the promiscuous one"),
        pytest.param(3, 100, None, id="from the promiscuous one"),
        pytest.param(6, 103, None, id="to a trunk"),
    ],
)
def test_pvl_2_a_learned_port_that_may_not_hear_the_sender(known: int, vid: int, why: str | None) -> None:
    row = hit(rows(*PRIVATE_PORTS, switch=AWARE), KNOWN, reg5=known, reg0=vid, in_port=9)
    assert row.reason is (DropReason.PVLAN_ISOLATED if why else None)
    assert why is None or (row.why, row.port) == (why, known)


# -- the whole


@pytest.mark.parametrize(
    "switch", [SWITCH, GUARDED, SECURE, AWARE, PhysicalSwitch("t", "", stp=True, cdp=True)], ids=str
)
def test_rows_have_keys_of_their_own_and_stand_in_order(switch: PhysicalSwitch) -> None:
    made = rows(*PRIVATE_PORTS, PhysicalPort(native=10), switch=switch, edges="abcde")
    assert max(Counter((r.table, r.priority, r.match) for r in made).values()) == 1
    assert [(r.table, -r.priority) for r in made] == sorted((r.table, -r.priority) for r in made)
    assert {row.table for row in made} <= TABLE_NAMES.keys()
    assert {(row.actions, bool(reason_of_cookie(row.cookie))) for row in made if row.reason} == {("drop", True)}


def test_edges_are_the_ports_to_hosts_and_machines() -> None:
    text = (
        'name: edges\nrelease: "5.0"\nphysical_switches: {tor1: {}, tor2: {}}\ncables: [{ends: [tor1, tor2]}]\n'
        "hosts: {esx1: {uplinks: {vmnic0: {switch: tor1}, vmnic1: {switch: tor2}}}}\n"
        "machines: {gw: {switch: tor1, access: 10}}\n"
    )
    topology = read_topology(text, "")
    assert edges_of(topology, "tor1") == {"esx1-vmnic0", "gw"}
    assert edges_of(topology, "tor2") == {"esx1-vmnic1"}


def test_columns_are_for_spanning_tree_only() -> None:
    assert columns_of(SWITCH, 1, True) == ()
    assert dict(columns_of_bridge(SWITCH)) == {"flow_tables:35": "8192", "rstp_enable": "false"}
    assert dict(columns_of_bridge(STP))["rstp_enable"] == "true"
    assert columns_of_bridge(STP) != columns_of_bridge(PhysicalSwitch("tor2", "", stp=True))
    edge, cable = (dict(columns_of(STP, number, number == 1)) for number in (1, 2))
    assert [c["other_config:rstp-port-admin-edge"] for c in (edge, cable)] == ["true", "false"]
    assert [c["other_config:rstp-port-num"] for c in (edge, cable)] == ["1", "2"]


# -- spanning tree

SHOWN = """\
---- tor1 ----
Root ID:
  stp-priority    32768
  stp-system-id   02:2e:7d:2c:03:a9
  stp-hello-time  2s
  stp-max-age     20s
  stp-fwd-delay   15s

Bridge ID:
  stp-priority    32768
  stp-system-id   02:5a:9b:02:9a:4c
  stp-hello-time  2s
  stp-max-age     20s
  stp-fwd-delay   15s

  Interface  Role       State      Cost     Pri.Nbr 
  ---------- ---------- ---------- -------- -------
  tor2       Root       Forwarding 2000     128.3
  tor2_5f4dc Alternate  Discarding 2000     128.4
  gw         Designated Learning   2000     128.2
  esx1-vmnic Disabled   Discarding 2000     128.1

"""  # noqa: W291
LABELS = {3: "tor2", 4: "tor2#2", 2: "gw", 1: "esx1-vmnic0"}


def test_a_spanning_tree_as_open_vswitch_shows_it() -> None:
    tree = read_tree(SHOWN, {n: label for n, label in LABELS.items() if label != "esx1-vmnic0"})
    assert tree.root == "32768 02:2e:7d:2c:03:a9"
    assert dict(tree.ports) == {
        "tor2": ("Root", "Forwarding"),
        "tor2#2": ("Alternate", "Discarding"),
        "gw": ("Designated", "Learning"),
    }
    assert tree.discarding == {"tor2#2", "gw"}
    assert not tree.settled
    assert replace(tree, ports={**tree.ports, "gw": UP}).settled


@pytest.mark.parametrize("seen", [True, False], ids=["no role yet", "no port yet"])
def test_no_tree_has_settled_before_every_link_that_is_up_was_seen(seen: bool) -> None:
    text = SHOWN.replace("Learning  ", "Forwarding")
    lines = text if seen else "".join(line for line in text.splitlines(True) if "esx1-vmnic" not in line)
    tree = read_tree(lines, LABELS)
    assert tree.discarding == {"tor2#2", "esx1-vmnic0"}
    assert not tree.settled


def tree(root: str, **ports: tuple[str, str]) -> Tree:
    return Tree(root, ports)


UP, HELD = ("Designated", "Forwarding"), ("Alternate", "Discarding")
ROOT = ("Root", "Forwarding")


@pytest.mark.parametrize(
    ("trees", "done"),
    [
        pytest.param({"a": tree("a", b=UP), "b": tree("a", a=ROOT)}, True, id="settled"),
        pytest.param({"a": tree("a", b=UP), "b": tree("a", a=HELD)}, True, id="held back"),
        pytest.param({"a": tree("a", b=("Designated", "Learning")), "b": tree("a", a=ROOT)}, False, id="on its way"),
        pytest.param({"a": tree("a", b=UP), "b": tree("b", a=ROOT)}, False, id="two roots"),
        pytest.param({"a": tree("a", b=UP), "b": tree("a", a=UP)}, False, id="both designated"),
        pytest.param({"a": tree("a", b=UP), "b": tree("b")}, True, id="no link between them"),
        pytest.param({"a": tree("a", b=UP)}, True, id="the other one has no spanning tree"),
    ],
)
def test_when_spanning_trees_have_converged(trees: Mapping[str, Tree], done: bool) -> None:
    topology = Topology("t", "5.0", cables=(Cable(("a", "b"), TRUNK),))
    assert converged(topology, trees) is done


# -- traces


@pytest.mark.parametrize(
    ("actions", "outputs"),
    [
        pytest.param("trunc(64),a,b", [Output("a", (), 64), Output("b", ())], id="only the next one is cut"),
        pytest.param(
            "clone(trunc(128),push_vlan(vid=7,pcp=1),a),b",
            [Output("a", (Tag(7, 1),), 128), Output("b", ())],
            id="clone",
        ),
        pytest.param(
            "userspace(pid=0,slow_path(controller)),set(eth(src=02:00:00:00:00:01)),a", [Output("a", ())], id="others"
        ),
        pytest.param("drop", [], id="nothing"),
    ],
)
def test_copies_by_the_datapaths_actions(actions: str, outputs: list[Output]) -> None:
    assert read_trace(f"Flow: in_port=x\nDatapath actions: {actions}\n", ()).outputs == tuple(outputs)


def test_a_trace_names_reason_port_and_statement_of_each_drop() -> None:
    row = hit(rows(PhysicalPort(trunk=((20, 30),))), VLAN_IN, in_port=1, vlan_tci=0x1000 | 31)
    text = (
        " 0. in_port=a, priority 100\n    goto_table:10\n"
        f"10. in_port=a, priority 10, cookie {row.cookie:#x}\n    drop\n"
        "35. reg0=0xa, priority 50, cookie 0x1ea00000000\n\nDatapath actions: drop\n"
    )
    trace = read_trace(text, (Tag(31),))
    assert (trace.tables, trace.outputs) == ((0, 10, 35), ())
    assert trace.drops == ((DropReason.PSWITCH_VLAN, 1, "VLAN-13"),)
