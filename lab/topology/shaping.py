"""Shaping of ports: what a section says -> token buckets, defaults filled in."""

from __future__ import annotations

from lab.model import Shapers, Shaping
from lab.topology.bandwidth_schema import ShaperSpec, ShapingSpec, StandardShapingSpec
from lab.topology.nodes import Path
from lab.topology.reading import Reading
from lab.units import Rate, Size

AVERAGE, BURST = Rate(10**8), Size(102400 * 1024)
"""What vSphere's dialogues show when shaping is switched on (K)."""
LEAST = 8
"""Bits/s: the kernel counts whole bytes a second."""


def shapers(
    reading: Reading, path: Path, base: Shapers, spec: StandardShapingSpec | ShapingSpec | None
) -> Shapers:  # fmt: skip
    """`base` with what is said at `path`, a `shaping` section."""
    if spec is None:
        return base
    if isinstance(spec, StandardShapingSpec):
        return Shapers(_shaper(reading, (*path, "outbound"), base.ingress, spec.outbound))
    return Shapers(
        _shaper(reading, (*path, "ingress"), base.ingress, spec.ingress),
        _shaper(reading, (*path, "egress"), base.egress, spec.egress),
    )


def _shaper(reading: Reading, path: Path, base: Shaping | None, spec: ShaperSpec | None) -> Shaping | None:
    if spec is None:
        return base
    if not spec.enabled:
        return None
    average = spec.average or (base.average if base else AVERAGE)
    peak = spec.peak or max(average, base.peak if base else average)
    burst = spec.burst or (base.burst if base else BURST)
    check_emulated(reading, (*path, "average"), average)
    if peak < average:
        reading.wrong(
            (*path, "peak"), f"the peak {peak} is under the average {average}", "at least the average (SHP-5)"
        )
    return Shaping(average, peak, burst)


def check_emulated(reading: Reading, path: Path, rate: Rate) -> None:
    """Tells a rate of which nothing is left when it is scaled."""
    scaled = rate.scaled(reading.spec.speed_scale)
    if scaled.bits < LEAST:
        what = (
            f"{rate} is {scaled.bits} bit/s at the speed_scale of {reading.spec.speed_scale:g}: nothing is left of it"
        )
        reading.wrong(path, what, "a higher rate, or a larger speed_scale")
