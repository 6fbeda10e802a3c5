"""Default gateways: each must be in a subnet of its owner's, or no frame would ever find it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface

from lab.model import Machine, Nic
from lab.topology.nodes import Path
from lab.topology.reading import Reading


def check_gateways(reading: Reading, vmknics: Iterable[Nic], machines: Iterable[Machine]) -> None:
    adapters = list(vmknics)
    for host, spec in reading.spec.hosts.items():
        own = [nic.address for nic in adapters if nic.host == host]
        written = sum(1 for nic in adapters if nic.host == host) == len(spec.vmkernel)
        if spec.gateway and written and not reading.pruned(("hosts", host, "vmkernel")):
            _check(reading, ("hosts", host, "gateway"), spec.gateway, own, "its vmkernel adapters")
    for machine in machines:
        if machine.gateway:
            path: Path = ("machines", machine.name, "gateway")
            _check(reading, path, machine.gateway, [machine.address, *machine.more], "its addresses")


def _check(reading: Reading, path: Path, gateway: str, own: Iterable[str], what: str) -> None:
    networks = [ip_interface(address).network for address in own if address]
    if not any(ip_address(gateway) in network for network in networks):
        there = ", ".join(map(str, networks)) or "none"
        reading.wrong(path, f"{gateway} is in no subnet of {what}", f"there is {there}")
