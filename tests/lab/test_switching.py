"""The vSwitch's rules, shown with real frames. Each says which statement it shows; a negative has its twin."""

from __future__ import annotations

import pytest

from lab import RunningLab
from lab.frame import DropReason, Point, vids_of

vlab_topology = "switching.yaml"


def points(answer) -> set[tuple[str, str]]:  # type: ignore[no-untyped-def]
    """(box, interface) of every wire on which the frame was seen."""
    return {(h.box, h.interface) for t in answer.trails for h in t.hops if h.evidence == "wire" and not h.reason}


def tags_at(answer, point: Point) -> set[tuple[int, ...]]:  # type: ignore[no-untyped-def]
    return {tuple(t.vid for t in h.vlans) for trail in answer.trails for h in trail.hops if h.point is point}


def receivers(answer) -> set[str]:  # type: ignore[no-untyped-def]
    out = (Point.VNIC_OUT, Point.VMK_OUT)
    return {h.node for trail in answer.trails for h in trail.hops if h.point in out}


# (sender, receiver, tags, delivered, where a tag was seen and which)
DELIVERIES = [
    pytest.param("web1", "web2", (), True, id="fwd_01 same host"),
    pytest.param("web1", "app1", (), True, id="fwd_02 other port group, same VLAN"),
    pytest.param("web1", "web3", (), True, id="vlan_04 other host"),
    pytest.param("web1", "gw", (), True, id="vlan_16 to a machine on an access port"),
    pytest.param("web1", "db1", (), False, id="fwd_03 other VLAN, same host"),
    pytest.param("web1", "old1", (), True, id="fwd_09 another vSwitch only by the wire"),
    pytest.param("est1", "est2", (), True, id="vlan_01 untagged end to end"),
    pytest.param("est1", "plain", (), True, id="vlan_01 native VLAN"),
    pytest.param("vgt1", "vgt2", (20,), True, id="vlan_08 guest tags"),
    pytest.param("vgt1", "old1", (10,), True, id="vlan_10 VGT to VST, locally"),
    pytest.param("trunk1", "web1", (10,), True, id="vlan_09 in range"),
    pytest.param("trunk1", "web1", (11,), False, id="vlan_09 out of range"),
    pytest.param("web1", "web2", (10,), False, id="vlan_06 own tag"),
    pytest.param("web1", "web2", (10, 20), False, id="vlan_06 double tag"),
    pytest.param("web1", "web2", (0,), True, id="vlan_14 priority tag"),
    pytest.param("est1", "est2", (10,), False, id="vlan_07 guest tag on EST"),
    pytest.param("web1", "gone", (), False, id="fwd_17 disconnected"),
    pytest.param("web1", "mute", (), False, id="sec_19 blocked"),
    pytest.param("mute", "web1", (), False, id="sec_19 blocked, sending"),
]


@pytest.mark.parametrize(("sender", "receiver", "vlans", "delivered"), DELIVERIES)
def test_delivery_is_as_predicted(
    vlab: RunningLab, sender: str, receiver: str, vlans: tuple[int, ...], delivered: bool
) -> None:
    answer = vlab.where(sender, receiver, vlans=vlans)
    assert answer.agrees, answer.differences
    assert (answer.disposition == "delivered") is delivered


def test_fwd_01_local_unicast_is_on_no_uplink(vlab: RunningLab) -> None:
    local, remote = vlab.where("web1", "web2"), vlab.where("web1", "web3")
    assert not any(interface.startswith("vmnic") for _, interface in points(local))
    assert any(interface.startswith("vmnic") for _, interface in points(remote))


def test_fwd_02_other_port_group_same_vlan_is_local(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "app1")
    assert answer.disposition == "delivered"
    assert points(answer) == {("esx1", "eth0"), ("esx1", "web1.eth0"), ("esx1", "app1.eth0")}


def test_fwd_03_other_vlan_leaves_with_the_senders_tag(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "db1")
    assert answer.disposition != "delivered"
    assert tags_at(answer, Point.UPLINK_SND) == {(10,)}


def test_fwd_04_unknown_unicast_leaves_on_one_uplink_and_is_not_flooded(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "gw", dst_mac="00:50:56:3f:00:01")
    sent_on = {h.interface for t in answer.trails for h in t.hops if h.box == "esx1" and h.point is Point.UPLINK_SND}
    assert len(sent_on) == 1
    assert receivers(answer) == set()


