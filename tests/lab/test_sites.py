"""Sites with a distance between them: vMotion across it, tromboning, split brain (L2S, VMO-9)."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from lab import RunningLab
from lab.errors import UsageError
from lab.realise.run import wait_until

vlab_topology = "sites.yaml"

IPV4, ICMP, ECHO_REQUEST = 0x0800, 1, 8
LINK = "wan-a:wan-b"


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
    assert [(w["by"], w["delay"], w["alive"]) for w in wires] == [
        ("userspace wire", 0.001, True),
        ("userspace wire", 0.006, True),
    ]


def test_vmo_9_a_host_beyond_the_releases_round_trip_is_refused(vlab: RunningLab) -> None:
    with pytest.raises(UsageError, match=r"12 ms, and vSphere 5\.0 allows 10 ms"):
        vlab.vmotion("web1", "esx-c")


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


def test_l2s_4_after_a_move_a_routed_packet_crosses_the_link_twice(vlab: RunningLab) -> None:
    vlab.exec("gw", "ip", "address", "add", "10.0.20.254/24", "dev", "eth0")
    for conf in ("all", "eth0"):  # both networks are in one VLAN here: it would tell them of a shorter way
        vlab.exec("gw", "sh", "-c", f"echo 0 > /proc/sys/net/ipv4/conf/{conf}/send_redirects")
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
