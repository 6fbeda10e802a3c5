"""Switches that drawn rows are loaded into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .offline import Offline, offline


@pytest.fixture(scope="session")
def switches() -> Iterator[Offline]:
    """One Open vSwitch for each process of the test run."""
    with offline() as found:
        yield found
