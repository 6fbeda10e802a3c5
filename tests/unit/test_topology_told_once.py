"""A mistake is told once: what it makes unknown or missing elsewhere is none of its own."""

from __future__ import annotations

import pytest
from topology_slots import (
    BASE,
    DVS,
    ERSPAN,
    LOOP,
    MARK,
    PAIRED,
    PVLANS,
    VSS,
    Parts,
    Wrong,
    filled,
    mirrored,
    session,
    told,
    told_once,
    words,
)

from lab.topology import read_topology

# What is wrong in a session, and might be missed by what looks for a source, a destination or a VLAN.
SESSIONS = [
    mirrored("type: dvPortMirror, from: {¦vlans: [9]}, to: {ports: [web2]}",
             ".from.vlans: a dvPortMirror session has no vlans here", "from: {transmitted: [...]}"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1]}, to: {¦uplinks: [uplink1]}",
             ".to.uplinks: a dvPortMirror session has no uplinks here", "to: {ports: [...]}"),
    mirrored("type: remoteMirrorDest, from: {¦transmitted: [web1]}, to: {ports: [web2]}",
             ".from.transmitted: a remoteMirrorDest session has no transmitted here", "from: {vlans: [...]}"),
    mirrored("type: remoteMirrorDest, from: {vlans: [¦0]}, to: {ports: [web2]}",
             ".from.vlans[0]: VLAN 0 is out of range 1-4094"),
    mirrored("type: remoteMirrorDest, from: {vlans: [¦1-9]}, to: {ports: [web2]}",
             ".from.vlans[0]: must be a whole number, not '1-9'"),
    mirrored("type: dvPortMirror, from: {¦transmited: [web1]}, to: {ports: [web2]}",
             ".from: unknown key 'transmited'", "did you mean 'transmitted'?"),
    mirrored("type: dvPortMirror, from: {transmitted: ¦web1}, to: {ports: [web2]}",
             ".from.transmitted: must be a list, not 'web1'"),
    mirrored("type: dvPortMirror, from: {transmitted: [¦5]}, to: {ports: [web2]}",
             ".from.transmitted[0]: 5 is a number where a name is meant; write it in quotes"),
    mirrored("type: dvPortMirror, ¦form: {transmitted: [web1]}, to: {ports: [web2]}",
             ": unknown key 'form'", "did you mean 'from'?"),
    mirrored("type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink1]}, vlan: ¦4095",
             ".vlan: VLAN 4095 is out of range 1-4094"),
    mirrored(f"{ERSPAN[:-10]}¦10.0.5.9/24]}}",
             ".to.addresses[0]: '10.0.5.9/24' is no IPv4 address of a single adapter, such as 10.0.5.9"),
    mirrored("type: dvPortMirror, from: {¦transmited: []}, to: {ports: [web2]}",
             ".from: unknown key 'transmited'", "did you mean 'transmitted'?"),
    mirrored("type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink1]}, vlan: ¦",
             ".vlan: nothing was written after the colon"),
    mirrored(f"{ERSPAN}, encapsulation: ¦erspan, id: 5", ".encapsulation: 'erspan' is not one of 'gre', 'erspan2', "
             "'erspan3'"),
]  # fmt: skip

