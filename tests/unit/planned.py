"""A host's switch compiled to rows, for tests that look things up in them by the model's names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from matching import hit

from lab.model import Topology
from lab.plan import compile_plan
from lab.plan.types import Bridge, Plan, Row
from lab.state import State
from lab.teaming import initial_state, with_links_down
from lab.topology import read_topology

# One host with a port of every kind, and a second one that shares its distributed switch.
RULES = """\
name: rules
release: "6.7"
knobs: {<knobs>}
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks: {vmnic0: {switch: tor1}, vmnic1: {switch: tor1}}
    vmkernel: {vmk0: {port_group: web}}
  esx2:
    uplinks: {vmnic0: {switch: tor1}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic0, vmnic1], esx2: [vmnic0]}
    pvlans:
      100: {101: isolated, 102: community, 103: community}
      200: {201: isolated}
    mirrors: {<mirrors>}
    port_groups:
      web: {vlan: 10}
      other: {vlan: 20}
      iso: {pvlan: 101}
      shop: {pvlan: 102}
      park: {pvlan: 103}
      gate: {pvlan: 100}
      apart: {pvlan: 201}
      trunk: {vlan: [0, 10-12, 100]}
      loud: {vlan: 10, security: {promiscuous: accept}}
      loudest: {vlan: [10-12], security: {promiscuous: accept}}
      nest: {vlan: 10, security: {forged_transmits: accept}, mac_learning: {<learning>}}
      dry: {vlan: 10, security: {forged_transmits: accept}, mac_learning: {unicast_flooding: false, over_limit: allow}}
      free: {vlan: 10, security: {forged_transmits: accept, mac_changes: accept}}
vms:
  web1: {host: esx1, networks: [web]}
  web2: {host: esx1, networks: [web]}
  other1: {host: esx1, networks: [other]}
  iso1: {host: esx1, networks: [iso]}
  iso2: {host: esx1, networks: [iso]}
  shop1: {host: esx1, networks: [shop]}
  shop2: {host: esx1, networks: [shop]}
  park1: {host: esx1, networks: [park]}
  gate1: {host: esx1, networks: [gate]}
  apart1: {host: esx1, networks: [apart]}
  trunk1: {host: esx1, networks: [trunk]}
  loud1: {host: esx1, networks: [loud]}
  loud2: {host: esx1, networks: [loud]}
  loudest1: {host: esx1, networks: [loudest]}
  nest1: {host: esx1, networks: [nest]}
  nest2: {host: esx1, networks: [nest]}
  dry1: {host: esx1, networks: [dry]}
  free1: {host: esx1, networks: [free]}
  off1: {host: esx1, networks: [{port_group: web, connected: false}]}
  mute1: {host: esx1, networks: [{port_group: web, blocked: true}]}
  far1: {host: esx2, networks: [web]}
  far2: {host: esx2, networks: [web]}
"""


@dataclass(frozen=True)
class Planned:
    """`web1` stands for the port of its first vNIC, everywhere."""

    topology: Topology
    state: State
    host: str = "esx1"
    switch: str = "dvs0"

    @cached_property
    def plan(self) -> Plan:
        return compile_plan(self.topology, self.state)

    @cached_property
    def bridge(self) -> Bridge:
        return next(b for b in self.plan.bridges if (b.node, b.label) == (self.host, self.switch))

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.bridge.rows

    def on(self, host: str) -> Planned:
        return replace(self, host=host)

    def port(self, name: str) -> int:
        return self.bridge.port(_label(name)).number

    def ports(self, *names: str) -> set[int]:
        return {self.port(name) for name in names}

    def mac(self, name: str) -> str:
        nics = (*self.topology.vnics, *self.topology.vmknics)
        return next(nic.mac for nic in nics if nic.port == _label(name))

    def hit(self, table: int, port: str = "", to: str = "", **fields: int | str) -> Row:
        """The row that a frame from this port, for this port's MAC (or for a MAC), meets in a table."""
        where = {"in_port": self.port(port)} if port else {}
        whom = {"dl_dst": to if ":" in to else self.mac(to)} if to else {}
        return hit(self.rows, table, **{**where, **whom, **fields})

    def table(self, number: int) -> dict[str, str]:
        """Match -> actions of what a table holds."""
        return {row.match: row.actions for row in self.rows if row.table == number}


def planned(knobs: str = "", mirrors: str = "", learning: str = "limit: 3", more: str = "") -> Planned:
    text = RULES.replace("<knobs>", knobs).replace("<mirrors>", mirrors).replace("<learning>", learning) + more
    topology = read_topology(text, "rules")
    return Planned(topology, initial_state(topology))


def after(
    lab: Planned, macs: dict[str, str] | None = None, promiscuous: Iterable[str] = (),
    groups: dict[str, Iterable[str]] | None = None, all_groups: Iterable[str] = (), down: Iterable[str] = (),
) -> Planned:  # fmt: skip
    """What guests of the host have done, and links of the host that went down."""
    key = {name: (lab.host, _label(name)) for name in (*(macs or ()), *promiscuous, *(groups or ()), *all_groups)}
    state = replace(
        lab.state,
        macs=MappingProxyType({key[name]: mac for name, mac in (macs or {}).items()}),
        promiscuous=frozenset(key[name] for name in promiscuous),
        groups=MappingProxyType({key[name]: frozenset(wanted) for name, wanted in (groups or {}).items()}),
        all_groups=frozenset(key[name] for name in all_groups),
    )
    return replace(lab, state=with_links_down(lab.topology, state, [(lab.host, name) for name in down]))


def copies(row: Row) -> set[int]:
    """Client ports that a row sends copies to."""
    return {int(found) for found in re.findall(r"clone\(set_field:(\d+)->reg5,resubmit\(,50\)\)", row.actions)}


def onward(row: Row) -> str:
    """Where the frame itself goes after all copies."""
    return row.actions.rpartition(",")[2] if "goto" in row.actions else ""


def _label(name: str) -> str:
    return name if "." in name or name.startswith("vm") else f"{name}.eth0"
