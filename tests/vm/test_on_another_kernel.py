"""This machine's files below a kernel that has Open vSwitch's datapath and netem: the whole namespace suite on them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from xml.etree import ElementTree

import pytest
from machine import CLONE, say
from user_mode import UserMode

from lab.cli.about import MEASURING, WORKERS_PER_PROCESSOR

SUITE_SECONDS = 1500.0
FEW = 20
"""More failures than these are not what a busy machine does, and are not tried again."""
NEEDS_NO_MODULE = "this kernel has the openvswitch module"
KERNELS = os.cpu_count() or 1
"""Side by side: each has one processor."""
_number = count()


@dataclass(frozen=True)
class Outcome:
    """What pytest said of tests by name: files and numbers of those that passed, why others failed or were skipped."""

    passed: frozenset[str]
    failed: dict[str, str]
    skipped: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> Outcome:
        passed, failed, skipped = set(), {}, {}
        for case in ElementTree.parse(file).iter("testcase"):
            name = f"{str(case.get('classname')).replace('.', '/')}.py::{case.get('name')}"
            said = {part.tag: part for part in case}
            bad = said.get("failure", said.get("error"))
            if bad is not None:
                failed[name] = bad.text or ""
            elif "skipped" in said:
                skipped[name] = said["skipped"].get("message", "")
            else:
                passed.add(name)
        return cls(frozenset(passed), failed, skipped)

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.passed | other.passed, self.failed | other.failed, self.skipped | other.skipped)


def in_clone(kernel: UserMode, share: Path, command: Sequence[str], timeout: float, **environment: str) -> str:
    words = {"VLAB_DATAPATH": "kernel", "PYTHONDONTWRITEBYTECODE": "1", **environment}
    exported = " ".join(f"{name}={shlex.quote(value)}" for name, value in words.items())
    return kernel.run(share, f"cd {shlex.quote(str(CLONE))} && {exported} {shlex.join(command)}", timeout)


def run_tests(kernel: UserMode, place: Path, tests: Sequence[str], *options: str) -> Outcome:
    share = place / f"run{next(_number)}"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *options]
    command = [*argv, "--junitxml=/mnt/share/outcome.xml", *tests]
    try:
        in_clone(kernel, share, command, SUITE_SECONDS)
    except AssertionError:
        if not (share / "outcome.xml").exists():
            raise
    return Outcome.read(share / "outcome.xml")


def told(kernel: UserMode, place: Path, found: Outcome, begun: float) -> Outcome:
    """What fails beside others on one processor is tried again alone, and it is told which that was."""
    if 0 < len(found.failed) <= FEW:
        for name, why in found.failed.items():
            say(f"failed, and is tried again alone: {name}\n{why[-1500:]}")
        again = run_tests(kernel, place, sorted(found.failed))
        found = Outcome(found.passed | again.passed, again.failed, found.skipped)
    say(f"{len(found.passed)} passed, {len(found.failed)} failed, skipped {found.skipped}: {monotonic() - begun:.0f} s")
    return found


def test_the_whole_namespace_suite_holds_on_the_kernels_datapath(user_mode: UserMode, tmp_path: Path) -> None:
    own = {f"tests/{name}" for name in MEASURING}
    files = sorted((CLONE / "tests/lab").glob("test_*.py"), key=lambda file: file.stat().st_size, reverse=True)
    names = [name for name in (str(file.relative_to(CLONE)) for file in files) if name not in own]
    begun = monotonic()
    with ThreadPoolExecutor(KERNELS) as pool:
        workers = ("-n", str(WORKERS_PER_PROCESSOR))
        shares = [pool.submit(run_tests, user_mode, tmp_path, names[n::KERNELS], *workers) for n in range(KERNELS)]
    found = told(user_mode, tmp_path, sum((share.result() for share in shares), Outcome(frozenset(), {}, {})), begun)
    assert sorted(found.failed) == []
    assert {name.partition("::")[0] for name in found.passed} == set(names)
    assert {why for why in found.skipped.values() if NEEDS_NO_MODULE not in why} == set()


def test_rates_hold_on_the_kernels_datapath(user_mode: UserMode, tmp_path: Path) -> None:
    names = [f"tests/{name}" for name in MEASURING if name.startswith("lab/")]
    begun = monotonic()
    found = told(user_mode, tmp_path, run_tests(user_mode, tmp_path, names), begun)
    assert sorted(found.failed) == []
    assert {name.partition("::")[0] for name in found.passed} == set(names)
    assert found.skipped == {}


def test_a_lab_there_is_of_the_kernels_datapath(user_mode: UserMode, tmp_path: Path) -> None:
    """Without this the tests above could all have run in the other one."""
    vlab = shlex.quote(str(Path(sys.executable).with_name("vlab")))
    words = f"{vlab} up topologies/vlan-isolation.yaml --json && {vlab} exec esx1 -- ip -br link; {vlab} down"
    said = in_clone(user_mode, tmp_path / "up", ["bash", "-c", words], 120.0)
    assert '"datapath": "kernel"' in said
    assert "ovs-system" in said


@pytest.mark.parametrize("way", ["1ms:0ms:0", "5ms:0ms:0", "20ms:0ms:0", "20ms:5ms:0.1"])
def test_a_stretch_is_as_long_as_was_asked_by_netem_and_by_the_userspace_wire(
    user_mode: UserMode, tmp_path: Path, way: str
) -> None:
    command = [sys.executable, "benchmarks/distance.py", way]
    said = in_clone(user_mode, tmp_path / "way", command, 300.0, VLAB_DISTANCE="netem wire")
    say(said)
    delay, jitter, loss = (float(part.removesuffix("ms")) for part in way.split(":"))
    for found, by in zip(json.loads(said), ("netem", "userspace wire"), strict=True):
        assert (found["by"], found["alive"], found["in_order"], found["frames"]) == (by, True, True, 1000)
        assert delay - 0.1 <= found["median"] < delay + jitter / 2 + 2
        assert (found["p95"] - found["p5"] > jitter * 0.8) if jitter else (found["p5"] >= delay - 0.1)
        assert found["lost"] == pytest.approx(loss, abs=0.04)


def test_a_stretch_carries_its_rate_and_loses_what_would_wait_longer(user_mode: UserMode, tmp_path: Path) -> None:
    """Twice the rate for 1.2 s: what comes is the half of it, and what waits at the end for its turn in 0.1 s."""
    command = [sys.executable, "benchmarks/distance.py", "rate"]
    said = in_clone(user_mode, tmp_path / "rate", command, 300.0, VLAB_DISTANCE="netem wire")
    say(said)
    for found in json.loads(said):
        assert found["frames"] == 2000
        assert found["rate"] == pytest.approx(found["asked"], rel=0.02)
        assert found["came"] == pytest.approx(1000 + 0.1 * found["asked"] / (8 * 1504), rel=0.05)
        assert 100 < found["latest"] < 150
