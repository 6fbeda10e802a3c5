"""Copies of a frame that travel inside other packets -> hops of the frame's own trail: in GRE or ERSPAN from a host's
vmkernel adapter to a collector (MIR-6), in VXLAN between sites (L2S-7)."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.frame import Frame, Hop, Point
from lab.observe.peel import IPV4, identity, peel
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.plan.mirroring import PORT_SUFFIX
from lab.plan.wiring import UNDERLAY

_TUNNEL = "vxlan"
GoesTo = Callable[[Hop], Collection[str]]
"""Of a hop at a host's mirror port: the addresses that its session sends copies to."""


@dataclass(frozen=True)
class Wrapped:
    """A packet with the frame in it, where it was captured. `encapsulation` as `peel` says it."""

    end: End
    time_ns: int
    outer: Frame
    encapsulation: str


def wrapped(end: End, time_ns: int, raw: bytes) -> Wrapped:
    """Of a captured packet that is known to have a frame in it."""
    kinds = peel(raw).encapsulation or (_TUNNEL if end[1].endswith(UNDERLAY) else "gre")
    return Wrapped(end, time_ns, Frame.parse(raw), kinds)


def with_copies(
    points: PointMap, hops: Sequence[Hop], copies: Sequence[Wrapped], homes: Mapping[str, End], goes_to: GoesTo
) -> tuple[Hop, ...]:
    """`hops` of one frame, then those of its copies, each behind the hop that it was made at; what comes out of a
    tunnel gets the tunnel's far end as the hop before it. `homes`: who sends with which MAC.

    VLANs and MACs of such a hop are those of the packet around the frame: what is on the wire there.
    """
    tree = _Tree(points, hops, homes)
    tunnels = []
    for packet in _packets(copies):
        if packet[0].end[1].endswith(UNDERLAY):
            tunnels.append(packet)
        else:
            tree.mirrored(packet, goes_to)
    for packet in tunnels:  # last: a copy for a collector may cross one too
        tree.tunnelled(packet)
    return tuple(tree.hops)


def _packets(copies: Sequence[Wrapped]) -> Iterator[list[Wrapped]]:
    """The sightings of each packet, in the order of its first one."""
    found: dict[tuple[bytes, str], list[Wrapped]] = {}
    for copy in sorted(copies, key=lambda c: c.time_ns):
        found.setdefault((identity(copy.outer), copy.encapsulation), []).append(copy)
    yield from found.values()


class _Tree:
    """The hops of one frame while they grow."""

    def __init__(self, points: PointMap, hops: Sequence[Hop], homes: Mapping[str, End]) -> None:
        self.points = points
        self.hops = list(hops)
        self.homes = homes
        self._taken: Counter[tuple[object, ...]] = Counter()

    def mirrored(self, packet: Sequence[Wrapped], goes_to: GoesTo) -> None:
        """Behind the mirror port of the host that sends it: the nth packet to an address is of the nth copy there."""
        chain, address, base = self._chain(packet), _destination(packet[0].outer), len(self.hops)
        made_at = [
            index
            for index, hop in enumerate(self.hops)
            if hop.point is Point.VMK_RX
            and hop.interface.endswith(PORT_SUFFIX)
            and hop.node == chain[0].node
            and address in goes_to(hop)
        ]
        first = self._next(made_at, (chain[0].node, address))
        for number, hop in enumerate(chain):
            parent = base + hop.parent if hop.parent is not None else first if number == 0 else None
            why = ("MIR-6",) if number == 0 else ()
            self.hops.append(hop._replace(parent=parent, encapsulation=packet[0].encapsulation, statements=why))

    def tunnelled(self, packet: Sequence[Wrapped]) -> None:
        """Between the two ports of a tunnel: behind the frame's hop out of the one, before its hop in at the other."""
        inside = packet[0].encapsulation.removeprefix(_TUNNEL).strip()
        base = len(self.hops)
        for hop in self._chain(packet):
            port = hop.interface.removesuffix(UNDERLAY)
            ends = [
                index
                for index, other in enumerate(self.hops)
                if (other.box, other.interface, other.direction, other.encapsulation)
                == (hop.box, port, hop.direction, inside)
            ]
            beside, here = self._next(ends, (hop.box, port, hop.direction, inside)), len(self.hops)
            out = hop.direction == "out"
            parent = beside if out else base + hop.parent if hop.parent is not None else None
            why = ("L2S-7",) if out else ()
            self.hops.append(hop._replace(parent=parent, encapsulation=packet[0].encapsulation, statements=why))
            if not out and beside is not None:
                self.hops[beside] = self.hops[beside]._replace(parent=here)

    def _chain(self, packet: Sequence[Wrapped]) -> tuple[Hop, ...]:
        seen = [Sighting(copy.end, copy.time_ns, copy.outer, b"", 0) for copy in packet]
        home = self.homes.get(packet[0].outer.src)
        return hops_of(self.points, seen, {b"": home} if home is not None else {})

    def _next(self, indexes: Sequence[int], name: tuple[object, ...]) -> int | None:
        """The first that no other packet of this name has taken; the last one when all are."""
        if not indexes:
            return None
        number = min(self._taken[name], len(indexes) - 1)
        self._taken[name] += 1
        return indexes[number]


def _destination(outer: Frame) -> str:
    """The IPv4 address that a packet goes to; empty for another protocol."""
    packet = outer.payload
    return socket.inet_ntoa(packet[16:20]) if outer.ethertype == IPV4 and len(packet) >= 20 else ""
