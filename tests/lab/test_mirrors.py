"""Copies that mirroring sessions make, flow records and discovery, with real frames."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hearing import until_heard

from lab import RunningLab
from lab.frame import CDP_MAC, LLDP_MAC, DropReason, Frame, Point, is_gre
from lab.realise.run import wait_until

vlab_topology = "mirrors.yaml"
ETHERTYPE = 0x88B5
GONE = "192.0.2.9"


@pytest.fixture(autouse=True)
def pswitches_know_everybody(vlab: RunningLab) -> None:
    for name in ("some", "long", "web1", "web2", "away", "gw", "collector"):
        vlab.send(name, name, dst_mac="broadcast")


def copies_at(lab: RunningLab, point: str, sender: str, count: int = 1, to: str = "web2", **how: object) -> list[Frame]:
    """What a point sees of `count` raw frames that a guest sends."""
    with lab.capture(point) as seen:
        lab.send(sender, to, kind="raw", count=count, **how)  # type: ignore[arg-type]
        lab.where("gw", "web2", count=1)  # what was sent before it has passed every switch
    return [frame for frame in seen.frames if frame.src == lab.vm(sender).mac and frame.ethertype == ETHERTYPE]


def test_mir_1_the_session_s_direction_decides_and_who_saw_it_is_told(vlab: RunningLab) -> None:
    away, back = (vlab.where(*pair, count=1) for pair in (("web1", "web2"), ("web2", "web1")))
    assert away.agrees and back.agrees, (away.differences, back.differences)
    assert "probe" in {seen.node for seen in away.did_see}
    assert "ids3" not in {seen.node for seen in away.did_see}
    assert {seen.node for seen in back.did_see} >= {"ids3"}
    assert "probe" not in {seen.node for seen in back.did_see}


def test_mir_2_the_encapsulation_vlan_stands_before_the_tag_that_is_kept(vlab: RunningLab) -> None:
    (copy,) = copies_at(vlab, "esx1:vmnic1", "web1")
    assert [tag.vid for tag in copy.vlans] == [999, 10]


def test_mir_2_a_tag_that_is_stripped_is_gone(vlab: RunningLab) -> None:
    (copy,) = copies_at(vlab, "ids3", "web2", to="web1")
    assert copy.vlans == ()


@pytest.mark.parametrize(("size", "seen"), [(400, 128), (127, 128), (100, 104)])
def test_mir_3_a_copy_is_cut_to_the_session_s_length(vlab: RunningLab, size: int, seen: int) -> None:
    """With its tag, which is four octets of it."""
    (copy,) = copies_at(vlab, "ids2", "long", size=size)
    assert len(copy.to_bytes()) == seen


def test_mir_4_a_destination_port_takes_no_traffic_of_its_own_unless_that_is_allowed(vlab: RunningLab) -> None:
    for vm, passes in (("ids1", False), ("ids3", True)):
        answer = vlab.where(vm, "gw", count=1, vlans=(10,), kind="raw")
        assert answer.agrees, answer.differences
        assert (answer.disposition == "delivered") is passes
    refused = vlab.where("ids2", "gw", count=1, vlans=(10,), kind="raw")
    assert refused.ending is not None and refused.ending.reason is DropReason.MIRROR_DESTINATION


def test_mir_5_one_of_every_three_is_copied(vlab: RunningLab) -> None:
    with vlab.capture("ids1") as seen:
        vlab.send("some", "web2", kind="raw", count=30, rate=500.0)
        wait_until(lambda: received(vlab, "ids1") >= 10, "ten copies")
    copies = [frame for frame in seen.frames if frame.src == vlab.vm("some").mac and frame.dst == vlab.vm("web2").mac]
    assert len(copies) == 10
    assert {tuple(tag.vid for tag in frame.vlans) for frame in copies} == {(10,)}


def received(lab: RunningLab, node: str) -> int:
    """Frames that its adapter has got so far."""
    lines = lab.exec(node, "cat", "/proc/net/dev").stdout.splitlines()
    return int(next(line.split()[2] for line in lines if line.strip().startswith("eth0:")))


def test_mir_6_a_collector_gets_erspan_in_gre_with_the_frame_inside(vlab: RunningLab) -> None:
    with vlab.capture("collector") as seen:
        vlab.send("away", "web2", kind="raw", size=100)
        answer = vlab.where("away", "web2", count=1)
    packets = [frame for frame in seen.frames if is_gre(frame.to_bytes())]
    assert packets and {frame.src for frame in packets} == {vlab.vm("esx1.vmk0").mac}
    gre = packets[0].payload[20:]
    flags, protocol, _, version_vlan, session = struct.unpack("!HHIHH", gre[:12])
    assert (flags, protocol, version_vlan >> 12, session & 0x3FF) == (0x1000, 0x88BE, 1, 7)
    inner = Frame.parse(gre[16:])
    assert (inner.src, inner.dst) == (vlab.vm("away").mac, vlab.vm("web2").mac)
    assert "collector" in {who.node for who in answer.did_see}


def test_mir_6_a_copy_for_a_collector_is_a_way_of_the_frame_with_its_encapsulation(vlab: RunningLab) -> None:
    answer = vlab.where("away", "web2", count=2)
    assert answer.agrees, answer.differences
    (way,) = (trail for trail in answer.trails if trail.hops[-1].encapsulation)
    wires = [h for h in way.hops if h.evidence == "wire"]
    inside = [(h.node, h.interface, [tag.vid for tag in h.vlans]) for h in wires if h.encapsulation == "erspan2"]
    assert inside[:2] == [("esx1-vmk", "vmk0", [])] * 2
    assert [(node, vids) for node, _, vids in inside[2:]] == [("esx1", [5]), ("tor1", [5]), ("collector", [])]
    assert [h.point for h in wires if not h.encapsulation][:2] == [Point.VNIC_TX, Point.PORT_INPUT]
    assert (way.count, answer.disposition) == (2, "delivered")
    assert len([c for c in answer.caught if c.hop.encapsulation]) == 2 * len(inside)


def test_mir_6_a_frame_of_no_such_session_has_no_way_inside_another_packet(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "web2", count=2)
    assert answer.agrees, answer.differences
    assert not [h for trail in answer.trails for h in trail.hops if h.encapsulation]
    assert not answer.flooded  # what a session copies is not flooded


def test_mir_7_a_copy_on_the_uplink_is_the_frame_in_clear(vlab: RunningLab) -> None:
    with vlab.capture("esx1:vmnic1") as copied, vlab.capture("web2") as delivered:
        vlab.send("web1", "web2", kind="raw", size=200)
        vlab.where("gw", "web2", count=1)
    (copy,) = (f for f in copied.frames if f.src == vlab.vm("web1").mac and f.ethertype == ETHERTYPE)
    (seen,) = (f for f in delivered.frames if f.src == vlab.vm("web1").mac and f.ethertype == ETHERTYPE)
    assert copy.payload == seen.payload and len(copy.to_bytes()) == 208


def test_mir_8_a_forged_frame_is_dropped_before_it_is_copied(vlab: RunningLab) -> None:
    vlab.set("port-group web", "security.forged_transmits=reject")
    forged = {"src_mac": "00:50:56:3f:00:01"}
    with vlab.capture("esx1:vmnic1") as seen:
        vlab.send("web1", "web2", kind="raw", **forged)  # type: ignore[arg-type]
        vlab.send("web1", "web2", kind="raw")
        vlab.where("gw", "web2", count=1)
    vlab.set("port-group web", "security.forged_transmits=")
    assert [f.src for f in seen.frames if [t.vid for t in f.vlans] == [999, 10]] == [vlab.vm("web1").mac]


COLLECT = """
import select, socket, sys
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind(("", 2055))
print("ready", flush=True)
while ear in select.select([ear, sys.stdin], [], [], 60)[0]:
    print(ear.recv(9000).hex(), flush=True)
