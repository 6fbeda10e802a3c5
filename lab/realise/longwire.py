"""A cable that is a long way: two veth pairs, and in a namespace between them what holds frames back.

That is the kernel's netem where it has it, else a process that does the same; `vlab status` tells which.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.errors import MachineLacks, SystemRefused
from lab.plan.distance import distance
from lab.plan.names import box_mac
from lab.plan.types import Cable, Interface, Way
from lab.plan.wiring import WIRE_MTU
from lab.realise import netlink, netlink_netem
from lab.realise.run import inside, new_network_namespace, spawn
from lab.realise.wire import Carriers

READY_SECONDS = 20.0
LOOK_SECONDS = 1.0
"""Between two looks at the carriers of netem wires when the kernel tells of no event."""


class LongWire(ABC):
    """`ends`: (namespace, interface) where the cable's two ends are plugged in; they are made with all other cables."""

    by: str

    def __init__(self, directory: Path, number: int, cable: Cable) -> None:
        assert cable.way is not None
        directory.mkdir(exist_ok=True)
        self.cable = cable
        self.way: Way = cable.way
        self.namespace = new_network_namespace(directory / str(number))
        netlink.write_sysctls(self.namespace, netlink.SYSCTLS_BOX)
        self.interfaces = [Interface(name, name, box_mac("wire", str(number), name), WIRE_MTU) for name in ("a", "b")]
        self.ends = [(self.namespace, interface) for interface in self.interfaces]

    @abstractmethod
    def start(self) -> None:
        """Returns when frames pass. Raises SystemRefused."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether frames still pass."""

    @property
    def name(self) -> str:
        return " -- ".join(f"{box}:{port}" for box, port in (self.cable.a, self.cable.b))

    def facts(self) -> dict[str, Any]:
        """For `status`."""
        return {"between": self.name, "by": self.by, "alive": self.alive(), **asdict(self.way)}


class UserspaceWire(LongWire):
    """By a process of its own."""

    by = "userspace wire"
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        netlink.configure(self.namespace, self.interfaces, False)
        argv = [sys.executable, "-m", "lab.realise.wire", *(interface.name for interface in self.interfaces)]
        pipe = subprocess.PIPE
        self._process = child = spawn(argv, self.namespace, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(asdict(self.way)) + "\n")
        child.stdin.flush()
        if not select.select([child.stdout], [], [], READY_SECONDS)[0] or child.stdout.readline() != "ready\n":
            raise SystemRefused(f"the wire {self.name} did not begin")

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None


class NetemWire(LongWire):
    """By the kernel."""

    by = "netem"

    def start(self) -> None:
        a, b = (interface.name for interface in self.interfaces)
        for source, target in ((a, b), (b, a)):
            netlink_netem.put(self.namespace, source, target, distance(self.way))
        netlink.configure(self.namespace, self.interfaces, False)

    def alive(self) -> bool:
        return all(netlink_netem.stands(self.namespace, interface.name) for interface in self.interfaces)


def wire_class(wanted: str) -> type[LongWire]:
    """Of `auto`, `netem` or `wire`. Raises MachineLacks for a netem that is not there."""
    if wanted == "wire":
        return UserspaceWire
    lack = netlink_netem.why_not()
    if lack is None:
        return NetemWire
    if wanted == "netem":
        raise MachineLacks(f"this kernel cannot do distances by netem ({lack}); use --distance wire")
    return UserspaceWire


def keep_carriers(wires: Sequence[LongWire]) -> None:
    """An end of a netem wire that loses its carrier takes the other one down, from now on; a process does that for its
    own wire itself."""
    present = {str(number): wire for number, wire in enumerate(wires) if isinstance(wire, NetemWire)}
    if not present:
        return
    watch = netlink.LinkWatch({name: wire.namespace for name, wire in present.items()})
    carriers = {}
    for name, wire in present.items():
        a, b = (interface.name for interface in wire.interfaces)
        with inside(wire.namespace):
            carriers[name] = Carriers((a, b))

    def keep() -> None:
        while True:
            for name in watch.wait(LOOK_SECONDS) or carriers:
                with suppress(OSError):
                    carriers[name].look()

    threading.Thread(target=keep, daemon=True, name="carriers").start()
