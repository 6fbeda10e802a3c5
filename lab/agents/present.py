"""The one holder of a running lab's topology, State and plan. Agents tell it what they saw, the editor what is wanted;
each change is one compile and one bundle for each switch that changes, and only then what others see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace

from lab.agents.events import EventLog, Moment, events_between
from lab.errors import SystemRefused
from lab.model import ClientPort, PortKey, Topology
from lab.plan import compile_plan
from lab.realise.difference import BridgeChange, moves_between
from lab.realise.moving import Captures, migrate
from lab.realise.net import Network
from lab.state import State
from lab.teaming import settled, with_links_down

Follower = Callable[[Moment, Moment], None]
"""Is told (before, after) of each change, in the thread that made it and before anybody else can change more."""


class Present:
    """Safe in threads. `lock` may be held over several calls that belong together."""

    def __init__(self, topology: Topology, state: State, network: Network) -> None:
        self.network = network
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._now = Moment(topology, state)
        self._events = EventLog(topology.speedup)
        self._followers: list[Follower] = []

    @property
    def now(self) -> Moment:
        return self._now

    @property
    def topology(self) -> Topology:
        return self._now.topology

    @property
    def state(self) -> State:
        return self._now.state

    def follow(self, follower: Follower) -> None:
        self._followers.append(follower)

    # -- changing

    def observe(self, state_after: Callable[[Moment], State]) -> None:
        """The lab is so now: it is believed even when a switch does not take its rows, which becomes an event."""
        with self.lock:
            after = replace(self._now, state=state_after(self._now))
            if after.state == self._now.state:
                return
            try:
                self.network.replan(compile_plan(after.topology, after.state))
            except SystemRefused as error:
                self._events.add("refused", text=str(error))
            self._publish(after)

    def intend(self, topology: Topology, **told: object) -> tuple[BridgeChange, ...]:
        """The same lab with other policies; `told` is what its event says. Raises UsageError when that is not the same
        lab, SystemRefused when a switch did not take it; then everything is as before."""
        with self.lock:
            state = with_links_down(topology, self.state, self.state.links_down)
            plan, before = compile_plan(topology, state), self.network.plan
            self.network.check_shape(plan)
            try:
                changes = self.network.replan(plan)
                self.network.relink(before)
            except SystemRefused:
                with suppress(SystemRefused):
                    self.network.replan(before)
                raise
            self._events.add("set", **told)
            self._publish(Moment(topology, state))
            return changes

    def migrate(self, topology: Topology, captures: Captures, **told: object) -> None:
        """The same lab with VMs on other hosts; `told` is what its event says. `captures` follow the ports.
        Raises UsageError when more than ports would have to move, SystemRefused; then everything is as before."""
        with self.lock:
            were = {port.nic.label: key for key, port in _client_ports(self.topology)}
            are = {port.nic.label: key for key, port in _client_ports(topology)}
            moved = {were[label]: key for label, key in are.items() if were[label] != key}
            state = settled(topology, self.state.with_ports_moved(moved))
            plan = compile_plan(topology, state)
            migrate(self.network, plan, moves_between(self.network.plan, plan), captures)
            self._events.add("vmotion", **told)
            self._publish(Moment(topology, state))

    def set_discarding(self, switch: str, ports: Collection[str]) -> None:
        """Spanning tree keeps exactly these ports of a pSwitch from forwarding."""

        def after(now: Moment) -> State:
            others = {key for key in now.state.discarding if key[0] != switch}
            return replace(now.state, discarding=frozenset(others | {(switch, port) for port in ports}))

        self.observe(after)

    def _publish(self, after: Moment) -> None:
        before, self._now = self._now, after
        for kind, facts in events_between(before, after):
            self._events.add(kind, **facts)
        for follower in self._followers:
            try:
                follower(before, after)
            except SystemRefused as error:
                self._events.add("refused", text=str(error))
        self._changed.notify_all()

    # -- telling

    def event(self, kind: str, **facts: object) -> None:
        with self.lock:
            self._events.add(kind, **facts)
            self._changed.notify_all()

    def events(self, after: int = 0, seconds: float = 0) -> list[dict[str, object]]:
        """Events from number `after` on; when there is none yet, waits so long for one."""
        deadline = time.monotonic() + seconds
        with self.lock:
            while not (found := self._events.since(after)) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return found

    def wait_for(self, fact: Callable[[State], bool], seconds: float) -> bool:
        """True once the State is so; False after `seconds`."""
        with self.lock:
            return self._changed.wait_for(lambda: fact(self.state), seconds)


def _client_ports(topology: Topology) -> Iterator[tuple[PortKey, ClientPort]]:
    for part in topology.host_switches.values():
        yield from (((part.host, port.name), port) for port in part.ports)
