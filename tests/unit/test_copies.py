"""Copies inside other packets as hops of the frame's own trail."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from lab.answers.reading import goes_to
from lab.client import places_of
from lab.frame import Frame, Hop, Point, Tag
from lab.model import Topology
from lab.observe.copies import Wrapped, with_copies, wrapped
from lab.observe.peel import peel
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.plan import compile_plan
from lab.report.where import rewritten, trail_lines
from lab.teaming import initial_state
from lab.topology import read_topology_file
from traffic.erspan import Copy, encapsulate
from traffic.frames import layers

TOPOLOGIES = Path(__file__).resolve().parents[2] / "topologies"
INNER = Frame("00:50:56:00:00:04", "00:50:56:00:00:03", payload=bytes(46))


def read(name: str) -> tuple[Topology, PointMap]:
    topology = read_topology_file(TOPOLOGIES / f"{name}.yaml")
    return topology, PointMap.of(compile_plan(topology, initial_state(topology)))


def gre(src: str, to: str = "10.0.5.9", number: int = 0) -> Frame:
    packet = IP(src="10.0.5.12", dst=to, proto=47) / encapsulate("erspan2", Copy(INNER.to_bytes()), 7, 0, number, 0)
    return Frame.parse(bytes(Ether(src=src, dst="02:00:00:00:00:09") / packet))


def mirrored(topology: Topology, points: PointMap, packets: int = 1) -> tuple[list[Hop], list[Wrapped]]:
    """Copies at esx2's mirror port, one a microsecond, and for each a packet that leaves by vmk0 and vmnic0."""
    port, home = ("esx2-vmk", "dvs0.mirror"), places_of(topology)["esx2.vmk0"]
    number = [m.name for m in topology.host_switches["esx2", "dvs0"].mirrors].index("erspan") + 1
    copy, out = Frame(INNER.src, INNER.dst, (Tag(number),)), (home.node, home.interface)
    came = [points.hop(port, True, Sighting(port, n, copy, b"", 0)) for n in range(packets)]
    ends: list[End] = [out, points.far[out], ("esx2", "vmnic0"), points.far["esx2", "vmnic0"]]
    seen = [
        Wrapped(end, 100 * (n + 1) + i, gre(home.mac, number=n), "erspan2")
        for n in range(packets)
        for i, end in enumerate(ends)
    ]
    return came, seen


def homes(topology: Topology) -> dict[str, End]:
    return {p.mac: (p.node, p.interface) for p in places_of(topology).values()}


def chain(hops: tuple[Hop, ...], index: int) -> list[Hop]:
    found: list[Hop] = []
    at: int | None = index
    while at is not None:
        found.insert(0, hops[at])
        at = hops[at].parent
    return found


def test_mir_6_a_copy_for_a_collector_goes_on_behind_the_mirror_port() -> None:
    topology, points = read("port-mirroring")
    came, seen = mirrored(topology, points)
    hops = with_copies(points, came, seen, homes(topology), goes_to(topology))
    way = chain(hops, len(hops) - 1)
    assert [(hop.node, hop.point, hop.encapsulation) for hop in way] == [
        ("esx2-vmk", Point.VMK_RX, ""),
        ("esx2-vmk", Point.VMK_TX, "erspan2"),
        ("esx2-vmk", Point.PORT_INPUT, "erspan2"),
        ("esx2", Point.UPLINK_SND, "erspan2"),
        ("tor1", Point.PSWITCH_RCV, "erspan2"),
    ]
    assert way[1].statements == ("MIR-6",)
    assert "in erspan2" in "\n".join(trail_lines(way))
    assert not any(rewritten(hop, way[0]) for hop in way)


def test_mir_6_two_copies_of_one_frame_are_two_ways() -> None:
    topology, points = read("port-mirroring")
    came, seen = mirrored(topology, points, packets=2)
    hops = with_copies(points, came, seen, homes(topology), goes_to(topology))
    sent = [hop.parent for hop in hops if hop.point is Point.VMK_TX]
    assert sent == [0, 1]


def test_mir_6_a_packet_to_an_address_that_no_session_sends_to_is_behind_no_mirror_port() -> None:
    topology, points = read("port-mirroring")
    came, seen = mirrored(topology, points)
    other = [Wrapped(s.end, s.time_ns, gre(s.outer.src, "10.0.5.77"), "erspan2") for s in seen]
    hops = with_copies(points, came, other, homes(topology), goes_to(topology))
    assert [hop.parent for hop in hops if hop.point is Point.VMK_TX] == [None]


def vxlan(port: int) -> Frame:
    outer = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / IP(src="169.254.0.5", dst="169.254.0.6")
    return Frame.parse(bytes(outer / UDP(sport=5, dport=port) / VXLAN(vni=1) / Ether(INNER.to_bytes())))


@pytest.mark.parametrize("port", [4789, 8472], ids=["IANA's", "before 6.5"])
def test_l2s_7_a_tunnels_packet_stands_between_its_two_ports(port: int) -> None:
    topology, points = read("l2-stretch-vxlan")
    ends: list[End] = [("wan-a", "wan-b"), ("wan-a", "wan-b.wan"), ("wan-b", "wan-a.wan"), ("wan-b", "wan-a")]
    assert points.far[ends[1]] == ends[2]
    frame = Frame(INNER.src, INNER.dst, (Tag(10),))
    plain = hops_of(points, [Sighting(ends[0], 1, frame, b"", 0), Sighting(ends[3], 4, frame, b"", 0)], {})
    around = [wrapped(ends[n], n + 1, vxlan(port).to_bytes()) for n in (1, 2)]
    hops = with_copies(points, plain, around, {}, goes_to(topology))
    way = [(hop.box, hop.interface, hop.encapsulation) for hop in chain(hops, 1)]
    assert way == [(box, name, "vxlan" if name.endswith(".wan") else "") for box, name in ends]


def test_a_reader_gets_every_layer_of_a_packet_in_a_tunnel() -> None:
    names = [name for name, _ in layers(vxlan(4789).to_bytes())]
    assert names == ["Ethernet", "IP", "UDP", "VXLAN", "Ethernet", "Raw"]
    assert "ERSPAN" in " ".join(name for name, _ in layers(gre("02:00:00:00:00:0c").to_bytes()))


def test_what_has_no_vxlan_header_behind_its_port_is_no_tunnel() -> None:
    raw = vxlan(8472).to_bytes()
    assert peel(raw).encapsulation == "vxlan"
    assert peel(raw[:42] + b"\0" + raw[43:]).encapsulation == ""
