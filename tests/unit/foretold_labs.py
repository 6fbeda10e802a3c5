"""The topologies that the prediction is tested on, beside the one of the switching tests."""

from __future__ import annotations

from foretelling import Foretold

from lab.frame import BROADCAST

REJECT = "{promiscuous: reject, mac_changes: reject, forged_transmits: reject}"
ACCEPT = "{promiscuous: accept, mac_changes: accept, forged_transmits: accept}"
RULES = f"""
name: rules
release: "6.7"
physical_switches: {{tor1: {{}}}}
hosts:
  esx1:
    uplinks:
      vmnic0: {{switch: tor1, trunk: [10, 20]}}
      vmnic1: {{switch: tor1, trunk: [10, 20]}}
      vmnic2: {{switch: tor1, trunk: [10, 20]}}
    standard_switches:
      vSwitch1: {{uplinks: [vmnic2], port_groups: {{web other: {{vlan: 10}}}}}}
  esx2:
    uplinks: {{vmnic0: {{switch: tor1, trunk: [10, 20]}}}}
distributed_switches:
  dvs0:
    uplinks: {{esx1: [vmnic0, vmnic1], esx2: [vmnic0]}}
    security: {REJECT}
    port_groups:
      web: {{vlan: 10}}
      db: {{vlan: 20}}
      spy: {{vlan: 10, security: {{promiscuous: accept}}}}
      spy all: {{vlan: [10, 20], security: {{promiscuous: accept}}}}
      aa: {{vlan: 10, security: {{mac_changes: accept, forged_transmits: accept}}}}
      ar: {{vlan: 10, security: {{mac_changes: accept, forged_transmits: reject}}}}
      ra: {{vlan: 10, security: {{mac_changes: reject, forged_transmits: accept}}}}
      nest: {{vlan: 10, security: {ACCEPT}, mac_learning: {{limit: 2}}}}
      nest allow: {{vlan: 10, security: {ACCEPT}, mac_learning: {{limit: 2, over_limit: allow}}}}
      nest quiet: {{vlan: 10, security: {ACCEPT}, mac_learning: {{unicast_flooding: false}}}}
      nest strict: {{vlan: 10, security: {REJECT}, mac_learning: {{}}}}
      nest db: {{vlan: 20, security: {ACCEPT}, mac_learning: {{}}}}
vms:
  web1: {{host: esx1, networks: [web]}}
  web2: {{host: esx1, networks: [web]}}
  far: {{host: esx2, networks: [web]}}
  db1: {{host: esx1, networks: [db]}}
  db2: {{host: esx1, networks: [db]}}
  spy: {{host: esx1, networks: [spy]}}
  spy2: {{host: esx2, networks: [spy]}}
  spyall: {{host: esx1, networks: [spy all]}}
  aa: {{host: esx1, networks: [aa]}}
  ar: {{host: esx1, networks: [ar]}}
  ra: {{host: esx1, networks: [ra]}}
  rr: {{host: esx1, networks: [web]}}
  nest: {{host: esx1, networks: [nest]}}
  allow: {{host: esx1, networks: [nest allow]}}
  quiet: {{host: esx1, networks: [nest quiet]}}
  strict: {{host: esx1, networks: [nest strict]}}
  nestdb: {{host: esx1, networks: [nest db]}}
  other: {{host: esx1, networks: [web other]}}
machines:
  gw: {{switch: tor1, access: 10}}
  gw2: {{switch: tor1, access: 10}}
"""


def mirrors(sessions: str = "", tor1: str = "") -> str:
    """The text of a file with these sessions, and settings of the pSwitch."""
    return f"""
name: mirrors
release: "6.7"
physical_switches: {{tor1: {{{tor1}}}}}
hosts:
  esx1:
    uplinks:
      vmnic0: {{switch: tor1, trunk: [5, 10, 20, 999]}}
      vmnic1: {{switch: tor1, trunk: [5, 10, 20, 999]}}
    vmkernel: {{vmk0: {{port_group: mgmt, ip: 10.0.5.11/24}}}}
  esx2:
    uplinks:
      vmnic0: {{switch: tor1, trunk: [5, 10, 20, 999]}}
    vmkernel: {{vmk0: {{port_group: mgmt, ip: 10.0.5.12/24}}}}
distributed_switches:
  dvs0:
    uplinks: {{esx1: [vmnic0, vmnic1], esx2: [vmnic0]}}
    security: {{promiscuous: accept, mac_changes: reject, forged_transmits: reject}}
    pvlans: {{10: {{20: isolated}}}}
    port_groups:
      mgmt: {{vlan: 5}}
      web: {{vlan: 10}}
      trunk: {{vlan: [10, 20]}}
      ids: {{vlan: 7}}
      nest: {{vlan: 10, security: {{forged_transmits: accept}}, mac_learning: {{limit: 1}}}}
    mirrors: {{{sessions}}}
vms:
  web1: {{host: esx1, networks: [web]}}
  web2: {{host: esx1, networks: [web]}}
  web3: {{host: esx2, networks: [web]}}
  spy: {{host: esx1, networks: [web]}}
  trunk1: {{host: esx1, networks: [trunk]}}
  nest: {{host: esx1, networks: [nest]}}
  ids1: {{host: esx1, networks: [ids]}}
  ids2: {{host: esx2, networks: [ids]}}
machines:
  m1: {{switch: tor1, access: 10}}
  probe: {{switch: tor1, access: 999}}
"""


def mirroring(sessions: str = "") -> Foretold:
    """Everyone is known to the pSwitch, as without any session."""
    plain = Foretold.of(mirrors())
    state = plain.taught("web1", "web2", "web3", "spy", "m1").after("trunk1", BROADCAST, 10).state
    return Foretold(Foretold.of(mirrors(sessions)).topology, state)


def tap(how: str = "", sources: str = "transmitted: [web1]", ports: str = "ids1") -> Foretold:
    return mirroring(f"tap: {{type: dvPortMirror, from: {{{sources}}}, to: {{ports: [{ports}]}}{how}}}")


def rspan(how: str = "", sources: str = "transmitted: [web1]", uplinks: str = "uplink2") -> Foretold:
    to = f"to: {{uplinks: [{uplinks}]}}, vlan: 999"
    return mirroring(f"rspan: {{type: remoteMirrorSource, from: {{{sources}}}, {to}{how}}}")


def rdst(how: str = "") -> Foretold:
    return mirroring(f"rdst: {{type: remoteMirrorDest, from: {{vlans: [20]}}, to: {{ports: [ids2]}}{how}}}")


def l3(how: str = "", sources: str = "transmitted: [web1]") -> Foretold:
    return mirroring(
        f"l3: {{type: encapsulatedRemoteMirrorSource, from: {{{sources}}}, to: {{addresses: [10.0.5.9]}}{how}}}"
    )
