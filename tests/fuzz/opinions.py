"""Two opinions on what one switch does with a frame, in one shape: what is foretold and what its own trace says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from lab.frame import DropReason, Frame, Hop, Point
from lab.model import Topology
from lab.plan.types import Plan
from lab.predict import Prediction, Predictor
from lab.state import State

from .offline import Offline
from .strategies import Case

ENTRIES = frozenset({Point.PORT_INPUT, Point.UPLINK_RCV, Point.PSWITCH_RCV})
MIRROR_PORT = ".mirror"
SEEN = (
    "discarding",
    "blocked",
    "deaf",
    "beacons_lost",
    "beacons_unsure",
    "unstable",
    "settling",
    "lag_members",
    "channel_members",
)
"""Sets of ports in a State that say what has been seen."""

Leaving = tuple[str, tuple[tuple[int, int], ...]]
"""The port's label, and (VLAN ID, priority) of each tag."""


class Ending(NamedTuple):
    """A copy that ended: why, at which port, by which statements. Empty where an opinion does not say."""

    reason: str
    port: str = ""
    statements: tuple[str, ...] = ()

    def like(self, other: Ending) -> bool:
        here = not self.port or not other.port or self.port == other.port
        why = not self.statements or not other.statements or bool({*self.statements} & {*other.statements})
        return self.reason == other.reason and here and why


@dataclass(frozen=True)
class Opinion:
    out: Counter[Leaving]
    ends: tuple[Ending, ...]

    def agrees(self, other: Opinion) -> bool:
        left = list(other.ends)
        for mine in self.ends:
            match = next((theirs for theirs in left if mine.like(theirs)), None)
            if match is None:
                return False
            left.remove(match)
        return not left and self.out == other.out

    def __str__(self) -> str:
        out = [f"{port}{list(tags)}" + (f" x{n}" if n > 1 else "") for (port, tags), n in sorted(self.out.items())]
        ends = [f"{e.reason} at {e.port or '?'} {'/'.join(e.statements)}" for e in sorted(self.ends)]
        return f"out {', '.join(out) or 'nowhere'}; ends {', '.join(ends) or 'nowhere'}"


@dataclass(eq=False)
class Disagreement(Exception):
    """Everything that somebody needs to look at it."""

    case: Case
    shot: int
    hop: Hop
    foretold: Opinion
    traced: Opinion
    trace: str

    def __str__(self) -> str:
        sender, frame = self.case.shots[self.shot]
        before = "\n".join(f"  {s}: {_short(f)}" for s, f in self.case.shots[: self.shot])
        return (
            f"\n{self.case.text}\n{state_text(self.case)}\nframes before it:\n{before or '  none'}\n"
            f"frame: {sender}: {_short(frame)}\n"
            f"at {self.hop.box}:{self.hop.interface} ({self.hop.point}), tags {[str(t) for t in self.hop.vlans]}\n"
            f"  foretold: {self.foretold}\n  traced:   {self.traced}\n{self.trace}"
        )


def _short(frame: Frame) -> str:
    tags = "/".join(str(tag) for tag in frame.vlans) or "untagged"
    return f"{frame.src} -> {frame.dst} {tags} {frame.ethertype:#06x} {frame.payload.hex()}"


def state_text(case: Case) -> str:
    state = case.state
    said = {
        "links_down": sorted(state.links_down),
        "macs": dict(state.macs),
        "promiscuous": sorted(state.promiscuous),
        "groups": {port: sorted(groups) for port, groups in state.groups.items()},
        "all_groups": sorted(state.all_groups),
        **{name: sorted(getattr(state, name)) for name in SEEN},
        "placed": dict(state.placed),
        "uplink_of": dict(state.uplink_of),
        "spread": dict(state.spread),
        "copied": dict(state.copied),
    }
    return "\n".join(f"{key}: {value}" for key, value in said.items() if value)