"""


@contextmanager
def collecting(lab: RunningLab) -> Iterator[Iterator[bytes]]:
    """The datagrams that reach the collector, from now on, until its standard input ends."""
    argv = [*lab.client.entry("collector"), "python3", "-c", COLLECT]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdin is not None and listening.stdout is not None
        assert listening.stdout.readline() == "ready\n"
        yield (bytes.fromhex(line.strip()) for line in listening.stdout)
        listening.stdin.close()


def talk(lab: RunningLab, sender: str, to: str = "web2", text: bytes = b"hello") -> None:
    """Five datagrams, the first of them after ARP."""
    code = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    lab.exec(sender, "python3", "-c", f"{code}for _ in range(5): s.sendto({text!r}, ({lab.vm(to).address!r}, 4000))")


def pair(lab: RunningLab, sender: str, to: str = "web2") -> bytes:
    """Both addresses, as a record has them."""
    return socket.inet_aton(lab.vm(sender).address) + socket.inet_aton(lab.vm(to).address)


def test_mir_10_internal_flows_only_leaves_out_what_came_by_an_uplink(vlab: RunningLab) -> None:
    with collecting(vlab) as datagrams:
        talk(vlab, "gw")
        talk(vlab, "some")
        both = b""
        while pair(vlab, "some") not in both or pair(vlab, "gw") not in both:
            both += next(datagrams)
    vlab.set("switch dvs0", "netflow.internal_flows_only=true")
    with collecting(vlab) as datagrams:
        talk(vlab, "gw")
        talk(vlab, "some")
        inside = next(datagrams)
        while pair(vlab, "some") not in inside:
            inside += next(datagrams)
    vlab.set("switch dvs0", "netflow.internal_flows_only=")
    assert pair(vlab, "gw") not in inside


def test_mir_11_netflow_tells_who_spoke_and_how_much_and_nothing_of_what(vlab: RunningLab) -> None:
    secret = b"what nobody but the receiver may know"
    with collecting(vlab) as datagrams:
        talk(vlab, "some", text=secret)
        found = next(data for data in datagrams if data[:2] == b"\x00\x0a" and pair(vlab, "some") in data)
    assert secret not in found
    assert struct.pack("!Q", 5) in found or struct.pack("!I", 5) in found


def test_a_collector_that_cannot_be_reached_is_an_event(vlab: RunningLab) -> None:
    """The host has no route there: it is told once, and not for every datagram."""
    vlab.set("switch dvs0", f"netflow.collector={GONE}")

    def told() -> list[dict[str, Any]]:
        return [event for event in vlab.client.ask("events") if event["event"] == "netflow" and event["to"] == GONE]

    for _ in range(2):
        talk(vlab, "some")
        wait_until(lambda: len(told()) >= 1, "the event")
    vlab.set("switch dvs0", "netflow.collector=10.0.5.9")
    assert [event["host"] for event in told()] == ["esx1"]
    with collecting(vlab) as datagrams:
        talk(vlab, "some")
        assert next(data for data in datagrams if pair(vlab, "some") in data)


def test_mir_2_a_session_changes_while_it_copies(vlab: RunningLab) -> None:
    vlab.set("switch dvs0", "mirrors.kept.strip_vlan=true", "mirrors.kept.vlan=20")
    (copy,) = copies_at(vlab, "esx1:vmnic1", "web1")
    vlab.set("switch dvs0", "mirrors.kept.strip_vlan=", "mirrors.kept.vlan=999")
    assert [tag.vid for tag in copy.vlans] == [20]
    (copy,) = copies_at(vlab, "esx1:vmnic1", "web1")
    assert [tag.vid for tag in copy.vlans] == [999, 10]


def test_mir_5_another_sampling_holds_from_the_next_frame_on(vlab: RunningLab) -> None:
    vlab.set("switch dvs0", "mirrors.sampled.sampling=1")
    try:
        assert len(copies_at(vlab, "ids1", "some", count=4)) == 4
    finally:
        vlab.set("switch dvs0", "mirrors.sampled.sampling=3")


def test_mir_6_another_address_and_session_id_hold_from_the_next_frame_on(vlab: RunningLab) -> None:
    vlab.set("switch dvs0", "mirrors.far.id=9", "mirrors.far.encapsulation=erspan3")
    with vlab.capture("collector") as seen:
        vlab.send("away", "web2", kind="raw", size=100)
        answer = vlab.where("away", "web2", count=1)
    vlab.set("switch dvs0", "mirrors.far.id=7", "mirrors.far.encapsulation=erspan2")
    assert answer.agrees, answer.differences
    packet = next(frame for frame in seen.frames if is_gre(frame.to_bytes()))
    _, protocol, _, _, session = struct.unpack("!HHIHH", packet.payload[20:32])
    assert (protocol, session & 0x3FF) == (0x22EB, 9)


def test_mir_12_host_and_pswitch_hear_each_other_by_cdp(vlab: RunningLab) -> None:
    def heard() -> set[tuple[str, str, str]]:
        return {(n["box"], n["device"], n["device_port"]) for n in vlab.client.ask("neighbors")}

    both = {("esx1", "tor1", "esx1-vmnic0"), ("tor1", "esx1", "vmnic0"), ("tor1", "esx1", "vmnic1")}
    wait_until(lambda: both <= heard(), "neighbours")
    vlab.set("switch dvs0", "discovery.operation=listen")
    with vlab.capture("esx1:vmnic0") as seen:
        vlab.exec("esx1", *until_heard("vmnic0", CDP_MAC))
    vlab.set("switch dvs0", "discovery.operation=both")
    spoken = {frame.src for frame in seen.frames if frame.dst == CDP_MAC}
    assert spoken and vlab.client.plan.node_named["esx1"].interface("vmnic0").mac not in spoken


def test_mir_12_a_switch_that_is_set_to_lldp_speaks_it(vlab: RunningLab) -> None:
    vlab.set("switch dvs0", "discovery.protocol=lldp")
    with vlab.capture("esx1:vmnic0") as seen:
        vlab.exec("esx1", *until_heard("vmnic0", LLDP_MAC))
    vlab.set("switch dvs0", "discovery.protocol=cdp")
    (said, *_) = (frame for frame in seen.frames if frame.dst == LLDP_MAC)
    assert (said.src, said.ethertype) == (vlab.client.plan.node_named["esx1"].interface("vmnic0").mac, 0x88CC)
    assert b"vmnic0" in said.payload
