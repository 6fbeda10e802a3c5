"""A frame in a host's switch: from a client port or an uplink to client ports and, at most, one uplink."""

from __future__ import annotations

from typing import NamedTuple

from lab.frame import BPDU_MACS, BROADCAST, CDP_MAC, LACP_ETHERTYPE, LLDP_MAC, DropReason, Point, Tag
from lab.model import ClientPort, Knobs, PvlanKind, Tagging, VlanPolicy
from lab.predict.hashes import LAG_WORDS, octet
from lab.predict.mirrors import mirror
from lab.predict.scene import Port, View
from lab.predict.trail import AtUplink, Entry, Inside, Refusal, Trail
from lab.predict.world import kept_apart_by

BPDU = frozenset(BPDU_MACS)
DISCOVERY = frozenset({CDP_MAC, LLDP_MAC})
ARP = 0x0806
_PINNED = {"loadbalance_srcid": "TEAM-PID-1", "loadbalance_loadbased": "LBT-1"}


class Found(NamedTuple):
    """What lookup says: ports that get the frame and why; the statements under which it also leaves by the sender's
    uplink (None: it does not); or where and why it ends (no port: where it came in)."""

    ports: tuple[Port, ...] = ()
    why: tuple[str, ...] = ()
    leaves: tuple[str, ...] | None = None
    ends: tuple[Port | None, Refusal] | None = None


# -- into the switch


def from_client(trail: Trail, view: View, port: Port, parent: int) -> None:
    here = trail.hop(view.host, port.node, Point.PORT_INPUT, port.name, trail.vlans, parent, switch=view.name)
    entered = _refused(trail, port) or _vlan_in(trail.knobs, port.client.vlan, trail.vlans)
    known = None
    if isinstance(entered, Inside):
        known = trail.learned.get(view.key, (entered.vlan, trail.dst))
        entered = _learn(trail, view, port, entered) or entered
    if not isinstance(entered, Inside):
        reason, why = entered
        trail.hop(view.host, port.node, Point.DROP, port.name, trail.vlans, here, why, view.name, reason=reason)
        return
    entry = Entry(view, here, trail.vlans, entered, port, None, True, known)
    mirror(trail, entry, port.transmitted, ("MIR-8",))
    _dispatch(trail, entry)


def from_uplink(trail: Trail, step: AtUplink) -> None:
    view, vlans = trail.scene.view(step.part), step.vlans
    here = trail.hop(view.host, view.host, Point.UPLINK_RCV, step.pnic, vlans, step.parent, switch=view.name)
    inside = Inside(vlans[0].vid, vlans[0].pcp, vlans[1:]) if vlans else Inside(0, 0, ())
    known = trail.learned.get(view.key, (inside.vlan, trail.dst))
    entry = Entry(view, here, vlans, inside, None, step.pnic, step.teaches, known)
    kept = _kept_by_host(trail, step)
    if kept is not None:
        return _drop_at_entry(trail, entry, kept)
    mirror(trail, entry, view.remote.get(inside.vlan, ()))
    return _dispatch(trail, entry)


def _kept_by_host(trail: Trail, step: AtUplink) -> Refusal | None:
    """What the host itself takes from an uplink, or does not take at all."""
    part, member = step.part, (step.part.host, step.pnic)
    if step.pnic in part.lag_members:
        if trail.has_type(LACP_ETHERTYPE, step.vlans):
            return DropReason.LACPDU, ("LACP-3",)
        if member not in trail.scene.state.lag_members:
            return DropReason.LAG_MEMBER, ("LACP-2",)
    if trail.dst in DISCOVERY:
        return DropReason.DISCOVERY, ("MIR-13",)
    if trail.has_type(trail.knobs.beacon_ethertype, step.vlans):
        return DropReason.BEACON, ("BCN-10",)
    return None


def _refused(trail: Trail, port: Port) -> Refusal | None:
    """What the port's own settings and the security policy refuse."""
    nic, security = port.client.nic, port.client.security
    if nic.blocked:
        return DropReason.PORT_BLOCKED, ("SEC-19",)
    if port.mirror_only:
        return DropReason.MIRROR_DESTINATION, ("MIR-4",)
    allowed = nic.mac if trail.knobs.forged_compare == "vmx" else port.mac
    if not security.forged_transmits and trail.src != allowed:
        why = ("SEC-8",) if trail.src == port.mac else ("SEC-13",) if trail.dst in BPDU else ()
        return DropReason.FORGED_TRANSMIT, ("SEC-7", *why)
    if trail.knobs.block_guest_bpdu and trail.dst in BPDU:
        return DropReason.GUEST_BPDU, ("FWD-16",)
    return None


