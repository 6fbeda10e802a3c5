"""A vMotion as people read it, and as JSON has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.report.clear import ClearReport


def as_text(report: ClearReport) -> Iterator[str]:
    done = report.done
    copied = sum(r["pages"] for r in done["rounds"])
    over = ", ".join(f"{a} to {b}" for a, b in done["adapters"])
    yield f"{done['vm']} is on {done['target']} (was on {done['source']}), {done['seconds']:.1f} s"
    how = "encrypted" if done["encrypted"] else "in clear"
    rounds = len(done["rounds"])
    pages = "1 page" if copied == 1 else f"{copied} pages"
    yield f"  memory: {pages}, {done['bytes']} bytes in {rounds} rounds over TCP 8000, {how}, {over}"
    if done["latency_aware"]:
        yield "  latency-aware mode: 4 ms or more there and back (VMO-10)"
    yield f"  stunned: {done['stunned_ms']:g} ms, its ports moved in {done['switch_over_ms']:g} ms"
    yield f"  {_reach(done['reach'])}"
    yield from report.clear_lines("its memory", " (vlab guest write-memory puts a marker there to look for)")


def _reach(reach: dict[str, Any] | None) -> str:
    if reach is None:
        return "out of reach: not measured, nobody else is in its VLAN"
    of = f"of {reach['sent']} frames from {reach['from']} ({reach['rate']}/s)"
    if not reach["received"]:
        return f"out of reach: none {of} came, before or after"
    if reach["unheard"] > reach["rate"]:
        return (
            f"out of reach: still, after {reach['unheard'] / reach['rate']:.1f} s; {reach['unheard']} {of} did not come"
        )
    return f"out of reach: {reach['gap_ms']:g} ms, {reach['missing']} {of} lost"
