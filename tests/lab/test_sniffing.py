"""The shipped sniffing.yaml, as its comments say it goes."""

from __future__ import annotations

from pathlib import Path

from lab import RunningLab
from lab.frame import Frame, Point
from lab.report.where import Answer
from traffic.canary import canary_payload, new_token

vlab_topology = Path(__file__).resolve().parents[2] / "topologies/sniffing.yaml"


def heard(answer: Answer, node: str) -> int:
    out = (Point.VNIC_OUT, Point.PSWITCH_SND)
    return sum(t.count for t in answer.trails for h in t.hops if h.point in out and h.node == node)


def sees(lab: RunningLab, sender: str, to: str, who: str) -> bool:
    answer = lab.where(sender, to, count=1)
    assert answer.disposition == "delivered"
    assert answer.agrees, answer.differences
    return heard(answer, who) > 0


def test_mir_9_atk_3_a_sniffers_port_group_and_how_it_is_closed(vlab: RunningLab) -> None:
    for name in ("victim", "gw"):
        vlab.send(name, name, dst_mac="broadcast")
    vlab.exec("sniffer", "ip", "link", "set", "eth0", "promisc", "on")
    assert sees(vlab, "victim", "gw", "sniffer")
    vlab.set("port-group sniffers", "security.promiscuous=reject")
    assert not sees(vlab, "victim", "gw", "sniffer")
    vlab.set("port-group sniffers", "security.promiscuous=accept")
    assert sees(vlab, "victim", "gw", "sniffer")
    vlab.exec("sniffer", "ip", "link", "set", "eth0", "promisc", "off")
    assert not sees(vlab, "victim", "gw", "sniffer")


def test_atk_7_a_flood_of_macs_makes_the_pswitch_a_hub_and_not_the_vswitch(vlab: RunningLab) -> None:
    for name in ("gw", "remote"):
        vlab.send(name, name, dst_mac="broadcast")
    flood(vlab, "victim", 64)
    # The latecomer finds no room: what goes to it is flooded, and remote's host gets it too.
    answer = vlab.where("gw", "sniffer", count=1)
    ports = {h.interface for t in answer.trails for h in t.hops if h.point is Point.PSWITCH_SND}
    assert ports == {"esx1-vmnic0", "esx1-vmnic1", "esx2-vmnic0"}
    # Who was learned before is still looked up, and inside the host nothing has changed.
    assert not sees(vlab, "remote", "gw", "sniffer")
    assert not sees(vlab, "victim", "evil", "sniffer")


def flood(lab: RunningLab, sender: str, addresses: int) -> None:
    place = lab.client.place(sender)
    payload = canary_payload(new_token(), 0)
    frames = [Frame(f"00:1c:00:00:{n:02x}:00", "00:1c:ff:ff:ff:ff", payload=payload) for n in range(addresses)]
    job = {"node": place.node, "interface": place.interface, "rate": 5000.0}
    lab.client.ask("send", jobs=[{**job, "frames": [frame.to_bytes().hex() for frame in frames]}])
