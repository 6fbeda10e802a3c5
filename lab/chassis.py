"""A blade chassis: interconnect modules that split a blade's physical ports into pvNICs (docs/chassis.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.units import Rate

if TYPE_CHECKING:
    from lab.model import Pnic, PortKey, Ranges, Topology

PORT_SPEED = Rate(10**10)
"""Of a blade's physical port: the pvNICs of one have so much together."""
STEP = Rate(10**8)
"""Speeds of pvNICs are multiples of it."""
NO_VLAN = 0
"""Where a tunnelled network has frames without a tag."""


@dataclass(frozen=True)
class Pvnic:
    """A pNIC that is a part of the blade's physical port `port`: its function `function`, `a` to `d`. `least` is what
    it always has; the pNIC's speed is what it may use. `networks` are those of its module that reach it."""

    port: int
    function: str
    networks: tuple[str, ...]
    least: Rate

    def __str__(self) -> str:
        return f"{self.port}{self.function}"


@dataclass(frozen=True)
class ModuleNetwork:
    """VLANs that a module switches, and the uplinks that may take them out: the first that has a link does (PVN-6).
    `smart_link`: without any, pvNICs lose theirs (PVN-9)."""

    name: str
    vlans: Ranges
    uplinks: tuple[str, ...]
    smart_link: bool = False


@dataclass(frozen=True)
class Module:
    """What makes an interconnect module of a physical switch. `tunnelled`: its network takes every tag (PVN-10);
    `dcc`: it can take one pvNIC's link down, and not only a whole physical port's. `loop_protection`: it disables a
    port to a blade by which a frame comes back that it has sent to blades (PVN-8)."""

    chassis: str
    networks: Mapping[str, ModuleNetwork]
    tunnelled: bool = False
    dcc: bool = True
    loop_protection: bool = True


def neighbours(topology: Topology, pnic: Pnic) -> tuple[Pnic, ...]:
    """The pNICs that share this one's cable, itself included (PVN-4)."""
    if pnic.pvnic is None:
        return (pnic,)
    here = topology.hosts[pnic.host].pnics.values()
    return tuple(other for other in here if other.pvnic is not None and other.pvnic.port == pnic.pvnic.port)


def pvnics_of(topology: Topology, module: str) -> Iterator[Pnic]:
    """The pvNICs that a module serves, in file order."""
    for host in topology.hosts.values():
        yield from (pnic for pnic in host.pnics.values() if pnic.switch == module)


def cut_cables(topology: Topology, ports: Collection[PortKey]) -> frozenset[PortKey]:
    """`ports`, and every other port whose cable is cut with theirs (PVN-4)."""
    found = set(ports)
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            if pnic.pvnic is not None and not found.isdisjoint(_ends(pnic)):
                found.update(end for other in neighbours(topology, pnic) for end in _ends(other))
    return frozenset(found)


def _ends(pnic: Pnic) -> tuple[PortKey, PortKey]:
    return (pnic.host, pnic.name), (pnic.switch, pnic.far_port)


def smart_links(topology: Topology, down: Collection[PortKey]) -> Iterator[PortKey]:
    """Modules' ports to blades that SmartLink takes down while these ports have no link (PVN-9): of a pvNIC all of
    whose networks have SmartLink and no uplink left; without DCC with its whole physical port."""
    for name, switch in topology.physical_switches.items():
        if switch.module is None:
            continue
        cut_off = {
            network.name
            for network in switch.module.networks.values()
            if network.smart_link and network.uplinks and all((name, uplink) in down for uplink in network.uplinks)
        }
        for pnic in pvnics_of(topology, name) if cut_off else ():
            if pnic.pvnic is not None and cut_off.issuperset(pnic.pvnic.networks):
                together = (pnic,) if switch.module.dcc else neighbours(topology, pnic)
                yield from ((name, other.far_port) for other in together)


def with_consequences(topology: Topology, down: Collection[PortKey]) -> frozenset[PortKey]:
    """Both ends of every link that is lost once these are: those of the same cables, and those that SmartLink drops."""
    lost = cut_cables(topology, down)
    dropped = set(smart_links(topology, lost))
    ends = {end for host in topology.hosts.values() for pnic in host.pnics.values() for end in _lost(pnic, dropped)}
    return lost | ends


def _lost(pnic: Pnic, dropped: Collection[PortKey]) -> tuple[PortKey, ...]:
    return _ends(pnic) if (pnic.switch, pnic.far_port) in dropped else ()


@dataclass(frozen=True)
class SharedPort:
    """One direction of a physical port whose pvNICs may use more together than it has: the ends of cables that send
    there -> (what each always has, the most that it may have); nominal bits/s."""

    ends: Mapping[PortKey, tuple[int, int]]
    capacity: int = PORT_SPEED.bits

    def at_first(self, end: PortKey) -> float:
        """Of what is not anybody's own, an even part; until it is known what each needs."""
        least, most = self.ends[end]
        spare = self.capacity - sum(own for own, _ in self.ends.values())
        return min(least + spare / len(self.ends), most)


def shared_ports(topology: Topology) -> Iterator[SharedPort]:
    """From blades, where a pvNIC may use what others leave; to blades, unless that direction is held to the pvNICs'
    speeds too (PVN-3)."""
    for host in topology.hosts.values():
        ports: dict[int, list[Pnic]] = {}
        for pnic in host.pnics.values():
            if pnic.pvnic is not None:
                ports.setdefault(pnic.pvnic.port, []).append(pnic)
        for sharing in ports.values():
            sent = {(p.host, p.name): (p.pvnic.least.bits, p.speed.bits) for p in sharing if p.pvnic}
            if topology.knobs.pvnic_rx_cap:
                got = {(p.switch, p.far_port): (p.pvnic.least.bits, p.speed.bits) for p in sharing if p.pvnic}
            else:
                got = {(p.switch, p.far_port): (0, PORT_SPEED.bits) for p in sharing}
            yield from (SharedPort(ends) for ends in (sent, got) if sum(m for _, m in ends.values()) > PORT_SPEED.bits)
