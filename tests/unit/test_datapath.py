"""Which datapath a lab gets."""

from __future__ import annotations

import pytest

from lab.errors import UsageError
from lab.lifetime import datapath_named

CASES = [
    ("auto", None, "user"), ("auto", "", "user"), ("auto", "kernel", "kernel"), ("auto", "user", "user"),
    ("user", "kernel", "user"), ("kernel", "user", "kernel"), ("kernel", None, "kernel"),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "environment", "expected"), CASES)
def test_what_is_said_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, wanted: str, environment: str | None, expected: str
) -> None:
    monkeypatch.delenv("VLAB_DATAPATH", raising=False)
    if environment is not None:
        monkeypatch.setenv("VLAB_DATAPATH", environment)
    assert datapath_named(wanted) == expected


def test_a_datapath_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAB_DATAPATH", "kernal")
    with pytest.raises(UsageError, match="kernal"):
        datapath_named("auto")
