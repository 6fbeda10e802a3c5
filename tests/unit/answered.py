"""Answers as a lab would give them, made from a prediction alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lab.answers.evidence import Exhibit, write_evidence
from lab.client import places_of
from lab.frame import Frame, Hop
from lab.model import Topology
from lab.plan import compile_plan
from lab.predict import predict
from lab.predict.exposure import Flow, could_see
from lab.report.follow import Followed, as_json, as_text
from lab.report.where import Answer, Caught, Trail
from lab.teaming import initial_state
from lab.topology import read_topology_file

ROOT = Path(__file__).resolve().parents[2]
PAYLOAD = b"</script><b>".ljust(46, b"x")


def topology_named(name: str) -> Topology:
    return read_topology_file(ROOT / "topologies" / f"{name}.yaml")


def answer(topology: Topology, sender: str, to: str, longer: int = 0, **changed: Any) -> Answer:
    """As foretold, with one frame that was caught at each hop; `longer`: a first trail of so many hops."""
    places, state = places_of(topology), initial_state(topology)
    frame = Frame(places[sender].mac, places[to].mac, (), 0x88B5, PAYLOAD)
    said = predict(topology, state, sender, frame)
    trails = [Trail(3, seen(trail)) for trail in sorted(said.trails(), key=lambda t: t[-1].node != places[to].node)]
    if longer:
        many = tuple(trails[0].hops[n % len(trails[0].hops)] for n in range(longer))
        trails.insert(0, Trail(1, many))
    return Answer(**{
        "frame": frame, "size": 60, "sender": sender, "receiver": to, "sent": 3, "disposition": "delivered",
        "flooded": True, "trails": tuple(trails), "predicted": said.hops, "agrees": True, "differences": (),
        "path": ("esx1",), "did_see": (), "could_see": could_see(topology, state, Flow(sender, to, frame)),
        "caught": tuple(caught(trails)), **changed,
    })  # fmt: skip


def seen(hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """The first sighting 5 ms after the epoch, one every microsecond."""
    return tuple(
        h._replace(evidence="trace" if h.reason else "wire", time_ns=None if h.reason else 5_000_000 + 1000 * n)
        for n, h in enumerate(hops)
    )


def caught(trails: list[Trail]) -> list[Caught]:
    """With the tags that the frame had there."""
    found = {}
    for number, hop in ((n, hop) for trail in trails for n, hop in enumerate(trail.hops, start=1)):
        if hop.evidence == "wire":
            raw = Frame(hop.src, hop.dst, hop.vlans, 0x88B5, PAYLOAD).to_bytes()
            found.setdefault(hop.key, Caught(0, number, hop, raw))
    return list(found.values())


def both_ways(topology: Topology, a: str, b: str) -> Followed:
    """A flow of five frames, three of them there and two back, one of these by a way of its own."""
    there, back = answer(topology, a, b), answer(topology, b, a, sent=2)
    first = back.trails[0]
    strange = tuple(hop for hop in first.hops if hop.box != first.hops[-1].box)
    ways = (Trail(1, first.hops), Trail(1, strange))
    return Followed(f"flow src {a} dst {b}", 5, (there, Answer(**{**vars(back), "trails": ways})))


def evidence_of(told: Followed, topology: Topology, directory: Path, edits: list[Any] | None = None) -> str:
    """A folder as `vlab where --evidence` writes it; gives the manifest's digest."""
    text = (ROOT / "topologies" / f"{topology.name}.yaml").read_text()
    facts = {"name": "case", "file": topology.name, "since": "today", "datapath": "user", "text": text}
    state = initial_state(topology)
    client: Any = SimpleNamespace(
        facts=facts, name="case", plan=compile_plan(topology, state), ask=lambda _verb: edits or []
    )
    return write_evidence(directory, client, state, Exhibit(as_json(told), as_text(told), told.caught))
