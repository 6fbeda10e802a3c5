"""The loop protection of a chassis' modules: each sends a frame to its blades now and then, and disables the port by
which one of its own comes back (PVN-8)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import islice

from lab.agents.events import Moment
from lab.agents.present import Present
from lab.agents.supervised import supervise
from lab.chassis import pvnics_of
from lab.frame import BROADCAST, LOOP_ETHERTYPE, Frame, Tag
from lab.model import PhysicalPort, PortKey, Topology
from lab.plan.names import box_mac
from lab.realise.packets import PacketSocket, Sender

INTERVAL, SHORTEST_INTERVAL = 5.0, 0.5
"""Seconds between two frames of a port; real ones at least."""
MOST_VLANS = 100
PAYLOAD = 46


def probed(topology: Topology) -> Iterator[tuple[PortKey, PhysicalPort]]:
    """Ports to blades of the modules that look for loops."""
    for name, switch in topology.physical_switches.items():
        if switch.module is not None and switch.module.loop_protection:
            yield from (((name, pnic.far_port), pnic.port) for pnic in pvnics_of(topology, name))


def probes(module: str, port: str, config: PhysicalPort) -> Iterator[bytes]:
    """A frame for each VLAN that the blade has there, at most MOST_VLANS; in a tunnelled network one without a tag."""
    payload = f"{module} {port}".encode()[:PAYLOAD].ljust(PAYLOAD, b"\0")
    for vlan in islice(_vlans(config), MOST_VLANS):
        tags = () if vlan == config.untagged else (Tag(vlan),)
        yield Frame(box_mac(module), BROADCAST, tags, LOOP_ETHERTYPE, payload).to_bytes()


def _vlans(config: PhysicalPort) -> Iterator[int]:
    if config.native == 0:
        yield 0
        return
    for low, high in config.trunk:
        yield from range(low, high + 1)


class LoopAgent:
    """One thread for all modules. `disable` takes a port's link down until somebody plugs its cable in again."""

    def __init__(self, present: Present, disable: Callable[[str, str], None]) -> None:
        self._present = present
        self._disable = disable
        self._interval = max(INTERVAL / present.topology.speedup, SHORTEST_INTERVAL)
        self._sender = Sender(present.network.namespaces)
        self._never = threading.Event()
        self._hearing: dict[PortKey, PacketSocket] = {}
        self._update(present.topology)
        present.follow(self._follow)

    def start(self) -> None:
        supervise("loop protection", self._run, self._present.event)

    def _follow(self, before: Moment, after: Moment) -> None:
        if after.topology is not before.topology:
            self._update(after.topology)

    def _update(self, topology: Topology) -> None:
        """Listen at exactly the ports that are probed."""
        with self._present.lock:
            self._probed = dict(probed(topology))
            for key in self._hearing.keys() - self._probed.keys():
                self._hearing.pop(key).close()
            for module, port in sorted(self._probed.keys() - self._hearing.keys()):
                network = self._present.network
                name, own = network.interface_name(module, port), [box_mac(module)]
                heard = PacketSocket(network.namespaces[module], name, kind=LOOP_ETHERTYPE, sources=own)
                self._hearing[module, port] = heard

    def _run(self) -> None:
        while not self._never.wait(self._interval):
            self.turn()

    def turn(self) -> None:
        """Hear what has come back, and send anew. One port at a time is disabled: a loop has two ends."""
        with self._present.lock:
            looping = [key for key, heard in self._hearing.items() if self._came_back(heard)]
            if looping:
                self._disable(*looping[0])
                return
            for (module, port), config in self._probed.items():
                interface = self._present.network.interface_name(module, port)
                for frame in probes(module, port, config):
                    self._sender.send(module, interface, frame)

    @staticmethod
    def _came_back(heard: PacketSocket) -> bool:
        frames = 0
        while heard.receive() is not None:
            frames += 1
        return frames > 0
