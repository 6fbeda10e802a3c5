"""What a right topology file means: defaults, inheritance, derived addresses, expectations and warnings."""

from __future__ import annotations

import ipaddress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab.model import (
    ALL_VLANS,
    Cable,
    ClientPort,
    Expectation,
    HostSwitch,
    Knobs,
    Nic,
    PhysicalPort,
    Security,
    Tagging,
    Teaming,
    Topology,
    VlanPolicy,
    in_ranges,
)
from lab.topology import read_topology, read_topology_file, warnings
from lab.topology.addressing import HOSTS_IN_24, MACHINE, PNIC, VMKNIC, VNIC, Addresses
from lab.topology.releases import RELEASES, default_security, since
from lab.units import Rate

TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))
HEAD = "name: lab\nphysical_switches: {tor1: {}, tor2: {}}\n"

BASE = (
    HEAD
    + """\
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: tor1}
      vmnic1: {switch: tor1}
      vmnic2: {switch: tor2}
      vmnic3: {switch: tor2}
    standard_switches:
      vSwitch0:
        uplinks: [vmnic0, vmnic1]
        port_groups:
          web: {vlan: 10}
    vmkernel:
      vmk0: {port_group: web}
  esx2:
    uplinks:
      vmnic5: {switch: tor2}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic3, vmnic2], esx2: [vmnic5]}
    port_groups:
      db: {vlan: 20}
vms:
  web1: {host: esx1, networks: [web]}
  db1: {host: esx1, networks: [db]}
  db2: {host: esx2, networks: [db]}
machines:
  gw: {switch: tor1, access: 10}
"""
)


def read(old: str = "", new: str = "") -> Topology:
    assert old in BASE
    return read_topology(BASE.replace(old, new, 1), "f")


def client(topology: Topology, label: str) -> ClientPort:
    ports = [port for part in topology.host_switches.values() for port in part.ports]
    return next(port for port in ports if port.nic.label == label)


def nic(topology: Topology, label: str) -> Nic:
    return client(topology, label).nic


def group(new: str, distributed: bool) -> Any:
    topology = read("{vlan: 20}" if distributed else "{vlan: 10}", new)
    if distributed:
        return topology.distributed_switches["dvs0"].port_groups["db"]
    return topology.hosts["esx1"].standard_switches["vSwitch0"].port_groups["web"]


# -- defaults


def test_a_name_is_all_that_a_topology_needs() -> None:
    assert read_topology("name: lab\n", "f") == Topology(name="lab", release="5.0", sites=("site",), source="f")


def test_the_defaults_of_every_part() -> None:
    topology = read()
    assert (topology.release, topology.speed_scale, topology.speedup) == ("5.0", 0.01, 1.0)
    assert topology.physical_switches["tor1"].mac_table == 8192
    assert topology.hosts["esx1"].standard_switches["vSwitch0"].mtu == 1500
    assert topology.distributed_switches["dvs0"].mtu == 1500
    assert topology.hosts["esx1"].pnics["vmnic0"].speed == Rate.parse("10G")
    assert topology.hosts["esx1"].pnics["vmnic0"].port == PhysicalPort(None, ALL_VLANS, None)
    assert (nic(topology, "db1.eth0").connected, nic(topology, "db1.eth0").blocked) == (True, False)
    assert topology.machines["gw"].routes is False


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_is_taken_as_text_or_number(release: str) -> None:
    for written in (release, f'"{release}"'):
        assert read("name: lab", f"name: lab\nrelease: {written}").release == release


@pytest.mark.parametrize("first", RELEASES)
def test_releases_are_ordered(first: str) -> None:
    assert [since(release, first) for release in RELEASES] == [r >= first for r in RELEASES]


REJECTS = {  # (release, mac_changes and forged_transmits accepted on a vSS, the same on a vDS)
    "4.1": (True, True), "5.0": (True, True), "5.1": (True, False), "5.5": (True, False), "6.0": (True, False),
    "6.5": (True, False), "6.7": (True, False), "7.0": (False, False), "8.0": (False, False),
}  # fmt: skip


def test_the_table_of_defaults_has_every_release() -> None:
    assert tuple(REJECTS) == RELEASES


@pytest.mark.parametrize(("release", "accepted"), REJECTS.items(), ids=list(REJECTS))
def test_security_defaults_follow_the_release(release: str, accepted: tuple[bool, bool]) -> None:
    topology = read("name: lab", f"name: lab\nrelease: '{release}'")
    standard, distributed = (Security(False, value, value) for value in accepted)
    assert client(topology, "web1.eth0").security == default_security(release, False) == standard
    assert client(topology, "db1.eth0").security == default_security(release, True) == distributed


