"""What the lab's own instrument was found to be like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SHOWN = 10


@dataclass(frozen=True)
class Check:
    """`tried` cases, of which those in `wrong` are told one by one; `left_out`: what no known frame passes now."""

    name: str
    tried: int
    wrong: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return bool(self.tried) and not self.wrong


def as_json(checks: tuple[Check, ...]) -> dict[str, Any]:
    return {
        "schema": 1,
        "ok": all(check.ok for check in checks),
        "checks": [
            {"name": c.name, "ok": c.ok, "tried": c.tried, "wrong": list(c.wrong), "left_out": list(c.left_out)}
            for c in checks
        ],
    }


def as_text(checks: tuple[Check, ...]) -> str:
    return "\n".join(line for check in checks for line in _lines(check))


def _lines(check: Check) -> Iterator[str]:
    yield f"  {'ok' if check.ok else 'WRONG':6}{check.name}: {check.tried - len(check.wrong)} of {check.tried}"
    yield from (f"        {line}" for line in check.wrong[:SHOWN])
    if len(check.wrong) > SHOWN:
        yield f"        and {len(check.wrong) - SHOWN} more (--json)"
    if check.left_out:
        shown = ", ".join(check.left_out[:SHOWN]) + (", ..." if len(check.left_out) > SHOWN else "")
        yield f"        not tried, no frame passes there now: {shown}"
