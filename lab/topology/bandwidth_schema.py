"""The grammar of bandwidth: shaping of ports, Network I/O Control, what a single vNIC is allotted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from lab.topology.section import Section
from lab.topology.values import Between, Name, PnicName, RateValue
from lab.units import Size

LEVELS = {"low": 25, "normal": 50, "high": 100}
"""Shares that the words stand for (NIOC-5)."""
MOST_SHARES = 100


def _size(value: Any) -> Size:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('must be a size, such as "1MB" or "10240KB"')
    size = Size.parse(value)
    if not 0 < size.bytes <= 2**40:
        raise ValueError(f"{value!r} is no size of a burst")
    return size


def _shares(value: Any) -> int:
    if isinstance(value, str) and value in LEVELS:
        return LEVELS[value]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SHARES:
        raise ValueError(f"{value!r} is no number of shares: low, normal, high, or 1 to {MOST_SHARES}")
    return value


SizeValue = Annotated[Size, PlainValidator(_size), WithJsonSchema({"type": ["string", "number"], "examples": ["1MB"]})]
SharesValue = Annotated[
    int,
    PlainValidator(_shares),
    WithJsonSchema({"anyOf": [{"enum": [*LEVELS]}, {"type": "integer", "minimum": 1, "maximum": MOST_SHARES}]}),
]


class ShaperSpec(Section):
    """Left out, `average` and `burst` are what vSphere's dialogues show, and `peak` is the average."""

    enabled: bool = True
    average: RateValue | None = None
    peak: RateValue | None = None
    burst: SizeValue | None = None


class StandardShapingSpec(Section):
    """A standard switch shapes what its ports send."""

    DISTRIBUTED_ONLY = frozenset(("ingress", "egress"))
    outbound: ShaperSpec | None = None


class ShapingSpec(Section):
    """From the switch's side: `ingress` is what a port sends, `egress` what it gets (SHP-7)."""

    ingress: ShaperSpec | None = None
    egress: ShaperSpec | None = None


class PoolSpec(Section):
    shares: SharesValue | None = None
    limit: RateValue | None = None
    reservation: RateValue | None = None
    quota: RateValue | None = None
    qos_tag: Annotated[int, Between(0, 7)] | None = None


class NetworkIoControlSpec(Section):
    enabled: bool = True
    version: Literal[1, 2, 3] | None = None
    pools: dict[Name, PoolSpec] = {}
    opt_out: dict[Name, Annotated[list[PnicName], Field(min_length=1)]] = {}
