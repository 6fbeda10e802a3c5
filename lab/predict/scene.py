"""A topology in one state: what a host's switch knows of its ports, and which ports of a pSwitch forward.

Everything here is worked out once, when a frame first needs it; a frame then only looks it up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

from lab.frame import Point
from lab.model import ClientPort, HostSwitch, Mirror, MirrorKind, Tagging, in_ranges
from lab.predict.world import World, heard_by
from lab.state import State

_NOT_LEARNED = tuple(f.name for f in fields(State) if f.name not in ("mac_tables", "secured", "learned", "arp_known"))
TELLABLE = 100
"""Bytes: in a mirror copy that is cut shorter the canary may be missing."""


@dataclass(slots=True, eq=False)
class Port:
    """A connected client port. `mac` is its accepted MAC; `team` the pNICs that it sends on: on one for each
    frame where `hashes`, on all of them otherwise; `private` the VLAN IDs
    that a port of a private VLAN accepts; `mirror_only`: the destination of a session without normal traffic;
    `unwelcome`: its guest has set another MAC and may not; `transmitted` and `received` are the sessions that copy what
    it sends and gets."""

    client: ClientPort
    mac: str
    team: tuple[str, ...]
    hashes: bool
    lit: bool
    promiscuous: bool
    unwelcome: bool
    private: frozenset[int] | None
    mirror_only: bool
    everything: bool
    groups: frozenset[str]
    name: str
    node: str
    interface: str
    tagged: bool
    points: tuple[Point, Point]
    transmitted: tuple[Session, ...] = ()
    received: tuple[Session, ...] = ()

    def accepts(self, vlan: int) -> bool:
        return self.client.vlan.carries(vlan) if self.private is None else vlan in self.private

    def wants(self, group: str) -> bool:
        return self.promiscuous or self.everything or group in self.groups


class Session(NamedTuple):
    """A mirroring session on one host: where its copies go there. `number` is the VLAN ID that tells it from the others
    at the host's mirror port."""

    mirror: Mirror
    number: int
    ports: tuple[Port, ...]
    uplinks: tuple[str, ...]
    why: tuple[str, ...]

    @property
    def encapsulated(self) -> bool:
        return self.mirror.kind is MirrorKind.ENCAPSULATED

    @property
    def sampled(self) -> bool:
        return self.mirror.sampling > 1

    @property
    def tellable(self) -> bool:
        return self.mirror.length is None or self.mirror.length >= TELLABLE


class FarEnd(NamedTuple):
    """The pSwitch port that an uplink is plugged into. `lit`: it has carrier."""

    switch: str
    port: str
    lit: bool


class View:
    """One host's part of a switch in one state."""

    def __init__(self, world: World, state: State, part: HostSwitch) -> None:
        self.part = part
        self.host, self.name = part.host, part.name
        self.key = (part.host, part.name)
        self.pvlans = part.pvlans
        self._dark = state.links_down
        silent = {label for m in part.mirrors if not m.normal_traffic for label in m.to_ports}
        self.ports = tuple(_port(part, p, state, p.nic.label in silent) for p in part.ports if p.nic.connected)
        self.by_name = {port.name: port for port in self.ports}
        self.owners: dict[str, tuple[Port, ...]] = {}
        for port in self.ports:
            self.owners[port.mac] = (*self.owners.get(port.mac, ()), port)
        pnics = world.topology.hosts[part.host].pnics
        self.far = {
            u: FarEnd(pnics[u].switch, pnics[u].far_port, (pnics[u].switch, pnics[u].far_port) not in self._dark)
            for u in part.uplinks
        }
        self.remote: dict[int, tuple[Session, ...]] = {}
        self._mirrored()
        self._cache: dict[tuple[str, int, str], tuple[Port, ...]] = {}

    def _mirrored(self) -> None:
        """Give the ports and VLANs that are mirrored their sessions."""
        by_label = {port.client.nic.label: port for port in self.ports}
        for number, mirror in enumerate(self.part.mirrors, start=1):
            session = self._session(mirror, number)
            if mirror.kind is MirrorKind.REMOTE_DESTINATION:
                for vlan in mirror.source_vlans:
                    self.remote[vlan] = (*self.remote.get(vlan, ()), session)
                continue
            for label in mirror.transmitted:
                if (port := by_label.get(label)) is not None:
                    port.transmitted = (*port.transmitted, session)
            for label in mirror.received:
                if (port := by_label.get(label)) is not None:
                    port.received = (*port.received, session)

    def _session(self, mirror: Mirror, number: int) -> Session:
        """Destinations: ports here that are connected and not blocked, uplinks here whose link is up."""
        here = {port.client.nic.label: port for port in self.ports if not port.client.nic.blocked}
        pnic = self.part.numbered
        ports = tuple(here[label] for label in mirror.to_ports if label in here)
        named = (pnic[name] for name in mirror.to_uplinks if name in pnic)
        uplinks = tuple(u for u in named if (self.host, u) not in self._dark)
        return Session(mirror, number, ports, uplinks, _mirror_statements(mirror))

    def accepting(self, vlan: int) -> tuple[Port, ...]:
        """The ports that accept this VLAN."""
        return self._which("accepting", vlan, "", _any)

    def promiscuous(self, vlan: int) -> tuple[Port, ...]:
        return self._which("promiscuous", vlan, "", lambda port: port.promiscuous)

    def listening(self, vlan: int, group: str) -> tuple[Port, ...]:
        """The ports in this VLAN that get frames for this group (FWD-19)."""
        return self._which("listening", vlan, group, lambda port: port.wants(group))

    def flooding(self, vlan: int) -> tuple[Port, ...]:
        """The ports in this VLAN that get unknown unicast (SEC-16)."""
        return self._which("flooding", vlan, "", _floods)

    def _which(self, kind: str, vlan: int, group: str, fits: Callable[[Port], bool]) -> tuple[Port, ...]:
        found = self._cache.get((kind, vlan, group))
        if found is None:
            found = tuple(port for port in self.ports if port.accepts(vlan) and fits(port))
            self._cache[kind, vlan, group] = found
        return found


