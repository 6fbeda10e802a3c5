"""Two readings of counters -> esxtop's rows: which way is TX, rates, shares dropped, numbers, and TEAM-PNIC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from lab.model import Topology
from lab.report.top import COLUMNS, Counts, Reading, Row, Sample, as_json, cells, rows_between, what_a_megabit_is
from lab.state import State
from lab.teaming import initial_state, with_links_down
from lab.topology import read_topology

LAB = """\
name: lab
release: "6.7"
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: tor1}
      vmnic1: {switch: tor1}
      vmnic2: {switch: tor1}
    standard_switches:
      vSwitch0: {uplinks: [vmnic0], port_groups: {mgmt: {vlan: 5}}}
    vmkernel: {vmk0: {port_group: mgmt}}
  esx2: {uplinks: {vmnic0: {switch: tor1}}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic1, vmnic2], esx2: [vmnic0]}
    port_groups:
      web: {vlan: 10, teaming: {POLICY}}
vms:
  web1: {host: esx1, networks: [web]}
  web2: {host: esx1, networks: [web, {port_group: web, connected: false}]}
  far1: {host: esx2, networks: [web]}
"""
NONE = Counts(0, 0, 0, 0, 0, 0)


def topology(policy: str = "") -> Topology:
    return read_topology(LAB.replace("{POLICY}", f"{{{policy}}}"), "f")


def sample(seconds: float, state: State, **counts: Counts) -> Sample:
    """Of esx1 and esx2; ports that are not said have counted nothing. `web1_eth0` is web1.eth0 of esx1."""
    said = {name.replace("_", "."): count for name, count in counts.items()}
    names = ("vmnic0", "vmnic1", "vmnic2", "vmk0", "web1.eth0", "web2.eth0", "web2.eth1")
    here = Reading(round(seconds * 1e9), {name: said.get(name, NONE) for name in names})
    there = Reading(round(seconds * 1e9), {"vmnic0": NONE, "far1.eth0": NONE})
    return Sample(state, {"esx1": here, "esx2": there})


def rows(known: Topology, state: State | None = None, seconds: float = 2.0, **counts: Counts) -> Mapping[str, Row]:
    """esx1's rows between nothing and these counts."""
    state = initial_state(known) if state is None else state
    found = rows_between(known, sample(5, state), sample(5 + seconds, state, **counts))
    return {row.used_by: row for row in found if row.host == "esx1"}


def test_numbers_and_names_are_as_in_esxtop() -> None:
    known = topology()
    empty = sample(0, initial_state(known))
    found = rows_between(known, empty, sample(1, initial_state(known)))
    assert [(row.host, *cells(row)[:4]) for row in found] == [
        ("esx1", "16777218", "vmnic0", "-", "vSwitch0"),
        ("esx1", "16777219", "vmk0", "vmnic0", "vSwitch0"),
        ("esx1", "33554434", "vmnic1", "-", "dvs0"),
        ("esx1", "33554435", "vmnic2", "-", "dvs0"),
        ("esx1", "33554436", "web1.eth0", "vmnic1", "dvs0"),
        ("esx1", "33554437", "web2.eth0", "vmnic2", "dvs0"),
        ("esx2", "16777218", "vmnic0", "-", "dvs0"),
        ("esx2", "16777219", "far1.eth0", "vmnic0", "dvs0"),
    ]


# What the host's end of the cable has counted in two seconds -> the figures of the row.
IN, OUT = Counts(200, 0, 250_000, 0, 0, 0), Counts(0, 200, 0, 250_000, 0, 0)
FIGURES = [
    pytest.param("web1_eth0", IN, ("100.00", "1.00", "0.00", "0.00", "0.00", "0.00"), id="a VM sends"),
    pytest.param("web1_eth0", OUT, ("0.00", "0.00", "100.00", "1.00", "0.00", "0.00"), id="a VM receives"),
    pytest.param("vmk0", IN, ("100.00", "1.00", "0.00", "0.00", "0.00", "0.00"), id="a vmknic sends"),
    pytest.param("vmnic1", OUT, ("100.00", "1.00", "0.00", "0.00", "0.00", "0.00"), id="an uplink sends"),
    pytest.param("vmnic1", IN, ("0.00", "0.00", "100.00", "1.00", "0.00", "0.00"), id="an uplink receives"),
    pytest.param("web1_eth0", Counts(30, 0, 0, 0, 10, 0), ("15.00", "0.00", "0.00", "0.00", "25.00", "0.00"),
                 id="of what a VM sent, a quarter is dropped"),
    pytest.param("web1_eth0", Counts(0, 0, 0, 0, 0, 8), ("0.00", "0.00", "0.00", "0.00", "0.00", "100.00"),
                 id="nothing arrives in a VM"),
    pytest.param("vmnic1", Counts(0, 30, 0, 0, 0, 10), ("15.00", "0.00", "0.00", "0.00", "25.00", "0.00"),
                 id="an uplink drops"),
    pytest.param("web1_eth0", NONE, ("0.00",) * 6, id="silence"),
]  # fmt: skip


@pytest.mark.parametrize(("port", "counts", "figures"), FIGURES)
def test_figures_of_a_port(port: str, counts: Counts, figures: tuple[str, ...]) -> None:
    found = rows(topology(), seconds=2.0, **{port: counts})
    assert cells(found[port.replace("_", ".")])[4:] == figures
    others = [cells(row)[4:] for name, row in found.items() if name != port.replace("_", ".")]
    assert others == [("0.00",) * 6] * 5


@pytest.mark.parametrize(("seconds", "rate"), [(0.5, 400.0), (2.0, 100.0), (4.0, 50.0)])
def test_a_rate_is_for_a_second_of_the_time_that_passed(seconds: float, rate: float) -> None:
    assert rows(topology(), seconds=seconds, web1_eth0=IN)["web1.eth0"].sent.packets == rate


