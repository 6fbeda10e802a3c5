"""Where did it go? Canaries from one place to another, every wire captured, each hop compared with the prediction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.answers.campaign import Campaign, campaign, ends_by_place, place_of_hop
from lab.client import LabClient, Place
from lab.errors import CannotTell
from lab.frame import BROADCAST, DropReason, Frame, Hop, Point
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.observe.trace import Trace, read_trace
from lab.plan.tables import DISPATCH, VLAN_OUT
from lab.plan.types import Bridge, NodeKind
from lab.predict import Prediction, Predictor
from lab.report.where import Answer, Seen, Trail

RECEIVE_POINTS = frozenset({Point.VNIC_RX, Point.VMK_RX, Point.NIC_RX})
_BOX_ENTRY = frozenset({Point.PORT_INPUT, Point.UPLINK_RCV, Point.PSWITCH_RCV})
_VSWITCH_ENTRY = frozenset({Point.PORT_INPUT, Point.UPLINK_RCV})


@dataclass(frozen=True)
class Probe:
    """What to send: `frame` whole, its canary's token, where its number stands, how many and how fast (frames/s)."""

    sender: Place
    receiver: Place
    frame: bytes
    token: bytes
    seq_at: int
    count: int = 3
    rate: float | None = None


def where(client: LabClient, probe: Probe, directory: Path | None = None) -> Answer:
    """Send, capture, compare. Raises CannotTell when the evidence is not good enough."""
    predicted = _predict(client, probe)
    points = PointMap.of(client.plan)
    with campaign(client, {probe.sender.node, probe.receiver.node}, directory) as running:
        client.ask("sink", node=probe.receiver.node)
        running.send([_job(probe)])
        places = ends_by_place(points)
        hops = [hop for p in predicted for hop in p.wire]
        expected = Counter(places[place_of_hop(hop)] for hop in hops)
        running.wait_for((end, probe.token, times) for end, times in expected.items())
        running.settle()
        running.stop()
        by_seq = _by_seq(running, probe)
        inside = {s.end for s in running.encapsulated() if s.token == probe.token}
    _positive_control(by_seq, probe, predicted[0])
    reader = _Reader(client, probe, points, running.captured)
    senders = {probe.token: _origin(probe)}
    observed = [hops_of(points, by_seq.get(seq, ()), senders, reader.choose) for seq in range(probe.count)]
    return reader.answer(observed, predicted, inside)


def _job(probe: Probe) -> dict[str, object]:
    return {
        "node": probe.sender.node,
        "interface": probe.sender.interface,
        "frames": [probe.frame.hex()],
        "count": probe.count,
        "rate": probe.rate,
        "seq_at": probe.seq_at,
    }


def _predict(client: LabClient, probe: Probe) -> list[Prediction]:
    """One prediction a frame: what the pSwitches learn from the first matters for the next."""
    state = client.state()
    predictor = Predictor(client.topology, state)
    header = Frame.parse(probe.frame)
    predictions = []
    for _ in range(probe.count):
        prediction = predictor.predict(probe.sender.label, header)
        predictions.append(prediction)
        after = prediction.state_after(state)
        if after is not state:
            state, predictor = after, predictor.with_state(after)
    return predictions


def _origin(probe: Probe) -> End:
    return (probe.sender.node, probe.sender.interface)


def _by_seq(running: Campaign, probe: Probe) -> dict[int, list[Sighting]]:
    found: dict[int, list[Sighting]] = defaultdict(list)
    for sighting in running.sightings():
        if sighting.token == probe.token:
            found[sighting.seq].append(sighting)
    return found


def _positive_control(by_seq: Mapping[int, Sequence[Sighting]], probe: Probe, first: Prediction) -> None:
    """The sender's own interface must have shown every frame, or nothing that was not seen means anything."""
    if not first.wire:
        return
    for seq in range(probe.count):
        if not any(s.end == _origin(probe) for s in by_seq.get(seq, ())):
            raise CannotTell(f"frame {seq} was not seen even where it was sent ({probe.sender.label}): no evidence")


