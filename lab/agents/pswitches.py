"""What a physical switch does over time: it hears BPDUs where it guards against them (ATK-8), and its spanning tree
decides which of its ports forward."""

from __future__ import annotations

import re
import select
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from lab.errors import SystemRefused
from lab.frame import BPDU_MACS
from lab.model import PortKey, Topology
from lab.plan.pswitch import LEARNED, edges_of
from lab.realise.net import Network
from lab.realise.packets import PacketSocket

LOOK_SECONDS = 0.1
"""Between two looks at spanning trees: Open vSwitch tells nobody when a port's state changes."""
OnBpdu = Callable[[str, str], None]
"""(pSwitch, port): a BPDU came in at a port with BPDU guard. May be called again before the port is down."""
OnDiscarding = Callable[[str, frozenset[str]], None]
"""(pSwitch, ports): spanning tree keeps exactly these ports from forwarding."""

_ROOT = re.compile(r"^Root ID:\n\s+stp-priority\s+(\d+)\n\s+stp-system-id\s+(\S+)", re.MULTILINE)
_PORT = re.compile(r"^  \S+\s+(\w+)\s+(Discarding|Learning|Forwarding)\s+\d+\s+\d+\.(\d+)", re.MULTILINE)
_NO_ROLE = ("Disabled", "Discarding")
_FINAL = {"Root": "Forwarding", "Designated": "Forwarding", "Alternate": "Discarding", "Backup": "Discarding"}


@dataclass(frozen=True)
class Tree:
    """One pSwitch's part of a spanning tree. `ports`: label -> (role, state) of those whose link is up."""

    root: str
    ports: Mapping[str, tuple[str, str]]

    @property
    def discarding(self) -> frozenset[str]:
        return frozenset(label for label, (_, state) in self.ports.items() if state != "Forwarding")

    @property
    def settled(self) -> bool:
        return all(_FINAL.get(role) == state for role, state in self.ports.values())


def read_tree(text: str, labels: Mapping[int, str]) -> Tree:
    """`text` of `rstp/show`, which cuts names short; `labels` by number, of the ports whose link is up.

    Open vSwitch may not have seen yet that it is: such a port has no role, and no tree has settled with it.
    """
    root = _ROOT.search(text)
    shown = {int(number): (role, state) for role, state, number in _PORT.findall(text)}
    ports = {label: shown.get(number, _NO_ROLE) for number, label in labels.items()}
    return Tree(" ".join(root.groups()) if root else "", MappingProxyType(ports))


def converged(topology: Topology, trees: Mapping[str, Tree]) -> bool:
    """Every port is in the state of its role, and both ends of each cable agree on the root and on who designates."""
    return all(tree.settled for tree in trees.values()) and all(
        here.root == there.root and [a, b].count("Designated") == 1
        for here, a, there, b in _cable_ends(topology, trees)
    )


def _cable_ends(topology: Topology, trees: Mapping[str, Tree]) -> Iterator[tuple[Tree, str, Tree, str]]:
    """(tree, role) of both ends of each cable that has a link and a spanning tree at both."""
    for cable in topology.cables:
        here, there = (trees.get(end) for end in cable.ends)
        if here and there:
            a, b = (tree.ports.get(cable.port_at(end)) for end, tree in zip(cable.ends, (here, there), strict=True))
            if a and b:
                yield here, a[0], there, b[0]


