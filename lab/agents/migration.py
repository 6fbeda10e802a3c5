"""vMotion: what vSphere refuses, the guest's memory over the wire, and the port's move at the end (VMO)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.agents.policy import PolicyEditor
from lab.agents.present import Present
from lab.agents.watch import Watch
from lab.errors import UsageError
from lab.model import Topology
from lab.realise.difference import Move
from lab.topology.edit import Edit
from lab.topology.migration import differences, refusals
from lab.topology.words import suggestion


class Captures(Protocol):
    """Those that run, and hear ports."""

    def leave(self, node: str, label: str) -> list[int]: ...

    def arrive(self, numbers: Sequence[int], source: str, node: str, label: str) -> None: ...


@dataclass(frozen=True)
class Moved:
    """A vMotion that is done. `version`: how many changes the topology has had; `switch_over_ms`: from the last moment
    that the VM's ports were on the source to the first that all of them were on the destination."""

    vm: str
    source: str
    target: str
    version: int
    switch_over_ms: float
    warnings: tuple[str, ...]


class Migrator:
    """One vMotion at a time."""

    def __init__(self, present: Present, watch: Watch, policy: PolicyEditor, captures: Captures) -> None:
        self._present = present
        self._watch = watch
        self._policy = policy
        self._captures = captures
        self._one = threading.Lock()

    def vmotion(self, vm: str, host: str) -> Moved:
        """Raises UsageError for what vSphere refuses, with every reason; SystemRefused; nothing is moved then."""
        with self._one:
            topology = self._present.topology
            check(topology, vm, host)
            told = differences(topology, vm, host)
            version, milliseconds = self._switch_over(vm, host)
            self._watch.catch_up()
            return Moved(vm, topology.vms[vm].host, host, version, milliseconds, told)

    def _switch_over(self, vm: str, host: str) -> tuple[int, float]:
        edits: list[Edit] = [(("vms", vm, "host"), host)]
        with self._present.lock:
            self._watch.catch_up(whole=False)
            before = self._present.topology
            edition = self._policy.edition.with_edits(edits)
            ports = [nic.port for nic in before.vms[vm].nics]
            source = before.vms[vm].host
            heard = {port: self._captures.leave(source, port) for port in ports}

            def arriving(move: Move) -> None:
                self._captures.arrive(heard[move.label], move.source, move.target, move.label)

            begin = time.monotonic()
            self._present.migrate(edition.topology, arriving, vm=vm, source=source, target=host)
            milliseconds = (time.monotonic() - begin) * 1000
            return self._policy.keep(edition, edits), milliseconds


def check(topology: Topology, vm: str, host: str) -> None:
    """Raises UsageError with every reason why this VM cannot move to this host."""
    unknown = [
        f"no {kind} {name!r}" + (f" ({hint})" if (hint := suggestion(name, list(known))) else "")
        for kind, name, known in (("VM", vm, topology.vms), ("host", host, topology.hosts))
        if name not in known
    ]
    reasons = unknown or [f"vMotion of {vm} to {host} is refused: {why}" for why in refusals(topology, vm, host)]
    if reasons:
        raise UsageError("\n".join(reasons))
