"""A lab's own namespaces and its state directory, seen from outside.

The daemon is PID 1 of a PID namespace that `unshare` makes: when it ends, of whatever cause, the kernel ends all that
it started. A lab is alive while the lock in its state directory is held; `unshare` holds it until the last process is
gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lab.errors import CannotTell, LabBug, LabError, MachineLacks, SystemRefused, TopologyError, UsageError
from lab.plan.names import linux_name

NAME_MAX = 40
Progress = Callable[[str, int, int], None]
_ERRORS = {kind.__name__: kind for kind in (CannotTell, LabBug, MachineLacks, SystemRefused, UsageError)}


def base_directory() -> Path:
    """Where this user's labs have their state; made when it is not there. Raises SystemRefused."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        base = Path(runtime) / "vlab"
    elif os.geteuid() == 0:
        base = Path("/run/vlab")
    else:
        base = Path(tempfile.gettempdir()) / f"vlab-{os.geteuid()}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        found = base.lstat()
    except OSError as error:
        raise SystemRefused(f"state directory {base}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SystemRefused(
            f"state directory {base} is not a directory of yours alone; remove it or set XDG_RUNTIME_DIR"
        )
    return base


def directory_of(name: str) -> Path:
    return base_directory() / linux_name(name, NAME_MAX)


LAST_WORDS_SECONDS = 5.0


