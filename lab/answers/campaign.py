"""Canaries sent while every wire is captured, until what must have been seen is in the files."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.client import LabClient, Place
from lab.errors import CannotTell
from lab.frame import Frame, Hop
from lab.observe.pcapng import CaptureFile
from lab.observe.sightings import End, PointMap, Sighting
from traffic.canary import MAGIC, find_canaries

SETTLE_SECONDS = 3.0
"""How long a frame that must arrive may take to reach the capture file before it counts as not seen."""


@dataclass
class Campaign:
    """A capture that is running. `captured` are the ends whose wires it hears."""

    client: LabClient
    number: int
    files: Mapping[str, Path]
    captured: frozenset[End]
    stats: dict[str, Any] = field(default_factory=dict)

    def send(self, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Jobs as the daemon's `send` takes them."""
        answered: list[dict[str, Any]] = self.client.ask("send", jobs=jobs)
        return answered

    def wait_for(self, expected: Iterable[tuple[End, bytes, int]], seconds: float = SETTLE_SECONDS) -> bool:
        """Until each node's file holds each needle so many times. False: something that must come did not."""
        counts: dict[tuple[str, bytes], int] = defaultdict(int)
        for (node, label), needle, times in expected:
            if (node, label) in self.captured:
                counts[node, needle] += times
        needles = [[node, needle.hex(), times] for (node, needle), times in counts.items()]
        complete = bool(self.client.ask("capture_wait", number=self.number, needles=needles, seconds=seconds))
        # What was not expected must have its time too, or a leak could be missed.
        return bool(self.client.ask("capture_settle", number=self.number)) and complete

    def stop(self) -> None:
        """Close the files. Raises CannotTell when frames were lost on the way into them."""
        self.stats = self.client.ask("capture_stop", number=self.number)
        lost = {node: said["dropped"] for node, said in self.stats.items() if said["dropped"]}
        if lost:
            raise CannotTell(f"the capture lost frames: {', '.join(f'{n} at {node}' for node, n in lost.items())}")

    def sightings(self) -> Iterator[Sighting]:
        """Every canary in every file, in no order."""
        labels = {node: {i.name: i.label for i in self.client.plan.node_named[node].interfaces} for node in self.files}
        for node, path in self.files.items():
            with CaptureFile(path) as capture:
                for packet in capture.find(MAGIC):
                    for _, token, seq in find_canaries(packet.data):
                        end = (node, labels[node][packet.interface])
                        yield Sighting(end, packet.time_ns, Frame.parse(packet.data), token, seq)


@contextmanager
def campaign(client: LabClient, watched: Collection[str], directory: Path | None = None) -> Iterator[Campaign]:
    """Capture every wire of every box, and the own interfaces of the nodes `watched`. Without `directory` the files
    are gone at the end."""
    place = directory or Path(tempfile.mkdtemp(prefix="vlab-"))
    targets = _targets(client, watched)
    try:
        started = client.ask("capture_start", targets=targets, directory=str(place.resolve()))
        ends = frozenset((node, label) for node, labels in targets for label in labels)
        files = {node: Path(path) for node, path in started["files"].items()}
        running = Campaign(client, started["id"], files, ends)
        yield running
    finally:
        if not directory:
            shutil.rmtree(place, ignore_errors=True)


def _targets(client: LabClient, watched: Collection[str]) -> list[tuple[str, list[str]]]:
    cabled = {end for cable in client.plan.cables for end in (cable.a, cable.b)}
    return [
        (node.name, [i.label for i in node.interfaces if (node.name, i.label) in cabled])
        for node in client.plan.nodes
        if node.interfaces and (node.is_box or node.name in watched)
    ]


def end_of_hop(points: Mapping[tuple[str, str, str], End], hop: Hop) -> End:
    """The captured end that a predicted hop speaks of."""
    return points[hop.box, hop.node, hop.interface]


def ends_by_place(points: PointMap) -> dict[tuple[str, str, str], End]:
    """(box, node, interface) of a hop -> the end where a capture sees it."""
    return {(box, node, end[1]): end for end, (box, node, *_) in points.places.items()}


def sender_end(place: Place) -> End:
    return (place.node, place.interface)
