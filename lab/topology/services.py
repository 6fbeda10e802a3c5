"""What a host's vmkernel says to others, service by service: by which adapter, to which port, in clear or not (VMK).

The adapter follows from the service and the routing table of the host's one TCP/IP stack: an adapter that is for the
service and in the peer's subnet; else the first one in that subnet; else the one that the default gateway is behind,
whatever that adapter was meant for (VMK-9). docs/vmkernel.md says it in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from lab.errors import UsageError
from lab.model import Knobs, Machine, Nic, Topology
from lab.topology.migration import adapters_of
from lab.topology.releases import since
from lab.topology.words import suggestion

MANAGEMENT = "management"
PROVISIONING_ADAPTER = "6.0"
"""The first release whose adapters may be for provisioning alone (K)."""
FDM = "5.0"
"""The first release whose HA is FDM; before, it is AAM (K)."""
REPLICATION = "5.0"
"""The first release with vSphere Replication (K)."""


@dataclass(frozen=True)
class Part:
    """One connection of a service, or its datagrams. `sealed`: by TLS; `carries`: the service's data goes there, and
    not only what has to be said before."""

    protocol: str
    port: int
    sealed: bool = False
    carries: bool = True

    def __str__(self) -> str:
        return f"{self.protocol.upper()} {self.port}"


@dataclass(frozen=True)
class Service:
    """`adapters`: for which service the host's adapters are that it may leave by, the best first; empty: the routing
    table says. `from_host`: a host begins, and else it is what others come to; `to_host`: it is between hosts only.
    `interval`: seconds between two of its datagrams."""

    name: str
    what: str
    parts: tuple[Part, ...]
    adapters: tuple[str, ...] = (MANAGEMENT,)
    from_host: bool = True
    to_host: bool = False
    interval: float = 0.0

    @property
    def sealed(self) -> bool:
        """Whoever reads the wire reads nothing of its data."""
        return all(part.sealed for part in self.parts if part.carries)

    @property
    def ports(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(part) for part in self.parts))


@dataclass(frozen=True)
class Exchange:
    """A service between two ends. `bound`: it leaves by that adapter whatever the routes say; `gateway`: the default
    gateway that it goes through, empty for a neighbour; `vm`: whose data a host sends."""

    service: Service
    sender: Nic | Machine
    receiver: Nic | Machine
    bound: bool = False
    gateway: str = ""
    vm: str = ""
    warnings: tuple[str, ...] = ()


def services(release: str, knobs: Knobs) -> dict[str, Service]:
    """All that this release has, by name."""
    return {service.name: service for service in _services(release, knobs)}


def _services(release: str, knobs: Knobs) -> Iterator[Service]:
    login = Part("tcp", 902, sealed=True, carries=False)
    yield Service(MANAGEMENT, "client and API", (Part("tcp", 443, sealed=True),), from_host=False)
    yield Service("console", "remote console", (Part("tcp", 902, sealed=True),), from_host=False)
    yield Service("heartbeat", "heartbeat to vCenter", (Part("udp", 902),), interval=10.0)
    dedicated = ("provisioning",) if since(release, PROVISIONING_ADAPTER) else ()
    bulk = Part("tcp", 902, sealed=knobs.nfc_ssl == "on")
    yield Service("provisioning", "NFC: cold migration, clone", (login, bulk), (*dedicated, MANAGEMENT), to_host=True)
    if since(release, REPLICATION):
        blocks = tuple(Part("tcp", port, sealed=knobs.hbr_encrypt == "on") for port in (31031, 44046))
        yield Service("replication", "changed blocks to another site", blocks, ("vsphere_replication", MANAGEMENT))
    if since(release, FDM):
        election = Part("tcp", 8182, sealed=True, carries=False)
        yield Service("ha", "HA (FDM) heartbeats", (election, Part("udp", 8182)), to_host=True, interval=1.0)
    else:
        yield Service("ha", "HA (AAM) heartbeats", (Part("udp", 8042),), to_host=True, interval=1.0)
    yield Service("iscsi", "blocks of a software iSCSI datastore", (Part("tcp", 3260),), ("iscsi",))
    yield Service("nfs", "blocks of an NFS datastore", (Part("tcp", 2049),), ())


def exchange_of(topology: Topology, name: str, sender: str, receiver: str) -> Exchange:
    """Between a host and whatever is named: another host, a machine, a VM, an adapter. A VM that a host speaks for
    stands for its host. Raises UsageError with the reason why there is no such exchange."""
    known = services(topology.release, topology.knobs)
    if name not in known:
        raise UsageError(f"vSphere {topology.release} has no service {name!r} here{_hint(name, list(known))}")
    service = known[name]
    if not service.from_host:
        return _to_a_host(topology, service, sender, receiver)
    vm = sender if sender in topology.vms else ""
    host = topology.vms[vm].host if vm else _host(topology, sender)
    there = _receiver(topology, service, host, receiver)
    return _leaving(topology, service, host, there, vm)


def _to_a_host(topology: Topology, service: Service, sender: str, receiver: str) -> Exchange:
    there = _adapter(topology, service, _host(topology, receiver))
    if sender in topology.hosts:
        return _leaving(topology, service, _same_host(sender, there), there, "")
    return Exchange(service, _end(topology, sender), there)


def _receiver(topology: Topology, service: Service, host: str, name: str) -> Nic | Machine:
    if name in topology.hosts:
        if not service.to_host:
            raise UsageError(f"{service.name} goes to a server, and {name} is a host: name a machine or a VM")
        there = _adapter(topology, service, name)
        _same_host(host, there)
        return there
    if service.to_host:
        _host(topology, name)  # says what there is
    return _end(topology, name)


def _leaving(topology: Topology, service: Service, host: str, there: Nic | Machine, vm: str) -> Exchange:
    peer = _ip(there)
    own = _own(topology, service, host)
    meant = own or list(adapters_of(topology, host, service.name))  # NFS: said, and of no effect
    bound = next((nic for nic in own if _holds(nic, peer)), None)
    if bound is not None:
        return Exchange(service, bound, there, bound=True, vm=vm)
    neighbours = [nic for nic in _adapters(topology, host) if _holds(nic, peer)]
    if neighbours:
        return Exchange(service, neighbours[0], there, vm=vm, warnings=_told(service, meant, neighbours[0], ""))
    gateway = topology.hosts[host].gateway
    by = next((nic for nic in _adapters(topology, host) if gateway and _holds(nic, gateway)), None)
    if by is None:
        why = f"its gateway {gateway} is behind none of them" if gateway else "the host has no gateway"
        raise UsageError(f"{host} has no way to {peer}: no vmkernel adapter in that subnet, and {why}")
    return Exchange(service, by, there, gateway=gateway, vm=vm, warnings=_told(service, meant, by, gateway))


def _told(service: Service, meant: list[Nic], by: Nic, gateway: str) -> tuple[str, ...]:
    if by in meant or not meant:
        return ()
    why = f"the stack's only default gateway {gateway} is behind it" if gateway else "it is first in that subnet"
    return (f"{service.name} leaves {by.host} by {by.name}, not by {meant[0].name}: {why} (VMK-9)",)


def _adapter(topology: Topology, service: Service, host: str) -> Nic:
    """Where others come to."""
    found = _own(topology, service, host)
    if not found:
        tags = " or ".join(service.adapters)
        raise UsageError(f"{host} has no vmkernel adapter with an address and the service {tags}")
    return found[0]


def _own(topology: Topology, service: Service, host: str) -> list[Nic]:
    """The adapters that this host has for it; those for management only where there is none of its own."""
    each = (list(adapters_of(topology, host, tag)) for tag in service.adapters)
    return next((found for found in each if found), [])


def _adapters(topology: Topology, host: str) -> list[Nic]:
    return [nic for nic in topology.vmknics if nic.host == host and nic.address]


def _host(topology: Topology, name: str) -> str:
    if name not in topology.hosts:
        raise UsageError(f"no host {name!r}{_hint(name, list(topology.hosts))}")
    return name


def _same_host(host: str, there: Nic) -> str:
    if there.host == host:
        raise UsageError(f"both ends are {host}: no frame would leave it")
    return host


def _end(topology: Topology, name: str) -> Nic | Machine:
    ends: dict[str, Nic | Machine] = {nic.label: nic for nic in (*topology.vnics, *topology.vmknics)}
    ends |= {nic.owner: nic for nic in reversed(topology.vnics)} | dict(topology.machines)
    if name not in ends:
        known = [*topology.machines, *topology.vms, *(nic.label for nic in topology.vmknics)]
        raise UsageError(f"no machine, VM or vmknic {name!r}{_hint(name, known)}")
    if not ends[name].address:
        raise UsageError(f"{name} has no address: give it one in the topology file")
    return ends[name]


def _hint(name: str, known: list[str]) -> str:
    found = suggestion(name, known)
    return f" ({found})" if found else ""


def _ip(end: Nic | Machine) -> str:
    return end.address.split("/")[0]


def _holds(nic: Nic, address: str) -> bool:
    """It is in this adapter's subnet."""
    return ip_address(address) in ip_interface(nic.address).network
