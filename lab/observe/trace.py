"""What `ofproto/trace` says about one frame in one switch, read into values. Text in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.frame import DropReason, Tag
from lab.plan.types import reason_of_cookie

_ROW = re.compile(r"^\s*(\d+)\. .*?priority (\d+)(?:, cookie (0x[0-9a-f]+))?")
_VLAN = re.compile(r"(\w+)=(0x[0-9a-f]+|\d+)")


@dataclass(frozen=True)
class Output:
    """A copy that leaves: Linux's name of the port, and the tag stack it bears there."""

    interface: str
    vlans: tuple[Tag, ...]


@dataclass(frozen=True)
class Trace:
    """`tables`: the tables whose rows were hit, in order, once for each hit. `drops`: (reason, OpenFlow port or 0)."""

    tables: tuple[int, ...]
    outputs: tuple[Output, ...]
    drops: tuple[tuple[DropReason, int], ...]


def read_trace(text: str, vlans: tuple[Tag, ...]) -> Trace:
    """`text` of `ofproto/trace --names` for a frame that came in with the tag stack `vlans`."""
    rows = [found for line in text.splitlines() if (found := _ROW.match(line))]
    named = [reason_of_cookie(int(row[3], 16)) for row in rows if row[3]]
    actions = text.rsplit("Datapath actions: ", 1)[-1].splitlines()[0]
    outputs = tuple(_outputs(actions, list(vlans)))
    drops = [drop for drop in named if drop] or list(_of_normal(text, outputs))
    return Trace(tuple(int(row[1]) for row in rows), outputs, tuple(drops))


def _of_normal(text: str, outputs: tuple[Output, ...]) -> Iterator[tuple[DropReason, int]]:
    """The learning switch has no row for what it drops; its trace says why in words."""
    if "input port, dropping" in text:
        yield DropReason.PSWITCH_SAME_PORT, 0
    elif "NORMAL" in text and not outputs:
        yield DropReason.PSWITCH_NO_RECEIVER, 0


def _split(actions: str) -> Iterator[str]:
    """At the commas that are in no bracket."""
    depth, start = 0, 0
    for at, letter in enumerate(actions):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            yield actions[start:at]
            start = at + 1
    yield actions[start:]


def _outputs(actions: str, tags: list[Tag]) -> Iterator[Output]:
    for action in _split(actions):
        word, _, inner = action.partition("(")
        if word == "push_vlan":
            said = {key: int(value, 0) for key, value in _VLAN.findall(inner)}
            tags.insert(0, Tag(said["vid"], said.get("pcp", 0), said.get("tpid", 0x8100)))
        elif word == "pop_vlan":
            del tags[:1]
        elif word == "set" and inner.startswith("vlan("):
            said = {key: int(value, 0) for key, value in _VLAN.findall(inner)}
            tags[:1] = [Tag(said["vid"], said.get("pcp", 0))]
        elif word == "clone":
            yield from _outputs(inner.removesuffix(")"), list(tags))
        elif word not in ("drop", "recirc", "set", "trunc", "userspace", ""):
            yield Output(word, tuple(tags))
