"""Frames found in captures -> ordered hops: at which point, in which direction, after which other hop.

A capture says on which interface a frame was, not which way it went. Both ends of a cable are captured on one clock,
so of two sightings of one frame on one cable the earlier is the sender's. A vNIC that is not watched itself has only
its switch's end in the captures: there the sender's own first sighting came in, everything else went out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.frame import Frame, Hop, Point
from lab.plan.types import Node, NodeKind, Plan
from lab.predict.clear import in_clear

End = tuple[str, str]
"""(node name, interface label)."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One frame of one canary on one captured interface."""

    end: End
    time_ns: int
    frame: Frame
    token: bytes
    seq: int


@dataclass(frozen=True)
class PointMap:
    """Where each interface of a plan stands: its box, the node it belongs to, its switch and its capture points."""

    places: Mapping[End, tuple[str, str, str, Point, Point]]
    far: Mapping[End, End]

    @classmethod
    def of(cls, plan: Plan) -> PointMap:
        far = {c.a: c.b for c in plan.cables} | {c.b: c.a for c in plan.cables}
        switch = {(b.node, p.label): b.label for b in plan.bridges for p in b.ports}
        places = {}
        for node in plan.nodes:
            for interface in node.interfaces:
                end = (node.name, interface.label)
                if end in far:
                    places[end] = _place(plan, node, end, far[end], switch)
        return cls(places, far)

    def hop(self, end: End, incoming: bool, sighting: Sighting) -> Hop:
        box, node, switch, inward, outward = self.places[end]
        frame = sighting.frame
        return Hop(
            box=box,
            node=node,
            point=inward if incoming else outward,
            direction="in" if incoming else "out",
            interface=end[1],
            vlans=frame.vlans,
            src=frame.src,
            dst=frame.dst,
            evidence="wire",
            switch=switch,
            time_ns=sighting.time_ns,
            in_clear=in_clear(frame),
        )


def _place(
    plan: Plan, node: Node, end: End, far: End, switches: Mapping[End, str]
) -> tuple[str, str, str, Point, Point]:
    other = plan.node_named[far[0]]
    switch = switches.get(end, "")
    if node.kind is NodeKind.VM:
        return other.name, node.name, switch, Point.VNIC_RX, Point.VNIC_TX
    if node.kind is NodeKind.VMKERNEL:
        return other.name, node.name, switch, Point.VMK_RX, Point.VMK_TX
    if node.kind is NodeKind.MACHINE:
        return node.name, node.name, switch, Point.NIC_RX, Point.NIC_TX
    if node.kind is NodeKind.PSWITCH:
        owner = other.name if other.kind is NodeKind.MACHINE else node.name
        return node.name, owner, switch, Point.PSWITCH_RCV, Point.PSWITCH_SND
    if other.kind is NodeKind.PSWITCH:
        return node.name, node.name, switch, Point.UPLINK_RCV, Point.UPLINK_SND
    outward = Point.VMK_OUT if other.kind is NodeKind.VMKERNEL else Point.VNIC_OUT
    return node.name, other.name, switch, Point.PORT_INPUT, outward


Choice = Callable[[Sequence[Hop], Hop], int]
"""Which of several copies that came into a box (never fewer than two) is the one that went out at this hop."""


def latest(candidates: Sequence[Hop], _out: Hop) -> int:
    return len(candidates) - 1


def hops_of(
    points: PointMap, seen: Iterable[Sighting], senders: Mapping[bytes, End], choose: Choice = latest
) -> tuple[Hop, ...]:
    """The sightings of one canary frame (one token and one number) as hops in time order, each with its parent.

    `senders` gives the guest's end from which each token was sent; `choose` decides when a frame came into a box on
    several ports.
    """
    ordered = sorted(seen, key=lambda s: s.time_ns)
    incoming = _directions(points, ordered, senders)
    # Of two sightings in one nanosecond on one cable the sender's is first; stable order settles the rest.
    ranked = sorted(zip(ordered, incoming, strict=True), key=lambda pair: (pair[0].time_ns, pair[1]))
    hops: list[Hop] = []
    for sighting, inward in ranked:
        hop = points.hop(sighting.end, inward, sighting)
        hops.append(hop._replace(parent=_parent(points, hops, sighting.end, hop, choose)))
    return tuple(hops)


def _directions(points: PointMap, seen: Sequence[Sighting], senders: Mapping[bytes, End]) -> list[bool]:
    """For each sighting: True when the frame came in at that end."""
    on_cable: dict[frozenset[End], dict[End, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, sighting in enumerate(seen):
        pair = frozenset((sighting.end, points.far[sighting.end]))
        on_cable[pair][sighting.end].append(index)
    incoming = [False] * len(seen)
    for ends in on_cable.values():
        if len(ends) == 2:
            for a, b in zip(*ends.values(), strict=False):
                later = a if seen[a].time_ns > seen[b].time_ns else b
                incoming[later] = True
        else:
            (end, indexes), *_ = ends.items()
            first = seen[indexes[0]]
            incoming[indexes[0]] = points.far[end] == senders.get(first.token)
    return incoming


def _parent(points: PointMap, before: Sequence[Hop], end: End, hop: Hop, choose: Choice) -> int | None:
    """In: the same frame going out at the cable's other end. Out: where it came into this box."""
    if hop.direction == "in":
        far = points.far[end]
        box, node, *_ = points.places[far]
        sender = (box, node, far[1])
        sent = [i for i, h in enumerate(before) if h.direction == "out" and (h.box, h.node, h.interface) == sender]
        return sent[-1] if sent else None
    came = [i for i, h in enumerate(before) if h.direction == "in" and (h.box, h.switch) == (hop.box, hop.switch)]
    if len(came) > 1:
        return came[choose([before[i] for i in came], hop)]
    return came[0] if came else None
