"""Teaming as a function of (Topology, State): which uplink each port sends on while links go and come back."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from lab.model import PortKey
from lab.state import MacTable, State
from lab.state_json import from_json, to_json
from lab.teaming import initial_state, with_links_down
from lab.topology import read_topology

TEXT = """
name: teams
release: "5.0"
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks: {vmnic0: {switch: tor1}, vmnic1: {switch: tor1}, vmnic2: {switch: tor1}, vmnic3: {switch: tor1}}
    standard_switches:
      vSwitch0:
        uplinks: [vmnic0, vmnic1, vmnic2]
        port_groups:
          all: {}
          sticky: {teaming: {failback: false}}
          spare: {teaming: {active: [vmnic0], standby: [vmnic1, vmnic2]}}
          spare-sticky: {teaming: {active: [vmnic0], standby: [vmnic1], failback: false}}
          only: {teaming: {active: [vmnic2], standby: []}}
          standby: {teaming: {active: [], standby: [vmnic1]}}
          none: {teaming: {active: [], standby: []}}
          pair: {teaming: {active: [vmnic0, vmnic1], standby: [vmnic2]}}
      bare:
        port_groups: {inside: {}}
  esx2:
    uplinks: {vmnic0: {switch: tor1}, vmnic1: {switch: tor1}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic3], esx2: [vmnic1, vmnic0]}
    port_groups:
      first: {teaming: {active: [uplink1], standby: [uplink2]}}
vms:
  a1: {host: esx1, networks: [all]}
  a2: {host: esx1, networks: [all]}
  a3: {host: esx1, networks: [all]}
  a4: {host: esx1, networks: [all]}
  sticky5: {host: esx1, networks: [sticky]}
  spare6: {host: esx1, networks: [spare]}
  spare7: {host: esx1, networks: [spare-sticky]}
  only8: {host: esx1, networks: [only]}
  standby9: {host: esx1, networks: [standby]}
  none10: {host: esx1, networks: [none]}
  pair11: {host: esx1, networks: [pair]}
  inside: {host: esx1, networks: [inside]}
  d1: {host: esx1, networks: [first]}
  d2: {host: esx2, networks: [first]}