@pytest.mark.parametrize(
    ("release", "given", "blocked"),
    [("5.0", "", False), ("7.0", "", False), ("8.0", "", True), ("5.0", "1", True), ("8.0", "0", False)],
    ids=["5.0", "7.0", "8.0", "5.0 set", "8.0 unset"],
)
def test_guest_bpdus_are_blocked_from_8_0_on_or_as_told(release: str, given: str, blocked: bool) -> None:
    knobs = f"knobs: {{block_guest_bpdu: {given}}}\n" if given else ""
    assert read_topology(f"name: a\nrelease: '{release}'\n{knobs}", "f").knobs.block_guest_bpdu is blocked


@pytest.mark.parametrize(
    ("written", "knobs"),
    [
        ("{}", Knobs()),
        ("{reverse_path: 0}", Knobs(reverse_path=False)),
        ("{reverse_path: 1}", Knobs(reverse_path=True)),
        ("{est_guest_tag: pass}", Knobs(est_guest_tag="pass")),
        ("{prio_tag: drop}", Knobs(prio_tag="drop")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_knob_says_what_the_file_says(written: str, knobs: Knobs) -> None:
    assert read_topology(f"name: a\nknobs: {written}\n", "f").knobs == knobs


def test_speed_scale_and_speedup_are_read() -> None:
    topology = read_topology("name: a\nspeed_scale: 1\nclock: {speedup: 2.5}\n", "f")
    assert (topology.speed_scale, topology.speedup) == (1, 2.5)


# -- security: switch -> port group -> port

REJECT_ALL, ACCEPT_ALL = Security(False, False, False), Security(False, True, True)
POLICIES = [
    ("{}", "{}", "", Security(False, True, True)),
    ("{mac_changes: reject}", "{}", "", Security(False, False, True)),
    ("{}", "{mac_changes: reject}", "", Security(False, False, True)),
    ("{}", "{}", "{mac_changes: reject}", Security(False, False, True)),
    ("{mac_changes: reject}", "{mac_changes: accept}", "", Security(False, True, True)),
    ("{mac_changes: reject}", "{forged_transmits: reject}", "", REJECT_ALL),
    ("{forged_transmits: reject, mac_changes: reject}", "{mac_changes: accept}", "{forged_transmits: accept}",
     ACCEPT_ALL),
    ("{mac_changes: reject}", "{mac_changes: accept}", "{mac_changes: reject}", Security(False, False, True)),
    ("{promiscuous: reject}", "{promiscuous: reject}", "{promiscuous: reject}", ACCEPT_ALL),
]  # fmt: skip


@pytest.mark.parametrize(("switch", "port_group", "port", "expected"), POLICIES, ids=range(len(POLICIES)))
def test_the_nearest_security_policy_holds(switch: str, port_group: str, port: str, expected: Security) -> None:
    network = f"[{{port_group: db, security: {port}}}]" if port else "[db]"
    text = BASE.replace("{vlan: 20}", f"{{vlan: 20, security: {port_group}}}")
    text = text.replace("networks: [db]", f"networks: {network}", 1)
    topology = read_topology(text.replace("  dvs0:\n", f"  dvs0:\n    security: {switch}\n"), "f")
    assert client(topology, "db1.eth0").security == expected


@pytest.mark.parametrize(("switch", "port_group", "expected"), [(s, g, e) for s, g, p, e in POLICIES if not p])
def test_a_standard_switch_s_policy_is_inherited(switch: str, port_group: str, expected: Security) -> None:
    text = BASE.replace("{vlan: 10}", f"{{vlan: 10, security: {port_group}}}")
    topology = read_topology(text.replace("vSwitch0:\n", f"vSwitch0:\n        security: {switch}\n"), "f")
    assert client(topology, "web1.eth0").security == expected
    assert client(topology, "esx1.vmk0").security == expected


def test_a_port_s_own_policy_is_its_own_only() -> None:
    topology = read("networks: [db]", "networks: [{port_group: db, security: {mac_changes: reject}}, db]")
    assert client(topology, "db1.eth0").security == Security(False, False, True)
    assert [client(topology, label).security for label in ("db1.eth1", "db2.eth0")] == [ACCEPT_ALL, ACCEPT_ALL]
    assert nic(topology, "db2.eth0").security is None


# -- VLANs

VLANS = [
    ("{}", False, VlanPolicy(Tagging.EST), "EST 0"),
    ("{vlan: 0}", False, VlanPolicy(Tagging.EST), "EST 0"),
    ("{vlan: 1}", False, VlanPolicy(Tagging.VST, 1), "VST 1"),
    ("{vlan: 4094}", False, VlanPolicy(Tagging.VST, 4094), "VST 4094"),
    ("{vlan: 4095}", False, VlanPolicy(Tagging.VGT, ranges=((0, 4094),)), "VGT 0-4094"),
    ("{}", True, VlanPolicy(Tagging.EST), "EST 0"),
    ("{vlan: 010}", True, VlanPolicy(Tagging.VST, 10), "VST 10"),
    ("{vlan: [10]}", True, VlanPolicy(Tagging.VGT, ranges=((10, 10),)), "VGT 10"),
    ("{vlan: [0-4094]}", True, VlanPolicy(Tagging.VGT, ranges=((0, 4094),)), "VGT 0-4094"),
    ("{vlan: [20-29, 10]}", True, VlanPolicy(Tagging.VGT, ranges=((10, 10), (20, 29))), "VGT 10,20-29"),
    ("{vlan: [10, 11, 12]}", True, VlanPolicy(Tagging.VGT, ranges=((10, 12),)), "VGT 10-12"),
    ("{vlan: [10-20, 15-30, 18]}", True, VlanPolicy(Tagging.VGT, ranges=((10, 30),)), "VGT 10-30"),
    ('{vlan: ["0-0"]}', True, VlanPolicy(Tagging.VGT, ranges=((0, 0),)), "VGT 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "distributed", "policy", "text"), VLANS, ids=[f"{'vDS' if d else 'vSS'} {w}" for w, d, *_ in VLANS]
)
def test_who_tags_follows_from_the_port_group_s_vlan(
    written: str, distributed: bool, policy: VlanPolicy, text: str
) -> None:
    assert group(written, distributed).vlan == policy
    assert str(policy) == text


@pytest.mark.parametrize(
    ("policy", "carried", "not_carried"),
    [
        (VlanPolicy(Tagging.EST), (0,), (1, 10, 4094)),
        (VlanPolicy(Tagging.VST, 10), (10,), (0, 9, 11)),
        (VlanPolicy(Tagging.VGT, ranges=((0, 4094),)), (0, 1, 4094), (4095,)),
        (VlanPolicy(Tagging.VGT, ranges=((10, 20), (30, 30))), (10, 15, 20, 30), (0, 9, 21, 29, 31)),
        (VlanPolicy(Tagging.VGT), (), (0, 1)),
    ],
    ids=str,
)
def test_a_policy_carries_its_vlans_and_no_other(
    policy: VlanPolicy, carried: tuple[int, ...], not_carried: tuple[int, ...]
) -> None:
    assert all(policy.carries(vid) for vid in carried)
    assert not any(policy.carries(vid) for vid in not_carried)


PORTS = [
    ("trunk: all", PhysicalPort(None, ALL_VLANS, None), None),
    ("trunk: 10", PhysicalPort(None, ((10, 10),), None), None),
    ("trunk: 20-29", PhysicalPort(None, ((20, 29),), None), None),
    ("trunk: [30, 10, 20-29]", PhysicalPort(None, ((10, 10), (20, 30)), None), None),
    ("trunk: [10], native: 1", PhysicalPort(None, ((10, 10),), 1), 1),
    ("trunk: all, native: 7", PhysicalPort(None, ALL_VLANS, 7), 7),
    ("access: 10", PhysicalPort(10, ALL_VLANS, None), 10),
]


@pytest.mark.parametrize(("written", "port", "untagged"), PORTS, ids=[row[0] for row in PORTS])
def test_a_physical_port_is_the_same_for_pnic_machine_and_cable(
    written: str, port: PhysicalPort, untagged: int | None
) -> None:
    text = f"{HEAD}hosts: {{e: {{uplinks: {{vmnic0: {{switch: tor1, {written}}}}}}}}}\n"
    text += f"machines: {{m: {{switch: tor1, {written}}}}}\ncables: [{{ends: [tor1, tor2], {written}}}]\n"
    topology = read_topology(text, "f")
    assert topology.hosts["e"].pnics["vmnic0"].port == topology.machines["m"].port == topology.cables[0].port == port
    assert port.untagged == untagged


@pytest.mark.parametrize(
    ("port", "carried", "not_carried"),
    [
        (PhysicalPort(access=10), (10,), (1, 11)),
        (PhysicalPort(trunk=((10, 12),)), (10, 11, 12), (9, 13)),
        (PhysicalPort(trunk=((10, 12),), native=1), (1, 10), (2,)),
        (PhysicalPort(), (1, 4094), (0, 4095)),
    ],
    ids=["access", "trunk", "native", "all"],
)
def test_a_physical_port_carries_its_vlans(
    port: PhysicalPort, carried: tuple[int, ...], not_carried: tuple[int, ...]
) -> None:
    assert all(port.carries(vid) for vid in carried)
    assert not any(port.carries(vid) for vid in not_carried)


@given(st.lists(st.tuples(st.integers(0, 4094), st.integers(0, 30)), min_size=1, max_size=8))
def test_ranges_keep_their_vlans_whatever_their_order(found: list[tuple[int, int]]) -> None:
    spans = [(low, min(low + width, 4094)) for low, width in found]
    ranges = group(f"{{vlan: [{', '.join(f'{a}-{b}' for a, b in spans)}]}}", True).vlan.ranges
    assert {v for v in range(4096) if in_ranges(v, ranges)} == {v for a, b in spans for v in range(a, b + 1)}
    assert all(high + 1 < low for (_, high), (low, _) in pairwise(ranges))


# -- teaming

TEAMS = [  # (switch, port group, active, standby)
    ("{}", "{}", (1, 2), ()),
    ("{active: [U1]}", "{}", (1,), ()),
    ("{active: [U2, U1]}", "{}", (2, 1), ()),
    ("{standby: [U2]}", "{}", (1,), (2,)),
    ("{}", "{active: [U2]}", (2,), ()),
    ("{}", "{standby: [U1]}", (2,), (1,)),
    ("{}", "{active: [], standby: [U2, U1]}", (), (2, 1)),
    ("{active: [U1], standby: [U2]}", "{}", (1,), (2,)),
    ("{active: [U1], standby: [U2]}", "{active: [U2]}", (2,), ()),
    ("{active: [U1], standby: [U2]}", "{active: [U2], standby: [U1]}", (2,), (1,)),
    ("{active: [U1], standby: [U2]}", "{standby: []}", (1,), ()),
    ("{active: [U1], standby: [U2]}", "{active: []}", (), (2,)),
]


@pytest.mark.parametrize("distributed", [False, True], ids=["vSS", "vDS"])
@pytest.mark.parametrize(("switch", "port_group", "active", "standby"), TEAMS, ids=[f"{s} {g}" for s, g, *_ in TEAMS])
def test_the_nearest_teaming_holds(
    switch: str, port_group: str, active: tuple[int, ...], standby: tuple[int, ...], distributed: bool
) -> None:
    names = {1: "uplink1", 2: "uplink2"} if distributed else {1: "vmnic0", 2: "vmnic1"}
    at, indent = ("  dvs0:\n", 4) if distributed else ("      vSwitch0:\n", 8)
    of_group = "{vlan: 20}" if distributed else "{vlan: 10}"
    text = BASE.replace(at, f"{at}{' ' * indent}teaming: {switch}\n").replace(of_group, f"{{teaming: {port_group}}}")
    team = next_group(read_topology(text.replace("U1", names[1]).replace("U2", names[2]), "f"), distributed).teaming
    assert (team.active, team.standby) == (tuple(names[n] for n in active), tuple(names[n] for n in standby))


def next_group(topology: Topology, distributed: bool) -> Any:
    return topology.port_group(nic(topology, "db1.eth0" if distributed else "web1.eth0"))


@pytest.mark.parametrize(
    ("switch", "port_group", "failback"),
    [("{}", "{}", True), ("{failback: false}", "{}", False), ("{}", "{failback: false}", False),
     ("{failback: false}", "{failback: true}", True),
     ("{rolling_order: true}", "{}", False), ("{}", "{rolling_order: true}", False),
     ("{failback: false}", "{rolling_order: false}", True), ("{rolling_order: true}", "{failback: true}", True),
     ("{}", "{failback: false, rolling_order: true}", False), ("{}", "{rolling_order: false, failback: true}", True)],
)  # fmt: skip
def test_team_f_2_failback_is_on_unless_told_or_the_order_rolls(switch: str, port_group: str, failback: bool) -> None:
    text = BASE.replace("{vlan: 20}", f"{{teaming: {port_group}}}")
    text = text.replace("dvs0:\n", f"dvs0:\n    teaming: {switch}\n")
    topology = read_topology(text, "f")
    assert client(topology, "db1.eth0").failback is failback
    assert client(topology, "db1.eth0").policy == "loadbalance_srcid"


def test_uplink_n_is_the_nth_pnic_of_each_host() -> None:
    topology = read("{vlan: 20}", "{teaming: {active: [uplink2], standby: [uplink1]}}")
    team = topology.distributed_switches["dvs0"].port_groups["db"].teaming
    assert team == Teaming(active=("uplink2",), standby=("uplink1",))
    assert (client(topology, "db1.eth0").active, client(topology, "db1.eth0").standby) == (("vmnic2",), ("vmnic3",))
    assert (client(topology, "db2.eth0").active, client(topology, "db2.eth0").standby) == ((), ("vmnic5",))


# -- addresses


def test_every_adapter_has_a_mac_of_its_kind() -> None:
    topology = read()
    assert [n.mac for n in topology.vnics] == [f"{VNIC}:00:00:0{n}" for n in (1, 2, 3)]
    assert [n.mac for n in topology.vmknics] == [f"{VMKNIC}:00:01"]
    assert topology.machines["gw"].mac == f"{MACHINE}:00:00:01"
    pnics = [p.mac for host in topology.hosts.values() for p in host.pnics.values()]
    assert pnics == [f"{PNIC}:00:00:0{n}" for n in range(1, 6)]


def test_every_adapter_in_a_vlan_has_an_address_there() -> None:
    topology = read()
    assert [(n.label, n.address) for n in (*topology.vmknics, *topology.vnics)] == [
        ("esx1.vmk0", "10.0.10.1/24"),
        ("web1.eth0", "10.0.10.2/24"),
        ("db1.eth0", "10.0.20.1/24"),
        ("db2.eth0", "10.0.20.2/24"),
    ]
    assert topology.machines["gw"].address == "10.0.10.3/24"


@pytest.mark.parametrize(
    ("vlan", "address"),
    [("0", "10.0.0.1/24"), ("255", "10.0.255.1/24"), ("256", "10.1.0.1/24"), ("4094", "10.15.254.1/24"), ("[20]", "")],
)
def test_a_derived_address_tells_its_vlan(vlan: str, address: str) -> None:
    assert nic(read("{vlan: 20}", f"{{vlan: {vlan}}}"), "db1.eth0").address == address


def test_a_machine_on_a_trunk_has_no_derived_address() -> None:
    assert read("access: 10}", "trunk: [10]}").machines["gw"].address == ""


def test_given_addresses_are_kept_and_passed_over() -> None:
    given = f"{{port_group: db, mac: {VNIC.upper()}:00:00:01, ip: 10.0.20.1/16}}"
    topology = read("networks: [db]}\n  db2", f"networks: [{given}]}}\n  db2")
    assert (nic(topology, "db1.eth0").mac, nic(topology, "db1.eth0").address) == (f"{VNIC}:00:00:01", "10.0.20.1/16")
    assert (nic(topology, "web1.eth0").mac, nic(topology, "db2.eth0").mac) == (f"{VNIC}:00:00:02", f"{VNIC}:00:00:03")
    assert nic(topology, "db2.eth0").address == "10.0.20.2/24"


def test_a_vm_s_ip_is_its_first_vnic_s() -> None:
    topology = read("networks: [db]}\n  db2", "networks: [db, db], ip: 10.9.9.9/24}\n  db2")
    assert [n.address for n in topology.vms["db1"].nics] == ["10.9.9.9/24", "10.0.20.1/24"]


def test_an_ipv6_address_is_kept_in_its_short_form() -> None:
    assert read("access: 10", 'access: 10, ip: "2001:DB8:0::0001/64"').machines["gw"].address == "2001:db8::1/64"


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_derived_addresses_are_the_same_every_time(path: Path) -> None:
    assert read_topology_file(path) == read_topology_file(path)


def all_macs(topology: Topology) -> list[str]:
    pnics = [pnic.mac for host in topology.hosts.values() for pnic in host.pnics.values()]
    nics = [n.mac for n in (*topology.vnics, *topology.vmknics)]
    return [*pnics, *nics, *(machine.mac for machine in topology.machines.values())]


def all_ips(topology: Topology) -> list[str]:
    given = [n.address for n in (*topology.vnics, *topology.vmknics)]
    given += [machine.address for machine in topology.machines.values()]
    return [str(ipaddress.ip_interface(address).ip) for address in given if address]


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_no_address_is_there_twice(path: Path) -> None:
    topology = read_topology_file(path)
    for addresses in (all_macs(topology), all_ips(topology)):
        assert len(addresses) == len(set(addresses)) > 0


@given(
    macs=st.lists(st.integers(0, 8), min_size=6, max_size=6),
    ips=st.lists(st.integers(0, 8), min_size=6, max_size=6),
)
def test_no_derived_address_clashes_with_a_given_one(macs: list[int], ips: list[int]) -> None:
    vms: dict[str, Any] = {}
    for n, (mac, ip) in enumerate(zip(macs, ips, strict=True)):
        network: dict[str, Any] = {"port_group": "db"}
        network |= {"mac": f"{VNIC}:00:00:0{mac}"} if mac and mac not in macs[:n] else {}
        network |= {"ip": f"10.0.20.{ip}/24"} if ip and ip not in ips[:n] else {}
        vms[f"v{n}"] = {"host": "esx1", "networks": [network]}
    topology = read_topology(BASE[: BASE.index("vms:")] + yaml.safe_dump({"vms": vms}), "f")
    assert len(set(all_macs(topology))) == len(all_macs(topology))
    assert len(set(all_ips(topology))) == len(all_ips(topology)) == 7


def test_an_address_book_hands_out_what_is_not_taken() -> None:
    book = Addresses({f"{VNIC}:00:00:02"}, {"10.0.10.1"})
    assert [book.mac(VNIC) for _ in range(3)] == [f"{VNIC}:00:00:0{n}" for n in (1, 3, 4)]
    assert [book.ip(VlanPolicy(Tagging.VST, 10)) for _ in range(2)] == ["10.0.10.2/24", "10.0.10.3/24"]
    assert book.ip(VlanPolicy(Tagging.EST)) == "10.0.0.1/24"
    assert book.ip(VlanPolicy(Tagging.VGT, ranges=((1, 9),))) == ""


def test_a_vlan_has_254_addresses_and_then_none() -> None:
    book = Addresses(set(), set())
    found = [book.ip(VlanPolicy(Tagging.VST, 10)) for _ in range(HOSTS_IN_24 + 2)]
    assert found[HOSTS_IN_24 - 1] == "10.0.10.254/24"
    assert found[HOSTS_IN_24:] == ["", ""]
    assert len(set(found[:HOSTS_IN_24])) == HOSTS_IN_24


def test_a_range_of_macs_ends() -> None:
    book = Addresses(set(), set())
    macs = [book.mac(VMKNIC) for _ in range(256**2 - 2)]
    assert (macs[0], macs[-1]) == (f"{VMKNIC}:00:01", f"{VMKNIC}:ff:fe")
    with pytest.raises(ValueError, match="no address is left in 00:50:56:60"):
        book.mac(VMKNIC)


# -- sites, machines, cables, expectations


@pytest.mark.parametrize(
    ("sites", "site", "expected"),
    [("", "", "site"), ("sites: {a: {}}\n", "", "a"), ("sites: {a: {}}\n", "site: a", "a"),
     ("sites: {a: {}, b: {}}\n", "site: b", "b")],
    ids=["none", "one", "one, said", "two"],
)  # fmt: skip
def test_a_host_and_a_physical_switch_have_a_site(sites: str, site: str, expected: str) -> None:
    topology = read_topology(f"name: a\n{sites}hosts: {{e: {{{site}}}}}\nphysical_switches: {{t: {{{site}}}}}\n", "f")
    assert topology.hosts["e"].site == topology.physical_switches["t"].site == expected
    assert expected in topology.sites


def test_a_machine_is_read_as_it_is_written() -> None:
    machine = read("access: 10}", "trunk: [10, 20], native: 5, ip: 10.1.1.1/24, mac: 00:0C:29:00:00:77, routes: true}")
    assert str(machine.machines["gw"]) == (
        "Machine(name='gw', switch='tor1', port=PhysicalPort(access=None, trunk=((10, 10), (20, 20)), native=5, "
        "channel=None, lacp=None, stretch=None), "
        "mac='00:0c:29:00:00:77', address='10.1.1.1/24', routes=True, more=(), gateway='')"
    )


def test_a_cable_s_ports_bear_the_other_end_s_name() -> None:
    cable = read("machines:", "cables: [{ends: [tor1, tor2]}]\nmachines:").cables[0]
    assert (cable.port_at("tor1"), cable.port_at("tor2")) == ("tor2", "tor1")
    second = Cable(("tor1", "tor2"), PhysicalPort(), 2)
    assert (second.port_at("tor1"), second.port_at("tor2")) == ("tor2#2", "tor1#2")


def test_a_tree_of_cables_is_no_loop() -> None:
    switches = ", ".join(f"t{n}: {{}}" for n in range(7))
    cables = ", ".join(f"{{ends: [t{n}, t{(n - 1) // 2}]}}" for n in range(6, 0, -1))
    assert len(read_topology(f"name: a\nphysical_switches: {{{switches}}}\ncables: [{cables}]\n", "f").cables) == 6


def test_expectations_are_kept_with_their_line() -> None:
    text = BASE + "expect:\n  - {isolate: [web, db]}\n\n  - reach: [web1, esx1.vmk0, db1.eth0, gw]\n"
    last = text.count("\n")
    assert read_topology(text, "f").expect == (
        Expectation("isolate", ("web", "db"), last - 2),
        Expectation("reach", ("web1", "esx1.vmk0", "db1.eth0", "gw"), last),
    )


# -- the model's own answers


def test_a_host_s_part_of_a_switch_has_its_clients_in_order() -> None:
    topology = read()
    assert list(topology.host_switches) == [("esx1", "vSwitch0"), ("esx1", "dvs0"), ("esx2", "dvs0")]
    part = topology.host_switches["esx1", "vSwitch0"]
    assert [(port.number, port.name) for port in part.ports] == [(1, "vmk0"), (2, "web1.eth0")]
    assert (part.uplinks, part.distributed) == (("vmnic0", "vmnic1"), False)
    assert topology.host_switches["esx1", "dvs0"].uplinks == ("vmnic3", "vmnic2")
    assert topology.host_switches["esx2", "dvs0"].distributed is True


def test_a_port_is_found_by_its_name() -> None:
    part: HostSwitch = read().host_switches["esx1", "vSwitch0"]
    assert [part.port_of(name).nic.owner for name in ("vmk0", "web1.eth0")] == ["esx1", "web1"]


@pytest.mark.parametrize(
    ("label", "is_vmk", "port", "node"),
    [("web1.eth0", False, "web1.eth0", "web1"), ("esx1.vmk0", True, "vmk0", "esx1-vmk")],
)
def test_an_adapter_knows_its_port_and_its_node(label: str, is_vmk: bool, port: str, node: str) -> None:
    found = nic(read(), label)
    assert (found.is_vmk, found.port, found.node, found.label) == (is_vmk, port, node, label)


def test_a_port_group_is_found_from_its_adapter() -> None:
    topology = read()
    assert topology.port_group(nic(topology, "web1.eth0")).label == "vSwitch0/web"
    assert topology.port_group(nic(topology, "db2.eth0")).label == "dvs0/db"


def test_two_hosts_may_have_a_standard_switch_and_port_group_of_one_name() -> None:
    switch = "{vSwitch0: {port_groups: {web: {vlan: 30}}}}"
    vmkernel = "{vmk0: {port_group: web}}"
    topology = read("  esx2:\n", f"  esx2:\n    standard_switches: {switch}\n    vmkernel: {vmkernel}\n")
    assert [client(topology, f"{host}.vmk0").vlan.vlan for host in ("esx1", "esx2")] == [10, 30]


def test_a_pnic_s_far_port_is_named_after_host_and_pnic() -> None:
    pnic = read().hosts["esx2"].pnics["vmnic5"]
    assert (pnic.far_port, pnic.switch, pnic.host) == ("esx2-vmnic5", "tor2", "esx2")


def test_what_the_file_says_of_a_vnic_is_kept() -> None:
    topology = read("networks: [db]", "networks: [{port_group: db, connected: false, blocked: true}]")
    assert (nic(topology, "db1.eth0").connected, nic(topology, "db1.eth0").blocked) == (False, True)
    assert (nic(topology, "db2.eth0").connected, nic(topology, "db2.eth0").blocked) == (True, False)


def test_what_the_file_says_of_a_vmknic_and_a_pnic_is_kept() -> None:
    topology = read("{port_group: web}", "{port_group: web, services: [vmotion, nfs], ip: 10.5.5.5/24}")
    assert topology.vmknics[0].services == ("vmotion", "nfs")
    assert topology.vmknics[0].address == "10.5.5.5/24"
    assert read("{switch: tor1}", "{switch: tor1, speed: 1G}").hosts["esx1"].pnics["vmnic0"].speed == Rate(10**9)


def test_a_topology_cannot_be_changed() -> None:
    topology = read()
    with pytest.raises(TypeError):
        topology.hosts["esx3"] = topology.hosts["esx1"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        topology.name = "other"  # type: ignore[misc]


# -- warnings

ONE_SWITCH = """\
name: lab
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: tor1, PORT}
    standard_switches:
      vSwitch0:
        uplinks: [vmnic0]
        port_groups:
          web: {vlan: VLAN}
vms:
  web1: {host: esx1, networks: [web]}
"""

WARNED = [
    ("trunk: [10]", "10", ""),
    ("trunk: all", "10", ""),
    ("trunk: [11-20]", "10", "VLAN 10 is not in the trunk's list, frames are lost (VLAN-13)"),
    ("trunk: [10], native: 10", "10", "VLAN 10 is the trunk's native VLAN, so traffic goes one way only (VLAN-12)"),
    ("trunk: [10], native: 1", "10", ""),
    ("access: 10", "10", "VLAN 10 is sent tagged to an access port (VLAN-16)"),
    ("access: 11", "10", "VLAN 10 is sent tagged to an access port (VLAN-16)"),
    ("trunk: all", "0", "VLAN 0 sends untagged, and there is no native VLAN (VLAN-16)"),
    ("trunk: all, native: 1", "0", ""),
    ("access: 10", "0", ""),
    ("trunk: [10]", "4095", ""),
]


@pytest.mark.parametrize(("port", "vlan", "why"), WARNED, ids=[f"{port} VLAN {vlan}" for port, vlan, _ in WARNED])
def test_a_port_group_that_its_trunk_does_not_carry_is_warned_of(port: str, vlan: str, why: str) -> None:
    topology = read_topology(ONE_SWITCH.replace("PORT", port).replace("VLAN", vlan), "f")
    assert warnings(topology) == ((f"vSwitch0/web: {why} at esx1:vmnic0",) if why else ())


def test_a_trunk_is_warned_of_once_however_many_vms_use_it() -> None:
    text = ONE_SWITCH.replace("PORT", "trunk: [11]").replace("VLAN", "10")
    assert len(warnings(read_topology(text + "  web2: {host: esx1, networks: [web, web]}\n", "f"))) == 1


def test_a_standby_uplink_is_looked_at_and_an_unused_one_is_not() -> None:
    text = ONE_SWITCH.replace("PORT", "trunk: [10]").replace("uplinks: [vmnic0]", "uplinks: [vmnic0, vmnic1]")
    text = text.replace("    standard", "      vmnic1: {switch: tor1, trunk: [11]}\n    standard").replace(
        "VLAN", "10, teaming: {active: [vmnic0], standby: [vmnic1]}"
    )
    assert warnings(read_topology(text, "f")) == (
        "vSwitch0/web: VLAN 10 is not in the trunk's list, frames are lost (VLAN-13) at esx1:vmnic1, unlike vmnic0: "
        "that cuts off web1.eth0 after a failover to it (ATK-15)",
    )
    assert warnings(read_topology(text.replace("standby: [vmnic1]", "standby: []"), "f")) == ()


def test_a_pnic_that_no_switch_uses_is_warned_of() -> None:
    text = ONE_SWITCH.replace("PORT", "trunk: [10]").replace("VLAN", "10")
    assert warnings(read_topology(text.replace("uplinks: [vmnic0]", "uplinks: []"), "f")) == (
        "esx1:vmnic0 is no switch's uplink",
    )


@pytest.mark.parametrize(("vms", "without"), [(254, 0), (255, 1), (257, 3)])
def test_the_255th_adapter_of_a_vlan_is_warned_of(vms: int, without: int) -> None:
    text = ONE_SWITCH.replace("PORT", "trunk: [10]").replace("VLAN", "10")
    text += "".join(f"  v{n}: {{host: esx1, networks: [web]}}\n" for n in range(1, vms))
    found = warnings(read_topology(text, "f"))
    assert [w.split(" has no address")[0] for w in found] == [f"v{n}.eth0" for n in range(254, 254 + without)]


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_a_shipped_topology_has_nothing_to_be_warned_of(path: Path) -> None:
    assert warnings(read_topology_file(path)) == ()
