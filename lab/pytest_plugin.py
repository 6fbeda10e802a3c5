"""The pytest plugin: fixtures that give a running lab to a test of a network.

vlab_topology = "topologies/mine.yaml"        # in the test file, or a fixture of that name

def test_web_is_isolated(vlab): ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lab.running import RunningLab


@pytest.fixture(scope="module")
def launch_lab(request: pytest.FixtureRequest) -> Iterator[Callable[[str | Path], RunningLab]]:
    """`launch_lab(FILE)`: a lab of that topology until the test module ends; one lab for each file and worker.

    A relative path is looked for beside the test file, then from where pytest was started.
    """
    from lab.running import launch

    labs: dict[Path, RunningLab] = {}
    with ExitStack() as stack:

        def started(source: str | Path) -> RunningLab:
            path = _found(Path(source), request)
            if path not in labs:
                worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
                name = f"{path.stem[:16]}-{worker}-{os.getpid()}-{len(labs)}"
                labs[path] = stack.enter_context(launch(path, name=name))
            return labs[path]

        yield started


@pytest.fixture
def vlab(request: pytest.FixtureRequest, launch_lab: Callable[[str | Path], RunningLab]) -> RunningLab:
    """The running lab of the module's `vlab_topology`, or of `@pytest.mark.topology(FILE)`."""
    marker = request.node.get_closest_marker("topology")
    source: Any = marker.args[0] if marker else getattr(request.module, "vlab_topology", None)
    if source is None:
        pytest.fail('say which topology: vlab_topology = "FILE" in the test file, or @pytest.mark.topology("FILE")')
    return launch_lab(source)


def _found(source: Path, request: pytest.FixtureRequest) -> Path:
    beside = request.path.parent / source
    return (beside if beside.exists() else source).resolve()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "topology(FILE): the topology file whose lab the `vlab` fixture gives")