# What is wrong itself, and is named by something else.
NAMED: list[Wrong] = [
    ({"dvs": "pvlans: {100: {101: ¦isolate}}", "db": "pvlan: 101"},
     f"{DVS}.pvlans.100.101: 'isolate' is not one of 'promiscuous', 'isolated', 'community'", ""),
    ({"dvs": "pvlans: {100: {101: isolated, 102: ¦isolated}}", "db": "pvlan: 102"},
     f"{DVS}.pvlans.100.102: 100 has an isolated VLAN already: 101", "one for each primary VLAN"),
    ({"dvs": "pvlans: {¦0: {101: isolated}}", "tor1": "pvlan_aware: true"},
     f"{DVS}.pvlans.0: '0' is no VLAN ID from 1 to 4094", ""),
    ({"dvs": "netflow: {collector: ¦x}", "db": "vlan: 20, netflow: true"},
     f"{DVS}.netflow.collector: 'x' is no IPv4 address of a single adapter, such as 10.0.5.9", ""),
    ({"dvs": "netflow: ¦{}", "db": "vlan: 20, netflow: true"}, f"{DVS}.netflow: 'collector' is missing", ""),
    ({**PAIRED, "web1": "host: ¦esx9, networks: [web]"}, "vms.web1.host: no host 'esx9'", "did you mean 'esx2'?"),
    ({**PAIRED, "web1": "host: esx1, networks: [¦wbe]"},
     "vms.web1.networks[0].port_group: no port group 'wbe' on esx1", "did you mean 'web'?"),
    ({**session(ERSPAN), "vmk0": "port_group: ¦wbe"},
     "hosts.esx1.vmkernel.vmk0.port_group: no port group 'wbe' on esx1", "did you mean 'web'?"),
    ({**LOOP, "tor1": "stp: ¦yes", "tor2": "stp: true"},
     "physical_switches.tor1.stp: must be true or false, not 'yes'", "YAML 1.2: write true or false"),
    ({"web": ", ¦netflow: true"}, f"{DVS}.port_groups.web.netflow: dvs0 has no 'netflow'", "netflow: {collector"),
    ({**PAIRED, "web1": "¦hots: esx1, networks: [web]"}, "vms.web1: unknown key 'hots'", "did you mean 'host'?"),
    ({**session("type: dvPortMirror, from: {received: [web1.eth1]}, to: {ports: [web2]}"),
      "web1": "host: esx1, networks: [web, ¦wbe]"},
     "vms.web1.networks[1].port_group: no port group 'wbe' on esx1", "did you mean 'web'?"),
    ({**session("type: dvPortMirror, from: {received: [esx1.vmk0]}, to: {ports: [web2]}"), "vmk0": "port_group: ¦wbe"},
     "hosts.esx1.vmkernel.vmk0.port_group: no port group 'wbe' on esx1", "did you mean 'web'?"),
    ({"dvs": "netflow: {collector: 10.0.5.9}", "db": "vlan: 20, netflow: true", "vmk0": "port_group: ¦wbe"},
     "hosts.esx1.vmkernel.vmk0.port_group: no port group 'wbe' on esx1", "did you mean 'web'?"),
    ({"dvs": "pvlans: ¦[100]", "db": "pvlan: 101", "tor1": "pvlan_aware: true"},
     f"{DVS}.pvlans: must be a mapping, not a list", ""),
    ({"dvs": "pvlans: {100: ¦isolated}", "db": "pvlan: 101"},
     f"{DVS}.pvlans.100: must be a mapping, not 'isolated'", ""),
    ({"dvs": PVLANS, "dvs1": "pvlans: {100: {101: community, 102: isolated}}", "tor1": "pvlan_aware: ¦true",
      "tor2": "pvlan_aware: true"},
     "physical_switches.tor1.pvlan_aware: private VLAN 101 is community on dvs1 and isolated on dvs0",
     "one map for all"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "expected", "hint"), [pytest.param(*row, id=row[1][-80:]) for row in (*SESSIONS, *NAMED)]
)
def test_one_mistake_is_told_once(parts: Parts, expected: str, hint: str) -> None:
    mistake = told_once(parts)
    assert words(mistake) == expected
    assert hint in mistake.hint if hint else not mistake.hint


