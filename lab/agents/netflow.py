"""NetFlow and IPFIX: Open vSwitch looks at frames and counts, this agent keeps the flows and tells the collector.

Open vSwitch hands its counts over every second, in the box's own namespace, which has no address; it knows neither an
idle timeout nor NetFlow version 5 for single ports. So flows are put together here, with both timeouts, and leave from
the host's vmkernel node.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from lab.errors import SystemRefused
from lab.model import Netflow, Topology
from lab.plan.clients import FIRST_CLIENT
from lab.plan.netflow import COLLECTOR_SET, netflow_of
from lab.plan.types import Bridge
from lab.realise.net import Network
from lab.realise.run import inside, run
from traffic.netflow import ACCESS, IPFIX, UPLINK, V5, Ended, Exporter, Flow, FlowKey, IpfixReader, Report, Sample

HELD_SECONDS = 1
"""For so long Open vSwitch gathers the frames of a flow before it tells of them."""
_LATE_NS = 500_000_000
"""Beyond that, before a flow of which nothing more was heard counts as idle."""
_MOST_FLOWS = 65536
_ROOM = 4 * 1024 * 1024
_TICK_MS = 250.0
_TURN = 1024
_FOR_EVER = 1 << 63
_V5_RELEASES = ("5.0",)
_SO_RCVBUFFORCE = 33

Tell = Callable[..., None]
"""(kind of event, facts by keyword)."""


class FlowCache:
    """Flows under way. A flow is told of when it has been idle, and at least every `active_ns`."""

    def __init__(self, active_ns: int, idle_ns: int) -> None:
        self._active = active_ns
        self._idle = idle_ns
        self._flows: dict[FlowKey, Flow] = {}

    def __len__(self) -> int:
        return len(self._flows)

    def add(self, key: FlowKey, more: Flow) -> Iterator[tuple[FlowKey, Flow, Ended]]:
        """Gives the flow that was over before this began, or that had to make room."""
        present = self._flows.get(key)
        if present is not None and more.first_ns - present.last_ns >= self._idle:
            yield key, self._flows.pop(key), Ended.IDLE
        elif present is not None:
            present.add(more)
            return
        elif len(self._flows) >= _MOST_FLOWS:
            oldest = next(iter(self._flows))
            yield oldest, self._flows.pop(oldest), Ended.ACTIVE
        self._flows[key] = more

    def ended(self, now_ns: int) -> Iterator[tuple[FlowKey, Flow, Ended]]:
        """Those that are due, taken out. What Open vSwitch may still hold keeps a flow from being idle."""
        quiet = now_ns - self._idle - HELD_SECONDS * 10**9 - _LATE_NS
        for key, flow in list(self._flows.items()):
            if flow.last_ns <= quiet:
                yield key, self._flows.pop(key), Ended.IDLE
            elif flow.first_ns <= now_ns - self._active:
                yield key, self._flows.pop(key), Ended.ACTIVE


@dataclass
class _Host:
    """One host's part of a switch that exports flows: where Open vSwitch tells of them, and the host's way out."""

    name: str
    switch: str
    numbers: dict[str, int]
    ear: socket.socket
    way_out: socket.socket
    netflow: Netflow
    exporter: Exporter
    cache: FlowCache
    reader: IpfixReader = field(default_factory=IpfixReader)
    refused: str = ""

    def hear(self, now_ns: int) -> list[Report]:
        """Takes in what Open vSwitch has said; gives flows that it showed to be over."""
        over: list[Report] = []
        for _ in range(_TURN):
            try:
                message = self.ear.recv(65536)
            except OSError:
                break
            with suppress(ValueError):
                for sample in self.reader.samples(message, now_ns):
                    over += [_report(*ended) for ended in self.cache.add(_key(sample, self.numbers), sample.flow)]
        return over


def _key(sample: Sample, numbers: dict[str, int]) -> FlowKey:
    key = sample.key
    came_by, leaves_by = numbers.get(sample.came_by, 0), numbers.get(sample.leaves_by, 0)
    return FlowKey(key.src, key.dst, key.protocol, key.src_port, key.dst_port, key.tos, came_by, leaves_by)


def _report(key: FlowKey, flow: Flow, ended: Ended) -> Report:
    came_by, leaves_by = (ACCESS if number >= FIRST_CLIENT else UPLINK for number in (key.input, key.output))
    return Report(key, flow, ended, (came_by, leaves_by))


class NetflowAgent:
    """One thread for all hosts. What cannot be sent becomes one event, told to `tell`. `speedup` shrinks timeouts."""

    def __init__(
        self, topology: Topology, network: Network, speedup: float = 1.0, tell: Tell = lambda _kind, **_facts: None
    ) -> None:
        self.network = network
        self.speedup = speedup
        self._tell = tell
        self._changed = threading.Lock()
        self._hosts: dict[tuple[str, str], _Host] = {}
        self._heard: dict[int, _Host] = {}
        self._poll = select.poll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.POLLIN)
        self.update(topology)

    def update(self, topology: Topology) -> None:
        """Export as this topology says, from now on; what was counted by other settings is told of first."""
        parts = {(part.host, part.name): netflow_of(topology, part) for part in topology.host_switches.values()}
        wanted = {key: netflow for key, netflow in parts.items() if netflow is not None}
        with self._changed:
            for key, host in self._hosts.items():
                if wanted.get(key) != host.netflow:
                    self._export(host, [_report(*ended) for ended in host.cache.ended(_FOR_EVER)])
                if key in wanted:
                    host.numbers = self._numbers(*key)
                    self._set(host, wanted[key])
            new = [key for key in wanted if key not in self._hosts]
            with ThreadPoolExecutor() as pool:
                opened = pool.map(lambda key: self._open(key[0], key[1], wanted[key], topology.release), new)
                for key, host in zip(new, opened, strict=True):
                    self._hosts[key] = self._heard[host.ear.fileno()] = host
                    self._poll.register(host.ear, select.POLLIN)
        os.eventfd_write(self._wake, 1)

    def _set(self, host: _Host, netflow: Netflow) -> None:
        if host.netflow != netflow:
            host.netflow, host.refused = netflow, ""
            host.cache = self._cache(netflow)
            host.exporter.domain, host.exporter.sampling = netflow.domain, netflow.sampling

    def _numbers(self, host: str, switch: str) -> dict[str, int]:
        """Of the switch's ports now: vMotion brings some and takes others away."""
        bridge = next(b for b in self.network.plan.bridges_of(host) if b.label == switch)
        return {port.interface: port.number for port in bridge.ports}

    def _cache(self, netflow: Netflow) -> FlowCache:
        active, idle = (int(s * 10**9 / self.speedup) for s in (netflow.active_timeout, netflow.idle_timeout))
        return FlowCache(active, idle)

    def _open(self, name: str, switch: str, netflow: Netflow, release: str) -> _Host:
        bridge = next(b for b in self.network.plan.bridges_of(name) if b.label == switch)
        try:
            with inside(self.network.namespaces[name]):
                ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            with suppress(OSError):  # beyond the system's limit, where the kernel lets a namespace's root do that
                ear.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
            ear.bind(("127.0.0.1", 0))
            with inside(self.network.namespaces[f"{name}-vmk"]):
                way_out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise SystemRefused(f"{name}: {error.strerror}") from error
        self._tell_switch(name, bridge, ear.getsockname()[1])
        version = V5 if release in _V5_RELEASES else IPFIX
        exporter = Exporter(version, netflow.domain, netflow.sampling, time.time_ns())
        return _Host(name, switch, self._numbers(name, switch), ear, way_out, netflow, exporter, self._cache(netflow))

    def _tell_switch(self, name: str, bridge: Bridge, port: int) -> None:
        """Where frames that `sample` actions pick are to be told of; somebody listens there already."""
        ovs = self.network.ovs(name)
        words = [
            "--id=@bridge", "get", "Bridge", bridge.name,
            "--", "--id=@ipfix", "create", "IPFIX", f'targets="127.0.0.1:{port}"',
            f"cache_active_timeout={HELD_SECONDS}", f"cache_max_flows={_MOST_FLOWS}",
            "other_config:enable-tunnel-sampling=false",
            "--", "create", "Flow_Sample_Collector_Set", f"id={COLLECTOR_SET}", "bridge=@bridge", "ipfix=@ipfix",
        ]  # fmt: skip
        run(["ovs-vsctl", "--timeout=30", f"--db=unix:{ovs.directory}/db.sock", *words], env=ovs.environment)

    def start(self) -> None:
        threading.Thread(target=self._run, name="netflow", daemon=True).start()

    def _run(self) -> None:
        while True:
            busy = any(len(host.cache) for host in list(self._hosts.values()))
            ready = self._poll.poll(_TICK_MS if busy else None)
            try:
                with self._changed:
                    told = self._turn(fd for fd, _ in ready)
                for facts in told:
                    self._tell("netflow", **facts)
            except Exception as error:  # the next record has nothing to do with this one; the trace goes to the log
                threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))

    def _turn(self, ready: Iterable[int]) -> list[dict[str, str]]:
        """Hear what there is and send what is due; gives what is to be told."""
        over: dict[int, list[Report]] = {}
        for fd in ready:
            if fd == self._wake:
                os.eventfd_read(fd)
            else:
                over[fd] = self._heard[fd].hear(time.time_ns())
        now = time.time_ns()
        failed = []
        for fd, host in self._heard.items():
            due = over.get(fd, []) + [_report(*ended) for ended in host.cache.ended(now)]
            failed.append(self._export(host, due))
        return [facts for facts in failed if facts]

    def _export(self, host: _Host, reports: Sequence[Report]) -> dict[str, str]:
        """Facts of the failure when the collector cannot be reached; once, until it can or fails otherwise."""
        collector = (host.netflow.collector, host.netflow.port)
        for datagram in host.exporter.datagrams(reports, time.time_ns()):
            try:
                host.way_out.sendto(datagram, collector)
            except OSError as error:
                why, was = error.strerror or str(error), host.refused
                host.refused = why
                return {"host": host.name, "switch": host.switch, "to": collector[0], "why": why} if why != was else {}
            host.refused = ""
        return {}
