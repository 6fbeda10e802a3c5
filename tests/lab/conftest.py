"""Real namespaces. After each module nothing of ours may be left on the machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.realise import sandbox

HERE = Path(__file__).parent
OURS = ("lab.daemon", "ovs-vswitchd", "ovsdb-server", "dumpcap")


def our_processes() -> set[int]:
    """Processes descended from this one, or marked as this test session's, that a lab would have started."""
    mark = f"VLAB_TEST_SESSION={os.environ['VLAB_TEST_SESSION']}".encode()
    found = set()
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(word in command for word in OURS) and mark in (directory / "environ").read_bytes().split(b"\0"):
                    found.add(int(directory.name))
            except OSError:
                continue
    return found


def traces() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The machine's own interfaces, mounts and this user's labs."""
    links = frozenset(path.name for path in Path("/sys/class/net").iterdir())
    mounts = frozenset(line for line in Path("/proc/self/mounts").read_text().splitlines() if "vlab" in line)
    labs = frozenset(path.name for path in sandbox.base_directory().iterdir())
    return links, mounts, labs


@pytest.fixture(scope="session", autouse=True)
def mark_session() -> Iterator[None]:
    os.environ["VLAB_TEST_SESSION"] = str(os.getpid())
    yield


@pytest.fixture(scope="module", autouse=True)
def nothing_left(mark_session: None) -> Iterator[None]:  # noqa: ARG001
    links, mounts, _ = traces()
    yield
    # Labs of the module end in fixtures that this one was set up before, so they are down by now.
    after_links, after_mounts, labs = traces()
    assert after_links == links
    assert after_mounts == mounts
    own = f"-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{os.getpid()}-"
    assert not [name for name in labs if own in name]
    assert our_processes() == set()


@pytest.fixture(scope="session")
def topology_file() -> Callable[[str], Path]:
    return lambda name: HERE / name
