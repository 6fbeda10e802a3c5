"""Which moves of VMs are refused, which numbers ports get, and what an edit of a VM's host changes."""

from __future__ import annotations

import pytest

from lab.errors import TopologyError, UsageError
from lab.model import Topology
from lab.plan import compile_plan
from lab.realise.difference import Move, moves_between
from lab.teaming import initial_state
from lab.topology import read_topology
from lab.topology.edit import Edition, first_edition
from lab.topology.migration import differences, refusals

FILE = """
name: moving
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks: {vmnic0: {switch: tor1}}
    standard_switches:
      vSwitch0: {port_groups: {vMotion: {vlan: 6}, old: {vlan: 60}, only: {vlan: 61}}}
    vmkernel: {vmk1: {port_group: vMotion, services: [vmotion]}}
  esx2:
    uplinks: {vmnic0: {switch: tor1}}
    standard_switches: {vSwitch0: {port_groups: {vMotion: {vlan: 6}, old: {vlan: 66}}}}
    vmkernel: {vmk1: {port_group: vMotion, services: [vmotion]}}
  esx3: {uplinks: {vmnic0: {switch: tor1}}}
distributed_switches:
  dvs0: {uplinks: {esx1: [vmnic0], esx2: [vmnic0]}, port_groups: {web: {vlan: 10}, only: {vlan: 11}}}
vms:
  a: {host: esx1, networks: [web]}
  b: {host: esx1, networks: [web]}
  c: {host: esx1, networks: [web]}
  d: {host: esx2, networks: [web]}
  old: {host: esx1, networks: [old]}
  only: {host: esx1, networks: [vSwitch0/only]}
"""


def edition() -> Edition:
    return first_edition(FILE, "moving.yaml")


def after(*moves: tuple[str, str]) -> Topology:
    now = edition()
    for vm, host in moves:
        now = now.with_edits([(("vms", vm, "host"), host)])
    return now.topology


def numbers(topology: Topology, host: str) -> dict[str, int]:
    return {port.nic.owner: port.number for port in topology.host_switches[host, "dvs0"].ports}


@pytest.mark.parametrize(
    ("moves", "esx1", "esx2"),
    [
        ((), {"a": 1, "b": 2, "c": 3}, {"d": 1}),
        ((("a", "esx2"),), {"b": 2, "c": 3}, {"d": 1, "a": 2}),
        ((("a", "esx2"), ("d", "esx1")), {"b": 2, "c": 3, "d": 1}, {"a": 2}),
        ((("a", "esx2"), ("b", "esx2"), ("a", "esx1")), {"a": 1, "c": 3}, {"d": 1, "b": 3}),
    ],
)
def test_ports_that_stay_keep_their_numbers_and_one_that_comes_has_the_lowest_free(
    moves: tuple[tuple[str, str], ...], esx1: dict[str, int], esx2: dict[str, int]
) -> None:
    topology = after(*moves)
    assert (numbers(topology, "esx1"), numbers(topology, "esx2")) == (esx1, esx2)


def test_a_vm_that_is_back_leaves_no_trace() -> None:
    assert after(("a", "esx2"), ("a", "esx1")) == edition().topology


def test_a_vm_that_moves_keeps_mac_and_address() -> None:
    before, moved = edition().topology.vms["a"].nics[0], after(("a", "esx2")).vms["a"].nics[0]
    assert (moved.host, moved.mac, moved.address) == ("esx2", before.mac, before.address)


def test_a_move_is_one_cable_that_leads_to_another_box() -> None:
    plans = [compile_plan(t, initial_state(t)) for t in (edition().topology, after(("a", "esx2")))]
    assert moves_between(*plans) == (Move(("a", "eth0"), "a.eth0", "esx1", "esx2"),)
    assert moves_between(plans[0], plans[0]) == ()


def test_more_than_a_move_is_refused() -> None:
    other = read_topology(FILE.replace("esx3: {uplinks", "esx4: {uplinks"), "other.yaml")
    plans = [compile_plan(t, initial_state(t)) for t in (edition().topology, other)]
    with pytest.raises(UsageError):
        moves_between(*plans)


@pytest.mark.parametrize(
    ("vm", "host", "why"),
    [
        ("a", "esx1", ("a is on esx1 already",)),
        (
            "a",
            "esx3",
            (
                "esx3 has no vmkernel adapter with an address and the service vmotion",
                "a.eth0: esx3 is no member of dvs0, where its port group 'web' is",
            ),
        ),
        ("a", "esx2", ()),
        ("old", "esx2", ()),
        (
            "only",
            "esx2",
            (
                "only.eth0: no standard switch of esx2 has a port group 'only'; that of dvs0, a distributed switch, "
                "does not take its port over",
            ),
        ),
    ],
)
def test_every_reason_for_which_a_move_is_refused(vm: str, host: str, why: tuple[str, ...]) -> None:
    assert refusals(edition().topology, vm, host) == why


