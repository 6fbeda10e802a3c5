"""What guests do to their adapters, and the switch gets to know: MAC, promiscuous mode, multicast filter (SEC-2, SEC-9,
SEC-10, FWD-19). Each client port's guest is looked at from outside; nothing runs in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from lab.agents.events import Moment
from lab.agents.present import Present
from lab.model import PortKey, Topology
from lab.realise.filters import MulticastFilter
from lab.realise.linkwatch import LinkWatch
from lab.state import FIRST_GROUPS, State

_IPV6 = "33:33:"
_ALL_NODES = "33:33:00:00:00:01"


@dataclass(frozen=True)
class _Adapter:
    """A vNIC or vmknic: its Linux name in its node, the client port it is on, its configured MAC."""

    interface: str
    port: PortKey
    mac: str


@dataclass
class _Seen:
    """What differs from an adapter that nobody has touched, by port; as in `State`."""

    macs: dict[PortKey, str] = field(default_factory=dict)
    promiscuous: set[PortKey] = field(default_factory=set)
    all_groups: set[PortKey] = field(default_factory=set)
    groups: dict[PortKey, frozenset[str]] = field(default_factory=dict)
    down: set[PortKey] = field(default_factory=set)

    def move(self, moved: Mapping[PortKey, PortKey]) -> None:
        for old, new in moved.items():
            if old in self.macs:
                self.macs[new] = self.macs.pop(old)
            if old in self.groups:
                self.groups[new] = self.groups.pop(old)
            for ports in (self.promiscuous, self.all_groups, self.down):
                if old in ports:
                    ports.remove(old)
                    ports.add(new)

    def onto(self, state: State) -> State:
        return replace(
            state,
            macs=MappingProxyType(dict(self.macs)),
            promiscuous=frozenset(self.promiscuous),
            groups=MappingProxyType({port: groups for port, groups in self.groups.items() if port not in self.down}),
            all_groups=frozenset(self.all_groups),
        )


class GuestAgent:
    """Its methods are for whoever watches; they hold the lock of `present`."""

    def __init__(self, present: Present, watch: LinkWatch) -> None:
        self.present = present
        self._watch = watch
        self._adapters = self._of(present.topology)
        self._filters = {node: MulticastFilter(present.network.namespaces[node]) for node in self._adapters}
        self._seen = _Seen()
        self.look(self._adapters)

    def _of(self, topology: Topology) -> dict[str, list[_Adapter]]:
        adapters: dict[str, list[_Adapter]] = {}
        for nic in (*topology.vmknics, *topology.vnics):
            name = self.present.network.interface_name(nic.node, nic.name)
            adapters.setdefault(nic.node, []).append(_Adapter(name, (nic.host, nic.port), nic.mac))
        return adapters

    def update(self, topology: Topology) -> None:
        """Ports are where this topology has them; what their guests do has gone with them."""
        with self.present.lock:
            before, self._adapters = self._adapters, self._of(topology)
            pairs = (pair for node in before for pair in zip(before[node], self._adapters[node], strict=True))
            self._seen.move({old.port: new.port for old, new in pairs if old.port != new.port})

    def look(self, nodes: Collection[str] | None = None) -> None:
        """At the adapters of those nodes that have client ports (None: of all), at every filter that is different."""
        with self.present.lock:
            for node in self._adapters if nodes is None else self._adapters.keys() & set(nodes):
                for adapter in self._adapters[node]:
                    self._look_at(node, adapter)
            self.look_at_filters()

    def look_at_filters(self) -> None:
        """The kernel tells no change of them: 2 ms for a thousand guests."""
        with self.present.lock:
            for node, filter_ in self._filters.items():
                if filter_.changed():
                    self._take(self._adapters[node], filter_.groups())
            self.present.observe(self._onto)

    def _onto(self, now: Moment) -> State:
        return self._seen.onto(now.state)

    def _look_at(self, node: str, adapter: _Adapter) -> None:
        link = self._watch.link(node, adapter.interface)
        if link is None:
            return
        seen, port = self._seen, adapter.port
        if link.mac == adapter.mac:
            seen.macs.pop(port, None)
        else:
            seen.macs[port] = link.mac
        for ports, there in (
            (seen.promiscuous, link.promiscuous),
            (seen.all_groups, link.all_multicast),
            (seen.down, not link.up),  # an adapter that is off has no filter, and hears nothing anyway
        ):
            (ports.add if there else ports.discard)(port)

    def _take(self, adapters: Iterable[_Adapter], groups: dict[str, frozenset[str]]) -> None:
        for adapter in adapters:
            wanted = _speaking(groups.get(adapter.interface, frozenset()))
            if wanted == FIRST_GROUPS:
                self._seen.groups.pop(adapter.port, None)
            else:
                self._seen.groups[adapter.port] = wanted


def _speaking(groups: frozenset[str]) -> frozenset[str]:
    """Linux joins IPv6's all nodes even where IPv6 is off; a guest that speaks it has groups of its own as well."""
    only = {group for group in groups if group.startswith(_IPV6)} == {_ALL_NODES}
    return groups - {_ALL_NODES} if only else groups
