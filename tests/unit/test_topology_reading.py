"""Topology files that are wrong: every mistake with its line, column, path, words and hint, and nothing but that."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import Mistake, TopologyError, UsageError
from lab.model import Topology
from lab.topology import (
    LARGEST,
    chassis_schema,
    json_schema,
    read_topology,
    read_topology_file,
    read_topology_text,
    warnings,
)
from lab.topology import schema as grammar
from lab.topology.nodes import DEEPEST, path_text, read_document, scalar
from lab.topology.schema import Section, TopologySpec
from lab.topology.values import NAME_MAX

TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))

BASE = """\
name: lab
physical_switches:
  tor1: {}
  tor2: {}
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: tor1}
      vmnic1: {switch: tor2}
    standard_switches:
      vSwitch0:
        uplinks: [vmnic0]
        port_groups:
          web: {vlan: 10}
    vmkernel:
      vmk0: {port_group: web}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic1]}
    port_groups:
      db: {vlan: 20}
vms:
  web1: {host: esx1, networks: [web]}
  db1: {host: esx1, networks: [db]}
machines:
  gw: {switch: tor1, access: 10}
cables:
  - {ends: [tor1, tor2]}
expect:
  - {isolate: [web, db]}
  - {reach: [web1, gw]}
"""


MARK = "¦"


def read_marked(text: str) -> tuple[str, int, int]:
    """The text without its mark, and the line and column where the mark was."""
    before, after = text.split(MARK)
    return before + after, before.count("\n") + 1, len(before) - before.rfind("\n")


def changed(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new, 1)


def told(text: str) -> list[Mistake]:
    with pytest.raises(TopologyError) as caught:
        read_topology(text, "f")
    assert caught.value.source == "f"
    return list(caught.value.mistakes)


def words(mistake: Mistake) -> str:
    return f"{mistake.path}: {mistake.what}" if mistake.path else mistake.what


def summary(text: str) -> list[str]:
    """`LINE:COLUMN PATH` of every mistake."""
    return [f"{m.line}:{m.column} {m.path}" for m in told(text)]


def test_the_base_of_the_tables_is_right() -> None:
    topology = read_topology(BASE, "lab.yaml")
    assert (topology.name, topology.source) == ("lab", "lab.yaml")


GROUP = "hosts.esx1.standard_switches.vSwitch0.port_groups.web"
DB = "distributed_switches.dvs0.port_groups.db"
NOT_EMULATED = "is not emulated by this version"

# In BASE the first text is replaced by the second, where the mark shows the place; then what is told and a part of
# the hint.
UNKNOWN_KEYS = [
    ("name: lab", "name: lab\n¦vm: {}", "unknown key 'vm'", "did you mean 'vms'?"),
    ("name: lab", "name: lab\n¦zzz: 1", "unknown key 'zzz'", ""),
    ("name: lab", "name: lab\nclock: {¦speed_up: 2}", "clock: unknown key 'speed_up'", "did you mean 'speedup'?"),
    ("name: lab", "name: lab\nknobs: {¦prio_tags: drop}", "knobs: unknown key 'prio_tags'", "'prio_tag'"),
    ("name: lab", "name: lab\nsites: {a: {¦x: 1}}", "sites.a: unknown key 'x'", ""),
    ("tor1: {}", "tor1: {¦mactable: 9}", "physical_switches.tor1: unknown key 'mactable'", "'mac_table'"),
    ("vmkernel:", "¦vmkernels:", "hosts.esx1: unknown key 'vmkernels'", "did you mean 'vmkernel'?"),
    ("{switch: tor1}", "{switch: tor1, ¦spede: 1G}", "hosts.esx1.uplinks.vmnic0: unknown key 'spede'", "'speed'"),
    ("{vlan: 10}", "{¦vlna: 10}", f"{GROUP}: unknown key 'vlna'", "did you mean 'vlan'?"),
    ("{vlan: 10}", "{vlan: 10, ¦plvan: 3}", f"{GROUP}: unknown key 'plvan'", "did you mean 'vlan'?"),
    ("{vlan: 20}", "{¦plvan: 3}", f"{DB}: unknown key 'plvan'", "did you mean 'pvlan'?"),
    ("{vlan: 10}", "{security: {¦forged: 1}}", f"{GROUP}.security: unknown key 'forged'", "forged_transmits"),
    ("{vlan: 10}", "{teaming: {¦stand_by: []}}", f"{GROUP}.teaming: unknown key 'stand_by'", "'standby'"),
    ("{vlan: 20}", "{vlan: 20, ¦secruity: {}}", f"{DB}: unknown key 'secruity'", "'security'"),
    ("{port_group: web}", "{port_group: web, ¦service: []}",
     "hosts.esx1.vmkernel.vmk0: unknown key 'service'", "did you mean 'services'?"),
    ("networks: [web]", "networks: [web], ¦ips: 1", "vms.web1: unknown key 'ips'", "did you mean 'ip'?"),
    ("[web]}", "[{port_group: web, ¦conected: true}]}",
     "vms.web1.networks[0]: unknown key 'conected'", "did you mean 'connected'?"),
    ("access: 10", "access: 10, ¦route: true", "machines.gw: unknown key 'route'", "did you mean 'routes'?"),
    ("tor2]}", "tor2], ¦trunks: all}", "cables[0]: unknown key 'trunks'", "did you mean 'trunk'?"),
    ("gw]}", "gw], ¦reached: 1}", "expect[1]: unknown key 'reached'", "did you mean 'reach'?"),
]  # fmt: skip

WRONG_TYPES = [
    ("name: lab", "name:¦", "name: must be text, not nothing", "nothing was written after the colon"),
    ("name: lab", "name: ¦true", "name: must be text, not True", ""),
    ("name: lab", "name: ¦[a]", "name: must be text, not a list", ""),
    ("name: lab", "name: ¦{a: b}", "name: must be text, not a mapping", ""),
    ("tor1: {}", "tor1:¦", "physical_switches.tor1: must be a mapping, not nothing", "nothing was written"),
    ("tor1: {}", "tor1: ¦[]", "physical_switches.tor1: must be a mapping, not a list", ""),
    ("tor1: {}", "tor1: ¦3", "physical_switches.tor1: must be a mapping, not 3", ""),
    ("tor1: {}", "tor1: {mac_table: ¦lots}",
     "physical_switches.tor1.mac_table: must be a whole number, not 'lots'", ""),
    ("tor1: {}", "tor1: {mac_table: ¦10.0}", "physical_switches.tor1.mac_table: must be a whole number, not 10.0", ""),
    ("tor1: {}", 'tor1: {mac_table: ¦"99"}', "physical_switches.tor1.mac_table: must be a whole number, not '99'", ""),
    ("tor1: {}", "tor1: {stp: ¦1}", "physical_switches.tor1.stp: must be true or false, not 1", ""),
    ("networks: [web]", "networks: ¦web", "vms.web1.networks: must be a list, not 'web'", ""),
    ("networks: [web]", "networks: ¦{web: 1}", "vms.web1.networks: must be a list, not a mapping", ""),
    ("networks: [web]", "networks: [¦3]", "vms.web1.networks[0]: must be a mapping, not 3", ""),
    ("[web]}", "[{port_group: web, connected: ¦yes}]}",
     "vms.web1.networks[0].connected: must be true or false, not 'yes'", "YAML 1.2: write true or false"),
    ("[web]}", "[{port_group: web, connected: ¦1}]}",
     "vms.web1.networks[0].connected: must be true or false, not 1", ""),
    ("[web]}", "[{port_group: web, blocked: ¦OFF}]}",
     "vms.web1.networks[0].blocked: must be true or false, not 'OFF'", "YAML 1.2"),
    ("{vlan: 10}", "{vlan: 10, security: ¦reject}", f"{GROUP}.security: must be a mapping, not 'reject'", ""),
    ("{reach: [web1, gw]}", "¦3", "expect[1]: must be a mapping, not 3", ""),
    ("name: lab", "name: lab\nclock: ¦fast", "clock: must be a mapping, not 'fast'", ""),
]  # fmt: skip

NOT_ONE_OF = [
    ("{vlan: 10}", "{security: {mac_changes: ¦allow}}",
     f"{GROUP}.security.mac_changes: 'allow' is not one of 'accept', 'reject'", ""),
    ("{vlan: 10}", "{security: {mac_changes: ¦true}}",
     f"{GROUP}.security.mac_changes: True is not one of 'accept', 'reject'", ""),
    ("name: lab", "name: lab\nknobs: {reverse_path: ¦2}", "knobs.reverse_path: 2 is not one of 0, 1", ""),
    ("name: lab", "name: lab\nknobs: {est_guest_tag: ¦a}",
     "knobs.est_guest_tag: 'a' is not one of 'drop', 'pass'", ""),
    ("name: lab", "name: lab\nrelease: ¦5.2",
     "release: '5.2' is no release of vSphere that is known here; one of 4.1, 5.0, 5.1, 5.5, 6.0, 6.5, 6.7, 7.0, 8.0",
     ""),
    ("name: lab", "name: lab\nrelease: ¦true",
     "release: 'True' is no release of vSphere that is known here; one of 4.1, 5.0, 5.1, 5.5, 6.0, 6.5, 6.7, 7.0, 8.0",
     ""),
    ("{port_group: web}", "{port_group: web, services: [¦smoke]}",
     "hosts.esx1.vmkernel.vmk0.services[0]: 'smoke' is not one of 'management', 'vmotion', 'ft_logging', "
     "'provisioning', 'vsphere_replication', 'vsphere_replication_nfc', 'vsan', 'iscsi', 'nfs'",
     ""),
]  # fmt: skip

OUT_OF_RANGE = [
    ("{vlan: 10}", "{vlan: ¦4096}", f"{GROUP}.vlan: VLAN 4096 is out of range 0-4095", ""),
    ("{vlan: 10}", "{vlan: ¦-1}", f"{GROUP}.vlan: VLAN -1 is out of range 0-4095", ""),
    ("{vlan: 10}", "{vlan: ¦}", f"{GROUP}.vlan: nothing was written after the colon", ""),
    ("{vlan: 20}", "{vlan: ¦}", f"{DB}.vlan: nothing was written after the colon", ""),
    ("{vlan: 10}", "{vlan: ¦yes}",
     f"{GROUP}.vlan: 'yes' is no VLAN: 0, 1 to 4094, 4095, or a list of IDs and ranges", ""),
    ("{vlan: 10}", "{vlan: ¦true}",
     f"{GROUP}.vlan: True is no VLAN: 0, 1 to 4094, 4095, or a list of IDs and ranges", ""),
    ("{vlan: 20}", "{vlan: ¦[0-4095]}", f"{DB}.vlan: VLAN 0-4095 is out of range 0-4094", ""),
    ("{vlan: 20}", "{vlan: ¦[20-10]}", f"{DB}.vlan: the range '20-10' runs backwards", ""),
    ("{vlan: 20}", "{vlan: ¦[]}", f"{DB}.vlan: an empty list of VLANs", ""),
    ("{vlan: 20}", "{vlan: ¦[10, a]}", f"{DB}.vlan: 'a' is neither a VLAN ID nor a range such as 20-29", ""),
    ("{vlan: 20}", "{vlan: ¦[1.5]}", f"{DB}.vlan: 1.5 is neither a VLAN ID nor a range such as 20-29", ""),
    ("{vlan: 20}", "{vlan: ¦[true]}", f"{DB}.vlan: True is neither a VLAN ID nor a range such as 20-29", ""),
    ("{vlan: 20}", "{vlan: ¦[1-2-3]}", f"{DB}.vlan: '1-2-3' is neither a VLAN ID nor a range such as 20-29", ""),
    ("{vlan: 20}", "{vlan: ¦4095}", f"{DB}.vlan: a distributed switch has no VLAN 4095", "[0-4094]"),
    ("{vlan: 10}", "{vlan: ¦[10]}", f"{GROUP}.vlan: a standard switch has no VLAN ranges", "4095 for all VLANs"),
    ("access: 10", "access: ¦0", "machines.gw.access: VLAN 0 is out of range 1-4094", ""),
    ("access: 10", "access: ¦4095", "machines.gw.access: VLAN 4095 is out of range 1-4094", ""),
    ("access: 10", "trunk: ¦[0]", "machines.gw.trunk: VLAN 0 is out of range 1-4094", ""),
    ("access: 10", "trunk: ¦[1-4095]", "machines.gw.trunk: VLAN 1-4095 is out of range 1-4094", ""),
    ("access: 10", "trunk: ¦some", "machines.gw.trunk: 'some' is neither a VLAN ID nor a range such as 20-29", ""),
    ("{switch: tor1}", "{switch: tor1, native: ¦0}",
     "hosts.esx1.uplinks.vmnic0.native: VLAN 0 is out of range 1-4094", ""),
    ("tor2]}", "tor2], native: ¦4095}", "cables[0].native: VLAN 4095 is out of range 1-4094", ""),
    ("tor1: {}", "tor1: {mac_table: ¦0}",
     "physical_switches.tor1.mac_table: 0 is out of range 1-1000000", ""),
    ("tor1: {}", "tor1: {mac_table: ¦1000001}",
     "physical_switches.tor1.mac_table: 1000001 is out of range 1-1000000", ""),
    ("[vmnic0]", "[vmnic0]\n        mtu: ¦1279",
     "hosts.esx1.standard_switches.vSwitch0.mtu: 1279 is out of range 1280-9000", ""),
    ("[vmnic0]", "[vmnic0]\n        mtu: ¦9001",
     "hosts.esx1.standard_switches.vSwitch0.mtu: 9001 is out of range 1280-9000", ""),
    ("name: lab", "name: lab\nspeed_scale: ¦0", "speed_scale: 0 is out of range: above 0, at most 1", ""),
    ("name: lab", "name: lab\nspeed_scale: ¦1.5", "speed_scale: 1.5 is out of range: above 0, at most 1", ""),
    ("name: lab", "name: lab\nclock: {speedup: ¦0}", "clock.speedup: 0 is out of range 1-1000", ""),
    ("{switch: tor1}", "{switch: tor1, speed: ¦0}", "hosts.esx1.uplinks.vmnic0.speed: 0 is no rate of a pNIC", ""),
    ("{switch: tor1}", "{switch: tor1, speed: ¦9999G}",
     "hosts.esx1.uplinks.vmnic0.speed: '9999G' is no rate of a pNIC", ""),
    ("{switch: tor1}", "{switch: tor1, speed: ¦fast}",
     "hosts.esx1.uplinks.vmnic0.speed: 'fast' is not a rate (a number and one of bit, k, kbit, m, mbit, g, gbit)", ""),
    ("{switch: tor1}", "{switch: tor1, speed: ¦true}",
     'hosts.esx1.uplinks.vmnic0.speed: must be a rate, such as "10G" or "100M"', ""),
    ("networks: [web]", "networks: ¦[]", "vms.web1.networks: needs at least 1, has 0", ""),
    ("networks: [web]", f"networks: ¦[{', '.join(['web'] * 11)}]",
     "vms.web1.networks: at most 10, has 11", ""),
    ("[tor1, tor2]", "¦[tor1]", "cables[0].ends: needs at least 2, has 1", ""),
    ("[tor1, tor2]", "¦[tor1, tor2, tor1]", "cables[0].ends: at most 2, has 3", ""),
]  # fmt: skip

MISSING = [
    ("name: lab\n", "¦", "'name' is missing", ""),
    ("{host: esx1, networks: [web]}", "¦{host: esx1}", "vms.web1: 'networks' is missing", ""),
    ("{host: esx1, networks: [db]}", "¦{networks: [db]}", "vms.db1: 'host' is missing", ""),
    ("[web]}", "[¦{connected: true}]}", "vms.web1.networks[0]: 'port_group' is missing", ""),
    ("{port_group: web}", "¦{}", "hosts.esx1.vmkernel.vmk0: 'port_group' is missing", ""),
    ("{ends: [tor1, tor2]}", "¦{trunk: all}", "cables[0]: 'ends' is missing", ""),
    ("  gw: {switch: tor1, access: 10}", "  ¦gw: {switch: tor1, ip: 10.0.0.1/24}",
     "machines.gw: says neither access nor trunk", "access: 10"),
    ("{reach: [web1, gw]}", "¦{}", "expect[1]: needs either isolate or reach", "{isolate: [web, db]}"),
    ("{reach: [web1, gw]}", "¦{reach: [web1, gw], isolate: [web, db]}",
     "expect[1]: needs either isolate or reach", "{reach: [web1, web2]}"),
]  # fmt: skip

NAMES = [
    ("name: lab", "name: ¦5", "name: 5 is a number where a name is meant; write it in quotes", ""),
    ("name: lab", "name: ¦1e3", "name: 1000.0 is a number where a name is meant; write it in quotes", ""),
    ("name: lab", 'name: ¦""', "name: a name must not be empty or begin or end with a space", ""),
    ("name: lab", 'name: ¦"lab "', "name: a name must not be empty or begin or end with a space", ""),
    ("name: lab", f"name: ¦{'a' * (NAME_MAX + 1)}",
     "name: a name of 81 characters; the longest is 80", ""),
    *(
        ("name: lab", f"name: ¦{bad!r}",
         f"name: {bad!r} is no name: letters, digits, space and ._-()#+, not beginning with a dot", "")
        for bad in (".", "..", ".lab", "a/b", "../a", "a:b", "a,b", "$(id)", "a;b", "a*", "a@b", "a%b")
    ),
    ("db1: {host", '¦" db1": {host', "vms. db1: a name must not be empty or begin or end with a space", ""),
    ("vmnic0: {switch: tor1}", "vmnic0: {switch: tor1}\n      ¦eth1: {switch: tor1}",
     "hosts.esx1.uplinks.eth1: 'eth1' is no name of this kind", "named vmnic0"),
    ("vmnic0: {switch: tor1}", "vmnic0: {switch: tor1}\n      ¦vmnic1000: {switch: tor1}",
     "hosts.esx1.uplinks.vmnic1000: 'vmnic1000' is no name of this kind", "named vmnic0"),
    ("vmk0: {", "¦kernel0: {", "hosts.esx1.vmkernel.kernel0: 'kernel0' is no name of this kind", "named vmk0"),
    ("access: 10}", "access: 10}\n  ¦tor2: {switch: tor1, access: 10}",
     "machines.tor2: the name 'tor2' is taken", "physical_switches"),
    ("  db1:", "  ¦tor1:", "vms.tor1: the name 'tor1' is taken", "it is in physical_switches too"),
    ("  db1:", "  ¦esx1:", "vms.esx1: the name 'esx1' is taken", "it is in hosts too"),
    ("  db1:", "  ¦esx1-vmk:", "vms.esx1-vmk: the name 'esx1-vmk' is taken", "by the vmkernel of esx1"),
    ("tor2: {}", "tor2: {}\n  ¦esx1-vmnic0: {}",
     "physical_switches.esx1-vmnic0: the name 'esx1-vmnic0' is taken", "a pNIC's port"),
]  # fmt: skip

REFERENCES = [
    ("networks: [web]", "networks: [¦wbe]",
     "vms.web1.networks[0].port_group: no port group 'wbe' on esx1", "did you mean 'web'?"),
    ("networks: [web]", "networks: [web, ¦zzz]",
     "vms.web1.networks[1].port_group: no port group 'zzz' on esx1", "there is web, db"),
    ("{port_group: web}", "{port_group: ¦wob}",
     "hosts.esx1.vmkernel.vmk0.port_group: no port group 'wob' on esx1", "did you mean 'web'?"),
    ("host: esx1, networks: [web]", "host: ¦esx2, networks: [web]",
     "vms.web1.host: no host 'esx2'", "did you mean 'esx1'?"),
    ("{switch: tor1}", "{switch: ¦tor11}",
     "hosts.esx1.uplinks.vmnic0.switch: no physical switch 'tor11'", "did you mean 'tor1'?"),
    ("switch: tor1, access", "switch: ¦core, access",
     "machines.gw.switch: no physical switch 'core'", "there is tor1, tor2"),
    ("[tor1, tor2]", "[tor1, ¦tor22]", "cables[0].ends[1]: no physical switch 'tor22'", "did you mean 'tor2'?"),
    ("[tor1, tor2]", "¦[tor1, tor1]", "cables[0].ends: both ends are in 'tor1'", ""),
    ("tor2]}", "tor2]}\n  - ¦{ends: [tor2, tor1]}",
     "cables[1]: closes a loop between 'tor2' and 'tor1'", "stp: true on every pSwitch"),
    ("{esx1: [vmnic1]}", "{esx1: [¦vmnic0]}",
     "distributed_switches.dvs0.uplinks.esx1[0]: vmnic0 of esx1 is an uplink of 'vSwitch0' already",
     "a pNIC belongs to one switch"),
    ("{esx1: [vmnic1]}", "{esx1: [vmnic1, ¦vmnic1]}",
     "distributed_switches.dvs0.uplinks.esx1[1]: vmnic1 is listed twice", "a pNIC belongs to one switch"),
    ("[vmnic0]", "[vmnic0]\n      vSwitch1: {uplinks: [¦vmnic0]}\n      vSwitch2:",
     "hosts.esx1.standard_switches.vSwitch1.uplinks[0]: vmnic0 of esx1 is an uplink of 'vSwitch0' already",
     "one switch"),
    ("{vlan: 10}", "{teaming: {active: [vmnic0], standby: [¦vmnic0]}}",
     f"{GROUP}.teaming.standby[0]: 'vmnic0' is listed twice", "active, standby or unused"),
    ("tor1: {}", "tor1: {site: ¦here}", "physical_switches.tor1.site: no site 'here'", "declare it under sites:"),
    ("access: 10", "¦access: 10, trunk: all",
     "machines.gw.access: access and trunk exclude each other", "an access port has one VLAN"),
    ("access: 10", "¦access: 10, native: 1", "machines.gw.access: access and trunk exclude each other",
     "an access port has one VLAN"),
    ("[web]}", "[{port_group: web, blocked: ¦true}]}",
     "vms.web1.networks[0].blocked: a standard switch has no 'blocked' for a single port", "distributed switch"),
    ("[web]}", "[{port_group: web, security: ¦{mac_changes: reject}}]}",
     "vms.web1.networks[0].security: a standard switch has no 'security' for a single port", "distributed switch"),
    ("[web, db]", "[web, ¦dbb]", "expect[0].isolate[1]: no port group 'dbb'", "did you mean 'db'?"),
    ("[web1, gw]", "[web1, ¦gww]", "expect[1].reach[1]: no VM, machine or vmknic 'gww'", "did you mean 'gw'?"),
    ("[web1, gw]", "[web1, ¦esx1.vmk1]",
     "expect[1].reach[1]: no VM, machine or vmknic 'esx1.vmk1'", "did you mean 'esx1.vmk0'?"),
    ("[web1, gw]", "[web1, gw, ¦web1]", "expect[1].reach[2]: 'web1' is listed twice", ""),
]  # fmt: skip

ADDRESSES = [
    ("{switch: tor1}", "{switch: tor1, mac: ¦1:30:00:00:00:00}",
     "hosts.esx1.uplinks.vmnic0.mac: '1:30:00:00:00:00' is no MAC address such as 00:50:56:00:00:01", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦12}",
     "hosts.esx1.uplinks.vmnic0.mac: 12 is no MAC address such as 00:50:56:00:00:01", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦00-50-56-00-00-01}",
     "hosts.esx1.uplinks.vmnic0.mac: '00-50-56-00-00-01' is no MAC address such as 00:50:56:00:00:01", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦00:50:56:00:00}",
     "hosts.esx1.uplinks.vmnic0.mac: '00:50:56:00:00' is no MAC address such as 00:50:56:00:00:01", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦0x005056000001}",
     "hosts.esx1.uplinks.vmnic0.mac: 345040224257 is no MAC address such as 00:50:56:00:00:01", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦00:50:56:00:00:0g}",
     "hosts.esx1.uplinks.vmnic0.mac: '00:50:56:00:00:0g' is no MAC address such as 00:50:56:00:00:01", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦[a]}",
     "hosts.esx1.uplinks.vmnic0.mac: ['a'] is no MAC address such as 00:50:56:00:00:01", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦01:00:00:00:00:01}",
     "hosts.esx1.uplinks.vmnic0.mac: 01:00:00:00:00:01 is no address of a single adapter", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦FF:FF:FF:FF:FF:FF}",
     "hosts.esx1.uplinks.vmnic0.mac: ff:ff:ff:ff:ff:ff is no address of a single adapter", ""),
    ("{switch: tor1}", "{switch: tor1, mac: ¦00:00:00:00:00:00}",
     "hosts.esx1.uplinks.vmnic0.mac: 00:00:00:00:00:00 is no address of a single adapter", ""),
    ("access: 10", "access: 10, ip: ¦10.0.0.1",
     "machines.gw.ip: '10.0.0.1' is no address with its prefix length, such as 10.0.10.1/24", ""),
    ("access: 10", "access: 10, ip: ¦10.0.0.256/24",
     "machines.gw.ip: '10.0.0.256/24' is no address with its prefix length, such as 10.0.10.1/24", ""),
    ("access: 10", "access: 10, ip: ¦10.0.0.1/33",
     "machines.gw.ip: '10.0.0.1/33' is no address with its prefix length, such as 10.0.10.1/24", ""),
    ("access: 10", "access: 10, ip: ¦010.0.0.1/24",
     "machines.gw.ip: '010.0.0.1/24' is no address with its prefix length, such as 10.0.10.1/24", ""),
    ("access: 10", "access: 10, ip: ¦10",
     "machines.gw.ip: 10 is no address with its prefix length, such as 10.0.10.1/24", ""),
    ("access: 10", "access: 10, ip: ¦here/24",
     "machines.gw.ip: 'here/24' is no address with its prefix length, such as 10.0.10.1/24", ""),
    ("access: 10", "access: 10, ip: ¦10.0.0.0/24",
     "machines.gw.ip: 10.0.0.0/24 is the network's own or its broadcast address", ""),
    ("access: 10", "access: 10, ip: ¦10.0.0.255/24",
     "machines.gw.ip: 10.0.0.255/24 is the network's own or its broadcast address", ""),
    ("access: 10", "access: 10, ip: ¦10.0.0.4/30",
     "machines.gw.ip: 10.0.0.4/30 is the network's own or its broadcast address", ""),
    ("access: 10", 'access: 10, ip: ¦"224.0.0.1/24"',
     "machines.gw.ip: 224.0.0.1/24 is no address of a single adapter", ""),
    ("access: 10", 'access: 10, ip: ¦"127.0.0.1/8"',
     "machines.gw.ip: 127.0.0.1/8 is no address of a single adapter", ""),
    ("access: 10", 'access: 10, ip: ¦"::1/128"', "machines.gw.ip: ::1/128 is no address of a single adapter", ""),
    ("access: 10", 'access: 10, ip: ¦"ff02::1/64"',
     "machines.gw.ip: ff02::1/64 is no address of a single adapter", ""),
    ("[web]}", "[{port_group: web, mac: 00:50:56:00:00:AA}, {port_group: web, mac: ¦00:50:56:00:00:aa}]}",
     "vms.web1.networks[1].mac: MAC 00:50:56:00:00:aa is given twice", "first at vms.web1.networks[0].mac"),
    ("switch: tor2}", "switch: tor2, mac: 00:1b:21:00:00:09}\n      vmnic2: {switch: tor2, mac: ¦00:1b:21:00:00:09}",
     "hosts.esx1.uplinks.vmnic2.mac: MAC 00:1b:21:00:00:09 is given twice", "first at hosts.esx1.uplinks.vmnic1.mac"),
    ("[db]}", "[db], ip: 10.9.9.1/24}\n  db2: {host: esx1, networks: [db], ip: ¦10.9.9.1/16}",
     "vms.db2.ip: address 10.9.9.1 is given twice", "first at vms.db1.ip"),
    ("[db]}", "[db], ip: 10.9.9.1/24}\n  db2: {host: esx1, networks: [{port_group: db, ip: ¦10.9.9.1/24}]}",
     "vms.db2.networks[0].ip: address 10.9.9.1 is given twice", "first at vms.db1.ip"),
    ("[web]}", "[{port_group: web, ip: ¦10.0.10.2/24}], ip: 10.0.10.1/24}",
     "vms.web1.networks[0].ip: the VM has an ip: of its own, which is this vNIC's", "leave one of them out"),
]  # fmt: skip

TEAMING = [
    ("{vlan: 20}", "{teaming: {policy: ¦round_robin}}",
     f"{DB}.teaming.policy: 'round_robin' is not one of 'loadbalance_srcid', 'loadbalance_srcmac', 'loadbalance_ip', "
     "'failover_explicit', 'loadbalance_loadbased'", ""),
    ("{vlan: 10}", "{teaming: {policy: ¦loadbalance_loadbased}}",
     f"{GROUP}.teaming.policy: a standard switch has no Load-Based Teaming", "distributed switch"),
    ("{vlan: 10}", "{teaming: {failback: true, ¦rolling_order: true}}",
     f"{GROUP}.teaming.rolling_order: rolling_order true and failback true contradict each other: one is the other "
     "turned round", "leave one of them out"),
    ("{vlan: 20}", "{teaming: {¦rolling_order: false, failback: false}}",
     f"{DB}.teaming.rolling_order: rolling_order false and failback false contradict each other: one is the other "
     "turned round", "leave one of them out"),
    ("{vlan: 10}", "{teaming: {rolling_order: ¦maybe}}",
     f"{GROUP}.teaming.rolling_order: must be true or false, not 'maybe'", ""),
    ("{vlan: 10}", "{teaming: {detection: ¦ping}}", f"{GROUP}.teaming.detection: 'ping' is not one of 'link', 'beacon'",
     ""),
]  # fmt: skip

ROWS = {
    "key": UNKNOWN_KEYS, "type": WRONG_TYPES, "choice": NOT_ONE_OF, "range": OUT_OF_RANGE, "missing": MISSING,
    "name": NAMES, "reference": REFERENCES, "address": ADDRESSES, "teaming": TEAMING,
}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "expected", "hint"),
    [pytest.param(*row, id=f"{kind}: {row[2][:70]}") for kind, rows in ROWS.items() for row in rows],
)
def test_one_mistake_is_told_once_in_its_place(old: str, new: str, expected: str, hint: str) -> None:
    text, line, column = read_marked(changed(old, new))
    (mistake,) = told(text)
    assert words(mistake) == expected
    assert (mistake.line, mistake.column) == (line, column)
    assert hint in mistake.hint if hint else not mistake.hint


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("[vmnic0]", "[¦vmnic10]", "hosts.esx1.standard_switches.vSwitch0.uplinks[0]"),
        ("{esx1: [vmnic1]}", "{esx1: [¦vmnic10]}", "distributed_switches.dvs0.uplinks.esx1[0]"),
    ],
)
def test_an_unknown_pnic_is_named_with_the_nearest(old: str, new: str, path: str) -> None:
    text, line, column = read_marked(changed(old, new))
    (mistake,) = told(text)
    assert (mistake.line, mistake.column, mistake.path) == (line, column, path)
    assert "'vmnic10'" in mistake.what
    assert mistake.hint == "did you mean 'vmnic1'?"


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("{vlan: 10}", "{teaming: {active: [¦vmnic7]}}", "did you mean 'vmnic0'?"),
        ("{vlan: 20}", "{teaming: {standby: [¦uplink2]}}", "did you mean 'uplink1'?"),
        ("{vlan: 20}", "{teaming: {active: [¦vmnic1]}}", "there is uplink1"),
        ("[vmnic0]", "[]\n        teaming: {active: [¦vmnic0]}", "this switch has none"),
    ],
    ids=["pNIC of no uplink", "more uplinks than there are", "pNIC on a distributed switch", "no uplinks at all"],
)
def test_teaming_names_uplinks_of_its_own_switch(old: str, new: str, hint: str) -> None:
    text, line, column = read_marked(changed(old, new))
    (mistake,) = told(text)
    assert (mistake.line, mistake.column, mistake.hint) == (line, column, hint)


@pytest.mark.parametrize(
    ("sites", "site", "told_at"),
    [
        ("{a: {}, b: {}}", "a", []),
        ("{a: {}}", "a", []),
        ("{a: {}, b: {}}", "c", ["3:13 hosts.e.site"]),
        ("{a: {}}", "c", ["3:13 hosts.e.site"]),
        ("{}", "a", ["3:13 hosts.e.site"]),
    ],
    ids=str,
)
def test_a_site_is_one_that_is_declared(sites: str, site: str, told_at: list[str]) -> None:
    text = f"name: a\nhosts:\n  e: {{site: {site}}}\nsites: {sites}\n"
    assert (summary(text) if told_at else read_topology(text, "f").hosts["e"].site) == (told_at or site)


def test_with_several_sites_everything_says_its_own() -> None:
    found = told("sites: {a: {}, b: {}}\n" + BASE)
    assert [words(m) for m in found] == [
        f"{path}: says no site, and there are several"
        for path in ("physical_switches.tor1", "physical_switches.tor2", "hosts.esx1")
    ]
    assert {m.hint for m in found} == {"site: a"}


def test_a_port_group_on_another_host_is_told_so() -> None:
    (mistake,) = told(changed("    vmkernel:", "  esx2:\n    vmkernel:"))
    assert words(mistake) == "hosts.esx2.vmkernel.vmk0.port_group: no port group 'web' on esx2"
    assert mistake.hint == "it is on esx1"


def test_a_name_of_two_port_groups_is_told_with_both() -> None:
    (first, second) = told(changed("{vlan: 20}", "{vlan: 20}\n      web: {vlan: 20}"))
    assert words(first) == "hosts.esx1.vmkernel.vmk0.port_group: 'web' is the name of 2 port groups on esx1"
    assert first.hint == second.hint == "write 'vSwitch0/web' or 'dvs0/web'"


def test_a_host_is_on_one_switch_of_a_name() -> None:
    text, line, column = read_marked(BASE.replace("dvs0", "vSwitch0").replace("vSwitch0:", "¦vSwitch0:", 1))
    (mistake,) = told(text)
    assert (mistake.line, mistake.column) == (line, column)
    assert mistake.what == "esx1 is on a distributed switch 'vSwitch0' too"


# Each key that vSphere knows and this version does not build, by the place where it would stand.
REFUSED: dict[type[Section], tuple[str, str, str, str]] = {
    grammar.TopologySpec: (
        "name: lab", "name: lab\n¦KEY: x", "", "storage fabrics dvfilters mirrors"),
    grammar.KnobsSpec: (
        "name: lab", "name: lab\nknobs: {¦KEY: 1}", "knobs",
        "vmci_vm2vm tps"),
    grammar.PhysicalSwitchSpec: (
        "tor1: {}", "tor1: {¦KEY: x}", "physical_switches.tor1", "fex"),
    chassis_schema.ModuleSpec: (
        "name: lab", "name: lab\nchassis: {c: {modules: {b: {networks: {n: {vlans: 5}}, ¦KEY: x}}}}",
        "chassis.c.modules.b", "stacking monitor"),
    chassis_schema.ModuleUplinkSpec: (
        "name: lab",
        "name: lab\nchassis: {c: {modules: {b: {networks: {n: {vlans: 5}}, uplinks: {X1: {switch: tor1, ¦KEY: x}}}}}}",
        "chassis.c.modules.b.uplinks.X1", "channel lacp"),
    grammar.CableSpec: ("tor2]}", "tor2], ¦KEY: x}", "cables[0]", "delay jitter loss rate channel"),
    grammar.PnicSpec: ("{switch: tor1}", "{switch: tor1, ¦KEY: x}", "hosts.esx1.uplinks.vmnic0", "driver sriov"),
    grammar.TeamingSpec: (
        "{vlan: 10}", "{teaming: {¦KEY: x}}", f"{GROUP}.teaming", "failback_delay"),
    grammar.DistributedPortGroupSpec: (
        "{vlan: 20}", "{vlan: 20, ¦KEY: x}", DB, "blocked"),
    grammar.DistributedSwitchSpec: (
        "{esx1: [vmnic1]}", "{esx1: [vmnic1]}\n    ¦KEY: x", "distributed_switches.dvs0",
        "health_check multicast_filtering"),
    grammar.VmkSpec: (
        "{port_group: web}", "{port_group: web, ¦KEY: x}", "hosts.esx1.vmkernel.vmk0", "netstack gateway dhcp"),
    grammar.HostSpec: ("  esx1:", "  esx1:\n    ¦KEY: x", "hosts.esx1", "fabric storage dvfilters"),
    grammar.NetworkSpec: (
        "[web]}", "[{port_group: web, ¦KEY: x}]}", "vms.web1.networks[0]",
        "vlan mac_learning"),
    grammar.VmSpec: ("[web]}", "[web], ¦KEY: x}", "vms.web1", "disks serial vmci ft usb"),
    grammar.MachineSpec: ("access: 10", "access: 10, ¦KEY: x", "machines.gw", "networks collector"),
}  # fmt: skip


def sections(kind: type[Section] = Section) -> set[type[Section]]:
    return {kind} | {found for child in kind.__subclasses__() for found in sections(child)}


def test_every_key_that_is_refused_by_name_is_in_the_table() -> None:
    refused = {section: section.NOT_EMULATED for section in sections() if section.NOT_EMULATED}
    assert {section: frozenset(keys.split()) for section, (*_, keys) in REFUSED.items()} == refused


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        pytest.param(old, new.replace("KEY", key), path, id=f"{section.__name__} {key}")
        for section, (old, new, path, keys) in REFUSED.items()
        for key in keys.split()
    ],
)
def test_a_key_that_is_not_emulated_is_refused_by_name(old: str, new: str, path: str) -> None:
    text, line, column = read_marked(changed(old, new))
    (mistake,) = told(text)
    key = re.split(r"\W", new.split(MARK)[1])[0]
    assert (mistake.line, mistake.column, mistake.path) == (line, column, path)
    assert mistake.what == f"{key!r} {NOT_EMULATED}"
    assert mistake.hint == "leave it out; the lab would not show what it does"


# What is no topology at all: text, place, what is told.
NO_TOPOLOGY = [
    ("", "1:1", "the file is empty"),
    ("\n\n  \n", "1:1", "the file is empty"),
    ("# only a comment\n", "1:1", "the file is empty"),
    ("---\n", "1:1", "the file is empty"),
    ("null\n", "1:1", "the file is empty"),
    ("- name: lab\n", "1:1", "no mapping"),
    ("name\n", "1:1", "no mapping"),
    ("42\n", "1:1", "no mapping"),
    ("[]\n", "1:1", "no mapping"),
    ("name: lab\nhosts: {esx1: {}\n", "3:1", "not YAML: did not find expected ',' or '}' while parsing a flow mapping"),
    ("name: lab\nhosts: ]\n", "2:8", "not YAML: did not find expected node content while parsing a block node"),
    ("name: 'lab\n", "2:1", "not YAML: found unexpected end of stream while scanning a quoted scalar"),
    ("name: lab\n  vms: {}\n", "2:6", "not YAML: mapping values are not allowed in this context"),
    ("name: lab\nhosts:\n\tesx1: {}\n", "3:1", "not YAML: found character that cannot start any token while scanning "
     "for the next token"),
    ("name: @lab\n", "1:7", "not YAML: found character that cannot start any token while scanning for the next token"),
    ("name: a\nname: lab\x00\n", "2:10", "control character '\\x00': this is no YAML text"),
    ("\x1b[31mname: lab\n", "1:1", "control character '\\x1b': this is no YAML text"),
    ("name: lab\n# caf\x7f\n", "2:6", "control character '\\x7f': this is no YAML text"),
    ("name: " + "[" * 14 + "]" * 14, "1:19", f"nested deeper than {DEEPEST} levels"),
    ("name: " + "[" * 100_000, "1:19", f"nested deeper than {DEEPEST} levels"),
    ("{a: " * 100_000, "1:53", f"nested deeper than {DEEPEST} levels"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "what"), NO_TOPOLOGY, ids=[f"{w[:50]} {p}" for _, p, w in NO_TOPOLOGY])
def test_what_is_no_topology_is_told_with_its_place(text: str, place: str, what: str) -> None:
    (mistake,) = told(text)
    assert (f"{mistake.line}:{mistake.column}", mistake.path, mistake.what) == (place, "", what)


def test_a_file_s_nesting_is_allowed_to_the_limit() -> None:
    deep = "hosts: " + "{a: " * (DEEPEST - 1) + "1" + "}" * (DEEPEST - 1)
    assert isinstance(read_document(deep).value, dict)
    assert "nested" not in str([m.what for m in told("name: lab\n" + deep)])


# YAML that other programs read and this one refuses, with what is told.
STRICT = [
    ("name: ¦&a lab\n", "name: an anchor (&a)", "anchors and aliases are not used here"),
    ("name: lab\nsites: {a: ¦&x {}}\n", "sites.a: an anchor (&x)", "anchors and aliases are not used here"),
    ("name: ¦!!str lab\n", "name: a tag (tag:yaml.org,2002:str)", "write the plain value"),
    ("name: lab\nsites: {a: ¦!odd {}}\n", "sites.a: a tag (!odd)", "write the plain value"),
    ("name: lab\nsites: ¦!!python/object/apply:os.getcwd {}\n",
     "sites: a tag (tag:yaml.org,2002:python/object/apply:os.getcwd)", "write the plain value"),
    ("name: lab\n¦name: lib\n", "'name' is here twice", "first on line 1"),
    ("name: lab\nvms: {}\nhosts:\n  e: {}\n  f: {}\n  ¦e: {}\n", "hosts: 'e' is here twice", "first on line 4"),
    ('name: lab\nsites: {a: {}, ¦"a": {}}\n', "sites: 'a' is here twice", "first on line 2"),
    ("name: lab\nsites:\n  ¦<<: {a: {}}\n", "sites: a merge key (<<)", "write the entries out"),
    ("name: lab\n? ¦[a, b]\n: c\n", "a key must be plain text", ""),
    ("name: lab\nsites: {¦{a: b}: {}}\n", "sites: a key must be plain text", ""),
    ("name: lab\n¦---\nname: other\n", "a second document", "one topology to a file"),
    ("name: lab\n...\n¦---\n", "a second document", "one topology to a file"),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "expected", "hint"), STRICT, ids=[words for _, words, _ in STRICT])
def test_yaml_beyond_plain_mappings_lists_and_scalars_is_refused(marked: str, expected: str, hint: str) -> None:
    text, line, column = read_marked(marked)
    (mistake,) = [m for m in told(text) if words(m) == expected]
    assert (mistake.line, mistake.column) == (line, column)
    assert mistake.hint.startswith(hint)


def test_aliases_are_not_expanded() -> None:
    levels = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 40)]
    found = told("\n".join(["name: lab", "x0: &x0 [a, a]", *levels, ""]))
    assert sum(m.what.startswith("an alias") for m in found) == 9 * 39
    assert sum(m.what.startswith("an anchor") for m in found) == 40


def test_a_key_that_is_here_twice_keeps_its_first_value() -> None:
    document = read_document("a: {b: 1}\na: {b: 2, c: 3}\n")
    assert document.value == {"a": {"b": 1}}
    assert [(m.line, m.what) for m in document.mistakes] == [(2, "'a' is here twice")]


@pytest.mark.parametrize(
    "text",
    [
        "name: lab",
        "name: lab # a comment\n",
        "---\nname: lab\n...\n",
        "%YAML 1.2\n---\nname: lab\n",
        "{name: lab}\n",
        '{"name": "lab"}\n',
        "name: lab\r\nsites: {}\r\n",
        "\ufeffname: lab\n",
        "name: >-\n  lab\n",
        "name: ! lab\n",
        "? name\n: lab\n",
    ],
)
def test_plain_yaml_in_every_dress_is_read(text: str) -> None:
    assert read_topology(text, "f").name == "lab"


def test_places_count_characters_not_bytes() -> None:
    assert summary("name: Zürich\nsites: {Köln: {ß: 1}}\n") == ["2:16 sites.Köln"]


SCALARS: list[tuple[str, Any]] = [
    ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nUll", "nUll"), ("none", "none"),
    ("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False),
    ("tRue", "tRue"), ("yes", "yes"), ("Yes", "Yes"), ("no", "no"), ("NO", "NO"), ("on", "on"), ("off", "off"),
    ("y", "y"), ("n", "n"),
    ("0", 0), ("10", 10), ("010", 10), ("-7", -7), ("+7", 7), ("0o10", 8), ("0x1F", 31), ("0X1F", "0X1F"),
    ("0b11", "0b11"), ("1_000", "1_000"), ("1:30", "1:30"), ("00:50:56:00:00:01", "00:50:56:00:00:01"),
    ("20-29", "20-29"), ("9" * 18, 10**18 - 1), ("9" * 19, float("9" * 19)), ("١", "١"),
    ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5e-3", -0.0015), ("1.2.3", "1.2.3"),
    (".", "."), (".inf", ".inf"), (".nan", ".nan"), ("1e", "1e"), ("e5", "e5"), ("1 0", "1 0"),
    ("2026-11-23", "2026-11-23"), ("10.0.0.1/24", "10.0.0.1/24"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[repr(text) for text, _ in SCALARS])
def test_a_plain_scalar_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)
    assert read_document(f"- {text}\n").value == [value]


@pytest.mark.parametrize("text", ["true", "010", "null", "1.5", "~"])
def test_a_quoted_scalar_is_text(text: str) -> None:
    assert read_document(f"- \"{text}\"\n- '{text}'\n- >-\n  {text}\n").value == [text] * 3


def test_keys_are_text_as_they_are_written() -> None:
    assert read_document("{10: a, true: b, 010: c, '': d, ~: e}").value == {
        "10": "a", "true": "b", "010": "c", "": "d", "~": "e",
    }  # fmt: skip


def test_things_may_be_called_yes_and_010() -> None:
    topology = read_topology("name: no\nsites: {yes: {}, 010: {}}\nhosts: {off: {site: yes}}\n", "f")
    assert (topology.name, topology.sites, list(topology.hosts)) == ("no", ("yes", "010"), ["off"])


@pytest.mark.parametrize(
    ("path", "text"),
    [((), ""), (("a",), "a"), (("a", "b"), "a.b"), (("a", 0), "a[0]"), (("a", 0, "b", 1, 2), "a[0].b[1][2]")],
    ids=str,
)
def test_a_path_is_written_as_an_administrator_would(path: tuple[str | int, ...], text: str) -> None:
    assert path_text(path) == text


MANY = """\
name: 5
release: 9.9
zzz: 1
physical_switches: {tor1: {}, tor2: {stp: 1}}
hosts:
  esx1:
    uplinks: {vmnic0: {switch: tor9}}
    standard_switches:
      vSwitch0: {uplinks: [vmnic0, vmnic1], port_groups: {web: {vlan: 5000}, app: {vlan: 10}}}