def entries(prediction: Prediction) -> Iterator[int]:
    """Indexes of the hops where the frame comes into a switch, in the order in which it is taught. What an actor may
    send back is looked at where it comes in, and not beyond: whether it exists is not the switches' business."""
    sampled: set[int] = set()
    for index, hop in enumerate(prediction.hops):
        if hop.interface.endswith(MIRROR_PORT):
            sampled.add(index)
            if hop.point is Point.PORT_INPUT:
                yield index
        elif hop.parent in sampled:
            sampled.add(index)
        elif hop.point in ENTRIES and hop.switch:  # a pNIC may be no switch's uplink
            yield index


def foretold(prediction: Prediction, index: int) -> Opinion:
    after = [hop for hop in prediction.hops if hop.parent == index]
    out = Counter((h.interface, tuple((t.vid, t.pcp) for t in h.vlans)) for h in after if not h.reason)
    return Opinion(out, tuple(Ending(str(h.reason), h.interface, h.statements) for h in after if h.reason))


def traced(switch: Offline, hop: Hop, frame: Frame) -> tuple[Opinion, str]:
    raw = Frame(frame.src, frame.dst, hop.vlans, frame.ethertype, frame.payload).to_bytes()
    said, text = switch.trace(hop.box, hop.interface, raw, hop.vlans)
    label = {port.number: port.label for port in switch.bridge(hop.box, hop.interface).ports}
    out = Counter(
        (label.get(int(copy.interface.rpartition("p")[2]), copy.interface), tuple((t.vid, t.pcp) for t in copy.vlans))
        for copy in said.outputs
    )
    ends = (Ending(str(d.reason), label.get(d.port, ""), (d.statement,) if d.statement else ()) for d in said.drops)
    return Opinion(out, tuple(ends)), text


def smaller(switch: Offline, found: Disagreement, plan: Plan) -> Disagreement:
    """The same with as few frames before it as need be."""
    needed = list(found.case.shots[: found.shot + 1])
    at = 0
    while at < len(needed) - 1:
        tried = [*needed[:at], *needed[at + 1 :]]
        switch.load(plan)
        try:
            list(walk(switch, replace(found.case, shots=tuple(tried))))
        except Disagreement as again:
            needed, found = tried[: again.shot + 1], again
        else:
            at += 1
    return found


class Step(NamedTuple):
    """One frame of a case, about which every switch agreed; `asked`: how many were asked."""

    frame: Frame
    before: State
    after: State
    prediction: Prediction
    asked: int


def walk(switch: Offline, case: Case) -> Iterator[Step]:
    """Each frame of a case whose rows are loaded. Raises Disagreement at the first switch that does not do what is
    foretold, CannotTell for a frame that never ends."""
    state = case.state
    predictor = Predictor(case.topology, state)
    for number, (sender, frame) in enumerate(case.shots):
        prediction = predictor.predict(sender, frame)
        looks = list(_looks(case.topology, sender, prediction))
        for hop, said in looks:
            own, text = traced(switch, hop, frame)
            if not said.agrees(own):
                raise Disagreement(case, number, hop, said, own, text)
        after = prediction.state_after(state)
        yield Step(frame, state, after, prediction, len(looks))
        if after is not state:
            state, predictor = after, predictor.with_state(after)


def _looks(topology: Topology, sender: str, prediction: Prediction) -> Iterator[tuple[Hop, Opinion]]:
    """Where a switch is to be asked, and what is foretold of it there."""
    first = prediction.hops[0]
    if first.reason is DropReason.DISCONNECTED:
        # The frame never reaches the switch, which would have the same to say.
        nic = next(nic for nic in (*topology.vnics, *topology.vmknics) if nic.label == sender)
        here = first._replace(interface=nic.port)
        yield here, Opinion(Counter(), (Ending(str(first.reason), nic.port, first.statements),))
    for index in entries(prediction):
        yield prediction.hops[index], foretold(prediction, index)
