"""The isolation matrix: every vNIC to every other, all at once, compared with the prediction and with `expect:`.

Round one is a broadcast from everyone, until the pSwitches have learned. Round two predicts with what they have really
learned and sends the rest in one batch. Each frame is told by its sender's token and its number.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.answers.campaign import Campaign, campaign, ends_by_place
from lab.client import LabClient, Place, place_of
from lab.errors import CannotTell
from lab.frame import BROADCAST, Frame, Hop, Tag
from lab.model import Expectation, Nic, Tagging, Topology
from lab.observe.sightings import End, PointMap
from lab.predict import Predictor
from lab.report.verify import Difference, Report, Verdict
from lab.state import State
from traffic.canary import canary_payload, new_token

FRAMES_PER_SECOND = 8000.0
"""All senders together: more than userspace switches set flows up for, on two cores, loses frames in their sockets."""
MATRIX_ETHERTYPE = 0x88B5

Key = tuple[End, tuple[int, ...]]
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
    """Everything of one run: shots by sender, what was foretold for each, and what was seen."""

    tokens: dict[str, bytes] = field(default_factory=dict)
    shots: dict[str, list[Shot]] = field(default_factory=lambda: defaultdict(list))
    foretold: dict[tuple[str, int], Counter[Key]] = field(default_factory=dict)
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
        self.machines = [place_of(m) for m in self.topology.machines.values() if m.name in named]

    def everyone(self) -> list[Place]:
        return [*self.vnics, *self.machines]

    def round_one(self, running: Campaign) -> None:
        """One broadcast each, sent twice so that what the first taught is in every table."""
        shots = [Shot(place, None, (), "broadcast") for place in self.everyone()]
        state = self._fire(running, self.client.state(), shots, learning=True)
        real = self.client.state()
        if {s: dict(t) for s, t in state.mac_tables.items()} != {s: dict(t) for s, t in real.mac_tables.items()}:
            self.progress("the pSwitches learned something else than predicted", 1, 1)

    def round_two(self, running: Campaign) -> None:
        self._fire(running, self.client.state(), list(self._attempts()), learning=False)

    def _attempts(self) -> Iterator[Shot]:
        """Unicast, unicast with the receiver's tag, tagged and double-tagged broadcasts into every other VLAN."""
        vlan_of = {place.label: self._vlan(place) for place in self.vnics}
        vlans = sorted({v for v in vlan_of.values() if v})
        for a in self.everyone():
            for b in self.everyone():
                if a is not b:
                    yield Shot(a, b, (), "unicast")
        for a in self.vnics:
            for b in self.vnics:
                if a is not b and vlan_of[b.label]:
                    yield Shot(a, b, (Tag(vlan_of[b.label]),), "tagged unicast")
            for vlan in vlans:
                yield Shot(a, None, (Tag(vlan),), "tagged broadcast")
                if vlan != vlan_of[a.label]:
                    yield Shot(a, None, (Tag(vlan_of[a.label] or 1), Tag(vlan)), "double-tagged broadcast")

    def _vlan(self, place: Place) -> int:
        """The VLAN in which a frame reaches this vNIC: its own, or the first of its trunk."""
        nic = next(n for n in self.topology.vnics if n.label == place.label)
        policy = self.topology.port_group(nic).vlan
        if policy.tagging is Tagging.VGT:
            return max(policy.ranges[0][0], 1)
        return policy.vlan

    def _fire(self, running: Campaign, state: State, shots: Sequence[Shot], learning: bool) -> State:
        """Predict, send in rounds over the senders, and wait until all that must be seen is in the files."""
        predictor = Predictor(self.topology, state)
        expected: Counter[tuple[End, bytes]] = Counter()
        frames: dict[str, list[str]] = defaultdict(list)
        for done, shot in enumerate(shots):
            seq = self.matrix.add(shot)
            token = self.matrix.tokens[shot.sender.label]
            frame = shot.frame(token, seq)
            foretold = predictor.predict(shot.sender.label, frame)
            if learning and foretold.mac_tables is not state.mac_tables:
                state = foretold.state_after(state)
                predictor = predictor.with_state(state)
            keys = Counter(self._key(hop) for hop in foretold.wire if self._key(hop)[0] in running.captured)
            self.matrix.foretold[shot.sender.label, seq] = keys
            for (end, _), times in keys.items():
                expected[end, token] += times
            frames[shot.sender.label].append(frame.to_bytes().hex())
            if done % 500 == 0:
                self.progress("predicting", done, len(shots))
        self._send(running, frames)
        self.expected.update(expected)  # a file still holds what earlier rounds left in it
        running.wait_for((end, token, times) for (end, token), times in self.expected.items())
        return state

    def _send(self, running: Campaign, frames: Mapping[str, Sequence[str]]) -> None:
        places = {place.label: place for place in self.everyone()}
        total, sent, slice_size = sum(map(len, frames.values())), 0, 64
        rounds = max(map(len, frames.values()), default=0)
        for start in range(0, rounds, slice_size):
            jobs = [
                {
                    "node": places[label].node,
                    "interface": places[label].interface,
                    "frames": own[start : start + slice_size],
                    "rate": FRAMES_PER_SECOND,
                }
                for label, own in frames.items()
                if own[start : start + slice_size]
            ]
            running.send(jobs)
            sent += sum(len(own[start : start + slice_size]) for own in frames.values())
            self.progress("sending", sent, total)

    def _key(self, hop: Hop) -> Key:
        return self.places[hop.box, hop.node, hop.interface], tuple(tag.vid for tag in hop.vlans)

    def read(self, running: Campaign) -> None:
        owner = {token: label for label, token in self.matrix.tokens.items()}
        for sighting in running.sightings():
            label = owner.get(sighting.token)
            if label is not None:
                vids = tuple(tag.vid for tag in sighting.frame.vlans)
                self.matrix.seen[label, sighting.seq][sighting.end, vids] += 1

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
        )

    def _differences(self) -> Iterator[Difference]:
        owner = {self.points.far[p.node, p.interface]: p.label for p in map(place_of, self.topology.vnics)}
        for (label, seq), foretold in self.matrix.foretold.items():
            seen = self.matrix.seen[label, seq]
            if seen == foretold:
                continue
            shot = self.matrix.shots[label][seq]
            for key in seen.keys() | foretold.keys():
                if seen[key] != foretold[key]:
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
