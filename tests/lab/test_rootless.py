"""An ordinary user, with or without an entry in the password file, can do all of it and leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.realise.run import wait_until

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGY = ROOT / "topologies" / "vlan-isolation.yaml"
VLAB = [sys.executable, "-m", "lab.cli"]
AS_ROOT = os.geteuid() == 0
USERS = {"nobody": 65534, "no passwd entry": 54321} if AS_ROOT else {"myself": os.geteuid()}

ASK = """
import json, os, sys
from lab.running import launch
with launch(sys.argv[1]) as lab:
    report = lab.verify()
    said = {"ok": report.ok, "pairs": report.pairs, "agree": report.agree, "uid": os.geteuid(),
            "inside": lab.exec("web1", "id", "-u").stdout.strip(),
            "expected": [(e.kind, e.holds) for e in report.expectations]}
print(json.dumps(said))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


def as_user(uid: int) -> dict[str, Any]:
    return {"user": uid, "group": uid, "extra_groups": []} if AS_ROOT else {}


def refusal_of_user_namespaces(uid: int) -> str:
    """What the kernel said against it; empty when this user may."""
    argv = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "true"]
    return str(subprocess.run(argv, capture_output=True, text=True, cwd="/", **as_user(uid)).stderr)


def processes_of(uid: int, mark: str) -> list[str]:
    found = []
    for directory in Path("/proc").iterdir():
        try:
            if directory.name.isdigit() and directory.stat().st_uid == uid:
                command = (directory / "cmdline").read_bytes()
                if mark.encode() in command + (directory / "environ").read_bytes():
                    found.append(command.replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture(params=USERS.values(), ids=list(USERS))
def uid(request: pytest.FixtureRequest) -> int:
    number = int(request.param)
    refusal = refusal_of_user_namespaces(number)
    if refusal:
        pytest.skip(f"user namespaces are not allowed here: {refusal.strip()}")
    return number


@pytest.fixture
def home(uid: int) -> Iterator[Path]:
    """A directory of the user's own; pytest's are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="vlab-rootless-", dir="/tmp") as name:
        if AS_ROOT:
            os.chown(name, uid, uid)
        yield Path(name)
        wait_until(lambda: not processes_of(uid, name), "processes of the lab")


@pytest.fixture
def run(uid: int, home: Path) -> Run:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": str(home), "PYTHONPATH": str(ROOT),
                   "XDG_RUNTIME_DIR": str(home), "LC_ALL": "C.UTF-8"}  # fmt: skip

    def started(*argv: str, **changes: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in (environment | changes).items() if value}
        return subprocess.run(argv, capture_output=True, text=True, env=env, cwd=home, timeout=60, **as_user(uid))

    return started


def left(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.name != "vlab")


def test_launch_and_verify_of_an_ordinary_user(run: Run, uid: int, home: Path) -> None:
    done = run(sys.executable, "-c", ASK, str(TOPOLOGY))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["ok"], said["pairs"], said["agree"]) == (True, 12, 12)
    assert (said["uid"], said["inside"]) == (uid, "0")
    assert said["expected"] == [["isolate", True], ["reach", True], ["reach", True]]
    assert left(home) == []


def test_the_verbs_of_an_ordinary_user(run: Run, uid: int, home: Path) -> None:
    up = run(*VLAB, "up", str(TOPOLOGY))
    assert up.returncode == 0, up.stderr
    assert [lab["name"] for lab in json.loads(run(*VLAB, "list", "--json").stdout)] == ["vlan-isolation"]
    ping = run(*VLAB, "exec", "web1", "--", "ping", "-c1", "-W5", "10.0.10.2")
    assert ping.returncode == 0, ping.stdout + ping.stderr
    assert run(*VLAB, "verify", "-d", str(home / "evidence")).returncode == 0
    assert run(*VLAB, "down").returncode == 0
    files = ["esx1.pcapng", "esx2.pcapng", "tor1.pcapng"]
    assert left(home) == ["evidence", *(f"evidence/{file}" for file in files)]
    assert {(home / "evidence" / file).stat().st_uid for file in files} == {uid}


def test_without_a_runtime_directory_the_state_is_in_a_temporary_one(run: Run, uid: int, home: Path) -> None:
    assert run(*VLAB, "up", str(TOPOLOGY), XDG_RUNTIME_DIR="").returncode == 0
    directory = home / f"vlab-{uid}"
    assert (directory / "vlan-isolation" / "lab.json").exists()
    assert (directory.stat().st_uid, directory.stat().st_mode & 0o777) == (uid, 0o700)
    assert run(*VLAB, "list", "--json").stdout == "[]\n"
    assert run(*VLAB, "down", XDG_RUNTIME_DIR="").returncode == 0
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a directory of another user")
def test_a_state_directory_of_another_user_is_refused(run: Run, home: Path) -> None:
    (home / "vlab").mkdir(mode=0o755)
    done = run(*VLAB, "up", str(TOPOLOGY))
    assert done.returncode == 5
    assert "not a directory of yours alone" in done.stderr
    assert left(home) == []


FORBIDDEN = """
echo {allowed} > /proc/sys/user/max_user_namespaces
exec unshare --user --map-user=1000 --map-group=1000 "$@"
"""


@pytest.mark.parametrize(("allowed", "exit_code"), [(1, 4), (100, 0)], ids=["forbidden", "allowed"])
def test_where_user_namespaces_are_forbidden_the_move_that_mends_it_is_named(
    run: Run, home: Path, allowed: int, exit_code: int
) -> None:
    """Within a user namespace that may hold one more, which the ordinary user in it is in."""
    script = FORBIDDEN.format(allowed=allowed)
    done = run(*VLAB, "sandbox", "--", "sh", "-ec", script, "sh", *VLAB, "up", str(TOPOLOGY))
    assert done.returncode == exit_code, done.stderr
    assert run(*VLAB, "list", "--json").stdout == "[]\n"
    assert ("sysctl user.max_user_namespaces" in done.stderr) is (exit_code == 4)
    assert left(home) == []
