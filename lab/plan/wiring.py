"""Which namespaces and cables a topology needs, and what their interfaces are called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lab.model import Cable as ModelCable
from lab.model import Machine, Nic, PhysicalPort, StretchKind, Topology
from lab.plan import mirroring
from lab.plan.names import NODE_MAX, box_mac, linux_name
from lab.plan.types import Cable, Interface, Node, NodeKind, Tunnel, Way

UNDERLAY = ".wan"
"""Ends the name of the interface by which a tunnel's packets go to another site."""
WIRE_MTU = 9216
"""Cables between boxes carry jumbo frames with tags; the limit that a guest meets is its switch's MTU."""


def _switch_end(box: str, label: str) -> Interface:
    return Interface(linux_name(label), label, box_mac(box, label), WIRE_MTU)


def pswitch_ports(topology: Topology, switch: str) -> dict[str, PhysicalPort]:
    """Port label -> how it is configured: hosts in file order, then machines, then cables."""
    ports: dict[str, PhysicalPort] = {}
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            if pnic.switch == switch:
                ports[pnic.far_port] = pnic.port
    for machine in topology.machines.values():
        if machine.switch == switch:
            ports[machine.name] = machine.port
    for cable in topology.cables:
        if switch in cable.ends:
            ports[cable.port_at(switch)] = cable.config_at(switch)
    return ports


def nodes(topology: Topology) -> Iterator[Node]:
    """pSwitches, hosts, their vmkernel nodes, VMs, machines; each kind in file order."""
    for switch in topology.physical_switches:
        ends = tuple(_pswitch_ends(topology, switch))
        yield Node(linux_name(switch, NODE_MAX), switch, NodeKind.PSWITCH, ends)
    clients, mirror_ports = _clients(topology), _mirror_ports(topology)
    for host in topology.hosts.values():
        pnics = [Interface(p.name, p.name, p.mac, WIRE_MTU) for p in host.pnics.values()]
        ends = tuple(_switch_end(host.name, port) for port in (*clients[host.name], *mirror_ports[host.name]))
        yield Node(linux_name(host.name, NODE_MAX), host.name, NodeKind.HOST, (*pnics, *ends))
    for host in topology.hosts.values():
        vmknics = tuple(_guest_end(topology, n) for n in topology.vmknics if n.host == host.name)
        mirrors = tuple(_switch_end(f"{host.name}-vmk", label) for label in mirror_ports[host.name])
        if vmknics or mirrors:
            name = f"{host.name}-vmk"
            ends = (*vmknics, *mirrors)
            yield Node(linux_name(name, NODE_MAX), name, NodeKind.VMKERNEL, ends, gateway=host.gateway)
    for vm in topology.vms.values():
        ends = tuple(_guest_end(topology, nic) for nic in vm.nics)
        yield Node(linux_name(vm.name, NODE_MAX), vm.name, NodeKind.VM, ends)
    for machine in topology.machines.values():
        ends = (_machine_end(machine),)
        node = linux_name(machine.name, NODE_MAX)
        yield Node(node, machine.name, NodeKind.MACHINE, ends, machine.routes, machine.gateway)


def _pswitch_ends(topology: Topology, switch: str) -> Iterator[Interface]:
    """Its ports, then what tunnels go by."""
    ways = {cable.port_at(switch): cable for cable in topology.cables if switch in cable.ends and cable.port.stretch}
    for label in pswitch_ports(topology, switch):
        yield _stretch_end(topology, switch, label, ways[label]) if label in ways else _switch_end(switch, label)
    for label, cable in ways.items():
        if _is_tunnel(cable):
            yield _underlay(topology, switch, label, cable)


def _is_tunnel(cable: ModelCable) -> bool:
    return cable.port.stretch is not None and cable.port.stretch.kind is StretchKind.VXLAN