def _vlan_in(knobs: Knobs, policy: VlanPolicy, vlans: tuple[Tag, ...]) -> Inside | Refusal:
    """The VLAN that a client's frame is in, or why it is refused."""
    outer = vlans[0] if vlans else None
    home = 0 if policy.tagging is Tagging.VGT else policy.vlan
    if outer is None:
        return Inside(home, 0, ()) if policy.carries(home) else (DropReason.VLAN_MISMATCH, ("VLAN-9",))
    if outer.vid == 0:
        if knobs.prio_tag == "untag" and policy.carries(home):
            return Inside(home, outer.pcp, vlans[1:])
        return DropReason.VLAN_MISMATCH, ("VLAN-14",)
    if policy.tagging is Tagging.VGT:
        if policy.carries(outer.vid):
            return Inside(outer.vid, outer.pcp, vlans[1:])
        return DropReason.VLAN_MISMATCH, ("VLAN-9",)
    if policy.tagging is Tagging.VST:
        return DropReason.DOUBLE_TAG, ("VLAN-6",)
    if policy.tagging is Tagging.PVLAN:
        return DropReason.DOUBLE_TAG, ("VLAN-6", "PVL-6")
    if knobs.est_guest_tag == "pass":
        return Inside(0, 0, vlans)
    return DropReason.VLAN_MISMATCH, ("VLAN-7",)


def _learn(trail: Trail, view: View, port: Port, inside: Inside) -> Refusal | None:
    """MAC learning puts down a source that is not the port's own, while the port may have more (SEC-15)."""
    learning, key = port.client.mac_learning, (inside.vlan, trail.src)
    if learning is None or trail.group_source or trail.src == port.mac:
        return None
    if trail.learned.get(view.key, key) == port.name:
        return None
    if trail.learned.held(view.key, port.name) < learning.limit:
        trail.learned.put(view.key, key, port.name)
        return None
    return None if learning.allow else (DropReason.MAC_LIMIT, ("SEC-15",))


# -- lookup


def _dispatch(trail: Trail, entry: Entry) -> None:
    """Promiscuous ports get what lookup does not give them anyway, then everyone what lookup gives."""
    found = _group(trail, entry) if trail.group else _unicast(trail, entry)
    if not trail.group:
        for port in entry.view.promiscuous(entry.inside.vlan):
            if port is not entry.sender and port not in found.ports:
                _deliver(trail, entry, port, _overheard(entry, port))
    for port in found.ports:
        _deliver(trail, entry, port, found.why)
    if found.leaves is not None:
        _leave(trail, entry, found.leaves)
    elif found.ends is not None:
        at, refusal = found.ends
        if at is None:
            _drop_at_entry(trail, entry, refusal)
        else:
            trail.drop_at(entry, at, refusal, "in" if at is entry.sender else "out")


def _overheard(entry: Entry, port: Port) -> tuple[str, ...]:
    all_vlans = ("VLAN-11",) if port.tagged else ()
    if entry.pnic is None:
        return ("SEC-2", *all_vlans)
    return ("SEC-2", "SEC-4" if entry.pnic in port.team else "SEC-5", *all_vlans)


def _group(trail: Trail, entry: Entry) -> Found:
    """Broadcast for all of the VLAN, other multicast for those that asked (FWD-6, FWD-7, FWD-19)."""
    view, vlan, sender = entry.view, entry.inside.vlan, entry.sender
    why: tuple[str, ...] = ("FWD-19", "FWD-15") if trail.dst in BPDU else ("FWD-19",)
    if trail.dst == BROADCAST:
        ports, why = view.accepting(vlan), ("FWD-6",) if sender else ("FWD-7",)
    else:
        ports = view.listening(vlan, trail.dst)
    private = view.pvlans.get(vlan)
    if private and private.kind is PvlanKind.ISOLATED:
        why = (*why, "PVL-5")
    if sender is not None:
        noted = ("MIR-13",) if trail.dst in DISCOVERY else ()
        return Found(tuple(p for p in ports if p is not sender), why, (*why, *noted))
    return Found(ports, why, None, None if ports else (None, (DropReason.NO_RECEIVER, why)))


