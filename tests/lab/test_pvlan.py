"""Private VLANs with real frames, over two hosts and two pSwitches of which one knows private VLANs."""

from __future__ import annotations

import pytest

from lab import RunningLab
from lab.frame import DropReason, Point
from lab.report.where import Answer

vlab_topology = "pvlan.yaml"

VMS = ("iso1", "iso2", "iso3", "shop1", "shop2", "shop3", "park1", "park3", "gate1", "gate3")


def kind(vm: str) -> str:
    return vm.rstrip("0123456789")


def may(sender: str, receiver: str) -> bool:
    """What a private VLAN is for."""
    return "gate" in (kind(sender), kind(receiver)) or (kind(sender) == kind(receiver) != "iso")


def receivers(answer: Answer) -> set[str]:
    return {h.node for t in answer.trails for h in t.hops if h.point in (Point.VNIC_OUT, Point.NIC_RX)}


def sent_by(answer: Answer, switch: str) -> set[str]:
    """Ports of a pSwitch that it left by."""
    hops = [h for t in answer.trails for h in t.hops if h.point is Point.PSWITCH_SND and h.box == switch]
    return {h.interface for h in hops}


def tags_at(answer: Answer, point: Point, box: str) -> set[tuple[int, ...]]:
    return {tuple(t.vid for t in h.vlans) for x in answer.trails for h in x.hops if h.point is point and h.box == box}


def refusal(answer: Answer) -> DropReason | None:
    return answer.ending.reason if answer.ending else None


# Statement, sender, receivers that must get it, receivers that must not and why.
RULES = [
    pytest.param("gate1", ("iso1", "shop1", "park3", "gate3", "iso3"), (), id="pvl_1 promiscuous to all"),
    pytest.param("iso1", ("gate1", "gate3"), ("iso2", "iso3"), id="pvl_2 isolated to isolated"),
    pytest.param("iso1", ("gate1",), ("shop1", "park3"), id="pvl_3 isolated to community"),
    pytest.param("shop1", ("gate3",), ("iso1", "iso3"), id="pvl_3 community to isolated"),
    pytest.param("shop1", ("shop2", "shop3"), ("park1", "park3"), id="pvl_4 within and between communities"),
]


@pytest.mark.parametrize(("sender", "yes", "no"), RULES)
def test_pvl_01_pvl_02_pvl_03_pvl_04_who_may_talk_to_whom(
    vlab: RunningLab, sender: str, yes: tuple[str, ...], no: tuple[str, ...]
) -> None:
    for receiver in yes:
        assert vlab.where(sender, receiver, count=1).disposition == "delivered", receiver
    for receiver in no:
        answer = vlab.where(sender, receiver, count=1)
        assert answer.agrees, answer.differences
        assert receivers(answer) & set(VMS) == set(), receiver


@pytest.mark.parametrize(("sender", "receiver"), [("iso1", "iso2"), ("iso1", "shop1"), ("shop1", "park1")])
def test_pvl_02_a_local_refusal_is_named(vlab: RunningLab, sender: str, receiver: str) -> None:
    answer = vlab.where(sender, receiver, count=1)
    assert refusal(answer) is DropReason.PVLAN_ISOLATED
    assert tags_at(answer, Point.UPLINK_SND, "esx1") == set()


def test_pvl_05_broadcast_of_an_isolated_port_reaches_promiscuous_ones_only(vlab: RunningLab) -> None:
    answer = vlab.where("iso1", "gate1", dst_mac="broadcast", count=1)
    assert answer.agrees, answer.differences
    assert receivers(answer) & set(VMS) == {"gate1", "gate3"}
    sent = [h for t in answer.trails for h in t.hops if h.point is Point.UPLINK_SND and h.box == "esx1"]
    assert len({h.interface for h in sent}) == 1
    assert {"shop2", "shop3"} <= receivers(vlab.where("shop1", "gate1", dst_mac="broadcast", count=1))


