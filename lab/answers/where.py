"""Where did it go? Canaries from one place to another, every wire captured, each hop compared with the prediction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lab.answers.campaign import Campaign, campaign, ends_by_place, place_of_hop
from lab.answers.reading import Asked, Reader, goes_to
from lab.client import LabClient, Place, places_of
from lab.errors import CannotTell, SystemRefused
from lab.frame import Frame, Hop
from lab.model import Topology
from lab.observe.copies import Wrapped, with_copies, wrapped
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.predict import Prediction, Predictor
from lab.predict.exposure import Flow, could_see
from lab.report.where import Answer
from lab.state import State
from traffic.canary import seq_offset
from traffic.frames import FrameSpec, build


@dataclass(frozen=True)
class Probe:
    """What to send: a frame, its canary's token, how many and how fast (frames/s)."""

    sender: Place
    receiver: Place
    spec: FrameSpec
    token: bytes
    count: int = 3
    rate: float | None = None

    @cached_property
    def frame(self) -> bytes:
        """The first of them, whole. Built when first asked for: scapy takes 0.2 s to import."""
        return build(self.spec)

    @property
    def seq_at(self) -> int:
        """Where its number stands."""
        return seq_offset(self.frame)


def where(client: LabClient, probe: Probe, directory: Path | None = None) -> Answer:
    """Send, capture, compare. Raises CannotTell when the evidence is not good enough."""
    state = client.state()
    points = PointMap.of(client.plan)
    with ThreadPoolExecutor(1) as meanwhile:
        predicting = meanwhile.submit(_predict, client.topology, probe, state)
        with campaign(client, {probe.sender.node, probe.receiver.node}, directory) as running:
            predicted = predicting.result()
            client.ask("sink", node=probe.receiver.node)
            _send(running, probe, predicted[0])
            running.wait_for((end, probe.token, times) for end, times in _expected(points, predicted).items())
            running.settle()
            running.stop()
            by_seq = _by_seq(running.sightings(), probe)
            around = _by_seq(running.encapsulated(), probe)
    _positive_control(by_seq, probe, predicted[0])
    asked = Asked(Frame.parse(probe.frame), len(probe.frame), probe.sender, probe.receiver)
    reader = Reader(client, asked, points, running.captured)
    senders = {probe.token: _origin(probe)}
    topology = client.topology
    homes = {place.mac: (place.node, place.interface) for place in places_of(topology).values()}
    plain = [hops_of(points, by_seq.get(seq, ()), senders, reader.choose) for seq in range(probe.count)]
    observed = [
        with_copies(points, hops, _copies(around.get(seq, ())), homes, goes_to(topology))
        for seq, hops in enumerate(plain)
    ]
    if not predicted[0].wire and not by_seq:
        observed = [_stuck(prediction) for prediction in predicted]
    every = (*by_seq.values(), *around.values())
    data = {(s.end, s.time_ns): s.frame.to_bytes() for found in every for s in found}
    return exposed(client, state, reader.answer(observed, predicted, data))


def _send(running: Campaign, probe: Probe, first: Prediction) -> None:
    """An adapter that is not connected, or has no carrier, takes nothing: that is an answer where it is foretold."""
    try:
        running.send([_job(probe)])
    except SystemRefused:
        if first.wire:
            raise


def _stuck(prediction: Prediction) -> tuple[Hop, ...]:
    """A frame that its sender's adapter did not take: nothing was seen of it anywhere."""
    return tuple(hop._replace(evidence="adapter") for hop in prediction.hops)


def _copies(seen: Sequence[Sighting]) -> list[Wrapped]:
    return [wrapped(sighting.end, sighting.time_ns, sighting.frame.to_bytes()) for sighting in seen]


def exposed(client: LabClient, state: State, answer: Answer) -> Answer:
    """With who could have seen it: as the lab was when it was sent."""
    seen = frozenset(name for seen in answer.did_see for name in (seen.node, seen.interface))
    flow = Flow(answer.sender, answer.receiver, answer.frame, seen)
    return replace(answer, could_see=could_see(client.topology, state, flow))


def _job(probe: Probe) -> dict[str, object]:
    return {
        "node": probe.sender.node,
        "interface": probe.sender.interface,
        "frames": [probe.frame.hex()],
        "count": probe.count,
        "rate": probe.rate,
        "seq_at": probe.seq_at,
    }


def _expected(points: PointMap, predicted: Sequence[Prediction]) -> Counter[End]:
    """How many frames each end should see."""
    places = ends_by_place(points)
    return Counter(places[place_of_hop(hop)] for prediction in predicted for hop in prediction.wire)


def _predict(topology: Topology, probe: Probe, state: State) -> list[Prediction]:
    """One prediction a frame: what the pSwitches learn from the first matters for the next."""
    predictor = Predictor(topology, state)
    header = Frame.parse(probe.frame)
    predictions = []
    for _ in range(probe.count):
        prediction = predictor.predict(probe.sender.label, header)
        predictions.append(prediction)
        predictor = predictor.after(prediction)
    return predictions


def _origin(probe: Probe) -> End:
    return (probe.sender.node, probe.sender.interface)


def _by_seq(sightings: Iterable[Sighting], probe: Probe) -> dict[int, list[Sighting]]:
    found: dict[int, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
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