def test_a_port_group_in_another_vlan_is_told_and_one_in_the_same_is_not() -> None:
    assert differences(edition().topology, "old", "esx2") == ("old.eth0: 'old' is VST 60 on esx1 and VST 66 on esx2",)
    assert differences(edition().topology, "a", "esx2") == ()


@pytest.mark.parametrize(
    ("release", "knob", "result"),
    [
        ("6.0", "", "off"),
        ("6.5", "", "opportunistic"),
        ("6.5", "vmotion_encrypt: off", "off"),
        ("8.0", "vmotion_encrypt: required", "required"),
    ],
)
def test_vmk_1_the_release_says_whether_vmotion_is_encrypted(release: str, knob: str, result: str) -> None:
    text = f'release: "{release}"\nknobs: {{{knob}}}\n{FILE}'
    assert read_topology(text, "x.yaml").knobs.vmotion_encrypt == result


def test_vmk_1_a_release_without_encrypted_vmotion_refuses_it() -> None:
    with pytest.raises(Exception, match="has no encrypted vMotion"):
        read_topology(f"release: 6.0\nknobs: {{vmotion_encrypt: required}}\n{FILE}", "x.yaml")


@pytest.mark.parametrize("size", ["0", "1500", "2GB", "1.5MB", "much"])
def test_a_memory_that_no_vm_has_here_is_refused(size: str) -> None:
    with pytest.raises(Exception, match="memory"):
        read_topology(FILE.replace("a: {host: esx1,", f"a: {{host: esx1, memory: {size},"), "x.yaml")


# -- devices and free ports


def with_words(before: str, after: str) -> Topology:
    assert before in FILE
    return read_topology(FILE.replace(before, after, 1), "moving.yaml")


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        ("usb", "a: a USB device that is not enabled for vMotion is attached to it (VMO-11)"),
        ("physical_serial", "a: a physical serial port of its host is attached to it (VMO-11)"),
        ("physical_parallel", "a: a physical parallel port of its host is attached to it (VMO-11)"),
        ("network_serial, usb_vmotion", "a: it has a network serial port without a proxy (VMO-11)"),
        ("passthrough", "a: a PCI device of its host is passed through to it (K)"),
        ("proxied_serial, usb_vmotion", ""),
    ],
)
def test_vmo_11_what_is_attached_decides_whether_a_vm_moves(devices: str, why: str) -> None:
    topology = with_words("a: {host: esx1,", f"a: {{host: esx1, devices: [{devices}],")
    assert refusals(topology, "a", "esx2") == ((why,) if why else ())


OLD_HERE = "{port_groups: {vMotion: {vlan: 6}, old: {vlan: 60}"
OLD_THERE = "{port_groups: {vMotion: {vlan: 6}, old: {vlan: 66}"


def with_ports(before: str, ports: int) -> Topology:
    return with_words(before, before.replace("{port_groups", f"{{ports: {ports}, port_groups"))


@pytest.mark.parametrize(("ports", "why"), [(2, ()), (1, ("vSwitch0 on esx2 has no free port, and 1 more is needed",))])
def test_a_switch_that_is_full_takes_no_vm(ports: int, why: tuple[str, ...]) -> None:
    assert refusals(with_ports(OLD_THERE, ports), "old", "esx2") == why


def test_a_switch_with_more_clients_than_ports_is_a_mistake() -> None:
    with pytest.raises(TopologyError) as wrong:
        with_ports(OLD_HERE, 2)
    assert [m.what for m in wrong.value.mistakes] == [
        "3 ports are taken by uplinks, vmkernel adapters and vNICs, and there are 2"
    ]


def test_a_namesake_in_another_private_vlan_is_no_substitute() -> None:
    text = FILE.replace(
        "port_groups: {web: {vlan: 10}", "pvlans: {100: {101: isolated}}, port_groups: {web: {pvlan: 101}"
    )
    text = text.replace(
        "esx3: {uplinks: {vmnic0: {switch: tor1}}}",
        """esx3:
    uplinks: {vmnic0: {switch: tor1}}
    standard_switches: {vSwitch0: {port_groups: {web: {vlan: 20}, vMotion: {vlan: 6}}}}
    vmkernel: {vmk1: {port_group: vMotion, services: [vmotion]}}""",
    )
    assert refusals(read_topology(text, "moving.yaml"), "a", "esx3") == (
        "a.eth0: esx3 is no member of dvs0, where its port group 'web' is; vSwitch0/web there is another, "
        "and is VST 20 where this is PVLAN 100/101 isolated",
    )
