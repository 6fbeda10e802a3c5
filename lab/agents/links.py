"""What a host does when a pNIC's link goes or comes back: ports move, rows follow (TEAM-F-1, TEAM-F-2, TEAM-F-6)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from lab.errors import SystemRefused
from lab.model import Topology
from lab.plan import compile_plan
from lab.realise import netlink
from lab.realise.net import Network
from lab.state import PortKey, State, with_links_down


class LinkAgent:
    """Holds the lab's State and changes it as carriers change. All boxes are watched by one thread."""

    def __init__(self, topology: Topology, state: State, network: Network) -> None:
        self.topology = topology
        self.network = network
        self.events: list[dict[str, object]] = []
        self._state = state
        self._changed = threading.Condition()
        self._boxes = [node for node in network.plan.nodes if node.is_box]
        self._watch = netlink.LinkWatch({box.name: network.namespaces[box.name] for box in self._boxes})
        self._down: dict[str, frozenset[PortKey]] = {}
        self._look(box.name for box in self._boxes)

    @property
    def state(self) -> State:
        with self._changed:
            return self._state

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            changed = self._watch.wait(3600)
            with self._changed:
                self._look(changed)
                self._changed.notify_all()

    def _look(self, boxes: Iterable[str]) -> None:
        for box in boxes:
            labels = {i.name: i.label for i in self.network.plan.node_named[box].interfaces}
            dark = netlink.without_carrier(self.network.namespaces[box])
            self._down[box] = frozenset((box, labels[name]) for name in dark if name in labels)
        down = frozenset[PortKey]().union(*self._down.values())
        if down != self._state.links_down:
            self._apply(with_links_down(self.topology, self._state, down))

    def _apply(self, state: State) -> None:
        before = self._state
        for key in before.links_down ^ state.links_down:
            self._event("link", port=f"{key[0]}:{key[1]}", up=key not in state.links_down)
        for key, uplink in state.uplink_of.items():
            if uplink != before.uplink_of.get(key):
                self._event("failover", port=f"{key[0]}:{key[1]}", uplink=uplink, was=before.uplink_of.get(key))
        self.network.replan(compile_plan(self.topology, state))
        self._state = state

    def _event(self, kind: str, **facts: object) -> None:
        self.events.append({"time_ns": time.time_ns(), "event": kind, **facts})

    def set_link(self, far: PortKey, near: PortKey, up: bool, seconds: float = 10.0) -> None:
        """Take the far end down or up and wait until `near`'s carrier has been seen and the rows are right."""
        node = self.network.plan.node_named[far[0]]
        netlink.set_link(self.network.namespaces[far[0]], node.interface(far[1]).name, up)
        with self._changed:
            if not self._changed.wait_for(lambda: (near not in self._state.links_down) == up, seconds):
                raise SystemRefused(f"{near[0]}:{near[1]} did not go {'up' if up else 'down'} within {seconds:g} s")
