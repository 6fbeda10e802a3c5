"""The pytest plugin as a user has it: the test file on docs/testing-your-network.md, run from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.realise import sandbox

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "testing-your-network.md"
TOPOLOGY = ROOT / "topologies" / "vlan-isolation.yaml"
BOTH = 'vlab_topology = "mine.yaml"\n\n\ndef test_up(vlab):\n    assert vlab.exec("web1", "true").returncode == 0\n'


def python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def on_the_page(topology: Path) -> str:
    """The page's test file, about another topology file."""
    text, replaced = re.subn(r'"\.\./topologies/vlan-isolation\.yaml"', f'"{topology}"', python_blocks()[0])
    assert replaced == 1
    return text


def run_pytest(directory: Path, *words: str) -> tuple[int, dict[str, int], str]:
    """Exit code, how many tests had which outcome, and everything it said."""
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(directory), *words]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    env, cwd = {**kept, "PYTHONPATH": str(ROOT)}, directory.parent
    done = subprocess.run([*argv, str(directory)], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    summary = done.stdout.rstrip().splitlines()[-1]
    return done.returncode, {word: int(n) for n, word in re.findall(r"(\d+) ([a-z]+)", summary)}, done.stdout


def passed_failed(outcomes: dict[str, int]) -> tuple[int, int, int]:
    return outcomes.get("passed", 0), outcomes.get("failed", 0), outcomes.get("error", 0) + outcomes.get("errors", 0)


@pytest.fixture(autouse=True)
def own_state_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("state")))


@pytest.mark.parametrize("words", [[], ["-n", "2"]], ids=["alone", "two workers"])
def test_the_test_file_on_the_page_passes(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "test_page.py").write_text(on_the_page(TOPOLOGY))
    code, outcomes, said = run_pytest(tmp_path, *words)
    assert (code, passed_failed(outcomes)) == (0, (2, 0, 0)), said
    assert sandbox.living() == []


def test_the_test_file_on_the_page_fails_where_db_is_in_the_vlan_of_web(tmp_path: Path) -> None:
    broken = tmp_path / "mine.yaml"
    broken.write_text(TOPOLOGY.read_text().replace("db: {vlan: 20}", "db: {vlan: 10}"))
    (tmp_path / "test_page.py").write_text(on_the_page(broken))
    code, outcomes, said = run_pytest(tmp_path)
    assert (code, passed_failed(outcomes)) == (1, (0, 2, 0)), said
    assert "'delivered' != 'delivered'" in said
    assert sandbox.living() == []


def test_the_script_on_the_page_runs() -> None:
    script = python_blocks()[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("delivered ['esx1', ")


def test_a_topology_is_found_beside_the_test_file_and_another_by_a_mark(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(TOPOLOGY.read_text())
    (tmp_path / "other.yaml").write_text(TOPOLOGY.read_text().replace("web1", "www1"))
    marked = 'import pytest\n\n@pytest.mark.topology("other.yaml")\ndef test_other(vlab, launch_lab):\n' \
        '    assert vlab.exec("www1", "true").returncode == 0\n' \
        '    assert launch_lab("other.yaml") is vlab\n'  # fmt: skip
    (tmp_path / "test_marked.py").write_text(BOTH + marked)
    code, outcomes, said = run_pytest(tmp_path, "--strict-markers")
    assert (code, passed_failed(outcomes)) == (0, (2, 0, 0)), said


WRONG = [
    pytest.param("def test_it(vlab):\n    pass\n", "say which topology", id="no topology said"),
    pytest.param('vlab_topology = "absent.yaml"\ndef test_it(vlab):\n    pass\n', "absent.yaml", id="no such file"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_topology_that_is_not_there_is_an_error_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "test_wrong.py").write_text(text)
    code, outcomes, out = run_pytest(tmp_path)
    assert (code, passed_failed(outcomes)) == (1, (0, 0, 1)), out
    assert said in out


def test_without_the_fixtures_the_plugin_starts_nothing_and_loads_little(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        'import sys\n\ndef test_it():\n    assert not {"mininet", "scapy", "pyroute2"} & set(sys.modules)\n'
    )
    code, outcomes, said = run_pytest(tmp_path)
    assert (code, passed_failed(outcomes)) == (0, (1, 0, 0)), said
    assert sandbox.living() == []
