"""docs/statements.yaml is whole and true: no test is named that is not there, and docs/fidelity.md is made from it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from lab.report.fidelity import FAMILIES, Statement, as_json, as_markdown, statements_of

ROOT = Path(__file__).resolve().parents[2]


@cache
def statements() -> tuple[Statement, ...]:
    return statements_of(yaml.safe_load((ROOT / "docs/statements.yaml").read_text()))


def names_of_tests(part: str) -> list[str]:
    return [
        node.name
        for path in sorted((ROOT / "tests" / part).rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def carries(name: str, statement: str) -> bool:
    """`test_fwd_05_...` carries FWD-5, `test_team_pid_2_...` TEAM-PID-2."""
    *words, number = statement.lower().split("-")
    return re.search(rf"(?:^|_){'_'.join(words)}_0*{number}(?:_|$)", name) is not None


def test_ids_are_unique_and_of_known_families() -> None:
    ids = [s.id for s in statements()]
    assert len(ids) == len(set(ids)) == 289
    assert {s.family for s in statements()} == set(FAMILIES)


def test_every_test_that_a_statement_names_is_there() -> None:
    there = set(names_of_tests("."))
    assert not [(s.id, t) for s in statements() for t in s.tests if t not in there]


def test_a_statement_is_shown_by_real_frames() -> None:
    real = set(names_of_tests("lab"))
    assert not [s.id for s in statements() if s.tests and not real.intersection(s.tests)]


def test_a_test_with_real_frames_that_carries_an_id_is_named_by_its_statement() -> None:
    named = {(s.id, test) for s in statements() for test in s.tests}
    carried = {(s.id, name) for name in names_of_tests("lab") for s in statements() if carries(name, s.id)}
    assert len(carried) > 20
    assert not carried - named


def test_the_page_is_generated() -> None:
    assert (ROOT / "docs/fidelity.md").read_text() == as_markdown(statements())


def test_the_counts_add_up() -> None:
    counts = as_json(statements())
    assert counts["shown"] + counts["planned"] + len(counts["not_emulated"]) == counts["statements"]


@pytest.mark.parametrize(
    "broken",
    [{"state": "done"}, {"state": "shown"}, {"tests": ["test_x"]}, {"state": "not emulated"}, {"tag": "X"}],
    ids=str,
)
def test_a_statement_that_is_not_whole_is_refused(broken: dict[str, object]) -> None:
    entry = {"id": "FWD-1", "tag": "S", "state": "planned", "meaning": "x"}
    assert statements_of([entry])
    with pytest.raises(ValueError, match="FWD-1"):
        statements_of([{**entry, **broken}])
