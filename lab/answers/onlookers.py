"""Why somebody who is not on the path saw a frame: in words, by which statements, and the `vlab set` that ends it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.frame import BROADCAST, Frame, Hop
from lab.model import Machine, Nic, Topology
from lab.plan.wiring import UNDERLAY
from lab.predict import remedies

COPIES = frozenset({"SEC-2", "MIR-1"})
"""Statements by which a port gets what is for another one."""
_COPIED_BY = {
    "SEC-2": ("promiscuous, which its policy accepts", "security.promiscuous=reject"),
    "MIR-1": ("a mirroring session copies it there", ""),
    "SEC-16": ("MAC learning floods unknown addresses", "mac_learning.unicast_flooding=false"),
}


@dataclass(frozen=True)
class Onlooking:
    """`closes` is empty where no policy ends it: a mirroring session, a pSwitch that floods."""

    why: str
    statements: tuple[str, ...]
    closes: str = ""


@dataclass(frozen=True)
class Asking:
    """The frame, the labels of its two ends and every VLAN that it was in, in the topology as it was."""

    topology: Topology
    frame: Frame
    ends: tuple[str, str]
    vids: frozenset[int]


def vids_on(trails: Iterable[Sequence[Hop]]) -> frozenset[int]:
    """Those of all tags, inner ones too: a tag that is taken off leaves the one behind it."""
    return frozenset(tag.vid for hops in trails for hop in hops for tag in hop.vlans)


def onlooking(asked: Asking, way: Sequence[Hop]) -> Onlooking:
    """`way`: the frame's hops as far as the one where it was seen."""
    hop, said = way[-1], [name for h in way for name in h.statements]
    if hop.encapsulation:
        carried = hop.interface.endswith(UNDERLAY)
        told = ("a stretch carries it, in VXLAN", ("L2S-7",)) if carried else (_IN_GRE, ("MIR-6",))
        return Onlooking(*told)
    at = _end_at(asked.topology, hop)
    for statement in (name for name in said if name in _COPIED_BY):
        why, setting = _COPIED_BY[statement]
        return Onlooking(why, (statement,), _setting(asked.topology, at, statement, setting))
    if not asked.frame.is_multicast and at is not None and at.mac == asked.frame.dst:
        return Onlooking("the frame is addressed to it", ("SEC-12", "ATK-5"), _apart(asked, at))
    if not asked.frame.is_multicast and "SEC-10" in said:
        closes = _setting(asked.topology, at, "SEC-10", "security.mac_changes=reject")
        return Onlooking("its guest has set the receiver's MAC", ("SEC-10", "ATK-6"), closes)
    return Onlooking(_spread(hop, asked.frame), _last_statements(way), _apart(asked, at))


_IN_GRE = "a mirroring session sends it there, in GRE"


def _spread(hop: Hop, frame: Frame) -> str:
    """Why there is more than one copy when no port has asked for it."""
    if frame.dst == BROADCAST:
        return "broadcast to its VLAN"
    if frame.is_multicast:
        return "multicast in its VLAN"
    return "flooded: a pSwitch does not know the destination" if not hop.reason else str(hop.reason)


def _last_statements(way: Sequence[Hop]) -> tuple[str, ...]:
    """Those of the last step that any decided."""
    return next((hop.statements for hop in reversed(way) if hop.statements), ())


def _end_at(topology: Topology, hop: Hop) -> Nic | Machine | None:
    """The vNIC, vmknic or machine whose own interface or switch port it is; None at uplinks and between pSwitches."""
    if hop.node in topology.machines:
        return topology.machines[hop.node]
    nics = (nic for nic in (*topology.vnics, *topology.vmknics) if nic.node == hop.node)
    return next((nic for nic in nics if hop.interface in (nic.port, nic.name)), None)


def _setting(topology: Topology, at: Nic | Machine | None, statement: str, setting: str) -> str:
    """A policy of the port; where a mirroring session copies to, only the port itself can be closed."""
    if not isinstance(at, Nic):
        return ""
    if statement == "MIR-1":
        return "" if at.is_vmk else f"{remedies.set_words('vnic', at.label)} blocked=true"
    if statement == "SEC-16":
        return f"{remedies.set_words('port-group', remedies.group_name(topology, at))} {setting}"
    return f"{remedies.policy_of(topology, at)} {setting}"


def _apart(asked: Asking, at: Nic | Machine | None) -> str:
    """Out of the frame's VLANs; empty for a box, which is on their wires."""
    if isinstance(at, Machine):
        return remedies.quarantine_machine(asked.topology, at)
    if at is None or at.is_vmk:
        return ""
    return remedies.quarantine(asked.topology, at, asked.vids | {asked.topology.port_group(at).vlan.vlan}, asked.ends)
