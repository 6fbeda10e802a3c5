"""Layer-2 stretches between sites, every kind: what crosses, what does not, by real frames (L2S)."""

from __future__ import annotations

from collections import Counter

import pytest

from lab import RunningLab
from lab.frame import BROADCAST, DropReason, Frame, mac_text
from lab.observe.pcapng import Packet
from lab.realise.run import wait_until
from traffic.canary import find_canaries

vlab_topology = "stretch.yaml"

KINDS = {"trunk": "t", "otv": "o", "vpls": "p", "vxlan": "x"}
FRAMES = 20
ARP = 0x0806
BPDU = "01:80:c2:00:00:00"


def kinds(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", [pytest.param(KINDS[name], id=name) for name in names or KINDS])


def from_vm(lab: RunningLab, packets: tuple[Packet, ...], vm: str) -> Counter[str]:
    """Interface -> the frames of this VM there."""
    mac = lab.vm(vm).mac
    return Counter(p.interface for p in packets if len(p.data) > 14 and Frame.parse(p.data).src == mac)


@kinds()
def test_l2s_1_a_broadcast_reaches_the_vlan_at_every_other_site_once(vlab: RunningLab, kind: str) -> None:
    there = [vm for vm in vlab.client.topology.vms if vm[0] == kind and vm[1] != "a" and vm[2] == "1"]
    with vlab.capture(*there) as seen:
        vlab.send(f"{kind}a1", dst_mac="broadcast", kind="raw", count=FRAMES)
    frames = [f for f in seen.frames if (f.src, f.dst) == (vlab.vm(f"{kind}a1").mac, BROADCAST)]
    assert there and len(frames) == FRAMES * len(there)


@kinds()
def test_a_bpdu_goes_where_it_is_foretold(vlab: RunningLab, kind: str) -> None:
    answer = vlab.where(f"{kind}b1", f"{kind}a1", kind="raw", dst_mac=BPDU)
    assert answer.agrees, answer.differences


def test_l2s_2_otv_lets_no_frame_to_a_silent_mac_across_and_one_frame_ends_the_silence(vlab: RunningLab) -> None:
    silent, sender = "oc1", "oa1"
    before = vlab.where(sender, silent, kind="raw")
    assert before.agrees and before.disposition == "dropped", before.differences
    assert before.ending is not None and before.ending.reason == "Stretch Not Forwarded"
    vlab.send(silent, dst_mac="broadcast", kind="raw")
    key = (10, vlab.vm(silent).mac)
    wait_until(lambda: vlab.client.state().mac_tables["oa"].get(key) == "oc", "the broadcast at the other site")
    after = vlab.where(sender, silent, kind="raw")
    assert after.agrees and after.disposition == "delivered", after.differences


def answered_arp(lab: RunningLab, edge: str, vm: str) -> str | None:
    """The MAC with which an edge answers for this VM's address."""
    return lab.client.state().arp_known.get(edge, {}).get((10, lab.vm(vm).address))


def test_l2s_1_otv_answers_arp_for_another_site_after_the_first(vlab: RunningLab) -> None:
    asked = {"kind": "arp", "dst_mac": "broadcast"}
    first = vlab.where("oa1", "ob1", count=1, **asked)
    assert first.agrees and first.disposition == "delivered", first.differences
    vlab.exec("oa1", "ping", "-c1", "-W5", vlab.vm("ob1").address)
    wait_until(lambda: answered_arp(vlab, "oa", "ob1") == vlab.vm("ob1").mac, "the reply at the edge")
    later = vlab.where("oa1", "ob1", **asked)
    assert later.agrees and later.disposition == "dropped", later.differences
    assert later.ending is not None and later.ending.box == "oa"


def test_l2s_1_what_an_edge_answers_is_right_and_the_request_does_not_cross(vlab: RunningLab) -> None:
    address, own = vlab.vm("ob1").address, (vlab.vm("oa1").mac, vlab.vm("ob1").mac)
    vlab.exec("oa1", "ping", "-c1", "-W5", address)
    wait_until(lambda: answered_arp(vlab, "oa", "ob1") is not None, "the reply at the edge")
    told: list[Frame] = []
    for _ in range(5):  # who is just asked by the other need not ask
        with vlab.capture("oa:ob", "oa1") as seen:
            vlab.exec("oa1", "sh", "-c", f"ip neigh flush dev eth0; ping -c1 -W5 {address}")
        arps = [(p.interface, Frame.parse(p.data)) for p in seen.packets if Frame.parse(p.data).ethertype == ARP]
        told = [f for name, f in arps if name == "eth0" and f.payload[7] == 2 and f.src not in own]
        if told:
            break
    assert [mac_text(f.payload[8:14]) for f in told] == [vlab.vm("ob1").mac]
    assert not [f for name, f in arps if name == "ob" and f.payload[7] == 1 and f.src == vlab.vm("oa1").mac]
    assert vlab.exec("oa1", "ip", "neigh", "show", address).stdout.split()[4] == vlab.vm("ob1").mac


@kinds("vpls", "vxlan", "trunk")
def test_l2s_1_others_let_every_request_across(vlab: RunningLab, kind: str) -> None:
    vlab.exec(f"{kind}a1", "ping", "-c1", "-W5", vlab.vm(f"{kind}b1").address)
    again = vlab.where(f"{kind}a1", f"{kind}b1", kind="arp", dst_mac="broadcast")
    assert again.agrees and again.disposition == "delivered", again.differences


@kinds("vpls", "vxlan")
def test_l2s_2_others_flood_to_a_silent_mac(vlab: RunningLab, kind: str) -> None:
    answer = vlab.where(f"{kind}a1", f"{kind}c1", kind="raw")
    assert answer.agrees and answer.disposition == "delivered", answer.differences


@kinds("trunk", "vpls")
def test_l2s_5_a_broadcast_storm_at_one_site_is_one_at_the_other(vlab: RunningLab, kind: str) -> None:
    with vlab.capture(f"{kind}b1") as seen:
        sent = vlab.send(f"{kind}a1", dst_mac="broadcast", kind="raw", count=2000, rate=2000)
    storm = Counter(token for packet in seen.packets for _, token, _ in find_canaries(packet.data))
    assert max(storm.values()) == sent.count == 2000


@kinds("otv", "trunk")
def test_l2s_5_a_storm_of_unknown_unicast_stops_at_otv_only(vlab: RunningLab, kind: str) -> None:
    with vlab.capture(f"{kind}b:esx-b-vmnic{'to'.index(kind)}") as seen:
        vlab.send(f"{kind}a1", dst_mac="00:50:56:3f:00:99", kind="raw", count=500, rate=2000)
    assert from_vm(vlab, seen.packets, f"{kind}a1").total() == {"t": 500, "o": 0}[kind]


def test_l2s_7_what_a_vm_sends_is_on_the_link_in_clear_also_inside_vxlan(vlab: RunningLab) -> None:
    for kind in KINDS.values():
        port = f"{kind}a:{kind}b" + (".wan" if kind == "x" else "")
        with vlab.capture(port) as seen:
            vlab.send(f"{kind}a1", dst_mac="broadcast", kind="raw", count=FRAMES)
        mac = bytes.fromhex(vlab.vm(f"{kind}a1").mac.replace(":", ""))
        assert sum(mac in packet.data for packet in seen.packets) == FRAMES


@kinds("trunk", "vxlan")
def test_l2s_7_a_frame_s_way_to_another_site_shows_what_it_is_inside_of(vlab: RunningLab, kind: str) -> None:
    for there, back in (("a1", "b1"), ("b1", "a1")):
        answer = vlab.where(f"{kind}{there}", f"{kind}{back}", kind="raw")
    assert answer.agrees and answer.disposition == "delivered", answer.differences
    way = [(h.interface, h.encapsulation) for h in answer.trails[0].hops if h.box in (f"{kind}a", f"{kind}b")]
    tunnel = [(f"{kind}{site}.wan", "vxlan") for site in "ab"] if kind == "x" else []
    assert [hop for hop in way if hop[1]] == tunnel
    assert [name for name, _ in way].index(f"{kind}a") < len(way) - 1
    assert not [h for t in answer.trails for h in t.hops if h.reason is DropReason.UNUSED_PNIC]


def test_l2s_8_a_frame_that_the_tunnel_makes_too_long_disappears_and_a_shorter_one_does_not(vlab: RunningLab) -> None:
    for size, arrives in ((1464, FRAMES), (1514, 0)):
        with vlab.capture("sb1") as seen:
            vlab.send("sa1", dst_mac="broadcast", kind="raw", size=size, count=FRAMES)
        assert from_vm(vlab, seen.packets, "sa1").total() == arrives


def test_l2s_8_where_foretells_and_tells_that_a_frame_is_too_long(vlab: RunningLab) -> None:
    for size, ending in ((1464, "delivered"), (1514, "MTU Exceeded")):
        answer = vlab.where("sa1", "sb1", kind="raw", size=size)
        assert answer.agrees, answer.differences
        told = answer.ending.reason if answer.ending else answer.disposition
        assert str(told) == ending


def test_l2s_10_a_link_that_is_cut_leaves_both_sites_at_work(vlab: RunningLab) -> None:
    vlab.link("xa:xb", up=False)
    answer = vlab.where("xa1", "xb1", kind="raw", dst_mac="broadcast")
    assert answer.agrees and answer.disposition != "delivered", answer.differences
    vlab.link("xa:xb", up=True)
    answer = vlab.where("xb1", "xa1", kind="raw", dst_mac="broadcast")
    assert answer.agrees and answer.disposition == "delivered", answer.differences


@kinds("trunk", "vxlan")
def test_l2s_11_a_vlan_that_is_not_listed_does_not_cross(vlab: RunningLab, kind: str) -> None:
    answer = vlab.where(f"{kind}a2", f"{kind}b2", kind="raw", dst_mac="broadcast")
    assert answer.agrees and answer.disposition == "dropped", answer.differences


def test_l2s_1_every_pair_of_vms_at_every_site_is_as_foretold_and_no_frame_comes_twice(vlab: RunningLab) -> None:
    report = vlab.verify()
    assert report.agree == report.pairs > 300, report.differ
