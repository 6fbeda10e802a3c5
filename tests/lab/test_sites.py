"""Sites with a distance between them: vMotion across it, tromboning, split brain (L2S, VMO-9)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import RunningLab
from lab.errors import UsageError
from lab.realise.doctor import examine
from lab.realise.run import wait_until

vlab_topology = "sites.yaml"

ROOT = Path(__file__).parents[2]
VLAB = [sys.executable, "-m", "lab.cli"]
IPV4, ICMP, ECHO_REQUEST = 0x0800, 1, 8
LINK = "wan-a:wan-b"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


def round_trip_ms(lab: RunningLab, vm: str, to: str) -> float:
    said = lab.exec(vm, "ping", "-c5", "-i0.05", lab.vm(to).address).stdout
    found = re.search(r"= ([\d.]+)/", said)
    assert found, said
    return float(found[1])


def table(lab: RunningLab, switch: str, vm: str, vlan: int = 10) -> str | None:
    return lab.client.state().mac_tables[switch].get((vlan, lab.vm(vm).mac))


def test_a_distance_is_on_every_round_trip(vlab: RunningLab) -> None:
    """The shortest of five: a machine that is busy can only make it longer."""
    near, far = round_trip_ms(vlab, "web1", "web2"), round_trip_ms(vlab, "web1", "twin2")
    assert far >= 2.0 and far > near


def test_status_tells_of_the_wires(vlab: RunningLab) -> None:
    wires = vlab.client.ask("status")["wires"]
    netem = next(finding.ok for finding in examine() if finding.name == "kernel: netem")
    by = "netem" if netem and os.environ.get("VLAB_DISTANCE") != "wire" else "userspace wire"
    assert [(w["by"], w["delay"], w["alive"]) for w in wires] == [(by, 0.001, True), (by, 0.006, True)]


def test_vmo_9_a_host_beyond_the_releases_round_trip_is_refused(vlab: RunningLab) -> None:
    with pytest.raises(UsageError, match=r"12 ms, and vSphere 5\.0 allows 10 ms"):
        vlab.vmotion("web1", "esx-c")


@pytest.mark.parametrize(("there", "milliseconds", "goes"), [("esx-b", 2.0, True), ("esx-c", 12.0, False)])
def test_l2s_9_a_measured_round_trip_within_the_ceiling_lets_vmotion_go(
    vlab: RunningLab, there: str, milliseconds: float, goes: bool
) -> None:
    address = vlab.vm(f"{there}.vmk1").address
    said = vlab.exec("esx-a-vmk", "ping", "-c3", "-i0.05", "-I", "vmk1", address).stdout
    assert float(re.findall(r"= ([\d.]+)/", said)[0]) >= milliseconds
    if not goes:
        with pytest.raises(UsageError, match="VMO-9"):
            vlab.vmotion("web1", there)
        return
    assert vlab.vmotion("web1", there, watch=False).done["target"] == there
    vlab.vmotion("web1", "esx-a", watch=False)


def test_l2s_3_the_rarp_of_a_vmotion_crosses_and_every_switch_relearns(vlab: RunningLab) -> None:
    vlab.send("web2", dst_mac="broadcast", kind="raw")
    wait_until(lambda: table(vlab, "wan-b", "web2") == "wan-a", "the broadcast at the other site")
    vlab.vmotion("web2", "esx-b")
    wait_until(lambda: table(vlab, "tor-a", "web2") == "wan-a", "the RARP at the first site")
    assert table(vlab, "wan-a", "web2") == "wan-b"
    assert table(vlab, "wan-b", "web2") == "tor-b"
    assert table(vlab, "tor-b", "web2") == "esx-b-vmnic1"
    answer = vlab.where("web1", "web2")
    assert answer.agrees and answer.disposition == "delivered", answer.differences
    vlab.vmotion("web2", "esx-a")


def test_l2s_6_a_mac_at_both_sites_makes_the_stretch_switch_alternate(vlab: RunningLab) -> None:
    mac = vlab.vm("twin1").mac
    vlab.exec("twin2", "ip", "link", "set", "eth0", "address", mac)
    places = []
    for vm in ("twin1", "twin2") * 3:
        vlab.send(vm, src_mac=mac, dst_mac="broadcast", kind="raw")
        expected = {"twin1": "tor-a", "twin2": "wan-b"}[vm]
        wait_until(lambda e=expected: table(vlab, "wan-a", "twin1") == e, "the MAC's move")  # type: ignore[misc]
        places.append(table(vlab, "wan-a", "twin1"))
    vlab.exec("twin2", "ip", "link", "set", "eth0", "address", vlab.vm("twin2").mac)
    assert places == ["tor-a", "wan-b"] * 3


@pytest.fixture
def whole(vlab: RunningLab) -> Iterator[RunningLab]:
    """The lab; whatever a test has cut is mended after it."""
    yield vlab
    for stretch in ("near", "far"):
        vlab.client.ask("cut", stretch=stretch, up=True)


def heard(lab: RunningLab, sender: str, receiver: str) -> str:
    """What became of a broadcast, which must be as foretold: that it came, or why copies of it ended."""
    answer = lab.where(sender, receiver, kind="raw", dst_mac="broadcast")
    assert answer.agrees, answer.differences
    reasons = {str(hop.reason) for trail in answer.trails for hop in trail.hops if hop.reason}
    return "delivered" if answer.disposition == "delivered" else ", ".join(sorted(reasons))


def moves(lab: RunningLab, mac: str, switch: str) -> int:
    """How often that pSwitch has told of this MAC on another port."""
    told = [e for e in lab.client.ask("events") if e["event"] == "mac-move" and e["mac"] == mac]
    return sum(1 for event in told if event["port"].startswith(f"{switch}:"))


def test_l2s_10_a_cut_leaves_one_address_active_at_both_sites_and_mended_its_mac_flaps(whole: RunningLab) -> None:
    """Both sites run the VM: its other half has the same MAC and address, as after a restart by HA over there."""
    lab, mac, address = whole, whole.vm("twin1").mac, "10.0.10.77/24"
    for vm in ("twin1", "twin2"):
        lab.exec(vm, "ip", "link", "set", "eth0", "address", mac)
        lab.exec(vm, "ip", "address", "add", address, "dev", "eth0")
    lab.exec("db1", "ip", "address", "add", "10.0.10.78/24", "dev", "eth0")
    cut = run("link", "--lab", lab.name, "near", "down")
    assert cut.returncode == 0 and "near is down, at wan-a:wan-b" in cut.stdout
    for asks in ("web1", "db1"):  # one at each site, and each is answered
        lab.exec(asks, "ping", "-c1", "-W5", address.split("/")[0])
    before = moves(lab, mac, "wan-a")
    assert run("link", "--lab", lab.name, "near", "up").returncode == 0
    with flapping(lab, mac):
        wait_until(lambda: moves(lab, mac, "wan-a") > before, "the MAC's moves in wan-a's log")
    for vm in ("twin1", "twin2", "db1"):
        lab.exec(vm, "ip", "address", "del", "10.0.10.78/24" if vm == "db1" else address, "dev", "eth0")
    lab.exec("twin2", "ip", "link", "set", "eth0", "address", lab.vm("twin2").mac)


@contextmanager
def flapping(lab: RunningLab, mac: str) -> Iterator[None]:
    """Both halves of a VM send, in turns, at a pace that the log of a switch can follow."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            for vm in ("twin1", "twin2"):
                lab.send(vm, src_mac=mac, dst_mac="broadcast", kind="raw")
                over.wait(0.7)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        over.set()
        sending.join()


