"""The words of `vlab set` that close a way to a frame."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Sequence

from lab.model import VLAN_MAX, Machine, Nic, PortGroup, Topology


def set_words(kind: str, name: str) -> str:
    return f"vlab set {kind} {shlex.quote(name)}"


def group_name(topology: Topology, nic: Nic) -> str:
    """As `vlab set port-group` takes it without doubt: `dvs0/web`, `esx1/vSwitch0/web`."""
    group = topology.port_group(nic)
    return group.label if group.switch in topology.distributed_switches else f"{nic.host}/{group.label}"


def policy_of(topology: Topology, nic: Nic) -> str:
    """Where the security policy of a port is set: at the vNIC when it has one of its own."""
    return set_words("vnic", nic.label) if nic.security else set_words("port-group", group_name(topology, nic))


def quarantine(topology: Topology, nic: Nic, vids: Collection[int], ends: Sequence[str]) -> str:
    """Out of the flow's VLANs: another port group of the switch, or another VLAN for its own one when neither end of
    the flow is in it, or no connection at all."""
    standard = topology.hosts[nic.host].standard_switches.get(nic.switch)
    groups = (standard or topology.distributed_switches[nic.switch]).port_groups
    for group in groups.values():
        if group.name != nic.port_group and not _carries(group, vids):
            return f"{set_words('vnic', nic.label)} port_group={shlex.quote(group.name)}"
    own = group_name(topology, nic)
    there = {end.label for end in (*topology.vnics, *topology.vmknics) if group_name(topology, end) == own}
    if there.isdisjoint(ends) and topology.port_group(nic).vlan.pvlan is None:
        return f"{set_words('port-group', own)} vlan={unused_vlan(topology)}"
    return f"{set_words('vnic', nic.label)} connected=false"


def _carries(group: PortGroup, vids: Collection[int]) -> bool:
    return group.vlan.pvlan is not None or any(group.vlan.carries(vid) for vid in vids)


def quarantine_machine(topology: Topology, machine: Machine) -> str:
    """Into a VLAN that nobody else uses."""
    vlan = unused_vlan(topology)
    where = f"access={vlan}" if machine.port.access is not None else f"trunk=[{vlan}] native="
    return f"{set_words('machine', machine.name)} {where}"


def unused_vlan(topology: Topology) -> int:
    """The highest VLAN ID that no port group and no access port is in."""
    used = {machine.port.access for machine in topology.machines.values()}
    groups = [topology.port_group(nic).vlan for nic in (*topology.vnics, *topology.vmknics)]
    for vid in range(VLAN_MAX, 1, -1):
        if vid not in used and not any(policy.ranges == () and policy.vlan == vid for policy in groups):
            return vid
    return VLAN_MAX


def most_macs(topology: Topology, switch: str) -> int:
    """How many MACs there are behind the fullest of a pSwitch's ports to hosts and modules, at least 1: with so many
    allowed, no port is refused what it sends today."""
    behind: Counter[str] = Counter()
    modules = {c.ends[0]: f"{c.ends[0]}-{c.uplink.name}" for c in topology.cables if c.uplink and c.ends[1] == switch}
    for host in topology.hosts.values():
        for part in (p for (name, _), p in topology.host_switches.items() if name == host.name):
            for pnic in part.uplinks:
                if host.pnics[pnic].switch == switch:
                    behind[f"{host.name}:{pnic}"] += len(part.ports)
                elif host.pnics[pnic].switch in modules:
                    behind[modules[host.pnics[pnic].switch]] += len(part.ports)
    return max(1, *behind.values()) if behind else 1
