"""What the classes of pNICs under Network I/O Control sent in a window; their queues are looked at meanwhile."""

from __future__ import annotations

import select
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lab.plan.queues import Tree
from lab.realise.net import Network

LOOK_SECONDS = 0.05
Place = tuple[str, str]


def watched(network: Network) -> list[Tree]:
    """The trees that divide anything."""
    return [q for q in network.plan.queues if isinstance(q, Tree) and len(q.classes) > 1]


def measure(network: Network, seconds: float) -> dict[str, Any]:
    """JSON: for each of these pNICs and each of its classes what it is allotted, what it sent (bytes) and dropped
    (frames), and in which part of the looks frames were waiting; `idle`: the machine's idle part, 0 to 1."""
    trees = {(t.node, t.label): t for t in watched(network)}
    begun, before, processors = time.monotonic(), network.queues.counters(trees), _processors()
    waiting: dict[Place, Counter[int]] = {place: Counter() for place in trees}
    looks = 0
    after = before
    while time.monotonic() < begun + seconds:
        select.select([], [], [], LOOK_SECONDS)
        after, looks = network.queues.counters(trees), looks + 1
        for place, classes in after.items():
            waiting[place].update(minor for minor, counted in classes.items() if counted.waiting)
    took = time.monotonic() - begun
    found = [
        {
            "host": place[0], "pnic": place[1], "capacity": tree.classes[0].ceil,
            "classes": [
                {
                    "label": c.label, "minor": c.minor, "parent": c.parent, "shares": c.shares, "limit": c.ceil,
                    "bytes": after[place][c.minor].bytes - before[place][c.minor].bytes,
                    "dropped": after[place][c.minor].dropped - before[place][c.minor].dropped,
                    "waiting": waiting[place][c.minor] / max(looks, 1),
                }
                for c in tree.classes if c.minor in after[place] and c.minor in before[place]
            ],
        }
        for place, tree in trees.items() if place in after
    ]  # fmt: skip
    return {"seconds": took, "idle": _idle(processors, _processors()), "pnics": found}


def _processors() -> list[int]:
    """Ticks of user, nice, system, idle, iowait, ... of all processors."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]


def _idle(before: list[int], after: list[int]) -> float:
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return (spent[3] + spent[4]) / max(sum(spent), 1)
