"""vMotion: what vSphere refuses, the guest's memory over the wire, and the port's move at the end (VMO)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from lab.agents.counted import Counted
from lab.agents.memory import Guest, Memories
from lab.agents.policy import PolicyEditor
from lab.agents.precopy import NET_TIMEOUT_SECONDS, Precopy, connected
from lab.agents.present import Present
from lab.agents.reach import Stream, peer_of
from lab.agents.watch import Watch
from lab.errors import UsageError
from lab.model import Nic, Topology
from lab.realise.moving import Captures as MovedCaptures
from lab.topology import warnings
from lab.topology.distance import latency_aware, round_trip
from lab.topology.edit import Edit
from lab.topology.migration import VMOTION, adapters_of, differences, refusals
from lab.topology.releases import since
from lab.topology.words import suggestion
from traffic.vmotion import Key

REACHED_SECONDS = 2.0
"""For so long the stream waits to be heard again."""
SLOWED_SINCE = "5.0"
"""Stun during page send."""


class Captures(MovedCaptures, Protocol):
    """Those that run, and hear ports."""

    def prepare(self, node: str, label: str) -> None: ...


@dataclass(frozen=True)
class Moved:
    """A vMotion that is done. `version`: how many changes the topology has had; `latency_aware`: the way there and back
    was left out of what copying took (VMO-10); `rounds`: pages, bytes and seconds of each, the last with the guest
    stunned; `stunned_ms`: how long it was; `switch_over_ms`: the part of that in which its ports moved; `reach`: what a
    stream of frames to the VM saw, None when nobody could send one."""

    vm: str
    source: str
    target: str
    version: int
    encrypted: bool
    latency_aware: bool
    adapters: tuple[tuple[str, str], ...]
    bytes: int
    rounds: tuple[dict[str, Any], ...]
    seconds: float
    stunned_ms: float
    switch_over_ms: float
    reach: dict[str, Any] | None
    tokens: tuple[str, ...]
    warnings: tuple[str, ...]


class Migrator:
    """One vMotion at a time."""

    def __init__(
        self, present: Present, watch: Watch, policy: PolicyEditor, captures: Captures, memories: Memories,
        counted: Counted,
    ) -> None:  # fmt: skip
        self._present = present
        self._watch = watch
        self._policy = policy
        self._captures = captures
        self._memories = memories
        self._counted = counted
        self._one = threading.Lock()

    def vmotion(self, vm: str, host: str) -> Moved:
        """Raises UsageError for what vSphere refuses, with every reason; SystemRefused; nothing is moved then."""
        with self._one:
            topology = self._present.topology
            check(topology, vm, host)
            begin = time.monotonic()
            with self._watched(topology, vm) as reach:
                facts = self._move(topology, vm, host)
            seconds = round(time.monotonic() - begin, 3)
            self._watch.catch_up()
            fresh = [line for line in warnings(self._present.topology) if line not in warnings(topology)]
            told = (*differences(topology, vm, host), *fresh)
            return Moved(**facts, seconds=seconds, reach=reach or None, warnings=told)

    def _move(self, topology: Topology, vm: str, host: str) -> dict[str, Any]:
        source = topology.vms[vm].host
        pairs = _pairs(topology, source, host)
        key = Key.new() if topology.knobs.vmotion_encrypt != "off" else None
        guest = self._memories.started(topology.vms[vm])
        target = self._memories.new_ram(topology.vms[vm])
        timeout = max(NET_TIMEOUT_SECONDS / topology.speedup, 2.0)
        aware, away = latency_aware(topology, source, host), round_trip(topology, source, host) or 0.0
        try:
            with connected(self._present.network, pairs, target, key, timeout) as senders:
                copy = Precopy(guest, target, senders, away if aware else 0.0)
                if not copy.copy(since(topology.release, SLOWED_SINCE)):
                    raise UsageError(
                        f"vMotion of {vm} to {host} is given up: its memory changes faster than it is copied"
                    )
                self._prepare(topology, vm)
                facts = self._stunned(topology, guest, copy, host)
        except BaseException:
            if guest.ram is not target:
                target.close()
            raise
        return {
            "vm": vm, "source": source, "target": host, "encrypted": key is not None, "bytes": copy.bytes_sent,
            "latency_aware": aware,
            "adapters": tuple((a.label, b.label) for a, b in pairs),
            "rounds": tuple(asdict(done) for done in copy.rounds), "tokens": tuple(t.hex() for t in guest.tokens),
            **facts,
        }  # fmt: skip

    def _stunned(self, topology: Topology, guest: Guest, copy: Precopy, host: str) -> dict[str, Any]:
        """The last pages go, the ports move, the guest goes on; on the source again when something fails."""
        with guest.writing:
            begin = time.monotonic()
            guest.ask("stun")
            try:
                copy.finish(_devices(topology.vms[guest.vm].nics))
                version, milliseconds = self._switch_over(guest.vm, host)
            except BaseException:
                guest.ask("resume", "")
                raise
            self._memories.take_over(guest, copy.target)
            stunned = round((time.monotonic() - begin) * 1000, 1)
            return {"version": version, "stunned_ms": stunned, "switch_over_ms": round(milliseconds, 1)}

    def take_over(self, vm: str, host: str) -> None:
        """The VM's ports are on another host when this returns, as when its own has failed. Raises SystemRefused."""
        with self._one:
            self._prepare(self._present.topology, vm)
            self._switch_over(vm, host)

    def _prepare(self, topology: Topology, vm: str) -> None:
        for nic in topology.vms[vm].nics:
            self._captures.prepare(topology.vms[vm].host, nic.port)

    def _switch_over(self, vm: str, host: str) -> tuple[int, float]:
        edits: list[Edit] = [(("vms", vm, "host"), host)]
        with self._present.lock:
            before = self._present.topology
            edition = self._policy.edition.with_edits(edits)
            source = before.vms[vm].host
            begin = time.monotonic()
            told = {"vm": vm, "source": source, "target": host}
            self._present.migrate(edition.topology, self._captures, **told)
            milliseconds = (time.monotonic() - begin) * 1000
            version = self._policy.keep(edition, edits)
            self._counted.moved(before, edition.topology, vm)
            return version, milliseconds

    @contextmanager
    def _watched(self, topology: Topology, vm: str) -> Iterator[dict[str, Any]]:
        """A stream of frames to the VM meanwhile; what it saw is in the dict afterwards."""
        reach: dict[str, Any] = {}
        peer = peer_of(topology, vm)
        if peer is None:
            yield reach
            return
        sender, receiver = peer
        stream = Stream(self._present.network, sender, receiver)
        try:
            yield reach
        finally:
            stream.wait_reached(REACHED_SECONDS)
            label = sender.label if isinstance(sender, Nic) else sender.name
            reach.update({"from": label, "to": receiver.label, **stream.end()})


def _pairs(topology: Topology, source: str, target: str) -> list[tuple[Nic, Nic]]:
    """vMotion adapters of both hosts that talk to each other, in file order (VMK-7)."""
    here, there = (adapters_of(topology, host, VMOTION) for host in (source, target))
    return list(zip(here, there, strict=False))


def _devices(nics: Sequence[Nic]) -> bytes:
    return json.dumps([{"adapter": nic.name, "mac": nic.mac, "network": nic.port_group} for nic in nics]).encode()


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
