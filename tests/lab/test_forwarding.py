"""Forwarding, VLANs and MAC learning with real frames: what test_switching.py does not show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import RunningLab
from lab.frame import BPDU_MACS, DropReason, Frame, Point
from lab.realise.run import wait_until
from lab.report.where import Answer
from traffic.canary import canary_payload, new_token

vlab_topology = "forwarding.yaml"

GROUP = "01:00:5e:01:02:03"
STRANGERS = [f"00:50:56:3e:00:{n:02x}" for n in range(1, 9)]
OUT = (Point.VNIC_OUT, Point.VMK_OUT)


def heard_by(answer: Answer, node: str) -> int:
    return sum(t.count for t in answer.trails for h in t.hops if h.point in OUT and h.node == node)


def at(answer: Answer, point: Point, box: str) -> list[tuple[str, tuple[int, ...]]]:
    """(interface, tags) of every sighting at a point."""
    hops = [h for t in answer.trails for h in t.hops if h.point is point and h.box == box]
    return sorted({(h.interface, tuple(t.vid for t in h.vlans)) for h in hops})


def asked(lab: RunningLab, sender: str, to: str, **how: object) -> Answer:
    answer = lab.where(sender, to, count=1, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    return answer


def reason(answer: Answer) -> DropReason | None:
    return answer.ending.reason if answer.ending else None


@contextmanager
def knob(lab: RunningLab, **values: object) -> Iterator[None]:
    lab.set("knobs", **values)
    try:
        yield
    finally:
        lab.set("knobs", **dict.fromkeys(values))


@contextmanager
def joined(lab: RunningLab, guest: str, group: str) -> Iterator[None]:
    """The guest's adapter asks for a multicast MAC meanwhile."""
    lab.exec(guest, "ip", "maddr", "add", group, "dev", "eth0")
    try:
        yield
    finally:
        lab.exec(guest, "ip", "maddr", "del", group, "dev", "eth0")


@pytest.fixture(autouse=True)
def pswitches_know_everybody(vlab: RunningLab) -> None:
    for name in ("web1", "web2", "far1", "gw", "db", "plain"):
        vlab.send(name, name, dst_mac="broadcast")


def test_fwd_13_a_remote_broadcast_reaches_each_vm_once_though_every_uplink_got_it(vlab: RunningLab) -> None:
    answer = asked(vlab, "web1", "far1", dst_mac="broadcast")
    assert {i for i, _ in at(answer, Point.UPLINK_RCV, "esx2")} == {"vmnic0", "vmnic1"}
    assert [heard_by(answer, vm) for vm in ("far1", "far2")] == [1, 1]


def test_fwd_15_a_bpdu_from_the_wire_is_a_multicast_like_others(vlab: RunningLab) -> None:
    links = vlab.client.ask("status")["links_down"]
    for mac in BPDU_MACS:
        with joined(vlab, "web1", mac):
            answer = asked(vlab, "gw", "web1", dst_mac=mac)
            assert (heard_by(answer, "web1"), heard_by(answer, "web2")) == (1, 0)
        assert at(answer, Point.UPLINK_SND, "esx1") == []
        assert heard_by(asked(vlab, "gw", "web1", dst_mac=mac), "web1") == 0
    assert vlab.client.ask("status")["links_down"] == links


@pytest.mark.parametrize("mac", BPDU_MACS)
def test_fwd_16_a_guests_bpdu_leaves_unless_it_is_blocked(vlab: RunningLab, mac: str) -> None:
    with joined(vlab, "web2", mac):
        passed = asked(vlab, "web1", "gw", dst_mac=mac)
        assert len(at(passed, Point.UPLINK_SND, "esx1")) == 1
        with knob(vlab, block_guest_bpdu=1):
            blocked = asked(vlab, "web1", "gw", dst_mac=mac)
    assert reason(blocked) is DropReason.GUEST_BPDU
    assert at(blocked, Point.UPLINK_SND, "esx1") == []
    assert heard_by(passed, "web2") > heard_by(blocked, "web2") == 0


def test_fwd_17_a_vnic_disconnected_while_running_gets_nothing_at_once(vlab: RunningLab) -> None:
    assert asked(vlab, "web1", "web2").disposition == "delivered"
    vlab.set("vnic web2.eth0", connected=False)
    try:
        gone = asked(vlab, "web1", "web2")
        assert gone.disposition != "delivered" and heard_by(gone, "web2") == 0
        assert heard_by(asked(vlab, "gw", "web1", dst_mac="broadcast"), "web2") == 0
    finally:
        vlab.set("vnic web2.eth0", connected=True)
    assert asked(vlab, "web1", "web2").disposition == "delivered"


