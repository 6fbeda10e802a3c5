"""The plan of every shipped topology, as text that is kept: a change of it must be seen and meant.

VLAB_GOLDEN=write rewrites the files.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.plan import compile_plan
from lab.plan.render import render
from lab.teaming import initial_state
from lab.topology import read_topology_file

ROOT = Path(__file__).resolve().parents[2]
PLANS = Path(__file__).parent / "plans"
SHIPPED = sorted((ROOT / "topologies").glob("*.yaml"))


def planned(file: Path) -> str:
    topology = read_topology_file(file)
    return render(compile_plan(topology, initial_state(topology)))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_plan_is_the_one_that_is_kept(file: Path) -> None:
    kept = PLANS / f"{file.stem}.txt"
    if os.environ.get("VLAB_GOLDEN") == "write":
        kept.write_text(planned(file))
    assert planned(file) == kept.read_text()


def test_every_kept_plan_has_its_topology() -> None:
    assert {file.stem for file in PLANS.iterdir()} == {file.stem for file in SHIPPED}
    assert len(SHIPPED) >= 5
