"""What this machine has and lacks for the lab: probed, never guessed. Kernel features are tried in a sandbox."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.realise.datapath import kernel_has_datapath

SANDBOX = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
ROOTLESS = ["--user", "--map-root-user"]

KERNEL = {
    "veth": ("ip link add name va type veth peer name vb", True, "no lab can be built"),
    "htb": ("tc qdisc replace dev lo root htb", True, "no lab can be built: pNICs have no rate"),
    "tbf": (
        "tc qdisc replace dev lo root tbf rate 1mbit burst 10kb latency 10ms",
        False,
        "no traffic shaping of ports",
    ),
    "netem": (f"{sys.executable} -m lab.realise.netlink_netem", False, "distances by a process instead of the kernel"),
    "vxlan": ("ip link add name vx type vxlan id 1 dstport 4789 dev lo", False, "no VXLAN between sites (planned)"),
}
"""Name -> (command in the sandbox, required, what its lack costs)."""

PROGRAMS = {
    "ovs-vswitchd": ("openvswitch-switch", True, "no switches"),
    "ovsdb-server": ("openvswitch-switch", True, "no switches"),
    "mnexec": ("mininet", True, "no nodes"),
    "dumpcap": ("wireshark-common", True, "no captures: where, verify and capture cannot work"),
    "mergecap": ("wireshark-common", True, "captures of several boxes cannot be joined"),
    "tshark": ("tshark", False, "captures can be written but not read on this machine"),
    "iperf3": ("iperf3", False, "no `vlab load`"),
    "ping": ("iputils-ping", False, "no ping inside guests"),
}


@dataclass(frozen=True)
class Finding:
    """`cost` is what is lost when it is not ok; `mend` what to do about it."""

    name: str
    ok: bool
    required: bool
    detail: str = ""
    cost: str = ""
    mend: str = ""


def examine() -> Iterator[Finding]:
    """In the order in which they matter."""
    yield Finding("Python", sys.version_info >= (3, 11), True, platform.python_version(), "the lab needs 3.11 or later")
    yield from _programs()
    found = importlib.util.find_spec("mininet") is not None
    yield Finding(
        "mininet for Python", found, True, "", "no nodes", "Debian package mininet, venv with system packages"
    )
    found = importlib.util.find_spec("ovs") is not None
    yield Finding("Open vSwitch for Python", found, True, "", "no switches", "Debian package python3-openvswitch")
    sandbox = _sandbox()
    yield sandbox
    if sandbox.ok:
        yield from _kernel()
    yield from _datapaths()
    cores = len(os.sched_getaffinity(0))
    yield Finding("processors", cores >= 2, False, str(cores), "captures compete with switches; big labs lose frames")


def _datapaths() -> Iterator[Finding]:
    """Both, with what they cost where they are there."""
    user = "the default; needs no module. A process carries every frame"
    yield Finding("datapath: user", True, False, user)
    module = kernel_has_datapath()
    kernel = "--datapath kernel or VLAB_DATAPATH=kernel; the first frame of each kind still goes through a process"
    cost = "--datapath kernel is not possible: less bandwidth, the same answers"
    mend = "modprobe openvswitch, where the kernel has it"
    yield Finding("datapath: kernel", module, False, kernel if module else "", cost, mend)


def _programs() -> Iterator[Finding]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for name, (package, required, cost) in PROGRAMS.items():
        place = shutil.which(name, path=path)
        yield Finding(name, place is not None, required, place or "", cost, f"Debian package {package}")


def _sandbox() -> Finding:
    rootless = os.geteuid() != 0
    said = _try([*SANDBOX, *(ROOTLESS if rootless else []), "true"])
    name = "user namespaces (labs without root)" if rootless else "private namespaces"
    return Finding(name, said is None, True, said or "", "no lab can be started", "" if said is None else _mend())


def _mend() -> str:
    """Which of the known switches is off."""
    wanted = {
        "kernel/unprivileged_userns_clone": ("0", "sysctl kernel.unprivileged_userns_clone=1"),
        "kernel/apparmor_restrict_unprivileged_userns": ("1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        "user/max_user_namespaces": ("0", "sysctl user.max_user_namespaces=10000"),
    }
    for name, (bad, mend) in wanted.items():
        path = Path("/proc/sys") / name
        if path.exists() and path.read_text().strip() == bad:
            return f"as root: {mend}"
    if os.geteuid() == 0:
        return "this root may not make namespaces: a container's profile or a chroot forbids it"
    return "run as root, or allow unprivileged user namespaces (in a container: its seccomp profile forbids them)"


def _kernel() -> Iterator[Finding]:
    for name, (command, required, cost) in KERNEL.items():
        argv = [*SANDBOX, *(ROOTLESS if os.geteuid() != 0 else []), "sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin {command}"]
        said = _try(argv)
        yield Finding(f"kernel: {name}", said is None, required, said or "", cost, "another kernel")


def _try(argv: list[str]) -> str | None:
    """None when it worked, else its last words."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    words = (done.stderr or done.stdout).strip().splitlines()
    return None if done.returncode == 0 else (words[-1] if words else f"exit status {done.returncode}")
