"""Teaming with real frames: policies, failover and failback, RARP, beacons, Load-Based Teaming, LACP."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from contextlib import closing
from threading import Thread

import pytest
from scapy.layers.l2 import ARP

from lab import RunningLab
from lab.client import LabClient
from lab.frame import BROADCAST, LACP_ETHERTYPE, DropReason, Frame, Point, Tag
from lab.realise.run import wait_until
from lab.report.where import Answer
from traffic.teaming import RARP_ETHERTYPE, read_beacon, virtual_mac

vlab_topology = "../../topologies/teaming.yaml"
SPEEDUP = 10
BEACON = 0x8922
LACP_MAC = "01:80:c2:00:00:02"


def uplinks(lab: RunningLab, vm: str) -> tuple[str, ...]:
    place = lab.client.place(vm)
    nic = next(n for n in lab.client.topology.vnics if n.label == place.label)
    return lab.client.state().sends_on((nic.host, nic.port))


def on(lab: RunningLab, vm: str, *names: str) -> None:
    wait_until(lambda: uplinks(lab, vm) == names, f"{vm} on {names}: {uplinks(lab, vm)}", 5)


def asked(lab: RunningLab, sender: str, to: str, **how: object) -> Answer:
    answer = lab.where(sender, to, count=1, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    return answer


def left_by(answer: Answer) -> set[str]:
    return {h.interface for trail in answer.trails for h in trail.hops if h.point is Point.UPLINK_SND}


def events(lab: RunningLab, kind: str) -> list[dict[str, object]]:
    return [event for event in lab.client.ask("events") if event["event"] == kind]


def kind_of(raw: bytes) -> int:
    return Frame.parse(raw).ethertype


def rarp_of(raw: bytes) -> str | None:
    """Whose RARP it is."""
    frame = Frame.parse(raw)
    return frame.src if frame.ethertype == RARP_ETHERTYPE else None


def rarps(frames: tuple[Frame, ...]) -> list[Frame]:
    return [frame for frame in frames if frame.ethertype == RARP_ETHERTYPE]


# -- order, standby, failback


def test_team_exp_1_team_exp_2_team_f_2_the_first_usable_uplink_then_standby_and_back(vlab: RunningLab) -> None:
    on(vlab, "first", "vmnic2")
    for down, then in (("vmnic2", "vmnic1"), ("vmnic1", "vmnic3")):
        vlab.link(f"esx1:{down}", up=False)
        on(vlab, "first", then)
        assert left_by(asked(vlab, "first", "gw")) == {then}
    for up, then in (("vmnic1", "vmnic1"), ("vmnic2", "vmnic2")):
        vlab.link(f"esx1:{up}", up=True)
        on(vlab, "first", then)
    assert left_by(asked(vlab, "first", "gw")) == {"vmnic2"}


def test_team_f_2_without_failback_a_port_stays_where_it_is(vlab: RunningLab) -> None:
    on(vlab, "first", "vmnic2")
    (old,) = uplinks(vlab, "stays")
    new = "vmnic1" if old == "vmnic2" else "vmnic2"
    vlab.link(f"esx1:{old}", up=False)
    on(vlab, "stays", new)
    vlab.link(f"esx1:{old}", up=True)
    on(vlab, "first", "vmnic2")  # with failback
    assert uplinks(vlab, "stays") == (new,)


def test_team_f_1_a_blocked_port_keeps_its_carrier_and_swallows_everything(vlab: RunningLab) -> None:
    on(vlab, "first", "vmnic2")
    vlab.client.ask("block", box="tor2", port="esx1-vmnic2", on=True)
    answer = asked(vlab, "first", "gw")
    assert (left_by(answer), answer.ending and answer.ending.reason) == ({"vmnic2"}, DropReason.PSWITCH_BLOCKED)
    vlab.client.ask("block", box="tor2", port="esx1-vmnic2", on=False)
    assert asked(vlab, "first", "gw").disposition == "delivered"


def test_team_f_6_ports_on_other_uplinks_lose_nothing_in_a_failover(vlab: RunningLab) -> None:
    total, rate = 2000, 1000.0
    on(vlab, "light", "vmnic2")
    vlab.send("far", dst_mac="broadcast", kind="raw")
    how = {"dst_mac": vlab.vm("far").mac, "kind": "raw", "count": total, "rate": rate}
    with closing(LabClient(vlab.client.directory)) as other, vlab.capture("far") as seen:
        stream = Thread(target=RunningLab(other).send, args=("light",), kwargs=how)
        stream.start()
        vlab.link("esx1:vmnic1", up=False)
        vlab.link("esx1:vmnic1", up=True)
        stream.join()
    assert Counter(frame.src for frame in seen.frames)[vlab.vm("light").mac] == total


def test_team_f_7_without_any_uplink_local_switching_goes_on(vlab: RunningLab) -> None:
    for uplink in ("vmnic4", "vmnic5"):
        vlab.link(f"esx1:{uplink}", up=False)
    lost = asked(vlab, "hash1", "gw")
    for uplink in ("vmnic1", "vmnic2", "vmnic3"):
        vlab.link(f"esx1:{uplink}", up=False)
    assert lost.ending is not None and lost.ending.reason is DropReason.NO_UPLINK
    assert asked(vlab, "heavy", "light").disposition == "delivered"
    for uplink in range(1, 6):
        vlab.link(f"esx1:vmnic{uplink}", up=True)
    assert asked(vlab, "hash1", "gw").disposition == "delivered"


def test_team_f_4_a_link_that_flaps_is_not_believed(vlab: RunningLab) -> None:
    """One process does it, so that a busy machine is quick enough: 61 losses in six seconds."""
    flaps = "\n".join(f"link set esx1-vmnic2 {to}" for _ in range(100) for to in ("down", "up"))
    subprocess.run([*vlab.client.entry("tor2"), "ip", "-batch", "-"], input=flaps, text=True, check=True)
    wait_until(lambda: ("esx1", "vmnic2") in vlab.client.state().unstable, "more than 60 losses in a minute", 20)
    vlab.link("esx1:vmnic2", up=True)
    on(vlab, "first", "vmnic1")
    wait_until(lambda: not vlab.client.state().unstable, "a calm minute", 120 / SPEEDUP)
    on(vlab, "first", "vmnic2")


# -- which uplink for which frame


@pytest.mark.parametrize(("octet", "uplink"), [("10", "vmnic1"), ("11", "vmnic2"), ("fe", "vmnic1"), ("ff", "vmnic2")])
def test_team_mac_1_team_mac_2_a_nested_hosts_macs_use_several_uplinks(
    vlab: RunningLab, octet: str, uplink: str
) -> None:
    answer = asked(vlab, "nest", "gw", src_mac=f"00:50:56:3f:00:{octet}")
    assert left_by(answer) == {uplink}
    assert "TEAM-MAC-2" in {name for hop in answer.predicted for name in hop.statements}


def test_team_iph_3_team_iph_6_one_pair_of_addresses_one_member_of_the_channel(vlab: RunningLab) -> None:
    by = {peer: left_by(asked(vlab, "hash1", peer)) for peer in ("gw", "gw2")}
    assert by == {"gw": {"vmnic4"}, "gw2": {"vmnic5"}}  # 8 xor 254, 8 xor 253
    assert left_by(asked(vlab, "hash1", "gw")) == {"vmnic4"}
    learned = vlab.client.state().mac_tables["tor2"]
    assert {port for (_, mac), port in learned.items() if mac == vlab.vm("hash1").mac} == {"po1"}


def test_fwd_12_any_member_of_the_channel_may_deliver(vlab: RunningLab) -> None:
    came = {peer: asked(vlab, peer, "hash1") for peer in ("gw", "gw2")}
    assert {answer.disposition for answer in came.values()} == {"delivered"}
    by = {h.interface for a in came.values() for t in a.trails for h in t.hops if h.point is Point.UPLINK_RCV}
    assert {"vmnic4", "vmnic5"} <= by


# -- RARP


def test_nsw_1_nsw_3_nsw_5_nsw_6_nsw_8_rarp_on_the_new_uplink_only(vlab: RunningLab) -> None:
    on(vlab, "probe2", "vmnic2")
    with vlab.capture("esx1:vmnic1", "esx1:vmnic3", "probe2", "far2") as seen:
        vlab.link("esx1:vmnic2", up=False)
        wait_until(lambda: len(uplinks(vlab, "probe2")) == 1, "another uplink")
        (new,) = uplinks(vlab, "probe2")
        time.sleep(5 / SPEEDUP)  # five of them, a second apart
    vlab.link("esx1:vmnic2", up=True)
    mac = vlab.vm("probe2").mac
    told = sorted((p for p in seen.packets if rarp_of(p.data) == mac), key=lambda p: p.time_ns)
    sent = [p for p in told if p.interface == new]
    assert (new in ("vmnic1", "vmnic3"), len(sent)) == (True, 5)
    begins = [p for i, p in enumerate(told) if not i or p.time_ns - told[i - 1].time_ns > 40e6]
    assert [p.interface for p in begins] == [new] * 5  # pSwitches flood it to the others
    assert len([p for p in told if p.interface == "eth0"]) == 5  # the far VM in this VLAN, not the own guest
    whole = Frame.parse(sent[0].data)
    arp = ARP(whole.payload)
    assert (whole.dst, whole.vlans, len(sent[0].data)) == (BROADCAST, (Tag(20),), 64)
    assert (arp.op, arp.hwsrc, arp.hwdst, arp.psrc, arp.pdst) == (3, mac, mac, "0.0.0.0", "0.0.0.0")


def test_nsw_2_a_vnic_that_is_connected_is_told_of_once(vlab: RunningLab) -> None:
    mac = vlab.vm("light").mac
    vlab.set("vnic light.eth0", "connected=false")
    with vlab.capture("esx1:vmnic2") as seen:
        vlab.set("vnic light.eth0", "connected=")
        time.sleep(2 / SPEEDUP)  # a second one would be there by then
    assert [frame.src for frame in rarps(seen.frames) if frame.src == mac] == [mac]


def test_nsw_7_with_notify_switches_no_the_pswitch_keeps_the_old_port(vlab: RunningLab) -> None:
    for vm in ("quiet", "heavy"):
        vlab.send(vm, dst_mac="broadcast", kind="raw")
    with vlab.capture("esx1:vmnic2") as seen:
        vlab.link("esx1:vmnic1", up=False)
        on(vlab, "quiet", "vmnic2")
        wait_until(lambda: uplinks(vlab, "heavy") == ("vmnic2",), "failover")
    vlab.link("esx1:vmnic1", up=True)
    told = {frame.src for frame in rarps(seen.frames)}
    assert (vlab.vm("heavy").mac in told, vlab.vm("quiet").mac in told) == (True, False)


def test_nsw_4_lacp_5_no_rarp_and_no_beacon_for_a_lag(vlab: RunningLab) -> None:
    with vlab.capture("esx2:vmnic4", "esx2:vmnic1") as seen:
        vlab.link("esx2:vmnic3", up=False)
        on(vlab, "lagged1", "vmnic4")
        vlab.link("esx2:vmnic0", up=False)
        wait_until(lambda: "vmnic0" not in uplinks(vlab, "far"), "failover")
    for uplink in ("vmnic0", "vmnic3"):
        vlab.link(f"esx2:{uplink}", up=True)
    on(vlab, "lagged1", "vmnic3", "vmnic4")
    assert vlab.vm("lagged1").mac not in {frame.src for frame in rarps(seen.frames)}
    mac = {i.name: virtual_mac(i.mac) for i in vlab.client.plan.node_named["esx2"].interfaces}
    senders = {frame.src for frame in seen.frames if frame.ethertype == BEACON}
    assert (mac["vmnic1"] in senders, mac["vmnic4"] in senders) == (True, False)


# -- beacons


def test_bcn_1_bcn_2_bcn_3_bcn_4_bcn_10_beacons_on_active_and_standby_uplinks_only(vlab: RunningLab) -> None:
    with vlab.capture("esx1:vmnic0", "esx1:vmnic1", "esx1:vmnic2", "esx1:vmnic3", "far2", "probe1") as seen:
        time.sleep(10 / SPEEDUP)
    mac = {i.name: virtual_mac(i.mac) for i in vlab.client.plan.node_named["esx1"].interfaces}
    frames = [(p, Frame.parse(p.data)) for p in seen.packets]
    beacons = [(packet, frame) for packet, frame in frames if frame.ethertype == BEACON]
    senders = {frame.src for _, frame in beacons}
    assert {name for name in mac if name.startswith("vmnic") and mac[name] in senders} == {"vmnic1", "vmnic2", "vmnic3"}
    assert "eth0" not in {packet.interface for packet, _ in beacons}
    sent = [(p, frame) for p, frame in beacons if (p.interface, frame.src) == ("vmnic1", mac["vmnic1"])]
    every = (sent[-1][0].time_ns - sent[0][0].time_ns) / 1e9 * SPEEDUP / (len(sent) - 1)
    said = read_beacon(sent[0][0].data)
    assert said is not None
    assert (sent[0][1].dst, sent[0][1].vlans, said.uplink) == (BROADCAST, (Tag(20),), "vmnic1")
    assert every == pytest.approx(1.0, rel=0.3)


def test_bcn_5_bcn_6_an_uplink_that_nobody_hears_is_taken_out(vlab: RunningLab) -> None:
    on(vlab, "probe3", "vmnic3")
    vlab.client.ask("block", box="tor3", port="esx1-vmnic3", on=True)
    wait_until(lambda: ("esx1", "vmnic3") in vlab.client.state().beacons_lost, "three missed beacons", 5)
    assert not vlab.client.state().links_down
    assert "vmnic3" not in uplinks(vlab, "probe3")
    assert asked(vlab, "probe3", "far2").disposition == "delivered"
    assert {"port": "esx1:vmnic3", "heard": False}.items() <= events(vlab, "beacon")[-1].items()
    vlab.client.ask("block", box="tor3", port="esx1-vmnic3", on=False)
    on(vlab, "probe3", "vmnic3")


# -- Load-Based Teaming


def load(lab: RunningLab, vm: str, share: float, seconds: float) -> None:
    """Frames of 1,000 bytes to the gateway for so long: this share of a pNIC's 10 Mbit/s."""
    rate = share * lab.client.topology.speed_scale * 1e9 / 8000
    with closing(LabClient(lab.client.directory)) as own:
        how = {"dst_mac": lab.vm("gw").mac, "kind": "raw", "size": 1000}
        RunningLab(own).send(vm, count=round(rate * seconds), rate=rate, **how)  # type: ignore[arg-type]


