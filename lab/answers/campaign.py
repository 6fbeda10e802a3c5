"""Canaries sent while every wire is captured, until what must have been seen is in the files."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.client import LabClient
from lab.errors import CannotTell, LabError
from lab.frame import Frame, Hop, Point, is_gre
from lab.observe.pcapng import CaptureFile, Packet
from lab.observe.sightings import End, PointMap, Sighting
from lab.plan import mirroring
from lab.plan.types import NodeKind
from lab.plan.wiring import UNDERLAY
from traffic.canary import MAGIC, find_canaries

SETTLE_SECONDS = 3.0
"""How long a frame that must arrive may take to reach the capture file before it counts as not seen."""


@dataclass
class Campaign:
    """A capture that is running. `captured` are the ends whose wires it hears; `kept`: somebody wants the files."""

    client: LabClient
    number: int
    captured: frozenset[End]
    kept: bool
    settled: bool = False
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
        return bool(self.client.ask("capture_wait", number=self.number, needles=needles, seconds=seconds))

    def settle(self) -> None:
        """What was not expected must have its time too, or a leak could be missed. Raises CannotTell."""
        if not self.client.ask("capture_settle", number=self.number, needle=MAGIC.hex()):
            raise CannotTell("frames were still coming when the capture was to end; is something else sending?")
        self.settled = True

    def stop(self) -> None:
        """Close the files. Raises CannotTell when frames were lost on the way into them."""
        at_once = self.settled and not self.kept
        self.stats = self.client.ask("capture_stop", number=self.number, at_once=at_once)
        lost = {node: said["dropped"] for node, said in self.stats.items() if said["dropped"]}
        if lost:
            raise CannotTell(f"the capture lost frames: {', '.join(f'{n} at {node}' for node, n in lost.items())}")
        crowded = {node: said["lost_in_switch"] for node, said in self.stats.items() if "lost_in_switch" in said}
        if crowded:
            places = ", ".join(f"{n} at {node}" for node, n in crowded.items())
            raise CannotTell(f"this machine was too slow for the lab: frames lost on the way into switches: {places}")

    def sightings(self) -> Iterator[Sighting]:
        """Every canary in every file, in no order; encapsulated copies are another frame's payload, and left out."""
        return self._sightings(False)

    def encapsulated(self) -> Iterator[Sighting]:
        """Canaries inside GRE, which is how mirroring sessions send copies to an address, and inside VXLAN between
        sites."""
        return self._sightings(True)

    def _sightings(self, encapsulated: bool) -> Iterator[Sighting]:
        for end, packet in self._found():
            if _is_inside(end, packet) is encapsulated:
                for _, token, seq in find_canaries(packet.data):
                    yield Sighting(end, packet.time_ns, Frame.parse(packet.data), token, seq)

    def packets(self) -> Iterator[tuple[End, bytes]]:
        """The bytes of every frame with a canary that is not encapsulated, and where it was captured."""
        return ((end, packet.data) for end, packet in self._found() if not _is_inside(end, packet))

    def files(self) -> Iterator[tuple[str, Path]]:
        """Node and file, once the capture is stopped; a node may have several."""
        return ((node, Path(path)) for node, said in self.stats.items() for path in said.get("files", ()))

    def _found(self) -> Iterator[tuple[End, Packet]]:
        for node, path in self.files():
            ends = {i.name: (node, i.label) for i in self.client.plan.node_named[node].interfaces}
            with CaptureFile(path) as capture:
                for packet in capture.find(MAGIC):
                    if packet.interface not in ends:
                        raise CannotTell(f"{packet.interface} has left {node} meanwhile (vMotion): ask again")
                    yield ends[packet.interface], packet


def _is_inside(end: End, packet: Packet) -> bool:
    """True for a canary in another packet's payload."""
    return is_gre(packet.data) or end[1].endswith(UNDERLAY)


@contextmanager
def campaign(
    client: LabClient, watched: Collection[str], directory: Path | None = None, without: Collection[End] = ()
) -> Iterator[Campaign]:
    """Capture every wire of every box but the ends `without`, and the own interfaces of the nodes `watched`.

    Without `directory` the files are gone at the end."""
    place = directory or Path(tempfile.mkdtemp(prefix="vlab-"))
    targets = _targets(client, {*watched, *_mirroring(client)}, without)
    started: dict[str, Any] = {"id": 0}
    try:
        started = client.ask("capture_start", targets=targets, directory=str(place.resolve()), spread=True)
        ends = frozenset((node, label) for node, label in started["captured"])
        running = Campaign(client, started["id"], ends, kept=directory is not None)
        yield running
    except BaseException:
        with suppress(LabError):  # it may have ended already; why this block ends is told anyway
            client.ask("capture_stop", number=started["id"])
        raise
    finally:
        if not directory:
            shutil.rmtree(place, ignore_errors=True)


def _mirroring(client: LabClient) -> Iterator[str]:
    """Nodes whose actors send frames back into the switch: only both ends of a cable tell which way a frame went."""
    ends = {end for cable in client.plan.cables for end in (cable.a, cable.b)}
    kernels = {node.name for node in client.plan.nodes if node.kind is NodeKind.VMKERNEL}
    return (node for node, label in ends if node in kernels and label.endswith(mirroring.PORT_SUFFIX))


def _targets(client: LabClient, watched: Collection[str], without: Collection[End] = ()) -> list[tuple[str, list[str]]]:
    cabled = {end for cable in client.plan.cables for end in (cable.a, cable.b)} - set(without)
    return [
        (node.name, [i.label for i in node.interfaces if (node.name, i.label) in cabled])
        for node in client.plan.nodes
        if node.interfaces and (node.is_box or node.name in watched)
    ]


HopPlace = tuple[str, str, str, bool]
"""(box, node, interface, at the guest's own end): a vmknic and the switch's end of its cable are both called `vmk0`."""

_GUEST_POINTS = frozenset({Point.VNIC_TX, Point.VNIC_RX, Point.VMK_TX, Point.VMK_RX, Point.NIC_TX, Point.NIC_RX})


def place_of_hop(hop: Hop) -> HopPlace:
    return hop.box, hop.node, hop.interface, hop.point in _GUEST_POINTS


def ends_by_place(points: PointMap) -> dict[HopPlace, End]:
    """Where a capture sees a hop."""
    return {
        (box, node, end[1], inward in _GUEST_POINTS): end for end, (box, node, _, inward, _) in points.places.items()
    }
