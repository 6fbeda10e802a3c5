"""Runs a check on drawn cases: the same ones for the same number, each drawn for itself.

Hypothesis' own way of drawing prefers small numbers and repeats parts of earlier examples, so that most frames would be
alike. Through its interface for other backends it draws every number with the same probability; it still shrinks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.strategies import SearchStrategy

BACKEND = "even"


class EvenProvider(HypothesisProvider):  # type: ignore[misc]
    """Every integer of the range is as likely as any other."""

    def draw_integer(self, min_value: int | None = None, max_value: int | None = None, **_: Any) -> int:
        assert min_value is not None
        assert max_value is not None
        return int(self._cd._random.randint(min_value, max_value))


AVAILABLE_PROVIDERS[BACKEND] = EvenProvider


def for_each(number: int, drawn: int, strategy: SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """`check` on `drawn` examples of `strategy`, the simplest one first. With VLAB_FUZZ_SHRINK in the environment what
    fails is made smaller, which takes minutes."""
    phases = (Phase.generate, Phase.shrink) if os.environ.get("VLAB_FUZZ_SHRINK") else (Phase.generate,)

    @seed(number)
    @settings(
        max_examples=drawn, deadline=None, database=None, backend=BACKEND, derandomize=False, print_blob=False,
        suppress_health_check=list(HealthCheck), phases=phases, report_multiple_bugs=False,
    )  # fmt: skip
    @given(strategy)
    def run(case: Any) -> None:
        check(case)

    run()