def window(lab: RunningLab) -> list[object]:
    return [w for w in lab.client.ask("lbt")["windows"] if w["host"] == "esx1"]


def begin_window(lab: RunningLab) -> None:
    """A new one begins now, with the usual threshold."""
    lab.client.ask("lbt", threshold=0.75, period=30)


def overload(lab: RunningLab) -> list[dict[str, object]]:
    """90 % on vmnic1, most of it from heavy: the moves that come of it."""
    lab.send("gw", dst_mac="broadcast", kind="raw")
    on(lab, "heavy", "vmnic1")
    before = len(events(lab, "lbt"))
    begin_window(lab)
    streams = [Thread(target=load, args=(lab, vm, share, 5.0)) for vm, share in (("heavy", 0.55), ("third", 0.35))]
    for stream in streams:
        stream.start()
    wait_until(lambda: len(events(lab, "lbt")) > before, "a move", 8)
    moves = events(lab, "lbt")[before:]
    for stream in streams:
        stream.join()
    return moves


def test_lbt_2_lbt_3_lbt_4_lbt_5_lbt_11_an_uplink_over_75_percent_gives_away_its_busiest_port(vlab: RunningLab) -> None:
    (move,) = overload(vlab)
    assert (move["port"], move["uplink"], move["was"]) == ("esx1:heavy.eth0", "vmnic2", "vmnic1")
    assert left_by(asked(vlab, "heavy", "gw")) == {"vmnic2"}
    assert "esx1:heavy.eth0" in {f"esx1:{p}" for e in events(vlab, "notify") for p in e["ports"]}  # type: ignore[attr-defined]