def test_l2s_10_a_one_way_cut_loses_what_one_site_sends(whole: RunningLab) -> None:
    said = run("link", "--lab", whole.name, "near", "down", "--one-way", "a")
    assert "what a sends over near is lost, at wan-b:wan-a" in said.stdout, said.stderr
    assert "PSwitch Port Hears Nothing" in heard(whole, "twin1", "twin2")
    assert heard(whole, "twin2", "twin1") == "delivered"
    assert run("link", "--lab", whole.name, "near", "up").returncode == 0
    assert heard(whole, "twin1", "twin2") == "delivered"


def test_l2s_10_a_site_that_is_lost_takes_its_vms_with_it_and_no_others(whole: RunningLab) -> None:
    failed = run("fail", "--lab", whole.name, "site", "b")
    assert "site b (esx-b, tor-b, wan-b) has failed" in failed.stdout, failed.stderr
    assert heard(whole, "web1", "web2") == "delivered"
    assert heard(whole, "web1", "db1") != "delivered"
    status = json.loads(run("status", "--lab", whole.name, "--json").stdout)
    assert status["failed"] == ["esx-b", "tor-b", "wan-b"]
    assert run("fail", "--lab", whole.name, "site", "b", "--repair").returncode == 0
    assert heard(whole, "web1", "db1") == "delivered"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("near", "block"), "a stretch goes down or up"),
        (("nearby", "down"), "no port 'nearby' (did you mean near?)"),
        (("near", "down", "--one-way", "c"), "near does not come to c"),
        (("near", "down", "--one-way", "x"), "no site 'x'"),
        (("tor-a:wan-a", "down", "--one-way", "a"), "'tor-a:wan-a' is none"),
    ],
)
def test_a_cut_that_makes_no_sense_is_refused(vlab: RunningLab, words: tuple[str, ...], why: str) -> None:
    said = run("link", "--lab", vlab.name, *words)
    assert (said.returncode, said.stdout) == (2, "") and why in said.stderr


def test_l2s_5_the_lab_survives_a_storm_that_crosses(vlab: RunningLab) -> None:
    sent = vlab.send("twin1", dst_mac="broadcast", kind="raw", count=20000)
    assert sent.count == 20000
    assert vlab.client.ask("status")["ended"] == {}
    answer = vlab.where("web1", "twin2", kind="raw")
    assert answer.disposition == "delivered"


def test_l2s_4_after_a_move_a_routed_packet_crosses_the_link_twice(vlab: RunningLab) -> None:
    vlab.exec("gw", "ip", "address", "add", "10.0.20.254/24", "dev", "eth0")
    vlab.exec("web1", "ip", "route", "add", "10.0.20.0/24", "via", "10.0.10.254")
    vlab.exec("db1", "ip", "route", "add", "10.0.10.0/24", "via", "10.0.20.254")
    vlab.vmotion("web1", "esx-b")
    vlab.exec("web1", "ping", "-c2", "-W3", vlab.vm("db1").address)
    with vlab.capture(LINK) as seen:
        vlab.exec("web1", "ping", "-c5", "-i0.05", "-W3", vlab.vm("db1").address)
    vlab.vmotion("web1", "esx-a")
    requests = [
        f for f in seen.frames if f.ethertype == IPV4 and f.payload[9] == ICMP and f.payload[20] == ECHO_REQUEST
    ]
    way = Counter((frame.src, frame.dst) for frame in requests)
    web1, db1, gw = (vlab.vm(name).mac for name in ("web1", "db1", "gw"))
    assert way == {(web1, gw): 5, (gw, db1): 5}
