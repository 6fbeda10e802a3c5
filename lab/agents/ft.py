"""Fault tolerance: what a primary hears and what changes in its memory goes to a secondary on another host; when the
primary's host fails, the secondary takes over with the same MAC (VMK-2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from lab.agents.memory import Guest, Memories, Ram
from lab.agents.precopy import NET_TIMEOUT_SECONDS, connected
from lab.agents.present import Present
from lab.errors import LabError, SystemRefused, UsageError
from lab.model import Nic, Topology
from lab.realise.packets import PacketSocket
from lab.topology.distance import FT_LOGGING, SMP_FT, ft_warnings
from lab.topology.migration import adapters_of, network_refusals
from lab.topology.releases import since
from traffic.vmotion import Key, Sender

EPOCH_SECONDS = 0.1
"""Between two times that the secondary is made like the primary; what the primary wrote since is lost with it."""
_MOST_INPUTS = 4096


@dataclass
class Protection:
    """Of one VM. `inputs` and `pages` count what went to the secondary so far; `broken` says why nothing goes any
    more."""

    vm: str
    primary: str
    secondary: str
    guest: Guest
    ram: Ram
    stop: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    sender: Sender | None = None
    inputs: int = 0
    pages: int = 0
    bytes: int = 0
    broken: str = ""

    def facts(self) -> dict[str, Any]:
        names = ("vm", "primary", "secondary", "inputs", "pages", "bytes", "broken")
        return {name: getattr(self, name) for name in names}


class FaultTolerance:
    """By VM. `take_over` puts a VM's ports on another host."""

    def __init__(self, present: Present, memories: Memories, take_over: Callable[[str, str], None]) -> None:
        self._present = present
        self._network = present.network
        self._memories = memories
        self._move = take_over
        self._all: dict[str, Protection] = {}

    def protects(self, vm: str) -> Protection | None:
        return self._all.get(vm)

    def facts(self) -> list[dict[str, Any]]:
        return [one.facts() for one in self._all.values()]

    def on(self, topology: Topology, vm: str, host: str) -> dict[str, Any]:
        """Returns when the secondary is like the primary. Raises UsageError with every reason against it,
        SystemRefused."""
        reasons = list(_refusals(topology, vm, host, vm in self._all))
        if reasons:
            raise UsageError("\n".join(f"FT for {vm} on {host} is refused: {why}" for why in reasons))
        guest = self._memories.started(topology.vms[vm])
        one = Protection(vm, topology.vms[vm].host, host, guest, self._memories.new_ram(topology.vms[vm]))
        one.thread = threading.Thread(target=self._run, args=(one, topology), name=f"ft {vm}", daemon=True)
        one.thread.start()
        one.ready.wait(NET_TIMEOUT_SECONDS)
        if one.broken or not one.ready.is_set():
            self._end(one)
            raise SystemRefused(f"FT for {vm}: {one.broken or 'the secondary was not ready in time'}")
        self._all[vm] = one
        self._present.event("ft", vm=vm, primary=one.primary, secondary=host, what="protected")
        return {**one.facts(), "warnings": list(ft_warnings(topology, one.primary, host))}

    def off(self, vm: str) -> dict[str, Any]:
        if vm not in self._all:
            raise UsageError(f"FT for {vm} is not on")
        one = self._all.pop(vm)
        self._end(one)
        return one.facts()

    def failed(self, hosts: Collection[str]) -> list[dict[str, Any]]:
        """Hosts are gone: the secondaries of their VMs take over, and VMs whose secondary was there are not protected
        any more."""
        taken = []
        for one in [one for one in self._all.values() if {one.primary, one.secondary} & set(hosts)]:
            del self._all[one.vm]
            self._stop(one)
            if one.secondary in hosts:
                one.ram.close()
                self._present.event("ft", vm=one.vm, secondary=one.secondary, what="secondary lost")
            else:
                taken.append(self._take_over(one))
        return taken

    def _take_over(self, one: Protection) -> dict[str, Any]:
        begin = time.monotonic()
        with one.guest.writing:
            one.guest.ask("stun")
            self._move(one.vm, one.secondary)
            self._memories.take_over(one.guest, one.ram)
        milliseconds = round((time.monotonic() - begin) * 1000, 1)
        self._present.event("ft", vm=one.vm, primary=one.secondary, was=one.primary, what="taken over")
        return {**one.facts(), "milliseconds": milliseconds}

    def _end(self, one: Protection) -> None:
        self._stop(one)
        one.ram.close()

    @staticmethod
    def _stop(one: Protection) -> None:
        """An epoch that is under way is not waited for: with the host, its connection is gone."""
        one.stop.set()
        if one.sender is not None:
            one.sender.abort()
        if one.thread is not None:
            one.thread.join(NET_TIMEOUT_SECONDS)

    def _run(self, one: Protection, topology: Topology) -> None:
        pairs = list(zip(*(adapters_of(topology, h, FT_LOGGING) for h in (one.primary, one.secondary)), strict=False))
        key = Key.new() if topology.knobs.ft_encrypt != "off" else None
        port = 8300 if since(topology.release, SMP_FT) else 8100  # SMP-FT has a port of its own
        try:
            with ExitStack() as stack:
                ears = list(self._ears(topology.vms[one.vm].nics))
                for ear in ears:
                    stack.callback(ear.close)
                timeout = max(NET_TIMEOUT_SECONDS / topology.speedup, 2.0)
                way = connected(self._network, pairs[:1], Epochs(one.ram), key, timeout, port)
                one.sender = stack.enter_context(way)[0]
                self._stream(one, one.sender, ears)
        except LabError as error:
            one.broken = "" if one.stop.is_set() else str(error)
        finally:
            one.ready.set()

    def _ears(self, nics: tuple[Nic, ...]) -> Iterator[PacketSocket]:
        for nic in nics:
            yield PacketSocket(self._network.namespaces[nic.node], self._network.interface_name(nic.node, nic.name))

    def _stream(self, one: Protection, sender: Sender, ears: list[PacketSocket]) -> None:
        known: dict[int, bytes] = {}
        while not one.stop.is_set():
            inputs = [frame for ear in ears for frame in _heard(ear)]
            pages = one.guest.ram.changed(known)
            for frame in inputs:
                sender.input(frame)
            sender.pages(pages)
            sender.end_round()
            one.inputs, one.pages, one.bytes = one.inputs + len(inputs), one.pages + len(pages), sender.sent
            one.ready.set()
            one.stop.wait(EPOCH_SECONDS)


class Epochs:
    """The secondary's memory: an epoch is in it whole or not at all."""

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        self._coming: dict[int, bytes] = {}

    def write(self, number: int, data: bytes) -> None:
        self._coming[number] = data

    def commit(self) -> None:
        coming, self._coming = self._coming, {}
        for number, data in coming.items():
            self._ram.write(number, data)


def _heard(ear: PacketSocket) -> Iterator[bytes]:
    for _ in range(_MOST_INPUTS):
        frame = ear.receive()
        if frame is None:
            return
        yield frame


def _refusals(topology: Topology, vm: str, host: str, already: bool) -> Iterator[str]:
    if vm not in topology.vms or host not in topology.hosts:
        yield f"no VM {vm!r}" if vm not in topology.vms else f"no host {host!r}"
        return
    if already:
        yield "it is on already"
    if topology.vms[vm].host == host:
        yield f"the primary is on {host}"
        return
    for end in (topology.vms[vm].host, host):
        if not adapters_of(topology, end, FT_LOGGING):
            yield f"{end} has no vmkernel adapter with an address and the service {FT_LOGGING}"
    yield from network_refusals(topology, vm, host)
