"""Topology and state -> plan: pure, printable, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab.model import HostSwitch, PhysicalSwitch, Topology
from lab.plan import bandwidth, bonds, mirroring, pswitch, vswitch, wiring
from lab.plan.names import datapath_id, linux_name
from lab.plan.netflow import netflow_of
from lab.plan.types import Bridge, Plan, Port
from lab.state import State

__all__ = ["compile_plan"]


def compile_plan(topology: Topology, state: State) -> Plan:
    """Everything that the lab is to build for this topology in this state."""
    return Plan(
        name=topology.name,
        nodes=tuple(wiring.nodes(topology)),
        cables=tuple(wiring.cables(topology)),
        bridges=tuple(_bridges(topology, state)),
        queues=tuple(bandwidth.queues(topology, state)),
    )


def _bridges(topology: Topology, state: State) -> Iterator[Bridge]:
    for switch in topology.physical_switches.values():
        yield _pswitch(topology, state, switch)
    for part in topology.host_switches.values():
        yield _vswitch(topology, state, part)


def _pswitch(topology: Topology, state: State, switch: PhysicalSwitch) -> Bridge:
    configured = wiring.pswitch_ports(topology, switch.name)
    edges = pswitch.edges_of(topology, switch.name)
    numbered = dict(enumerate(configured.items(), start=1))
    return Bridge(
        node=switch.name,
        name=_bridge_name(switch.name, configured),
        label=switch.name,
        dpid=datapath_id(switch.name),
        ports=tuple(
            Port(n, linux_name(label), label, () if port.lacp else pswitch.columns_of(switch, n, label in edges))
            for n, (label, port) in numbered.items()
        ),
        rows=pswitch.rows_of(switch, numbered, edges, state),
        columns=pswitch.columns_of_bridge(switch),
        bonds=tuple(bonds.of_pswitch(switch.name, configured)),
    )


def _vswitch(topology: Topology, state: State, part: HostSwitch) -> Bridge:
    uplinks = [Port(n, linux_name(name), name) for n, name in enumerate(part.uplinks, start=1)]
    clients = [Port(vswitch.client_number(p), linux_name(p.name), p.name) for p in part.ports]
    label = mirroring.port_label(part)
    mirror = [Port(mirroring.MIRROR_PORT, linux_name(label), label)] if mirroring.has_actor(part) else []
    taken = [*topology.hosts[part.host].pnics]
    taken += [p.name for q in topology.host_switches.values() if q.host == part.host for p in q.ports]
    return Bridge(
        node=part.host,
        name=_bridge_name(part.name, taken),
        label=part.name,
        dpid=datapath_id(part.host, part.name),
        ports=(*uplinks, *clients, *mirror),
        rows=vswitch.rows_of(part, state, topology.knobs, netflow_of(topology, part)),
        bonds=tuple(bonds.of_host(part)),
    )


def _bridge_name(label: str, taken: Iterable[str]) -> str:
    """A bridge is an interface of its box too, so it must not bear the name of one of its ports."""
    name = linux_name(label)
    return linux_name(f"{label} (switch)") if name in {linux_name(t) for t in taken} else name