def flood(lab: RunningLab, sender: str, addresses: int) -> None:
    """That many frames to an unknown address, each from another source MAC."""
    place = lab.client.place(sender)
    payload = canary_payload(new_token(), 0)
    frames = [
        Frame(f"00:1c:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}:00", STRANGERS[7], payload=payload)
        for n in range(addresses)
    ]
    job = {"node": place.node, "interface": place.interface, "rate": 10000.0}
    lab.client.ask("send", jobs=[{**job, "frames": [frame.to_bytes().hex() for frame in frames]}])


def test_fwd_18_a_flood_of_macs_changes_nothing_in_the_vswitch_and_fills_the_pswitch(vlab: RunningLab) -> None:
    before = asked(vlab, "web1", "web2")
    flood(vlab, "web2", 5000)
    after = asked(vlab, "web1", "web2")
    assert [t.hops[-1].interface for t in before.trails] == [t.hops[-1].interface for t in after.trails]
    assert heard_by(asked(vlab, "gw", "web1"), "web1") == 1
    table = vlab.client.state().mac_tables["tor1"]
    assert len(table) == vlab.client.topology.physical_switches["tor1"].mac_table


def test_fwd_19_multicast_goes_to_those_who_asked_and_to_one_uplink(vlab: RunningLab) -> None:
    with joined(vlab, "web2", GROUP), joined(vlab, "far2", GROUP):
        answer = asked(vlab, "web1", "gw", dst_mac=GROUP)
    assert [heard_by(answer, vm) for vm in ("far2", "far1")] == [1, 0]
    assert heard_by(answer, "web2") > 0  # a second time when it is on the uplink by which the pSwitch sends it back
    assert len(at(answer, Point.UPLINK_SND, "esx1")) == 1
    nobody = asked(vlab, "web1", "gw", dst_mac=GROUP)
    assert [heard_by(nobody, vm) for vm in ("web2", "far2", "far1")] == [0, 0, 0]


def test_fwd_20_after_a_failover_the_host_asks_its_vms_for_their_groups(vlab: RunningLab) -> None:
    moved = next(vm for vm in ("web1", "web2") if vlab.client.state().uplink_of["esx1", f"{vm}.eth0"] == "vmnic0")
    stayed = "web2" if moved == "web1" else "web1"
    with vlab.capture(moved, stayed) as seen:
        vlab.link("esx1:vmnic0", up=False)
    vlab.link("esx1:vmnic0", up=True)
    queries = [f for f in seen.frames if f.dst == "01:00:5e:00:00:01" and f.payload[9:10] == b"\x02"]
    assert len(queries) == 2
    with vlab.capture(stayed) as other:
        vlab.link("esx2:vmnic0", up=False)
    vlab.link("esx2:vmnic0", up=True)
    assert not [f for f in other.frames if f.payload[9:10] == b"\x02"]


# -- VLANs


def test_vlan_01_est_is_untagged_on_the_wire_and_hears_what_is(vlab: RunningLab) -> None:
    out = asked(vlab, "est1", "plain")
    assert out.disposition == "delivered"
    assert {tags for _, tags in at(out, Point.UPLINK_SND, "esx1")} == {()}
    assert asked(vlab, "plain", "est1").disposition == "delivered"


def test_vlan_02_a_tagged_frame_from_the_wire_reaches_no_est_port(vlab: RunningLab) -> None:
    mac = vlab.vm("est1").mac
    assert heard_by(asked(vlab, "router", "est1", dst_mac=mac, vlans=(10,)), "est1") == 0
    assert heard_by(asked(vlab, "router", "est1", dst_mac="broadcast", vlans=(10,)), "est1") == 0
    assert heard_by(asked(vlab, "router", "est1", dst_mac=mac), "est1") == 1


@pytest.mark.parametrize(("vlans", "hears"), [((10,), 1), ((21,), 0), ((), 0)])
def test_vlan_04_vst_takes_its_own_vlan_and_gives_it_without_the_tag(
    vlab: RunningLab, vlans: tuple[int, ...], hears: int
) -> None:
    answer = asked(vlab, "router", "web1", dst_mac="broadcast", vlans=vlans)
    assert heard_by(answer, "web1") == hears
    assert {tags for name, tags in at(answer, Point.VNIC_OUT, "esx1") if name == "web1.eth0"} <= {()}


