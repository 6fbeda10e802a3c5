"""What `ofproto/trace` says about one frame in one switch, read into values. Text in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.frame import Tag
from lab.plan.types import Dropped, reason_of_cookie

_ROW = re.compile(r"^\s*(\d+)\. .*?priority (\d+)(?:, cookie (0x[0-9a-f]+))?")
_VLAN = re.compile(r"(\w+)=(0x[0-9a-f]+|\d+)")
_NO_PORT = frozenset(("", "drop", "ct_clear", "pop_eth"))


@dataclass(frozen=True)
class Output:
    """A copy that leaves: Linux's name of the port, and the tag stack it bears there. `length`: it is cut to so many
    bytes."""

    interface: str
    vlans: tuple[Tag, ...]
    length: int | None = None


@dataclass(frozen=True)
class Trace:
    """`tables`: the tables whose rows were hit, in order, once for each hit. `drops`: what the cookies of the drop
    rows among them say."""

    tables: tuple[int, ...]
    outputs: tuple[Output, ...]
    drops: tuple[Dropped, ...]


def read_trace(text: str, vlans: tuple[Tag, ...]) -> Trace:
    """`text` of `ofproto/trace --names` for a frame that came in with the tag stack `vlans`."""
    rows = [found for line in text.splitlines() if (found := _ROW.match(line))]
    named = [reason_of_cookie(int(row[3], 16)) for row in rows if row[3]]
    actions = text.rsplit("Datapath actions: ", 1)[-1].splitlines()[0]
    return Trace(
        tables=tuple(int(row[1]) for row in rows),
        outputs=tuple(_outputs(actions, list(vlans))),
        drops=tuple(drop for drop in named if drop),
    )


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
    """A port is a word without brackets. What changes no tags is passed over (`set(eth(...))`, `userspace(...)`)."""
    length = None
    for action in _split(actions):
        word, bracket, inner = action.partition("(")
        if word == "push_vlan":
            tags.insert(0, _tag(inner))
        elif word == "pop_vlan":
            del tags[:1]
        elif word == "set" and inner.startswith("vlan("):
            tags[:1] = [_tag(inner)]
        elif word == "trunc":  # of the next output only
            length = int(inner.removesuffix(")"))
        elif word == "clone":
            yield from _outputs(inner.removesuffix(")"), list(tags))
        elif not bracket and word not in _NO_PORT:
            yield Output(word, tuple(tags), length)
            length = None


def _tag(said: str) -> Tag:
    fields = {key: int(value, 0) for key, value in _VLAN.findall(said)}
    return Tag(fields["vid"], fields.get("pcp", 0), fields.get("tpid", 0x8100))
