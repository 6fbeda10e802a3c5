"""The set-up script `vlab`, on machines that are made up: its programs are stand-ins on the PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAIN = ("bash", "cat", "cut", "dirname", "env", "id", "mkdir", "readlink", "sha256sum", "sort", "touch")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The script and what it reads, in a place where no environment can be made: nothing here may reach a network."""
    place = tmp_path / "clone"
    place.mkdir()
    for name in ("vlab", "setup.cfg"):
        shutil.copy(ROOT / name, place / name)
    (place / ".venv.lock").symlink_to("/proc/nowhere/lock")
    return place


@pytest.fixture
def run(clone: Path, tmp_path: Path) -> Run:
    """`run("setup", findmnt="echo 9p")`: the script with these stand-ins; as root with no home to write to."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PLAIN:
        (programs / name).symlink_to(str(shutil.which(name)))

    def started(*words: str, path: str = "", **stand_ins: str) -> subprocess.CompletedProcess[str]:
        for name, body in {"sudo": "exit 1", **stand_ins}.items():
            program = programs / name.replace("_", "-")
            program.unlink(missing_ok=True)  # it may be a link to this machine's own
            program.write_text(f"#!{shutil.which('bash')}\n{body}\n")
            program.chmod(0o755)
        environment = {"PATH": f"{programs}{path}", "HOME": "/proc/nowhere"}
        return subprocess.run([clone / "vlab", *words], env=environment, capture_output=True, text=True, cwd="/")

    return started


@pytest.mark.parametrize("kind", ["9p", "virtiofs", "vboxsf", "nfs4"])
def test_a_shared_clone_has_its_environment_in_the_users_home(run: Run, kind: str) -> None:
    done = run("setup", path=f":{os.environ['PATH']}", findmnt=f"echo {kind}")
    assert done.returncode == 4
    assert "cannot write to /proc/nowhere/.local/share/vswitchlab" in done.stderr


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "overlay"])
def test_a_clone_of_this_machines_own_has_it_inside(run: Run, clone: Path, kind: str) -> None:
    done = run("setup", path=f":{os.environ['PATH']}", findmnt=f"echo {kind}")
    assert done.returncode == 4
    assert f"cannot write to {clone}; set VLAB_VENV" in done.stderr


def test_missing_programs_are_asked_for_by_package(run: Run) -> None:
    done = run("setup", findmnt="echo ext4", apt_get="exit 1", id="echo 0")
    assert done.returncode == 4
    assert {"mininet", "tshark", "wireshark-common"} <= set(done.stderr.split())


def test_only_the_vm_tests_ask_for_an_emulator(run: Run) -> None:
    usual = run("test", findmnt="echo ext4", apt_get="exit 1", id="echo 0").stderr
    with_vm = run("test", "--vm", findmnt="echo ext4", apt_get="exit 1", id="echo 0").stderr
    kernel = run("test", "--datapath", "kernel", findmnt="echo ext4", apt_get="exit 1", id="echo 0").stderr
    assert "mmdebstrap" not in usual
    assert "mmdebstrap" in kernel.split() and "qemu-utils" not in kernel
    assert {"mmdebstrap", "qemu-utils"} <= set(with_vm.split())


def test_without_sudo_it_says_what_root_would_do(run: Run) -> None:
    done = run("setup", findmnt="echo ext4", apt_get="exit 1", id="echo 1000")
    assert done.returncode == 4
    assert "as root: apt-get install" in done.stderr


def test_words_that_set_up_does_not_know_are_refused(run: Run) -> None:
    assert run("setup", "--comand", findmnt="echo ext4").returncode == 2
