"""Layer-2 security policy with real frames: guests that listen, that change their MAC, that forge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import RunningLab
from lab.frame import DropReason, Point
from lab.report.where import Answer

vlab_topology = "security.yaml"

FORGED = "00:50:56:3f:00:09"
NEW = "00:50:56:3f:00:77"
POLICIES = ("aa", "ar", "ra", "rr")


@contextmanager
def listening(lab: RunningLab, *guests: str) -> Iterator[None]:
    """Their adapters are promiscuous meanwhile."""
    for guest in guests:
        lab.exec(guest, "ip", "link", "set", "eth0", "promisc", "on")
    try:
        yield
    finally:
        for guest in guests:
            lab.exec(guest, "ip", "link", "set", "eth0", "promisc", "off")


@contextmanager
def mac(lab: RunningLab, guest: str, address: str) -> Iterator[None]:
    """The guest's adapter has another MAC meanwhile."""
    lab.exec(guest, "ip", "link", "set", "eth0", "address", address)
    try:
        yield
    finally:
        lab.exec(guest, "ip", "link", "set", "eth0", "address", lab.vm(guest).mac)


def heard_by(answer: Answer, node: str) -> int:
    """How many copies of each frame came out of its port."""
    return sum(t.count for t in answer.trails for h in t.hops if h.point is Point.VNIC_OUT and h.node == node)


def reason(answer: Answer) -> DropReason | None:
    return answer.ending.reason if answer.ending else None


