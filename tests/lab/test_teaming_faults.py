"""Teams that are set up wrongly, as they fail in life."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from itertools import permutations
from threading import Thread

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from lab import RunningLab
from lab.client import LabClient
from lab.errors import SystemRefused, UsageError
from lab.frame import DropReason, Point
from lab.realise.run import wait_until
from lab.report.where import Answer
from traffic.teaming import virtual_mac

vlab_topology = "teaming-faults.yaml"
SPEEDUP = 10


def asked(lab: RunningLab, sender: str, to: str, **how: object) -> Answer:
    answer = lab.where(sender, to, count=1, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    return answer


def points(answer: Answer, point: Point, node: str) -> list[str]:
    """Each interface once, in order."""
    hops = [h for trail in answer.trails for h in trail.hops if h.point is point and h.node == node]
    return sorted({h.interface for h in hops})


def moves(lab: RunningLab, mac: str) -> list[dict[str, object]]:
    return [e for e in lab.client.ask("events") if e["event"] == "mac-move" and e["mac"] == mac]


# -- two uplinks that probe each other


def test_bcn_7_atk_14_lost_beacons_of_two_uplinks_are_a_shotgun_until_the_cut_heals(vlab: RunningLab) -> None:
    def unsure() -> bool:
        return ("pair", "vSwitch0") in vlab.client.state().beacons_unsure

    assert not unsure()
    single = asked(vlab, "probe", "edge")
    vlab.link("tor1:tor2", up=False)
    wait_until(unsure, "beacons lost", 5)
    assert not vlab.client.state().beacons_lost
    both = asked(vlab, "probe", "edge", dst_mac="broadcast")
    assert [sorted({*points(a, Point.UPLINK_SND, "pair")}) for a in (single, both)] == [
        ["vmnic0"],
        ["vmnic0", "vmnic1"],
    ]
    assert both.disposition == "delivered"
    vlab.link("tor1:tor2", up=True)
    wait_until(lambda: not unsure(), "the cut healed", 5)
    assert points(asked(vlab, "probe", "gw"), Point.UPLINK_SND, "pair") == ["vmnic0"]


def test_bcn_7_atk_14_while_nobody_can_be_blamed_receivers_get_duplicates(vlab: RunningLab) -> None:
    """A pSwitch eats beacons, and nothing else."""
    mac, eaten = vlab.vm("probe").mac, "table=0,priority=60000,dl_type=0x8922"
    counts = []
    for change in (f"add {eaten},actions=drop", f"delete_strict {eaten}"):
        vlab.client.ask("mutate", box="tor1", switch="tor1", change=change)
        lost = change.startswith("add")
        wait_until(lambda lost=lost: bool(vlab.client.state().beacons_unsure) == lost, "beacons", 10)  # type: ignore[misc]
        vlab.client.ask("settle")
        with vlab.capture("gw") as seen:
            vlab.send("probe", dst_mac="broadcast", kind="raw", count=20, rate=500.0)
        counts.append(sum(frame.src == mac and frame.ethertype == 0x88B5 for frame in seen.frames))
    assert counts == [40, 20]


def test_bcn_8_uplinks_in_one_pswitch_do_not_see_a_cut_behind_it(vlab: RunningLab) -> None:
    vlab.link("tor1:tor2", up=False)
    wait_until(lambda: ("pair", "vSwitch0") in vlab.client.state().beacons_unsure, "beacons of others lost", 5)
    state = vlab.client.state()
    assert (state.beacons_lost, {place for place in state.beacons_unsure if place[0] == "together"}) == (
        frozenset(),
        set(),
    )
    assert asked(vlab, "near1", "gw").disposition != "delivered"
    vlab.link("tor1:tor2", up=True)
    assert asked(vlab, "near1", "gw").disposition == "delivered"


def test_bcn_9_no_beacons_for_guest_tagging(vlab: RunningLab) -> None:
    with vlab.capture("trunked:vmnic0", "pair:vmnic0") as seen:
        time.sleep(5 / SPEEDUP)
    senders = {frame.src for frame in seen.frames if frame.ethertype == 0x8922}
    mac = {host: virtual_mac(vlab.client.plan.node_named[host].interface("vmnic0").mac) for host in ("trunked", "pair")}
    assert (mac["pair"] in senders, mac["trunked"] in senders) == (True, False)


# -- IP hash and EtherChannel, one without the other


VECTORS = [
    ("of2", "164.18.1.84", "164.18.1.160", 0, 0),
    ("of2", "164.18.1.84", "164.18.1.195", 1, 1),
    ("of4", "192.168.100.101", "192.168.100.120", 1, 1),
    ("of4", "192.168.100.101", "192.168.100.130", 3, 3),
    ("of4", "192.168.100.101", "192.168.100.140", 1, 1),
    ("of4", "192.168.100.101", "192.168.100.150", 3, 3),
    ("of3", "10.0.0.10", "10.0.0.21", 1, 1),
    ("of3", "10.0.0.10", "10.0.1.21", 2, 1),
    ("of3", "10.0.0.10", "192.168.7.33", 0, 1),
    ("of3", "10.1.2.3", "172.16.9.200", 1, 2),
]
"""Sender (its number of uplinks), addresses, index by all 32 bits, index by the last octet."""


@pytest.mark.parametrize(("formula", "column"), [("xor32", 3), ("lastoctet", 4)])
def test_team_iph_1_team_iph_2_team_iph_4_the_test_vectors(vlab: RunningLab, formula: str, column: int) -> None:
    vlab.set("knobs", f"iphash={formula}")
    there = [(v[0], IP(src=v[1], dst=v[2]) / UDP(sport=9, dport=9)) for v in VECTORS]
    back = [(v[0], IP(src=v[2], dst=v[1]) / UDP(sport=9, dport=9)) for v in VECTORS]
    assert hashed_to(vlab, *there, *back) == [vector[column] for vector in VECTORS] * 2
    vlab.set("knobs", "iphash=")


def test_team_iph_5_an_arp_goes_by_the_bytes_where_addresses_would_be(vlab: RunningLab) -> None:
    """Octets 26 to 29 are 00:0e and 10.0; 30 to 33 are 10.14 and the target's first two: 000e0a00 xor 0a0e0000."""
    arp = ARP(hwsrc=vlab.vm("of4").mac[:12] + "00:0e", psrc="10.0.10.14", hwdst="00:00:00:00:00:00", pdst="10.0.10.1")
    other = ARP(hwsrc="00:00:00:00:00:01", psrc="10.3.10.14", hwdst="00:02:00:00:00:00", pdst="10.0.10.1")
    found = hashed_to(vlab, ("of4", arp), ("of4", other))
    assert found == [(0x000E0A00 ^ 0x0A0E0000) % 4, (0x00010A03 ^ 0x0A0E0002) % 4]