def test_fwd_05_unknown_unicast_from_uplink_is_dropped(vlab: RunningLab) -> None:
    answer = vlab.where("gw", "web3", dst_mac="00:50:56:3f:00:02")
    assert {h.reason for t in answer.trails for h in t.hops if h.box == "esx2" and h.reason} == {
        DropReason.UNKNOWN_UNICAST
    }
    assert receivers(answer) == set()
    assert vlab.where("gw", "web3").disposition == "delivered"


def test_fwd_06_broadcast_goes_to_the_vlan_and_to_one_uplink(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "web2", dst_mac="broadcast")
    assert answer.agrees, answer.differences
    assert {i for box, i in points(answer) if box == "esx1" and i.startswith("vmnic")} >= {"vmnic1"}
    sent_on = {h.interface for t in answer.trails for h in t.hops if h.box == "esx1" and h.point is Point.UPLINK_SND}
    assert len(sent_on) == 1
    assert {"web2", "app1", "web3"} <= receivers(answer)


def test_fwd_07_broadcast_from_the_wire_reaches_every_port_of_its_vlan_once(vlab: RunningLab) -> None:
    answer = vlab.where("gw", "web1", dst_mac="broadcast", count=1)
    out = [h.node for t in answer.trails for h in t.hops if h.point is Point.VNIC_OUT]
    assert sorted(n for n in set(out) if n in {"web1", "web2", "app1", "web3"}) == ["app1", "web1", "web2", "web3"]
    assert all(t.count == 1 for t in answer.trails)


def test_fwd_08_nothing_goes_from_uplink_to_uplink(vlab: RunningLab) -> None:
    answer = vlab.where("gw", "web1", dst_mac="broadcast")
    arrived = {h.interface for t in answer.trails for h in t.hops if h.point is Point.UPLINK_RCV and h.box == "esx1"}
    sent = {h.interface for t in answer.trails for h in t.hops if h.point is Point.UPLINK_SND and h.box == "esx1"}
    assert {"vmnic1", "vmnic2"} <= arrived
    assert sent == set()


def test_fwd_09_switches_of_one_host_share_nothing(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "old1")
    assert ("esx1", "vmnic0") in points(answer)
    assert any(box == "tor1" for box, _ in points(answer))


def test_fwd_10_own_broadcast_reflected_is_dropped(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "web2", dst_mac="broadcast", count=1)
    reflected = [t for t in answer.trails if any(h.point is Point.UPLINK_RCV and h.box == "esx1" for h in t.hops)]
    assert reflected, "the pSwitches must send it back on the other uplink, or this shows nothing"
    assert all(h.point is not Point.VNIC_OUT or h.node != "web1" for t in answer.trails for h in t.hops)
    assert DropReason.REVERSE_PATH in {h.reason for t in reflected for h in t.hops}


def test_fwd_11_a_port_receives_only_from_its_own_uplink(vlab: RunningLab) -> None:
    uplink = vlab.client.state().uplink_of
    assert uplink["esx1", "web1.eth0"] != uplink["esx1", "web2.eth0"]
    answer = vlab.where("gw", "web1", dst_mac="broadcast", count=1)
    last_uplink = {
        t.hops[i - 1].interface: h.node
        for t in answer.trails
        for i, h in enumerate(t.hops)
        if h.point is Point.VNIC_OUT and h.box == "esx1"
    }
    came_in = {
        h.node: next(g.interface for g in reversed(t.hops) if g.point is Point.UPLINK_RCV)
        for t in answer.trails
        for h in t.hops
        if h.point is Point.VNIC_OUT and h.box == "esx1"
    }
    assert last_uplink
    assert {node: uplink["esx1", f"{node}.eth0"] for node in came_in} == came_in


def test_fwd_17_frames_to_a_disconnected_vnic_are_not_delivered(vlab: RunningLab) -> None:
    assert vlab.where("web1", "gone").disposition != "delivered"
    assert vlab.where("web1", "web2").disposition == "delivered"


