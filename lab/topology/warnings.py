"""What is no mistake in a topology file and yet will surprise its author."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from lab.model import (
    ClientPort,
    DistributedSwitch,
    HostSwitch,
    Mirror,
    MirrorKind,
    PhysicalPort,
    PvlanKind,
    Tagging,
    Topology,
    VlanPolicy,
)
from lab.topology.addressing import HOSTS_IN_24

LISTED = 5
"""Names that a warning lists before it says how many more there are."""


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
                for vlan in _needed(part, policy):
                    why = _lost(topology.hosts[part.host].pnics[pnic].port, vlan)
                    if why:
                        yield f"{_place(part, port.nic.port_group)}: {why} at {part.host}:{pnic}"


def _needed(part: HostSwitch, policy: VlanPolicy) -> tuple[int, ...]:
    """What the trunk must carry for a port of this policy. In a private VLAN that is what is sent by the ports that it
    may hear, too: the promiscuous ones, and those of every secondary VLAN for a promiscuous port (PVL-8)."""
    if policy.pvlan is None:
        return (policy.vlan,)
    primary = policy.pvlan.primary
    if policy.pvlan.kind is not PvlanKind.PROMISCUOUS:
        return (policy.vlan, primary)
    return (primary, *(vlan for vlan, entry in part.pvlans.items() if entry.primary == primary != vlan))


def _lost(port: PhysicalPort, vlan: int) -> str:
    if vlan == 0:
        return "" if port.untagged is not None else "VLAN 0 sends untagged, and there is no native VLAN (VLAN-16)"
    if port.access is None and port.carries(vlan) and port.native == vlan:
        return f"VLAN {vlan} is the trunk's native VLAN, so traffic goes one way only (VLAN-12)"
    return _refused_tag(port, vlan)


def _refused_tag(port: PhysicalPort, vlan: int) -> str:
    """Why a frame with this tag does not enter the pSwitch by this port; empty when it does."""
    if port.access is not None:
        return f"VLAN {vlan} is sent tagged to an access port (VLAN-16)"
    return "" if port.carries(vlan) else f"VLAN {vlan} is not in the trunk's list, frames are lost (VLAN-13)"


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
    learners: dict[tuple[str, str], list[ClientPort]] = {}
    for part in topology.host_switches.values():
        for port in part.ports:
            if port.mac_learning and not port.nic.is_vmk:
                learners.setdefault((part.name, port.nic.port_group), []).append(port)
    for dvs in topology.distributed_switches.values():
        for group in dvs.port_groups.values():
            here = learners.get((dvs.name, group.name), [])
            strict = [port for port in here if not port.security.forged_transmits]
            if strict or (group.mac_learning and not here and not group.security.forged_transmits):
                where = "" if strict == here else f" at {_shortened(port.nic.label for port in strict)}"
                what = f"MAC learning, but forged transmits are rejected{where}"
                yield f"{group.label}: {what}: nothing is to learn (SEC-18)"


def _shortened(names: Iterable[str]) -> str:
    """`a, b, c and 9 more`."""
    known = list(dict.fromkeys(names))
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return ", ".join(known[:LISTED]) + more


# -- mirroring sessions


def _mirrors(topology: Topology) -> Iterator[str]:
    host_of = {nic.label: nic.host for nic in (*topology.vnics, *topology.vmknics)}
    for dvs in topology.distributed_switches.values():
        for session in dvs.mirrors:
            sources: dict[str, list[str]] = {}
            for label in (*session.transmitted, *session.received):
                sources.setdefault(host_of[label], []).append(label)
            there = dict.fromkeys(host_of[label] for label in session.to_ports)
            found = (
                *_copied_nowhere(dvs, session, sources, there),
                *_lost_in_vlan(topology, dvs, session, sources),
                *_never_arriving(topology, dvs, session, there),
                *_meaningless(session),
            )
            yield from (f"{dvs.name}: session {session.name} {what}" for what in found)


def _copied_nowhere(
    dvs: DistributedSwitch, session: Mirror, sources: Mapping[str, list[str]], there: Container[str]
) -> Iterator[str]:
    """Sources on hosts that have none of the destinations; an address can be reached from every host."""
    if session.kind in (MirrorKind.ENCAPSULATED, MirrorKind.REMOTE_DESTINATION):
        return
    without = [host for host in sources if host not in there and not _pnics(dvs, session, host)]
    uplinks = " or ".join(session.to_uplinks)
    if without == list(sources):
        why = "no destination is on a source's host" if session.to_ports else f"no source's host has {uplinks}"
        yield f"copies nothing: {why} (MIR-1)"
        return
    for host in without:
        why = f"no destination is on {host}" if session.to_ports else f"{host} has no {uplinks}"
        yield f"copies nothing of {_shortened(sources[host])}: {why} (MIR-1)"


def _lost_in_vlan(topology: Topology, dvs: DistributedSwitch, session: Mirror, sources: Iterable[str]) -> Iterator[str]:
    """Copies in an encapsulation VLAN that the pSwitch does not take."""
    for host in sources if session.vlan is not None else ():
        for pnic in _pnics(dvs, session, host):
            why = _refused_tag(topology.hosts[host].pnics[pnic].port, session.vlan or 0)
            if why:
                yield f"sends its copies in vain: {why} at {host}:{pnic}"


def _never_arriving(topology: Topology, dvs: DistributedSwitch, session: Mirror, there: Iterable[str]) -> Iterator[str]:
    """Source VLANs whose frames come to a destination's host by no uplink, or not as theirs: without the tag."""
    for host in there:
        ports = [topology.hosts[host].pnics[pnic].port for pnic in dvs.pnics(host)]
        for vlan in session.source_vlans:
            if not any(port.carries(vlan) and port.untagged != vlan for port in ports):
                yield f"copies nothing to {host}: VLAN {vlan} comes tagged to no uplink there (VLAN-13)"


def _meaningless(session: Mirror) -> Iterator[str]:
    if session.normal_traffic and not session.to_ports:
        yield "says normal_traffic, but has no destination port (MIR-4)"


def _pnics(dvs: DistributedSwitch, session: Mirror, host: str) -> list[str]:
    """The pNICs that stand behind the session's uplinks on this host."""
    numbered = {f"uplink{n}": pnic for n, pnic in enumerate(dvs.uplinks.get(host, ()), start=1)}
    return [numbered[uplink] for uplink in session.to_uplinks if uplink in numbered]