class _Reader:
    """Turns hops of single frames into an answer about them all."""

    def __init__(self, client: LabClient, probe: Probe, points: PointMap, captured: frozenset[End]) -> None:
        self.client = client
        self.probe = probe
        self.points = points
        self.captured = captured
        self.places = ends_by_place(points)
        self._bridge: dict[tuple[str, str], Bridge] = {
            (b.node, p.label): b for b in client.plan.bridges for p in b.ports
        }
        self._traces: dict[tuple[object, ...], Trace] = {}

    def answer(
        self, observed: Sequence[tuple[Hop, ...]], predicted: Sequence[Prediction], inside: Collection[End] = ()
    ) -> Answer:
        """`inside`: where copies of it were seen as the payload of GRE."""
        decided = {hop.key: hop.statements for p in predicted for hop in p.hops}
        trails: Counter[tuple[object, ...]] = Counter()
        shown: dict[tuple[object, ...], tuple[Hop, ...]] = {}
        for hops in observed:
            for path in self._paths(hops):
                signature = tuple((*hop.key, hop.reason) for hop in path)
                trails[signature] += 1
                told = (h._replace(statements=decided.get(h.key) or h.statements) for h in path)
                shown.setdefault(signature, tuple(told))
        ordered = sorted(trails, key=lambda s: (not self._reaches(shown[s]), -trails[s]))
        found = tuple(Trail(trails[signature], shown[signature]) for signature in ordered)
        return Answer(
            frame=Frame.parse(self.probe.frame),
            size=len(self.probe.frame),
            sender=self.probe.sender.label,
            receiver=self.probe.receiver.label,
            sent=self.probe.count,
            disposition=self._disposition(observed, found),
            flooded=self._flooded(observed),
            trails=found,
            predicted=predicted[0].hops,
            agrees=self._agree(observed, found, predicted),
            differences=tuple(self._differences(observed, predicted)),
            path=tuple(self._on_path(found)),
            did_see=(*self._off_path(found), *self._saw_inside(inside, found)),
        )

    def _reaches(self, path: Sequence[Hop]) -> bool:
        last = path[-1]
        place = self.probe.receiver
        return last.point in RECEIVE_POINTS and (last.node, last.interface) == (place.node, place.interface)

    def _disposition(self, observed: Sequence[tuple[Hop, ...]], trails: Sequence[Trail]) -> str:
        if all(any(self._reaches((hop,)) for hop in hops) for hops in observed):
            return "delivered"
        return "dropped" if any(trail.hops[-1].reason for trail in trails) else "lost"

    def _flooded(self, observed: Sequence[tuple[Hop, ...]]) -> bool:
        """One frame in, several copies out, although it was for one receiver."""
        if Frame.parse(self.probe.frame).is_multicast:
            return False
        outs = Counter(h.parent for hops in observed[:1] for h in hops if h.direction == "out" and h.parent is not None)
        return any(copies > 1 for copies in outs.values())

    def _paths(self, hops: tuple[Hop, ...]) -> Iterator[tuple[Hop, ...]]:
        """From the sender to each end, with the points inside switches and the reason where a copy was dropped."""
        parents = {hop.parent for hop in hops}
        for index, hop in enumerate(hops):
            endings = list(self._endings(hop, index in parents))
            if index in parents and not endings:
                continue
            chain: list[int] = []
            at: int | None = index
            while at is not None:
                chain.insert(0, at)
                at = hops[at].parent
            path = tuple(self._with_inner([hops[i] for i in chain]))
            yield from ((*path, ending) for ending in endings)
            if not endings:
                yield path

    def _with_inner(self, path: list[Hop]) -> Iterator[Hop]:
        for hop, following in zip(path, [*path[1:], None], strict=True):
            yield hop
            if hop.point in _VSWITCH_ENTRY:
                yield from self._inside(hop, following)

    def _trace(self, hop: Hop) -> Trace:
        """`ofproto/trace` of the frame's exact bytes as it came in at `hop`."""
        frame = replace(Frame.parse(self.probe.frame), vlans=hop.vlans)
        key = (hop.box, hop.interface, hop.vlans)
        if key not in self._traces:
            (text,) = self.client.ask("trace", box=hop.box, port=hop.interface, frames=[frame.to_bytes().hex()])
            self._traces[key] = read_trace(text, hop.vlans)
        return self._traces[key]

    def choose(self, candidates: Sequence[Hop], out: Hop) -> int:
        """The copy that the switch sends out there, by its own trace; the last one that came in where no trace says."""
        name = self.client.plan.node_named[out.box].interface(out.interface).name
        for index, hop in reversed(list(enumerate(candidates))):
            if hop.point in _BOX_ENTRY and any(copy.interface == name for copy in self._trace(hop).outputs):
                return index
        return len(candidates) - 1

    def _inside(self, hop: Hop, following: Hop | None) -> Iterator[Hop]:
        trace = self._trace(hop)
        inner = hop._replace(evidence="trace", time_ns=None)
        if DISPATCH in trace.tables:
            yield inner._replace(point=Point.DISPATCH)
        if following is not None and VLAN_OUT in trace.tables:
            yield inner._replace(point=Point.PORT_OUTPUT, interface=following.interface, direction="out")

    def _endings(self, last: Hop, goes_on: bool) -> Iterator[Hop]:
        """Hops that say why a copy goes no further. Where other copies went on, only a vSwitch's trace tells: what a
        pSwitch would do now may differ from what it did before it had learned from this very frame."""
        if last.point in (_VSWITCH_ENTRY if goes_on else _BOX_ENTRY):
            for drop in self._trace(last).drops:
                bridge = self._bridge[last.box, last.interface]
                port = bridge.label_of(drop.port) or last.interface
                why = (drop.statement,) if drop.statement else ()
                ending = last._replace(point=Point.DROP, evidence="trace", time_ns=None, interface=port)
                yield ending._replace(reason=drop.reason, statements=why)
        elif last.direction == "out" and not goes_on:
            far = self.points.far[self.places[place_of_hop(last)]]
            if far in self.captured:
                yield last._replace(point=Point.DROP, reason=DropReason.LINK_DOWN, time_ns=None)

    def _keys(self, hops: Sequence[Hop]) -> Counter[tuple[object, ...]]:
        return Counter(hop.key for hop in hops if self.places.get(place_of_hop(hop)) in self.captured)

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
        reasons = {(h.box, h.reason) for trail in trails for h in trail.hops if h.reason}
        foretold = {(h.box, h.reason) for p in predicted for h in p.drops}
        return not any(True for _ in self._differences(observed, predicted)) and reasons <= foretold

    def _on_path(self, trails: Sequence[Trail]) -> Iterator[str]:
        boxes: dict[str, None] = {}
        for trail in trails[:1]:
            for hop in trail.hops:
                boxes.setdefault(hop.node, None)
                boxes.setdefault(hop.box, None)
        yield from boxes

    def _off_path(self, trails: Sequence[Trail]) -> Iterator[Seen]:
        """Nodes and boxes that saw the frame although they are not on the way to the receiver."""
        on_path = {(h.box, h.node) for trail in trails[:1] for h in trail.hops}
        known: set[tuple[str, str]] = set()
        kinds = {node.name: node.kind for node in self.client.plan.nodes}
        for trail in trails[1:]:
            for hop in (h for h in trail.hops if h.evidence == "wire"):
                if (hop.box, hop.node) in on_path or (hop.box, hop.node) in known:
                    continue
                known.add((hop.box, hop.node))
                own = hop.node if kinds.get(hop.node) not in (NodeKind.HOST, NodeKind.PSWITCH) else hop.box
                yield Seen(own, hop.box, hop.point, hop.interface, _why(trail, hop, Frame.parse(self.probe.frame)))

    def _saw_inside(self, ends: Collection[End], trails: Sequence[Trail]) -> Iterator[Seen]:
        """Boxes and machines on the way of a copy to a collector; the guests that were captured among them."""
        known = {hop.node for trail in trails for hop in trail.hops}
        for end in sorted(ends):
            box, node, _, inward, _ = self.points.places[end]
            if node not in known:
                known.add(node)
                yield Seen(node, box, inward, end[1], "a mirroring session sends it there, in GRE")


_COPIED_BY = {
    "SEC-2": "promiscuous, which its policy accepts",
    "MIR-1": "a mirroring session copies it there",
    "SEC-16": "MAC learning floods unknown addresses",
}


def _why(trail: Trail, hop: Hop, frame: Frame) -> str:
    """Of the first statement on the way to `hop` that says why there is a copy."""
    before = trail.hops[: trail.hops.index(hop) + 1]
    for statement in (s for h in before for s in h.statements):
        if statement in _COPIED_BY:
            return _COPIED_BY[statement]
    if frame.dst == BROADCAST:
        return "broadcast to its VLAN"
    if frame.is_multicast:
        return "multicast in its VLAN"
    return "flooded: a pSwitch does not know the destination" if not hop.reason else str(hop.reason)


def _place_text(key: tuple[object, ...]) -> str:
    box, node, point, interface, vids, *_ = key
    tags = f" VLAN {'/'.join(map(str, vids))}" if isinstance(vids, tuple) and vids else ""
    return f"{box}:{interface} {point}{tags}" + (f" ({node})" if node != box else "")
