"""A frame's walk from switch to switch, step by step as the statements say.

Written from the statements (docs/statements.yaml); it shares no code with the rows that the lab loads into switches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.errors import LabBug
from lab.frame import DropReason, Frame, Hop, Point, Tag
from lab.model import ClientPort, HostSwitch, Machine, Tagging, Topology
from lab.predict.prediction import Prediction
from lab.predict.world import Trunk, Uplink, World
from lab.state import MacTable, State

LONGEST_WALK = 20_000
BPDU = frozenset({"01:80:c2:00:00:00", "01:00:0c:cc:cc:cd"})


def predict(topology: Topology, state: State, sender: str, frame: Frame) -> Prediction:
    """Where `frame` goes when `sender` (a vNIC's or vmknic's label, or a machine's name) sends it. Raises KeyError."""
    return Predictor(topology, state).predict(sender, frame)


class Predictor:
    """Many predictions for one topology and state."""

    def __init__(self, topology: Topology, state: State, world: World | None = None) -> None:
        self._world = world or World(topology)
        self._state = state

    def with_state(self, state: State) -> Predictor:
        return Predictor(self._world.topology, state, self._world)

    def predict(self, sender: str, frame: Frame) -> Prediction:
        """Raises KeyError for an unknown sender."""
        return _Walk(self._world, self._state, frame).run(sender)


@dataclass(frozen=True, slots=True)
class _InVlan:
    """A frame inside a switch: its VLAN (0: untagged), the priority of the tag that was taken off, inner tags."""

    vlan: int
    pcp: int
    inner: tuple[Tag, ...]

    def tagged(self) -> tuple[Tag, ...]:
        """As it leaves where tags are kept."""
        return (Tag(self.vlan, self.pcp), *self.inner) if self.vlan else self.inner


class _Walk:
    """One frame. Steps wait in a queue, so hops come out breadth first."""

    def __init__(self, world: World, state: State, frame: Frame) -> None:
        self.world = world
        self.state = state
        self.src, self.dst, self.vlans = frame.src, frame.dst, frame.vlans
        self.group = frame.is_multicast
        self.hops: list[Hop] = []
        self.queue: deque[tuple[object, ...]] = deque()
        self.learned: dict[str, dict[tuple[int, str], str]] = {}

    def run(self, sender: str) -> Prediction:
        self._send(sender)
        while self.queue:
            kind, *step = self.queue.popleft()
            if len(self.hops) > LONGEST_WALK:
                raise LabBug("a frame that never ends: the pSwitches form a loop")
            if kind == "uplink":
                self._from_uplink(*step)  # type: ignore[arg-type]
            else:
                self._in_pswitch(*step)  # type: ignore[arg-type]
        tables: Mapping[str, MacTable] = self.state.mac_tables
        if self.learned:
            tables = {**tables, **{name: {**tables.get(name, {}), **new} for name, new in self.learned.items()}}
        return Prediction(tuple(self.hops), tables)

    def _hop(
        self, box: str, node: str, point: Point, interface: str, vlans: tuple[Tag, ...], parent: int | None,
        why: Sequence[str] = (), switch: str = "", direction: str = "in", reason: DropReason | None = None,
    ) -> int:  # fmt: skip
        self.hops.append(
            Hop(box, node, point, direction, interface, vlans, self.src, self.dst, "predicted", switch, reason,
                tuple(why), None, parent)
        )  # fmt: skip
        return len(self.hops) - 1

    # -- guests and machines

    def _send(self, sender: str) -> None:
        machine = self.world.topology.machines.get(sender)
        if machine is not None:
            self._machine_sends(machine)
            return
        part, port = self.world.clients[sender]
        nic = port.nic
        point = Point.VMK_TX if nic.is_vmk else Point.VNIC_TX
        if not nic.connected or (part.host, port.name) in self.state.links_down:
            reason = DropReason.LINK_DOWN if nic.connected else DropReason.DISCONNECTED
            why = () if nic.connected else ("FWD-17",)
            self._hop(part.host, nic.node, Point.DROP, nic.name, self.vlans, None, why, direction="out", reason=reason)
            return
        first = self._hop(part.host, nic.node, point, nic.name, self.vlans, None, direction="out")
        self._from_client(part, port, first)

    def _machine_sends(self, machine: Machine) -> None:
        if (machine.switch, machine.name) in self.state.links_down:
            self._hop(
                machine.name,
                machine.name,
                Point.DROP,
                "eth0",
                self.vlans,
                None,
                direction="out",
                reason=DropReason.LINK_DOWN,
            )
            return
        first = self._hop(machine.name, machine.name, Point.NIC_TX, "eth0", self.vlans, None, direction="out")
        self.queue.append(("pswitch", machine.switch, machine.name, self.vlans, first))

    # -- a host's switch

    def _from_client(self, part: HostSwitch, port: ClientPort, parent: int) -> None:
        here = self._hop(part.host, port.nic.node, Point.PORT_INPUT, port.name, self.vlans, parent, switch=part.name)

        def drop(reason: DropReason, why: str, direction: str = "in") -> None:
            self._hop(
                part.host, port.nic.node, Point.DROP, port.name, self.vlans, here, (why,), part.name, direction, reason
            )

        if port.nic.blocked:
            return drop(DropReason.PORT_BLOCKED, "SEC-19")
        if self.src != port.nic.mac and not port.security.forged_transmits:
            return drop(DropReason.FORGED_TRANSMIT, "SEC-7")
        if self.world.knobs.block_guest_bpdu and self.dst in BPDU:
            return drop(DropReason.GUEST_BPDU, "FWD-16")
        entered = self._vlan_in(port)
        if isinstance(entered, tuple):
            return drop(*entered)
        if self.dst == port.nic.mac:
            return drop(DropReason.OWN_PORT, "FWD-1")
        inside = entered
        if not self.group:
            target = self.world.owner.get((part.host, part.name, self.dst))
            if target is not None and target.vlan.carries(inside.vlan):
                return self._deliver(part, target, inside, here, ("FWD-1", "FWD-2"))
            return self._leave(part, port, inside, here, ("FWD-4", "TEAM-PID-1"))
        for other in self.world.members[part.host, part.name]:
            if other is not port and other.vlan.carries(inside.vlan):
                self._deliver(part, other, inside, here, ("FWD-6",))
        return self._leave(part, port, inside, here, ("FWD-6", "TEAM-PID-1"))

    def _vlan_in(self, port: ClientPort) -> _InVlan | tuple[DropReason, str]:
        """The VLAN that a client's frame is in, or why it is refused."""
        policy, knobs = port.vlan, self.world.knobs
        outer = self.vlans[0] if self.vlans else None
        home = 0 if policy.tagging is Tagging.VGT else policy.vlan
        if outer is None:
            return _InVlan(home, 0, ()) if policy.carries(home) else (DropReason.VLAN_MISMATCH, "VLAN-9")
        if outer.vid == 0:
            if knobs.prio_tag == "untag" and policy.carries(home):
                return _InVlan(home, outer.pcp, self.vlans[1:])
            return DropReason.VLAN_MISMATCH, "VLAN-14"
        if policy.tagging is Tagging.VGT:
            if policy.carries(outer.vid):
                return _InVlan(outer.vid, outer.pcp, self.vlans[1:])
            return DropReason.VLAN_MISMATCH, "VLAN-9"
        if policy.tagging is Tagging.VST:
            return DropReason.DOUBLE_TAG, "VLAN-6"
        if knobs.est_guest_tag == "pass":
            return _InVlan(0, 0, self.vlans)
        return DropReason.VLAN_MISMATCH, "VLAN-7"

    def _leave(self, part: HostSwitch, port: ClientPort, inside: _InVlan, parent: int, why: tuple[str, ...]) -> None:
        """On the one uplink that the port is assigned to."""
        uplink = self.state.uplink_of.get((part.host, port.name))
        if uplink is None:
            self._hop(
                part.host,
                port.nic.node,
                Point.DROP,
                port.name,
                self.vlans,
                parent,
                ("TEAM-F-7",),
                part.name,
                "in",
                DropReason.NO_UPLINK,
            )
            return
        tagging = (
            ("VLAN-3",)
            if inside.vlan and port.vlan.tagging is Tagging.VST
            else ("VLAN-8",)
            if inside.vlan
            else ("VLAN-1",)
        )
        out = self._hop(
            part.host, part.host, Point.UPLINK_SND, uplink, inside.tagged(), parent, (*why, *tagging), part.name, "out"
        )
        pnic = self.world.topology.hosts[part.host].pnics[uplink]
        if (pnic.switch, pnic.far_port) not in self.state.links_down:
            self.queue.append(("pswitch", pnic.switch, pnic.far_port, inside.tagged(), out))

    def _from_uplink(self, part: HostSwitch, pnic: str, vlans: tuple[Tag, ...], parent: int) -> None:
        here = self._hop(part.host, part.host, Point.UPLINK_RCV, pnic, vlans, parent, switch=part.name)
        outer = vlans[0] if vlans else None
        inside = _InVlan(outer.vid, outer.pcp, vlans[1:]) if outer else _InVlan(0, 0, ())

        def drop(reason: DropReason, why: str, at: str = pnic) -> None:
            self._hop(part.host, part.host, Point.DROP, at, vlans, here, (why,), part.name, "in", reason)

        if not self.group:
            target = self.world.owner.get((part.host, part.name, self.dst))
            if target is None:
                return drop(DropReason.UNKNOWN_UNICAST, "FWD-5")
            if not target.vlan.carries(inside.vlan):
                return drop(
                    DropReason.VLAN_MISMATCH, "VLAN-2" if target.vlan.tagging is Tagging.EST else "VLAN-4", target.name
                )
            return self._receive(part, target, pnic, inside, vlans, here)
        members = [p for p in self.world.members[part.host, part.name] if p.vlan.carries(inside.vlan)]
        if not members:
            return drop(DropReason.NO_RECEIVER, "FWD-7")
        for member in members:
            self._receive(part, member, pnic, inside, vlans, here)
        return None

    def _receive(
        self, part: HostSwitch, port: ClientPort, pnic: str, inside: _InVlan, vlans: tuple[Tag, ...], parent: int
    ) -> None:
        """A copy from an uplink for one port, if the port takes from this uplink."""
        mine = self.state.uplink_of.get((part.host, port.name))
        if self.world.knobs.reverse_path and mine != pnic and not port.nic.blocked:
            why = ("FWD-10", "FWD-11") if self.group else ("FWD-11",)
            self._hop(
                part.host,
                part.host,
                Point.DROP,
                port.name,
                vlans,
                parent,
                why,
                part.name,
                "out",
                DropReason.REVERSE_PATH,
            )
            return
        self._deliver(part, port, inside, parent, ("FWD-7",) if self.group else ("FWD-11",))

    def _deliver(self, part: HostSwitch, port: ClientPort, inside: _InVlan, parent: int, why: tuple[str, ...]) -> None:
        nic = port.nic
        tagged = port.vlan.tagging is Tagging.VGT
        vlans = inside.tagged() if tagged else inside.inner
        if nic.blocked:
            self._hop(
                part.host,
                nic.node,
                Point.DROP,
                port.name,
                vlans,
                parent,
                ("SEC-19",),
                part.name,
                "out",
                DropReason.PORT_BLOCKED,
            )
            return
        rule = ("VLAN-8",) if tagged else ("VLAN-4",) if port.vlan.tagging is Tagging.VST else ("VLAN-1",)
        outward, inward = (Point.VMK_OUT, Point.VMK_RX) if nic.is_vmk else (Point.VNIC_OUT, Point.VNIC_RX)
        out = self._hop(part.host, nic.node, outward, port.name, vlans, parent, (*why, *rule), part.name, "out")
        if (part.host, port.name) not in self.state.links_down:
            self._hop(part.host, nic.node, inward, nic.name, vlans, out)

    # -- a physical switch

    def _in_pswitch(self, name: str, port: str, vlans: tuple[Tag, ...], parent: int) -> None:
        switch = self.world.switches[name]
        leads = switch.far[port]
        node = leads.name if isinstance(leads, Machine) else name
        here = self._hop(name, node, Point.PSWITCH_RCV, port, vlans, parent, switch=name)

        def drop(reason: DropReason, why: str = "VLAN-16") -> None:
            self._hop(name, node, Point.DROP, port, vlans, here, (why,), name, "in", reason)

        config = switch.ports[port]
        outer = vlans[0] if vlans else None
        if outer is None or outer.vid == 0:
            if config.untagged is None:
                return drop(DropReason.PSWITCH_NO_NATIVE)
            inside = _InVlan(config.untagged, outer.pcp if outer else 0, vlans[1:])
        elif config.access is not None:
            return drop(DropReason.PSWITCH_ACCESS_TAGGED)
        elif not config.carries(outer.vid):
            return drop(DropReason.PSWITCH_VLAN, "VLAN-13")
        else:
            inside = _InVlan(outer.vid, outer.pcp, vlans[1:])
        self._learn(name, inside.vlan, port)
        return self._forward(name, port, inside, node, vlans, here)

    def _learn(self, name: str, vlan: int, port: str) -> None:
        if int(self.src[:2], 16) & 1:
            return
        if self._table(name, (vlan, self.src)) != port:
            self.learned.setdefault(name, {})[vlan, self.src] = port

    def _table(self, name: str, key: tuple[int, str]) -> str | None:
        new = self.learned.get(name, {}).get(key)
        return new if new is not None else self.state.mac_tables.get(name, {}).get(key)

    def _forward(self, name: str, port: str, inside: _InVlan, node: str, vlans: tuple[Tag, ...], here: int) -> None:
        switch = self.world.switches[name]
        dark = self.state.links_down
        known = None if self.group else self._table(name, (inside.vlan, self.dst))
        if known == port:
            self._hop(name, node, Point.DROP, port, vlans, here, (), name, "in", DropReason.PSWITCH_SAME_PORT)
            return
        if known is not None and (name, known) not in dark and switch.ports[known].carries(inside.vlan):
            targets = [known]
        else:
            targets = [
                p
                for p, config in switch.ports.items()
                if p != port and config.carries(inside.vlan) and (name, p) not in dark
            ]
        if not targets:
            self._hop(name, node, Point.DROP, port, vlans, here, (), name, "in", DropReason.PSWITCH_NO_RECEIVER)
        for target in targets:
            self._out_of_pswitch(name, target, inside, here)

    def _out_of_pswitch(self, name: str, port: str, inside: _InVlan, parent: int) -> None:
        switch = self.world.switches[name]
        far = switch.far[port]
        vlans = inside.inner if switch.ports[port].untagged == inside.vlan else inside.tagged()
        node = far.name if isinstance(far, Machine) else name
        out = self._hop(name, node, Point.PSWITCH_SND, port, vlans, parent, ("VLAN-16",), name, "out")
        if isinstance(far, Machine):
            self._hop(far.name, far.name, Point.NIC_RX, "eth0", vlans, out)
        elif isinstance(far, Trunk):
            self.queue.append(("pswitch", far.switch, far.port, vlans, out))
        elif isinstance(far, Uplink) and far.part is not None:
            self.queue.append(("uplink", far.part, far.pnic, vlans, out))
        elif isinstance(far, Uplink):
            self._hop(far.host, far.host, Point.UPLINK_RCV, far.pnic, vlans, out)
