"""The physical side: pSwitches, their ports, and the cables between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lab.model import ALL_VLANS, NO_PVLANS, Cable, Host, PhysicalPort, PhysicalSwitch, Pnic
from lab.topology.names import modules, site_of
from lab.topology.nodes import Path
from lab.topology.pvlans import PvlanMaps, check_aware_switches, map_of_all
from lab.topology.reading import Reading
from lab.topology.schema import CableSpec, MachineSpec, PnicSpec


def physical_switches(reading: Reading, maps: PvlanMaps) -> dict[str, PhysicalSwitch]:
    check_aware_switches(reading, maps)
    return {
        name: PhysicalSwitch(
            name=name,
            site=site_of(reading, ("physical_switches", name), spec.site),
            mac_table=spec.mac_table,
            bpdu_guard=spec.bpdu_guard,
            port_security=spec.port_security,
            stp=spec.stp,
            pvlans=map_of_all(maps) if spec.pvlan_aware else NO_PVLANS,
            cdp=spec.cdp,
            lldp=spec.lldp,
            channel_hash=spec.channel_hash,
            link_state_tracking=spec.link_state_tracking,
        )
        for name, spec in reading.spec.physical_switches.items()
    }


def check_plugged(reading: Reading, path: Path, switch: str, modules_too: bool = False) -> None:
    known, wrong_chassis = reading.declared("physical_switches"), reading.pruned(("chassis",))
    if not modules_too:
        reading.known(path, switch, known, "physical switch")
    elif known is not None and not wrong_chassis:
        found = [*known, *(str(module[-1]) for module in modules(reading))]
        reading.known(path, switch, found, "physical switch" if found == known else "physical switch or module")


def physical_port(reading: Reading, path: Path, spec: PnicSpec | CableSpec | MachineSpec) -> PhysicalPort:
    if spec.access is not None and (spec.trunk is not None or spec.native is not None):
        what = "access and trunk exclude each other"
        reading.wrong((*path, "access"), what, "an access port has one VLAN", key=True)
    port = PhysicalPort(spec.access, spec.trunk or ALL_VLANS, spec.native)
    if not isinstance(spec, PnicSpec):
        return port
    if spec.lacp is not None and spec.channel is None:
        reading.wrong((*path, "lacp"), "lacp is for members of a channel", "channel: 1", key=True)
    return replace(port, channel=spec.channel, lacp=spec.lacp)


def check_channels(reading: Reading, hosts: Mapping[str, Host]) -> None:
    """The members of a port channel are configured alike."""
    first: dict[tuple[str, int], Pnic] = {}
    for pnic in (pnic for host in hosts.values() for pnic in host.pnics.values()):
        if pnic.port.channel is None:
            continue
        other = first.setdefault((pnic.switch, pnic.port.channel), pnic)
        path: Path = ("hosts", pnic.host, "uplinks", pnic.name)
        member = f"{other.host}:{other.name}, of the same channel of {pnic.switch}"
        if (pnic.port.lacp is None) != (other.port.lacp is None):
            reading.wrong(path, f"not configured as {member}, is: LACP or static, not both", "lacp: active", key=True)
        elif replace(pnic.port, lacp=None) != replace(other.port, lacp=None):
            reading.wrong(path, f"not configured as {member}, is", "the same access, trunk and native", key=True)


def cables(reading: Reading) -> tuple[Cable, ...]:
    joined: dict[str, str] = {}
    found: list[Cable] = []

    def root(name: str) -> str:
        while name in joined:
            name = joined[name]
        return name

    for index, spec in enumerate(reading.spec.cables):
        path: Path = ("cables", index)
        for n, end in enumerate(spec.ends):
            check_plugged(reading, (*path, "ends", n), end)
        a, b = spec.ends
        again = sum(1 for cable in found if set(cable.ends) == {a, b})
        found.append(Cable((a, b), physical_port(reading, path, spec), again + 1))
        if a == b:
            reading.wrong((*path, "ends"), f"both ends are in {a!r}")
        elif root(a) != root(b):
            joined[root(a)] = root(b)
        elif not _loops_are_broken(reading):
            reading.wrong(path, f"closes a loop between {a!r} and {b!r}", "stp: true on every pSwitch")
    return tuple(found)


def _loops_are_broken(reading: Reading) -> bool:
    """By spanning tree on every pSwitch; one whose own `stp` is wrong may have meant to."""
    switches = reading.spec.physical_switches.items()
    return all(spec.stp or reading.pruned(("physical_switches", name, "stp")) for name, spec in switches)
