"""What keeps a VM where it is, or out of where it is wanted: devices that stay behind (VMO-11), switches without a free
port."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from lab.model import Host, Nic, Topology, Vm
from lab.topology.reading import Reading

STAYING = {
    "usb": "a USB device that is not enabled for vMotion is attached to it (VMO-11)",
    "physical_serial": "a physical serial port of its host is attached to it (VMO-11)",
    "physical_parallel": "a physical parallel port of its host is attached to it (VMO-11)",
    "network_serial": "it has a network serial port without a proxy (VMO-11)",
    "passthrough": "a PCI device of its host is passed through to it (K)",
}
"""Device -> why a VM that has one is not moved while it runs. Others go with it."""


def device_refusals(vm: Vm) -> Iterator[str]:
    yield from (f"{vm.name}: {STAYING[device]}" for device in dict.fromkeys(vm.devices) if device in STAYING)


def taken(topology: Topology, host: str, switch: str) -> int:
    """Ports of a switch on this host that somebody has: its uplinks, vmkernel adapters and vNICs."""
    part = topology.host_switches[host, switch]
    return len(part.uplinks) + len(part.ports)


def port_refusals(topology: Topology, host: str, switch: str, coming: int) -> Iterator[str]:
    """Why a standard switch has no port for so many vNICs more."""
    ports = topology.hosts[host].standard_switches[switch].ports
    if ports is not None and taken(topology, host, switch) + coming > ports:
        free = ports - taken(topology, host, switch)
        yield f"{switch} on {host} has {_free(free)}, and {coming} more {'is' if coming == 1 else 'are'} needed"


def _free(ports: int) -> str:
    return "no free port" if ports == 0 else f"{ports} free port{'' if ports == 1 else 's'}"


def check_ports(reading: Reading, hosts: Mapping[str, Host], nics: Iterable[Nic]) -> None:
    """A switch that has more clients than ports is a mistake in the file."""
    clients = Counter((nic.host, nic.switch) for nic in nics)
    for host in hosts.values():
        for switch in host.standard_switches.values():
            used = len(switch.uplinks) + clients[host.name, switch.name]
            if switch.ports is not None and used > switch.ports:
                path = ("hosts", host.name, "standard_switches", switch.name, "ports")
                what = f"{used} ports are taken by uplinks, vmkernel adapters and vNICs, and there are {switch.ports}"
                reading.wrong(path, what, f"ports: {used}")