def test_lbt_5_at_65_percent_nothing_moves(vlab: RunningLab) -> None:
    before, seen = len(events(vlab, "lbt")), vlab.client.ask("lbt")["windows"]
    begin_window(vlab)
    stream = Thread(target=load, args=(vlab, "third", 0.65, 4.0))
    stream.start()
    wait_until(lambda: window(vlab) != seen and _busy(vlab) > 0.5, "a window under load", 8)
    stream.join()
    assert _busy(vlab) < 0.75
    assert len(events(vlab, "lbt")) == before


def _busy(lab: RunningLab) -> float:
    loads = {u["uplink"]: u["share"] for w in window(lab) for u in w["uplinks"]}  # type: ignore[index]
    return float(loads.get("vmnic1", 0.0))


def test_lbt_12_threshold_and_period_are_those_of_net_lbt(vlab: RunningLab) -> None:
    said = vlab.client.ask("lbt", threshold=0.5, period=20)
    assert (said["threshold"], said["period"]) == (0.5, 20)
    for wrong in ({"threshold": 0.05}, {"threshold": 1.5}, {"period": 5}):
        with pytest.raises(Exception, match=r"threshold is 10%|period is 10 to"):
            vlab.client.ask("lbt", **wrong)
    begin_window(vlab)


def test_an_agent_that_is_killed_starts_again_and_placements_stay(vlab: RunningLab) -> None:
    if not vlab.client.state().placed:  # another worker's lab had the test that moves heavy
        overload(vlab)
    placed = dict(vlab.client.state().placed)
    assert placed
    assert vlab.client.ask("kill_agent", name="lbt")
    wait_until(lambda: events(vlab, "agent") != [], "the agent's end", 5)
    assert {"agent": "lbt", "what": "restarted"}.items() <= events(vlab, "agent")[-1].items()
    seen = vlab.client.ask("lbt")["windows"]
    wait_until(lambda: vlab.client.ask("lbt")["windows"] != seen, "another window", 10)
    assert dict(vlab.client.state().placed) == placed


