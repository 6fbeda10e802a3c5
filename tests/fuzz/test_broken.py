"""The comparison finds what is broken: every row that decided about a frame, and every kind of wrong prediction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from lab.errors import CannotTell
from lab.frame import DropReason, Frame, Hop, Tag
from lab.observe.trace import read_trace
from lab.plan import compile_plan
from lab.plan.types import Plan, Row
from lab.predict import Prediction, Predictor
from lab.state import State

from .drawing import for_each
from .offline import Offline
from .opinions import Disagreement, entries, walk
from .strategies import Case, cases

FRAMES = 25
ROWS_OF_A_CASE = 4
_HIT = re.compile(r"^ ?(\d+)\. (?:(.*), )?priority (\d+)")


def agreed(switches: Offline, case: Case, plan: Plan) -> bool:
    switches.load(plan)
    try:
        return bool(list(walk(switches, case)))
    except (Disagreement, CannotTell):
        return False


# -- a broken row


def facts(match: str) -> frozenset[str]:
    """A match in one spelling, whether it is ours or Open vSwitch's."""
    words = (word.partition("=") for word in match.split(",") if "=" in word)
    return frozenset(f"{key}={'/'.join(map(_number, value.split('/')))}" for key, _, value in words)


def _number(value: str) -> str:
    return str(int(value, 0)) if re.fullmatch(r"0x[0-9a-f]+|[0-9]+", value) else value


def deciding_rows(switches: Offline, case: Case, plan: Plan) -> Iterator[tuple[str, str, Row]]:
    """(box, port, row): the frame came through each of them on its one way to where it left or ended."""
    switches.load(plan)
    state, predictor = case.state, Predictor(case.topology, case.state)
    for sender, frame in case.shots:
        prediction = predictor.predict(sender, frame)
        for hop in (prediction.hops[index] for index in entries(prediction)):
            raw = replace(frame, vlans=hop.vlans).to_bytes()
            text = switches.ask("ofproto/trace", *switches.place(hop.box, hop.interface), raw.hex())
            said = read_trace(text, hop.vlans)
            if len(said.outputs) + len(said.drops) == 1 and "resubmit" not in text:
                rows = {_key(row): row for row in switches.bridge(hop.box, hop.interface).rows}
                hits = [found for line in text.splitlines() if (found := _HIT.match(line))]
                named = ((int(hit[1]), int(hit[3]), facts(hit[2] or "")) for hit in hits)
                yield from ((hop.box, hop.interface, rows[key]) for key in named if key in rows)
        state = prediction.state_after(state)
        predictor = predictor.with_state(state)


def _key(row: Row) -> tuple[int, int, frozenset[str]]:
    return row.table, row.priority, facts(row.match)


def test_every_broken_row_that_decided_about_a_frame_is_found(switches: Offline) -> None:
    broken: list[Row] = []
    missed: list[str] = []

    def check(case: Case) -> None:
        plan = compile_plan(case.topology, case.state)
        if not agreed(switches, case, plan):
            return
        found = {(box, row): (box, port, row) for box, port, row in deciding_rows(switches, case, plan)}
        chosen = sorted(found.values(), key=lambda f: f[2].text())
        for box, port, row in chosen[:: max(1, len(chosen) // ROWS_OF_A_CASE)]:
            switches.load(plan)
            switches.mutate(box, port, replace(row, actions="drop", reason=None).text())
            broken.append(row)
            try:
                list(walk(switches, case))
                missed.append(f"{box}: {row.text()}")
            except Disagreement:
                continue

    for_each(77, 12, cases(FRAMES), check)
    assert len(broken) >= 30
    assert len({row.table for row in broken}) >= 8
    assert not missed, missed


# -- a broken prediction

Breaking = Callable[[tuple[Hop, ...], int], tuple[Hop, ...]]
"""The hops, and the index of one of them, to other hops."""


def _change(**other: Any) -> Breaking:
    return lambda hops, at: (*hops[:at], hops[at]._replace(**other), *hops[at + 1 :])


LEAVING: dict[str, Breaking] = {
    "a copy is missing": _change(parent=None),
    "a copy is there twice": lambda hops, at: (*hops, hops[at]),
    "other tags": _change(vlans=(Tag(3999),)),
    "another priority": lambda hops, at: _change(vlans=(Tag(10, 6), *hops[at].vlans))(hops, at),
    "another port": _change(interface="elsewhere"),
    "an end": _change(reason=DropReason.NIOC_QUEUE),
}
ENDING: dict[str, Breaking] = {
    "an end is missing": _change(parent=None),
    "an end is there twice": lambda hops, at: (*hops, hops[at]),
    "another reason": _change(reason=DropReason.NIOC_QUEUE),
    "another statement": _change(statements=("XXX-1",)),
    "it leaves": _change(reason=None),
}


@pytest.mark.parametrize(
    ("breaking", "ends"),
    [*((breaking, False) for breaking in LEAVING.values()), *((breaking, True) for breaking in ENDING.values())],
    ids=[*LEAVING, *ENDING],
)
def test_a_broken_prediction_is_found(
    breaking: Breaking, ends: bool, switches: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    right = Predictor.predict

    def check(case: Case) -> None:
        plan = compile_plan(case.topology, case.state)
        if agreed(switches, case, plan):
            broken: list[Prediction] = []

            def predict(self: Predictor, sender: str, frame: Frame) -> Prediction:
                said = right(self, sender, frame)
                other = _broken(said, breaking, ends)
                broken.extend([other] if other is not said else [])
                return other

            with monkeypatch.context() as patched:
                patched.setattr(Predictor, "predict", predict)
                agreeing = agreed(switches, case, plan)
            found.extend([not agreeing] if broken else [])

    for_each(78, 8, cases(FRAMES), check)
    assert len(found) >= 4
    assert all(found)


def _broken(prediction: Prediction, breaking: Breaking, ends: bool) -> Prediction:
    """At the last copy that leaves a switch, or ends in one by a statement that its rows know too."""
    asked = {*entries(prediction)}
    after = [at for at, hop in enumerate(prediction.hops) if hop.parent in asked and bool(hop.reason) == ends]
    told = [at for at in after if not ends or {"FWD-1", "FWD-5", "SEC-7", "VLAN-6"} & {*prediction.hops[at].statements}]
    return replace(prediction, hops=breaking(prediction.hops, told[-1])) if told else prediction


def test_a_prediction_that_forgets_what_was_learned_is_found(
    switches: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[bool] = []

    def check(case: Case) -> None:
        plan = compile_plan(case.topology, case.state)
        if agreed(switches, case, plan):
            with monkeypatch.context() as patched:
                patched.setattr(Prediction, "state_after", _unchanged)
                outcomes.append(not agreed(switches, case, plan))

    for_each(79, 12, cases(60), check)
    assert outcomes.count(True) >= len(outcomes) // 2 > 2  # not every case comes back to what it has learned


def _unchanged(_: Prediction, state: State) -> State:
    return state