"""
TOPOLOGY = read_topology(TEXT, "teams.yaml")
START = initial_state(TOPOLOGY)
HOST = {"d2": "esx2"}


def after(*downs: str) -> State:
    """The state once the uplinks of esx1 that each text names ("01": vmnic0 and vmnic1) were down, one after other."""
    state = START
    for down in downs:
        state = with_links_down(TOPOLOGY, state, [("esx1", f"vmnic{digit}") for digit in down])
    return state


def uplink(state: State, vm: str) -> str | None:
    return state.uplink_of[HOST.get(vm, "esx1"), f"{vm}.eth0"]


@pytest.mark.parametrize(
    ("vm", "expected"),
    [
        ("a1", "vmnic0"),
        ("a2", "vmnic1"),
        ("a3", "vmnic2"),
        ("a4", "vmnic0"),
        ("sticky5", "vmnic1"),
        ("spare6", "vmnic0"),
        ("spare7", "vmnic0"),
        ("only8", "vmnic2"),
        ("standby9", "vmnic1"),
        ("none10", None),
        ("pair11", "vmnic0"),
        ("inside", None),
        ("d1", "vmnic3"),
        ("d2", "vmnic1"),
    ],
)
def test_team_pid_2_ports_are_spread_over_the_active_uplinks_by_number(vm: str, expected: str | None) -> None:
    assert uplink(START, vm) == expected


@pytest.mark.parametrize(
    ("vm", "downs", "expected"),
    [
        pytest.param("a1", ["0"], {"vmnic1", "vmnic2"}, id="team_f_1 active to active"),
        pytest.param("a2", ["1"], {"vmnic0", "vmnic2"}, id="team_f_1 active to active, second"),
        pytest.param("a1", ["01"], {"vmnic2"}, id="team_f_1 the last active"),
        pytest.param("a1", ["012"], {None}, id="team_f_7 no uplink left"),
        pytest.param("a1", ["012", "01"], {"vmnic2"}, id="team_f_7 the first that comes back"),
        pytest.param("a1", ["0", ""], {"vmnic0"}, id="team_f_2 failback to its own"),
        pytest.param("a1", ["01", "1"], {"vmnic0"}, id="team_f_2 failback while another is down"),
        pytest.param("sticky5", ["1"], {"vmnic0", "vmnic2"}, id="team_f_2 no failback: moves away"),
        pytest.param("sticky5", ["01", ""], {"vmnic2"}, id="team_f_2 no failback: stays"),
        pytest.param("sticky5", ["01", "", "2"], {"vmnic1"}, id="team_f_2 no failback: until that one dies"),
        pytest.param("sticky5", ["012", ""], {"vmnic1"}, id="team_f_2 no failback: from none to its own"),
        pytest.param("spare6", ["0"], {"vmnic1", "vmnic2"}, id="standby takes over"),
        pytest.param("spare6", ["01"], {"vmnic2"}, id="the other standby takes over"),
        pytest.param("spare6", ["12"], {"vmnic0"}, id="dead standbys do not matter"),
        pytest.param("spare6", ["0", ""], {"vmnic0"}, id="team_f_2 failback from standby"),
        pytest.param("spare7", ["0", ""], {"vmnic1"}, id="team_f_2 no failback from standby"),
        pytest.param("spare7", ["0", "", "1"], {"vmnic0"}, id="team_f_2 no failback from standby until it dies"),
        pytest.param("spare7", ["01"], {None}, id="unused uplinks never take over from standby"),
        pytest.param("pair11", ["0"], {"vmnic1"}, id="another active comes before a standby"),
        pytest.param("pair11", ["01"], {"vmnic2"}, id="a standby comes when no active is left"),
        pytest.param("only8", ["2"], {None}, id="unused uplinks never take over"),
        pytest.param("only8", ["2", ""], {"vmnic2"}, id="an only uplink comes back"),
        pytest.param("standby9", ["1"], {None}, id="only a standby, dead"),
        pytest.param("standby9", ["02"], {"vmnic1"}, id="only a standby, alive"),
        pytest.param("none10", [""], {None}, id="none stays none"),
        pytest.param("inside", ["0"], {None}, id="a switch without uplinks"),
        pytest.param("d1", ["3"], {None}, id="distributed: this host's pNIC behind uplink1"),
        pytest.param("d2", ["0123"], {"vmnic1"}, id="distributed: another host's pNIC of that name"),
    ],
)
def test_uplink_after_links_went(vm: str, downs: list[str], expected: set[str | None]) -> None:
    assert uplink(after(*downs), vm) in expected


@pytest.mark.parametrize("down", ["0", "1", "2"])
def test_team_f_6_ports_on_other_uplinks_stay_where_they_are(down: str) -> None:
    elsewhere = {key: up for key, up in START.uplink_of.items() if up != f"vmnic{down}"}
    moved = {key for key, up in after(down).uplink_of.items() if START.uplink_of[key] != up}
    assert elsewhere.items() <= after(down).uplink_of.items()
    assert moved == {k for k, up in START.uplink_of.items() if up == f"vmnic{down}" and k[0] == "esx1"}


def test_team_f_1_the_ports_of_a_dead_uplink_are_spread_over_the_usable_ones() -> None:
    state = after("0")
    assert {uplink(state, "a1"), uplink(state, "a4")} == {"vmnic1", "vmnic2"}


def test_everything_is_as_at_first_when_all_links_are_back() -> None:
    failing_back = {k: u for k, u in START.uplink_of.items() if "sticky" not in k[1] and "spare7" not in k[1]}
    state = after("0", "01", "012", "")
    assert failing_back.items() <= state.uplink_of.items()
    assert state.links_down == frozenset()


@pytest.mark.parametrize(
    "key", [("tor1", "esx1-vmnic0"), ("esx1", "a1.eth0"), ("esx2", "vmnic0")], ids=["pswitch", "client", "other host"]
)
def test_a_dead_port_that_is_no_uplink_of_the_host_moves_nobody_there(key: PortKey) -> None:
    state = with_links_down(TOPOLOGY, START, [key])
    assert state.links_down == {key}
    assert state.uplink_of == START.uplink_of


def test_links_down_are_exactly_those_named() -> None:
    assert after("0", "12").links_down == {("esx1", "vmnic1"), ("esx1", "vmnic2")}


LEARNED: MacTable = MappingProxyType({(10, "00:50:56:00:00:01"): "esx1-vmnic0"})
SECURED: MacTable = MappingProxyType({(10, "00:0c:29:00:00:01"): "gw"})
NESTED: MacTable = MappingProxyType({(10, "00:50:56:00:00:02"): "a1.eth0"})
TAUGHT = START.with_tables({"tor1": LEARNED}, {("esx1", "dvs0"): NESTED}, {"tor1": SECURED})
BUSY = replace(
    TAUGHT,
    macs=MappingProxyType({("esx1", "a1.eth0"): "00:50:56:00:00:09"}),
    promiscuous=frozenset({("esx1", "a2.eth0")}),
    groups=MappingProxyType({("esx1", "a1.eth0"): frozenset({"01:00:5e:00:00:fb"}), ("esx1", "a2.eth0"): frozenset()}),
    all_groups=frozenset({("esx1", "a3.eth0")}),
    discarding=frozenset({("tor1", "esx1-vmnic0")}),
)


def test_the_three_kinds_of_table_are_put_where_they_belong() -> None:
    assert (TAUGHT.mac_tables, TAUGHT.learned, TAUGHT.secured) == (
        {"tor1": LEARNED}, {("esx1", "dvs0"): NESTED}, {"tor1": SECURED},
    )  # fmt: skip
    assert (START.mac_tables, START.learned, START.secured) == ({}, {}, {})
    assert TAUGHT.with_tables({}, {}, {}) == START


def test_what_switches_learned_and_guests_did_stays_when_a_link_goes() -> None:
    after_it = with_links_down(TOPOLOGY, BUSY, [("esx1", "vmnic0")])
    assert after_it.links_down == {("esx1", "vmnic0")}
    assert after_it.uplink_of != BUSY.uplink_of
    assert replace(after_it, links_down=BUSY.links_down, uplink_of=BUSY.uplink_of) == BUSY


def test_a_table_that_is_given_is_copied() -> None:
    given = {"tor1": dict(LEARNED)}
    state = START.with_tables(given, {}, {})
    given["tor2"] = {}
    assert dict(state.mac_tables) == {"tor1": dict(LEARNED)}
    with pytest.raises(TypeError):
        state.mac_tables["tor2"] = {}  # type: ignore[index]


def test_fwd_19_a_guest_that_said_nothing_asked_for_all_systems_only() -> None:
    assert START.groups_of(("esx1", "a1.eth0")) == {"01:00:5e:00:00:01"}
    assert BUSY.groups_of(("esx1", "a1.eth0")) == {"01:00:5e:00:00:fb"}
    assert BUSY.groups_of(("esx1", "a2.eth0")) == frozenset()


@pytest.mark.parametrize("state", [START, TAUGHT, BUSY, after("01")], ids=["start", "taught", "busy", "links down"])
def test_a_state_is_the_same_after_a_journey_as_json(state: State) -> None:
    said = json.loads(json.dumps(to_json(state)))
    assert from_json(said) == state
    assert to_json(from_json(said)) == said
    assert set(said) == set(State.__dataclass_fields__)


def test_a_state_is_never_changed_in_place() -> None:
    before = dict(START.uplink_of)
    after("0", "012", "")
    assert dict(START.uplink_of) == before
    with pytest.raises(TypeError):
        START.uplink_of["esx1", "a1.eth0"] = None  # type: ignore[index]


def test_team_f_6_a_port_stays_where_it_went_while_that_uplink_is_good() -> None:
    uplinks = ", ".join(f"vmnic{n}" for n in range(4))
    pnics = "\n".join(f"      vmnic{n}: {{switch: tor1}}" for n in range(4))
    vms = "\n".join(f"  vm{n}: {{host: esx1, networks: [web]}}" for n in range(1, 6))
    topology = read_topology(
        f"name: four\nphysical_switches: {{tor1: {{}}}}\nhosts:\n  esx1:\n    uplinks:\n{pnics}\n"
        f"    standard_switches: {{vSwitch0: {{uplinks: [{uplinks}], port_groups: {{web: {{vlan: 10}}}}}}}}\n"
        f"vms:\n{vms}\n",
        "four",
    )
    first = with_links_down(topology, initial_state(topology), [("esx1", "vmnic0")])
    second = with_links_down(topology, first, [("esx1", "vmnic0"), ("esx1", "vmnic3")])
    assert first.uplink_of["esx1", "vm5.eth0"] == second.uplink_of["esx1", "vm5.eth0"] != "vmnic0"
    assert with_links_down(topology, second, []).uplink_of["esx1", "vm5.eth0"] == "vmnic0"