@pytest.mark.parametrize(("vid", "passes"), [(10, True), (20, True), (21, False)])
def test_vlan_09_a_range_passes_its_vlans_only_in_both_directions(vlab: RunningLab, vid: int, passes: bool) -> None:
    out = asked(vlab, "range1", "gw", dst_mac="broadcast", vlans=(vid,))
    assert bool(at(out, Point.UPLINK_SND, "esx2")) is passes
    back = asked(vlab, "router", "range1", dst_mac="broadcast", vlans=(vid,))
    assert (heard_by(back, "range1") == 1) is passes


def test_vlan_12_native_vlan_mismatch_is_traffic_one_way(vlab: RunningLab) -> None:
    assert asked(vlab, "nat1", "db").disposition == "delivered"
    assert asked(vlab, "db", "nat1").disposition != "delivered"
    assert asked(vlab, "db", "nat2").disposition == "delivered"


def test_vlan_14_a_priority_tag_is_taken_off_or_refused(vlab: RunningLab) -> None:
    assert asked(vlab, "web1", "web2", vlans=(0,)).disposition == "delivered"
    assert heard_by(asked(vlab, "plain", "est1", vlans=(0,)), "est1") == 1
    with knob(vlab, prio_tag="drop"):
        refused = asked(vlab, "web1", "web2", vlans=(0,))
    assert reason(refused) is DropReason.VLAN_MISMATCH


def test_vlan_16_the_pswitch_must_know_the_vlan(vlab: RunningLab) -> None:
    assert asked(vlab, "web1", "far1").disposition == "delivered"
    vlab.set("pnic esx2:vmnic0", trunk=[20])
    vlab.set("pnic esx2:vmnic1", trunk=[20])
    try:
        assert asked(vlab, "web1", "far1").disposition != "delivered"
    finally:
        vlab.set("pnic esx2:vmnic0", trunk=[10, 20, 21])
        vlab.set("pnic esx2:vmnic1", trunk=[10, 20, 21])
    assert asked(vlab, "web1", "far1").disposition == "delivered"


# -- MAC learning


def teach(lab: RunningLab, guest: str, *macs: str) -> list[Answer]:
    """What the guest sends from these source MACs, one after the other."""
    return [asked(lab, guest, "gw", src_mac=mac) for mac in macs]


def test_sec_15_a_learned_mac_is_delivered_to_its_port_and_the_limit_holds(vlab: RunningLab) -> None:
    first, second, third = teach(vlab, "drop1", *STRANGERS[:3])
    assert [reason(a) for a in (first, second, third)] == [None, None, DropReason.MAC_LIMIT]
    assert heard_by(asked(vlab, "far1", "gw", dst_mac=STRANGERS[0]), "drop1") == 1
    assert reason(teach(vlab, "drop1", STRANGERS[0])[0]) is None
    allowed = teach(vlab, "allow1", *STRANGERS[3:6])
    assert [reason(a) for a in allowed] == [None, None, None]
    known = vlab.client.state().learned["esx2", "dvs0"]
    assert {mac for (_, mac), port in known.items() if port == "allow1.eth0"} == set(STRANGERS[3:5])


def test_sec_16_unknown_unicast_is_flooded_to_ports_that_have_both_on(vlab: RunningLab) -> None:
    answer = asked(vlab, "far1", "gw", dst_mac="00:50:56:3d:00:01")
    heard = {vm: heard_by(answer, vm) for vm in ("drop1", "allow1", "age1", "far2")}
    # tor1 floods it too, so whoever is on the other uplink gets it a second time.
    assert heard["drop1"] > 0 and heard["allow1"] > 0 and heard["age1"] == heard["far2"] == 0
    assert len(at(answer, Point.UPLINK_SND, "esx2")) == 1


def test_sec_17_a_learned_mac_that_is_not_used_is_forgotten(vlab: RunningLab) -> None:
    teach(vlab, "age1", STRANGERS[6])
    key = (10, STRANGERS[6])
    assert vlab.client.state().learned["esx2", "dvs0"].get(key) in ("age1.eth0", None)
    wait_until(lambda: key not in vlab.client.state().learned["esx2", "dvs0"], "forgotten", 10)
    assert heard_by(asked(vlab, "far1", "gw", dst_mac=STRANGERS[6]), "age1") == 0


def test_sec_18_learning_is_of_use_only_where_forged_transmits_pass(vlab: RunningLab) -> None:
    vlab.set("port-group drops", "security.forged_transmits=reject")
    try:
        assert reason(teach(vlab, "drop1", "00:50:56:3d:00:09")[0]) is DropReason.FORGED_TRANSMIT
        known = vlab.client.state().learned["esx2", "dvs0"]
        assert not [mac for _, mac in known if mac == "00:50:56:3d:00:09"]
    finally:
        vlab.set("port-group drops", "security.forged_transmits=")
