"""Private VLANs, mirroring, NetFlow, MAC learning, discovery and the knobs in the topology file: what right ones mean,
and every way to get them wrong told once, in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from topology_slots import (
    BOTH,
    DB,
    DVS,
    ERSPAN,
    LOOP,
    MARK,
    OLD,
    PVLANS,
    VSS,
    Parts,
    Wrong,
    dvs,
    filled,
    group,
    lab,
    mirrored,
    session,
    told,
    told_once,
    words,
)

from lab.model import (
    Discovery,
    Knobs,
    MacLearning,
    Mirror,
    MirrorKind,
    Netflow,
    PhysicalSwitch,
    Pvlan,
    PvlanKind,
    Security,
    Tagging,
    Topology,
    VlanPolicy,
)
from lab.topology import json_schema, read_topology, warnings
from lab.topology.releases import RELEASES
from lab.topology.schema import (
    DistributedPortGroupSpec,
    DistributedSwitchSpec,
    PortGroupSpec,
    StandardSwitchSpec,
)

PAGE = Path(__file__).parents[2] / "docs" / "topology-file.md"


def tor1(topology: Topology) -> PhysicalSwitch:
    return topology.physical_switches["tor1"]


def test_the_base_of_the_tables_is_right_and_plain() -> None:
    topology = lab()
    assert warnings(topology) == ()
    assert (dvs(topology).pvlans, dvs(topology).mirrors, dvs(topology).netflow) == ({}, (), None)
    assert (group(topology, "web").mac_learning, group(topology, "web").netflow) == (None, False)
    assert tor1(topology) == PhysicalSwitch("tor1", "site", 8192, False, None, False, {}, False, False)
    assert (topology.knobs.reverse_path_promisc, topology.knobs.forged_compare) == (False, "effective")


# -- right values

MAP = {
    100: Pvlan(100, 100, PvlanKind.PROMISCUOUS),
    101: Pvlan(100, 101, PvlanKind.ISOLATED),
    102: Pvlan(100, 102, PvlanKind.COMMUNITY),
    103: Pvlan(100, 103, PvlanKind.COMMUNITY),
}


@pytest.mark.parametrize(
    ("written", "pvlans"),
    [
        ("{}", {}),
        ("{100: {}}", {100: MAP[100]}),
        ("{100: {100: promiscuous}}", {100: MAP[100]}),
        ("{100: {101: isolated, 102: community, 103: community}}", MAP),
        ("{100: {103: community, 101: isolated, 102: community, 100: promiscuous}}", MAP),
        ("{'100': {'101': isolated}}", {100: MAP[100], 101: MAP[101]}),
        ("{0100: {0101: isolated}}", {100: MAP[100], 101: MAP[101]}),
        ("{1: {4094: isolated}, 4093: {2: isolated}}",
         {1: Pvlan(1, 1, PvlanKind.PROMISCUOUS), 4094: Pvlan(1, 4094, PvlanKind.ISOLATED),
          4093: Pvlan(4093, 4093, PvlanKind.PROMISCUOUS), 2: Pvlan(4093, 2, PvlanKind.ISOLATED)}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_pvl_1_a_private_vlan_map_is_kept_by_secondary_and_its_primary_is_promiscuous(
    written: str, pvlans: dict[int, Pvlan]
) -> None:
    assert dvs(lab(dvs=f"pvlans: {written}")).pvlans == pvlans


@pytest.mark.parametrize(
    ("pvlan", "text"),
    [(100, "PVLAN 100/100 promiscuous"), (101, "PVLAN 100/101 isolated"), (103, "PVLAN 100/103 community")],
)
def test_pvl_6_a_port_group_in_a_private_vlan_has_the_secondary_id(pvlan: int, text: str) -> None:
    policy = group(lab(dvs=PVLANS, db=f"pvlan: {pvlan}"), "db").vlan
    assert policy == VlanPolicy(Tagging.PVLAN, pvlan, pvlan=MAP[pvlan])
    assert str(policy) == text


def test_ports_of_one_private_vlan_have_addresses_in_its_primary() -> None:
    topology = lab(dvs=PVLANS, db="pvlan: 101", web1="host: esx1, networks: [db, db, web]")
    assert [nic.address for nic in topology.vms["web1"].nics] == ["10.0.100.1/24", "10.0.100.2/24", "10.0.10.2/24"]


@pytest.mark.parametrize(
    ("written", "learning"),
    [
        ("{}", MacLearning()),
        ("{}", MacLearning(limit=4096, allow=False, flooding=True, age=600)),
        ("{limit: 0}", MacLearning(limit=0)),
        ("{limit: 12, over_limit: allow, unicast_flooding: false, age: 10min}", MacLearning(12, True, False, 600)),
        ("{over_limit: drop, age: 30s}", MacLearning(age=30)),
        ("{age: 5}", MacLearning(age=5)),
    ],
)
def test_sec_15_mac_learning_is_read(written: str, learning: MacLearning) -> None:
    assert group(lab(db=f"vlan: 20, mac_learning: {written}"), "db").mac_learning == learning


def test_sec_15_mac_learning_reaches_the_ports_of_its_group_only() -> None:
    part = lab(db="vlan: 20, mac_learning: {limit: 3}").host_switches["esx1", "dvs0"]
    assert {port.name: port.mac_learning for port in part.ports} == {
        "vmk0": None, "web1.eth0": None, "web1.eth1": MacLearning(3), "web2.eth0": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "netflow"),
    [
        ("{collector: 10.0.5.9}", Netflow("10.0.5.9", 2055, 60, 15, 4096, False, 0)),
        ("{collector: 10.0.5.9, port: 9995, active_timeout: 1h, idle_timeout: 600, sampling: 0, "
         "internal_flows_only: true, domain: 4294967295}",
         Netflow("10.0.5.9", 9995, 3600, 600, 0, True, 2**32 - 1)),
    ],
    ids=["defaults", "everything"],
)  # fmt: skip
def test_mir_10_netflow_is_read(written: str, netflow: Netflow) -> None:
    topology = lab(dvs=f"netflow: {written}", db="vlan: 20, netflow: true", web=", netflow: false")
    assert dvs(topology).netflow == netflow
    assert {name: group(topology, name).netflow for name in ("web", "db")} == {"web": False, "db": True}


FROM_WEB1: dict[str, Any] = {"transmitted": ("web1.eth0",)}
SESSIONS = [
    ("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [web2]}",
     {"kind": MirrorKind.DV_PORT, **FROM_WEB1, "to_ports": ("web2.eth0",)}),
    ("type: dvPortMirror, from: {transmitted: [web1], received: [web1.eth1, esx1.vmk0]}, to: {ports: [web2, web3]}, "
     "length: 60, sampling: 65535, strip_vlan: true, normal_traffic: true",
     {"kind": MirrorKind.DV_PORT, **FROM_WEB1, "received": ("web1.eth1", "esx1.vmk0"),
      "to_ports": ("web2.eth0", "web3.eth0"), "length": 60, "sampling": 65535, "strip": True, "normal_traffic": True}),
    ("type: dvPortMirror, from: {received: [web1, web1.eth0]}, to: {ports: [web2, web2]}, length: 9000",
     {"kind": MirrorKind.DV_PORT, "received": ("web1.eth0",), "to_ports": ("web2.eth0",), "length": 9000}),
    ("type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink2, uplink1]}, vlan: 999",
     {"kind": MirrorKind.REMOTE_SOURCE, **FROM_WEB1, "to_uplinks": ("uplink2", "uplink1"), "vlan": 999}),
    ("type: remoteMirrorDest, from: {vlans: [999, 1, 999]}, to: {ports: [web2]}, strip_vlan: true",
     {"kind": MirrorKind.REMOTE_DESTINATION, "source_vlans": (999, 1), "to_ports": ("web2.eth0",), "strip": True}),
    ("type: encapsulatedRemoteMirrorSource, from: {transmitted: [web1]}, to: {addresses: [10.0.5.9, 10.0.5.8]}",
     {"kind": MirrorKind.ENCAPSULATED, **FROM_WEB1, "to_addresses": ("10.0.5.9", "10.0.5.8"), "encapsulation": "gre"}),
    ("type: encapsulatedRemoteMirrorSource, from: {transmitted: [web1]}, to: {addresses: [10.0.5.9]}, "
     "encapsulation: erspan3, id: 1023, cos: 7",
     {"kind": MirrorKind.ENCAPSULATED, **FROM_WEB1, "to_addresses": ("10.0.5.9",), "encapsulation": "erspan3",
      "session_id": 1023, "cos": 7}),
    ("type: mixedDestMirror, from: {transmitted: [web1]}, to: {ports: [web2], uplinks: [uplink1]}, vlan: 999",
     {"kind": MirrorKind.MIXED, **FROM_WEB1, "to_ports": ("web2.eth0",), "to_uplinks": ("uplink1",), "vlan": 999}),
    ("type: mixedDestMirror, from: {transmitted: [web1]}, to: {uplinks: [uplink1]}",
     {"kind": MirrorKind.MIXED, **FROM_WEB1, "to_uplinks": ("uplink1",)}),
]  # fmt: skip


@pytest.mark.parametrize(("written", "fields"), SESSIONS, ids=[written[6:60] for written, _ in SESSIONS])
def test_mir_1_a_mirroring_session_is_read(written: str, fields: dict[str, Any]) -> None:
    assert dvs(lab(**session(written))).mirrors == (Mirror("m", "dvs0", **fields),)


def test_mir_1_sessions_stand_in_file_order_and_reach_every_host_s_part_of_the_switch() -> None:
    one = "from: {transmitted: [web1]}, to: {ports: [web2]}}"
    topology = lab(dvs=f"mirrors: {{z: {{type: dvPortMirror, {one}, a: {{type: mixedDestMirror, {one}}}")
    assert [mirror.name for mirror in dvs(topology).mirrors] == ["z", "a"]
    parts = topology.host_switches
    assert parts["esx1", "dvs0"].mirrors == parts["esx2", "dvs0"].mirrors == dvs(topology).mirrors
    assert parts["esx1", "vSwitch0"].mirrors == ()


@pytest.mark.parametrize(
    ("written", "discovery"),
    [
        ("", Discovery("cdp", listens=True, advertises=False)),
        ("{}", Discovery("cdp", listens=True, advertises=False)),
        ("{operation: none}", Discovery("cdp", listens=False, advertises=False)),
        ("{operation: listen}", Discovery("cdp", listens=True, advertises=False)),
        ("{protocol: cdp, operation: advertise}", Discovery("cdp", listens=False, advertises=True)),
        ("{operation: both}", Discovery("cdp", listens=True, advertises=True)),
    ],
)
def test_mir_12_discovery_is_read_on_both_kinds_of_switch(written: str, discovery: Discovery) -> None:
    line = f"discovery: {written}" if written else ""
    topology = lab(vss=line, dvs=line)
    assert topology.hosts["esx1"].standard_switches["vSwitch0"].discovery == discovery
    assert dvs(topology).discovery == discovery


def test_mir_12_a_distributed_switch_may_speak_lldp() -> None:
    switch = dvs(lab(dvs="discovery: {protocol: lldp, operation: both}"))
    assert switch.discovery == Discovery("lldp", listens=True, advertises=True)


@pytest.mark.parametrize(
    ("written", "switch"),
    [
        ("mac_table: 1", PhysicalSwitch("tor1", "site", mac_table=1)),
        ("mac_table: 1000000", PhysicalSwitch("tor1", "site", mac_table=10**6)),
        ("bpdu_guard: true", PhysicalSwitch("tor1", "site", bpdu_guard=True)),
        ("port_security: 1", PhysicalSwitch("tor1", "site", port_security=1)),
        ("port_security: 8192", PhysicalSwitch("tor1", "site", port_security=8192)),
        ("stp: true", PhysicalSwitch("tor1", "site", stp=True)),
        ("cdp: true, lldp: true", PhysicalSwitch("tor1", "site", cdp=True, lldp=True)),
        ("stp: false, bpdu_guard: false, cdp: false, lldp: false, pvlan_aware: false", PhysicalSwitch("tor1", "site")),
    ],
)
def test_a_physical_switch_can_do_what_its_entry_says(written: str, switch: PhysicalSwitch) -> None:
    assert tor1(lab(tor1=written)) == switch


def test_pvl_8_an_aware_physical_switch_knows_the_maps_of_all_distributed_switches() -> None:
    topology = lab(tor1="pvlan_aware: true", dvs=PVLANS, dvs1="pvlans: {200: {201: isolated}, 100: {101: isolated}}")
    assert tor1(topology).pvlans == {
        **MAP, 200: Pvlan(200, 200, PvlanKind.PROMISCUOUS), 201: Pvlan(200, 201, PvlanKind.ISOLATED)
    }  # fmt: skip
    assert topology.physical_switches["tor2"].pvlans == {}


@pytest.mark.parametrize(
    ("written", "knobs"),
    [
        ("reverse_path_promisc: 0", Knobs()),
        ("reverse_path_promisc: 1", Knobs(reverse_path_promisc=True)),
        ("forged_compare: effective", Knobs()),
        ("forged_compare: vmx", Knobs(forged_compare="vmx")),
    ],
)
def test_a_new_knob_says_what_the_file_says(written: str, knobs: Knobs) -> None:
    assert lab(knobs=written).knobs == replace(knobs, vmotion_encrypt=lab().knobs.vmotion_encrypt)


@pytest.mark.parametrize("key", ["promiscuous", "mac_changes", "forged_transmits"])
@pytest.mark.parametrize("word", ["accept", "reject"])
def test_sec_1_every_security_policy_is_accepted_or_rejected_where_it_is_said(key: str, word: str) -> None:
    policy = f"security: {{{key}: {word}}}"
    topology = lab(vss=policy, dvs=policy, web1=f"host: esx1, networks: [{{port_group: web, {policy}}}]", release="5.0")
    changed = {**vars(Security()), key: word == "accept"}
    for switch, port in (("vSwitch0", "old1.eth0"), ("dvs0", "web1.eth0"), ("dvs0", "web2.eth0")):
        assert topology.host_switches["esx1", switch].port_of(port).security == Security(**changed)


def test_a_loop_is_allowed_where_every_physical_switch_runs_spanning_tree() -> None:
    cables = lab(**LOOP, tor1="stp: true", tor2="stp: true").cables
    assert [(cable.ends, cable.index) for cable in cables] == [(("tor1", "tor2"), 1), (("tor2", "tor1"), 2)]
    assert [cable.port_at("tor1") for cable in cables] == ["tor2", "tor2#2"]


# -- mistakes


ON_A_STANDARD_SWITCH: list[Wrong] = [
    *(
        ({"old": f", ¦{key}: {value}"}, f"{OLD}: a standard switch has no {key!r}", "use a distributed switch")
        for key, value in (
            ("pvlan", "101"), ("mac_learning", "{}"), ("netflow", "true"), ("network_pool", "a"), ("pvlan", ""),
        )
    ),
    *(
        ({"vss": f"¦{key}: {value}"}, f"{VSS}: a standard switch has no {key!r}", "use a distributed switch")
        for key, value in (
            ("pvlans", "{}"), ("mirrors", "{}"), ("netflow", "{}"), ("lags", "{}"), ("network_io_control", "{}"),
            ("multicast_filtering", "snooping"),
        )
    ),
]  # fmt: skip


def test_every_key_that_only_a_distributed_switch_has_is_in_the_table() -> None:
    refused = {(path.split(":")[0], path.split("'")[1]) for _, path, hint in ON_A_STANDARD_SWITCH if hint}
    assert refused == {
        *((OLD, key) for key in PortGroupSpec.DISTRIBUTED_ONLY),
        *((VSS, key) for key in StandardSwitchSpec.DISTRIBUTED_ONLY),
    }
    assert not DistributedPortGroupSpec.DISTRIBUTED_ONLY | DistributedSwitchSpec.DISTRIBUTED_ONLY


PRIVATE_VLANS: list[Wrong] = [
    ({"dvs": PVLANS, "db": "vlan: 20, ¦pvlan: 101"},
     f"{DB}.pvlan: vlan and pvlan exclude each other", "leave one of them out"),
    ({"dvs": PVLANS, "db": "¦pvlan: 101, vlan: 0"},
     f"{DB}.pvlan: vlan and pvlan exclude each other", "leave one of them out"),
    ({"dvs": PVLANS, "db": "pvlan: ¦104"}, f"{DB}.pvlan: no private VLAN 104 on dvs0", "there is 100, 101, 102, 103"),
    ({"db": "pvlan: ¦101"}, f"{DB}.pvlan: no private VLAN 101 on dvs0", "dvs0 has no 'pvlans'"),
    ({"dvs1": PVLANS, "db": "pvlan: ¦101"}, f"{DB}.pvlan: no private VLAN 101 on dvs0", "dvs0 has no 'pvlans'"),
    ({"dvs": "pvlans: {100: {101: isolated, 102: ¦isolated}}"},
     f"{DVS}.pvlans.100.102: 100 has an isolated VLAN already: 101", "one for each primary VLAN"),
    ({"dvs": "pvlans: {100: {101: isolated, 103: community, 102: ¦isolated}, 200: {201: isolated}}"},
     f"{DVS}.pvlans.100.102: 100 has an isolated VLAN already: 101", "one for each primary VLAN"),
    ({"dvs": "pvlans: {100: {101: isolated}, 200: {¦101: community}}"},
     f"{DVS}.pvlans.200.101: VLAN 101 is in the map already", "a VLAN has one place in the map"),
    ({"dvs": "pvlans: {100: {¦200: isolated}, 200: {}}"},
     f"{DVS}.pvlans.100.200: VLAN 200 is in the map already", "a VLAN has one place in the map"),
    ({"dvs": "pvlans: {200: {}, 100: {¦200: isolated}}"},
     f"{DVS}.pvlans.100.200: VLAN 200 is in the map already", "a VLAN has one place in the map"),
    ({"dvs": "pvlans: {100: {101: isolated, ¦0101: community}}"},
     f"{DVS}.pvlans.100.0101: VLAN 101 is in the map already", "a VLAN has one place in the map"),
    ({"dvs": "pvlans: {100: {101: isolated}, ¦0100: {102: community}}"},
     f"{DVS}.pvlans.0100: VLAN 100 is in the map already", "a VLAN has one place in the map"),
    ({"dvs": "pvlans: {100: {¦²: isolated}}"}, f"{DVS}.pvlans.100.²: '²' is no VLAN ID from 1 to 4094", ""),
    ({"dvs": "pvlans: {100: {¦٣: isolated}}"}, f"{DVS}.pvlans.100.٣: '٣' is no VLAN ID from 1 to 4094", ""),
    ({"dvs": "pvlans: {100: {101: ¦promiscuous}}"},
     f"{DVS}.pvlans.100.101: the secondary VLAN 101 cannot be promiscuous",
     "the primary VLAN itself, and no other, is promiscuous"),
    ({"dvs": "pvlans: {100: {100: ¦isolated}}"}, f"{DVS}.pvlans.100.100: the primary VLAN 100 cannot be isolated",
     "the primary VLAN itself, and no other, is promiscuous"),
    ({"dvs": "pvlans: {100: {100: ¦community, 101: isolated}}"},
     f"{DVS}.pvlans.100.100: the primary VLAN 100 cannot be community",
     "the primary VLAN itself, and no other, is promiscuous"),
    *(
        ({"dvs": f"pvlans: {{{key}: {{}}}}"}, f"{DVS}.pvlans.{key[1:]}: {key[1:]!r} is no VLAN ID from 1 to 4094", "")
        for key in ("¦0", "¦4095", "¦-1", "¦dmz", "¦1.5", "¦0x64", "¦100-110")
    ),
    ({"dvs": "pvlans: {100: {¦0: isolated}}"}, f"{DVS}.pvlans.100.0: '0' is no VLAN ID from 1 to 4094", ""),
    ({"dvs": "pvlans: {100: {¦4095: isolated}}"}, f"{DVS}.pvlans.100.4095: '4095' is no VLAN ID from 1 to 4094", ""),
    ({"dvs": "pvlans: {100: {101: ¦private}}"},
     f"{DVS}.pvlans.100.101: 'private' is not one of 'promiscuous', 'isolated', 'community'", ""),
    ({"dvs": "pvlans: {100: {101: ¦}}"},
     f"{DVS}.pvlans.100.101: nothing is not one of 'promiscuous', 'isolated', 'community'",
     "nothing was written after the colon"),
    ({"dvs": "pvlans: {100: ¦isolated}"}, f"{DVS}.pvlans.100: must be a mapping, not 'isolated'", ""),
    ({"dvs": "pvlans: {100: ¦[101]}"}, f"{DVS}.pvlans.100: must be a mapping, not a list", ""),
    ({"dvs": "pvlans: {100: ¦}"}, f"{DVS}.pvlans.100: must be a mapping, not nothing", "nothing was written"),
    ({"dvs": "pvlans: ¦[100]"}, f"{DVS}.pvlans: must be a mapping, not a list", ""),
    ({"dvs": "pvlans: {100: {101: isolated, ¦101: community}}"}, f"{DVS}.pvlans.100: '101' is here twice", "line 30"),
    ({"tor1": "pvlan_aware: ¦true"}, "physical_switches.tor1.pvlan_aware: no distributed switch has private VLANs",
     "pvlans: {100: {101: isolated}}"),
    ({"tor1": "pvlan_aware: ¦true", "dvs": PVLANS, "dvs1": "pvlans: {100: {101: community}}"},
     "physical_switches.tor1.pvlan_aware: private VLAN 101 is community on dvs1 and isolated on dvs0",
     "one map for all"),
    ({"tor1": "pvlan_aware: ¦true", "dvs": PVLANS, "dvs1": "pvlans: {200: {103: community}}"},
     "physical_switches.tor1.pvlan_aware: private VLAN 103 belongs to 200 on dvs1 and to 100 on dvs0",
     "one map for all"),
]  # fmt: skip


FITTING = [
    mirrored(f"type: dvPortMirror, {BOTH}, ¦vlan: 9", ".vlan: a dvPortMirror session has no encapsulation VLAN",
             "remoteMirrorSource and mixedDestMirror have one"),
    mirrored("type: remoteMirrorDest, from: {vlans: [9]}, to: {ports: [web2]}, ¦vlan: 9",
             ".vlan: a remoteMirrorDest session has no encapsulation VLAN", "from: {vlans: [...]}"),
    mirrored("type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink1]}",
             ": 'vlan' is missing", "the VLAN that carries the copies, such as 999"),
    mirrored(f"type: dvPortMirror, {BOTH}, ¦encapsulation: erspan2",
             ".encapsulation: a dvPortMirror session is not encapsulated"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1], ¦vlans: [9]}, to: {ports: [web2]}",
             ".from.vlans: a dvPortMirror session has no vlans here", "from: {transmitted: [...]}"),
    mirrored("type: remoteMirrorDest, from: {vlans: [9], ¦received: [web1]}, to: {ports: [web2]}",
             ".from.received: a remoteMirrorDest session has no received here", "from: {vlans: [...]}"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [web2], ¦uplinks: [uplink1]}",
             ".to.uplinks: a dvPortMirror session has no uplinks here", "to: {ports: [...]}"),
    mirrored("type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink1], ¦ports: [web2]}, vlan: 9",
             ".to.ports: a remoteMirrorSource session has no ports here", "to: {uplinks: [...]}"),
    mirrored("type: mixedDestMirror, from: {transmitted: [web1]}, to: {ports: [web2], ¦addresses: [10.0.5.9]}",
             ".to.addresses: a mixedDestMirror session has no addresses here", "to: {ports: [...]}"),
    mirrored("type: dvPortMirror, ¦from: {}, to: {ports: [web2]}", ".from: says neither transmitted nor received",
             "from: {transmitted: [web1]}"),
    mirrored("type: dvPortMirror, ¦from: {transmitted: [], received: []}, to: {ports: [web2]}",
             ".from: says neither transmitted nor received",
             "from: {transmitted: [web1]}"),
    mirrored("type: remoteMirrorDest, ¦from: {}, to: {ports: [web2]}", ".from: says no vlans", "from: {vlans: [999]}"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1]}, ¦to: {}", ".to: says no ports", "to: {ports: [web1]}"),
    mirrored("type: encapsulatedRemoteMirrorSource, from: {transmitted: [web1]}, ¦to: {addresses: []}",
             ".to: says no addresses", "to: {addresses: [10.0.5.9]}"),
    mirrored("type: mixedDestMirror, from: {transmitted: [web1]}, ¦to: {}", ".to: says neither ports nor uplinks",
             "to: {ports: [web1]}"),
    mirrored(f"{ERSPAN.replace('type: ', 'type: ¦')}, encapsulation: erspan2",
             ".type: encapsulatedRemoteMirrorSource is not in release 5.0", "from 5.1 on", release="5.0"),
    mirrored(f"type: dvPortMirror, {BOTH}, ¦id: 5", ".id: a dvPortMirror session is not encapsulated"),
    mirrored(f"type: dvPortMirror, {BOTH}, ¦cos: 5", ".cos: a dvPortMirror session is not encapsulated"),
    mirrored(f"type: dvPortMirror, {BOTH}, ¦encapsulation: gre",
             ".encapsulation: a dvPortMirror session is not encapsulated"),
    mirrored(f"{ERSPAN}, ¦id: 5", ".id: gre carries no id", "encapsulation: erspan2 or erspan3"),
    mirrored(f"{ERSPAN}, encapsulation: gre, ¦cos: 0", ".cos: gre carries no cos", "encapsulation: erspan2 or erspan3"),
]  # fmt: skip

NAMED = [
    mirrored("type: dvPortMirror, from: {transmitted: [¦wbe1]}, to: {ports: [web2]}",
             ".from.transmitted[0]: no port of 'wbe1' on dvs0", "did you mean 'web1'?"),
    mirrored("type: dvPortMirror, from: {received: [web1, ¦web1.eth2]}, to: {ports: [web2]}",
             ".from.received[1]: no port of 'web1.eth2' on dvs0", "did you mean 'web1.eth1'?"),
    mirrored("type: dvPortMirror, from: {transmitted: [¦esx1.vmk1]}, to: {ports: [web2]}",
             ".from.transmitted[0]: no port of 'esx1.vmk1' on dvs0", "did you mean 'esx1.vmk0'?"),
    mirrored("type: dvPortMirror, from: {transmitted: [¦old1]}, to: {ports: [web2]}",
             ".from.transmitted[0]: no port of 'old1' on dvs0", "there is esx1.vmk0, web1, web1.eth1, web2, web3"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [¦gw]}",
             ".to.ports[0]: no port of 'gw' on dvs0", "there is esx1.vmk0, web1"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [¦uplink1]}",
             ".to.ports[0]: no port of 'uplink1' on dvs0", "there is esx1.vmk0, web1"),
    mirrored("type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [¦uplink3]}, vlan: 9",
             ".to.uplinks[0]: no uplink 'uplink3'", "did you mean 'uplink2'?"),
    mirrored("type: remoteMirrorSource, from: {transmitted: [web1]}, to: {uplinks: [uplink1, ¦vmnic1]}, vlan: 9",
             ".to.uplinks[1]: no uplink 'vmnic1'", "there is uplink1, uplink2"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [¦web1]}",
             ".to.ports[0]: web1.eth0 is mirrored to itself", "another destination"),
    mirrored("type: dvPortMirror, from: {received: [web1.eth0]}, to: {ports: [web2, ¦web1]}",
             ".to.ports[1]: web1.eth0 is mirrored to itself", "another destination"),
    mirrored("type: encapsulatedRemoteMirrorSource, from: {transmitted: [web3]}, to: {addresses: [10.0.5.9]}",
             ": esx2 has no vmkernel adapter to send copies from", "hosts.esx2.vmkernel"),
    mirrored("type: encapsulatedRemoteMirrorSource, from: {received: [web3, web3]}, to: {addresses: [10.0.5.9]}",
             ": esx2 has no vmkernel adapter to send copies from", "hosts.esx2.vmkernel"),
]  # fmt: skip

SESSION_GRAMMAR = [
    mirrored(f"type: ¦dvportmirror, {BOTH}", ".type: 'dvportmirror' is not one of 'dvPortMirror', "
             "'remoteMirrorSource', 'remoteMirrorDest', 'encapsulatedRemoteMirrorSource', 'mixedDestMirror'"),
    mirrored(f"type: dvPortMirror, {BOTH}, ¦lenght: 60", ": unknown key 'lenght'", "did you mean 'length'?"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1], ¦recieved: [web1]}, to: {ports: [web2]}",
             ".from: unknown key 'recieved'", "did you mean 'received'?"),
    mirrored("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [web2], ¦port: [web2]}",
             ".to: unknown key 'port'", "did you mean 'ports'?"),
    mirrored("type: dvPortMirror, from: ¦web1, to: {ports: [web2]}", ".from: must be a mapping, not 'web1'"),
    mirrored("type: dvPortMirror, from: ¦, to: {ports: [web2]}", ".from: must be a mapping, not nothing",
             "nothing was written after the colon"),
    mirrored("type: dvPortMirror, from: {received: [web1], transmitted: [web1, ¦{}]}, to: {ports: [web2]}",
             ".from.transmitted[1]: must be text, not a mapping"),
    ({"dvs": f"mirrors: {{m: ¦{{{BOTH}}}}}"}, f"{DVS}.mirrors.m: 'type' is missing", ""),
    ({"dvs": "mirrors: {m: ¦{type: dvPortMirror, to: {ports: [web2]}}}"}, f"{DVS}.mirrors.m: 'from' is missing", ""),
    ({"dvs": "mirrors: {m: ¦{type: dvPortMirror, from: {transmitted: [web1]}}}"},
     f"{DVS}.mirrors.m: 'to' is missing", ""),
    ({"dvs": f"mirrors: {{m: {{type: dvPortMirror, {BOTH}}}, ¦m: {{}}}}"},
     f"{DVS}.mirrors: 'm' is here twice", "first on line 30"),
    ({"dvs": "mirrors: ¦[tap]"}, f"{DVS}.mirrors: must be a mapping, not a list", ""),
]  # fmt: skip

FLOWS: list[Wrong] = [
    ({"db": "vlan: 20, ¦netflow: true"}, f"{DB}.netflow: dvs0 has no 'netflow'", "netflow: {collector: 10.0.5.9}"),
    ({"db": "vlan: 20, ¦netflow: true", "dvs1": "netflow: {collector: 10.0.5.9}"},
     f"{DB}.netflow: dvs0 has no 'netflow'", "netflow: {collector: 10.0.5.9}"),
    ({"dvs": "netflow: {collector: 10.0.5.9}", "web": ", netflow: ¦true"},
     f"{DVS}.port_groups.web.netflow: esx2 has no vmkernel adapter to export from", "hosts.esx2.vmkernel"),
    ({"dvs": "netflow: ¦{port: 2055}"}, f"{DVS}.netflow: 'collector' is missing", ""),
    ({"dvs": "netflow:¦"}, f"{DVS}.netflow: nothing was written after the colon", ""),
    ({"dvs": "netflow: ¦10.0.5.9"}, f"{DVS}.netflow: must be a mapping, not '10.0.5.9'", ""),
    ({"dvs": "netflow: {collector: 10.0.5.9, ¦timeout: 60}"}, f"{DVS}.netflow: unknown key 'timeout'",
     "did you mean 'idle_timeout'?"),
    *(
        ({"dvs": f"netflow: {{collector: ¦{value}}}"},
         f"{DVS}.netflow.collector: {shown} is no IPv4 address of a single adapter, such as 10.0.5.9", "")
        for value, shown in (
            ("10.0.5.9/24", "'10.0.5.9/24'"), ("collector", "'collector'"), ("10", "10"), ("224.0.0.1", "'224.0.0.1'"),
            ("127.0.0.1", "'127.0.0.1'"), ("0.0.0.0", "'0.0.0.0'"), ("'fd00::1'", "'fd00::1'"), ("[]", "[]"),
            ("10.0.5.256", "'10.0.5.256'"),
        )
    ),
]  # fmt: skip

REST: list[Wrong] = [
    ({"vss": "discovery: {protocol: ¦lldp}"}, f"{VSS}.discovery.protocol: a standard switch has no LLDP",
     "use a distributed switch"),
    ({"db": "vlan: 20, mac_learning: ¦true"}, f"{DB}.mac_learning: must be a mapping, not True", ""),
    ({"db": "vlan: 20, mac_learning: ¦"}, f"{DB}.mac_learning: nothing was written after the colon", ""),
    ({"db": "vlan: 20, mac_learning: {¦flooding: true}"}, f"{DB}.mac_learning: unknown key 'flooding'",
     "did you mean 'unicast_flooding'?"),
    ({"web1": "host: esx1, networks: [{port_group: web, ¦mac_learning: {}}]"},
     "vms.web1.networks[0]: 'mac_learning' is not emulated by this version", "leave it out"),
    ({"dvs": "discovery: ¦lldp"}, f"{DVS}.discovery: must be a mapping, not 'lldp'", ""),
    ({"dvs": "discovery: {¦mode: both}"}, f"{DVS}.discovery: unknown key 'mode'", "there is protocol, operation"),
    ({**LOOP, "cable": "- ¦{ends: [tor2, tor1]}"}, "cables[1]: closes a loop between 'tor2' and 'tor1'",
     "stp: true on every pSwitch"),
    ({"cable": "- ¦{ends: [tor2, tor1]}", "tor1": "stp: true"}, "cables[1]: closes a loop between 'tor2' and 'tor1'",
     "stp: true on every pSwitch"),
    ({"cable": "- {ends: ¦[tor1, tor1]}", "tor1": "stp: true", "tor2": "stp: true"},
     "cables[1].ends: both ends are in 'tor1'", ""),
]  # fmt: skip

ROWS: dict[str, list[Wrong]] = {
    "standard": ON_A_STANDARD_SWITCH, "pvlan": PRIVATE_VLANS, "session": FITTING, "name": NAMED,
    "grammar": SESSION_GRAMMAR, "flows": FLOWS, "rest": REST,
}  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "expected", "hint"),
    [pytest.param(*row, id=f"{kind} {row[1][-80:]}") for kind, rows in ROWS.items() for row in rows],
)
def test_one_mistake_is_told_once_in_its_place(parts: Parts, expected: str, hint: str) -> None:
    mistake = told_once(parts)
    assert words(mistake) == expected
    assert hint in mistake.hint if hint else not mistake.hint


# -- releases

FEATURES: list[tuple[str, Parts, str, str, str]] = [
    # first release, slots, what is told before it, its hint, and where
    ("5.0", {"dvs": "¦netflow: {collector: 10.0.5.9}"}, f"{DVS}.netflow: NetFlow is not in release R", "from 5.0 on",
     "netflow"),
    ("5.0", {"dvs": "discovery: {protocol: ¦lldp}"}, f"{DVS}.discovery.protocol: LLDP is not in release R",
     "from 5.0 on", "lldp"),
    ("6.7", {"db": "vlan: 20, ¦mac_learning: {}"}, f"{DB}.mac_learning: MAC learning is not in release R",
     "from 6.7 on", "mac learning"),
    *(
        (first, session(f"type: ¦{kind}, from: {sources}, to: {to}"),
         f"{DVS}.mirrors.m.type: {kind} is not in release R", f"from {first} on", kind)
        for first, kind, sources, to in (
            ("5.1", "dvPortMirror", "{transmitted: [web1]}", "{ports: [web2]}"),
            ("5.1", "remoteMirrorSource", "{transmitted: [web1]}", "{uplinks: [uplink1]}, vlan: 9"),
            ("5.1", "remoteMirrorDest", "{vlans: [9]}", "{ports: [web2]}"),
            ("5.1", "encapsulatedRemoteMirrorSource", "{transmitted: [web1]}", "{addresses: [10.0.5.9]}"),
            ("5.0", "mixedDestMirror", "{transmitted: [web1]}", "{ports: [web2]}"),
        )
    ),
    *(
        ("6.5", session(f"{ERSPAN}, encapsulation: ¦{kind}"),
         f"{DVS}.mirrors.m.encapsulation: release R has gre only", "erspan from 6.5 on", kind)
        for kind in ("erspan2", "erspan3")
    ),
]  # fmt: skip


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("first", "parts", "expected", "hint"), [f[:4] for f in FEATURES], ids=[name for *_, name in FEATURES]
)
def test_what_a_release_lacks_is_refused_and_what_it_has_is_read(
    release: str, first: str, parts: dict[str, str], expected: str, hint: str
) -> None:
    parts = {**parts, "release": release}
    if RELEASES.index(release) >= RELEASES.index(first):
        read_topology(filled(parts).replace(MARK, ""), "f")
    elif "encapsulation" in expected and release in ("4.1", "5.0"):  # the session's type is of 5.1 itself
        assert [m.path for m in told(filled(parts).replace(MARK, ""))] == [f"{DVS}.mirrors.m.type"]
    else:
        mistake = told_once(parts)
        assert words(mistake) == expected.replace("release R", f"release {release}")
        older = release == "5.0" and any(kind in expected for kind in ("dvPortMirror", "remoteMirrorSource"))
        assert mistake.hint == hint + ("; 5.0 has mixedDestMirror" if older else "")


@pytest.mark.parametrize("release", RELEASES)
def test_private_vlans_and_cdp_are_in_every_release(release: str) -> None:
    topology = lab(release=release, dvs=PVLANS, db="pvlan: 101", vss="discovery: {operation: both}")
    assert group(topology, "db").vlan.pvlan == MAP[101]


# -- types and ranges of every field: where it is written, its path, and what it takes

TRUTH, TIME = "truth", "time"
LEARN, NF, TOR = f"{DB}.mac_learning", f"{DVS}.netflow", "physical_switches.tor1"
COPY = f"{DVS}.mirrors.m"
Range = tuple[int, int]


def learning_field(key: str, value: str) -> Parts:
    return {"db": f"vlan: 20, mac_learning: {{{key}: {value}}}"}


def netflow_field(key: str, value: str) -> Parts:
    return {"dvs": f"netflow: {{collector: 10.0.5.9, {key}: {value}}}"}


def session_field(key: str, value: str) -> Parts:
    return session(f"{ERSPAN}, encapsulation: erspan3, {key}: {value}")


def mixed_field(key: str, value: str) -> Parts:
    return session(f"type: mixedDestMirror, {BOTH}, {key}: {value}")


def tor_field(key: str, value: str) -> Parts:
    return {"tor1": f"{key}: {value}", "dvs": PVLANS}


def group_field(key: str, value: str) -> Parts:
    return {"db": f"{key}: {value}", "dvs": "netflow: {collector: 10.0.5.9}"}


Write = Callable[[str, str], Parts]
NUMBERS: list[tuple[Write, str, str, Range]] = [
    (learning_field, LEARN, "limit", (0, 4096)),
    (netflow_field, NF, "port", (1, 65535)),
    (netflow_field, NF, "sampling", (0, 16384)),
    (netflow_field, NF, "domain", (0, 2**32 - 1)),
    (session_field, COPY, "length", (60, 9000)),
    (session_field, COPY, "sampling", (1, 65535)),
    (session_field, COPY, "id", (0, 0x3FF)),
    (session_field, COPY, "cos", (0, 7)),
    (mixed_field, COPY, "vlan", (1, 4094)),
    (tor_field, TOR, "mac_table", (1, 1_000_000)),
    (tor_field, TOR, "port_security", (1, 8192)),
]
TIMES: list[tuple[Write, str, str, Range]] = [
    (learning_field, LEARN, "age", (1, 65535)),
    (netflow_field, NF, "active_timeout", (60, 3600)),
    (netflow_field, NF, "idle_timeout", (10, 600)),
]
TRUTHS: list[tuple[Write, str, str]] = [
    (learning_field, LEARN, "unicast_flooding"),
    (netflow_field, NF, "internal_flows_only"),
    (session_field, COPY, "strip_vlan"),
    (session_field, COPY, "normal_traffic"),
    *((tor_field, TOR, key) for key in ("bpdu_guard", "stp", "pvlan_aware", "cdp", "lldp")),
    (group_field, DB, "netflow"),
]
CHOICES: list[tuple[Parts, str]] = [
    (learning_field("over_limit", "¦forward"), f"{LEARN}.over_limit: 'forward' is not one of 'drop', 'allow'"),
    (learning_field("over_limit", "¦true"), f"{LEARN}.over_limit: True is not one of 'drop', 'allow'"),
    (mixed_field("encapsulation", "¦vxlan"),
     f"{COPY}.encapsulation: 'vxlan' is not one of 'gre', 'erspan2', 'erspan3'"),
    ({"dvs": "discovery: {protocol: ¦fdp}"}, f"{DVS}.discovery.protocol: 'fdp' is not one of 'cdp', 'lldp'"),
    *(
        ({slot: "discovery: {operation: ¦on}"},
         f"{path}.discovery.operation: 'on' is not one of 'none', 'listen', 'advertise', 'both'")
        for slot, path in (("vss", VSS), ("dvs", DVS))
    ),
    ({"knobs": "reverse_path_promisc: ¦2"}, "knobs.reverse_path_promisc: 2 is not one of 0, 1"),
    ({"knobs": "reverse_path_promisc: ¦on"}, "knobs.reverse_path_promisc: 'on' is not one of 0, 1"),
    ({"knobs": "forged_compare: ¦VMX"}, "knobs.forged_compare: 'VMX' is not one of 'effective', 'vmx'"),
]  # fmt: skip


UNWRITTEN: list[tuple[Parts, str]] = [
    ({"dvs": "netflow: {collector: ¦}"}, f"{NF}.collector"),
    (netflow_field("active_timeout", "¦"), f"{NF}.active_timeout"),
    (learning_field("age", "¦"), f"{LEARN}.age"),
]


def bad_numbers(key: str, low: int, high: int) -> Iterator[tuple[str, str, str]]:
    """Value, what is told of it, hint."""
    for value in (low - 1, high + 1):
        yield f"¦{value}", f"{'VLAN ' if key == 'vlan' else ''}{value} is out of range {low}-{high}", ""
    yield f"¦{low}.0", f"must be a whole number, not {low}.0", ""
    yield f"¦'{low}'", f"must be a whole number, not '{low}'", ""
    yield "¦true", "must be a whole number, not True", ""
    yield f"¦[{low}]", "must be a whole number, not a list", ""


def bad_times(low: int, high: int) -> Iterator[tuple[str, str, str]]:
    span = f"is not a whole number of seconds from {low} to {high}"
    for value, shown in ((low - 1, ""), (high + 1, ""), (f"{low}.5", ""), (f"{low - 1}s", "'"), (f"{low}500ms", "'")):
        yield f"¦{value}", f"{shown}{value}{shown} {span}", ""
    yield "¦soon", "'soon' is not a duration (a number and one of ns, us, ms, s, min, h)", ""
    yield "¦true", 'must be a time, such as "60s" or "10min"', ""
    yield f"¦[{low}]", 'must be a time, such as "60s" or "10min"', ""


BAD_TRUTHS = (("1", "1", ""), ("yes", "'yes'", "YAML 1.2: write true or false"), ("[]", "a list", ""))
BAD_FIELDS = [
    *((write(key, value), f"{path}.{key}: {what}", hint)
      for write, path, key, span in NUMBERS for value, what, hint in bad_numbers(key, *span)),
    *((write(key, value), f"{path}.{key}: {what}", hint)
      for write, path, key, span in TIMES for value, what, hint in bad_times(*span)),
    *((write(key, f"¦{value}"), f"{path}.{key}: must be true or false, not {shown}", hint)
      for write, path, key in TRUTHS for value, shown, hint in BAD_TRUTHS),
    *((parts, expected, "") for parts, expected in CHOICES),
    *((parts, f"{path}: nothing was written after the colon", "") for parts, path in UNWRITTEN),
    ({"knobs": "forged_compare: ¦"}, "knobs.forged_compare: nothing is not one of 'effective', 'vmx'",
     "nothing was written after the colon"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "expected", "hint"), BAD_FIELDS, ids=[f"{n} {row[1][-70:]}" for n, row in enumerate(BAD_FIELDS)]
)
def test_a_field_out_of_its_range_or_of_another_type_is_told(parts: Parts, expected: str, hint: str) -> None:
    mistake = told_once(parts)
    assert (words(mistake), mistake.hint) == (expected, hint)


# -- the JSON schema


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json_schema()["$defs"][name]
    return found


def test_the_json_schema_calls_a_session_s_sources_from() -> None:
    schema = definition("MirrorSpec")
    assert "from" in schema["properties"] and "sources" not in schema["properties"]
    assert schema["required"] == ["type", "from", "to"]
    assert schema["properties"]["type"]["enum"] == [str(kind) for kind in MirrorKind]


def test_a_session_s_sources_are_not_called_sources_in_the_file() -> None:
    found = told(filled(session(f"type: dvPortMirror, sources: {{}}, {BOTH}")))
    assert [words(m) for m in found] == [f"{COPY}: unknown key 'sources'"]


def test_a_hint_calls_a_session_s_sources_from() -> None:
    found = told(filled(session("type: dvPortMirror, form: {transmitted: [web1]}, to: {ports: [web2]}")))
    assert [(words(m), m.hint) for m in found] == [(f"{COPY}: unknown key 'form'", "did you mean 'from'?")]


@pytest.mark.parametrize(
    ("section", "key", "low", "high"),
    [
        ("MacLearningSpec", "limit", 0, 4096),
        ("NetflowSpec", "port", 1, 65535),
        ("NetflowSpec", "sampling", 0, 16384),
        ("NetflowSpec", "domain", 0, 2**32 - 1),
        ("MirrorSpec", "sampling", 1, 65535),
        ("MirrorSpec", "id", 0, 0x3FF),
        ("MirrorSpec", "cos", 0, 7),
        ("PhysicalSwitchSpec", "mac_table", 1, 10**6),
    ],
)
def test_the_json_schema_has_the_ranges(section: str, key: str, low: int, high: int) -> None:
    found = definition(section)["properties"][key]
    assert (found["minimum"], found["maximum"]) == (low, high)


def test_the_json_schema_has_vlan_ids_as_keys_of_a_private_vlan_map() -> None:
    pvlans = definition("DistributedSwitchSpec")["properties"]["pvlans"]
    ((pattern, secondaries),) = pvlans["patternProperties"].items()
    ((below, kind),) = secondaries["patternProperties"].items()
    assert set(kind["enum"]) == {str(kind) for kind in PvlanKind}
    assert {bool(re.search(p, key)) for p in (pattern, below) for key in ("1", "4094", "0101")} == {True}
    assert {bool(re.search(p, key)) for p in (pattern, below) for key in ("", "dmz", "-1", "10000", "²")} == {False}


# -- the page


def blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def documented(block: str) -> str:
    """A whole file around the page's lines about a distributed switch."""
    ports = "".join(
        f"  {vm}: {{host: esx1, networks: [all]}}\n" for vm in ("web1", "web2", "db1", "db2", "ids1", "ids2")
    )
    head = "" if block.startswith("distributed_switches:") else "distributed_switches:\n  dvs0:\n"
    groups = "" if "port_groups:" in block else "    port_groups:\n"
    return (
        'name: page\nrelease: "6.7"\nphysical_switches: {tor1: {}}\n'
        "hosts: {esx1: {uplinks: {vmnic0: {switch: tor1}, vmnic1: {switch: tor1}},\n"
        "               vmkernel: {vmk0: {port_group: all}}}}\n"
        f"{head}{block}{groups}      all: {{vlan: 10}}\n    uplinks: {{esx1: [vmnic0, vmnic1]}}\nvms:\n{ports}"
    )


def test_what_the_page_shows_is_right() -> None:
    pages = [documented(block) for block in blocks() if not block.startswith("sites:")]
    shown = [read_topology(page, "page").distributed_switches["dvs0"] for page in pages]
    assert {len(switch.pvlans) for switch in shown} == {0, 4}
    assert {mirror.kind for switch in shown for mirror in switch.mirrors} == set(MirrorKind)
    assert any(switch.netflow for switch in shown)
    assert any(switch.discovery.protocol == "lldp" for switch in shown)


def test_what_the_page_shows_of_sites_is_right() -> None:
    (block,) = (block for block in blocks() if block.startswith("sites:"))
    switches = "physical_switches: {wan-d: {site: dallas}, wan-a: {site: austin}}\n"
    (stretch,) = read_topology(f"name: page\n{switches}{block}", "page").stretches
    assert (stretch.kind, stretch.delay, stretch.loss, str(stretch.rate)) == ("vxlan", 0.005, 0.001, "1G")
