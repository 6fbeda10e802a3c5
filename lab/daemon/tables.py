"""What the switches of a running lab have really learned, in the model's words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lab.model import Topology
from lab.plan import arping
from lab.plan.tables import LEARNED
from lab.plan.types import Bridge
from lab.realise.net import Network
from lab.state import MacTable, State


def with_real_tables(network: Network, topology: Topology, state: State) -> State:
    """`state` with the MAC tables of pSwitches, what they have secured, and what vNICs' MAC learning has."""
    bridges = {(bridge.node, bridge.label): bridge for bridge in network.plan.bridges}
    tables, secured, learned, arp = {}, {}, {}, {}
    for switch in topology.physical_switches.values():
        bridge = bridges[switch.name, switch.name]
        tables[switch.name] = _table(bridge, network.ovs(switch.name).mac_table(bridge.name))
        if any(row.table == arping.ANSWER for row in bridge.rows):
            known = network.ovs(switch.name).arp_known(bridge.name)
            arp[switch.name] = {(vlan, address): mac for vlan, address, mac in known}
        if switch.port_security is not None:
            secured[switch.name] = _table(bridge, network.ovs(switch.name).secured(bridge.name))
    for place, part in topology.host_switches.items():
        if any(port.mac_learning for port in part.ports):
            bridge = bridges[place]
            learned[place] = _table(bridge, network.ovs(part.host).learned(bridge.name, LEARNED))
    return replace(state.with_tables(tables, learned, secured), arp_known=arp)


def _table(bridge: Bridge, entries: Iterable[tuple[int, int, str]]) -> MacTable:
    """From (OpenFlow port, VLAN, MAC); ports that are not the model's (a switch's own) are left out."""
    named = ((vlan, mac, bridge.label_of(port)) for port, vlan, mac in entries)
    return {(vlan, mac): label for vlan, mac, label in named if label}