class Claim:
    """The right to a lab name: an exclusive lock in its state directory. Raises UsageError when the name is taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = directory_of(name)
        self.fd = self._lock()
        for left in self.directory.iterdir():
            if left.name != "lock":
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()

    def _lock(self) -> int:
        while True:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            try:
                fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # another process has just removed the directory
                continue
            if not _try_lock(fd):
                os.close(fd)
                raise UsageError(f"a lab named {self.name!r} is up already (vlab down {self.name}, or --name)")
            with suppress(FileNotFoundError):
                if (self.directory / "lock").stat().st_ino == os.fstat(fd).st_ino:
                    return fd
            os.close(fd)

    def release(self, remove: bool) -> None:
        """Give the name back; `remove` its directory first (nobody else can have it meanwhile)."""
        if remove:
            shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self.fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass
class Sandbox:
    """A running daemon that this process started. `lifeline` closed: the daemon ends, unless it was told to stay."""

    claim: Claim
    process: subprocess.Popen[str]
    lifeline: IO[str]

    def detach(self) -> None:
        """The lab outlives this process from here on."""
        self.lifeline.write("stay\n")
        self.lifeline.close()
        self.claim.release(remove=False)

    def cut(self) -> None:
        """End the daemon and wait for unshare, which ends by itself once the kernel has ended every process in the
        sandbox; killed, it would be gone before they are."""
        with suppress(OSError):
            self.lifeline.close()
        try:
            self.process.wait(LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()  # unshare --kill-child takes the daemon with it
            self.process.wait()

    def end(self) -> None:
        """Everything of the lab is gone when this returns."""
        self.cut()
        os.close(self.claim.fd)
        _remove_when_free(self.claim.directory)


def start(spec: dict[str, Any], progress: Progress) -> Sandbox:
    """Start a daemon for `spec` and wait until its lab is ready. Raises what went wrong; then nothing is left."""
    claim = Claim(spec["name"])
    spec = {**spec, "directory": str(claim.directory)}
    sandbox = None
    try:
        status, child_status = os.pipe()
        sandbox = _spawn(claim, child_status)
        os.close(child_status)
        sandbox.lifeline.write(json.dumps({**spec, "status": child_status}) + "\n")
        sandbox.lifeline.flush()
        with os.fdopen(status) as lines:
            _wait_ready(lines, claim, progress)
    except BaseException as error:
        if sandbox is not None:
            sandbox.cut()  # its last words are in the log only once it has ended
        silent = isinstance(error, BrokenPipeError | EOFError)
        refusal = MachineLacks(_why_no_sandbox(claim.directory)) if silent else error
        claim.release(remove=True)
        raise refusal from None
    return sandbox


def _spawn(claim: Claim, status: int) -> Sandbox:
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() != 0:
        argv += ["--user", "--map-root-user"]
    argv += ["--", sys.executable, "-m", "lab.daemon"]
    with (claim.directory / "log").open("w") as log:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, start_new_session=True,
                pass_fds=(claim.fd, status), cwd="/", env=_environment(),
            )  # fmt: skip
        except FileNotFoundError as error:
            raise MachineLacks("unshare is not installed (Debian package util-linux)") from error
    assert process.stdin is not None
    return Sandbox(claim, process, process.stdin)


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    if sys.version_info < (3, 12):
        # mininet imports distutils, which setuptools would replace by all of itself: 0.1 s of a lab's start.
        kept["SETUPTOOLS_USE_DISTUTILS"] = "stdlib"
    path = [root, *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PATH": f"/usr/sbin:/sbin:{kept.get('PATH', '/usr/bin:/bin')}"}


def _wait_ready(lines: IO[str], claim: Claim, progress: Progress) -> None:
    for line in lines:
        said = json.loads(line)
        if "progress" in said:
            progress(*said["progress"])
        elif "ready" in said:
            return
        else:
            raise error_from(said)
    raise EOFError(claim.name)


def error_from(said: dict[str, Any]) -> LabError:
    """The error that a daemon reported, as the same class here."""
    if said["error"] == TopologyError.__name__:
        return UsageError(said["text"])
    return _ERRORS.get(said["error"], LabBug)(said["text"])


def _why_no_sandbox(directory: Path) -> str:
    """What `unshare` or a dying daemon wrote last, with the move that mends it."""
    log = directory / "log"
    words = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    last = words[-1] if words else "the lab's daemon ended without a word"
    if "unshare" not in last:
        return last
    return (
        f"no private namespaces: {last}. An ordinary user needs user namespaces: "
        "sysctl user.max_user_namespaces (above 0), kernel.unprivileged_userns_clone=1, "
        "kernel.apparmor_restrict_unprivileged_userns=0, as far as this kernel has them; or run as root"
    )


def _remove_when_free(directory: Path, seconds: float = 20.0) -> None:
    """Remove a lab's directory once nothing of the lab is left. Raises SystemRefused after `seconds`."""
    deadline = time.monotonic() + seconds
    while directory.exists():
        with _locked_if_dead(directory) as dead:
            if dead:
                shutil.rmtree(directory, ignore_errors=True)
                return
        if time.monotonic() > deadline:
            raise SystemRefused(f"lab {directory.name} does not end")
        select.select([], [], [], 0.002)


@contextmanager
def _locked_if_dead(directory: Path) -> Iterator[bool]:
    """True while this process holds the lock of a lab that is not alive."""
    try:
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _try_lock(fd)
    finally:
        os.close(fd)


def living() -> list[Path]:
    """State directories of this user's living labs, by name; what a dead one left is removed."""
    found = []
    for directory in sorted(base_directory().iterdir()):
        with _locked_if_dead(directory) as dead:
            if dead:
                shutil.rmtree(directory, ignore_errors=True)
            elif (directory / "lab.json").exists():
                found.append(directory)
    return found


def kill(directory: Path, pid: int) -> None:
    """End a lab: one kill; returns when everything of it is gone. Raises UsageError for a lab that was started
    outside of the caller's PID namespace."""
    if pid <= 1:
        raise UsageError(f"lab {directory.name} was started outside of this sandbox; end it there")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _remove_when_free(directory)


def entry(pid: int, namespace: Path) -> list[str]:
    """The start of a command line that runs the rest in a node of the lab whose daemon is `pid`."""
    user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    outer = ["nsenter", *user, "--net", "--mount", "--pid", f"--target={pid}", "--"]
    return [*outer, "nsenter", f"--net={namespace}", "--"]
