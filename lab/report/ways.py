"""The ways that frames went, for a page: a table with their counts, each drawn on the picture as a line of its own, and
each hop by hop for paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from lab.frame import Hop, Point
from lab.report.follow import Followed, by_macs
from lab.report.picture import Anchor, Picture
from lab.report.where import Caught, decided_by

COURSES = 4
"""Kinds of line (`c0` to `c3` in the page's style): one for each direction of a flow, then the same again."""
BESIDE = 4.0
"""How far lines of different directions are apart (px)."""
HOP_HEADS = ("hop", "box", "frame", "point", "interface", "VLAN", "µs", "evidence", "decided by")
_GUEST = frozenset({Point.VNIC_TX, Point.VNIC_RX, Point.VMK_TX, Point.VMK_RX, Point.NIC_TX, Point.NIC_RX})
_INSIDE = frozenset({Point.DISPATCH, Point.SWITCH_OUTPUT})


@dataclass(frozen=True)
class Way:
    """One way, `count` of the `of` frames of a direction went it; how many frames of strangers there were besides is
    not known, and `of` is `count`. `course` numbers the directions; `caught` are frames of that direction."""

    direction: str
    course: int
    count: int
    of: int
    hops: tuple[Hop, ...]
    caught: tuple[Caught, ...] = ()

    @property
    def frames(self) -> str:
        many = "1 frame" if self.of == 1 else f"{self.of} frames"
        return many if self.count == self.of else f"{self.count} of {many}"

    @property
    def end(self) -> str:
        """`delivered to web2`, `dropped in esx1 at vmnic2: Reverse Path`, `sent to ids1 ...`, `last seen ...`."""
        last = self.hops[-1]
        inside = f", in {last.encapsulation}" if last.encapsulation else ""
        if last.reason is not None:
            return f"dropped in {last.box} at {last.interface}: {last.reason}"
        if last.observation == "Delivered":
            return f"delivered to {last.node}{inside}"
        if last.direction == "out" and last.node != last.box:  # its own end is not captured
            return f"sent to {last.node} ({last.box} {last.interface}){inside}"
        return f"last seen at {last.box} {last.interface}{inside}"

    @property
    def title(self) -> str:
        return f"{self.direction}, {self.frames}, {self.end}"


def ways_of(followed: Followed) -> list[Way]:
    """Those of each answer, then those of frames whose ends nobody knows, one direction for each pair of MACs."""
    found = [
        Way(f"{answer.sender} → {answer.receiver}", course, trail.count, answer.sent, trail.hops, answer.caught)
        for course, answer in enumerate(followed.answers)
        for trail in answer.trails
    ]
    for course, ((src, dst), trails) in enumerate(by_macs(followed.trails).items(), start=len(followed.answers)):
        found += [Way(f"{src} → {dst}", course, t.count, t.count, t.hops, followed.others) for t in trails]
    return found


# -- on the picture


def anchor_of(hop: Hop, picture: Picture) -> Anchor | None:
    """Where a hop stands; None where the picture has no such place."""
    if hop.point in _INSIDE:
        return picture.anchors.get((hop.box, hop.switch))
    place = hop.node if hop.point in _GUEST else hop.box, hop.interface
    behind = hop.box, hop.interface.rpartition(".")[0]  # dvs0.mirror: the switch; wan-b.wan: the port of that name
    return picture.anchors.get(place) or picture.anchors.get(behind)


def drawn(ways: Sequence[Way], picture: Picture) -> Iterator[str]:
    """SVG: each way a thin line, beside that of the other direction, with its number and count where it ends."""
    taken: dict[Anchor, int] = {}
    for number, way in enumerate(ways, start=1):
        aside = (way.course % COURSES - (COURSES - 1) / 2) * BESIDE
        spots = [spot for hop in way.hops if (spot := anchor_of(hop, picture)) is not None]
        if not spots:
            continue
        line = " ".join(f"{x + aside:.1f},{y + aside:.1f}" for x, y in spots)
        x, y = spots[-1]
        above = taken[x, y] = taken.get((x, y), -1) + 1
        yield f'<g class="course c{way.course % COURSES}" data-way="{number - 1}"><title>{escape(way.title)}</title>'
        yield f'<polyline points="{line}"/><text class="many" x="{x + 12:.1f}" y="{y - 8 - 12 * above:.1f}">'
        yield f"{number}: {way.count}×</text></g>"


# -- in words


def ways_table(ways: Sequence[Way]) -> Iterator[str]:
    """A row for each way; its button shows it step by step."""
    heads = ("way", "line", "direction", "frames", "by", "where it ended")
    yield '<table id="ways"><caption>Every way that frames went</caption><thead><tr>'
    yield "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead><tbody>"
    for number, way in enumerate(ways):
        line = f'<svg class="key" viewBox="0 0 44 8" aria-hidden="true"><g class="course c{way.course % COURSES}">'
        words = (way.direction, way.frames, _by(way.hops), way.end)
        said = "".join(f"<td>{escape(word)}</td>" for word in words)
        yield f'<tr data-way="{number}"><td><button type="button" class="pick" data-way="{number}" '
        yield f'aria-label="Show way {number + 1}">{number + 1}</button></td>'
        yield f'<td>{line}<polyline points="1,4 43,4"/></g></svg></td>{said}</tr>'
    yield "</tbody></table>"


def _by(hops: Sequence[Hop]) -> str:
    """`web1 › esx1 vmnic3 › tor2 › esx2 › web2`: boxes, and the pNIC or port that a copy left by."""
    said: list[tuple[str, str]] = []
    for hop in hops:
        name = hop.node if hop.point in _GUEST else hop.box
        left = f" {hop.interface}" if hop.point is Point.UPLINK_SND else ""
        left += f" ({hop.encapsulation})" if left and hop.encapsulation else ""
        if said and said[-1][0] == name:
            said[-1] = name, said[-1][1] or left
        else:
            said.append((name, left))
    return " › ".join(name + left for name, left in said)


def on_paper(ways: Sequence[Way]) -> Iterator[str]:
    """Each way hop by hop: what the script shows one at a time."""
    for number, way in enumerate(ways, start=1):
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in hop_rows(way.hops))
        head = "".join(f'<th scope="col">{name}</th>' for name in HOP_HEADS)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        yield f"<table><caption>Way {number}: {escape(way.title)}</caption>"
        yield f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def hop_rows(hops: Sequence[Hop]) -> Iterator[tuple[str, ...]]:
    """The cells under `HOP_HEADS`; times count from the first sighting."""
    start = next((hop.time_ns for hop in hops if hop.time_ns is not None), 0)
    for number, hop in enumerate(hops, start=1):
        yield (
            str(number),
            hop.box,
            hop.observation,
            hop.point.value,
            hop.interface,
            "/".join(map(str, hop.vlans)) or "-",
            "" if hop.time_ns is None else f"{(hop.time_ns - start) / 1000:.0f}",
            hop.evidence,
            " · ".join(decided_by(hop, hops[0])),
        )


def frames_of(way: Way) -> Mapping[tuple[object, ...], bytes]:
    """The first frame that was captured at each hop."""
    return {(*c.hop.key, c.hop.encapsulation): c.data for c in reversed(way.caught)}
