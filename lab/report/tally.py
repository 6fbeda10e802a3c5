"""Predicted, observed, possible: the three-way difference at each place, and what changed since an earlier answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.predict.passing import CouldSee


@dataclass(frozen=True)
class Tally:
    """At one place (`Hop.key`): how often the frames were foretold there, seen there, and may be there or not (a
    sampled mirror copy)."""

    key: tuple[Any, ...]
    predicted: int
    observed: int
    optional: int = 0

    @property
    def unexpected(self) -> int:
        return max(0, self.observed - self.predicted - self.optional)

    @property
    def missing(self) -> int:
        return max(0, self.predicted - self.observed)

    def possible(self, entries: Sequence[CouldSee]) -> str:
        """Why a frame may be here beyond the prediction, by what could have seen it; empty when nothing says so."""
        box, _, _, interface, *_ = self.key
        if self.optional:
            return "a mirroring session samples"
        return next((e.why for e in entries if e.box == box and e.interface in ("", interface)), "")


def tally_json(tallies: Sequence[Tally], entries: Sequence[CouldSee]) -> list[dict[str, Any]]:
    """One object for each place, with all three opinions."""
    names = ("box", "node", "point", "interface", "vlans", "src", "dst")
    return [
        {
            **dict(zip(names, (list(v) if isinstance(v, tuple) else v for v in tally.key), strict=True)),
            "predicted": tally.predicted,
            "observed": tally.observed,
            "optional": tally.optional,
            "possible": tally.possible(entries) or None,
            "unexpected": tally.unexpected,
            "missing": tally.missing,
        }
        for tally in tallies
    ]


def tally_lines(tallies: Sequence[Tally], entries: Sequence[CouldSee]) -> Iterator[str]:
    """Only the places where the opinions differ."""
    for tally in tallies:
        if tally.unexpected or tally.missing:
            box, _, point, interface, vids, *_ = tally.key
            tags = f" VLAN {'/'.join(map(str, vids))}" if vids else ""
            why = tally.possible(entries)
            said = f"predicted {tally.predicted}, observed {tally.observed}, " + (
                f"possible: {why}" if why else "not possible"
            )
            yield f"{box} {point} {interface}{tags}: {said}"


# -- against an earlier answer


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two answers as JSON documents; times and counts do not matter. Raises KeyError, TypeError
    for what is no such document."""
    return [*_verdict(before, now), *_trails(before, now), *_exposure(before, now)]


def _verdict(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in ("from", "to", "disposition", "reason", "agrees"):
        if before[name] != now[name]:
            yield f"{name}: was {_said(before[name])}, is {_said(now[name])}"


def _said(value: Any) -> str:
    return {None: "none", True: "yes", False: "no"}.get(value, str(value))


def _trails(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = ({_trail(trail) for trail in answer["trails"]} for answer in (before, now))
    yield from (f"trail gone: {trail}" for trail in sorted(old - new))
    yield from (f"trail new: {trail}" for trail in sorted(new - old))


def _trail(trail: Mapping[str, Any]) -> str:
    return " > ".join(_hop(hop) for hop in trail["hops"] if hop["evidence"] == "wire" or hop["reason"])


def _hop(hop: Mapping[str, Any]) -> str:
    tags = f" VLAN {'/'.join(map(str, hop['vlans']))}" if hop["vlans"] else ""
    return f"{hop['box']} {hop['point']} {hop['interface']}{tags}" + (f" ({hop['reason']})" if hop["reason"] else "")


def _exposure(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    words = {"path": "on the path", "did_see": "did see it", "could_see": "could see it"}
    for name, said in words.items():
        old, new = ({_exposed(entry) for entry in answer["exposure"].get(name, ())} for answer in (before, now))
        yield from (f"{said} no more: {entry}" for entry in sorted(old - new))
        yield from (f"{said} now: {entry}" for entry in sorted(new - old))


def _exposed(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    action = f" by {entry['action']}" if "action" in entry else f" at {entry['interface']}"
    return f"{entry['node']}{action} ({entry['why']})"
