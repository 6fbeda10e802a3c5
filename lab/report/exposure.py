"""Who could have seen it, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lab.predict.passing import CouldSee

SHOWN = 8
"""So many ways, and nodes for each, in the text."""


def could_see_json(entries: Sequence[CouldSee]) -> list[dict[str, Any]]:
    """`closes` is null where only encryption does."""
    return [
        {
            "node": e.node,
            "box": e.box,
            "interface": e.interface,
            "kind": e.kind,
            "action": e.action,
            "why": e.why,
            "statements": list(e.statements),
            "closes": e.closes or None,
            "after": e.after or None,
            "copy": e.copy,
            "in_clear": e.in_clear,
        }
        for e in entries
    ]


def could_see_lines(entries: Sequence[CouldSee]) -> Iterator[str]:
    """Guests and machines by what they do and what closes that; boxes and cables in a line or two."""
    if entries:
        yield "  could have seen it" + (":" if entries[0].in_clear else ", encrypted:")
    ways: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for entry in entries:
        if entry.kind in ("guest", "machine"):
            ways.setdefault((entry.why, entry.statements, entry.closes), []).append(entry.node)
    for (why, statements, closes), nodes in list(ways.items())[:SHOWN]:
        ids = f" ({' '.join(statements)})" if statements else ""
        yield f"    {_few(nodes)}: {why}{ids}"
        yield f"      closed by: {closes or 'encryption only'}"
    if len(ways) > SHOWN:
        yield f"    and {len(ways) - SHOWN} more ways (--json has them all)"
    for kind, words in (("box", "who administers"), ("cable", "who taps")):
        yield from _passing([e for e in entries if e.kind == kind], words)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _passing(entries: Sequence[CouldSee], words: str) -> Iterator[str]:
    now = [e.node for e in entries if not e.after and not e.copy]
    copies = [e.node for e in entries if e.copy]
    later: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if entry.after:
            later.setdefault((entry.after, entry.closes), []).append(entry.node)
    if now:
        yield f"    {words} {_few(now)}: on the path"
    if copies:
        yield f"    {words} {_few(copies)}: on the way of a copy"
    for (after, closes), nodes in later.items():
        yield f"    {words} {_few(nodes)}: on the path when {after}"
        if closes:
            yield f"      closed by: {closes}"
