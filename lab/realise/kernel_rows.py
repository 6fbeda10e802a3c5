"""Rows as the kernel's datapath needs them to do what the userspace datapath does.

The kernel keeps a frame's outermost tag beside the frame, and does not count it when it cuts a copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lab.plan.types import Row

TAG_BYTES = 4
_TAGGED = "vlan_tci=0x1000/0x1000"
_CUT = re.compile(r"max_len=(\d+)")


def for_kernel(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The same rows; one that cuts has another above it, which cuts tagged frames four octets earlier."""
    return tuple(row for given in rows for row in _rows(given))


def _rows(row: Row) -> Iterator[Row]:
    yield row
    if _CUT.search(row.actions):
        match = f"{row.match},{_TAGGED}" if row.match else _TAGGED
        shorter = _CUT.sub(lambda cut: f"max_len={int(cut[1]) - TAG_BYTES}", row.actions)
        yield replace(row, priority=row.priority + 1, match=match, actions=shorter)
