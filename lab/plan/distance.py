"""What the kernel has to be told so that it does to frames what a long way does."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab.plan.types import Way
from lab.plan.wiring import WIRE_MTU

BACKLOG_SECONDS = 0.1
"""What may wait for its turn at a rate; more is lost, as in a router's queue."""
ANY_RATE = 10_000_000_000
"""Bit/s of a way that has none of its own: with a rate, and only then, netem lets no frame overtake another."""
_SMALLEST_BITS = 60 * 8
_TAGS = 22
_SPARE = 1000
_ALL = 0xFFFFFFFF


@dataclass(frozen=True)
class Distance:
    """`delay`, `jitter` in nanoseconds, `loss` in parts of 2^32 - 1, `rate` in bytes/s; `limit`: frames that may be
    under way; `burst`: bytes that may come at once before `rate` holds for what comes in (0: no limit)."""

    delay: int
    jitter: int
    loss: int
    rate: int
    limit: int
    burst: int


def distance(way: Way) -> Distance:
    """The backlog is limited in bytes before netem, whose own limit counts frames: it must not lose any, whatever their
    size."""
    rate = way.rate or ANY_RATE
    seconds = way.delay + way.jitter + (BACKLOG_SECONDS if way.rate else 0.0)
    return Distance(
        delay=round(way.delay * 1e9),
        jitter=round(way.jitter * 1e9),
        loss=round(way.loss * _ALL),
        rate=max(1, rate // 8),
        limit=min(math.ceil(seconds * rate / _SMALLEST_BITS) + _SPARE, _ALL),
        burst=math.ceil(BACKLOG_SECONDS * way.rate / 8) + WIRE_MTU + _TAGS if way.rate else 0,
    )
