"""A cable that is a long way: two veth pairs, and in a namespace between them a process that holds frames back.

Kernels differ in whether they have netem; this does the same on every one, and is what `vlab status` tells of.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.errors import SystemRefused
from lab.plan.names import box_mac
from lab.plan.types import Cable, Interface
from lab.plan.wiring import WIRE_MTU
from lab.realise import netlink
from lab.realise.run import new_network_namespace, spawn

READY_SECONDS = 20.0


class LongWire:
    """`ends`: (namespace, interface) where the cable's two ends are plugged in; they are made with all other cables."""

    def __init__(self, directory: Path, number: int, cable: Cable) -> None:
        directory.mkdir(exist_ok=True)
        self.cable = cable
        self._namespace = new_network_namespace(directory / str(number))
        netlink.write_sysctls(self._namespace, netlink.SYSCTLS_BOX)
        self._interfaces = [Interface(name, name, box_mac("wire", str(number), name), WIRE_MTU) for name in ("a", "b")]
        self.ends = [(self._namespace, interface) for interface in self._interfaces]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when frames pass. Raises SystemRefused."""
        assert self.cable.way is not None
        netlink.configure(self._namespace, self._interfaces, False)
        argv = [sys.executable, "-m", "lab.realise.wire", *(interface.name for interface in self._interfaces)]
        pipe = subprocess.PIPE
        self._process = child = spawn(argv, self._namespace, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(asdict(self.cable.way)) + "\n")
        child.stdin.flush()
        if not select.select([child.stdout], [], [], READY_SECONDS)[0] or child.stdout.readline() != "ready\n":
            raise SystemRefused(f"the wire {self.name} did not begin")

    @property
    def name(self) -> str:
        return " -- ".join(f"{box}:{port}" for box, port in (self.cable.a, self.cable.b))

    def facts(self) -> dict[str, Any]:
        """For `status`."""
        assert self.cable.way is not None
        alive = self._process is not None and self._process.poll() is None
        return {"between": self.name, "by": "userspace wire", "alive": alive, **asdict(self.cable.way)}