class PSwitchAgent:
    """Two threads for all pSwitches. It tells what it sees; the owner of the State acts. No lock is held then.

    `links_down` gives the State's links that are down now."""

    def __init__(self, topology: Topology, network: Network, links_down: Callable[[], Collection[PortKey]]) -> None:
        self.network = network
        self._links_down = links_down
        self._changing = threading.Lock()
        self._guards: dict[int, tuple[PortKey, PacketSocket]] = {}
        self._ready = select.epoll()
        self._trees: dict[str, Tree] = {}
        self._looking = threading.Lock()
        self._wanted = threading.Event()
        self._on_discarding: OnDiscarding = lambda _switch, _ports: None
        self.update(topology)

    def update(self, topology: Topology) -> None:
        """Guard and look as this topology says, from now on."""
        self._topology = topology
        switches = topology.physical_switches.values()
        guarded = {(s.name, port) for s in switches if s.bpdu_guard for port in edges_of(topology, s.name)}
        with self._changing:
            for fd, (key, heard) in list(self._guards.items()):
                if key not in guarded:
                    del self._guards[fd]
                    heard.close()
            for key in sorted(guarded - {key for key, _ in self._guards.values()}):
                box, port = key
                made = PacketSocket(self.network.namespaces[box], self.network.interface_name(box, port), BPDU_MACS)
                self._guards[made.fileno()] = (key, made)
                self._ready.register(made, select.EPOLLIN)
        self._wanted.set()

    def start(self, on_bpdu: OnBpdu, on_discarding: OnDiscarding) -> None:
        self._on_discarding = on_discarding
        threading.Thread(target=self._guard, args=(on_bpdu,), name="BPDU guard", daemon=True).start()
        threading.Thread(target=self._watch, name="spanning tree", daemon=True).start()

    # -- BPDU guard

    def _guard(self, on_bpdu: OnBpdu) -> None:
        while True:
            for box, port in [key for fd, _ in self._ready.poll() for key in self._heard(fd)]:
                with suppress(SystemRefused):  # the next BPDU asks for it again
                    on_bpdu(box, port)

    def _heard(self, fd: int) -> Iterator[PortKey]:
        """The port, once for all the BPDUs that wait there."""
        with self._changing:
            if fd not in self._guards:
                return
            key, waiting = self._guards[fd]
            frames = 0
            while waiting.receive() is not None:
                frames += 1
        if frames:
            yield key

    # -- spanning tree

    def _watch(self) -> None:
        while True:
            if not self._switches():
                self._wanted.clear()
                self._wanted.wait()
            self.look()
            threading.Event().wait(LOOK_SECONDS)

    def _switches(self) -> list[str]:
        return [switch.name for switch in self._topology.physical_switches.values() if switch.stp]

    def look(self) -> None:
        """At every spanning tree now, and tell what is different."""
        with self._looking:
            before, self._trees = self._trees, dict(self._read())
            for switch in before.keys() | self._trees.keys():
                ports = self._discarding(self._trees, switch)
                if ports != self._discarding(before, switch):
                    self._on_discarding(switch, ports)
            if before and self._between(before) != self._between(self._trees):
                self._forget()

    def _read(self) -> Iterator[tuple[str, Tree]]:
        for switch in self._switches():
            (bridge,) = self.network.plan.bridges_of(switch)
            try:
                text = self.network.ovs(switch).appctl("rstp/show", bridge.name)
            except SystemRefused:  # it has ended, which `status` says
                continue
            dark = self._links_down()
            lit = {port.number: port.label for port in bridge.ports if (switch, port.label) not in dark}
            yield switch, read_tree(text, lit)

    @staticmethod
    def _discarding(trees: Mapping[str, Tree], switch: str) -> frozenset[str]:
        return trees[switch].discarding if switch in trees else frozenset()

    def _between(self, trees: Mapping[str, Tree]) -> set[tuple[str, str, tuple[str, str]]]:
        """Ports to other pSwitches: what lies behind them may be elsewhere when one of them changes."""
        return {
            (switch, port, found)
            for switch, tree in trees.items()
            for port, found in tree.ports.items()
            if port not in edges_of(self._topology, switch)
        }

    def _forget(self) -> None:
        for switch in self._trees:
            (bridge,) = self.network.plan.bridges_of(switch)
            with suppress(SystemRefused):  # it has ended, which `status` says
                self.network.ovs(switch).forget(bridge.name, LEARNED)

    def wait_converged(self, seconds: float = 60.0) -> None:
        """Until the spanning trees have settled and been told of; at once without any. Raises SystemRefused."""
        deadline = time.monotonic() + seconds
        while self._switches():
            self.look()
            if self._trees.keys() == set(self._switches()) and converged(self._topology, self._trees):
                return
            if time.monotonic() > deadline:
                raise SystemRefused(f"spanning tree has not settled after {seconds:g} s")
            threading.Event().wait(LOOK_SECONDS)
