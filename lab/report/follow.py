"""What was followed: an answer for each direction of a flow whose ends are known, plain trails for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lab.frame import Point
from lab.report.where import Answer, Caught, Trail, end_text, hops_json, trail_lines
from lab.report.where import as_json as answer_json
from lab.report.where import as_text as answer_text


@dataclass(frozen=True)
class Followed:
    """`wanted` in words; `frames` that were told from each other; `notes`: what the reader should know of the files;
    `others`: captured frames of `trails`."""

    wanted: str
    frames: int
    answers: tuple[Answer, ...] = ()
    trails: tuple[Trail, ...] = ()
    notes: tuple[str, ...] = ()
    others: tuple[Caught, ...] = ()

    @property
    def caught(self) -> tuple[Caught, ...]:
        """Every captured frame, in the order of time."""
        every = (*(c for answer in self.answers for c in answer.caught), *self.others)
        return tuple(sorted(every, key=lambda c: c.hop.time_ns or 0))

    @property
    def agrees(self) -> bool:
        return all(answer.agrees for answer in self.answers)


def as_json(followed: Followed) -> dict[str, Any]:
    return {
        "schema": 1,
        "followed": followed.wanted,
        "frames": followed.frames,
        "agrees": followed.agrees,
        "answers": [answer_json(answer) for answer in followed.answers],
        "trails": [{"count": trail.count, "hops": hops_json(trail.hops)} for trail in followed.trails],
        "notes": list(followed.notes),
    }


def as_text(followed: Followed) -> str:
    return "\n".join(_lines(followed))


def _lines(followed: Followed) -> Iterator[str]:
    frames = "1 frame" if followed.frames == 1 else f"{followed.frames} frames"
    yield f"{followed.wanted}: {frames}"
    yield from (f"  note: {note}" for note in followed.notes)
    for answer in followed.answers:
        yield ""
        yield answer_text(answer)
    for (src, dst), trails in by_macs(followed.trails).items():
        first, *others = trails
        yield ""
        yield f"{src} -> {dst}: {_frames(first)} seen so"
        yield from trail_lines(first.hops)
        for trail in others:
            if trail.hops[-1].point is Point.CAPTURE:
                yield f"  also: {_frames(trail)} seen so"
                yield from trail_lines(trail.hops)
            else:
                yield f"  also: {_frames(trail)}: {end_text(trail.hops)}"


def by_macs(trails: Sequence[Trail]) -> dict[tuple[str, str], list[Trail]]:
    """The ways of each direction, by its source and destination where it was first seen."""
    found: dict[tuple[str, str], list[Trail]] = {}
    for trail in trails:
        found.setdefault((trail.hops[0].src, trail.hops[0].dst), []).append(trail)
    return found


def _frames(trail: Trail) -> str:
    return "1 frame" if trail.count == 1 else f"{trail.count} frames"
