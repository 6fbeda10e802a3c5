"""A frame in a physical switch."""

from __future__ import annotations

from typing import NamedTuple

from lab.frame import BPDU_MACS, CDP_MAC, LACP_ETHERTYPE, LLDP_MAC, LOOP_ETHERTYPE, DropReason, Point, Tag
from lab.model import Machine, PhysicalPort
from lab.predict.arping import leads_by_otv, said_by
from lab.predict.hashes import CHANNEL_WORDS
from lab.predict.trail import AtPSwitch, AtUplink, Inside, Refusal, Trail
from lab.predict.world import Switch, Trunk, Uplink, kept_apart_by

VLAN_RULE = ("VLAN-16",)


class Arrival(NamedTuple):
    """A frame that came into a pSwitch, and the index of that sighting."""

    switch: Switch
    name: str
    port: str
    vlans: tuple[Tag, ...]
    hop: int
    teaches: bool


def from_wire(trail: Trail, step: AtPSwitch) -> None:
    name, port, vlans, parent, teaches = step
    switch = trail.world.switches[name]
    here = trail.hop(name, switch.node(port), Point.PSWITCH_RCV, port, vlans, parent, switch=name)
    arrival = Arrival(switch, name, port, vlans, here, teaches)
    entered = _consumed(trail, arrival) or _vlan_in(switch.ports[port], vlans)
    if switch.model.module is not None:
        entered = _into_module(trail, arrival, entered)
    if not isinstance(entered, Inside):
        return _drop(trail, arrival, port, entered)
    if not _secure(trail, arrival, entered.vlan):
        return _drop(trail, arrival, port, (DropReason.PSWITCH_PORT_SECURITY, ()))
    known = None
    if not trail.group:
        known = trail.mac_tables.get(name, (switch.table_vlan(entered.vlan), trail.dst))
    _learn(trail, arrival, entered.vlan)
    answered = _arp(trail, arrival, entered)
    return _forward(trail, arrival, entered, known, answered)


def _arp(trail: Trail, at: Arrival, inside: Inside) -> bool:
    """An OTV edge remembers what other sites tell, and answers for them what its own site asks: True when it does."""
    said = said_by(trail.frame, len(inside.inner))
    if said is None or not any(leads_by_otv(at.switch, p) and trail.scene.members(at.name, p) for p in at.switch.ports):
        return False
    if at.switch.ports[at.port].stretch is None:
        return said.asks and trail.group and trail.arp.get(at.name, (inside.vlan, said.wanted)) is not None
    if not said.asks and leads_by_otv(at.switch, at.port) and at.teaches:
        trail.arp.put(at.name, (inside.vlan, said.address), said.mac)
    return False


def _consumed(trail: Trail, at: Arrival) -> Refusal | None:
    """What the port takes no frame for, or the switch keeps for itself."""
    model = at.switch.model
    if (at.name, at.port) in trail.scene.state.blocked:
        return DropReason.PSWITCH_BLOCKED, ("TEAM-F-1",)
    if (at.name, at.port) in trail.scene.state.discarding:
        return DropReason.PSWITCH_STP, ("TEAM-F-1",)
    if (at.name, at.port) in trail.scene.state.deaf and not trail.scene.suspended(at.name, at.port):
        return DropReason.PSWITCH_DEAF, ("L2S-10",)
    if at.switch.ports[at.port].lacp is not None and trail.has_type(LACP_ETHERTYPE, at.vlans):
        return DropReason.LACPDU, ("LACP-3",)
    if trail.scene.suspended(at.name, at.port):
        return DropReason.PSWITCH_CHANNEL, ("LACP-6",)
    if model.bpdu_guard and trail.dst in BPDU_MACS and at.switch.is_edge(at.port):
        return DropReason.PSWITCH_BPDU_GUARD, ("ATK-8",)
    if model.stp and trail.dst == BPDU_MACS[0]:
        return DropReason.PSWITCH_DISCOVERY, ()
    if (model.cdp and trail.dst == CDP_MAC) or (model.lldp and trail.dst == LLDP_MAC):
        return DropReason.PSWITCH_DISCOVERY, ("MIR-13",)
    guarded = model.module is not None and model.module.loop_protection and at.switch.is_edge(at.port)
    if guarded and trail.has_type(LOOP_ETHERTYPE, at.vlans):
        return DropReason.PSWITCH_DISCOVERY, ("PVN-8",)
    return None


