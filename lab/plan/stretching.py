"""What Layer-2 stretches hold back, as rows of the pSwitches that they join (docs/stretch.md).

These rows stand in front of those of the lookup's last steps, and only where a switch has a port of a stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from typing import Protocol

from lab.frame import BPDU_MACS, DropReason
from lab.model import PhysicalPort, Ranges, Stretch, StretchKind
from lab.plan.tables import GROUP, drop
from lab.plan.types import Row
from lab.plan.vlans import register_matches

Members = tuple[tuple[int, bool], ...]
"""(OpenFlow port or channel, leaves tagged)."""
SPLIT_HORIZON, BELOW_SAME_PORT = 400, 190


class End(Protocol):
    """A port of the switch."""

    @property
    def number(self) -> int: ...

    @property
    def config(self) -> PhysicalPort: ...

    @property
    def inputs(self) -> tuple[int, ...]: ...


class _Kind(Enum):
    UNKNOWN, GROUP, ANSWERED, BPDU = range(4)


_DESTINATIONS = (
    ("dl_dst=00:00:00:00:00:00/01:00:00:00:00:00", _Kind.UNKNOWN, 100),
    (GROUP, _Kind.GROUP, 200),
    ("reg2=1", _Kind.ANSWERED, 250),
    *((f"dl_dst={mac}", _Kind.BPDU, 300) for mac in BPDU_MACS),
)
"""(match, kind, priority)."""


def rows_of(
    live: Sequence[End], blocks: Mapping[Members, Ranges], outputs: Callable[[Members], str], known: int, flood: int
) -> Iterator[Row]:
    """`live`: ports and channels that forward; `blocks`: who hears which VLANs; `outputs`: the actions that send a
    copy to each; `known`, `flood`: the tables of these two steps. Nothing for a switch that has no port of a stretch.
    """
    ends = [(end, end.config.stretch) for end in live if end.config.stretch is not None]
    for end, stretch in ends:
        for other, its in ends:
            if other is not end and stretch.splits_horizon and its.name == stretch.name:
                match = f"reg5={end.number:#x},in_port={other.number}"
                yield drop(known, BELOW_SAME_PORT, match, DropReason.STRETCH, "L2S-1", end.number)
    inputs = {end.number: end.inputs for end in live}
    for came_by, whose in ((None, None), *((end, s) for end, s in ends if s.splits_horizon)):
        for destination, kind, priority in _DESTINATIONS:
            if kind is _Kind.ANSWERED and came_by:
                continue  # only what comes from a site of its own is answered
            held = {end.number for end, stretch in ends if _holds_back(stretch, whose, kind)}
            for members, ranges in blocks.items() if held else ():
                place = f"in_port={came_by.number}," if came_by else ""
                above = priority + (SPLIT_HORIZON if came_by else 0)
                for vlans in register_matches(ranges):
                    match = f"{place}{destination},{vlans}".rstrip(",")
                    here = came_by.number if came_by else None
                    yield from _without(members, held, match, here, _Flood(flood, above, outputs, inputs))


class _Flood:
    """A table, a priority in it, how to send copies, and the OpenFlow ports by which frames come in at each member."""

    def __init__(
        self, table: int, priority: int, outputs: Callable[[Members], str], inputs: Mapping[int, tuple[int, ...]]
    ) -> None:
        self.inputs = inputs
        self.table = table
        self.priority = priority
        self.outputs = outputs


def _holds_back(stretch: Stretch, came_by: Stretch | None, kind: _Kind) -> bool:
    if came_by is not None and stretch.splits_horizon and came_by.name == stretch.name:
        return True
    if kind is _Kind.BPDU:
        return not stretch.carries_bpdus
    if kind is _Kind.ANSWERED:
        return stretch.kind is StretchKind.OTV
    return kind is _Kind.UNKNOWN and not stretch.floods_unknown


def _without(members: Members, held: Collection[int], match: str, here: int | None, at: _Flood) -> Iterator[Row]:
    """To the members that no stretch holds back; `here` is where the frame came in, None for anywhere else."""
    left = tuple(member for member in members if member[0] not in held and member[0] != here)
    lost = any(member[0] in held and member[0] != here for member in members)
    reason, why = (DropReason.STRETCH, "L2S-2") if lost else (DropReason.PSWITCH_NO_RECEIVER, "")
    if not left:
        yield drop(at.table, at.priority, match, reason, why, here or 0)
        return
    yield Row(at.table, at.priority, match, at.outputs(left), "L2S-2")
    for only in at.inputs[left[0][0]] if len(left) == 1 and here is None else ():
        yield drop(at.table, at.priority + 10, f"in_port={only},{match}", reason, why, only)