def asked(lab: RunningLab, sender: str, to: str, **how: object) -> Answer:
    """Once, and as predicted."""
    answer = lab.where(sender, to, count=1, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    return answer


@pytest.fixture(autouse=True)
def pswitches_know_everybody(vlab: RunningLab) -> None:
    for name in ("web1", "web2", "far", "gw", "gw2"):
        vlab.send(name, name, dst_mac="broadcast")


def test_sec_01_a_promiscuous_guest_hears_nothing_more_where_policy_rejects(vlab: RunningLab) -> None:
    quiet = heard_by(asked(vlab, "web1", "gw", dst_mac="broadcast"), "web2")
    with listening(vlab, "web2"):
        assert heard_by(asked(vlab, "web1", "gw"), "web2") == 0
        assert heard_by(asked(vlab, "web1", "web2"), "web2") == 1
        assert heard_by(asked(vlab, "web1", "gw", dst_mac="broadcast"), "web2") == quiet > 0


def test_sec_02_accepted_and_listening_it_hears_every_port_group_of_its_vlan(vlab: RunningLab) -> None:
    assert heard_by(asked(vlab, "web1", "web2"), "spy") == 0
    with listening(vlab, "spy"):
        answer = asked(vlab, "web1", "web2")
    assert (heard_by(answer, "spy"), heard_by(answer, "web2")) == (1, 1)
    assert "spy" in {seen.node for seen in answer.did_see}


def test_sec_02_a_sniffing_program_is_listening_too(vlab: RunningLab) -> None:
    """Such a program makes the adapter promiscuous without a flag that `ip link` shows."""
    argv = [*vlab.client.entry("spy"), "sh", "-c", "echo $$ >&2; exec dumpcap -i eth0 -w /dev/null"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as sniffer:
        assert sniffer.stderr is not None
        pid = sniffer.stderr.readline().strip()
        assert any(line.startswith("File:") for line in sniffer.stderr)
        during = asked(vlab, "web1", "web2")
        vlab.exec("spy", "kill", pid)
    assert heard_by(during, "spy") == 1
    assert heard_by(asked(vlab, "web1", "web2"), "spy") == 0


@pytest.mark.parametrize(
    ("sender", "to", "hears"),
    [
        pytest.param("web1", "web2", 1, id="same VLAN"),
        pytest.param("db1", "db2", 0, id="another VLAN"),
        pytest.param("far", "gw", 0, id="other hosts, not sent here"),
        pytest.param("other", "gw", 0, id="another vSwitch of the host"),
    ],
)
def test_sec_03_what_a_promiscuous_port_does_not_see(vlab: RunningLab, sender: str, to: str, hears: int) -> None:
    vlab.send("other", "other", dst_mac="broadcast")
    with listening(vlab, "spy"):
        assert heard_by(asked(vlab, sender, to), "spy") == hears


def test_sec_04_inbound_only_on_the_uplink_of_the_sniffer(vlab: RunningLab) -> None:
    """With the filter on for promiscuous ports; SEC-5 is the default, without it."""
    vlab.set("knobs", reverse_path_promisc=1)
    try:
        uplink = vlab.client.state().uplink_of
        mine = uplink["esx1", "spy.eth0"]
        for victim in ("web1", "web2"):
            with listening(vlab, "spy"):
                heard = heard_by(asked(vlab, "gw", victim), "spy")
            assert heard == (1 if uplink["esx1", f"{victim}.eth0"] == mine else 0)
        assert {uplink["esx1", "web1.eth0"], uplink["esx1", "web2.eth0"]} == {"vmnic0", "vmnic1"}
        with listening(vlab, "spy"):
            assert heard_by(asked(vlab, "web1", "gw"), "spy") == 1
            assert heard_by(asked(vlab, "gw", "gw2"), "spy") == 0
    finally:
        vlab.set("knobs", reverse_path_promisc=0)


def test_sec_05_flooded_frames_arrive_twice_at_a_promiscuous_port(vlab: RunningLab) -> None:
    with listening(vlab, "spy"):
        assert heard_by(asked(vlab, "gw", "web1", dst_mac="broadcast"), "spy") == 2
        vlab.set("knobs", reverse_path_promisc=1)
        try:
            assert heard_by(asked(vlab, "gw", "web1", dst_mac="broadcast"), "spy") == 1
        finally:
            vlab.set("knobs", reverse_path_promisc=0)
    assert heard_by(asked(vlab, "gw", "web1", dst_mac="broadcast"), "spy") == 1


def test_sec_06_a_promiscuous_port_gets_its_own_broadcast_back(vlab: RunningLab) -> None:
    """What makes a bridge in a guest learn its own MACs on the wrong side."""
    with listening(vlab, "spy"):
        assert heard_by(asked(vlab, "spy", "gw", dst_mac="broadcast"), "spy") == 1
    assert heard_by(asked(vlab, "spy", "gw", dst_mac="broadcast"), "spy") == 0


def test_vlan_11_vgt_and_promiscuous_sees_every_vlan_tagged(vlab: RunningLab) -> None:
    with listening(vlab, "spyall"):
        for sender, to, vid in (("web1", "web2", 10), ("db1", "db2", 20)):
            answer = asked(vlab, sender, to)
            tags = {
                tuple(t.vid for t in h.vlans)
                for x in answer.trails
                for h in x.hops
                if h.point is Point.VNIC_OUT and h.node == "spyall"
            }
            assert tags == {(vid,)}
    assert heard_by(asked(vlab, "web1", "web2"), "spyall") == 0


@pytest.mark.parametrize("guest", POLICIES)
def test_sec_07_a_forged_source_leaves_only_where_it_is_accepted(vlab: RunningLab, guest: str) -> None:
    answer = asked(vlab, guest, "web1", src_mac=FORGED)
    assert (answer.disposition == "delivered") is guest.endswith("a")
    assert reason(answer) in (None, DropReason.FORGED_TRANSMIT)
    assert asked(vlab, guest, "web1").disposition == "delivered"


@pytest.mark.parametrize(("compare", "passes"), [("effective", True), ("vmx", False)])
def test_sec_08_what_a_source_is_compared_with(vlab: RunningLab, compare: str, passes: bool) -> None:
    vlab.set("knobs", forged_compare=compare)
    try:
        with mac(vlab, "ar", NEW):
            answer = asked(vlab, "ar", "web1", src_mac=NEW)
            assert (answer.disposition == "delivered") is passes
            own = asked(vlab, "ar", "web1", src_mac=vlab.vm("ar").mac)
            assert (own.disposition == "delivered") is not passes
    finally:
        vlab.set("knobs", forged_compare="effective")


@pytest.mark.parametrize("guest", ["ra", "rr"])
def test_sec_09_rejected_mac_change_stops_all_that_comes_in(vlab: RunningLab, guest: str) -> None:
    with mac(vlab, guest, NEW):
        old = asked(vlab, "web1", guest)
        assert reason(old) is DropReason.MAC_CHANGE
        assert heard_by(asked(vlab, "web1", guest, dst_mac=NEW), guest) == 0
        assert heard_by(asked(vlab, "web1", guest, dst_mac="broadcast"), guest) == 0
    assert asked(vlab, "web1", guest).disposition == "delivered"


@pytest.mark.parametrize("guest", ["aa", "ar"])
def test_sec_10_accepted_mac_change_moves_reception_to_the_new_mac(vlab: RunningLab, guest: str) -> None:
    with mac(vlab, guest, NEW):
        assert heard_by(asked(vlab, "web1", guest, dst_mac=NEW), guest) == 1
        assert heard_by(asked(vlab, "web1", guest), guest) == 0
    assert heard_by(asked(vlab, "web1", guest, dst_mac=NEW), guest) == 0


# Guest, receives at its new MAC, sends with its new MAC.
COMBINATIONS = [("aa", True, True), ("ar", True, True), ("ra", False, True), ("rr", False, False)]


@pytest.mark.parametrize(("guest", "receives", "sends"), COMBINATIONS)
def test_sec_11_the_two_policies_are_independent(vlab: RunningLab, guest: str, receives: bool, sends: bool) -> None:
    with mac(vlab, guest, NEW):
        assert (heard_by(asked(vlab, "web1", guest, dst_mac=NEW), guest) == 1) is receives
        assert (asked(vlab, guest, "web1", src_mac=NEW).disposition == "delivered") is sends


def test_sec_12_arp_spoofing_with_the_own_source_mac_passes_every_policy(vlab: RunningLab) -> None:
    """ATK-5: the policy reads the Ethernet header only."""
    honest = asked(vlab, "rr", "web1", kind="arp")
    assert honest.disposition == "delivered"
    forged = asked(vlab, "rr", "web1", kind="arp", src_mac=vlab.vm("gw").mac)
    assert reason(forged) is DropReason.FORGED_TRANSMIT
    assert asked(vlab, "aa", "web1", kind="arp", src_mac=vlab.vm("web2").mac).disposition == "delivered"


@pytest.mark.parametrize(("guest", "leaves"), [("aa", True), ("ar", False)])
def test_sec_13_forged_transmits_stop_the_bpdus_of_a_guests_bridge(vlab: RunningLab, guest: str, leaves: bool) -> None:
    answer = asked(vlab, guest, "gw", src_mac=FORGED, dst_mac="01:80:c2:00:00:00")
    assert any(h.point is Point.UPLINK_SND for t in answer.trails for h in t.hops) is leaves


def test_sec_14_what_policy_refuses_is_logged(vlab: RunningLab) -> None:
    before = len(vlab.client.ask("events"))
    with mac(vlab, "rr", NEW), listening(vlab, "web2"):
        vlab.client.ask("status")
    said = [str(event) for event in vlab.client.ask("events", after=before)]
    assert any("L2Sec_EnforcePortCompliance" in line and "rr" in line and NEW in line for line in said)
    assert any("L2Sec_EnforcePortCompliance" in line and "web2" in line and "promiscuous" in line for line in said)
    assert not any("L2Sec" in line and "spy" in line for line in said)
