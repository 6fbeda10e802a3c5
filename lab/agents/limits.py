"""A host's limits before version 3 of Network I/O Control hold over its whole team (NIOC-6): where a traffic type sends
on several uplinks, the host measures what it needs on each of them and divides the limit anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lab.agents.events import Moment
from lab.agents.present import Present
from lab.agents.supervised import supervise
from lab.model import NetworkIoControl
from lab.nioc import divided
from lab.plan.bandwidth import uplinks_of
from lab.plan.queues import Class, Tree
from lab.realise.netlink_tc import Counted
from lab.state import State

LOOK_SECONDS = 0.5
FULL = 0.9
"""Of its part: whoever sends so much, or drops, may want more."""
MORE = 1.5
"""What such an uplink is taken to want of what it sends."""
WORTH = 0.03
"""Of the limit: less is not worth a change."""

Key = tuple[str, str, str]
"""(host, switch, traffic type or pool)."""


@dataclass(frozen=True)
class Shared:
    """One limit (bits/s as emulated) and the uplinks that it is for."""

    key: Key
    limit: float
    uplinks: tuple[str, ...]


def shared_limits(now: Moment) -> Iterator[Shared]:
    """Those that several uplinks share."""
    for part in now.topology.host_switches.values():
        dvs = now.topology.distributed_switches.get(part.name) if part.distributed else None
        control = dvs.network_io_control if dvs else None
        if control is None or control.version >= 3:
            continue
        for name, bits in _limits(control):
            used = uplinks_of(part, now.state, control, now.topology, name)
            uplinks = tuple(u for u in used if (part.host, u) not in control.opt_out)
            if len(uplinks) > 1:
                yield Shared((part.host, part.name, name), bits * now.topology.speed_scale, uplinks)


def _limits(control: NetworkIoControl) -> Iterator[tuple[str, int]]:
    for name, allotted in {**control.types, **control.pools}.items():
        if allotted.limit is not None:
            yield name, allotted.limit.bits


def parts_of(shared: Shared, sent: Mapping[str, float], hungry: Mapping[str, bool]) -> dict[str, float]:
    """Uplink -> its part of the limit, from what each has sent (bits/s) and whether it may want more."""
    wants = {u: sent[u] * (MORE if hungry[u] else 1.0) + WORTH * shared.limit for u in shared.uplinks}
    return {u: rate / shared.limit for u, rate in divided(shared.limit, wants).items()}


class LimitAgent:
    """One thread; it counts only while a limit is shared."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self._before: dict[tuple[str, str], tuple[float, Mapping[int, Counted]]] = {}
        self._never = threading.Event()

    def start(self) -> None:
        supervise("limits", self._run, self._present.event)

    def _run(self) -> None:
        while not self._never.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Once at every limit that is shared."""
        found = list(shared_limits(self._present.now))
        if not found and not self._before:
            return
        with self._present.lock:
            trees = {(q.node, q.label): q for q in self._present.network.plan.queues if isinstance(q, Tree)}
            places = {(s.key[0], u) for s in found for u in s.uplinks}
            counted = self._present.network.queues.counters(places)
            wanted = {s.key: parts for s in found if (parts := self._parts(s, trees, counted))}
            self._before = {place: (time.monotonic(), classes) for place, classes in counted.items()}
            if wanted:
                self._present.observe(lambda now: _with(now.state, wanted))

    def _parts(
        self,
        shared: Shared,
        trees: Mapping[tuple[str, str], Tree],
        counted: Mapping[tuple[str, str], Mapping[int, Counted]],
    ) -> dict[str, float] | None:
        """None when there is nothing to compare with yet, or too little would change."""
        sent, hungry, now = {}, {}, {}
        for uplink in shared.uplinks:
            place = (shared.key[0], uplink)
            one = _class_named(trees.get(place), shared.key[2])
            if one is None or place not in self._before or place not in counted:
                return None
            since, before = self._before[place]
            if one.minor not in before or one.minor not in counted[place]:
                return None
            old, new = before[one.minor], counted[place][one.minor]
            sent[uplink] = (new.bytes - old.bytes) * 8 / (time.monotonic() - since)
            hungry[uplink] = new.dropped > old.dropped or sent[uplink] > FULL * one.ceil
            now[uplink] = one.ceil / shared.limit
        parts = parts_of(shared, sent, hungry)
        return parts if any(abs(parts[u] - now[u]) > WORTH for u in parts) else None


def _class_named(tree: Tree | None, name: str) -> Class | None:
    return next((c for c in tree.classes if c.label == name), None) if tree else None


def _with(state: State, parts: Mapping[Key, dict[str, float]]) -> State:
    return replace(state, divided=MappingProxyType({**state.divided, **parts}))
