"""Three opinions on a frame, for every shipped topology: `predict`, `ofproto/trace`, and the wire.

The wire against `predict` is `verify`; here each switch's own trace is laid beside what is predicted to leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import RunningLab
from lab.frame import BROADCAST, Frame, Hop, Point, Tag
from lab.observe.trace import read_trace
from lab.predict import Prediction, Predictor

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "topologies").glob("*.yaml"))
ENTRIES = {Point.PORT_INPUT, Point.UPLINK_RCV, Point.PSWITCH_RCV}
STRANGER = "00:50:56:3f:ff:ff"
TAGS: tuple[tuple[Tag, ...], ...] = ((), (Tag(10),), (Tag(0, 5),), (Tag(20), Tag(10)), (Tag(4000),))

Leaving = tuple[str, tuple[int, ...]]


def frames(lab: RunningLab) -> Iterator[tuple[str, Frame]]:
    """From every sender to its successor, a stranger and everyone, with every kind of tag stack."""
    places = list(lab.client.places.values())
    for index, place in enumerate(places):
        following = places[(index + 1) % len(places)]
        for number, dst in enumerate((following.mac, STRANGER, BROADCAST, "01:80:c2:00:00:00")):
            for vlans in TAGS if number == 0 else TAGS[:2]:
                yield place.label, Frame(place.mac, dst, vlans, 0x88B5, bytes(46))


def entries(prediction: Prediction) -> Iterator[tuple[int, Hop]]:
    return ((i, hop) for i, hop in enumerate(prediction.hops) if hop.point in ENTRIES)


def foretold(lab: RunningLab, prediction: Prediction, index: int) -> tuple[list[Leaving], list[str]]:
    """What leaves the switch that a frame came into, and why copies ended there."""
    after = [hop for hop in prediction.hops if hop.parent == index]
    plan = lab.client.plan
    out = [
        (plan.node_named[h.box].interface(h.interface).name, tuple(t.vid for t in h.vlans))
        for h in after
        if not h.reason
    ]
    return sorted(out), sorted(h.reason.value for h in after if h.reason)


def traced(lab: RunningLab, hop: Hop, frame: Frame) -> tuple[list[Leaving], list[str]]:
    raw = Frame(frame.src, frame.dst, hop.vlans, frame.ethertype, frame.payload).to_bytes()
    (text,) = lab.client.ask("trace", box=hop.box, port=hop.interface, frames=[raw.hex()])
    trace = read_trace(text, hop.vlans)
    out = [(copy.interface, tuple(tag.vid for tag in copy.vlans)) for copy in trace.outputs]
    return sorted(out), sorted(drop.reason.value for drop in trace.drops)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_switches_own_trace_agrees_with_the_prediction(
    file: Path, launch_lab: Callable[[str | Path], RunningLab]
) -> None:
    lab = launch_lab(file)
    state, looked, wrong = lab.client.state(), 0, []
    for sender, frame in frames(lab):
        prediction = Predictor(lab.client.topology, state).predict(sender, frame)
        state = prediction.state_after(state)  # a pSwitch learns from a trace of whole frames as from frames
        for index, hop in entries(prediction):
            said, own = foretold(lab, prediction, index), traced(lab, hop, frame)
            looked += 1
            if said != own:
                wrong.append((sender, frame.dst, frame.vlans, hop.box, hop.interface, said, own))
    assert not wrong, wrong[:5]
    assert looked > 80


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_wire_agrees_with_the_prediction(file: Path, launch_lab: Callable[[str | Path], RunningLab]) -> None:
    report = launch_lab(file).verify()
    assert report.ok, (report.differ[:5], [e for e in report.expectations if not e.holds])
    assert report.canaries > report.pairs > 0
