"""Attacks from inside a guest, each with what stops it, on the topology that the project brings along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import RunningLab
from lab.frame import DropReason, Point
from lab.report.where import Answer

vlab_topology = str(Path(__file__).resolve().parents[2] / "topologies" / "attacks.yaml")

OUT = (Point.VNIC_OUT, Point.VMK_OUT, Point.NIC_RX)


def asked(lab: RunningLab, sender: str, to: str, **how: object) -> Answer:
    """Once, and as predicted."""
    answer = lab.where(sender, to, count=1, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    return answer


def receivers(answer: Answer) -> set[str]:
    """The last part of a vmknic's interface is its name: a VM's port is called after the VM."""
    return {
        h.interface if h.point is Point.VMK_OUT else h.node for t in answer.trails for h in t.hops if h.point in OUT
    }


def points(answer: Answer) -> set[Point]:
    return {hop.point for trail in answer.trails for hop in trail.hops}


def reason(answer: Answer) -> DropReason | None:
    return answer.ending.reason if answer.ending else None


@contextmanager
def mac_of(lab: RunningLab, guest: str, victim: str) -> Iterator[str]:
    """The guest's adapter has the victim's MAC meanwhile."""
    stolen = lab.vm(victim).mac
    lab.exec(guest, "ip", "link", "set", "eth0", "address", stolen)
    try:
        yield stolen
    finally:
        lab.exec(guest, "ip", "link", "set", "eth0", "address", lab.vm(guest).mac)


@pytest.fixture(autouse=True)
def pswitches_know_everybody(vlab: RunningLab) -> None:
    for name in ("web1", "web2", "db1", "db2", "thief", "locked", "rogue", "old1", "gw", "esx1.vmk0"):
        vlab.send(name, name, dst_mac="broadcast")


def test_atk_1_a_double_tag_gets_nowhere_from_a_vlan_port(vlab: RunningLab) -> None:
    answer = asked(vlab, "web1", "db2", vlans=(10, 20), dst_mac="broadcast")
    assert reason(answer) is DropReason.DOUBLE_TAG
    assert not points(answer) & {Point.UPLINK_SND, *OUT}


def test_atk_1b_from_a_trunk_it_hops_and_nothing_comes_back(vlab: RunningLab) -> None:
    hop = asked(vlab, "hopper", "db2", vlans=(10, 20), dst_mac="broadcast")
    assert "db2" in receivers(hop)
    assert "db2" not in receivers(asked(vlab, "hopper", "db2", vlans=(10, 30), dst_mac="broadcast"))
    back = asked(vlab, "db2", "hopper", dst_mac="broadcast")
    tags = {tuple(t.vid for t in h.vlans) for x in back.trails for h in x.hops if h.node == "hopper"}
    assert tags <= {(20,)}, "an answer would have to come double-tagged"


def test_atk_1b_it_hops_from_a_range_that_has_the_native_vlan(vlab: RunningLab) -> None:
    hop = asked(vlab, "range1", "db2", vlans=(10, 20), dst_mac="broadcast")
    assert "db2" in receivers(hop)
    assert receivers(asked(vlab, "range1", "db2", vlans=(20,), dst_mac="broadcast")) == set()


def test_atk_1b_a_tag_that_is_no_native_vlan_stays_on(vlab: RunningLab) -> None:
    answer = asked(vlab, "hopper", "db2", vlans=(20, 10), dst_mac="broadcast")
    assert "web2" not in receivers(answer)


def test_atk_2_untagged_is_the_native_vlan_both_ways(vlab: RunningLab) -> None:
    assert asked(vlab, "old1", "gw").disposition == "delivered"
    assert asked(vlab, "gw", "old1").disposition == "delivered"


def test_atk_2_vlan_12_with_the_native_vlan_s_tag_it_sends_and_does_not_receive(vlab: RunningLab) -> None:
    vlab.set("port-group vSwitch1/untagged", vlan=10)
    try:
        assert asked(vlab, "old1", "gw").disposition == "delivered"
        assert asked(vlab, "gw", "old1").disposition != "delivered"
    finally:
        vlab.set("port-group vSwitch1/untagged", vlan=0)
    assert asked(vlab, "gw", "old1").disposition == "delivered"


def test_atk_6_a_stolen_mac_takes_the_traffic_until_its_owner_sends(vlab: RunningLab) -> None:
    with mac_of(vlab, "thief", "web2") as stolen:
        assert asked(vlab, "thief", "gw", src_mac=stolen).disposition == "delivered"
        assert receivers(asked(vlab, "gw", "web2")) == {"thief"}
        assert asked(vlab, "web2", "gw").disposition == "delivered"
        assert receivers(asked(vlab, "gw", "web2")) == {"web2"}


def test_atk_6_where_policy_rejects_nothing_is_gained(vlab: RunningLab) -> None:
    with mac_of(vlab, "locked", "web2") as stolen:
        assert reason(asked(vlab, "locked", "gw", src_mac=stolen)) is DropReason.FORGED_TRANSMIT
        assert receivers(asked(vlab, "gw", "web2")) == {"web2"}
        assert "locked" not in receivers(asked(vlab, "gw", "web2", dst_mac="broadcast"))
    assert "locked" in receivers(asked(vlab, "gw", "web2", dst_mac="broadcast"))


def test_atk_9_a_rogue_server_next_door_hears_a_discover_and_answers_without_the_wire(vlab: RunningLab) -> None:
    discover = asked(vlab, "web1", "gw", dst_mac="broadcast")
    assert {"rogue", "web2", "gw"} <= receivers(discover)
    rogue, honest = asked(vlab, "rogue", "web1"), asked(vlab, "gw", "web1")
    assert receivers(rogue) == receivers(honest) == {"web1"}
    assert not points(rogue) & {Point.UPLINK_SND, Point.UPLINK_RCV, Point.PSWITCH_RCV}
    assert Point.PSWITCH_RCV in points(honest)


@pytest.mark.parametrize(("vid", "victim"), [(10, "web2"), (20, "db2")])
def test_atk_11_a_vm_in_vlan_4095_sends_and_receives_in_every_vlan(vlab: RunningLab, vid: int, victim: str) -> None:
    assert receivers(asked(vlab, "hopper", victim, vlans=(vid,))) == {victim}
    assert "hopper" in receivers(asked(vlab, victim, "hopper", dst_mac="broadcast"))


def test_atk_11_a_trunk_range_restricts_it(vlab: RunningLab) -> None:
    assert receivers(asked(vlab, "range1", "web2", vlans=(10,))) == {"web2"}
    assert receivers(asked(vlab, "range1", "db2", vlans=(20,))) == set()
    assert "range1" not in receivers(asked(vlab, "db2", "range1", dst_mac="broadcast"))


@pytest.mark.parametrize("how", [{}, {"kind": "tcp"}, {"kind": "arp", "dst_mac": "broadcast"}])
def test_atk_12_a_vm_in_the_management_vlan_reaches_the_host(vlab: RunningLab, how: dict[str, object]) -> None:
    assert "vmk0" in receivers(asked(vlab, "web1", "esx1.vmk0", **how))
    vlab.set("port-group dvs0/Management Network", vlan=20)
    try:
        assert "vmk0" not in receivers(asked(vlab, "web1", "esx1.vmk0", **how))
    finally:
        vlab.set("port-group dvs0/Management Network", vlan=10)
