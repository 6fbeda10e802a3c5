"""Follow what others send: every wire of a running lab is captured for a while, and the frames that are wanted are told
from each other by what switches do not change in them."""

from __future__ import annotations

import select
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lab.answers.campaign import Campaign, campaign
from lab.answers.reading import Asked, Reader, goes_to
from lab.answers.wanted import Wanted
from lab.answers.where import exposed
from lab.client import LabClient, Place
from lab.errors import CannotTell
from lab.frame import RECEIVE_POINTS, Frame, Hop, ways
from lab.model import Topology
from lab.observe.copies import Wrapped, with_copies
from lab.observe.pcapng import CaptureFile
from lab.observe.peel import conversation, identity, peel
from lab.observe.sightings import Choice, End, PointMap, Sighting, hops_of, latest
from lab.predict import Prediction, Predictor
from lab.predict.groups import way_with_groups
from lab.report.follow import Followed
from lab.report.where import Answer, Caught, Trail
from lab.state import State

LAST_FRAMES_SECONDS = 0.7
"""What was sent at the end has so long to arrive everywhere."""
Key = tuple[bytes, int]
"""Which frame, and which time that it was sent."""


@dataclass(frozen=True)
class Found:
    """One sighting of a wanted frame: the frame itself, and what it was inside of."""

    end: End
    time_ns: int
    frame: Frame
    raw: bytes
    encapsulation: str = ""


def follow(
    client: LabClient, wanted: Wanted, seconds: float, directory: Path | None, ready: Callable[[], None]
) -> Followed:
    """Until `seconds` are over or Ctrl-C. Raises CannotTell when nothing was seen, or frames were lost."""
    state = client.state()
    with campaign(client, wanted.nodes, directory) as running:
        begin = time.time_ns()
        ready()
        with suppress(KeyboardInterrupt):
            select.select([], [], [], seconds)
        end = time.time_ns()
        select.select([], [], [], LAST_FRAMES_SECONDS)
        running.stop()
        found = list(_in_campaign(running, wanted))
    return _told(client, state, wanted, running.captured, list(whole(found, begin, end)))


def _in_campaign(running: Campaign, wanted: Wanted) -> Iterator[Found]:
    for node, path in running.files():
        ends = {i.name: (node, i.label) for i in running.client.plan.node_named[node].interfaces}
        yield from found_in(path, wanted, ends)


def found_in(path: Path, wanted: Wanted, ends: Mapping[str, End]) -> Iterator[Found]:
    """`ends`: interface names in the file -> where they stand; others are left out."""
    with CaptureFile(path) as capture:
        for packet in wanted.packets(capture):
            if packet.interface in ends and len(packet.data) >= 14:
                frame, encapsulation = peel(packet.data)
                yield Found(ends[packet.interface], packet.time_ns, frame, packet.data, encapsulation)


def by_frame(found: Sequence[Found]) -> dict[Key, list[Found]]:
    """The sightings of each frame. What is seen again where it was seen first is another time that it was sent; copies
    elsewhere belong to the time before them."""
    frames: dict[Key, list[Found]] = defaultdict(list)
    first: dict[bytes, tuple[object, ...]] = {}
    times: dict[bytes, int] = defaultdict(int)
    for seen in sorted(found, key=lambda f: f.time_ns):
        name = identity(seen.frame)
        place = (seen.end, seen.frame.vlans, seen.frame.src, seen.encapsulation)
        times[name] += first.setdefault(name, place) == place
        frames[name, times[name]].append(seen)
    return frames


def whole(found: Sequence[Found], begin: int, end: int) -> Iterator[list[Found]]:
    """Frames that were first seen while all were capturing: others may have been elsewhere before."""
    for seen in by_frame(found).values():
        if begin <= seen[0].time_ns <= end:
            yield seen


def _told(
    client: LabClient, state: State, wanted: Wanted, captured: frozenset[End], frames: Sequence[list[Found]]
) -> Followed:
    if not frames:
        raise CannotTell(f"{wanted.text}: not seen on any wire of {client.name} while it was watched")
    groups: dict[tuple[object, ...], list[list[Found]]] = defaultdict(list)
    for seen in frames:
        groups[conversation(seen[0].frame)].append(seen)
    teller = _Teller(client, state, captured)
    foretold = teller.foretell(frames)
    told = [teller.tell(group, [foretold.get(id(seen)) for seen in group]) for group in groups.values()]
    answers = tuple(answer for answer in told if isinstance(answer, Answer))
    trails = tuple(trail for some in told if not isinstance(some, Answer) for trail in some)
    return Followed(wanted.text, len(frames), answers, trails, (), tuple(teller.others))