def _unicast(trail: Trail, entry: Entry) -> Found:
    view, vlan, sender = entry.view, entry.inside.vlan, entry.sender
    if sender is not None and trail.dst == sender.mac:
        return Found(ends=(sender, (DropReason.OWN_PORT, ("FWD-1",))))
    owners = view.owners.get(trail.dst, ())
    takers = tuple(port for port in owners if port.accepts(vlan)) if owners else ()
    if takers:
        changed = ("SEC-10",) if takers[0].mac != takers[0].client.nic.mac else ()
        return Found(takers, ("FWD-1", "FWD-2", *changed) if sender else ("FWD-11", *changed))
    if owners and view.pvlans:
        for port in owners:
            if (apart := _kept_apart(entry, port)) is not None:
                return Found(ends=(port, apart))
    return _learned(entry) or _unknown(entry, owners)


def _kept_apart(entry: Entry, port: Port) -> Refusal | None:
    """Why a port of the frame's private VLAN may not hear its sender; None for a port that is in another VLAN."""
    sent, own = entry.view.pvlans.get(entry.inside.vlan), port.client.vlan.pvlan
    if sent is None or own is None or sent.primary != own.primary:
        return None
    return DropReason.PVLAN_ISOLATED, ("PVL-7",) if entry.sender is None else (kept_apart_by(sent, own),)


def _learned(entry: Entry) -> Found | None:
    """To the one port behind which MAC learning has seen the destination, if it is connected and still learns."""
    view, vlan = entry.view, entry.inside.vlan
    port = view.by_name.get(entry.known) if entry.known is not None else None
    if port is None or port.client.mac_learning is None:
        return None
    if port is entry.sender:
        return Found(ends=(port, (DropReason.OWN_PORT, ("SEC-15",))))
    if port.accepts(vlan):
        return Found((port,), ("SEC-15",))
    apart = _kept_apart(entry, port)
    return Found(ends=(port, apart)) if apart else None


def _unknown(entry: Entry, owners: tuple[Port, ...]) -> Found:
    """`owners` have the address in other VLANs: for a client's frame that counts as unknown (FWD-3)."""
    flooded = entry.view.flooding(entry.inside.vlan)
    if entry.sender is not None:
        return Found(tuple(p for p in flooded if p is not entry.sender), ("SEC-16",), ("FWD-4",))
    if owners:
        return Found(ends=(owners[0], (DropReason.VLAN_MISMATCH, (_mismatch(owners[0]),))))
    if flooded:
        return Found(flooded, ("SEC-16",))
    return Found(ends=(None, (DropReason.UNKNOWN_UNICAST, ("FWD-5",))))


def _mismatch(owner: Port) -> str:
    return {Tagging.EST: "VLAN-2", Tagging.VGT: "VLAN-9"}.get(owner.client.vlan.tagging, "VLAN-4")


# -- out of the switch


def _deliver(trail: Trail, entry: Entry, port: Port, why: tuple[str, ...]) -> None:
    """A copy for a client port, unless it is stopped on the way out."""
    view, inside = entry.view, entry.inside
    refusal = _stopped(trail, entry, port)
    if refusal is not None:
        return trail.drop_at(entry, port, refusal)
    if port.received:
        mirror(trail, entry, port.received)
    vlans = inside.tagged() if port.tagged else inside.inner
    outward, inward = port.points
    rule = _vlan_out(entry, port)
    # What leaves by a port whose guest has switched its adapter off is on no wire.
    told = (*why, *(("FWD-12",) if entry.pnic and port.hashes and len(port.team) > 1 else ()), rule)
    out = trail.hop(
        view.host, port.node, outward, port.name, vlans, entry.hop, told, view.name, "out", certain=port.lit
    )  # fmt: skip
    if port.lit:
        trail.hop(view.host, port.node, inward, port.interface, vlans, out)
    return None


