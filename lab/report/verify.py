"""The verdict of the isolation matrix as values, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SHOWN = 20


@dataclass(frozen=True)
class Difference:
    """A frame of `sender` that was seen at `port` more or less often than predicted. `receiver` is the vNIC whose
    port it is, or empty on uplinks and pSwitches; `vlans` the tags it bore there."""

    sender: str
    receiver: str
    port: str
    kind: str
    frame: str
    vlans: tuple[int, ...]
    predicted: int
    observed: int


@dataclass(frozen=True)
class Verdict:
    """One `expect:` entry; `broken` names the pairs that prove it false."""

    kind: str
    names: tuple[str, ...]
    holds: bool
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """`pairs` are ordered pairs of vNICs, `agree` those for which every frame was seen exactly as predicted. `senders`:
    who took part, in file order; `received`: (sender, receiver) between whom any frame passed."""

    pairs: int
    agree: int
    differ: tuple[Difference, ...]
    expectations: tuple[Verdict, ...]
    canaries: int
    seconds: float
    senders: tuple[str, ...] = ()
    received: frozenset[tuple[str, str]] = frozenset()

    @property
    def ok(self) -> bool:
        return not self.differ and all(e.holds for e in self.expectations)


def as_json(report: Report) -> dict[str, Any]:
    return {
        "schema": 1,
        "pairs": report.pairs,
        "agree": report.agree,
        "differ": [
            {
                "from": d.sender,
                "to": d.receiver or None,
                "port": d.port,
                "frame": d.frame,
                "vlans": list(d.vlans),
                "predicted": d.predicted,
                "observed": d.observed,
            }
            for d in report.differ
        ],
        "expectations": [
            {"kind": e.kind, "names": list(e.names), "holds": e.holds, "broken": list(e.broken)}
            for e in report.expectations
        ],
        "canaries": report.canaries,
        "capture_loss": 0,
        "seconds": round(report.seconds, 3),
    }


def as_text(report: Report) -> str:
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    pairs = f"{report.agree} of {report.pairs} ordered vNIC pairs as predicted"
    yield f"{pairs}, {report.canaries} canaries, no capture loss"
    for d in report.differ[:SHOWN]:
        tags = f" tagged {'/'.join(map(str, d.vlans))}" if d.vlans else ""
        yield f"  DIFFERS {d.sender}: {d.frame}: at {d.port}{tags} predicted {d.predicted}, seen {d.observed}"
    if len(report.differ) > SHOWN:
        yield f"  ... and {len(report.differ) - SHOWN} more (--json has them all)"
    for e in report.expectations:
        names = ", ".join(e.names)
        said = {"isolate": f"{names} are isolated from each other", "reach": f"{names} reach each other"}[e.kind]
        yield f"  {'holds ' if e.holds else 'BROKEN'} {said}" + (f": {', '.join(e.broken[:8])}" if e.broken else "")
