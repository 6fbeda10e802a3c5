"""A running lab whose physical switches speak spanning tree and guard against BPDUs: what hosts have to do with it."""

from __future__ import annotations

import pytest
from hearing import until_heard

from lab import RunningLab
from lab.frame import BPDU_MACS
from lab.realise.run import wait_until

vlab_topology = "spanning-tree.yaml"


def uplink(lab: RunningLab, vm: str) -> str | None:
    return lab.client.state().uplink_of["esx1", f"{vm}.eth0"]


def events(lab: RunningLab, kind: str) -> list[dict[str, object]]:
    return [event for event in lab.client.ask("events") if event["event"] == kind]


def test_a_ring_has_one_end_that_discards_and_everybody_is_reached(vlab: RunningLab) -> None:
    discarding = vlab.client.state().discarding
    assert len(discarding) == 1
    assert {port for _, port in discarding} <= {"tor1", "tor2", "core"}
    report = vlab.verify()
    assert report.ok, report.differ


def test_a_cut_in_the_ring_is_healed_by_the_other_way(vlab: RunningLab) -> None:
    ((switch, port),) = vlab.client.state().discarding
    (other,) = {"tor1", "tor2", "core"} - {switch, port}
    vlab.link(f"{switch}:{other}", up=False)
    wait_until(lambda: not vlab.client.state().discarding, "the other way")
    report = vlab.verify()
    assert report.ok, report.differ
    vlab.link(f"{switch}:{other}", up=True)
    wait_until(lambda: len(vlab.client.state().discarding) == 1, "a ring again")


def test_fwd_14_a_host_sends_no_bpdu_and_hears_those_of_its_pswitch(vlab: RunningLab) -> None:
    with vlab.capture("esx1:vmnic0", "esx1:vmnic1") as seen:
        for uplink in ("vmnic0", "vmnic1"):  # they come every two seconds
            vlab.exec("esx1", *until_heard(uplink, BPDU_MACS[0]))
        for vm in ("web1", "web2"):
            vlab.send(vm, "gw")
    bpdus = [frame for frame in seen.frames if frame.dst in BPDU_MACS]
    of_hosts = {nic.mac for nic in vlab.client.plan.node_named["esx1"].interfaces} | {vlab.vm("web1").mac}
    assert bpdus
    assert not {frame.src for frame in bpdus} & of_hosts


@pytest.mark.parametrize("mac", BPDU_MACS)
def test_atk_8_a_guests_bpdu_takes_the_hosts_uplinks_down_one_after_the_other(vlab: RunningLab, mac: str) -> None:
    first = uplink(vlab, "web1")
    assert first is not None
    second = "vmnic1" if first == "vmnic0" else "vmnic0"
    before = len(events(vlab, "err-disabled"))
    vlab.send("web1", "gw", dst_mac=mac)
    wait_until(lambda: uplink(vlab, "web1") == second, "failover")
    assert vlab.where("web1", "gw", count=1).disposition == "delivered"
    vlab.send("web1", "gw", dst_mac=mac)
    wait_until(lambda: uplink(vlab, "web1") is None, "no uplink left")
    assert vlab.where("web2", "gw", count=1).disposition != "delivered"
    assert vlab.where("web1", "web2", count=1).disposition == "delivered"
    assert len(events(vlab, "err-disabled")) == before + 2
    for pnic in (first, second):
        vlab.link(f"esx1:{pnic}", up=True)
    wait_until(lambda: uplink(vlab, "web1") == first, "failback")


def test_fwd_16_a_host_that_blocks_guests_bpdus_keeps_its_uplinks(vlab: RunningLab) -> None:
    vlab.set("knobs", block_guest_bpdu=1)
    try:
        before = len(events(vlab, "err-disabled"))
        vlab.send("web1", "gw", dst_mac=BPDU_MACS[0])
        drops = vlab.client.ask("drops")
        assert ("Guest BPDU Blocked", "FWD-16") in {(row["reason"], row["statement"]) for row in drops}
        assert vlab.where("web1", "gw", count=1).disposition == "delivered"
        assert len(events(vlab, "err-disabled")) == before
    finally:
        vlab.set("knobs", block_guest_bpdu=None)