def test_lbt_1_a_placement_ends_with_its_uplink(vlab: RunningLab) -> None:
    (uplink,) = uplinks(vlab, "heavy")
    vlab.link(f"esx1:{uplink}", up=False)
    wait_until(lambda: uplinks(vlab, "heavy") != (uplink,), "failover")
    vlab.link(f"esx1:{uplink}", up=True)
    on(vlab, "heavy", "vmnic1")  # where its port number puts it


# -- LACP


def test_lacp_2_lacp_3_lacpdus_are_exchanged_untagged_on_every_member(vlab: RunningLab) -> None:
    with vlab.capture("esx2:vmnic3", "esx2:vmnic4") as seen:
        for uplink in ("vmnic3", "vmnic4"):
            vlab.link(f"esx2:{uplink}", up=False)
            vlab.link(f"esx2:{uplink}", up=True)
        on(vlab, "lagged1", "vmnic3", "vmnic4")
    said = [p for p in seen.packets if Frame.parse(p.data).ethertype == LACP_ETHERTYPE]
    frames = {Frame.parse(p.data) for p in said}
    assert {p.interface for p in said} == {"vmnic3", "vmnic4"}
    assert {(f.dst, f.vlans, f.payload[0]) for f in frames} == {(LACP_MAC, (), 1)}
    assert len({f.payload[4:10] for f in frames}) == 2  # two systems speak