class Scene:
    """What holds for every frame in one state. The tables of learned addresses are not part of it."""

    def __init__(self, world: World, state: State) -> None:
        self.world = world
        self.state = state
        self._views: dict[tuple[str, str], View] = {}
        self._forwarding: dict[tuple[str, int], Mapping[str, None]] = {}
        self._members: dict[tuple[str, str], tuple[str, ...]] = {}

    def fits(self, state: State) -> bool:
        """True when `state` differs from this scene's in learned addresses only."""
        return all(getattr(self.state, name) is getattr(state, name) for name in _NOT_LEARNED)

    def view(self, part: HostSwitch) -> View:
        key = (part.host, part.name)
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = View(self.world, self.state, part)
        return found

    def forwarding(self, switch: str, vlan: int) -> Mapping[str, None]:
        """The ports and port channels of a pSwitch that frames of this VLAN may leave by, in order: of that VLAN, and
        forwarding (`members`)."""
        found = self._forwarding.get((switch, vlan))
        if found is None:
            known = self.world.switches[switch]
            ends = dict.fromkeys(known.logical(port) for port in known.ports)
            found = {end: None for end in ends if known.hears(end, vlan) and self.members(switch, end)}
            if known.model.module is not None:
                found = {end: None for end in found if not self.waits(switch, end, vlan)}
            self._forwarding[switch, vlan] = found
        return found

    def members(self, switch: str, end: str) -> tuple[str, ...]:
        """The ports of a channel that forward now; of a port, itself: up, not blocked, not discarding, not
        suspended."""
        found = self._members.get((switch, end))
        if found is None:
            ports = self.world.switches[switch].members(end)
            found = self._members[switch, end] = tuple(p for p in ports if self._forwards(switch, p))
        return found

    def suspended(self, switch: str, port: str) -> bool:
        """A member of a channel that LACP has not brought up (LACP-6)."""
        config = self.world.switches[switch].ports[port]
        return config.lacp is not None and (switch, port) not in self.state.channel_members

    def waits(self, switch: str, port: str, vlan: int) -> bool:
        """True for a module's uplink while another one has this VLAN's network (PVN-6). A VLAN is in one network; a
        tunnelled module has one for all."""
        module = self.world.switches[switch].model.module
        if module is None:
            return False
        for network in module.networks.values():
            if port in network.uplinks and (module.tunnelled or in_ranges(vlan, network.vlans)):
                lit = (uplink for uplink in network.uplinks if (switch, uplink) not in self.state.links_down)
                return next(lit, port) != port
        return False

    def _forwards(self, switch: str, port: str) -> bool:
        state, key = self.state, (switch, port)
        shut = key in state.links_down or key in state.discarding or key in state.blocked
        return not shut and not self.suspended(switch, port)


def _port(part: HostSwitch, client: ClientPort, state: State, mirror_only: bool) -> Port:
    nic, policy, key = client.nic, client.vlan, (part.host, client.name)
    asked = state.macs.get(key, nic.mac)
    private = heard_by(policy.pvlan, part.pvlans) if policy.pvlan is not None else None
    return Port(
        client=client,
        mac=asked if client.security.mac_changes else nic.mac,
        team=state.sends_on(key),
        hashes=key in state.spread and key not in state.copied,
        lit=key not in state.links_down,
        promiscuous=client.security.promiscuous and key in state.promiscuous,
        unwelcome=asked != nic.mac and not client.security.mac_changes,
        private=private,
        mirror_only=mirror_only,
        everything=key in state.all_groups,
        groups=state.groups_of(key),
        name=client.name,
        node=nic.node,
        interface=nic.name,
        tagged=policy.tagging is Tagging.VGT,
        points=(Point.VMK_OUT, Point.VMK_RX) if nic.is_vmk else (Point.VNIC_OUT, Point.VNIC_RX),
    )


def _any(_: Port) -> bool:
    return True


def _floods(port: Port) -> bool:
    learning = port.client.mac_learning
    return learning is not None and learning.flooding


def _mirror_statements(mirror: Mirror) -> tuple[str, ...]:
    shown = {
        "MIR-1": True,
        "MIR-2": mirror.vlan is not None or mirror.strip,
        "MIR-3": mirror.length is not None,
        "MIR-5": mirror.sampling > 1,
        "MIR-6": mirror.kind is MirrorKind.ENCAPSULATED,
    }
    return tuple(name for name, holds in shown.items() if holds)