def hashed_to(lab: RunningLab, *sent: tuple[str, Packet]) -> list[int]:
    """The number of the pNIC that each packet of a VM leaves by, as captured and as traced."""
    raws = []
    with lab.capture(*(f"four:vmnic{n}" for n in range(4))) as seen:
        for sender, packet in sent:
            place = lab.client.place(sender)
            raw = bytes(Ether(src=place.mac, dst="00:50:56:3f:00:77") / packet).ljust(60, b"\0")
            lab.client.ask("send", jobs=[{"node": place.node, "interface": place.interface, "frames": [raw.hex()]}])
            traced = lab.client.ask("trace", box="four", port=f"{sender}.eth0", frames=[raw.hex()])[0]
            raws.append((raw, traced))
    by = [[p.interface for p in seen.packets if (p.data[6:12], p.data[18:]) == (r[6:12], r[14:])] for r, _ in raws]
    assert [len(pnics) for pnics in by] == [1] * len(raws)
    assert all(pnic in traced for (pnic,), (_, traced) in zip(by, raws, strict=True))
    return [int(pnic.removeprefix("vmnic")) for (pnic,) in by]


def test_team_pid_4_two_vnics_of_one_vm_on_two_uplinks(vlab: RunningLab) -> None:
    by = {nic: points(asked(vlab, f"twin.{nic}", "gw"), Point.UPLINK_SND, "tracked") for nic in ("eth0", "eth1")}
    assert sorted(uplink for uplinks in by.values() for uplink in uplinks) == ["vmnic0", "vmnic1"]


