"""What a chassis does with a physical port whose pvNICs may use what others leave: it looks at what each of them needs,
and divides the port anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lab.agents.present import Present
from lab.agents.supervised import supervise
from lab.chassis import STEP, SharedPort, shared_ports
from lab.model import PortKey
from lab.nioc import Sender, rates
from lab.plan.queues import Tree
from lab.realise.netlink_tc import Counted
from lab.state import State

LOOK_SECONDS = 0.5
FULL = 0.9
"""Of what it has: whoever sends so much, or drops, may want more."""
MORE = 1.5
"""What such a pvNIC is taken to want of what it sends."""
WORTH = 0.03
"""Of the physical port: less is not worth a change."""


@dataclass(frozen=True)
class Need:
    """`sent` in bits/s; `hungry`: it may want more."""

    sent: float
    hungry: bool


def parts_of(port: SharedPort, scale: float, needs: Mapping[PortKey, Need]) -> dict[PortKey, float]:
    """End -> its rate, bits/s as emulated: always its own, and of what others leave by the proportion of these, up to
    its most; what nobody needs is spread evenly. So who begins has his own at once, and until the next look the port
    sends so much more than it has as it had lent of that."""
    capacity, senders = port.capacity * scale, {}
    for end, (least, most) in port.ends.items():
        own, need = least * scale, needs[end]
        wants = max(need.sent * MORE, own) if need.hungry else need.sent
        senders[":".join(end)] = Sender(wants + WORTH * capacity, max(least // STEP.bits, 1), own, most * scale)
    given = rates(capacity, senders)
    rest = max(capacity - sum(given.values()), 0.0) / len(given)
    return {
        end: max(min(given[":".join(end)] + rest, most * scale), least * scale)
        for end, (least, most) in port.ends.items()
    }


class PvnicAgent:
    """One thread; it counts only while there is a port to divide."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self._before: dict[PortKey, tuple[float, Mapping[int, Counted]]] = {}
        self._never = threading.Event()

    def start(self) -> None:
        supervise("pvNICs", self._run, self._present.event)

    def _run(self) -> None:
        while not self._never.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Once at every physical port that is shared."""
        shared = tuple(shared_ports(self._present.topology))
        if not shared and not self._before:
            return
        with self._present.lock:
            trees = {(q.node, q.label): q for q in self._present.network.plan.queues if isinstance(q, Tree)}
            counted = self._present.network.queues.counters({end for port in shared for end in port.ends})
            found = [parts for port in shared if (parts := self._parts(port, trees, counted))]
            self._before = {end: (time.monotonic(), classes) for end, classes in counted.items()}
            if found:
                wanted = {end: rate for parts in found for end, rate in parts.items()}
                self._present.observe(lambda now: _with(now.state, wanted))

    def _parts(
        self, port: SharedPort, trees: Mapping[PortKey, Tree], counted: Mapping[PortKey, Mapping[int, Counted]]
    ) -> dict[PortKey, float] | None:
        """None when there is nothing to compare with yet, or too little would change."""
        needs, now = {}, {}
        for end in port.ends:
            if end not in self._before or end not in counted or end not in trees:
                return None
            since, before = self._before[end]
            queues = [c.minor for c in trees[end].classes if c.packets and c.minor in before]
            old, new = ([classes[minor] for minor in queues] for classes in (before, counted[end]))
            sent = (sum(c.bytes for c in new) - sum(c.bytes for c in old)) * 8 / (time.monotonic() - since)
            now[end] = trees[end].classes[0].ceil
            dropped = sum(c.dropped for c in new) > sum(c.dropped for c in old)
            needs[end] = Need(sent, dropped or sent > FULL * now[end])
        scale = self._present.topology.speed_scale
        parts = parts_of(port, scale, needs)
        worth = WORTH * port.capacity * scale
        return parts if any(abs(parts[end] - now[end]) > worth for end in parts) else None


def _with(state: State, parts: Mapping[PortKey, float]) -> State:
    return replace(state, pvnic_rates=MappingProxyType({**state.pvnic_rates, **parts}))
