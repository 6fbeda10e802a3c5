"""What is no mistake in a topology file and yet will surprise its author."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache

from lab.model import (
    VLAN_MAX,
    ClientPort,
    DistributedSwitch,
    HostSwitch,
    Mirror,
    MirrorKind,
    PhysicalPort,
    PvlanKind,
    Ranges,
    Tagging,
    Topology,
    VlanPolicy,
)
from lab.topology.addressing import HOSTS_IN_24
from lab.topology.bandwidth_warnings import bandwidth_warnings
from lab.topology.chassis_warnings import chassis_warnings
from lab.topology.distance import ceilings, too_far
from lab.topology.listing import shortened, spans
from lab.topology.teaming_warnings import Team, cut_off, teaming, teams


def warnings(topology: Topology) -> tuple[str, ...]:
    """One line each, in file order."""
    found = (
        *_trunks(topology),
        *teaming(topology),
        *_idle_pnics(topology),
        *_without_address(topology),
        *_learning_in_vain(topology),
        *_mirrors(topology),
        *bandwidth_warnings(topology),
        *chassis_warnings(topology),
        *_distances(topology),
    )
    return tuple(dict.fromkeys(found))


def _trunks(topology: Topology) -> Iterator[str]:
    for part in topology.host_switches.values():
        for team in teams(topology, part):
            if team.any_port.vlan.tagging is Tagging.VGT:
                yield from _guests_trunks(team)
                continue
            needed = _needed(part, team.any_port.vlan)
            for pnic in team.pnics:
                for vlan in needed:
                    why = _lost(pnic.port, vlan)
                    if why:
                        carrying = [other for other in team.pnics if not _lost(other.port, vlan)]
                        yield f"{team.label}: {why} at {part.host}:{pnic.name}{cut_off(team, pnic, carrying)}"


def _guests_trunks(team: Team) -> Iterator[str]:
    """VLANs of a guest that tags which get through by one of its uplinks and not by another. That none takes some of
    them is what a port group for all VLANs is like."""
    wanted = _vlans_within(team.any_port.vlan.ranges)
    through = {pnic.name: _passed(pnic.port) & wanted for pnic in team.pnics}
    somewhere = frozenset[int]().union(*through.values())
    for pnic in team.pnics:
        lost = somewhere - through[pnic.name]
        if lost:
            carrying = [other for other in team.pnics if lost & through[other.name]]
            what = f"VLAN {spans(lost)} of its guests does not get through (VLAN-13)"
            yield f"{team.label}: {what} at {pnic.host}:{pnic.name}{cut_off(team, pnic, carrying)}"


@lru_cache(maxsize=256)
def _vlans_within(ranges: Ranges) -> frozenset[int]:
    return frozenset(vlan for low, high in ranges for vlan in range(max(low, 1), high + 1))


@lru_cache(maxsize=256)
def _passed(port: PhysicalPort) -> frozenset[int]:
    """VLANs whose tagged frames get through this pSwitch port both ways."""
    return frozenset(vlan for vlan in range(1, VLAN_MAX + 1) if not _lost(port, vlan))


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
                where = "" if strict == here else f" at {shortened(port.nic.label for port in strict)}"
                what = f"MAC learning, but forged transmits are rejected{where}"
                yield f"{group.label}: {what}: nothing is to learn (SEC-18)"


def _distances(topology: Topology) -> Iterator[str]:
    known = ceilings(topology).items()
    for one, other, away in too_far(topology):
        beyond = ", ".join(f"{what} allows {limit * 1000:g} ms" for what, limit in known if away > limit)
        yield f"{one} and {other} are {away * 1000:g} ms apart, there and back: {beyond} (L2S-9)"


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
        yield f"copies nothing of {shortened(sources[host])}: {why} (MIR-1)"


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
