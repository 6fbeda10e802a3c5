"""Moving a VM to another host: what vSphere refuses, and which numbers its ports have there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from lab.model import DistributedSwitch, Nic, StandardSwitch, Topology
from lab.topology.distance import round_trip, vmotion_limit
from lab.topology.room import device_refusals, port_refusals

VMOTION = "vmotion"
"""The service of the vmkernel adapters that memory travels between."""


def port_numbers(before: Topology, after: Topology) -> Mapping[str, int]:
    """`Topology.numbers` of `after`, an edit of `before`: a port that stays on its host's switch keeps its number, one
    that is new there has the lowest that is free. Empty where all are counted in file order."""
    places = {nic.label: (nic.host, nic.switch) for nic in _nics(before)}
    if not before.numbers and all(places[nic.label] == (nic.host, nic.switch) for nic in _nics(after)):
        return MappingProxyType({})
    known = {p.nic.label: p.number for part in before.host_switches.values() for p in part.ports}
    numbers: dict[str, int] = {}
    for place in dict.fromkeys((nic.host, nic.switch) for nic in _nics(after)):
        here = [nic.label for nic in _nics(after) if (nic.host, nic.switch) == place]
        staying = {label: known[label] for label in here if places[label] == place}
        free = (n for n in range(1, len(here) + 1) if n not in staying.values())
        numbers |= {label: staying[label] if label in staying else next(free) for label in here}
    return MappingProxyType({} if numbers == _counted(after) else numbers)


def _counted(topology: Topology) -> dict[str, int]:
    counts: dict[tuple[str, str], int] = {}
    numbers = {}
    for nic in _nics(topology):
        place = (nic.host, nic.switch)
        numbers[nic.label] = counts[place] = counts.get(place, 0) + 1
    return numbers


def _nics(topology: Topology) -> tuple[Nic, ...]:
    return (*topology.vmknics, *topology.vnics)


def adapters_of(topology: Topology, host: str, service: str) -> tuple[Nic, ...]:
    """The vmkernel adapters of `host` that have an address and this service, in file order (VMK-7)."""
    return tuple(nic for nic in topology.vmknics if nic.host == host and service in nic.services and nic.address)


def refusals(topology: Topology, vm: str, host: str) -> tuple[str, ...]:
    """Every reason why vSphere would not move this VM to this host, both of which are there; empty when it would."""
    return tuple(dict.fromkeys(_refusals(topology, vm, host)))


def _refusals(topology: Topology, vm: str, host: str) -> Iterator[str]:
    source = topology.vms[vm].host
    if source == host:
        yield f"{vm} is on {host} already"
        return
    for end in (source, host):
        if not adapters_of(topology, end, VMOTION):
            yield f"{end} has no vmkernel adapter with an address and the service {VMOTION}"
    away, limit = round_trip(topology, source, host), vmotion_limit(topology.release)
    if away is not None and away > limit:
        yield (
            f"the round trip between {source} and {host} is {away * 1000:g} ms, and vSphere {topology.release} allows "
            f"{limit * 1000:g} ms (VMO-9)"
        )
    yield from device_refusals(topology.vms[vm])
    yield from network_refusals(topology, vm, host)


def network_refusals(topology: Topology, vm: str, host: str) -> Iterator[str]:
    """Why this VM's vNICs would have no port on that host."""
    for nic in topology.vms[vm].nics:
        yield from _network(topology, nic, host)
    coming = Counter(home.name for nic in topology.vms[vm].nics for home in _homes(topology, nic, host)[:1])
    for switch, vnics in coming.items():
        yield from port_refusals(topology, host, switch, vnics)


def _homes(topology: Topology, nic: Nic, host: str) -> list[StandardSwitch]:
    """Standard switches of a host that have a port group of this name; none for a vNIC of a distributed switch."""
    if nic.switch not in topology.hosts[nic.host].standard_switches:
        return []
    return [s for s in topology.hosts[host].standard_switches.values() if nic.port_group in s.port_groups]


def _network(topology: Topology, nic: Nic, host: str) -> Iterator[str]:
    """A distributed port group goes with its switch; on standard switches one of the same name takes the VM."""
    if nic.switch in topology.hosts[nic.host].standard_switches:
        if not _homes(topology, nic, host):
            others = [d.name for d in topology.distributed_switches.values() if nic.port_group in d.port_groups]
            hint = f"; that of {others[0]}, a distributed switch, does not take its port over" if others else ""
            yield f"{nic.label}: no standard switch of {host} has a port group {nic.port_group!r}{hint}"
    elif host not in topology.distributed_switches[nic.switch].hosts:
        what = f"{nic.label}: {host} is no member of {nic.switch}, where its port group {nic.port_group!r} is"
        yield what + _namesake(topology, nic, host)


def _namesake(topology: Topology, nic: Nic, host: str) -> str:
    """Another switch's port group of that name is no substitute, least of all in another (private) VLAN."""
    own = topology.port_group(nic).vlan
    switches: list[StandardSwitch | DistributedSwitch] = [*topology.hosts[host].standard_switches.values()]
    switches += [dvs for dvs in topology.distributed_switches.values() if host in dvs.hosts]
    for group in (switch.port_groups.get(nic.port_group) for switch in switches):
        if group is not None:
            differs = "" if group.vlan == own else f", and is {group.vlan} where this is {own}"
            return f"; {group.label} there is another{differs}"
    return ""


def differences(topology: Topology, vm: str, host: str) -> tuple[str, ...]:
    """What vSphere does not refuse although the VM will notice: a port group of the same name in another VLAN."""
    found = []
    for nic in topology.vms[vm].nics:
        here = topology.port_group(nic)
        for switch in topology.hosts[host].standard_switches.values():
            there = switch.port_groups.get(nic.port_group)
            if nic.switch in topology.hosts[nic.host].standard_switches and there and there.vlan != here.vlan:
                found.append(f"{nic.label}: {nic.port_group!r} is {here.vlan} on {nic.host} and {there.vlan} on {host}")
    return tuple(found)
