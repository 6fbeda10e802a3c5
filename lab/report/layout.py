"""Boxes in boxes: how much room each needs, and where what is inside stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PAD, GAP, LINE = 10.0, 8.0, 16.0
_LETTER = 7.4
"""Width of a letter of the drawing's font at its size, on the safe side (px)."""


@dataclass(frozen=True)
class Item:
    """`style` is how it is drawn (empty: only what is inside); `role` what it is; `port` the switch's name of a vNIC's
    port."""

    style: str
    name: str
    width: float
    height: float
    title: str = ""
    inside: tuple[Placed, ...] = ()
    role: str = ""
    port: str = ""


@dataclass(frozen=True)
class Placed:
    """`x` and `y` from the upper left corner of what it is in."""

    x: float
    y: float
    item: Item


def text_width(text: str) -> float:
    return len(text) * _LETTER


def flowed(items: Sequence[Item], width: float, gap: float) -> Item:
    """Side by side, and in a new row when `width` is used up."""
    x = y = tallest = widest = 0.0
    placed = []
    for item in items:
        if x and x + item.width > width:
            x, y, tallest = 0.0, y + tallest + gap, 0.0
        placed.append(Placed(x, y, item))
        widest, tallest = max(widest, x + item.width), max(tallest, item.height)
        x += item.width + gap
    return Item("", "", widest, y + tallest, inside=tuple(placed))


def stacked(items: Sequence[Item], gap: float, centred: bool = False) -> Item:
    """One below the other."""
    width, y = max((item.width for item in items), default=0.0), 0.0
    placed = []
    for item in items:
        placed.append(Placed((width - item.width) / 2 if centred else 0.0, y, item))
        y += item.height + gap
    return Item("", "", width, max(0.0, y - gap), inside=tuple(placed))
