"""Which namespaces and cables a topology needs, and what their interfaces are called."""

from __future__ import annotations

from collections.abc import Iterator

from lab.model import Machine, Nic, PhysicalPort, Topology
from lab.plan import mirroring
from lab.plan.names import NODE_MAX, box_mac, linux_name
from lab.plan.types import Cable, Interface, Node, NodeKind

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
            ports[cable.port_at(switch)] = cable.port
    return ports


def nodes(topology: Topology) -> Iterator[Node]:
    """pSwitches, hosts, their vmkernel nodes, VMs, machines; each kind in file order."""
    for switch in topology.physical_switches:
        ends = tuple(_switch_end(switch, label) for label in pswitch_ports(topology, switch))
        yield Node(linux_name(switch, NODE_MAX), switch, NodeKind.PSWITCH, ends)
    for host in topology.hosts.values():
        pnics = [Interface(p.name, p.name, p.mac, WIRE_MTU) for p in host.pnics.values()]
        clients = [_switch_end(host.name, port) for port in _client_ports(topology, host.name)]
        yield Node(linux_name(host.name, NODE_MAX), host.name, NodeKind.HOST, (*pnics, *clients))
    for host in topology.hosts.values():
        vmknics = tuple(_guest_end(topology, n) for n in topology.vmknics if n.host == host.name)
        mirrors = tuple(_switch_end(f"{host.name}-vmk", label) for label in _mirror_ports(topology, host.name))
        if vmknics or mirrors:
            name = f"{host.name}-vmk"
            yield Node(linux_name(name, NODE_MAX), name, NodeKind.VMKERNEL, (*vmknics, *mirrors))
    for vm in topology.vms.values():
        ends = tuple(_guest_end(topology, nic) for nic in vm.nics)
        yield Node(linux_name(vm.name, NODE_MAX), vm.name, NodeKind.VM, ends)
    for machine in topology.machines.values():
        ends = (_machine_end(machine),)
        yield Node(linux_name(machine.name, NODE_MAX), machine.name, NodeKind.MACHINE, ends, machine.routes)


def cables(topology: Topology) -> Iterator[Cable]:
    """Between pSwitches, host to pSwitch, machine to pSwitch, vNIC or vmknic to host; each kind in file order."""
    for cable in topology.cables:
        a, b = cable.ends
        yield Cable((a, cable.port_at(a)), (b, cable.port_at(b)))
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            yield Cable((host.name, pnic.name), (pnic.switch, pnic.far_port))
    for machine in topology.machines.values():
        yield Cable((machine.name, "eth0"), (machine.switch, machine.name))
    for nic in (*topology.vmknics, *topology.vnics):
        yield Cable((nic.node, nic.name), (nic.host, nic.port))
    for name in topology.hosts:
        for label in _mirror_ports(topology, name):
            yield Cable((f"{name}-vmk", label), (name, label))


def _mirror_ports(topology: Topology, host: str) -> list[str]:
    """Ports to the actor that samples and encapsulates mirror copies; both ends of their cables bear one name."""
    parts = (part for part in topology.host_switches.values() if part.host == host)
    return [mirroring.port_label(part) for part in parts if mirroring.has_actor(part)]


def _client_ports(topology: Topology, host: str) -> list[str]:
    return [*(nic.port for nic in _nics_on(topology, host)), *_mirror_ports(topology, host)]


def _nics_on(topology: Topology, host: str) -> list[Nic]:
    return [n for n in (*topology.vmknics, *topology.vnics) if n.host == host]


def _guest_end(topology: Topology, nic: Nic) -> Interface:
    mtu = topology.host_switches[nic.host, nic.switch].mtu
    addresses = (nic.address,) if nic.address else ()
    return Interface(nic.name, nic.name, nic.mac, mtu, addresses, up=nic.connected)


def _machine_end(machine: Machine) -> Interface:
    return Interface("eth0", "eth0", machine.mac, 1500, (machine.address,) if machine.address else ())
