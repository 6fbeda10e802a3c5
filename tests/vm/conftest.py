"""Tests that boot a virtual machine: minutes each, so they run only when asked for (`./vlab test --vm`)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import image
import pytest
from machine import Machine, booted, say

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
}
DIRECTORY = os.environ.get("VLAB_VM_DIRECTORY")
"""Where images are kept from run to run; a temporary directory, built anew and removed, unless it is set."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "vm: boots a virtual machine; runs only with `-m vm`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    own = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in own:
        item.add_marker("vm")
    if own and "vm" not in (config.getoption("-m") or ""):
        config.hook.pytest_deselected(items=own)
        items[:] = [item for item in items if item not in own]


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory for images and disks; skips where this machine cannot build one."""
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}: ./vlab test --vm installs them")
    if os.geteuid() != 0:
        pytest.skip("building a disk image needs root")
    if DIRECTORY:
        yield Path(DIRECTORY)
        return
    with tempfile.TemporaryDirectory(prefix="vlab-vm-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def bare(place: Path) -> image.Image:
    """A bare Debian 12, or the suite that VLAB_VM_SUITE names: nothing of the lab is in it."""
    suite = os.environ.get("VLAB_VM_SUITE", "bookworm")
    found = image.Image.within(place / suite)
    if not found.ready:
        begun = monotonic()
        image.build(place / suite, suite)
        say(f"built a bare {image.SUITES[suite]} in {monotonic() - begun:.0f} s")
    return found


@pytest.fixture(scope="session")
def machine(bare: image.Image, place: Path) -> Iterator[Machine]:
    """The bare VM, up, with the project's folder in it; what was measured is told at the end."""
    with booted(bare, place / "plain") as running:
        running.put_clone()
        yield running
        for what, seconds in running.times.items():
            say(f"{what}: {seconds} s")
