"""What is no mistake in a topology file and yet will surprise its author."""

from __future__ import annotations

from collections.abc import Iterator

from lab.model import HostSwitch, MirrorKind, PhysicalPort, Tagging, Topology, VlanPolicy
from lab.topology.addressing import HOSTS_IN_24


def warnings(topology: Topology) -> tuple[str, ...]:
    """One line each, in file order."""
    found = (
        *_trunks(topology),
        *_idle_pnics(topology),
        *_without_address(topology),
        *_learning_in_vain(topology),
        *_mirrors(topology),
    )
    return tuple(dict.fromkeys(found))


def _trunks(topology: Topology) -> Iterator[str]:
    for part in topology.host_switches.values():
        for port in part.ports:
            policy = port.vlan
            if policy.tagging is Tagging.VGT:
                continue
            for pnic in (*port.active, *port.standby):
                for vlan in _needed(policy):
                    why = _lost(topology.hosts[part.host].pnics[pnic].port, vlan)
                    if why:
                        yield f"{_place(part, port.nic.port_group)}: {why} at {part.host}:{pnic}"


def _needed(policy: VlanPolicy) -> tuple[int, ...]:
    """What the trunk must carry for a port of this policy: for a private VLAN its primary too (PVL-8)."""
    if policy.pvlan is None or policy.pvlan.primary == policy.vlan:
        return (policy.vlan,)
    return (policy.vlan, policy.pvlan.primary)


def _lost(port: PhysicalPort, vlan: int) -> str:
    if vlan == 0:
        return "" if port.untagged is not None else "VLAN 0 sends untagged, and there is no native VLAN (VLAN-16)"
    if port.access is not None:
        return f"VLAN {vlan} is sent tagged to an access port (VLAN-16)"
    if not port.carries(vlan):
        return f"VLAN {vlan} is not in the trunk's list, frames are lost (VLAN-13)"
    if port.native == vlan:
        return f"VLAN {vlan} is the trunk's native VLAN, so traffic goes one way only (VLAN-12)"
    return ""


def _place(part: HostSwitch, group: str) -> str:
    return f"{part.name}/{group}"


def _idle_pnics(topology: Topology) -> Iterator[str]:
    used = {(part.host, pnic) for part in topology.host_switches.values() for pnic in part.uplinks}
    for host in topology.hosts.values():
        for pnic in host.pnics:
            if (host.name, pnic) not in used:
                yield f"{host.name}:{pnic} is no switch's uplink"


def _without_address(topology: Topology) -> Iterator[str]:
    for nic in (*topology.vmknics, *topology.vnics):
        if not nic.address and topology.port_group(nic).vlan.tagging is not Tagging.VGT:
            yield f"{nic.label} has no address: {HOSTS_IN_24} are derived in a VLAN, give it one with ip:"


def _learning_in_vain(topology: Topology) -> Iterator[str]:
    for dvs in topology.distributed_switches.values():
        for group in dvs.port_groups.values():
            if group.mac_learning and not group.security.forged_transmits:
                yield f"{group.label}: MAC learning, but forged transmits are rejected: nothing is to learn (SEC-18)"


def _mirrors(topology: Topology) -> Iterator[str]:
    host_of = {nic.label: nic.host for nic in (*topology.vnics, *topology.vmknics)}
    for dvs in topology.distributed_switches.values():
        for session in dvs.mirrors:
            here = {host_of[label] for label in (*session.transmitted, *session.received)}
            there = {host_of[label] for label in session.to_ports}
            if session.kind is MirrorKind.DV_PORT and not here & there:
                yield f"{dvs.name}: session {session.name} copies nothing: no destination is on a source's host (MIR-1)"