def test_only_what_was_counted_between_the_samples_counts() -> None:
    known, state = topology(), initial_state(topology())
    before, after = sample(1, state, web1_eth0=IN), sample(3, state, web1_eth0=Counts(300, 0, 500_000, 0, 0, 0))
    found = {row.used_by: row for row in rows_between(known, before, after)}
    assert (found["web1.eth0"].sent.packets, found["web1.eth0"].sent.megabits) == (50.0, 1.0)


DOWN = {"one": ("vmnic1",), "both": ("vmnic1", "vmnic2"), "none": ()}
TEAM_PNIC = [
    ("policy: loadbalance_srcid", "none", ("vmnic1", "vmnic2")),
    ("policy: loadbalance_srcid", "one", ("vmnic2", "vmnic2")),
    ("policy: loadbalance_srcid", "both", ("void", "void")),
    ("policy: failover_explicit", "none", ("vmnic1", "vmnic1")),
    ("active: []", "none", ("void", "void")),
    ("policy: loadbalance_ip", "none", ("all(2)", "all(2)")),
    ("policy: loadbalance_ip", "one", ("all(1)", "all(1)")),
    ("policy: loadbalance_ip", "both", ("void", "void")),
    ("policy: loadbalance_srcmac", "none", ("vmnic2", "vmnic1")),
    ("policy: loadbalance_srcmac", "one", ("vmnic2", "vmnic2")),
    ("policy: loadbalance_srcmac", "both", ("void", "void")),
]


@pytest.mark.parametrize(("policy", "down", "shown"), TEAM_PNIC)
def test_team_pnic_is_what_the_port_sends_on(policy: str, down: str, shown: tuple[str, str]) -> None:
    known = topology(policy)
    state = with_links_down(known, initial_state(known), {("esx1", pnic) for pnic in DOWN[down]})
    found = rows(known, state)
    assert (found["web1.eth0"].team_pnic, found["web2.eth0"].team_pnic) == shown
    assert (found["vmnic1"].team_pnic, found["vmk0"].team_pnic) == ("-", "vmnic0")


def test_team_pnic_by_the_source_mac_is_that_of_the_mac_that_the_guest_has_set() -> None:
    known = topology("policy: loadbalance_srcmac")
    key, state = ("esx1", "web1.eth0"), initial_state(known)
    own = int(known.vms["web1"].nics[0].mac[-2:], 16)
    other = replace(state, macs=MappingProxyType({key: f"00:50:56:00:00:{own + 1:02x}"}))
    assert [rows(known, s)["web1.eth0"].team_pnic for s in (state, other)] == ["vmnic2", "vmnic1"]


def test_bcn_7_team_pnic_of_a_port_whose_frames_leave_by_both_is_all_of_them() -> None:
    known = topology()
    shotgun = replace(initial_state(known), copied=MappingProxyType({("esx1", "web1.eth0"): ("vmnic1", "vmnic2")}))
    found = rows(known, shotgun)
    assert (found["web1.eth0"].team_pnic, found["web2.eth0"].team_pnic) == ("all(2)", "vmnic2")


def test_a_lag_s_port_shows_how_many_members_are_up() -> None:
    text = LAB.replace("esx1: [vmnic1, vmnic2], ", "").replace("{POLICY}", "{active: [lag1]}")
    text = text.replace("    port_groups:\n      web", "    lags: {lag1: {uplinks: {esx1: [vmnic1, vmnic2]}}}\n"
                        "    port_groups:\n      web")  # fmt: skip
    known = read_topology(text, "f")
    up = with_links_down(known, State(lag_members=frozenset({("esx1", "vmnic1"), ("esx1", "vmnic2")})), ())
    assert [rows(known, s)["web1.eth0"].team_pnic for s in (up, initial_state(known))] == ["all(2)", "void"]


def test_a_port_without_counters_has_no_row_and_others_have() -> None:
    known, state = topology(), initial_state(topology())
    lacking = sample(3, state)
    lacking.readings["esx1"].counts.pop("web1.eth0")  # type: ignore[attr-defined]
    names = [row.used_by for row in rows_between(known, sample(1, state), lacking)]
    assert "web1.eth0" not in names and "web2.eth0" in names


@pytest.mark.parametrize(
    ("scale", "words"),
    [(0.01, "1 Mb/s here stands for 100 Mb/s (speed_scale 0.01)"),
     (0.003, "1 Mb/s here stands for 333.333 Mb/s (speed_scale 0.003)"), (1.0, "")],
)  # fmt: skip
def test_the_scale_is_said_where_there_is_one(scale: float, words: str) -> None:
    assert what_a_megabit_is(scale) == words


def test_json_has_emulated_and_nominal_rates() -> None:
    row = rows(topology(), web1_eth0=IN)["web1.eth0"]
    said = as_json("lab", [row], 2.0, 0.01)
    assert {key: said[key] for key in said if key != "ports"} == {
        "schema": 1, "lab": "lab", "seconds": 2.0, "speed_scale": 0.01,
    }  # fmt: skip
    assert said["ports"] == [{
        "host": "esx1", "port_id": 33554436, "used_by": "web1.eth0", "team_pnic": "vmnic1", "dname": "dvs0",
        "pkttx_per_s": 100.0, "mbtx_per_s": 1.0, "nominal_mbtx_per_s": 100.0, "pktrx_per_s": 0.0, "mbrx_per_s": 0.0,
        "nominal_mbrx_per_s": 0.0, "drptx_percent": 0.0, "drprx_percent": 0.0,
    }]  # fmt: skip
    assert len(cells(row)) == len(COLUMNS)
