"""What guests and cables do, as a drawn State. Nothing is learned yet: switches learn from the frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from lab.chassis import cut_cables
from lab.frame import ALL_SYSTEMS
from lab.model import ClientPort, HostSwitch, PortKey, Topology
from lab.plan.wiring import pswitch_ports
from lab.state import State
from lab.teaming import initial_state, with_links_down

if TYPE_CHECKING:
    from .strategies import Dice

STRANGE_MACS = ("00:50:56:3f:00:01", "02:00:00:00:00:02", "00:50:56:3f:00:03")
GROUPS = (ALL_SYSTEMS, "01:00:5e:01:02:03", "33:33:00:00:00:16", "01:80:c2:00:00:00")


def draw_state(dice: Dice, topology: Topology) -> State:
    """Cables first, then guests, then spanning tree, which cuts every loop."""
    state = with_links_down(topology, initial_state(topology), cut_cables(topology, {*_dark(dice, topology)}))
    ports = [(part, port) for part in topology.host_switches.values() for port in part.ports]
    known = [port.nic.mac for _, port in ports]
    macs: dict[PortKey, str] = {}
    groups: dict[PortKey, frozenset[str]] = {}
    for part, port in ports:
        if dice.chance(15):
            mac = dice.pick((*STRANGE_MACS, dice.pick(known)))
            macs.update({(part.host, port.name): mac} if mac != port.nic.mac else {})
        if dice.chance(30):
            groups[part.host, port.name] = frozenset(dice.some(GROUPS, 40))
    return replace(
        state,
        macs=MappingProxyType(macs),
        groups=MappingProxyType(groups),
        promiscuous=frozenset((part.host, port.name) for part, port in ports if dice.chance(_eager(port))),
        all_groups=frozenset((part.host, port.name) for part, port in ports if dice.chance(6)),
        discarding=frozenset(_discarding(dice, topology)),
    )


def _eager(port: ClientPort) -> int:
    """Percent of guests that listen promiscuously: more where they may."""
    return 55 if port.security.promiscuous else 12


def _dark(dice: Dice, topology: Topology) -> Iterator[PortKey]:
    """Both ends of cables that are cut, and the switch's end of vNICs that are off."""
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            if dice.chance(6):
                yield host.name, pnic.name
                yield pnic.switch, pnic.far_port
    for cable in topology.cables:
        if dice.chance(15 if cable.uplink else 3):
            yield from ((end, cable.port_at(end)) for end in cable.ends)
    for machine in topology.machines.values():
        if dice.chance(3):
            yield machine.switch, machine.name
    for part, port in _clients(topology):
        if not port.nic.connected or dice.chance(3):
            yield part.host, port.name


def _clients(topology: Topology) -> Iterator[tuple[HostSwitch, ClientPort]]:
    return ((part, port) for part in topology.host_switches.values() for port in part.ports)


def _discarding(dice: Dice, topology: Topology) -> Iterator[PortKey]:
    """A loop is the last cable's doing: one of its ends discards. Others may."""
    switches = [name for name, switch in topology.physical_switches.items() if switch.module is None]
    if not all(topology.physical_switches[name].stp for name in switches):
        return
    cables = [cable for cable in topology.cables if cable.uplink is None]
    closing = cables[-1] if len(cables) >= len(switches) else None
    if closing is not None:
        end = dice.pick(closing.ends)
        yield end, closing.port_at(end)
    for name in switches:
        yield from ((name, port) for port in pswitch_ports(topology, name) if dice.chance(8))
