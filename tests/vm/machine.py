"""A VM from an image, in QEMU with software emulation, so that it boots where KVM does not; commands go by ssh."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from image import USER, Image

BOOT_SECONDS = 300.0
MEMORY_MIB = 3072
CLONE = Path(__file__).resolve().parents[2]
IN_GUEST = "/vagrant"
"""Where Vagrant puts the project's folder too."""


def say(words: str) -> None:
    """A line for whoever watches: these tests take minutes."""
    print(f"vm: {words}", flush=True)


@dataclass
class Machine:
    """A guest that answers. `port` is the loopback port that leads to its ssh."""

    port: int
    key: Path

    def run(
        self, command: str, timeout: float = 600.0, check: bool = True, data: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A shell's words as the ordinary user. Raises CalledProcessError (with what it said) and TimeoutExpired."""
        done = subprocess.run([*self._ssh(), command], input=data, capture_output=True, timeout=timeout)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            raise AssertionError(f"in the VM: {command}\nexit status {done.returncode}\n{out[-6000:]}\n{err[-6000:]}")
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def timed(self, what: str, command: str, timeout: float = 600.0) -> str:
        """The same, and it is told how long it took; stdout."""
        with self.timing(what):
            return self.run(command, timeout).stdout

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        begun = monotonic()
        yield
        say(f"{what}: {monotonic() - begun:.1f} s")

    def put_clone(self) -> None:
        """The project's files, as git knows them, in the place where Vagrant puts them."""
        known = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(known, cwd=CLONE, capture_output=True, check=True).stdout
        there = b"\0".join(name for name in listed.split(b"\0") if name and (CLONE / os.fsdecode(name)).exists())
        pack = ["tar", "--create", "--gzip", "--null", "--files-from=-"]
        packed = subprocess.run(pack, cwd=CLONE, input=there, capture_output=True, check=True).stdout
        user = shlex.quote(USER)
        self.run(f"sudo install -d -o {user} -g {user} {IN_GUEST} && tar -xz -C {IN_GUEST}", data=packed)

    def _ssh(self) -> list[str]:
        quiet = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR",
                 "BatchMode": "yes", "ConnectTimeout": "20", "ServerAliveInterval": "60"}  # fmt: skip
        options = [word for name, value in quiet.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-i", str(self.key), "-p", str(self.port), *options, f"{USER}@127.0.0.1"]


@dataclass(frozen=True)
class Ready:
    """A VM with the lab set up in it. `provision()` does that again and `ssh(command)` is `vagrant ssh -c`; both return
    what was said. `captures()` are the files that the host sees."""

    machine: Machine
    provision: Callable[[], str]
    ssh: Callable[[str], str]
    captures: Callable[[], list[str]]


@contextmanager
def booted(image: Image, directory: Path, kernel_words: str = "") -> Iterator[Machine]:
    """The VM on a disk of its own over the image's; gone at the end of the block, or with this process."""
    directory.mkdir(parents=True, exist_ok=True)
    disk = directory / "own.qcow2"
    over = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.disk.resolve()), "-F", "qcow2", str(disk)]
    subprocess.run(over, check=True)
    machine = Machine(_free_port(), image.key)
    argv = [
        "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-smp", "2", "-m", str(MEMORY_MIB), "-display", "none", "-nodefaults", "-no-reboot",
        "-serial", f"file:{directory / 'console.log'}", "-kernel", str(image.kernel), "-initrd", str(image.initrd),
        "-append", f"root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet {kernel_words}",
        "-drive", f"file={disk},if=virtio,cache=unsafe", "-device", "virtio-net-pci,netdev=n",
        "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{machine.port}-:22", "-device", "virtio-rng-pci",
    ]  # fmt: skip
    with (directory / "qemu.log").open("w") as log:
        qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with machine.timing("boot to ssh"):
            _wait_for_ssh(machine, qemu, directory)
        yield machine
    finally:
        qemu.kill()
        qemu.wait()


def _wait_for_ssh(machine: Machine, qemu: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = monotonic() + BOOT_SECONDS
    while monotonic() < deadline:
        if qemu.poll() is not None:
            raise RuntimeError(f"QEMU ended at once: {(directory / 'qemu.log').read_text().strip()}")
        try:
            if machine.run("true", timeout=40.0, check=False).returncode == 0:
                return
        except subprocess.TimeoutExpired:
            continue
        threading.Event().wait(1.0)
    said = (directory / "console.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"no ssh after {BOOT_SECONDS:g} s; the console said last: {said}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
