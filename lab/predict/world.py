"""A topology looked up by what a frame meets: ports by name, owners by MAC, the far end of each cable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lab.model import ClientPort, HostSwitch, Machine, PhysicalPort, Topology


class Guest(NamedTuple):
    """The far end of a host's client port."""

    part: HostSwitch
    port: ClientPort


class Uplink(NamedTuple):
    """The far end of a pSwitch port that leads to a host. `part` is None for a pNIC that no switch uses."""

    host: str
    pnic: str
    part: HostSwitch | None


class Trunk(NamedTuple):
    """The far end of a pSwitch port that leads to another pSwitch."""

    switch: str
    port: str


@dataclass(frozen=True)
class Switch:
    """A pSwitch: its ports, and what each leads to."""

    ports: Mapping[str, PhysicalPort]
    far: Mapping[str, Uplink | Trunk | Machine]


class World:
    """Built once for a topology."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.knobs = topology.knobs
        self.clients: dict[str, Guest] = {}
        self.owner: dict[tuple[str, str, str], ClientPort] = {}
        self.members: dict[tuple[str, str], tuple[ClientPort, ...]] = {}
        self.part_of: dict[tuple[str, str], HostSwitch] = {}
        for (host, name), part in topology.host_switches.items():
            connected = tuple(port for port in part.ports if port.nic.connected)
            self.members[host, name] = connected
            for port in part.ports:
                self.clients[port.nic.label] = Guest(part, port)
            for port in connected:
                self.owner[host, name, port.nic.mac] = port
            for uplink in part.uplinks:
                self.part_of[host, uplink] = part
        self.switches = self._switches()

    def _switches(self) -> dict[str, Switch]:
        ports: dict[str, dict[str, PhysicalPort]] = defaultdict(dict)
        far: dict[str, dict[str, Uplink | Trunk | Machine]] = defaultdict(dict)
        for host in self.topology.hosts.values():
            for pnic in host.pnics.values():
                ports[pnic.switch][pnic.far_port] = pnic.port
                part = self.part_of.get((host.name, pnic.name))
                far[pnic.switch][pnic.far_port] = Uplink(host.name, pnic.name, part)
        for machine in self.topology.machines.values():
            ports[machine.switch][machine.name] = machine.port
            far[machine.switch][machine.name] = machine
        for cable in self.topology.cables:
            for here, there in (cable.ends, cable.ends[::-1]):
                ports[here][cable.port_at(here)] = cable.port
                far[here][cable.port_at(here)] = Trunk(there, cable.port_at(there))
        return {name: Switch(ports[name], far[name]) for name in self.topology.physical_switches}
