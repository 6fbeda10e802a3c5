"""Hops of single frames -> an answer about them all: trails with the points inside switches, drops with their reasons,
who is on the way and who is not, and what differs from the prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.answers.campaign import ends_by_place, place_of_hop
from lab.answers.onlookers import COPIES, Asking, onlooking, vids_on
from lab.client import LabClient, Place
from lab.frame import RECEIVE_POINTS, DropReason, Frame, Hop, Point, way_to
from lab.model import Topology
from lab.observe.copies import GoesTo
from lab.observe.sightings import End, PointMap
from lab.observe.trace import Trace, read_trace
from lab.plan.mirroring import PORT_SUFFIX
from lab.plan.tables import DISPATCH, VLAN_OUT
from lab.plan.types import Bridge, NodeKind
from lab.plan.wiring import UNDERLAY
from lab.predict import Prediction
from lab.predict.groups import tree_with_groups, way_with_groups
from lab.report.tally import Tally
from lab.report.where import Answer, Caught, Seen, Trail

_BOX_ENTRY = frozenset({Point.PORT_INPUT, Point.UPLINK_RCV, Point.PSWITCH_RCV})
_VSWITCH_ENTRY = frozenset({Point.PORT_INPUT, Point.UPLINK_RCV})
Bytes = Mapping[tuple[End, int], bytes]
"""What was captured: (end, time in ns) -> the frame."""


@dataclass(frozen=True)
class Asked:
    """What an answer is about: one frame of those that were sent, its bytes' number, and its two ends."""

    frame: Frame
    size: int
    sender: Place
    receiver: Place


