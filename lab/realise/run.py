"""The one way to run a command, and the namespaces it may run in."""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import MachineLacks, SystemRefused

CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
PACKAGE_OF = {
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-ofctl": "openvswitch-switch",
    "ovs-appctl": "openvswitch-switch",
    "dumpcap": "wireshark-common",
    "tshark": "tshark",
    "mergecap": "wireshark-common",
    "mnexec": "mininet",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "iperf3": "iperf3",
}
_libc = ctypes.CDLL(None, use_errno=True)
_spawning = threading.Lock()
_children: dict[int, subprocess.Popen[Any]] = {}


def _check(result: int, what: str) -> None:
    if result != 0:
        raise SystemRefused(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: Path, kind: str = "", flags: int = 0) -> None:
    """mount(2). Raises SystemRefused."""
    raw = [os.fsencode(text) for text in (source, str(target), kind)]
    _check(_libc.mount(raw[0], raw[1], raw[2], flags, None), f"mounting {target}")


@contextmanager
def _in_a_new_namespace() -> Iterator[None]:
    """The calling thread is in a network namespace of its own, which goes unless the block keeps hold of it."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNET), "making a network namespace")
        yield
    finally:
        _check(_libc.setns(home, CLONE_NEWNET), "returning to the sandbox's namespace")
        os.close(home)


def new_network_namespace(at: Path) -> int:
    """Make one, keep it alive by a bind mount on the file `at`; the calling thread stays where it is. Returns an fd."""
    with _in_a_new_namespace():
        at.touch()
        mount("/proc/thread-self/ns/net", at, flags=MS_BIND)
        return os.open(at, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """The calling thread is in the network namespace `namespace` (an fd); sockets and children made here stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(namespace, CLONE_NEWNET), "entering a network namespace")
        yield
    finally:
        _check(_libc.setns(home, CLONE_NEWNET), "returning to the sandbox's namespace")
        os.close(home)


@contextmanager
def passing_namespace() -> Iterator[int]:
    """A new network namespace (an fd), which is gone after the block."""
    with _in_a_new_namespace():
        made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield made
    finally:
        os.close(made)


def spawn(argv: Sequence[str], namespace: int | None = None, **options: Any) -> subprocess.Popen[Any]:
    """Start a child, in a network namespace when given; options are Popen's. Raises MachineLacks, SystemRefused."""
    try:
        with _spawning:
            if namespace is None:
                child = subprocess.Popen(argv, **options)
            else:
                with inside(namespace):
                    child = subprocess.Popen(argv, **options)
            _children[child.pid] = child
    except FileNotFoundError as error:
        if error.filename != argv[0]:
            raise SystemRefused(f"{argv[0]}: {error.strerror}: {error.filename}") from error
        package = PACKAGE_OF.get(argv[0])
        hint = f" (Debian package {package})" if package else ""
        raise MachineLacks(f"{argv[0]} is not installed{hint}") from error
    except OSError as error:
        raise SystemRefused(f"{argv[0]}: {error.strerror}") from error
    return child


def run(
    argv: Sequence[str],
    namespace: int | None = None,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    deadline: float = 60.0,
) -> str:
    """Run to the end and return stdout; `text` is its stdin. Raises SystemRefused with the command's last words."""
    child = spawn(
        argv,
        namespace,
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None if env is None else dict(env),
    )
    try:
        out, err = child.communicate(text, timeout=deadline)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.wait()
        raise SystemRefused(f"{argv[0]} did not end within {deadline:g} s") from error
    finally:
        _children.pop(child.pid, None)
    if child.returncode != 0:
        words = (err.strip() or out.strip() or f"exit status {child.returncode}").splitlines()[-1]
        raise SystemRefused(f"{argv[0]}: {words}")
    return str(out)


def wait_until(fact: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Until `fact()` is true, looking every 2 ms. Raises SystemRefused after `seconds`."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise SystemRefused(f"{what}: nothing after {seconds:g} s")
        select.select([], [], [], 0.002)


def forget(child: subprocess.Popen[Any]) -> None:
    """`child` was waited for by its owner."""
    _children.pop(child.pid, None)


def reap_orphans() -> None:
    """As PID 1: collect ended processes that nobody here started (what `exec` left behind)."""
    with _spawning:
        try:
            listed = Path("/proc/self/task/1/children").read_text().split()
        except OSError:
            return
        for pid in map(int, listed):
            if pid not in _children:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue
