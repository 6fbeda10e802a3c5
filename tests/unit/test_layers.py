"""Which part of the tree may import what: read from the sources, and seen in fresh interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text() for top in ("lab", "traffic") for path in (ROOT / top).rglob("*.py")
}
SYSTEM = ("mininet", "scapy", "pyroute2", "subprocess")
PURE = [
    "lab.topology", "lab.topology.edit", "lab.plan", "lab.predict", "lab.model", "lab.state", "lab.state_json",
    "lab.frame", "lab.report.where", "lab.report.verify", "lab.report.top",
    "lab.observe.trace",
    "lab.predict.exposure", "lab.report.page", "lab.report.follow", "lab.report.selftest", "lab.observe.peel",
    "lab.nioc", "lab.chassis",
    "lab.report.nioc",
]  # fmt: skip


def imported(file: str) -> Iterator[str]:
    """Absolute names of all that a file imports, at any depth; names given to `import_module` as text count."""
    package = file.removesuffix(".py").replace("/", ".").split(".")[:-1]
    for node in ast.walk(ast.parse(SOURCES[file])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith(tuple(f"{name}." for name in SYSTEM)):
            yield str(node.value)


def importers(library: str) -> set[str]:
    return {file for file in SOURCES if any(name.split(".")[0] == library for name in imported(file))}


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_loads_nothing_that_touches_the_system(module: str) -> None:
    loaded = loaded_by(module)
    assert module in loaded
    assert loaded.isdisjoint(SYSTEM)


@pytest.mark.parametrize(
    ("module", "library"),
    [("lab.realise.net", "mininet"), ("lab.realise.netlink", "pyroute2"), ("lab.observe.pcapng", "subprocess")],
)
def test_a_module_that_touches_the_system_is_seen_to_load_it(module: str, library: str) -> None:
    assert library in loaded_by(module)


@pytest.mark.parametrize(
    ("library", "files"),
    [
        ("mininet", {"lab/realise/net.py"}),
        ("pyroute2", {f"lab/realise/{door}.py" for door in ("netlink", "netlink_netem", "netlink_tc")}),
        ("scapy", {"traffic/frames.py"}),
    ],
)
def test_a_library_is_imported_in_one_place_only(library: str, files: set[str]) -> None:
    assert importers(library) == files


def test_predict_never_sees_the_plan() -> None:
    assert not {m for m in loaded_by("lab.predict") if m.startswith("lab.plan")}
    assert not {n for f in SOURCES if f.startswith("lab/predict/") for n in imported(f) if n.startswith("lab.plan")}


def test_the_plan_never_sees_predict() -> None:
    assert not {m for m in loaded_by("lab.plan") if m.startswith("lab.predict")}


def test_a_topology_never_sees_what_is_made_of_it() -> None:
    loaded = {".".join(name.split(".")[:2]) for name in loaded_by("lab.topology.edit") if name.startswith("lab.")}
    assert loaded == {"lab.topology", "lab.model", "lab.chassis", "lab.errors", "lab.units"}


def test_traffic_knows_of_the_lab_only_errors_units_and_frames() -> None:
    names = {name for file in SOURCES if file.startswith("traffic/") for name in imported(file)}
    of_lab = {".".join(name.split(".")[:2]) for name in names if name.split(".")[0] == "lab"}
    assert of_lab
    assert of_lab <= {"lab.errors", "lab.units", "lab.frame"}


@pytest.mark.parametrize(
    "module", sorted(file.removesuffix(".py").replace("/", ".") for file in SOURCES if file.startswith("traffic/"))
)
def test_traffic_loads_scapy_only_when_a_frame_needs_it(module: str) -> None:
    assert "scapy" not in loaded_by(module)


def test_no_file_imports_relatively_or_by_star() -> None:
    nodes = [(f, n) for f, text in SOURCES.items() for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)]
    assert len(nodes) > 100
    assert [f for f, n in nodes if n.level or any(alias.name == "*" for alias in n.names)] == []


@pytest.mark.parametrize("name", ["launch", "RunningLab"])
def test_what_lab_offers_is_no_module(name: str) -> None:
    code = f"from lab import {name}; print(callable({name}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