@pytest.mark.parametrize(("sender", "vid"), [("gate1", 100), ("iso1", 101), ("shop1", 102), ("park1", 103)])
def test_pvl_06_the_tag_on_the_uplink_is_the_secondary_id(vlab: RunningLab, sender: str, vid: int) -> None:
    answer = vlab.where(sender, "gate3", count=1)
    assert tags_at(answer, Point.UPLINK_SND, "esx1") == {(vid,)}
    assert tags_at(answer, Point.VNIC_RX, "esx2") == {()}


def test_pvl_07_what_the_uplink_brings_goes_where_its_id_says(vlab: RunningLab) -> None:
    for sender in ("gate1", "iso1", "shop1"):
        answer = vlab.where(sender, "gate3", dst_mac="broadcast", count=1)
        heard = {vm for vm in receivers(answer) if vm.endswith("3")}
        assert heard == {vm for vm in VMS if vm.endswith("3") and may(sender, vm)}


def test_pvl_08_a_missing_id_in_a_trunk_cuts_only_its_ports(vlab: RunningLab) -> None:
    vlab.set("pnic esx2:vmnic0", trunk=[100, 102, 103])
    try:
        assert vlab.where("iso1", "gate3", count=1).disposition != "delivered"
        assert vlab.where("shop1", "gate3", count=1).disposition == "delivered"
    finally:
        vlab.set("pnic esx2:vmnic0", trunk=["100-103"])
    assert vlab.where("iso1", "gate3", count=1).disposition == "delivered"


def test_pvl_09_a_pswitch_without_private_vlans_floods_both_directions(vlab: RunningLab) -> None:
    for name in ("iso1", "gate3"):
        vlab.send(name, name, dst_mac="broadcast")
    # tor1 learned iso1 in 101 and gate3 in 100; each is looked up in the other's VLAN. tor2 learns in the primary.
    there, back = (vlab.where(*pair, count=1) for pair in (("iso1", "gate3"), ("gate3", "iso1")))
    assert there.disposition == back.disposition == "delivered"
    assert {"lone1", "lone2", "tor2"} < sent_by(there, "tor1")
    assert sent_by(there, "tor2") == {"esx2-vmnic0"}
    assert {"esx1-vmnic0", "esx1-vmnic1"} <= sent_by(back, "tor1")
    assert sent_by(back, "tor2") == {"tor1"}


def test_pvl_10_isolation_is_not_enforced_between_machines_on_a_plain_pswitch(vlab: RunningLab) -> None:
    assert vlab.where("lone1", "lone2", count=1).disposition == "delivered"
    kept = vlab.where("kept1", "kept2", count=1)
    assert kept.disposition != "delivered" and kept.agrees, kept.differences
    assert vlab.where("gw", "iso1", count=1).disposition == "delivered"


def test_pvl_11_atk_10_a_router_takes_isolated_traffic_back(vlab: RunningLab) -> None:
    """ATK-10: layer 2 is isolated, layer 3 goes around it."""
    assert vlab.where("iso1", "iso3", count=1).disposition != "delivered"
    gateway = vlab.vm("gw")
    vlab.exec("iso1", "ip", "route", "add", "10.0.100.3/32", "via", gateway.address, "onlink", "dev", "eth0")
    vlab.exec("iso3", "ip", "route", "add", "10.0.100.1/32", "via", gateway.address, "onlink", "dev", "eth0")
    answered = vlab.exec("iso1", "ping", "-c1", "-W5", "10.0.100.3", check=False)
    assert answered.returncode == 0, answered.stdout
    vlab.exec("iso1", "ip", "route", "del", "10.0.100.3/32")
    vlab.exec("iso3", "ip", "route", "del", "10.0.100.1/32")
    assert vlab.exec("iso1", "ping", "-c1", "-W1", "10.0.100.3", check=False).returncode != 0
