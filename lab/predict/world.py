"""A topology looked up by what a frame meets: ports by name, the far end of each cable, who may hear a private VLAN."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lab.model import (
    ClientPort,
    HostSwitch,
    Machine,
    PhysicalPort,
    PhysicalSwitch,
    Pvlan,
    PvlanKind,
    PvlanMap,
    Topology,
)


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


Far = Uplink | Trunk | Machine


@dataclass(frozen=True)
class Switch:
    """A pSwitch: its ports, and what each leads to. `channels`: `po1` -> its members; they are configured alike, so
    that a channel may stand wherever a port does, except at a wire. `modules`: the lab's interconnect modules."""

    model: PhysicalSwitch
    ports: Mapping[str, PhysicalPort]
    far: Mapping[str, Far]
    channels: Mapping[str, tuple[str, ...]]
    modules: frozenset[str] = frozenset()

    def logical(self, port: str) -> str:
        """The channel that a port is a member of, or itself."""
        channel = self.ports[port].channel
        return port if channel is None else f"po{channel}"

    def members(self, end: str) -> tuple[str, ...]:
        return self.channels.get(end, (end,))

    def config(self, end: str) -> PhysicalPort:
        return self.ports[self.members(end)[0]]

    def is_edge(self, port: str) -> bool:
        """True for a port to a host, a machine or a chassis' module."""
        far = self.far[port]
        return not isinstance(far, Trunk) or far.switch in self.modules

    def node(self, port: str) -> str:
        """Where a sighting at this port is said to be: at the machine, or at the pSwitch itself."""
        far = self.far.get(port)
        return far.name if isinstance(far, Machine) else self.model.name

    def table_vlan(self, vlan: int) -> int:
        """The VLAN in which sources are learned: the primary one of a private VLAN that the switch knows (PVL-9)."""
        private = self.model.pvlans.get(vlan)
        return private.primary if private else vlan

    def hears(self, port: str, vlan: int) -> bool:
        """True when frames of this VLAN may go out of this port. Trunks carry the VLAN IDs of their list as they are;
        an access port is a member of the private VLAN that its VLAN ID is of (PVL-10)."""
        config = self.config(port)
        own = self.model.pvlans.get(config.access) if config.access is not None else None
        return vlan in heard_by(own, self.model.pvlans) if own else config.carries(vlan)


def heard_by(own: Pvlan, pvlans: PvlanMap) -> frozenset[int]:
    """The VLAN IDs whose frames a port in this private VLAN may get (PVL-1 to PVL-4, PVL-7)."""
    if own.kind is PvlanKind.PROMISCUOUS:
        return frozenset(vlan for vlan, other in pvlans.items() if other.primary == own.primary) | {own.primary}
    return frozenset({own.primary, own.secondary} if own.kind is PvlanKind.COMMUNITY else {own.primary})


def kept_apart_by(sender: Pvlan, receiver: Pvlan) -> str:
    """The statement that says why no frame passes from the one to the other."""
    isolated = (sender.kind, receiver.kind).count(PvlanKind.ISOLATED)
    return ("PVL-4", "PVL-3", "PVL-2")[isolated]


class World:
    """Built once for a topology."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.knobs = topology.knobs
        self.clients: dict[str, Guest] = {}
        self.part_of: dict[tuple[str, str], HostSwitch] = {}
        for part in topology.host_switches.values():
            for port in part.ports:
                self.clients[port.nic.label] = Guest(part, port)
            for uplink in part.uplinks:
                self.part_of[part.host, uplink] = part
        self.switches = self._switches()

    def _switches(self) -> dict[str, Switch]:
        ports: dict[str, dict[str, PhysicalPort]] = defaultdict(dict)
        far: dict[str, dict[str, Far]] = defaultdict(dict)
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
                ports[here][cable.port_at(here)] = cable.config_at(here)
                far[here][cable.port_at(here)] = Trunk(there, cable.port_at(there))
        switches = self.topology.physical_switches
        modules = frozenset(name for name, model in switches.items() if model.module is not None)
        return {
            name: Switch(model, ports[name], far[name], _channels(ports[name]), modules)
            for name, model in switches.items()
        }


def _channels(ports: Mapping[str, PhysicalPort]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, port in ports.items():
        if port.channel is not None:
            channel = f"po{port.channel}"
            found[channel] = (*found.get(channel, ()), name)
    return found