vms:
  web1: {host: esx1, networks: [web]}
  app1: {host: esx3, networks: [app]}
  app2: {host: esx1, networks: [apt]}
  app3: {host: esx1, networks: [{port_group: app, mac: 1:30}]}
sites: &a {}
expect: [{isolate: [web, appp]}, {reach: [web1, app9]}]
vms: {}
"""


def test_mistakes_of_yaml_of_the_grammar_and_of_names_are_told_at_once() -> None:
    assert summary(MANY) == [
        "1:7 name",
        "2:10 release",
        "3:1 ",
        "4:43 physical_switches.tor2.stp",
        "7:32 hosts.esx1.uplinks.vmnic0.switch",
        "9:36 hosts.esx1.standard_switches.vSwitch0.uplinks[1]",
        "9:71 hosts.esx1.standard_switches.vSwitch0.port_groups.web.vlan",
        "12:16 vms.app1.host",
        "13:33 vms.app2.networks[0].port_group",
        "14:56 vms.app3.networks[0].mac",
        "15:8 sites",
        "16:26 expect[0].isolate[1]",
        "16:49 expect[1].reach[1]",
        "17:1 ",
    ]


# (change, other change): an entry that is wrong is told once and is no unknown name for what refers to it.
REFERRED_TO = [
    ("tor1: {}", "tor1: {stp: 3}", "3:15 physical_switches.tor1.stp"),
    ("tor1: {}", "tor1: 3", "3:9 physical_switches.tor1"),
    ("{vlan: 10}", "{vlan: ten}", f"14:23 {GROUP}.vlan"),
    ("{vlan: 10}", "10", f"14:16 {GROUP}"),
    ("{switch: tor1}", "tor1", "8:15 hosts.esx1.uplinks.vmnic0"),
    ("{host: esx1, networks: [web]}", "{networks: [web]}", "23:9 vms.web1"),
    ("{switch: tor1, access: 10}", "{access: 10}", "26:7 machines.gw"),
    ("    vmkernel:", "    site: 5\n    vmkernel:", "15:11 hosts.esx1.site"),
]


@pytest.mark.parametrize(("old", "new", "expected"), REFERRED_TO, ids=[row[2] for row in REFERRED_TO])
def test_an_entry_that_is_wrong_is_still_a_known_name(old: str, new: str, expected: str) -> None:
    assert summary(changed(old, new)) == [expected]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_as_many_mistakes_are_told_as_there_are(count: int) -> None:
    vms = "".join(f"  v{n}: {{host: esx1, networks: [w{n}b]}}\n" for n in range(count))
    found = told(BASE.replace("vms:\n", "vms:\n" + vms))
    assert [(m.line, m.path) for m in found] == [(23 + n, f"vms.v{n}.networks[0].port_group") for n in range(count)]


@pytest.mark.parametrize(
    "name",
    ["a" * NAME_MAX, "ü" * NAME_MAX, "a", "Management Network", "a.b_c-d(e)#+1", "日本"],
    ids=["80 letters", "80 letters not ASCII", "one letter", "a space", "marks", "not Latin"],
)
def test_a_good_name_is_taken_as_it_is(name: str) -> None:
    assert read_topology(f'name: "{name}"\n', "f").name == name


def test_a_file_is_read_with_its_own_name_as_the_source(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(BASE)
    assert read_topology_file(path).source == str(path)
    path.write_text("name: 5\n")
    with pytest.raises(TopologyError, match=re.escape(f"{path}:1:7: name: 5 is a number")):
        read_topology_file(path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: lab\n")
    assert read_topology_text(path) == "name: lab\n"


@pytest.mark.parametrize(
    ("raw", "place"),
    [(b"\xff\xfen\0a\0", (1, 1)), (b"name: lab\nsites: {a\xe9: {}}\n", (2, 10)), (b"name: lab\n\xc3", (2, 1))],
    ids=["UTF-16", "Latin-1", "cut short"],
)
def test_text_that_is_not_utf_8_is_told_with_its_place(tmp_path: Path, raw: bytes, place: tuple[int, int]) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(raw)
    with pytest.raises(TopologyError) as caught:
        read_topology_text(path)
    assert [(m.line, m.column, m.what) for m in caught.value.mistakes] == [(*place, "not UTF-8 text")]


def test_a_file_may_have_4_mb_and_not_a_byte_more(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    text = "name: lab\n#"
    path.write_text(text + "x" * (LARGEST - len(text)))
    assert read_topology_file(path).name == "lab"
    path.write_text(text + "x" * (LARGEST - len(text) + 1))
    with pytest.raises(TopologyError, match="larger than 4 MB"):
        read_topology_file(path)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.unlink(missing_ok=True), "No such file"),
        (lambda path: path.mkdir(), "no regular file"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to(path.parent / "gone"), "No such file"),
        (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    ],
    ids=["missing", "directory", "pipe", "link to itself", "link to nothing", "device"],
)
def test_what_is_no_file_is_the_caller_s_mistake(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    path = tmp_path / "lab.yaml"
    make(path)
    with pytest.raises(UsageError, match=why) as caught:
        read_topology_text(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "a/b/c"])
def test_a_path_that_cannot_be_is_the_caller_s_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        read_topology_text(tmp_path / name)


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_a_shipped_topology_is_read(path: Path) -> None:
    assert read_topology_file(path).name == path.stem


def test_there_are_shipped_topologies() -> None:
    assert len(TOPOLOGIES) >= 5


def keys_of(section: type[Section]) -> frozenset[str]:
    """As the file writes them."""
    return frozenset(field.alias or name for name, field in section.model_fields.items())


def test_the_json_schema_names_every_key_of_every_section() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(TopologySpec.model_fields)
    assert schema["required"] == ["name"]
    named = {frozenset(found["properties"]) for found in schema["$defs"].values() if "properties" in found}
    assert {keys_of(section) for section in sections() - {Section, TopologySpec} if keys_of(section)} <= named


def test_the_json_schema_allows_no_other_keys() -> None:
    schema = json_schema()
    objects = [schema, *(found for found in schema["$defs"].values() if found["type"] == "object")]
    assert len(objects) == len(sections()) - 1
    assert {found["additionalProperties"] for found in objects} == {False}


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_the_json_schema_names_every_top_level_key_of_a_shipped_topology(path: Path) -> None:
    assert set(read_document(path.read_text()).value) <= set(json_schema()["properties"])


def read_or_refuse(text: str) -> Topology | None:
    try:
        return read_topology(text, "f")
    except TopologyError as error:
        assert error.mistakes
        assert all(m.line >= 1 and m.column >= 1 and m.what for m in error.mistakes)
        return None


@given(st.text())
def test_any_text_is_a_topology_or_a_topology_error(text: str) -> None:
    read_or_refuse(text)


@given(st.text(alphabet="ab01 \n\t:-{}[]&*!?<>|'\"#,%@~.x"))
def test_any_text_of_yaml_s_own_characters_is_a_topology_or_a_topology_error(text: str) -> None:
    read_or_refuse("name: lab\n" + text)


TEXTS = [path.read_text() for path in TOPOLOGIES]
TOKEN = re.compile(r"[\w./:+-]+|\s+|.")
ODD = [
    "''",
    ".x",
    "a/b",
    "'[key]'",
    "1:30",
    "10.0.10.1/24",
    "9" * 400 + "G",
    "~", "true", "yes", "0", "-1", "10", "010", "4095", "9999999999", "1e400", "1.5", "[]", "{}", "[[]]", "a", "[", "}",
    "tor1", "esx1", "vmnic0", "vmk0", "uplink1", "web", "dvs0", "vSwitch0", "20-29", "&a", "*a", "<<", "!!str", "---",
    "\t", "\n", "# ", ": ", "- ", ",",
]  # fmt: skip


def cut(text: str, by_line: bool) -> list[str]:
    return text.splitlines(keepends=True) if by_line else TOKEN.findall(text)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped topology with some of its lines and tokens deleted, doubled or replaced."""
    text = draw(st.sampled_from(TEXTS))
    for by_line in draw(st.lists(st.booleans(), min_size=1, max_size=4)):
        parts = cut(text, by_line)
        at = draw(st.integers(0, len(parts) - 1))
        other = draw(st.sampled_from(parts if by_line else ODD))
        parts[at : at + 1] = draw(st.sampled_from([[], [parts[at]] * 2, [other]]))
        text = "".join(parts)
    return text


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_a_mutated_topology_is_a_topology_or_a_topology_error(text: str) -> None:
    topology = read_or_refuse(text)
    if topology:
        macs = [nic.mac for nic in (*topology.vnics, *topology.vmknics)]
        assert len(set(macs)) == len(macs)
        assert all(warnings(topology))
