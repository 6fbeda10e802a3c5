"""Follow something in capture files alone: those of a lab that is gone, or of machines that never were in one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median

from lab.answers.follow import Found, by_frame, caught_of, found_in, grouped, in_groups, wrapped_in
from lab.answers.reading import goes_to
from lab.answers.wanted import Wanted
from lab.client import places_of
from lab.errors import CannotTell, UsageError
from lab.frame import Frame, Hop, Point
from lab.model import Topology
from lab.observe.copies import GoesTo, with_copies
from lab.observe.pcapng import Survey, as_pcapng, survey
from lab.observe.peel import identity
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.plan import compile_plan
from lab.plan.types import Plan
from lab.report.follow import Followed
from lab.teaming import initial_state

ETHERNET = 1
SLOWEST_NS = 1_000_000_000
"""No frame is so long on its way between two captures: clocks that differ by more are not one clock."""
_OURS = "vswitchlab "


def follow_files(paths: Sequence[Path], wanted: Wanted, topology: Topology | None) -> tuple[Followed, bool]:
    """With `topology`, a lab's own files give points and directions. False: a file does not have all that passed, and
    what is not in it may have been there all the same.

    Raises UsageError for what is no Ethernet capture, CannotTell for an empty file, for clocks that differ, and when
    nothing that is wanted is in the files.
    """
    plan = compile_plan(topology, initial_state(topology)) if topology is not None else None
    found: list[Found] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vlab-") as directory:
        for path in {path.resolve(): path for path in reversed(paths)}.values():  # what is named twice was seen once
            file, about, more = _opened(path, Path(directory))
            notes += more
            found += found_in(file, wanted, _Ends(_node(path, about, plan), plan))
    if not found:
        raise CannotTell("\n".join((f"{wanted.text}: not in {', '.join(map(str, paths))}", *notes)))
    frames = list(by_frame(found).values())
    _one_clock(frames)
    senders = {p.mac: (p.node, p.interface) for p in places_of(topology).values()} if topology is not None else {}
    copied_to = goes_to(topology) if topology is not None else lambda _hop: ()
    observed = [_hops(frame, plan, senders, copied_to) for frame in frames]
    caught = tuple(caught_of(observed, frames))
    trails = grouped(observed) if topology is None else in_groups(topology, grouped(observed))
    strange = _strange(found, plan)
    return Followed(wanted.text, len(frames), (), tuple(trails), (*notes, *strange), caught), not notes


def _strange(found: Sequence[Found], plan: Plan | None) -> Iterator[str]:
    """Places that the topology does not have: what was seen there gets no point and no direction."""
    places = PointMap.of(plan).places if plan is not None else {}
    names = [f"{node}:{port}" for node, port in dict.fromkeys(f.end for f in found) if (node, port) not in places]
    if plan is not None and names:
        few = ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
        yield f"the topology has no {few}: where these stand is not known"


_FEW = 5


def _opened(path: Path, directory: Path) -> tuple[Path, Survey, list[str]]:
    """A file that can be read, what it is, and in what it is not whole."""
    try:
        if not path.stat().st_size:
            raise CannotTell(f"{path} is empty: 0 bytes, not even the header of a capture")
        file, short = as_pcapng(path, directory)
        about = survey(file)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    strange = about.links - {ETHERNET}
    if strange:
        numbers = ", ".join(map(str, sorted(strange)))
        raise UsageError(f"{path} has link type {numbers}; what is followed is Ethernet (1)")
    return file, about, list(_lacks(path, about, short))


def _lacks(path: Path, about: Survey, short: bool) -> Iterator[str]:
    if short:
        yield f"{path} breaks off: what came after that is not known"
    if about.cut_at is not None:
        yield f"{path} breaks off at byte {about.cut_at}: what came after that is not known"
    if about.shortened:
        yield f"{path} has only the first bytes of {about.shortened} frames: what was behind them is not known"
    if about.timeless:
        yield f"{path} has {about.timeless} frames without a time: they are left out (editcap -F pcapng mends the file)"


def _node(path: Path, about: Survey, plan: Plan | None) -> str:
    """The node whose capture this is, as the lab wrote it down; the file's name where it did not."""
    if about.comment.startswith(_OURS):
        return about.comment.rpartition(", ")[2]
    by_id = {node.id: node.name for node in plan.nodes} if plan is not None else {}
    return by_id.get(path.stem, path.stem)


class _Ends(Mapping[str, End]):
    """Interface names -> ends; of a node that the plan knows, by the model's names."""

    def __init__(self, node: str, plan: Plan | None) -> None:
        known = plan.node_named.get(node) if plan is not None else None
        self._node, self._plan = node, plan
        self._labels = {i.name: i.label for i in known.interfaces} if known is not None else {}

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __getitem__(self, name: str) -> End:
        node, colon, label = name.partition(":")  # as evidence folders name them
        if colon and (self._plan is None or node in self._plan.node_named):
            return node, label
        return self._node, self._labels.get(name, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)


def _one_clock(frames: Sequence[Sequence[Found]]) -> None:
    """Raises CannotTell when one capture's times of the same frames are far from another's."""
    apart: dict[tuple[str, str], list[int]] = {}
    for frame in frames:
        first: dict[str, int] = {}
        for seen in frame:
            first.setdefault(seen.end[0], seen.time_ns)
        for a, b in combinations(sorted(first), 2):
            apart.setdefault((a, b), []).append(first[b] - first[a])
    for (a, b), deltas in apart.items():
        offset = median(deltas)
        if abs(offset) > SLOWEST_NS:
            later = "later" if offset > 0 else "earlier"
            raise CannotTell(
                f"{b} has the same frames {abs(offset) / 1e9:,.3f} s {later} than {a}: their clocks differ, and the "
                f"order of what they saw cannot be told (editcap -t {-offset / 1e9:+.6f} sets {b}'s right)"
            )


def _hops(
    frame: Sequence[Found], plan: Plan | None, senders: Mapping[str, End], copied_to: GoesTo
) -> tuple[Hop, ...]:  # fmt: skip
    """In the order of time; with points and directions where the plan knows all of the places. `senders`: by MAC."""
    points = PointMap.of(plan) if plan is not None else None
    plain = [seen for seen in frame if not seen.encapsulation]
    if points is not None and plain and all(seen.end in points.places for seen in plain):
        name = identity(frame[0].frame)
        mac = plain[0].frame.src
        origin = {name: senders[mac]} if mac in senders else {}
        known = hops_of(points, [Sighting(f.end, f.time_ns, f.frame, name, 0) for f in plain], origin)
        around = [seen for seen in frame if seen.encapsulation]
        placed = [seen for seen in around if seen.end in points.places]
        whole = with_copies(points, known, wrapped_in(placed), senders, copied_to)
        return (*whole, *(_bare(seen, None) for seen in around if seen not in placed))
    return tuple(_bare(seen, number - 1 if number else None) for number, seen in enumerate(frame))


def _bare(seen: Found, parent: int | None) -> Hop:
    node, interface = seen.end
    frame = Frame.parse(seen.raw)  # what is on the wire, whatever is inside
    return Hop(
        box=node,
        node=node,
        point=Point.CAPTURE,
        direction="",
        interface=interface,
        vlans=frame.vlans,
        src=frame.src,
        dst=frame.dst,
        evidence="wire",
        time_ns=seen.time_ns,
        parent=parent,
        encapsulation=seen.encapsulation,
    )
