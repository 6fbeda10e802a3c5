"""The isolation matrix: every vNIC to every other, all at once, compared with the prediction and with `expect:`.

Round one is every broadcast, plain and tagged: where they go does not depend on what pSwitches have learned, and
afterwards these know every sender in every VLAN that it will use. Round two predicts with what they have really learned
and sends the unicasts. Each frame is told by its sender's token and its number.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lab.answers.campaign import Campaign, campaign, ends_by_place, place_of_hop
from lab.client import LabClient, Place, place_of
from lab.errors import CannotTell
from lab.frame import BROADCAST, Frame, Hop, Tag, vids_of
from lab.model import Expectation, Nic, Tagging, Topology
from lab.observe.sightings import End, PointMap
from lab.predict import Predictor
from lab.report.verify import Difference, Report, Verdict
from traffic.canary import canary_payload, find_canaries, new_token

FRAMES_PER_SECOND = 20000.0
"""All senders together: more than userspace switches set flows up for, on two cores, loses frames in their sockets."""
SLICE = 512
"""Frames that are predicted while the slice before them is being sent."""
MATRIX_ETHERTYPE = 0x88B5

Key = tuple[End, tuple[int, ...]]
_NONE: Counter[Key] = Counter()
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Shot:
    """One frame of the matrix: who sends it, for whom (None: for all), and what it tries."""

    sender: Place
    receiver: Place | None
    vlans: tuple[Tag, ...]
    kind: str

    def frame(self, token: bytes, seq: int) -> Frame:
        dst = self.receiver.mac if self.receiver else BROADCAST
        return Frame(self.sender.mac, dst, self.vlans, MATRIX_ETHERTYPE, canary_payload(token, seq))


@dataclass
class Matrix:
    """Everything of one run: shots by sender, what was foretold for each, what may be seen or not, what was seen."""

    tokens: dict[str, bytes] = field(default_factory=dict)
    shots: dict[str, list[Shot]] = field(default_factory=lambda: defaultdict(list))
    foretold: dict[tuple[str, int], Counter[Key]] = field(default_factory=dict)
    possible: dict[tuple[str, int], Counter[Key]] = field(default_factory=dict)
    seen: dict[tuple[str, int], Counter[Key]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, shot: Shot) -> int:
        """The shot's number among its sender's."""
        self.tokens.setdefault(shot.sender.label, new_token())
        self.shots[shot.sender.label].append(shot)
        return len(self.shots[shot.sender.label]) - 1


def verify(client: LabClient, directory: Path | None = None, progress: Progress = lambda *_: None) -> Report:
    """Run the matrix. Raises CannotTell when frames were lost on the way into the captures or a control failed."""
    started = time.monotonic()
    run = _Run(client, progress)
    with campaign(client, (), directory) as running:
        run.round_one(running)
        run.round_two(running)
        running.stop()
        run.read(running)
    run.positive_control()
    return run.report(time.monotonic() - started)


class _Run:
    def __init__(self, client: LabClient, progress: Progress) -> None:
        self.client = client
        self.topology: Topology = client.topology
        self.progress = progress
        self.matrix = Matrix()
        self.expected: Counter[tuple[End, bytes]] = Counter()
        self.points = PointMap.of(client.plan)
        self.places = ends_by_place(self.points)
        self.vnics = [place_of(nic) for nic in self.topology.vnics if nic.connected]
        named = {name for e in self.topology.expect if e.kind == "reach" for name in e.names}
        vnics = {nic.label for nic in self.topology.vnics}
        self.others = [p for label, p in client.places.items() if label in named and label not in vnics]
        self.vlan_of = {place.label: self._vlan(place) for place in self.vnics}

    def everyone(self) -> list[Place]:
        """Every vNIC that is connected, and the vmknics and machines that must reach or be reached."""
        return [*self.vnics, *self.others]

    def round_one(self, running: Campaign) -> None:
        """Must be over before the pSwitches are asked what they have learned."""
        self._fire(running, list(self._broadcasts()))

    def round_two(self, running: Campaign) -> None:
        self._fire(running, list(self._unicasts()))
        running.settle()

    def _broadcasts(self) -> Iterator[Shot]:
        """Untagged; from vNICs also with the tag of every VLAN, and double-tagged into every other VLAN."""
        for a in self.everyone():
            yield Shot(a, None, (), "broadcast")
        for a in self.vnics:
            own = self.vlan_of[a.label] or 1
            for vlan in sorted({v for v in self.vlan_of.values() if v} | {own}):
                yield Shot(a, None, (Tag(vlan),), "tagged broadcast")
                if vlan != own:
                    yield Shot(a, None, (Tag(own), Tag(vlan)), "double-tagged broadcast")

    def _unicasts(self) -> Iterator[Shot]:
        """Everyone to everyone, and vNICs also with the receiver's tag."""
        for a in self.everyone():
            for b in self.everyone():
                if a is not b:
                    yield Shot(a, b, (), "unicast")
                    vlan = self.vlan_of.get(b.label)
                    if vlan and a.label in self.vlan_of:
                        yield Shot(a, b, (Tag(vlan),), "tagged unicast")

    def _vlan(self, place: Place) -> int:
        """The VLAN in which a frame reaches this vNIC: its own, or the first of its trunk."""
        nic = next(n for n in self.topology.vnics if n.label == place.label)
        policy = self.topology.port_group(nic).vlan
        if policy.tagging is Tagging.VGT:
            return max(policy.ranges[0][0], 1)
        return policy.vlan

    def _fire(self, running: Campaign, shots: Sequence[Shot]) -> None:
        """Predict and send, the next slice predicted while one is being sent; then wait until what must be seen is in
        the files."""
        predictor = Predictor(self.topology, self.client.state())
        with ThreadPoolExecutor(1) as sending:
            sent: Future[object] | None = None
            for start in range(0, len(shots), SLICE):
                jobs = self._predicted(predictor, shots[start : start + SLICE], running.captured)
                if sent is not None:
                    sent.result()
                sent = sending.submit(running.send, jobs)
                self.progress("sending", min(start + SLICE, len(shots)), len(shots))
            if sent is not None:
                sent.result()
        running.wait_for((end, token, times) for (end, token), times in self.expected.items())

    def _predicted(
        self, predictor: Predictor, shots: Sequence[Shot], captured: Collection[End]
    ) -> list[dict[str, object]]:
        """Put down what is foretold for each shot, and give the jobs that send them."""
        frames: dict[str, list[str]] = defaultdict(list)
        for shot in shots:
            label = shot.sender.label
            seq, token = self.matrix.add(shot), self.matrix.tokens[label]
            frame = shot.frame(token, seq)
            prediction = predictor.predict(label, frame)
            foretold = Counter(key for hop in prediction.wire if (key := self._key(hop))[0] in captured)
            self.matrix.foretold[label, seq] = foretold
            if prediction.possible:
                self.matrix.possible[label, seq] = Counter(self._key(hop) for hop in prediction.possible)
            for (end, _), times in foretold.items():
                self.expected[end, token] += times  # a file still holds what earlier rounds left in it
            frames[label].append(frame.to_bytes().hex())
        at = self.client.places
        return [
            {"node": at[label].node, "interface": at[label].interface, "frames": own, "rate": FRAMES_PER_SECOND}
            for label, own in frames.items()
        ]

    def _key(self, hop: Hop) -> Key:
        return self.places[place_of_hop(hop)], tuple(tag.vid for tag in hop.vlans)

    def read(self, running: Campaign) -> None:
        owner = {token: label for label, token in self.matrix.tokens.items()}
        for end, data in running.packets():
            for _, token, seq in find_canaries(data):
                label = owner.get(token)
                if label is not None:
                    self.matrix.seen[label, seq][end, vids_of(data)] += 1

    def positive_control(self) -> None:
        """A silent port proves nothing unless the capture there has shown the port's own frames."""
        for place in self.everyone():
            own = self.points.far[place.node, place.interface]
            shots = self.matrix.shots[place.label]
            heard = sum(1 for seq in range(len(shots)) if any(e == own for e, _ in self.matrix.seen[place.label, seq]))
            foretold = sum(
                1 for seq in range(len(shots)) if any(e == own for e, _ in self.matrix.foretold[place.label, seq])
            )
            if foretold and not heard:
                raise CannotTell(f"nothing that {place.label} sent was captured at its own port: no evidence there")

    def report(self, seconds: float) -> Report:
        differ = list(self._differences())
        guilty = {(d.sender, d.receiver) for d in differ if d.receiver}
        labels = {place.label for place in self.vnics}
        pairs = len(self.topology.vnics) * (len(self.topology.vnics) - 1)
        wrong = sum(1 for a, b in guilty if a in labels and b in labels)
        return Report(
            pairs=pairs,
            agree=pairs - wrong,
            differ=tuple(differ),
            expectations=tuple(self._verdict(e) for e in self.topology.expect),
            canaries=sum(map(len, self.matrix.shots.values())),
            seconds=seconds,
            senders=tuple(place.label for place in self.everyone()),
            received=frozenset(self.received()),
        )

    def _differences(self) -> Iterator[Difference]:
        owner = {self.points.far[p.node, p.interface]: p.label for p in map(place_of, self.topology.vnics)}
        for (label, seq), foretold in self.matrix.foretold.items():
            seen = self.matrix.seen[label, seq]
            if seen == foretold:
                continue
            shot = self.matrix.shots[label][seq]
            possible = self.matrix.possible.get((label, seq), _NONE)
            for key in seen.keys() | foretold.keys():
                if not foretold[key] <= seen[key] <= foretold[key] + possible[key]:
                    end, vids = key
                    receiver = owner.get(end, "") if end in owner and owner[end] != label else ""
                    yield Difference(
                        label, receiver, f"{end[0]}:{end[1]}", shot.kind, _text(shot), vids, foretold[key], seen[key]
                    )

    def received(self) -> set[tuple[str, str]]:
        """(sender, receiver) of every frame that came out of a receiver's port."""
        owner = {self.points.far[p.node, p.interface]: p.label for p in self.everyone()}
        pairs = set()
        for (label, _), seen in self.matrix.seen.items():
            for (end, _), times in seen.items():
                # At the sender's own port one sighting is its own sending; a second would be a reflection.
                if end in owner and (owner[end] != label or times > 1):
                    pairs.add((label, owner[end]))
        return pairs

    def _verdict(self, expectation: Expectation) -> Verdict:
        received = self.received()
        if expectation.kind == "isolate":
            members = {
                name: [n.label for n in self.topology.vnics if self._in_group(n, name)] for name in expectation.names
            }
            broken = [
                f"{a} -> {b}"
                for one, theirs in members.items()
                for other, others in members.items()
                if one != other
                for a in theirs
                for b in others
                if (a, b) in received
            ]
        else:
            places = [self.client.place(name).label for name in expectation.names]
            broken = [f"{a} -> {b}" for a in places for b in places if a != b and not self._reached(a, b)]
        return Verdict(expectation.kind, expectation.names, not broken, tuple(broken))

    def _in_group(self, nic: Nic, name: str) -> bool:
        group = self.topology.port_group(nic)
        return name in (group.name, group.label)

    def _reached(self, sender: str, receiver: str) -> bool:
        """A unicast frame of `sender` for `receiver` came out of the receiver's port."""
        end = self.points.far[self.client.places[receiver].node, self.client.places[receiver].interface]
        return any(
            shot.kind in ("unicast", "tagged unicast")
            and shot.receiver is not None
            and shot.receiver.label == receiver
            and any(e == end for e, _ in self.matrix.seen[sender, seq])
            for seq, shot in enumerate(self.matrix.shots[sender])
        )


def _text(shot: Shot) -> str:
    to = shot.receiver.label if shot.receiver else "all"
    return f"{shot.kind} to {to}" + (f", tags {'/'.join(map(str, shot.vlans))}" if shot.vlans else "")
