"""Another kernel as a process: User-mode Linux, with this machine's own files as its root.

It boots in a second, needs neither KVM nor an emulated processor, and runs at nearly the machine's own speed, on one
processor. Debian's package of it has what kernels of small machines lack: Open vSwitch's datapath, netem.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from image import mirror, run

SUITE = "forky"
"""The kernels of this kind in Debian 12 and 13 have no room for the state of processors with AMX, and panic on them."""
PACKAGES = ("user-mode-linux", "libgcc-s1")
MEMORY = "3G"
FIRST_SECONDS = 60.0
HERE = Path(__file__).parent


@dataclass(frozen=True)
class UserMode:
    """Debian's kernel, and the libc that it needs, in a directory."""

    directory: Path

    @classmethod
    def build(cls, directory: Path) -> UserMode:
        """Raises RuntimeError where Debian's packages of it cannot be had, or it does not run."""
        run(
            "mmdebstrap", "--quiet", "--mode=root", "--variant=extract", f"--include={','.join(PACKAGES)}",
            # A suite that is no release has an end date, which the copy of a mirror may have passed; it is signed too.
            '--aptopt=Acquire::Check-Valid-Until "false"', SUITE, str(directory), f"deb {mirror()} {SUITE} main",
        )  # fmt: skip
        for name in ("bin", "lib", "lib64"):
            (directory / name).symlink_to(f"usr/{name}")
        (directory / "usr/lib/modules").symlink_to("uml/modules")
        for name in ("host", "share", "proc", "dev", "tmp"):
            (directory / name).mkdir(exist_ok=True)
        found = cls(directory)
        found.run(directory.with_name("first"), "true", FIRST_SECONDS)
        return found

    def run(self, share: Path, job: str, timeout: float) -> str:
        """Boot, run the job (words of bash, as root), end: what it printed. `share` is /mnt/share there.

        Raises RuntimeError when the kernel ends by itself, AssertionError when the job fails or has not ended in time.
        """
        share.mkdir(parents=True)
        (share / "job").write_text(job)
        argv = [
            "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL",
            "bash", str(HERE / "user_mode_boot.sh"), str(self.directory), str(share), MEMORY,
        ]  # fmt: skip
        with (share / "console").open("w") as console:
            kernel = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
            try:
                kernel.wait(timeout)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"not done after {timeout:g} s: {job}\n{_end_of(share / 'said')}") from None
            finally:
                kernel.kill()
                kernel.wait()
        status = _end_of(share / "status").strip()
        if not status:
            raise RuntimeError(f"User-mode Linux ended by itself; it said last: {_end_of(share / 'console')}")
        if status != "0":
            raise AssertionError(
                f"exit status {status} of: {job}\n{_end_of(share / 'said')}\n{_end_of(share / 'console')}"
            )
        return (share / "said").read_text(errors="replace")


def _end_of(path: Path) -> str:
    return path.read_text(errors="replace")[-6000:] if path.exists() else ""
