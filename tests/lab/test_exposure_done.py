"""What `could_see` says is done for real: each way lets its node see the frame, and the named remedy ends that."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import RunningLab
from lab.frame import Frame, Tag, mac_bytes
from lab.predict.passing import CouldSee
from lab.realise.run import wait_until
from lab.report.where import Answer
from traffic.canary import canary_payload, new_token

vlab_topology = Path(__file__).parent / "exposure.yaml"


def way(answer: Answer, node: str, action: str) -> CouldSee | None:
    return next((e for e in answer.could_see if (e.node, e.action) == (node, action)), None)


def saw(answer: Answer, node: str) -> bool:
    return node in {seen.node for seen in answer.did_see}


def ask(lab: RunningLab, **how: object) -> Answer:
    """Once the pSwitches know where the receiver is, or all would see what they flood."""
    lab.send("gw", "gw", dst_mac="broadcast")
    answer = lab.where("victim", "gw", count=1, **how)
    assert answer.agrees, answer.differences
    return answer


@contextmanager
def remedied(lab: RunningLab, entry: CouldSee | None) -> Iterator[None]:
    """With what closes this way, as a user would type it; undone afterwards."""
    assert entry is not None
    words = shlex.split(entry.closes)[2:]
    what, changes = (" ".join(w for w in words if "=" not in w), [w for w in words if "=" in w])
    vlan = 4095 if entry.node == "trunk" else 10
    before = {"vlan": vlan, "access": 10, "port_group": entry.node, "promiscuous": "accept", "mac_changes": "accept"}
    lab.set(what, *changes)
    yield
    lab.set(what, *(f"{w.split('=')[0]}={before[w.split('=')[0].rpartition('.')[2]]}" for w in changes))


def inject(lab: RunningLab, node: str, frame: Frame) -> None:
    place = lab.client.place(node)
    job = {"node": place.node, "interface": place.interface, "frames": [frame.to_bytes().hex()]}
    lab.client.ask("send", jobs=[job])


def claims(lab: RunningLab, node: str, vlans: tuple[Tag, ...] = ()) -> Frame:
    """An ARP request of `node` that says that the gateway's address is at its own MAC."""
    own, gw, victim = (lab.vm(name) for name in (node, "gw", "victim"))
    told = [mac_bytes(own.mac), socket.inet_aton(gw.address), bytes(6), socket.inet_aton(victim.address)]
    body = bytes.fromhex("0001080006040001") + b"".join(told)
    return Frame(own.mac, victim.mac, vlans, 0x0806, body.ljust(46, b"\0"))


def believed(lab: RunningLab) -> str:
    """The MAC that the victim has for the gateway's address."""
    return lab.exec("victim", "ip", "neigh", "show", lab.vm("gw").address).stdout


def test_sec_2_atk_3_a_guest_that_could_listen_does(vlab: RunningLab) -> None:
    entry = way(ask(vlab), "sniffer", "promiscuous")
    vlab.exec("sniffer", "ip", "link", "set", "eth0", "promisc", "on")
    assert saw(ask(vlab), "sniffer")
    with remedied(vlab, entry):
        closed = ask(vlab)
        assert not saw(closed, "sniffer")
        assert way(closed, "sniffer", "promiscuous") is None
    vlab.exec("sniffer", "ip", "link", "set", "eth0", "promisc", "off")


def test_sec_10_a_guest_that_could_take_the_gateways_mac_does(vlab: RunningLab) -> None:
    entry, gw, own = way(ask(vlab), "mover", "mac"), vlab.vm("gw").mac, vlab.vm("mover").mac
    vlab.exec("mover", "ip", "link", "set", "eth0", "address", gw)
    inject(vlab, "mover", Frame(gw, "ff:ff:ff:ff:ff:ff", payload=canary_payload(new_token())))
    assert saw(ask(vlab), "mover")
    with remedied(vlab, entry):
        assert not saw(ask(vlab), "mover")
    vlab.exec("mover", "ip", "link", "set", "eth0", "address", own)
    assert way(ask(vlab), "sniffer", "mac") is None  # its port group rejects it


@pytest.mark.parametrize(
    ("node", "vlans"), [("evil", ()), ("trunk", (Tag(10),)), ("spy", ())], ids=["VST", "VGT", "machine"]
)
def test_sec_12_atk_5_a_node_that_could_answer_arp_does(vlab: RunningLab, node: str, vlans: tuple[Tag, ...]) -> None:
    own, entry = vlab.vm(node).mac, way(ask(vlab), node, "arp")
    vlab.exec("victim", "ip", "neigh", "flush", "all")
    inject(vlab, node, claims(vlab, node, vlans))
    wait_until(lambda: own in believed(vlab), "belief in what was claimed")
    assert saw(ask(vlab, dst_mac=own), node)
    with remedied(vlab, entry):
        vlab.exec("victim", "ip", "neigh", "flush", "all")
        inject(vlab, node, claims(vlab, node, vlans))
        assert own not in believed(vlab)
        assert not saw(ask(vlab, dst_mac=own), node)


def test_what_is_on_the_failover_path_sees_it_when_the_cable_is_pulled(vlab: RunningLab) -> None:

    tor2 = next(e for e in ask(vlab).could_see if e.node == "tor2")
    assert tor2.after == "esx1:vmnic0 fails"
    vlab.link("esx1:vmnic0", up=False)
    assert "tor2" in ask(vlab).path
    vlab.set("port-group esx1/vSwitch0/web", *shlex.split(tor2.closes)[4:])
    assert ask(vlab).path == ("victim", "esx1")
    vlab.link("esx1:vmnic0", up=True)
    vlab.set("port-group esx1/vSwitch0/web", "teaming.active=[vmnic0]", "teaming.standby=[vmnic1]")


def test_fwd_19_a_guest_that_could_ask_for_a_group_does(vlab: RunningLab) -> None:
    group = "01:00:5e:01:01:01"
    entry = way(ask(vlab, dst_mac=group), "mover", "group")
    assert not saw(ask(vlab, dst_mac=group), "mover")
    vlab.exec("mover", "ip", "maddr", "add", group, "dev", "eth0")
    assert saw(ask(vlab, dst_mac=group), "mover")
    with remedied(vlab, entry):
        assert not saw(ask(vlab, dst_mac=group), "mover")
    vlab.exec("mover", "ip", "maddr", "del", group, "dev", "eth0")


@pytest.mark.topology(Path(__file__).parent / "forwarding.yaml")
def test_sec_15_sec_18_a_forged_source_is_believed_where_macs_are_learned(vlab: RunningLab) -> None:
    vlab.set("port-group dvs0/allows", "mac_learning.unicast_flooding=false")
    vlab.send("gw", "gw", dst_mac="broadcast")
    entry = way(vlab.where("far1", "gw", count=1), "allow1", "forge")
    assert entry is not None
    forged = Frame(vlab.vm("gw").mac, vlab.vm("far1").mac, payload=canary_payload(new_token()))
    what, change = " ".join(shlex.split(entry.closes)[2:4]), shlex.split(entry.closes)[4]
    vlab.set(what, change)
    inject(vlab, "allow1", forged)
    assert not saw(vlab.where("far1", "gw", count=1), "allow1")
    vlab.set(what, "security.forged_transmits=")
    inject(vlab, "allow1", forged)
    assert saw(vlab.where("far1", "gw", count=1), "allow1")