def test_team_iph_7_atk_13_ip_hash_without_etherchannel_moves_the_mac_to_and_fro(vlab: RunningLab) -> None:
    mac = vlab.vm("hash1").mac
    ports = {peer: points(asked(vlab, "hash1", peer), Point.UPLINK_SND, "unbundled") for peer in ("gw", "gw2")}
    assert ports == {"gw": ["vmnic1"], "gw2": ["vmnic0"]}  # 3 xor 254, 3 xor 253
    both, deadline = {"tor2:unbundled-vmnic0", "tor2:unbundled-vmnic1"}, time.monotonic() + 30
    while {str(e["port"]) for e in moves(vlab, mac)} < both and time.monotonic() < deadline:
        for peer in ("gw", "gw2"):
            known = len(moves(vlab, mac))
            vlab.send("hash1", peer)
            with suppress(SystemRefused):  # moves are sampled: one that was there already is none
                wait_until(lambda n=known: len(moves(vlab, mac)) > n, "a move", 3)  # type: ignore[misc]
    assert {str(e["port"]) for e in moves(vlab, mac)} == both
    assert asked(vlab, "gw", "hash1").disposition == "delivered"  # FWD-12: any uplink may bring it


def test_team_iph_8_etherchannel_without_ip_hash_loses_what_comes_by_the_other_member(vlab: RunningLab) -> None:
    vlab.send("pinned1", "gw")
    fates = {peer: asked(vlab, peer, "pinned1") for peer in ("gw", "gw2")}  # 254 and 253 xor 4
    lost = {peer: answer for peer, answer in fates.items() if answer.disposition != "delivered"}
    assert len(lost) == 1
    (answer,) = lost.values()
    assert answer.ending is not None and answer.ending.reason is DropReason.REVERSE_PATH


def test_team_iph_9_what_a_channel_sends_to_a_standby_uplink_is_lost(vlab: RunningLab) -> None:
    vlab.send("spare", "gw")
    mac = vlab.vm("spare").mac
    wait_until(lambda: (10, mac) in vlab.client.state().mac_tables["tor2"], "the pSwitch knows it")
    fates: dict[str, list[Answer]] = {}
    for peer in ("gw", "gw2", "hash1", "pinned1", "near1", "up1"):  # hashed over four members by the pSwitch
        answer = asked(vlab, peer, "spare")
        (uplink,) = points(answer, Point.UPLINK_RCV, "four")
        fates.setdefault(uplink, []).append(answer)
    assert len(fates) == 4
    for uplink, answers in fates.items():
        delivered = {answer.disposition == "delivered" for answer in answers}
        assert delivered == {uplink in ("vmnic0", "vmnic1")}


# -- LACP


def test_lacp_6_a_port_channel_with_lacp_never_forms_with_a_standard_switch(vlab: RunningLab) -> None:
    answer = asked(vlab, "web1", "gw")
    assert answer.ending is not None and answer.ending.reason is DropReason.PSWITCH_CHANNEL
    assert not {port for port in vlab.client.state().channel_members if port[1].startswith("standard-")}


def test_lacp_1_lacp_2_of_two_lags_the_one_with_an_active_end_forms(vlab: RunningLab) -> None:
    assert {("bundled", "vmnic0"), ("bundled", "vmnic1")} == vlab.client.state().lag_members
    assert asked(vlab, "formed1", "gw").disposition == "delivered"


def test_lacp_2_passive_and_passive_is_no_lag_and_said_so(vlab: RunningLab) -> None:
    wait_until(lambda: "passive:vmnic0" in vlab.client.ask("status")["lacp_silent"], "the warning", 10)
    answer = asked(vlab, "lagged1", "gw")
    assert answer.ending is not None and answer.ending.reason is DropReason.NO_UPLINK
    told = [e for e in vlab.client.ask("events") if e["event"] == "lacp" and e.get("why")]
    assert {"passive:vmnic0", "passive:vmnic1"} <= {e["port"] for e in told}


# -- link-state tracking


