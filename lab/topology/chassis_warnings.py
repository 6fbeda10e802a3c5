"""What is no mistake about a chassis and yet will surprise."""

from __future__ import annotations

from collections.abc import Iterator

from lab.model import Cable, PhysicalSwitch, Ranges, Topology, in_ranges
from lab.topology.listing import spans


def chassis_warnings(topology: Topology) -> Iterator[str]:
    """One line each: uplinks that nothing uses, VLANs that do not get through one, SmartLink of nobody's network."""
    for cable in topology.cables:
        if cable.uplink is not None:
            yield from _uplink(topology.physical_switches[cable.ends[0]], cable)
    for name, switch in topology.physical_switches.items():
        for network in switch.module.networks.values() if switch.module else ():
            if network.smart_link and not any(
                pnic.pvnic and network.name in pnic.pvnic.networks
                for host in topology.hosts.values()
                for pnic in host.pnics.values()
                if pnic.switch == name
            ):
                yield f"{name}: no blade has network {network.name!r}, whose SmartLink has nothing to take down (PVN-9)"


def _uplink(module: PhysicalSwitch, cable: Cable) -> Iterator[str]:
    assert module.module is not None and cable.uplink is not None
    end = f"{module.name}:{cable.uplink.name}"
    networks = [n for n in module.module.networks.values() if cable.uplink.name in n.uplinks]
    if not networks:
        yield f"{end} is no network's uplink"
    if module.module.tunnelled:
        return
    for network in networks:
        lost = sorted(vlan for vlan in _vlans(network.vlans) if not cable.port.carries(vlan))
        if lost:
            what = f"VLAN {spans(lost)} of network {network.name!r} is not in the trunk of {cable.ends[1]}'s port"
            yield f"{end}: {what}, frames are lost there (VLAN-13)"
    native = cable.port.native
    if native is not None and not any(in_ranges(native, network.vlans) for network in networks):
        yield f"{end}: no network of it has {cable.ends[1]}'s native VLAN {native}, its frames are dropped (VLAN-16)"


def _vlans(ranges: Ranges) -> Iterator[int]:
    return (vlan for low, high in ranges for vlan in range(low, high + 1))
