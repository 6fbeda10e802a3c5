"""Frames found in captures -> ordered hops: at which point, in which direction, after which other hop.

A capture says on which interface a frame was, not which way it went. Both ends of a cable are captured on one clock,
so of two sightings of one frame on one cable the earlier is the sender's; in one tick of the clock that is the end that
the frame can have come to. A vNIC that is not watched itself has only its switch's end in the captures: there the
sender's own first sighting came in, everything else went out.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from lab.frame import Frame, Hop, Point, Tag
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
    hops: list[Hop] = []
    for sighting, inward in _Order(points, seen, senders).found():
        hop = points.hop(sighting.end, inward, sighting)
        hops.append(hop._replace(parent=_parent(points, hops, sighting.end, hop, choose)))
    return tuple(hops)


_GUESTS = frozenset((Point.VNIC_RX, Point.VMK_RX, Point.NIC_RX))


class _Order:
    """Sightings in the order in which they came about, and whether each came in: by time, and within one tick of the
    clock by cause. Clocks of virtual machines tick as seldom as every 279 ns, and a frame crosses a cable in less."""

    def __init__(self, points: PointMap, seen: Iterable[Sighting], senders: Mapping[bytes, End]) -> None:
        self.points = points
        self.senders = senders
        self.seen = sorted(seen, key=lambda s: s.time_ns)
        self.incoming: list[bool | None] = [False] * len(self.seen)
        """None: both ends of the cable saw it in one tick, and which was first is not decided yet."""
        self._mate: dict[int, int] = {}
        self._done: dict[int, None] = {}
        self._came: dict[tuple[str, str, bool], int] = {}
        """Where the frame has come in so far, by an uplink or otherwise, and as which sighting the last time."""
        self._left: set[tuple[str, str, tuple[Tag, ...]]] = set()
        """Where it has gone out by an uplink, with which tags."""
        self._pair()

    def found(self) -> Iterator[tuple[Sighting, bool]]:
        times = [sighting.time_ns for sighting in self.seen]
        if len(set(times)) == len(times):
            yield from zip(self.seen, map(bool, self.incoming), strict=True)
            return
        for _, tick in groupby(range(len(times)), key=times.__getitem__):
            left = list(tick)
            while left:
                index = left[0] if len(left) == 1 else self._next(left)
                left.remove(index)
                self._pass(index)
        yield from ((self.seen[index], bool(self.incoming[index])) for index in self._done)

    def _pair(self) -> None:
        """Which two sightings are one crossing of a cable, and the directions of those that have different times, or
        were seen at one end only."""
        on_cable: dict[frozenset[End], dict[End, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, sighting in enumerate(self.seen):
            on_cable[frozenset((sighting.end, self.points.far[sighting.end]))][sighting.end].append(index)
        for ends in on_cable.values():
            if len(ends) == 1:
                first = next(iter(ends.values()))[0]
                self.incoming[first] = self._is_senders(self.points.far[self.seen[first].end], first)
            else:
                self._match(*ends.values())

    def _match(self, here: Sequence[int], there: Sequence[int]) -> None:
        """The nth with some tags at the one end is the nth with them at the other: copies with other tags may go the
        other way meanwhile."""
        waiting: dict[tuple[Tag, ...], deque[int]] = defaultdict(deque)
        for index in there:
            waiting[self.seen[index].frame.vlans].append(index)
        for one in here:
            if not (same := waiting[self.seen[one].frame.vlans]):
                continue
            other = same.popleft()
            self._mate |= {one: other, other: one}
            times = self.seen[one].time_ns, self.seen[other].time_ns
            undecided = times[0] == times[1]
            self.incoming[one] = None if undecided else times[0] > times[1]
            self.incoming[other] = None if undecided else times[1] > times[0]

    def _next(self, left: Sequence[int]) -> int:
        """The first that has a cause; of those that may be the sender's end of their cable the likeliest."""
        ready = [index for index in left if self._has_cause(index)]
        sure = [index for index in ready if self.incoming[index] is not None]
        return (sure or sorted(ready, key=self._doubt) or left)[0]

    def _has_cause(self, index: int) -> bool:
        if self.incoming[index]:
            return index not in self._mate or self._mate[index] in self._done
        return self._is_senders(self.seen[index].end, index) or self._last_came(index) is not None

    def _last_came(self, index: int) -> int | None:
        """What comes by an uplink of a vSwitch does not go out by another."""
        end = self.seen[index].end
        found = [self._came.get((*self._place(end), False))]
        if self._inward(end) is not Point.UPLINK_RCV:
            found.append(self._came.get((*self._place(end), True)))
        return max((number for number in found if number is not None), default=None)

    def _doubt(self, index: int) -> tuple[int, int]:
        """Least for the likeliest sender's end. A vSwitch sends a frame to one pSwitch, and what it has by another
        uplink then is a pSwitch's copy; a guest that has the frame seldom bridges it; of two pSwitches that have it, it
        is the later's."""
        sighting, point = self.seen[index], self._inward(self.seen[index].end)
        if point is Point.UPLINK_RCV:
            doubt = 2 if (*self._place(sighting.end), sighting.frame.vlans) in self._left else 0
        else:
            doubt = 2 if point in _GUESTS and not self._is_senders(sighting.end, index) else 1
        return doubt, -(self._last_came(index) or 0)

    def _pass(self, index: int) -> None:
        sighting = self.seen[index]
        if self.incoming[index] is None:
            self.incoming[index], self.incoming[self._mate[index]] = False, True
        place, uplink = self._place(sighting.end), self._inward(sighting.end) is Point.UPLINK_RCV
        if self.incoming[index]:
            self._came[*place, uplink] = len(self._done)
        elif uplink:
            self._left.add((*place, sighting.frame.vlans))
        self._done[index] = None

    def _inward(self, end: End) -> Point:
        return self.points.places[end][3]

    def _place(self, end: End) -> tuple[str, str]:
        """What takes a frame in at one of its ends and sends it out at another: a switch, or who has no switch."""
        box, node, switch, *_ = self.points.places[end]
        return box, switch or node

    def _is_senders(self, end: End, index: int) -> bool:
        return end == self.senders.get(self.seen[index].token)


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
