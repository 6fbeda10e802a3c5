"""Sets of VLAN IDs as the value/mask blocks that an OpenFlow match can hold."""

from __future__ import annotations

from collections.abc import Iterator

from lab.model import Ranges

TAGGED = 0x1000
UNTAGGED = "vlan_tci=0x0000/0x1fff"
PRIORITY_TAGGED = "vlan_tci=0x1000/0x1fff"
ANY_TAG = "vlan_tci=0x1000/0x1000"
RESERVED = "vlan_tci=0x1fff/0x1fff"


def blocks(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The fewest aligned (value, mask) pairs over 12 bits that cover low..high and nothing else."""
    while low <= high:
        size = low & -low or 4096
        while low + size - 1 > high:
            size >>= 1
        yield low, 0xFFF & ~(size - 1)
        low += size


def tag_matches(ranges: Ranges) -> Iterator[str]:
    """Matches for an outer tag whose VID (1 to 4094) is in `ranges`."""
    for low, high in ranges:
        for value, mask in blocks(max(low, 1), high):
            yield f"vlan_tci={TAGGED | value:#06x}/{TAGGED | mask:#06x}"


def register_matches(ranges: Ranges) -> Iterator[str]:
    """Matches for the internal VLAN in reg0 (0 to 4094)."""
    for low, high in ranges:
        for value, mask in blocks(low, high):
            yield f"reg0={value:#x}" if mask == 0xFFF else f"reg0={value:#x}/{mask:#x}"
