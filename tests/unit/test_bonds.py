"""LAGs and LACP channels in the plan, and an interface's counters as the kernel tells them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from lab.plan import compile_plan
from lab.plan.types import Bond
from lab.realise.linkwatch import Counters, LinkQuery
from lab.teaming import initial_state
from lab.topology import read_topology

TEXT = """
name: bonds
release: "6.7"
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: tor1, channel: 1, lacp: active}
      vmnic1: {switch: tor1, channel: 1, lacp: active}
      vmnic2: {switch: tor1, channel: 2}
      vmnic3: {switch: tor1, channel: 2}
      vmnic4: {switch: tor1}
  esx2: {uplinks: {vmnic0: {switch: tor1}}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic2, vmnic3], esx2: [vmnic0]}
    lags: {lag1: {uplinks: {esx1: [vmnic0, vmnic1]}, mode: passive, timeout: fast}}
    port_groups:
      lagged: {vlan: 10, teaming: {active: [lag1], standby: []}}
vms:
  vm1: {host: esx1, networks: [lagged]}
"""
TOPOLOGY = read_topology(TEXT, "bonds.yaml")
PLAN = compile_plan(TOPOLOGY, initial_state(TOPOLOGY))


def bonds(box: str) -> list[Bond]:
    return [bond for bridge in PLAN.bridges_of(box) for bond in bridge.bonds]


@pytest.mark.parametrize(
    ("box", "label", "members", "columns"),
    [
        ("esx1", "lag1", ("vmnic0", "vmnic1"), {"lacp": "passive", "other_config:lacp-time": "fast"}),
        ("tor1", "po1", ("esx1-vmnic0", "esx1-vmnic1"), {"lacp": "active", "other_config:lacp-time": "slow"}),
    ],
)
def test_lacp_2_lacp_3_a_lag_and_its_channel(box: str, label: str, members: tuple[str, ...], columns: Any) -> None:
    (bond,) = bonds(box)
    assert (bond.label, bond.members) == (label, members)
    assert dict(bond.columns).items() >= columns.items()


def test_team_iph_6_a_static_channel_and_a_host_without_a_lag_negotiate_nothing() -> None:
    assert {bond.label for bond in bonds("tor1")} == {"po1"}
    assert bonds("esx2") == []


def test_lacp_2_each_end_has_a_system_id_of_its_own() -> None:
    ids = {dict(bond.columns)["other_config:lacp-system-id"] for box in ("esx1", "tor1") for bond in bonds(box)}
    assert len(ids) == 2


# -- counters


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def said(name: str, *numbers: int) -> bytes:
    """An answer to RTM_GETLINK: IFLA_IFNAME is 3, IFLA_STATS64 is 23 and longer than what is read of it."""
    stats = struct.pack("=24Q", *numbers, *[9] * (24 - len(numbers)))
    return bytes(16) + attribute(3, name.encode() + b"\0") + attribute(23, stats)


@pytest.mark.parametrize("names", [(), ("vmnic0",), ("lo", "vmnic0", "веб")])
def test_lbt_3_counters_of_every_link_by_name(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    def ask(*_: object) -> Iterator[bytes]:
        return (said(name, 1, 2, 1 << 40, 4, 50, 60, 7, 8) for name in names)

    query = LinkQuery.__new__(LinkQuery)
    query._ids = {"esx1": 3}
    monkeypatch.setattr(query, "_ask", ask)
    assert query.counters("esx1") == dict.fromkeys(names, Counters(1, 2, 1 << 40, 4, 7, 8))
