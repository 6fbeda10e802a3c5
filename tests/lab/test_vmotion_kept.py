"""What goes with a VM that moves, what stays, and what keeps it where it is (VMO-7, VMO-10, VMO-11)."""

from __future__ import annotations

import pytest

from lab import RunningLab
from lab.answers.top import sample
from lab.errors import SystemRefused, UsageError
from lab.realise.run import wait_until

vlab_topology = "kernels.yaml"

FRAMES = 50


def counted(lab: RunningLab, vm: str) -> int:
    """Frames that the port of this VM has taken from it."""
    host = lab.client.topology.vms[vm].host
    return sample(lab.client, [host]).readings[host].counts[f"{vm}.eth0"].rx_packets


@pytest.mark.parametrize(("vm", "kept"), [("dv1", True), ("old1", False)], ids=["distributed", "standard"])
def test_vmo_7_a_distributed_port_moves_with_its_counters_and_a_standard_one_is_new(
    vlab: RunningLab, vm: str, kept: bool
) -> None:
    vlab.send(vm, dst_mac="broadcast", kind="raw", count=FRAMES)
    wait_until(lambda: counted(vlab, vm) >= FRAMES, "the counters")
    number = {p.name: p.number for s in vlab.client.topology.host_switches.values() for p in s.ports}[f"{vm}.eth0"]
    vlab.vmotion(vm, "esx2")
    there = counted(vlab, vm)
    vlab.send(vm, dst_mac="broadcast", kind="raw", count=FRAMES)
    wait_until(lambda: counted(vlab, vm) >= there + FRAMES, "the counters there")
    vlab.vmotion(vm, "esx1")
    assert (there >= FRAMES) == kept and number > 0


def test_vmo_10_from_4_ms_on_vmotion_is_latency_aware_and_without_an_answer_it_ends(vlab: RunningLab) -> None:
    report = vlab.vmotion("dv1", "esx2", watch=False)
    assert report.done["latency_aware"] and vlab.client.topology.vms["dv1"].host == "esx2"
    vlab.client.ask("cut", stretch="dci", up=False)
    with pytest.raises(SystemRefused, match="no connection from"):
        vlab.vmotion("dv1", "esx1", watch=False)
    vlab.client.ask("cut", stretch="dci", up=True)
    assert vlab.client.topology.vms["dv1"].host == "esx2"
    vlab.vmotion("dv1", "esx1", watch=False)


@pytest.mark.parametrize(
    ("vm", "why"),
    [
        ("usb1", r"usb1: a USB device that is not enabled for vMotion is attached to it \(VMO-11\)"),
        ("web1", "no standard switch of esx2 has a port group 'web'"),
    ],
)
def test_vmo_11_a_vm_with_a_device_that_stays_is_not_moved(vlab: RunningLab, vm: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        vlab.vmotion(vm, "esx2")
    assert vlab.client.topology.vms[vm].host == "esx1"
    assert vlab.vmotion("dv1", "esx2", watch=False).done["target"] == "esx2"  # the way is free
    vlab.vmotion("dv1", "esx1", watch=False)


def test_a_switch_without_a_free_port_takes_no_vm(vlab: RunningLab) -> None:
    vlab.vmotion("old1", "esx2", watch=False)
    with pytest.raises(UsageError, match="vSwitch0 on esx2 has no free port, and 1 more is needed"):
        vlab.vmotion("old2", "esx2", watch=False)
    vlab.vmotion("old1", "esx1", watch=False)
    assert vlab.vmotion("old2", "esx2", watch=False).done["target"] == "esx2"
    vlab.vmotion("old2", "esx1", watch=False)


def test_a_private_vlan_that_the_other_hosts_pswitch_lacks_is_warned_of(vlab: RunningLab) -> None:
    told = vlab.vmotion("dmz1", "esx2", watch=False).done["warnings"]
    assert any("VLAN 101 is not in the trunk's list" in line and "esx2:vmnic1" in line for line in told), told
    assert not vlab.vmotion("dmz1", "esx1", watch=False).done["warnings"]
