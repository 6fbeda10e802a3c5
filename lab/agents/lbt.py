"""Load-Based Teaming: once a window, each host's part of a distributed switch moves at most one port off an uplink
that is too busy (LBT-2 to LBT-12). The choice is `lab.uplinks.lbt_move`; this counts and acts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from lab.agents.events import Moment
from lab.agents.present import Present
from lab.agents.supervised import supervise
from lab.agents.timers import LOOK_SECONDS
from lab.errors import UsageError
from lab.model import HostSwitch, PortKey, Topology
from lab.realise.linkwatch import Counters, LinkQuery
from lab.state import State
from lab.teaming import settled
from lab.uplinks import LBT_PERIOD, LBT_THRESHOLD, Move, PortLoad, Traffic, UplinkLoad, lbt_move

POLICY = "loadbalance_loadbased"
THRESHOLDS = (0.10, 1.00)
PERIODS = (10.0, 86400.0)
"""As net-lbt has them (LBT-12); no window is longer than a day."""


@dataclass(frozen=True)
class Window:
    """What a window showed on one host's part of a switch, and the move that came of it."""

    host: str
    switch: str
    uplinks: Mapping[str, UplinkLoad]
    ports: Mapping[str, PortLoad]
    move: Move | None


@dataclass
class _Reading:
    """Counters of a box at a moment (monotonic seconds)."""

    at: float
    links: Mapping[str, Counters] = field(default_factory=dict)


class LbtAgent:
    """One thread for all hosts; `period` is nominal seconds."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self._query = LinkQuery(present.network.namespaces)
        self._changed = threading.Event()
        self.threshold, self.period = LBT_THRESHOLD, LBT_PERIOD
        self.windows: tuple[Window, ...] = ()
        self._before: dict[str, _Reading] = {}
        self.cpu_seconds = 0.0

    def start(self) -> None:
        supervise("lbt", self._run, self._present.event)

    def adjust(self, threshold: float | None, period: float | None) -> None:
        """From the next window on, which begins now. Raises UsageError."""
        low, high = THRESHOLDS
        if threshold is not None and not low <= threshold <= high:
            raise UsageError(f"the threshold is {low:.0%} to {high:.0%}")
        shortest, longest = PERIODS
        if period is not None and not shortest <= period <= longest:  # nan is neither
            raise UsageError(f"the period is {shortest:g} to {longest:g} s")
        self.threshold = threshold or self.threshold
        self.period = period or self.period
        self._changed.set()

    def report(self) -> dict[str, Any]:
        """As JSON has it; rates in bits per second as emulated."""
        return {
            "threshold": self.threshold,
            "period": self.period,
            "cpu_seconds": self.cpu_seconds,
            "windows": [_as_json(window) for window in self.windows],
        }

    def _run(self) -> None:
        self._begin()
        while True:
            end = time.monotonic() + self.period / self._present.topology.speedup
            while (left := end - time.monotonic()) > 0:
                if self._changed.wait(min(left, LOOK_SECONDS)):
                    break
            if self._changed.is_set():
                self._changed.clear()
                self._begin()
            else:
                self._evaluate()

    def _begin(self) -> None:
        self._before = {host: self._read(host) for host in self._hosts()}

    def _hosts(self) -> list[str]:
        return list(dict.fromkeys(part.host for part in _balanced(self._present.topology)))

    def _read(self, host: str) -> _Reading:
        return _Reading(time.monotonic(), self._query.counters(host))

    def _evaluate(self) -> None:
        started = time.thread_time()
        after = {host: self._read(host) for host in self._hosts()}
        with self._present.lock:
            now = self._present.now
            self.windows = tuple(
                self._window(now, part, self._before[part.host], after[part.host])
                for part in _balanced(now.topology)
                if part.host in self._before and part.host in after
            )
            moves = {(w.host, w.move.port): w.move.uplink for w in self.windows if w.move is not None}
            self.cpu_seconds = time.thread_time() - started
            if moves:
                self._place(moves)
        self._before = after

    def _window(self, now: Moment, part: HostSwitch, before: _Reading, after: _Reading) -> Window:
        network, state = self._present.network, now.state
        seconds = after.at - before.at

        def mean(label: str) -> Traffic:
            """Of a port of the box: sent and received are its own."""
            name = network.interface_name(part.host, label)
            old, new = before.links.get(name), after.links.get(name)
            if old is None or new is None:
                return Traffic()
            return Traffic((new.tx_bytes - old.tx_bytes) * 8 / seconds, (new.rx_bytes - old.rx_bytes) * 8 / seconds)

        pnics = now.topology.hosts[part.host].pnics
        scale = now.topology.speed_scale
        uplinks = {name: UplinkLoad(mean(name), pnics[name].speed.bits * scale) for name in part.uplinks}
        ports = {}
        for port in part.ports:
            uplink = state.uplink_of.get((part.host, port.name))
            usable = tuple(u for u in port.active if _usable(part, u, port.detection, state))
            if port.policy == POLICY and port.lag is None and uplink in usable:
                seen = mean(port.name)
                # What the switch's end of the cable receives is what the guest sends.
                ports[port.name] = PortLoad(uplink, usable, Traffic(seen.received, seen.sent))
        return Window(part.host, part.name, uplinks, ports, lbt_move(uplinks, ports, self.threshold))

    def _place(self, moves: Mapping[PortKey, str]) -> None:
        def after(now: Moment) -> State:
            placed = MappingProxyType({**now.state.placed, **moves})
            return settled(now.topology, replace(now.state, placed=placed))

        self._present.observe(after)


def _balanced(topology: Topology) -> Iterator[HostSwitch]:
    return (p for p in topology.host_switches.values() if any(port.policy == POLICY for port in p.ports))


def _usable(part: HostSwitch, uplink: str, detection: str, state: State) -> bool:
    key = (part.host, uplink)
    dead = detection == "beacon" and key in state.beacons_lost
    return not dead and not {key} & (state.links_down | state.unstable | state.settling)


def _as_json(window: Window) -> dict[str, Any]:
    return {
        "host": window.host,
        "switch": window.switch,
        "uplinks": [
            {"uplink": name, "sent": load.traffic.sent, "received": load.traffic.received, "share": load.share}
            for name, load in window.uplinks.items()
        ],
        "ports": [
            {"port": name, "uplink": load.uplink, "sent": load.traffic.sent, "received": load.traffic.received}
            for name, load in window.ports.items()
        ],
        "move": window.move and {"port": window.move.port, "uplink": window.move.uplink, "was": window.move.was},
    }
