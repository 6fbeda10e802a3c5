"""Who could have seen a frame: every node that would get it after one action that present policy allows it, and every
box and cable that it passes, or would pass after one failure.

Each entry is found by predicting again in the State that the action makes, so that nothing is said here that the
statements do not say. Vmknics do not act: what a hypervisor itself can do is told of its box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from lab.frame import BROADCAST, Frame, Hop, Point, Tag
from lab.model import Machine, PortKey, Tagging, Topology
from lab.predict import remedies
from lab.predict.clear import in_clear
from lab.predict.passing import CouldSee, passed
from lab.predict.walk import Predictor
from lab.predict.world import Guest
from lab.state import MacTable, State

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD


@dataclass(frozen=True)
class Flow:
    """A frame and the labels of its two ends; `seen`: labels of others that are known to have got it."""

    sender: str
    receiver: str
    frame: Frame
    seen: frozenset[str] = frozenset()


def could_see(topology: Topology, state: State, flow: Flow) -> tuple[CouldSee, ...]:
    """Guests in file order, machines, then boxes and cables in the order of the path. Raises KeyError for an unknown
    end."""
    clear = in_clear(flow.frame)
    search = _Search(topology, state, flow)
    passing = passed(topology, state, flow.sender, flow.receiver, flow.frame)
    return tuple(replace(entry, in_clear=clear) for entry in (*search.actors(), *passing))


class _Search:
    """One flow in one state."""

    def __init__(self, topology: Topology, state: State, flow: Flow) -> None:
        self.topology, self.state, self.flow = topology, state, flow
        self._ends = (flow.sender, flow.receiver)
        self.now = Predictor(topology, state)
        self.world = self.now.world
        baseline = self.now.predict(flow.sender, flow.frame)
        self.got = {flow.sender, flow.receiver, *flow.seen, *baseline.receivers}
        self.sampled = frozenset(baseline.may_receive) - self.got
        self.vids = sorted(self._on_wires(baseline.hops) | self._home(flow))
        self._full: dict[str, State] = {}

    def _on_wires(self, hops: Sequence[Hop]) -> set[int]:
        """VLAN IDs that the frame bears on its way, and those of pSwitch ports where it is untagged."""
        tags = {tag.vid for hop in hops for tag in hop.vlans[:1]}
        ports = ((hop.box, hop.interface) for hop in hops if hop.point in (Point.PSWITCH_RCV, Point.PSWITCH_SND))
        return tags | {self.world.switches[box].ports[port].untagged or 0 for box, port in ports}

    def _home(self, flow: Flow) -> set[int]:
        """VLAN IDs of the two ends' own ports, and no VLAN: what stays inside a switch bears no tag."""
        home = {0}
        for label in (flow.sender, flow.receiver):
            if label in self.topology.machines:
                home.add(self.topology.machines[label].port.access or 0)
            else:
                policy = self.world.clients[label].port.vlan
                home |= {policy.vlan} | ({policy.pvlan.primary} if policy.pvlan else set())
        return home

    def actors(self) -> Iterator[CouldSee]:
        clients = self.world.clients.items()
        able = {label: guest for label, guest in clients if self._may_act(guest)}
        listening = self._listening(able)
        for label, guest in able.items():
            if label not in self.got:
                yield from self._guest(label, guest, label in listening)
        for name, machine in self.topology.machines.items():
            if name not in self.got:
                yield from self._machine(machine)

    def _may_act(self, guest: Guest) -> bool:
        """A connected vNIC of another VM than the two ends, in a VLAN that the frame is in on its way, or where a
        mirroring session copies frames of any VLAN to."""
        nic, policy = guest.port.nic, guest.port.vlan
        ends = {self.world.clients[end].port.nic.node for end in self._ends if end in self.world.clients}
        near = policy.pvlan is not None or any(policy.carries(vid) for vid in self.vids)
        near = near or nic.label in self.sampled
        return nic.connected and not nic.is_vmk and nic.node not in ends and near

    def _listening(self, able: Mapping[str, Guest]) -> frozenset[str]:
        """Who gets the frame when all that may listen do, which is cheaper than one prediction for each; a port that
        only gets a mirror copy of what another overhears is sorted out by `_guest`."""
        ports = {_key(guest) for guest in able.values() if guest.port.security.promiscuous}
        return frozenset(self._receivers(replace(self.state, promiscuous=self.state.promiscuous | ports)))

    def _receivers(self, state: State, frame: Frame | None = None) -> tuple[str, ...]:
        predictor = self.now if state is self.state else self.now.with_state(state)
        return predictor.predict(self.flow.sender, frame or self.flow.frame).receivers

    def _guest(self, label: str, guest: Guest, listens: bool) -> Iterator[CouldSee]:
        key, state, policy = _key(guest), self.state, guest.port.security
        group = remedies.policy_of(self.topology, guest.port.nic)
        if label in self.sampled:
            why = "a mirroring session copies some of the frames there"
            yield _entry(guest, "sampled", why, ("MIR-5",), f"{remedies.set_words('vnic', label)} blocked=true")
        if listens and label in self._receivers(replace(state, promiscuous=state.promiscuous | {key})):
            why = "its guest may listen promiscuously"
            tagged = ("VLAN-11",) if _tags(guest) else ()
            yield _entry(guest, "promiscuous", why, ("SEC-2", *tagged), f"{group} security.promiscuous=reject")
        if self.flow.frame.is_multicast:
            yield from self._group(label, guest)
            return
        if policy.mac_changes and self._takes_over(label, self._owning(guest), self._tags_of(guest)):
            why = "its guest may take over the receiver's MAC"
            yield _entry(guest, "mac", why, ("SEC-10", "ATK-6"), f"{group} security.mac_changes=reject")
        if guest.port.mac_learning and policy.forged_transmits and self._takes_over(label, state, self._tags_of(guest)):
            why = "MAC learning there believes a frame with the receiver's MAC as its source"
            yield _entry(guest, "forge", why, ("SEC-15", "SEC-18"), f"{group} security.forged_transmits=reject")
        if self._spoofs(label, guest.port.nic.mac, self._tags_of(guest)):
            way = remedies.quarantine(self.topology, guest.port.nic, self.vids, self._ends)
            yield _entry(guest, "arp", _SPOOFED, ("SEC-12", "ATK-5", *(("ATK-11",) if _tags(guest) else ())), way)
        if key in state.promiscuous and policy.promiscuous and policy.forged_transmits and self._floods(label, guest):
            why = "it listens already, and may fill the pSwitch's MAC table so that all is flooded"
            yield _entry(guest, "flood", why, ("ATK-7",), f"{group} security.forged_transmits=reject")

    def _group(self, label: str, guest: Guest) -> Iterator[CouldSee]:
        everything = replace(self.state, all_groups=self.state.all_groups | {_key(guest)})
        if self.flow.frame.dst != BROADCAST and label in self._receivers(everything):
            way = remedies.quarantine(self.topology, guest.port.nic, self.vids, self._ends)
            yield _entry(guest, "group", "its guest may ask for this multicast group", ("FWD-19",), way)

    def _owning(self, guest: Guest) -> State:
        return replace(self.state, macs=MappingProxyType({**self.state.macs, _key(guest): self.flow.frame.dst}))

    def _takes_over(self, label: str, state: State, tags: list[tuple[Tag, ...]]) -> bool:
        """True when it gets the frame once it has sent one with the receiver's MAC as source."""
        predictor = self.now if state is self.state else self.now.with_state(state)
        for vlans in tags:
            said = predictor.predict(label, Frame(self.flow.frame.dst, self.flow.frame.src, vlans))
            after = predictor.after(said)
            if label in after.predict(self.flow.sender, self.flow.frame).receivers:
                return True
        return False

    def _spoofs(self, label: str, mac: str, tags: list[tuple[Tag, ...]]) -> bool:
        """True when its ARP claims, sent with its own MAC, reach the sender and the redirected frame reaches it."""
        frame = self.flow.frame
        if frame.ethertype not in (IPV4, IPV6):
            return False
        for vlans in tags:
            said = self.now.predict(label, Frame(mac, frame.src, vlans, ARP))
            if self.flow.sender in said.receivers:
                after = self.now.after(said)
                if label in after.predict(self.flow.sender, replace(frame, dst=mac)).receivers:
                    return True
        return False

    def _floods(self, label: str, guest: Guest) -> bool:
        pnics = self.topology.hosts[guest.part.host].pnics
        switches = {pnics[uplink].switch for uplink in self.state.sends_on(_key(guest))}
        return any(self._fills(label, switch) for switch in switches)

    def _fills(self, label: str, switch: str) -> bool:
        """True when it gets the frame while this pSwitch's table is full of others."""
        model = self.topology.physical_switches[switch]
        if model.port_security is not None and model.port_security < model.mac_table:
            return False
        if switch not in self._full:
            others: MacTable = {(0, f"made up {n}"): "" for n in range(model.mac_table)}
            tables = MappingProxyType({**self.state.mac_tables, switch: others})
            self._full[switch] = replace(self.state, mac_tables=tables)
        return label in self._receivers(self._full[switch])

    def _machine(self, machine: Machine) -> Iterator[CouldSee]:
        name, switch = machine.name, machine.switch
        tags: list[tuple[Tag, ...]] = [()]
        if machine.port.access is None:
            tags += [(Tag(vid),) for vid in self.vids if vid and machine.port.carries(vid)]
        apart = remedies.quarantine_machine(self.topology, machine)
        if self.flow.frame.is_multicast:
            return
        if self._takes_over(name, self.state, tags):
            yield _machine_entry(machine, "mac", "it may take over the receiver's MAC", ("ATK-6",), apart)
        if self._spoofs(name, machine.mac, tags):
            yield _machine_entry(machine, "arp", _SPOOFED, ("ATK-5",), apart)
        if self._fills(name, switch):
            why = f"it may fill the MAC table of {switch}, so that all is flooded"
            limit = remedies.most_macs(self.topology, switch)
            closes = f"physical-switch {switch} port_security={limit}"
            yield _machine_entry(machine, "flood", why, ("ATK-7",), f"vlab set {closes}")

    def _tags_of(self, guest: Guest) -> list[tuple[Tag, ...]]:
        """The ways in which its guest can put a frame into a VLAN of the flow."""
        if not _tags(guest):
            return [()]
        return [(Tag(vid),) if vid else () for vid in self.vids if guest.port.vlan.carries(vid)]


_SPOOFED = "it may answer ARP for the receiver with its own MAC; no policy of a vSwitch looks into ARP"


def _key(guest: Guest) -> PortKey:
    return guest.part.host, guest.port.name


def _tags(guest: Guest) -> bool:
    return guest.port.vlan.tagging is Tagging.VGT


def _entry(guest: Guest, action: str, why: str, statements: tuple[str, ...], closes: str) -> CouldSee:
    nic = guest.port.nic
    return CouldSee(nic.node, guest.part.host, nic.port, "guest", action, why, statements, closes)


def _machine_entry(machine: Machine, action: str, why: str, statements: tuple[str, ...], closes: str) -> CouldSee:
    return CouldSee(machine.name, machine.switch, machine.name, "machine", action, why, statements, closes)
