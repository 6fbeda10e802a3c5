"""Rates, sizes and durations, parsed once, at the edge."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z/]*)")

_RATE = {"": 1, "bit": 1, "k": 10**3, "kbit": 10**3, "m": 10**6, "mbit": 10**6, "g": 10**9, "gbit": 10**9}
_SIZE = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
_DURATION = {"ns": 10**-9, "us": 10**-6, "ms": 10**-3, "": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


def _split(text: str | int | float, units: dict[str, float] | dict[str, int], what: str) -> float:
    found = _NUMBER.fullmatch(str(text).strip())
    unit = found.group(2).lower() if found else ""
    if units is _RATE:
        unit = unit.removesuffix("/s")
    if found is None or unit not in units or len(found.group(1)) > 30:
        known = ", ".join(u for u in units if u)
        raise ValueError(f"{str(text)!r} is not a {what} (a number and one of {known})")
    return float(found.group(1)) * units[unit]


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """Bits per second, nominal."""

    bits: int

    @classmethod
    def parse(cls, text: str | int | float) -> Rate:
        """`"10G"`, `"100M"`, `"250 kbit/s"`, `1000000`; SI prefixes. Raises ValueError."""
        return cls(round(_split(text, _RATE, "rate")))

    def scaled(self, factor: float) -> Rate:
        return Rate(round(self.bits * factor))

    def __str__(self) -> str:
        for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
            if self.bits >= unit:
                return f"{self.bits / unit:g}{letter}"
        return str(self.bits)


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """Bytes; vSphere's KB and MB are binary."""

    bytes: int

    @classmethod
    def parse(cls, text: str | int | float) -> Size:
        """`"1MB"`, `"10240 KB"`, `1500`. Raises ValueError."""
        return cls(round(_split(text, _SIZE, "size")))

    def __str__(self) -> str:
        for unit, word in ((1024**3, "GB"), (1024**2, "MB"), (1024, "KB")):
            if self.bytes >= unit:
                return f"{self.bytes / unit:g}{word}"
        return str(self.bytes)


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """Seconds."""

    seconds: float

    @classmethod
    def parse(cls, text: str | int | float) -> Duration:
        """`"5ms"`, `"30s"`, `2.5`. Raises ValueError."""
        return cls(_split(text, _DURATION, "duration"))

    def __str__(self) -> str:
        if self.seconds and self.seconds < 1:
            return f"{self.seconds * 1000:g}ms"
        return f"{self.seconds:g}s"
