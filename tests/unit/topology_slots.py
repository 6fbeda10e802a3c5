"""A small lab as a topology file with slots, for tests that change one thing in it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from lab.errors import Mistake, TopologyError
from lab.model import DistributedSwitch, PortGroup, Topology
from lab.topology import read_topology

# Each <slot> is filled by a test; what stands in SLOTS is right.
BASE = """\
name: lab
release: "<release>"
knobs: {<knobs>}
physical_switches:
  tor1: {<tor1>}
  tor2: {<tor2>}
cables:
  - {ends: [tor1, tor2]}
  <cable>
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: tor1}
      vmnic1: {switch: tor1<vmnic1>}
      vmnic2: {switch: tor2<vmnic2>}
    standard_switches:
      vSwitch0:
        uplinks: [vmnic0]
        <vss>
        port_groups:
          old: {vlan: 5<old>}
    vmkernel:
      vmk0: {<vmk0>}
  esx2:
    uplinks:
      vmnic1: {switch: tor2}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic1, vmnic2], esx2: [vmnic1]}
    <dvs>
    port_groups:
      web: {vlan: 10<web>}
      db: {<db>}
  dvs1: {<dvs1>}
vms:
  web1: {<web1>}
  web2: {host: esx1, networks: [web]}
  web3: {host: esx2, networks: [web]}
  old1: {host: esx1, networks: [old]}
machines:
  gw: {switch: tor1, access: 10}
"""
SLOTS = {
    "release": "6.7",
    "vmk0": "port_group: web",
    "db": "vlan: 20",
    "web1": "host: esx1, networks: [web, db]",
}
DVS, DB, WEB = "distributed_switches.dvs0", "distributed_switches.dvs0.port_groups.db", "port_groups.web"
VSS, OLD = "hosts.esx1.standard_switches.vSwitch0", "hosts.esx1.standard_switches.vSwitch0.port_groups.old"
MARK = "¦"
Parts = Mapping[str, str]
Wrong = tuple[Parts, str, str]
"""The slots, with the mark where the mistake is; then what is told and a part of the hint."""


def filled(parts: Parts, text: str = BASE) -> str:
    assert all(f"<{slot}>" in BASE for slot in parts)
    return re.sub(r"<(\w+)>", lambda slot: {**SLOTS, **parts}.get(slot[1], ""), text)


def lab(**parts: str) -> Topology:
    return read_topology(filled(parts), "f")


def told(text: str) -> list[Mistake]:
    with pytest.raises(TopologyError) as caught:
        read_topology(text, "f")
    return list(caught.value.mistakes)


def told_once(parts: Parts) -> Mistake:
    """The one mistake of the lab, which must be where the mark is."""
    before, after = filled(parts).split(MARK)
    found = told(before + after)
    assert [(m.line, m.column) for m in found] == [(before.count("\n") + 1, len(before) - before.rfind("\n"))], found
    return found[0]


def words(mistake: Mistake) -> str:
    return f"{mistake.path}: {mistake.what}"


def group(topology: Topology, name: str) -> PortGroup:
    return topology.distributed_switches["dvs0"].port_groups[name]


def dvs(topology: Topology) -> DistributedSwitch:
    return topology.distributed_switches["dvs0"]


def session(text: str) -> dict[str, str]:
    return {"dvs": f"mirrors: {{m: {{{text}}}}}"}


def mirrored(text: str, what: str, hint: str = "", **parts: str) -> Wrong:
    """`what` below the session's path; a mistake of the session as a whole has its place at the session's name."""
    whole = {"dvs": f"mirrors: {{{MARK}m: {{{text}}}}}"}
    return {**(session(text) if MARK in text else whole), **parts}, f"{DVS}.mirrors.m{what}", hint


PAIRED = session("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [web2]}")
PVLANS = "pvlans: {100: {101: isolated, 102: community, 103: community}}"
LOOP = {"cable": "- {ends: [tor2, tor1]}"}
BOTH = "from: {transmitted: [web1]}, to: {ports: [web2]}"
ERSPAN = "type: encapsulatedRemoteMirrorSource, from: {transmitted: [web1]}, to: {addresses: [10.0.5.9]}"