class _Teller:
    """Answers about the frames of a running lab."""

    def __init__(self, client: LabClient, state: State, captured: frozenset[End]) -> None:
        self.client, self.state, self.captured = client, state, captured
        self.points = PointMap.of(client.plan)
        self.by_mac = macs(client, state)
        self.homes = {mac: (place.node, place.interface) for mac, place in self.by_mac.items()}
        self.others: list[Caught] = []

    def foretell(self, frames: Sequence[list[Found]]) -> dict[int, Prediction]:
        """In the order of time, since pSwitches learn from each; for those whose sender is known."""
        predictor, said = Predictor(self.client.topology, self.state), {}
        for seen in sorted(frames, key=lambda found: found[0].time_ns):
            sender = self.by_mac.get(seen[0].frame.src)
            if sender is not None:
                whole: Prediction | None = None
                for leg, frame in ((sender, seen[0].frame), *self._routed(seen)):
                    prediction = predictor.predict(leg.label, frame)
                    whole = prediction if whole is None else whole.followed_by(prediction)
                    predictor = predictor.after(prediction)
                    said[id(seen)] = whole
        return said

    def _routed(self, seen: Sequence[Found]) -> Iterator[tuple[Place, Frame]]:
        """The same packet as routers send it on: another frame, which is seen first at the router itself."""
        known = {(seen[0].frame.src, seen[0].frame.dst)}
        for found in seen:
            macs = (found.frame.src, found.frame.dst)
            router = self.by_mac.get(found.frame.src)
            machine = self.client.topology.machines.get(router.label) if router is not None else None
            if macs not in known and router is not None and machine is not None and machine.routes:
                known.add(macs)
                yield router, found.frame

    def tell(self, group: Sequence[list[Found]], foretold: Sequence[Prediction | None]) -> Answer | list[Trail]:
        first = group[0][0]
        sender, receiver = (self.by_mac.get(mac) for mac in (first.frame.src, first.frame.dst))
        predicted = [p for p in foretold if p is not None]
        if sender is None or receiver is None or len(predicted) < len(group):
            return self._trails(group, sender)
        reader = Reader(self.client, Asked(first.frame, len(first.raw), sender, receiver), self.points, self.captured)
        observed = [self._hops(seen, sender, reader.choose) for seen in group]
        data = {(seen.end, seen.time_ns): seen.raw for frame in group for seen in frame}
        answer = reader.answer(observed, predicted, data)
        return exposed(self.client, self.state, replace(answer, what="frame"))

    def _trails(self, group: Sequence[list[Found]], sender: Place | None) -> list[Trail]:
        """Of frames for many or for strangers: no end to ask about, so only what was seen."""
        observed = [self._hops(seen, sender, latest) for seen in group]
        self.others += caught_of(observed, group)
        return in_groups(self.client.topology, grouped(observed))

    def _hops(self, seen: Sequence[Found], sender: Place | None, choose: Choice) -> tuple[Hop, ...]:
        plain = hops_of(self.points, *self._sightings(seen, sender), choose)
        return with_copies(self.points, plain, wrapped_in(seen), self.homes, goes_to(self.client.topology))

    def _sightings(self, seen: Sequence[Found], sender: Place | None) -> tuple[list[Sighting], dict[bytes, End]]:
        name = identity(seen[0].frame)
        plain = [Sighting(f.end, f.time_ns, f.frame, name, 0) for f in seen if not f.encapsulation]
        origin = {name: (sender.node, sender.interface)} if sender is not None else {}
        return plain, origin


def wrapped_in(seen: Sequence[Found]) -> list[Wrapped]:
    """Those of the sightings that are another packet's payload."""
    return [Wrapped(f.end, f.time_ns, Frame.parse(f.raw), f.encapsulation) for f in seen if f.encapsulation]


def caught_of(observed: Sequence[tuple[Hop, ...]], frames: Sequence[Sequence[Found]]) -> Iterator[Caught]:
    """The captured frames of plain trails, numbered as the hops of the first of their ways are."""
    for seq, (hops, seen) in enumerate(zip(observed, frames, strict=True)):
        raw = {(found.end[1], found.time_ns): found.raw for found in seen}
        numbered: dict[Hop, int] = {}
        for way in ways(hops):
            for number, hop in enumerate(way, start=1):
                numbered.setdefault(hop, number)
        yield from (Caught(seq, n, hop, raw[hop.interface, hop.time_ns or 0]) for hop, n in numbered.items())


def macs(client: LabClient, state: State) -> dict[str, Place]:
    """Who sends with which MAC now: guests may have set others."""
    places = client.places
    found = {place.mac: place for place in places.values()}
    for part in client.topology.host_switches.values():
        for port in part.ports:
            own = state.macs.get((part.host, port.name))
            if own is not None:
                found[own] = places[port.nic.label]
    return found


def grouped(observed: Sequence[tuple[Hop, ...]]) -> list[Trail]:
    """One trail for each way that frames went, with how many went it; the most travelled first, and of these what
    arrived somewhere; what went inside other packets last."""
    counts: dict[tuple[object, ...], list[tuple[Hop, ...]]] = defaultdict(list)
    for way in (way for hops in observed for way in ways(hops)):
        counts[tuple((*hop.key, hop.encapsulation) for hop in way)].append(way)
    trails = [Trail(len(same), same[0]) for same in counts.values()]
    return sorted(trails, key=lambda t: (bool(t.hops[-1].encapsulation), -t.count, _elsewhere(t.hops[-1])))


def in_groups(topology: Topology, trails: Sequence[Trail]) -> list[Trail]:
    """With the port groups of their hops."""
    return [replace(trail, hops=way_with_groups(topology, trail.hops)) for trail in trails]


def _elsewhere(last: Hop) -> bool:
    return last.point not in RECEIVE_POINTS
