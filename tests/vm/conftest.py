"""Tests that boot a virtual machine: minutes each, so they run only when asked for (`./vlab test --vm`)."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import image
import pytest
from machine import CLONE, IN_GUEST, Machine, Ready, booted, say
from user_mode import UserMode
from vagrant import Vagrant

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
}
DIRECTORY = os.environ.get("VLAB_VM_DIRECTORY")
"""Where images are kept from run to run; a temporary directory, built anew and removed, unless it is set."""

SHARE = os.environ.get("VLAB_SHARE", "rsync")
"""As the Vagrantfile has it."""
SHARING_USER = 1000
"""Who shares a folder with the user of the VM, when it is shared and this machine has such a user: they are alike."""

HAS_LIBVIRT = bool(
    shutil.which("vagrant")
    and shutil.which("libvirtd", path="/usr/sbin:/usr/bin")
    and Path("/usr/share/doc/vagrant-libvirt").exists()
)
PROVISION = re.findall(r"<<~SHELL\n(.*?)^ *SHELL$", (CLONE / "Vagrantfile").read_text(), re.DOTALL | re.MULTILINE)[0]


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
    """A directory for images and disks; skips where they cannot be built."""
    if os.geteuid() != 0:
        pytest.skip("building a root directory for another kernel needs root")
    if DIRECTORY:
        yield Path(DIRECTORY)
        return
    with tempfile.TemporaryDirectory(prefix="vm-") as directory:
        Path(directory).chmod(0o755)  # Vagrant runs as an ordinary user
        yield Path(directory)


@pytest.fixture(scope="session")
def bare(place: Path) -> image.Image:
    """A bare Debian 12, or the suite that VLAB_VM_SUITE names: nothing of the lab is in it."""
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}: ./vlab test --vm installs them")
    suite = os.environ.get("VLAB_VM_SUITE", "bookworm")
    directory = place / (suite if SHARE == "rsync" else f"{suite}-{SHARE}")
    found = image.Image.within(directory)
    if not found.ready:
        begun = monotonic()
        image.build(directory, suite, share=SHARE)
        say(f"built a bare {image.SUITES[suite]} in {monotonic() - begun:.0f} s")
    return found


@pytest.fixture(scope="session")
def user_mode(place: Path) -> Iterator[UserMode]:
    """A kernel that has what this machine's may lack; skips where it cannot be had or does not run."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("this machine lacks mmdebstrap: ./vlab test --datapath kernel installs it")
    begun = monotonic()
    with tempfile.TemporaryDirectory(prefix="user-mode-", dir=place) as directory:
        try:
            found = UserMode.build(Path(directory) / "kernel")
        except RuntimeError as error:
            pytest.skip(f"no User-mode Linux here: {error}")
        say(f"User-mode Linux is here and has run: {monotonic() - begun:.0f} s")
        yield found


@pytest.fixture(scope="session")
def vagrant(place: Path) -> Iterator[Vagrant]:
    """Vagrant in a copy of the project; its VM, if one was made, is gone at the end."""
    if shutil.which("vagrant") is None:
        pytest.skip("this machine lacks vagrant: ./vlab test --vm installs it")
    home = place / "v"  # a socket below it must have a name of less than 108 bytes
    users = {account.pw_uid: account.pw_name for account in pwd.getpwall()}
    ours = Vagrant(home, SHARE, "nobody" if SHARE == "rsync" else users.get(SHARING_USER, "nobody"))
    ours.copy_clone()
    yield ours
    ours.destroy()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def ready(bare: image.Image, place: Path, request: pytest.FixtureRequest) -> Iterator[Ready]:
    """The VM as `vagrant up` leaves it. Where that cannot run, a plain QEMU with the Vagrantfile's own words stands in,
    and says so."""
    with _by_vagrant(bare, request) if HAS_LIBVIRT else _by_qemu(bare, place) as found:
        yield found


@contextmanager
def _by_vagrant(bare: image.Image, request: pytest.FixtureRequest) -> Iterator[Ready]:
    vagrant: Vagrant = request.getfixturevalue("vagrant")
    vagrant.add_box(bare)
    begun = monotonic()
    try:
        vagrant.up()
    except (AssertionError, subprocess.TimeoutExpired) as error:  # a network that was away for a minute
        say(f"vagrant up failed, and is tried once more: {error}")
        vagrant.destroy()
        begun = monotonic()
        vagrant.up()
    say(f"vagrant up, provisioning from bare: {monotonic() - begun:.0f} s")
    machine = vagrant.machine()
    yield Ready(
        machine,
        provision=lambda: vagrant("provision", timeout=900.0),
        ssh=lambda command: vagrant.ssh(command),
        captures=lambda: [str(path) for path in vagrant.project.glob("captures/*/*/*.pcapng")],
    )


@contextmanager
def _by_qemu(bare: image.Image, place: Path) -> Iterator[Ready]:
    say("no vagrant-libvirt here: `vagrant validate` and a plain boot of the same image stand in for `vagrant up`")
    with booted(bare, place / "plain") as machine:
        machine.put_clone()
        machine.timed("provisioning from bare", PROVISION, 1200.0)
        yield Ready(
            machine,
            provision=lambda: _said(machine, PROVISION),
            ssh=lambda command: _said(machine, f"bash -lc '{command}'"),
            captures=lambda: _said(machine, f"ls {IN_GUEST}/captures/*/*/*.pcapng").split(),
        )


def _said(machine: Machine, command: str) -> str:
    done = machine.run(command, 900.0)
    return done.stdout + done.stderr