def test_lacp_4_the_hash_chooses_among_members_and_one_that_is_down_is_left_out(vlab: RunningLab) -> None:
    by = {peer: left_by(asked(vlab, "lagged1", peer)) for peer in ("gw", "gw2")}
    assert set.union(*by.values()) == {"vmnic3", "vmnic4"}
    vlab.link("esx2:vmnic3", up=False)
    on(vlab, "lagged1", "vmnic4")
    assert {peer: left_by(asked(vlab, "lagged1", peer)) for peer in by} == {"gw": {"vmnic4"}, "gw2": {"vmnic4"}}
    vlab.link("esx2:vmnic3", up=True)
    on(vlab, "lagged1", "vmnic3", "vmnic4")


# -- boxes that fail


def test_team_f_1_a_pswitch_that_fails_takes_its_links_with_it_and_comes_back(vlab: RunningLab) -> None:
    vlab.client.ask("fail", box="tor2", failed=True)
    state = vlab.client.state()
    assert {("esx1", "vmnic2"), ("esx1", "vmnic4"), ("esx2", "vmnic1"), ("tor1", "tor2")} <= state.links_down
    on(vlab, "first", "vmnic1")
    vlab.client.ask("fail", box="tor2", failed=False)
    on(vlab, "first", "vmnic2")
    assert not vlab.client.state().links_down


def test_a_host_that_fails_takes_its_vms_with_it(vlab: RunningLab) -> None:
    vlab.client.ask("fail", box="esx2", failed=True)
    assert asked(vlab, "heavy", "far").disposition != "delivered"
    vlab.client.ask("fail", box="esx2", failed=False)
    on(vlab, "lagged1", "vmnic3", "vmnic4")
    assert asked(vlab, "heavy", "far").disposition == "delivered"