class Reader:
    """Turns hops of single frames into an answer about them all."""

    def __init__(self, client: LabClient, asked: Asked, points: PointMap, captured: frozenset[End]) -> None:
        self.client = client
        self.asked = asked
        self.points = points
        self.captured = captured
        self.places = ends_by_place(points)
        self._bridge: dict[tuple[str, str], Bridge] = {
            (b.node, p.label): b for b in client.plan.bridges for p in b.ports
        }
        self._traces: dict[tuple[object, ...], Trace] = {}
        self._data: Bytes = {}

    def answer(
        self,
        observed: Sequence[tuple[Hop, ...]],
        predicted: Sequence[Prediction],
        data: Bytes | None = None,
    ) -> Answer:
        """`data`: the bytes of what was seen; what encapsulated copies did in a switch is not known without them."""
        self._data = data or {}
        decided = {hop.key: hop.statements for p in predicted for hop in p.hops}
        trails: Counter[tuple[object, ...]] = Counter()
        shown: dict[tuple[object, ...], tuple[Hop, ...]] = {}
        caught: dict[tuple[object, ...], Caught] = {}
        for seq, hops in enumerate(observed):
            for path in self._paths(hops):
                signature = tuple((*hop.key, hop.reason, hop.encapsulation) for hop in path)
                trails[signature] += 1
                if signature not in shown:
                    told = [h._replace(statements=decided.get(h.key) or h.statements) for h in path]
                    shown[signature] = way_with_groups(self.client.topology, told)
                for found_here in self._caught(seq, shown[signature], path):
                    name = (seq, found_here.hop.key, found_here.hop.encapsulation, found_here.hop.time_ns)
                    caught.setdefault(name, found_here)
        ordered = sorted(trails, key=lambda s: (_is_copy(shown[s]), self._away(shown[s]), -trails[s]))
        found = tuple(Trail(trails[signature], shown[signature]) for signature in ordered)
        return Answer(
            frame=self.asked.frame,
            size=self.asked.size,
            sender=self.asked.sender.label,
            receiver=self.asked.receiver.label,
            sent=len(observed),
            disposition=self._disposition(observed, found),
            flooded=self._flooded(observed, decided),
            trails=found,
            predicted=tree_with_groups(self.client.topology, predicted[0].hops),
            agrees=self._agree(observed, found, predicted),
            differences=tuple(self._differences(observed, predicted)),
            path=tuple(self._on_path(found)),
            did_see=tuple(self._off_path(found)),
            tally=self._tally(observed, predicted),
            caught=tuple(sorted(caught.values(), key=lambda c: c.hop.time_ns or 0)),
        )

    def _caught(self, seq: int, told: Sequence[Hop], path: Sequence[Hop]) -> Iterator[Caught]:
        """The captured frames of one path, numbered as its hops are."""
        for number, (hop, seen) in enumerate(zip(told, path, strict=True), start=1):
            if seen.evidence == "wire" and seen.time_ns is not None:
                raw = self._bytes(seen)
                if raw is not None:
                    yield Caught(seq, number, hop._replace(time_ns=seen.time_ns), raw)

    def _bytes(self, hop: Hop) -> bytes | None:
        return self._data.get((self.places[place_of_hop(hop)], hop.time_ns or 0))

    def _tally(self, observed: Sequence[tuple[Hop, ...]], predicted: Sequence[Prediction]) -> tuple[Tally, ...]:
        """At each place where a frame was or should have been, how often; in the order of the first prediction."""
        seen: Counter[tuple[object, ...]] = Counter()
        foretold: Counter[tuple[object, ...]] = Counter()
        possible: Counter[tuple[object, ...]] = Counter()
        for hops, prediction in zip(observed, predicted, strict=True):
            seen += self._keys(hops)
            foretold += self._keys(prediction.wire)
            possible += self._keys(prediction.possible)
        keys = dict.fromkeys((*foretold, *possible, *seen))
        return tuple(Tally(key, foretold[key], seen[key], possible[key]) for key in keys)

    def _reaches(self, path: Sequence[Hop]) -> bool:
        """At the receiver's own interface, or, where that was not captured, sent into its cable."""
        last = path[-1]
        if last.encapsulation:
            return False
        place = (self.asked.receiver.node, self.asked.receiver.interface)
        if last.point in RECEIVE_POINTS or place in self.captured or last.reason:
            return last.point in RECEIVE_POINTS and (last.node, last.interface) == place
        return last.direction == "out" and self.points.far[self.places[place_of_hop(last)]] == place

    def _away(self, path: Sequence[Hop]) -> int:
        """How far from the receiver a copy ended: 0 there, 1 dropped at the switch's port to it, 2 dropped in the box
        that it hangs on, 3 elsewhere."""
        last = path[-1]
        if self._reaches(path):
            return 0
        box, port = self.points.far[self.asked.receiver.node, self.asked.receiver.interface]
        if last.reason is None or last.box != box:
            return 3
        return 1 if last.interface == port else 2

    def _disposition(self, observed: Sequence[tuple[Hop, ...]], trails: Sequence[Trail]) -> str:
        if all(any(self._reaches((hop,)) for hop in hops) for hops in observed):
            return "delivered"
        return "dropped" if any(t.hops[-1].reason and not _is_copy(t.hops) for t in trails) else "lost"

    def _flooded(self, observed: Sequence[tuple[Hop, ...]], decided: Mapping[Any, tuple[str, ...]]) -> bool:
        """One frame in, several copies out, although it was for one receiver, and no session or listener is why."""
        if self.asked.frame.is_multicast:
            return False
        copies: set[int] = set()
        outs: Counter[int] = Counter()
        for index, hop in enumerate(observed[0] if observed else ()):
            if hop.parent in copies or hop.encapsulation or COPIES.intersection(decided.get(hop.key, ())):
                copies.add(index)
            elif hop.direction == "out" and hop.parent is not None:
                outs[hop.parent] += 1
        return any(times > 1 for times in outs.values())

    def _paths(self, hops: tuple[Hop, ...]) -> Iterator[tuple[Hop, ...]]:
        """From the sender to each end, with the points inside switches and the reason where a copy was dropped."""
        parents = {hop.parent for hop in hops}
        for index, hop in enumerate(hops):
            endings = list(self._endings(hop, index in parents))
            if index in parents and not endings:
                continue
            path = tuple(self._with_inner(way_to(hops, index)))
            yield from ((*path, ending) for ending in endings)
            if not endings:
                yield path

    def _with_inner(self, path: Sequence[Hop]) -> Iterator[Hop]:
        for hop, following in zip(path, [*path[1:], None], strict=True):
            yield hop
            if hop.point in _VSWITCH_ENTRY:
                yield from self._inside(hop, following)

    def _trace(self, hop: Hop) -> Trace:
        """`ofproto/trace` of the frame's exact bytes as it came in at `hop`."""
        frame = replace(self.asked.frame, vlans=hop.vlans, src=hop.src, dst=hop.dst)
        if hop.encapsulation and (raw := self._bytes(hop)) is not None:
            frame = Frame.parse(raw)
        key = (hop.box, hop.interface, hop.vlans, hop.src, hop.dst, hop.encapsulation)
        if key not in self._traces:
            (text,) = self.client.ask("trace", box=hop.box, port=hop.interface, frames=[frame.to_bytes().hex()])
            self._traces[key] = read_trace(text, hop.vlans)
        return self._traces[key]

    def choose(self, candidates: Sequence[Hop], out: Hop) -> int:
        """The copy that the switch sends out there, by its own trace; the last one that came in where no trace says."""
        name = self.client.plan.node_named[out.box].interface(out.interface).name
        for index, hop in reversed(list(enumerate(candidates))):
            known = hop.point in _BOX_ENTRY and not self._unused(hop)
            if known and any(copy.interface == name for copy in self._trace(hop).outputs):
                return index
        return len(candidates) - 1

    def _inside(self, hop: Hop, following: Hop | None) -> Iterator[Hop]:
        if self._unused(hop):
            return
        trace = self._trace(hop)
        inner = hop._replace(evidence="trace", time_ns=None)
        if DISPATCH in trace.tables:
            yield inner._replace(point=Point.DISPATCH)
        if following is not None and VLAN_OUT in trace.tables:
            yield inner._replace(point=Point.PORT_OUTPUT, interface=following.interface, direction="out")

    def _endings(self, last: Hop, goes_on: bool) -> Iterator[Hop]:
        """Hops that say why a copy goes no further. Where other copies went on, only a vSwitch's trace tells: what a
        pSwitch would do now may differ from what it did before it had learned from this very frame."""
        if last.reason is not None or (last.direction == "in" and last.interface.endswith(UNDERLAY)):
            return  # what comes out of a tunnel is the frame itself, with hops of its own
        if self._unused(last):
            yield last._replace(point=Point.DROP, reason=DropReason.UNUSED_PNIC, time_ns=None)
        elif last.point in (_VSWITCH_ENTRY if goes_on else _BOX_ENTRY):
            for drop in self._trace(last).drops:
                bridge = self._bridge[last.box, last.interface]
                port = bridge.label_of(drop.port) or last.interface
                why = (drop.statement,) if drop.statement else ()
                ending = last._replace(point=Point.DROP, evidence="trace", time_ns=None, interface=port)
                yield ending._replace(reason=drop.reason, statements=why)
            if last.point is Point.PSWITCH_RCV and not last.encapsulation:
                yield from self._too_long(last)
        elif last.direction == "out" and not goes_on:
            far = self.points.far[self.places[place_of_hop(last)]]
            if far in self.captured:
                yield last._replace(point=Point.DROP, reason=DropReason.LINK_DOWN, time_ns=None)

    def _unused(self, hop: Hop) -> bool:
        """True at a pNIC that no switch of its host uses: there is nobody to ask what becomes of the frame."""
        return hop.point in _BOX_ENTRY and (hop.box, hop.interface) not in self._bridge

    def _too_long(self, last: Hop) -> Iterator[Hop]:
        """Copies that a pSwitch sends out where a stretch has no room for them: they are on no wire (L2S-8)."""
        ends = {end.name: end for end in self.client.plan.node_named[last.box].interfaces}
        for copy in self._trace(last).outputs:
            end, behind_one_tag = ends.get(copy.interface), 4 * max(len(copy.vlans) - 1, 0)
            if end is not None and len(self.asked.frame.payload) + behind_one_tag > end.mtu:
                gone = last._replace(point=Point.DROP, evidence="trace", time_ns=None, interface=end.label)
                yield gone._replace(reason=DropReason.MTU, statements=("L2S-8",))

    def _keys(self, hops: Sequence[Hop]) -> Counter[tuple[object, ...]]:
        """Encapsulated copies are foretold as far as the port where they are packed."""
        plain = (hop for hop in hops if not hop.encapsulation)
        return Counter(hop.key for hop in plain if self.places.get(place_of_hop(hop)) in self.captured)

    def _differences(self, observed: Sequence[tuple[Hop, ...]], predicted: Sequence[Prediction]) -> Iterator[str]:
        for seq, (hops, prediction) in enumerate(zip(observed, predicted, strict=True)):
            seen, foretold = self._keys(hops), self._keys(prediction.wire)
            for key, times in (seen - foretold - self._keys(prediction.possible)).items():
                yield f"frame {seq}: seen {times} more than predicted at {_place_text(key)}"
            for key, times in (foretold - seen).items():
                yield f"frame {seq}: predicted and not seen ({times}) at {_place_text(key)}"

    def _agree(
        self, observed: Sequence[tuple[Hop, ...]], trails: Sequence[Trail], predicted: Sequence[Prediction]
    ) -> bool:
        reasons = {(h.box, h.reason) for trail in trails for h in trail.hops if h.reason and not h.encapsulation}
        foretold = {(h.box, h.reason) for p in predicted for h in p.drops}
        return not any(True for _ in self._differences(observed, predicted)) and reasons <= foretold

    def _on_path(self, trails: Sequence[Trail]) -> Iterator[str]:
        yield from dict.fromkeys(name for hop in self._way(trails) for name in (hop.node, hop.box))

    def _way(self, trails: Sequence[Trail]) -> tuple[Hop, ...]:
        """Hops of the first trail; without those at somebody else, when that is where it arrived."""
        hops = trails[0].hops if trails else ()
        if not hops or hops[-1].reason or self._reaches(hops):
            return hops
        end = hops[-1]
        arrived = end.node != end.box or end.point in RECEIVE_POINTS
        return tuple(hop for hop in hops if hop.node != end.node) if arrived else hops

    def _off_path(self, trails: Sequence[Trail]) -> Iterator[Seen]:
        """Nodes and boxes that saw the frame although they are not on the way to the receiver; those that only saw
        packets around it come last."""
        known = {(hop.box, hop.node) for hop in self._way(trails)}
        kinds = {node.name: node.kind for node in self.client.plan.nodes}
        hops = [(trail, hop) for trail in trails for hop in trail.hops if hop.evidence == "wire"]
        nodes = {hop.node for _, hop in hops if not hop.encapsulation}
        asked = self.asked
        ends, vids = (asked.sender.label, asked.receiver.label), vids_on(trail.hops for trail in trails)
        asking = Asking(self.client.topology, asked.frame, ends, vids)
        for trail, hop in sorted(hops, key=lambda found: bool(found[1].encapsulation)):
            if (hop.box, hop.node) in known or (hop.encapsulation and hop.node in nodes):
                continue
            known.add((hop.box, hop.node))
            own = hop.node if kinds.get(hop.node) not in (NodeKind.HOST, NodeKind.PSWITCH) else hop.box
            told = onlooking(asking, trail.hops[: trail.hops.index(hop) + 1])
            yield Seen(own, hop.box, hop.point, hop.interface, told.why, told.statements, told.closes, hop.in_clear)


def _place_text(key: tuple[object, ...]) -> str:
    box, node, point, interface, vids, *_ = key
    tags = f" VLAN {'/'.join(map(str, vids))}" if isinstance(vids, tuple) and vids else ""
    return f"{box}:{interface} {point}{tags}" + (f" ({node})" if node != box else "")


def _is_copy(path: Sequence[Hop]) -> bool:
    """True where a way ends inside another packet."""
    return bool(path[-1].encapsulation)


def goes_to(topology: Topology) -> GoesTo:
    """The addresses that the session of a copy at a host's mirror port sends to; its number is the outermost tag."""

    def addresses(hop: Hop) -> Collection[str]:
        part = topology.host_switches.get((hop.box, hop.interface.removesuffix(PORT_SUFFIX)))
        number = hop.vlans[0].vid if hop.vlans else 0
        return part.mirrors[number - 1].to_addresses if part is not None and 1 <= number <= len(part.mirrors) else ()

    return addresses