RSPAN = "type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink2]}, vlan: 9"
# A part of the lab, what stands there instead, and the other slots; then what is told.
WHOLE: list[tuple[str, str, Parts, str]] = [
    ("[vmnic1, vmnic2]", "¦vmnic1", {**session(RSPAN), "db": "vlan: 20, teaming: {active: [uplink2]}"},
     f"{DVS}.uplinks.esx1: must be a list, not 'vmnic1'"),
    ("uplinks: {esx1: [vmnic1, vmnic2], esx2: [vmnic1]}", "uplinks: ¦[vmnic1]", session(RSPAN),
     f"{DVS}.uplinks: must be a mapping, not a list"),
    ("uplinks: [vmnic0]", "uplinks: [¦eth0]", {"vss": "teaming: {active: [vmnic0]}"},
     f"{VSS}.uplinks[0]: 'eth0' is no name of this kind"),
    ("web: {vlan: 10<web>}", "web: ¦10", {}, f"{DVS}.port_groups.web: must be a mapping, not 10"),
    ("web: {vlan: 10<web>}", "web: ¦10", {"web1": "host: esx1, networks: [dvs0/web]"},
     f"{DVS}.port_groups.web: must be a mapping, not 10"),
    ("port_groups:\n          old: {vlan: 5<old>}", "port_groups: ¦5", {},
     f"{VSS}.port_groups: must be a mapping, not 5"),
    ("physical_switches:\n  tor1: {<tor1>}\n  tor2: {<tor2>}", "physical_switches: ¦5", {},
     "physical_switches: must be a mapping, not 5"),
    ("vmkernel:\n      vmk0: {<vmk0>}", "vmkernel: ¦vmk0", session(ERSPAN.replace("web1", "esx1.vmk0")),
     "hosts.esx1.vmkernel: must be a mapping, not 'vmk0'"),
    ('release: "<release>"', "release: ¦5.2",
     {**session(f"{ERSPAN}, encapsulation: erspan3"), "db": "vlan: 20, mac_learning: {}"},
     "release: '5.2' is no release of vSphere that is known here; one of 4.1, 5.0, 5.1, 5.5, 6.0, 6.5, 6.7, 7.0, 8.0"),
    ("name: lab", "name: lab\nsites: ¦5", {"tor1": "site: dallas"}, "sites: must be a mapping, not 5"),
]  # fmt: skip
EXPECT = "expect:\n  - {isolate: [web, old]}\n  - {reach: [web1, esx1.vmk0, gw]}\n"


@pytest.mark.parametrize(("old", "new", "parts", "expected"), WHOLE, ids=[f"{row[3][:60]} {row[2]}" for row in WHOLE])
def test_a_part_that_is_wrong_as_a_whole_is_told_once(old: str, new: str, parts: Parts, expected: str) -> None:
    assert old in BASE
    text = filled(parts, BASE.replace(old, new, 1) + EXPECT)
    before, after = text.split(MARK)
    place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert [(m.line, m.column, words(m)) for m in told(before + after)] == [(*place, expected)]


def test_a_host_that_cannot_export_flows_is_told_once_however_many_vnics_it_has() -> None:
    parts = {"dvs": "netflow: {collector: 10.0.5.9}", "web": ", netflow: ¦true"}
    more = {"web1": "host: esx2, networks: [web, web, web]"}
    assert told_once({**parts, **more}).what == "esx2 has no vmkernel adapter to export from"


# -- a standard switch that bears the name of another host's distributed one


def test_a_standard_switch_of_a_distributed_one_s_name_on_another_host_is_another_switch() -> None:
    text = filled(PAIRED).replace("vSwitch0", "dvs9").replace("  dvs1: {}", "  dvs9: {uplinks: {esx2: []}}")
    assert read_topology(text, "f").host_switches["esx1", "dvs9"].distributed is False


def test_a_port_of_a_standard_switch_is_mirrored_by_no_distributed_one_of_its_name() -> None:
    copied = "mirrors: {m: {type: remoteMirrorSource, from: {transmitted: [old1]}, to: {uplinks: [uplink1]}, vlan: 9}}"
    text = filled({}).replace("vSwitch0", "dvs9").replace("dvs1: {}", f"dvs9: {{uplinks: {{esx2: []}}, {copied}}}")
    assert [m.what for m in told(text)] == ["no port of 'old1' on dvs9", "no uplink 'uplink1'"]