def test_vlan_03_and_vlan_05_tag_is_on_the_wire_only(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "web3")
    assert tags_at(answer, Point.UPLINK_SND) == {(10,)}
    assert tags_at(answer, Point.VNIC_RX) == tags_at(answer, Point.PORT_INPUT) == {()}
    assert tags_at(vlab.where("web1", "web2"), Point.VNIC_RX) == {()}


def test_vlan_06_double_tag_is_dropped_at_the_port(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "web2", vlans=(10, 20))
    assert answer.ending is not None
    assert (answer.ending.reason, answer.ending.interface) == (DropReason.DOUBLE_TAG, "web1.eth0")


def test_vlan_07_est_port_drops_a_guest_tag(vlab: RunningLab) -> None:
    answer = vlab.where("est1", "est2", vlans=(10,))
    assert answer.ending is not None and answer.ending.reason is DropReason.VLAN_MISMATCH
    assert vlab.where("est1", "est2").disposition == "delivered"


def test_vlan_08_vgt_keeps_the_guests_tag(vlab: RunningLab) -> None:
    answer = vlab.where("vgt1", "vgt2", vlans=(20,))
    assert tags_at(answer, Point.VNIC_RX) == tags_at(answer, Point.UPLINK_SND) == {(20,)}


def test_vlan_10_vgt_and_vst_talk_locally(vlab: RunningLab) -> None:
    answer = vlab.where("vgt1", "old1", vlans=(10,))
    assert tags_at(answer, Point.VNIC_TX) == {(10,)}
    assert tags_at(answer, Point.VNIC_RX) == {()}
    assert not any(interface.startswith("vmnic") for _, interface in points(answer))


def test_vlan_13_vlan_missing_on_one_trunk_cuts_only_what_is_pinned_there(vlab: RunningLab) -> None:
    uplink = vlab.client.state().uplink_of["esx1", "narrow1.eth0"]
    answer = vlab.where("narrow1", "narrow2")
    assert answer.agrees, answer.differences
    if uplink == "vmnic2":
        assert answer.ending is not None and answer.ending.reason is DropReason.PSWITCH_VLAN


def test_vlan_17_a_tag_adds_four_bytes_on_the_wire_only(vlab: RunningLab) -> None:
    with vlab.capture("web1", "esx1:vmnic1", "esx1:vmnic2", "web3") as seen:
        vlab.send("web1", "web3", size=1514, kind="raw")
    sizes = {p.interface: len(p.data) for p in seen.packets if vids_of(p.data) or p.data[12:14] == b"\x88\xb5"}
    assert sizes["eth0"] == 1514
    assert {sizes.get("vmnic1"), sizes.get("vmnic2")} & {1518}


def test_sec_07_forged_source_is_dropped_where_it_is_rejected(vlab: RunningLab) -> None:
    forged = vlab.where("db1", "db2", src_mac="00:50:56:3f:00:09")
    assert forged.ending is not None and forged.ending.reason is DropReason.FORGED_TRANSMIT
    assert vlab.where("db1", "db2").disposition == "delivered"
    assert vlab.where("web1", "web3", src_mac="00:50:56:3f:00:09").disposition == "delivered"


def test_sec_19_blocked_port_forwards_nothing_either_way(vlab: RunningLab) -> None:
    for sender, receiver in (("web1", "mute"), ("mute", "web1")):
        answer = vlab.where(sender, receiver)
        assert answer.ending is not None and answer.ending.reason is DropReason.PORT_BLOCKED
    assert vlab.where("web1", "web2").disposition == "delivered"


def test_team_pid_01_all_frames_of_a_vnic_leave_on_one_uplink(vlab: RunningLab) -> None:
    used = {
        receiver: {
            h.interface
            for t in vlab.where("web1", receiver).trails
            for h in t.hops
            if h.point is Point.UPLINK_SND and h.box == "esx1"
        }
        for receiver in ("web3", "gw", "db2")
    }
    assert len(set().union(*used.values())) == 1


def test_team_pid_02_vnics_are_spread_in_turn(vlab: RunningLab) -> None:
    uplink = vlab.client.state().uplink_of
    order = [uplink["esx1", f"{vm}.eth0"] for vm in ("web1", "web2", "app1", "db1")]
    assert order == ["vmnic1", "vmnic2", "vmnic1", "vmnic2"]
