"""The queues of a running lab: put in place, changed, read back, counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from lab.errors import SystemRefused
from lab.plan.bandwidth import SEND_ROOM
from lab.plan.queues import Queue, shortened
from lab.plan.types import Plan
from lab.realise import netlink_tc
from lab.realise.netlink_tc import Counted

Place = tuple[str, str]
"""(node, the model's name of its interface)."""
Ends = Mapping[Place, tuple[int, str]]
"""Place -> (namespace, Linux's name)."""
USED = 0.9
"""Of the room that there is."""


def ends_of(plan: Plan, namespaces: Mapping[str, int]) -> Ends:
    return {(n.name, i.label): (namespaces[n.name], i.name) for n in plan.nodes for i in n.interfaces}


class Queues:
    """What is in place. Where a box has less room for frames that wait than plans count on, queues are shorter."""

    def __init__(self, room: int | None) -> None:
        """`room`: bytes of memory that the frames waiting in one box's queues may take; None: as much as they like."""
        self._ends: Ends = {}
        self._part = 1.0 if room is None else min(1.0, room * USED / SEND_ROOM)
        self._present: dict[Place, Queue] = {}
        self._unsure: set[Place] = set()

    def change(self, wanted: Sequence[Queue], ends: Ends) -> list[Place]:
        """To exactly these, each read back; returns which interfaces have other queues now. Frames of classes that stay
        are not dropped; an interface that `ends` has no more, or elsewhere, has left its queues behind.

        Raises SystemRefused for the first that the kernel refuses; the next change mends the rest.
        """
        for place in [place for place in self._present if ends.get(place) != self._ends.get(place)]:
            del self._present[place]
        self._unsure &= ends.keys()
        self._ends = ends
        after = _by_place(shortened(wanted, self._part) if self._part < 1 else wanted)
        changed = []
        for place in dict.fromkeys((*self._present, *self._unsure, *after)):
            was, queue = self._present.get(place), after.get(place)
            if was != queue or place in self._unsure:
                self._apply(place, was, queue)
                changed.append(place)
        return changed

    def _apply(self, place: Place, was: Queue | None, queue: Queue | None) -> None:
        try:
            netlink_tc.apply(*self._ends[place], was, queue, place in self._unsure)
        except SystemRefused as error:
            self._present.pop(place, None)
            self._unsure.add(place)
            raise SystemRefused(f"{place[0]}: {error}") from error
        self._unsure.discard(place)
        self._present.pop(place, None)
        if queue is not None:
            self._present[place] = queue

    def counters(self, places: Collection[Place]) -> dict[Place, Mapping[int, Counted]]:
        """What the queues there have sent, dropped and have waiting, by class; places without a queue left out."""
        present, ends = dict(self._present), self._ends
        return {place: netlink_tc.count(*ends[place], present[place]) for place in places if place in present}


def _by_place(queues: Iterable[Queue]) -> dict[Place, Queue]:
    return {(queue.node, queue.label): queue for queue in queues}