def _vlan_in(config: PhysicalPort, vlans: tuple[Tag, ...]) -> Inside | Refusal:
    outer = vlans[0] if vlans else None
    if outer is None or outer.vid == 0:
        if config.untagged is None:
            return DropReason.PSWITCH_NO_NATIVE, VLAN_RULE
        return Inside(config.untagged, outer.pcp if outer else 0, vlans[1:])
    if config.access is not None:
        return DropReason.PSWITCH_ACCESS_TAGGED, VLAN_RULE
    if not config.carries(outer.vid):
        return DropReason.PSWITCH_VLAN, ("VLAN-13",)
    return Inside(outer.vid, outer.pcp, vlans[1:])


def _into_module(trail: Trail, at: Arrival, entered: Inside | Refusal) -> Inside | Refusal:
    """A VLAN that none of the port's networks knows (PVN-10), or that another uplink has now (PVN-6)."""
    if isinstance(entered, Inside):
        waits = trail.scene.waits(at.name, at.port, entered.vlan)
        return (DropReason.MODULE_STANDBY, ("PVN-6",)) if waits else entered
    return (entered[0], ("PVN-10",)) if entered[0] is DropReason.PSWITCH_VLAN else entered


def _secure(trail: Trail, at: Arrival, vlan: int) -> bool:
    """Port security: the source is tied to the port that it first came in by, while that port may have more."""
    limit = at.switch.model.port_security
    if limit is None or trail.group_source or not at.switch.is_edge(at.port):
        return True
    key = (at.switch.table_vlan(vlan), trail.src)
    owner = trail.secured.get(at.name, key)
    if owner is not None:
        return owner == at.port
    if trail.secured.held(at.name, at.port) >= limit:
        return False
    if at.teaches:
        trail.secured.put(at.name, key, at.port)
    return True


def _learn(trail: Trail, at: Arrival, vlan: int) -> None:
    """A move overwrites; a full table takes nothing new."""
    if trail.group_source or not at.teaches:
        return
    key, end = (at.switch.table_vlan(vlan), trail.src), at.switch.logical(at.port)
    known = trail.mac_tables.get(at.name, key)
    if known == end or (known is None and trail.mac_tables.size(at.name) >= at.switch.model.mac_table):
        return
    trail.mac_tables.put(at.name, key, end)


def _forward(trail: Trail, at: Arrival, inside: Inside, known: str | None, answered: bool) -> None:
    """`known`: the port or channel that the destination was learned on before this frame came; `answered`: it has been
    answered for other sites."""
    open_ports, came_by = trail.scene.forwarding(at.name, inside.vlan), at.switch.logical(at.port)
    if known == came_by and trail.scene.members(at.name, came_by):
        return _drop(trail, at, at.port, (DropReason.PSWITCH_SAME_PORT, ()))
    if known is not None and known in open_ports:
        if _withheld(trail, at, known, learned=True):
            return _drop(trail, at, known, (DropReason.STRETCH, ("L2S-1",)), "out")
        return _out(trail, at, known, inside)
    if known is not None and (apart := _kept_apart(trail, at, known, inside.vlan)) is not None:
        return _drop(trail, at, known, apart, "out")
    others = [port for port in open_ports if port != came_by]
    targets = [port for port in others if not _withheld(trail, at, port, learned=False)]
    targets = [port for port in targets if not (answered and leads_by_otv(at.switch, port))]
    if others and not targets:
        return _drop(trail, at, at.port, (DropReason.STRETCH, ("L2S-1" if answered else "L2S-2",)))
    if not targets:
        return _drop(trail, at, at.port, (DropReason.PSWITCH_NO_RECEIVER, ()))
    for port in targets:
        _out(trail, at, port, inside)
    return None