def _stretch_end(topology: Topology, switch: str, label: str, cable: ModelCable) -> Interface:
    """What the transport adds to a frame, its payload has less room for (L2S-8)."""
    stretch, plain = cable.port.stretch, _switch_end(switch, label)
    assert stretch is not None
    if stretch.room is None:
        return plain
    if not _is_tunnel(cable):
        return replace(plain, mtu=stretch.room)
    underlay, other = _underlay(topology, switch, label, cable), _other_end(cable, switch)
    there = _underlay(topology, other, cable.port_at(other), cable)
    local, remote = (end.addresses[0].split("/")[0] for end in (underlay, there))
    tunnel = Tunnel(_number(topology, cable), underlay.name, local, remote, there.mac, stretch.udp_port)
    return replace(plain, mtu=stretch.room, tunnel=tunnel)


def _underlay(topology: Topology, switch: str, label: str, cable: ModelCable) -> Interface:
    """The transport network's end in this pSwitch: link-local addresses, four for each way between two sites."""
    stretch = cable.port.stretch
    assert stretch is not None
    number = 4 * _number(topology, cable) + 1 + cable.ends.index(switch)
    address = f"169.254.{number // 256}.{number % 256}/30"
    return replace(_switch_end(switch, f"{label}{UNDERLAY}"), mtu=stretch.mtu, addresses=(address,))


def _way(topology: Topology, cable: ModelCable) -> Way | None:
    stretch = cable.port.stretch
    if stretch is None:
        return None
    rate = stretch.rate.scaled(topology.speed_scale).bits if stretch.rate else 0
    way = Way(stretch.delay, stretch.jitter, stretch.loss, rate)
    return way if way != Way() else None


def _other_end(cable: ModelCable, switch: str) -> str:
    return cable.ends[1] if switch == cable.ends[0] else cable.ends[0]


def _number(topology: Topology, cable: ModelCable) -> int:
    """Of a tunnel, from 1: its VNI too."""
    return [one for one in topology.cables if _is_tunnel(one)].index(cable) + 1


def cables(topology: Topology) -> Iterator[Cable]:
    """Between pSwitches, host to pSwitch, machine to pSwitch, vNIC or vmknic to host; each kind in file order."""
    for cable in topology.cables:
        (a, at_a), (b, at_b) = ((end, cable.port_at(end)) for end in cable.ends)
        way = _way(topology, cable)
        if _is_tunnel(cable):
            yield Cable((a, at_a), (b, at_b), tunnelled=True)
            yield Cable((a, f"{at_a}{UNDERLAY}"), (b, f"{at_b}{UNDERLAY}"), way=way)
        else:
            yield Cable((a, at_a), (b, at_b), way=way)
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            yield Cable((host.name, pnic.name), (pnic.switch, pnic.far_port))
    for machine in topology.machines.values():
        yield Cable((machine.name, "eth0"), (machine.switch, machine.name))
    for nic in (*topology.vmknics, *topology.vnics):
        yield Cable((nic.node, nic.name), (nic.host, nic.port))
    for name, labels in _mirror_ports(topology).items():
        for label in labels:
            yield Cable((f"{name}-vmk", label), (name, label))


def _mirror_ports(topology: Topology) -> dict[str, list[str]]:
    """Host -> ports to the actor that samples and encapsulates mirror copies; both ends of their cables bear one
    name."""
    found: dict[str, list[str]] = {name: [] for name in topology.hosts}
    for part in topology.host_switches.values():
        if mirroring.has_actor(part):
            found[part.host].append(mirroring.port_label(part))
    return found


def _clients(topology: Topology) -> dict[str, list[str]]:
    """Host -> ports of its vmknics and vNICs."""
    found: dict[str, list[str]] = {name: [] for name in topology.hosts}
    for nic in (*topology.vmknics, *topology.vnics):
        found[nic.host].append(nic.port)
    return found


def _guest_end(topology: Topology, nic: Nic) -> Interface:
    mtu = topology.host_switches[nic.host, nic.switch].mtu
    addresses = (nic.address,) if nic.address else ()
    return Interface(nic.name, nic.name, nic.mac, mtu, addresses, up=nic.connected)


def _machine_end(machine: Machine) -> Interface:
    addresses = tuple(address for address in (machine.address, *machine.more) if address)
    return Interface("eth0", "eth0", machine.mac, 1500, addresses)
