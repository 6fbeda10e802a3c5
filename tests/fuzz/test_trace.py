"""Ten thousand drawn cases: what is foretold of each switch on a frame's way, and what that switch's own trace says.

A failure prints the whole case: topology, state, the frames before it, the frame, and both opinions. `pytest -s` shows
what the cases met.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import CannotTell
from lab.plan import compile_plan

from .coverage import Tally, features_met, features_of
from .drawing import for_each
from .offline import Offline
from .opinions import Disagreement, smaller, walk
from .strategies import Case, cases

NUMBERS = range(1, 9)
TOPOLOGIES = 40
FRAMES = 50
LEAST_CASES = 10_000


def compare(switches: Offline, case: Case, tally: Tally) -> None:
    """A frame that never ends (mirroring into a loop is possible in vSphere too) ends its case."""
    plan = compile_plan(case.topology, case.state)
    switches.load(plan)
    features = features_of(case)
    try:
        for step in walk(switches, case):
            met = features_met(step.frame, step.before, step.after, case.topology)
            tally.add((*features, *met), step.prediction, step.asked)
    except Disagreement as found:
        raise smaller(switches, found, plan) from None
    except CannotTell:
        tally.storms += 1


@pytest.fixture(scope="session")
def tallies(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where every process of this test run leaves its counts."""
    base = tmp_path_factory.getbasetemp()
    directory = (base if worker_id == "master" else base.parent) / "fuzz"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.mark.parametrize("number", NUMBERS)
def test_every_switch_does_what_is_foretold(number: int, switches: Offline, tallies: Path) -> None:
    tally = Tally()
    for_each(number, TOPOLOGIES, cases(FRAMES), lambda case: compare(switches, case, tally))
    assert tally.cases > TOPOLOGIES * FRAMES * 0.9
    tally.write(tallies / f"{number}.json")
    done = [tallies / f"{n}.json" for n in NUMBERS]
    if all(file.exists() for file in done):  # the last of them looks at the whole
        whole = Tally()
        for file in done:
            whole.read(file)
        print(f"\n{whole.table()}")
        assert whole.cases >= LEAST_CASES
        assert not whole.missing()