def _withheld(trail: Trail, at: Arrival, port: str, learned: bool) -> bool:
    """True where a stretch does not take this frame to the sites behind that port (docs/stretch.md)."""
    stretch, came_by = at.switch.config(port).stretch, at.switch.ports[at.port].stretch
    if stretch is None:
        return False
    if stretch.splits_horizon and came_by is not None and came_by.name == stretch.name:
        return True
    if trail.dst in BPDU_MACS:
        return not stretch.carries_bpdus
    return not (trail.group or learned or stretch.floods_unknown)


def _kept_apart(trail: Trail, at: Arrival, port: str, vlan: int) -> Refusal | None:
    """Why a port that is up may not get this frame of a private VLAN; None where private VLANs have no say."""
    pvlans, config = at.switch.model.pvlans, at.switch.config(port)
    sent = pvlans.get(vlan)
    if sent is None or not trail.scene.members(at.name, port):
        return None
    own = pvlans.get(config.access) if config.access is not None else None
    if own is not None and own.primary == sent.primary:
        return DropReason.PVLAN_ISOLATED, (kept_apart_by(sent, own),)
    return (DropReason.PVLAN_ISOLATED, ("PVL-8",)) if config.access is None else None


def _out(trail: Trail, at: Arrival, port: str, inside: Inside) -> None:
    """A copy out of one port, or of a channel's member that the hash names, and on to what is at the far end."""
    members = trail.scene.members(at.name, port)
    chosen = trail.words(inside).hash(CHANNEL_WORDS[at.switch.model.channel_hash]) if len(members) > 1 else 0
    port = members[chosen % len(members)]
    config, far = at.switch.ports[port], at.switch.far[port]
    bare = config.access is not None or config.native == inside.vlan
    vlans = inside.inner if bare else inside.tagged()
    if _too_long(trail, config, vlans):
        return _drop(trail, at, port, (DropReason.MTU, ("L2S-8",)), "out")
    node = at.switch.node(port)
    why = _why_out(at, port, inside.vlan)
    out = trail.hop(at.name, node, Point.PSWITCH_SND, port, vlans, at.hop, why, at.name, "out")
    if isinstance(far, Machine):
        trail.hop(node, node, Point.NIC_RX, "eth0", vlans, out)
    elif isinstance(far, Trunk):
        trail.queue.append(AtPSwitch(far.switch, far.port, vlans, out, at.teaches))
    elif isinstance(far, Uplink) and far.part is not None:
        trail.queue.append(AtUplink(far.part, far.pnic, vlans, out, at.teaches))
    else:
        here = trail.hop(far.host, far.host, Point.UPLINK_RCV, far.pnic, vlans, out)
        unused = DropReason.UNUSED_PNIC
        trail.hop(far.host, far.host, Point.DROP, far.pnic, vlans, here, reason=unused)
    return None


def _too_long(trail: Trail, config: PhysicalPort, vlans: tuple[Tag, ...]) -> bool:
    """True where a stretch's transport network has no room for the frame: it disappears (L2S-8). One tag counts for
    nothing."""
    room = config.stretch.room if config.stretch is not None else None
    return room is not None and len(trail.frame.payload) + 4 * max(len(vlans) - 1, 0) > room


def _why_out(at: Arrival, port: str, vlan: int) -> tuple[str, ...]:
    if vlan in at.switch.model.pvlans:
        return (*VLAN_RULE, "PVL-10" if at.switch.ports[port].access else "PVL-8")
    if at.switch.model.module is None:
        return VLAN_RULE
    blades = [isinstance(at.switch.far[one], Uplink) for one in (at.port, port)]
    return ("PVN-7",) if all(blades) else ("PVN-6",) if not blades[1] else VLAN_RULE


def _drop(trail: Trail, at: Arrival, port: str, refusal: Refusal, direction: str = "in") -> None:
    reason, why = refusal
    node = at.switch.node(port)
    trail.hop(at.name, node, Point.DROP, port, at.vlans, at.hop, why, at.name, direction, reason)
