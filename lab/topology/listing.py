"""Long lists as a warning has room for them."""

from __future__ import annotations

from collections.abc import Iterable

LISTED = 5
"""Names that a warning lists before it says how many more there are."""


def shortened(names: Iterable[str]) -> str:
    """`a, b, c and 9 more`."""
    known = list(dict.fromkeys(names))
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return ", ".join(known[:LISTED]) + more


def spans(numbers: Iterable[int]) -> str:
    """`10, 20-29`."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return shortened(f"{low}" if low == high else f"{low}-{high}" for low, high in found)