def test_team_f_5_a_pswitch_that_lost_its_uplink_takes_its_hosts_links_down(vlab: RunningLab) -> None:
    assert points(asked(vlab, "up1", "gw"), Point.UPLINK_SND, "tracked") == ["vmnic0"]
    vlab.link("tor3:tor2", up=False)
    wait_until(lambda: ("tracked", "vmnic0") in vlab.client.state().links_down, "link-state tracking", 5)
    answer = asked(vlab, "up1", "gw")
    assert (points(answer, Point.UPLINK_SND, "tracked"), answer.disposition) == (["vmnic1"], "delivered")
    vlab.link("tor3:tor2", up=True)
    wait_until(lambda: not vlab.client.state().links_down, "links back", 5)
    wait_until(lambda: vlab.client.state().uplink_of["tracked", "up1.eth0"] == "vmnic0", "failback", 5)


# -- what fails while frames fly


@pytest.mark.parametrize("uplink", ["vmnic0"])
def test_team_f_1_a_failover_loses_what_is_in_flight_and_no_more(vlab: RunningLab, uplink: str) -> None:
    total, rate = 2000, 1000.0
    vlab.send("gw", dst_mac="broadcast", kind="raw")
    how = {"dst_mac": vlab.vm("gw").mac, "kind": "raw", "count": total, "rate": rate}
    with closing(LabClient(vlab.client.directory)) as other, vlab.capture("gw") as seen:
        stream = Thread(target=RunningLab(other).send, args=("up1",), kwargs=how)
        stream.start()
        vlab.link(f"tracked:{uplink}", up=False)
        stream.join()
    vlab.link(f"tracked:{uplink}", up=True)
    got = sum(frame.src == vlab.vm("up1").mac for frame in seen.frames)
    assert total - got < 200  # a fifth of a second, on a machine that does other things
    assert got > total / 2


# -- cables that are pulled at one end, in boxes that fail


def dark(lab: RunningLab) -> set[str]:
    return {f"{box}:{port}" for box, port in lab.client.state().links_down}


BOTH_ENDS = {"tracked:vmnic1", "tor2:tracked-vmnic1"}


def test_team_f_1_a_cable_pulled_at_one_end_is_plugged_in_at_the_other(vlab: RunningLab) -> None:
    assert not dark(vlab)
    for pulled, plugged in permutations(sorted(BOTH_ENDS)):
        vlab.link(pulled, up=False)
        assert dark(vlab) == BOTH_ENDS
        vlab.link(plugged, up=True)
        assert not dark(vlab)


def test_team_f_1_a_repaired_pswitch_keeps_what_is_pulled_and_a_failed_one_takes_no_cable(vlab: RunningLab) -> None:
    vlab.link("tracked:vmnic1", up=False)
    vlab.client.ask("fail", box="tor2", failed=True)
    assert dark(vlab) > BOTH_ENDS
    with pytest.raises(UsageError, match="tor2 has failed"):
        vlab.link("tracked:vmnic1", up=True)
    vlab.client.ask("fail", box="tor2", failed=False)
    wait_until(lambda: dark(vlab) == BOTH_ENDS, f"all but the pulled one back: {dark(vlab)}", 5)
    vlab.link("tracked:vmnic1", up=True)
    assert not dark(vlab)


def test_team_f_5_a_port_that_tracking_keeps_down_comes_back_when_tracking_ends(vlab: RunningLab) -> None:
    vlab.link("tor3:tor2", up=False)
    wait_until(lambda: "tracked:vmnic0" in dark(vlab), "link-state tracking", 5)
    with pytest.raises(UsageError, match="link-state tracking"):
        vlab.link("tracked:vmnic0", up=True)
    vlab.set("physical-switch tor3", link_state_tracking=False)
    wait_until(lambda: dark(vlab) == {"tor3:tor2", "tor2:tor3"}, f"only the cable is dark: {dark(vlab)}", 5)
    vlab.set("physical-switch tor3", link_state_tracking=True)
    wait_until(lambda: "tracked:vmnic0" in dark(vlab), "link-state tracking again", 5)
    vlab.link("tor3:tor2", up=True)
    wait_until(lambda: not dark(vlab), "links back", 5)