def _stopped(trail: Trail, entry: Entry, port: Port) -> Refusal | None:
    if port.client.nic.blocked:
        return DropReason.PORT_BLOCKED, ("SEC-19",)
    if port.mirror_only:
        return DropReason.MIRROR_DESTINATION, ("MIR-4",)
    if entry.pnic is not None and trail.knobs.reverse_path and not _may_come_by(trail, port, entry.pnic):
        rule = "FWD-12" if port.hashes else "FWD-11"
        if not port.promiscuous:
            return DropReason.REVERSE_PATH, ("FWD-10", rule) if trail.group and not port.hashes else (rule,)
        if trail.knobs.reverse_path_promisc:
            return DropReason.REVERSE_PATH, (rule, "SEC-4", "SEC-5")
    if port.unwelcome:
        return DropReason.MAC_CHANGE, ("SEC-9",)
    return None


def _may_come_by(trail: Trail, port: Port, pnic: str) -> bool:
    """Reverse teaming: by source MAC, only by the uplink that an answer to this frame would take (TEAM-MAC-2)."""
    if port.hashes and port.client.lag is None and port.client.policy == "loadbalance_srcmac" and port.team:
        mac = port.mac if trail.group else trail.dst
        return pnic == port.team[octet(mac) % len(port.team)]
    return pnic in port.team


def _vlan_out(entry: Entry, port: Port) -> str:
    """The statement under which a frame of this VLAN comes to this port as it does."""
    if port.private is not None:
        if entry.sender is None:
            return "PVL-7"
        own = port.client.vlan.pvlan
        communal = own is not None and own.kind is PvlanKind.COMMUNITY and own.secondary == entry.inside.vlan
        return "PVL-4" if communal else "PVL-1"
    if port.tagged:
        return "VLAN-8"
    return "VLAN-4" if port.client.vlan.tagging is Tagging.VST else "VLAN-1"


def _leave(trail: Trail, entry: Entry, why: tuple[str, ...]) -> None:
    """On the uplink that the sender's policy gives, or, while beacons blame nobody, on all of them."""
    sender, inside = entry.sender, entry.inside
    if sender is None:
        return
    if not sender.team:
        trail.drop_at(entry, sender, (DropReason.NO_UPLINK, ("TEAM-F-7",)), "in")
        return
    tagging = sender.client.vlan.tagging
    rule = "VLAN-1" if not inside.vlan else {Tagging.VGT: "VLAN-8", Tagging.PVLAN: "PVL-6"}.get(tagging, "VLAN-3")
    uplinks, policy = _team(trail, sender, inside)
    mark = sender.client.nic.priority
    if mark is not None and inside.vlan:
        inside, policy = inside._replace(pcp=mark), (*policy, "NIOC-15")
    for uplink in uplinks:
        trail.onto_uplink(entry.view, uplink, inside.tagged(), entry.hop, (*why, *policy, rule), entry.teaches)


def _team(trail: Trail, sender: Port, inside: Inside) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The uplinks for this frame, and the statements of the policy."""
    client, team = sender.client, sender.team
    if not sender.hashes:
        return team, (_PINNED.get(client.policy, "") or _explicit(sender),) if len(team) == 1 else ("BCN-7",)
    number, why = _hashed(trail, client, inside)
    return (team[number % len(team)],), why


def _hashed(trail: Trail, client: ClientPort, inside: Inside) -> tuple[int, tuple[str, ...]]:
    """The hash of this frame by the port's policy, and the statements that give it."""
    if client.lag is not None:
        return trail.words(inside).hash(LAG_WORDS[client.lag.hash], inside.vlan, client.number), ("LACP-4",)
    if client.policy == "loadbalance_srcmac":
        return octet(trail.src), ("TEAM-MAC-1", "TEAM-MAC-2")
    last = trail.knobs.iphash == "lastoctet"
    number = trail.words(inside).hash(("src_ip", "dst_ip")) & (0xFF if last else 0xFFFFFFFF)
    return number, ("TEAM-IPH-1", *(("TEAM-IPH-5",) if trail.frame.ethertype == ARP else ()))


def _explicit(sender: Port) -> str:
    return "TEAM-EXP-2" if sender.team[0] in sender.client.standby else "TEAM-EXP-1"


def _drop_at_entry(trail: Trail, entry: Entry, refusal: Refusal) -> None:
    """At the uplink that it came in by."""
    reason, why = refusal
    host = entry.view.host
    trail.hop(host, host, Point.DROP, entry.pnic or "", entry.vlans, entry.hop, why, entry.view.name, reason=reason)
