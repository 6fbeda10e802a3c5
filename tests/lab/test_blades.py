"""A chassis with real frames: what its modules switch, drop and take down, and who sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import RunningLab
from lab.errors import UsageError
from lab.frame import BROADCAST, DropReason
from lab.model import PortKey
from lab.realise.run import wait_until
from lab.report.where import Answer

vlab_topology = "chassis.yaml"


def asked(lab: RunningLab, sender: str, to: str, **how: object) -> Answer:
    answer = lab.where(sender, to, count=1, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    return answer


def boxes(answer: Answer) -> set[str]:
    return {hop.box for trail in answer.trails for hop in trail.hops if hop.evidence == "wire"}


def ports(answer: Answer, box: str) -> set[str]:
    return {hop.interface for trail in answer.trails for hop in trail.hops if hop.box == box}


def dark(lab: RunningLab) -> frozenset[PortKey]:
    return lab.client.state().links_down


@contextmanager
def cut(lab: RunningLab, *ends: str) -> Iterator[None]:
    """The cables in these ports are pulled, and plugged in again."""
    down = []
    try:
        for end in ends:
            down.append(end)
            lab.link(end, up=False)
        yield
    finally:
        for end in reversed(down):
            lab.link(end, up=True)
        wait_until(lambda: not dark(lab), f"all up: {sorted(dark(lab))}", 10)


def test_pvn_7_blade_to_blade_stays_in_the_chassis(vlab: RunningLab) -> None:
    asked(vlab, "web2", "web1")
    inside = asked(vlab, "web1", "web2")
    assert inside.disposition == "delivered" and boxes(inside) == {"blade1", "bay1", "blade2"}
    outside = asked(vlab, "web1", "gw")
    assert outside.disposition == "delivered" and "tor1" in boxes(outside)


def test_pvn_6_one_uplink_carries_a_network_and_the_other_stands_by(vlab: RunningLab) -> None:
    assert ports(asked(vlab, "web1", "gw"), "bay1") >= {"X1"}
    assert ports(asked(vlab, "db1", "store"), "bay1") >= {"X2"}
    back = asked(vlab, "gw", "web1", dst_mac=BROADCAST)
    drops = {(hop.box, hop.interface) for hop in back.predicted if hop.reason is DropReason.MODULE_STANDBY}
    assert drops == {("bay1", "X2")}


def test_pvn_6_the_other_uplink_takes_over(vlab: RunningLab) -> None:
    with cut(vlab, "bay1:X1"):
        over = asked(vlab, "web1", "gw")
        assert over.disposition == "delivered" and "X2" in ports(over, "bay1")
    again = asked(vlab, "web1", "gw")
    assert again.disposition == "delivered" and "X1" in ports(again, "bay1")


def test_pvn_10_a_mapped_module_drops_what_it_does_not_know(vlab: RunningLab) -> None:
    lost = asked(vlab, "lost1", "lost2")
    assert lost.disposition == "dropped"
    assert {trail.hops[-1].reason for trail in lost.trails} == {DropReason.PSWITCH_VLAN}
    assert asked(vlab, "web1", "web2").disposition == "delivered"


@pytest.mark.parametrize("vlans", [(), (99,)])
def test_pvn_10_a_tunnelled_module_passes_every_tag(vlab: RunningLab, vlans: tuple[int, ...]) -> None:
    passed = asked(vlab, "tun1", "tun2", vlans=vlans)
    assert passed.disposition == "delivered" and "bay2" in boxes(passed)


def test_pvn_4_a_cut_cable_takes_all_pvnics_of_its_port(vlab: RunningLab) -> None:
    with cut(vlab, "blade1:vmnic1"):
        assert {port for box, port in dark(vlab) if box == "blade1"} == {"vmnic0", "vmnic1"}
        assert asked(vlab, "db1", "db2").disposition == "dropped"
        assert vlab.client.state().uplink_of["blade1", "web1.eth0"] == "vmnic2"
    assert asked(vlab, "db1", "db2").disposition == "delivered"


def test_pvn_5_a_vlan_of_another_pvnic_of_the_port_is_refused(vlab: RunningLab) -> None:
    with pytest.raises(UsageError, match="PVN-5"):
        vlab.set("pnic blade1:vmnic1", "networks=[back, prod]")
    vlab.set("pnic blade1:vmnic1", "networks=[back]")


def test_pvn_9_smart_link_takes_a_pvnic_down_with_its_last_uplink(vlab: RunningLab) -> None:
    with cut(vlab, "bay1:X1", "bay1:X2"):
        wait_until(lambda: ("blade1", "vmnic0") in dark(vlab), "SmartLink", 5)
        assert ("blade1", "vmnic1") not in dark(vlab)  # back has no SmartLink
        assert asked(vlab, "db1", "db2").disposition == "delivered"
        with pytest.raises(UsageError, match="SmartLink"):
            vlab.link("blade1:vmnic0", up=True)
    assert asked(vlab, "web1", "web2").disposition == "delivered"


def test_pvn_9_without_dcc_the_whole_port_goes_down(vlab: RunningLab) -> None:
    vlab.set("module bay1", "dcc=false")
    try:
        with cut(vlab, "bay1:X1", "bay1:X2"):
            wait_until(lambda: {("blade1", "vmnic0"), ("blade1", "vmnic1")} <= dark(vlab), "SmartLink", 5)
    finally:
        vlab.set("module bay1", "dcc=true")


def test_pvn_11_the_chassis_sees_what_passes_below_the_hypervisors(vlab: RunningLab) -> None:
    answer = asked(vlab, "web1", "web2")
    seen = {(hop.box, hop.interface) for trail in answer.trails for hop in trail.hops if hop.evidence == "wire"}
    assert {("bay1", "blade1-vmnic0"), ("bay1", "blade2-vmnic0")} <= seen
    assert {entry.node: entry.statements for entry in answer.could_see}["bay1"] == ("PVN-11",)


def test_every_pair_of_the_chassis_is_as_foretold(vlab: RunningLab) -> None:
    report = vlab.verify()
    assert report.ok and report.pairs > 50, report.differ[:3]


@contextmanager
def bridged(lab: RunningLab, vm: str, *nics: str) -> Iterator[None]:
    """A guest that forwards frames between its adapters."""
    words = ["ip link add br0 type bridge", "ip link set br0 up", *(f"ip link set {nic} master br0" for nic in nics)]
    lab.exec(vm, "sh", "-ec", "\n".join(words))
    try:
        yield
    finally:
        lab.exec(vm, "ip", "link", "del", "br0")


def test_pvn_8_a_port_to_a_blade_that_loops_is_disabled(vlab: RunningLab) -> None:
    """The guest bridges two VLANs of one pvNIC; the module's own frame comes back. Without the bridge none does."""
    place = "bay1:blade1-vmnic0"
    assert place not in disabled(vlab)
    with bridged(vlab, "bridge1", "eth0", "eth1"):
        wait_until(lambda: place in disabled(vlab), "loop protection", 10)
        assert disabled(vlab) == [place]
    vlab.link(place, up=True)
    wait_until(lambda: not dark(vlab), "up again", 10)


def disabled(lab: RunningLab) -> list[object]:
    return [event["port"] for event in lab.client.ask("events") if event["event"] == "err-disabled"]
