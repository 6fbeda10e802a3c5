"""Where did it go? Canaries from one place to another, every wire captured, each hop compared with the prediction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lab.answers.campaign import Campaign, campaign, ends_by_place, place_of_hop
from lab.answers.reading import Asked, Reader
from lab.client import LabClient, Place
from lab.errors import CannotTell
from lab.frame import Frame
from lab.model import Topology
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
            running.send([_job(probe)])
            running.wait_for((end, probe.token, times) for end, times in _expected(points, predicted).items())
            running.settle()
            running.stop()
            by_seq = _by_seq(running, probe)
            inside = {s.end for s in running.encapsulated() if s.token == probe.token}
    _positive_control(by_seq, probe, predicted[0])
    asked = Asked(Frame.parse(probe.frame), len(probe.frame), probe.sender, probe.receiver)
    reader = Reader(client, asked, points, running.captured)
    senders = {probe.token: _origin(probe)}
    observed = [hops_of(points, by_seq.get(seq, ()), senders, reader.choose) for seq in range(probe.count)]
    data = {(s.end, s.time_ns): s.frame.to_bytes() for found in by_seq.values() for s in found}
    return exposed(client, state, reader.answer(observed, predicted, inside, data))


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
