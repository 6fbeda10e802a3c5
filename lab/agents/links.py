"""What a host does when a pNIC's link goes or comes back: ports move, rows follow (TEAM-F-1, TEAM-F-2, TEAM-F-6), and
the guests that moved are asked for their multicast groups again (FWD-20). pSwitches and modules take links down that
lead nowhere (TEAM-F-5, PVN-9); pvNICs of one physical port share its cable (PVN-4)."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from lab.agents.events import Moment
from lab.agents.igmp import QUERIES, general_query
from lab.agents.present import Present
from lab.agents.timers import Timers
from lab.chassis import cut_cables, smart_links
from lab.errors import SystemRefused, UsageError
from lab.model import ClientPort, PortKey, Topology
from lab.plan.names import box_mac
from lab.plan.types import Plan
from lab.plan.wiring import UNDERLAY
from lab.realise import netlink
from lab.realise.linkwatch import Link, LinkWatch
from lab.realise.packet_out import packet_out
from lab.state import State
from lab.teaming import settled

UP_DELAY = 0.1
"""Seconds: `Net.TeamPolicyUpDelay` (TEAM-F-2)."""
FLAPS, FLAP_SECONDS = 60, 60.0
"""`Net.LinkFlappingThreshold`: more losses in a minute make a link unstable (TEAM-F-4)."""


class LinkAgent:
    """Looks after the carriers of all boxes. `look` is for whoever watches; it holds the lock of `present`."""

    def __init__(self, present: Present, watch: LinkWatch, timers: Timers) -> None:
        self.present = present
        self._timers = timers
        self._counted: dict[PortKey, int] = {}
        self._losses: dict[PortKey, deque[float]] = {}
        # How often each uplink has come back; ends of pulled cables; ports that tracking took down; failed boxes.
        self._came_back: Counter[PortKey] = Counter()
        self._pulled: set[PortKey] = set()
        self._cut_off: set[PortKey] = set()
        self._failed: set[str] = set()
        self.network = present.network
        self.err_disabled: dict[PortKey, str] = {}
        self._watch = watch
        self._boxes = [node.name for node in self.network.plan.nodes if node.is_box]
        self._down: dict[str, frozenset[PortKey]] = {}
        self._cabled: tuple[Plan, Mapping[PortKey, PortKey]] | None = None
        present.follow(self._query_moved)
        self.look(self._boxes)

    def look(self, nodes: Iterable[str]) -> None:
        """At those of the nodes that are boxes, and act on what is different."""
        named = set(nodes)
        with self.present.lock:
            for box in (box for box in self._boxes if box in named):
                links = self._watch.links(box)
                interfaces = self.network.plan.node_named[box].interfaces
                lit = {name for name, link in links.items() if link.carrier}
                # A tunnel has a link while what it goes by has one.
                self._down[box] = frozenset(
                    (box, i.label) for i in interfaces if not {i.name, i.tunnel.underlay if i.tunnel else i.name} <= lit
                )
                self._count_losses(box, {i.label: links.get(i.name) for i in interfaces})
            down = frozenset[PortKey]().union(*self._down.values())
            before = self.present.state.links_down
            flapping = frozenset(key for key in self._losses if self._flaps(key))
            if down != before or flapping:
                self._changed(before, down, flapping)
            self._track(down)

    def _changed(self, before: frozenset[PortKey], down: frozenset[PortKey], flapping: frozenset[PortKey]) -> None:
        back = (before - down) & uplinks_of(self.present.topology)

        def after(now: Moment) -> State:
            state = now.state
            settling = (state.settling - down) | back
            unstable = state.unstable | flapping
            return settled(now.topology, replace(state, links_down=down, settling=settling, unstable=unstable))

        self.present.observe(after)
        if back:
            self._came_back.update(back)
            times = {key: self._came_back[key] for key in back}
            self._timers.after(UP_DELAY, lambda: self._settled(times))
        for key in flapping:
            self._timers.after(FLAP_SECONDS, lambda key=key: self._calm(key))  # type: ignore[misc]

    def _settled(self, times: Mapping[PortKey, int]) -> None:
        """They may be chosen now, but for those that have come back once more since: their time is not over yet."""

        def after(now: Moment) -> State:
            ready = frozenset(key for key, number in times.items() if self._came_back[key] == number)
            return settled(now.topology, replace(now.state, settling=now.state.settling - ready))

        self.present.observe(after)

    # -- flapping

    def _count_losses(self, box: str, links: Mapping[str, Link | None]) -> None:
        """As the kernel counts them: a link may go and come back between two looks."""
        for label, link in links.items():
            if box in self.present.topology.hosts and link is not None:
                known = self._counted.setdefault((box, label), link.losses)
                if link.losses > known:
                    times = self._losses.setdefault((box, label), deque(maxlen=FLAPS + 1))
                    times.extend([time.monotonic()] * (link.losses - known))
                    self._counted[box, label] = link.losses

    def _flaps(self, uplink: PortKey) -> bool:
        """True when it has lost its link too often to be believed, and still is."""
        often = self._lost_often(uplink)
        return often and uplink not in self.present.state.unstable and uplink in uplinks_of(self.present.topology)

    def _lost_often(self, uplink: PortKey) -> bool:
        """In the last minute."""
        times = self._losses[uplink]
        begin = time.monotonic() - FLAP_SECONDS / self._timers.speedup
        while times and times[0] < begin:
            times.popleft()
        return len(times) > FLAPS

    def _calm(self, uplink: PortKey) -> None:
        """A minute after: believed again, if it has lost its link less often since."""
        with self.present.lock:
            if self._lost_often(uplink):
                self._timers.after(FLAP_SECONDS, lambda: self._calm(uplink))
                return
            self.present.observe(
                lambda now: settled(now.topology, replace(now.state, unstable=now.state.unstable - {uplink}))
            )

    # -- link-state tracking

    def _track(self, down: Collection[PortKey]) -> None:
        """Ports to hosts go down with the last link to another pSwitch, and come up with the first. A module has failed
        with its box, and then has nothing to take down."""
        alone = {port for port in smart_links(self.present.topology, down) if port[0] not in self._failed}
        for switch, (to_switches, to_hosts) in tracked(self.present.topology).items():
            if switch not in self._failed and to_switches and all(port in down for port in to_switches):
                alone.update(to_hosts)
        fresh = alone - self._cut_off - self.err_disabled.keys()
        over = self._cut_off - alone  # also where the pSwitch does not track any more
        self._cut_off = self._cut_off - over | fresh
        for port in fresh | (over - self._pulled):
            self._switch(port, port in over)
        if fresh or over:
            self.look({box for port in fresh | over for box in (port[0], self._far[port][0])})

    def far_end(self, port: PortKey) -> PortKey | None:
        """The other end of the cable in this port, or None."""
        return self._far.get(port)

    @property
    def _far(self) -> Mapping[PortKey, PortKey]:
        """As the plan of now has it: vMotion plugs cables in elsewhere."""
        plan = self.network.plan
        if self._cabled is None or self._cabled[0] is not plan:
            ends = [end for c in plan.cables for end in ((c.a, c.b, c.tunnelled), (c.b, c.a, c.tunnelled))]
            far = {near: (box, f"{port}{UNDERLAY}" if tunnelled else port) for near, (box, port), tunnelled in ends}
            self._cabled = plan, far
        return self._cabled[1]

    def set_link(self, far: PortKey, near: PortKey, up: bool, seconds: float = 10.0) -> None:
        """Take the far end down or up and wait until `near`'s carrier has been seen and the rows are right.

        A cable is plugged in at both ends, whichever was pulled; a port that was err-disabled is switched on again; all
        pvNICs of a cable go and come with it. Raises UsageError where that cannot give a carrier.
        """
        with self.present.lock:
            if up:
                self._check_can_come(far, near)
            ends = cut_cables(self.present.topology, [far, near])
            pulled = {end for end in ends if end[0] == far[0]}
            changed = pulled if not up else pulled | (ends & (self.err_disabled.keys() | self._pulled))
            self._pulled = self._pulled - changed if up else self._pulled | changed
            for end in sorted(changed - self._cut_off if up else changed):
                self.err_disabled.pop(end, None)
                self._switch(end, up)
            self.look([near[0], far[0]])
        awaited = [near] if up else sorted(end for end in ends if end[0] == near[0])
        if not self.present.wait_for(lambda state: all(_is(state, end, far, up) for end in awaited), seconds):
            raise SystemRefused(f"{near[0]}:{near[1]} did not go {'up' if up else 'down'} within {seconds:g} s")

    def replug(self, ends: Iterable[PortKey]) -> None:
        """Whichever ends of these cables were pulled are plugged in; a tunnel's are pulled in what it goes by."""
        both = {end for near in ends for end in (near, self._far.get(near, near))}
        with self.present.lock:
            for end in both & self._pulled:
                self._pulled.discard(end)
                self._switch(end, True)

    def _check_can_come(self, *ends: PortKey) -> None:
        for end in ends:
            if end[0] in self._failed:
                raise UsageError(f"{end[0]} has failed: no cable in it carries anything until it is repaired")
            if end in self._cut_off:
                module = self.present.topology.physical_switches[end[0]].module
                why = "link-state tracking, it has lost every link to other pSwitches"
                why = why if module is None else "SmartLink, no uplink of its networks has a link"
                raise UsageError(f"{end[0]} keeps {end[1]} down ({why})")
            if self._meant_off(end):
                raise UsageError(f"{end[0]}:{end[1]} is not connected (`vlab set vnic ... connected=true`)")

    def _meant_off(self, end: PortKey) -> bool:
        """True at a vNIC that the topology does not connect."""
        both = [end, self._far[end]] if end in self._far else [end]
        return not all(self.network.plan.node_named[box].interface(label).up for box, label in both)

    def fail(self, box: str, failed: bool, seconds: float = 10.0) -> None:
        """A host or pSwitch loses carrier at every port, or has it back where nothing else keeps it away (a pulled
        cable, a vNIC that is not connected; a port that was err-disabled begins anew); returns when the State says so.
        """
        ends = [(box, interface.label) for interface in self.network.plan.node_named[box].interfaces]
        with self.present.lock:
            (self._failed.add if failed else self._failed.discard)(box)
            self._cut_off.difference_update(ends)
            for end in ends if not failed else ():
                self.err_disabled.pop(end, None)
            acting = [end for end in ends if failed or (end not in self._pulled and not self._meant_off(end))]
            for end in acting:
                self._switch(end, not failed)
            self.present.event("failed" if failed else "repaired", box=box)
            self.look({box, *(self._far[end][0] for end in ends if end in self._far)})

        def done(state: State) -> bool:
            back = [end for end in acting if failed or (end not in self._cut_off and self._carries(end))]
            return all(_is(state, end, end, not failed) for end in back)

        if not self.present.wait_for(done, seconds):
            raise SystemRefused(f"{box} did not {'fail' if failed else 'come back'} within {seconds:g} s")

    def _carries(self, end: PortKey) -> bool:
        """True where there is somebody at the other end who is switched on."""
        far = self._far.get(end)
        if far is None:
            return False
        links = self._watch.links(far[0])
        link = links.get(self.network.interface_name(*far))
        return link is not None and link.up

    @property
    def failed(self) -> frozenset[str]:
        """Boxes that are lost."""
        return frozenset(self._failed)

    def err_disable(self, box: str, port: str, why: str) -> None:
        """Switch a port of a box off until somebody plugs its cable in again (`set_link`)."""
        with self.present.lock:
            if (box, port) in self.err_disabled:
                return
            self.err_disabled[box, port] = why
            self._switch((box, port), False)
            self.present.event("err-disabled", port=f"{box}:{port}", why=why)
            far = self.far_end((box, port))
            self.look([box, *([far[0]] if far else [])])

    def _switch(self, end: PortKey, up: bool) -> None:
        netlink.set_link(self.network.namespaces[end[0]], self.network.interface_name(*end), up)
        if up and end[1].endswith(UNDERLAY):
            netlink.tell_tunnels(self.network.namespaces[end[0]], self.network.plan.node_named[end[0]].interfaces)

    def _query_moved(self, before: Moment, after: Moment) -> None:
        """To VMs whose port a change of links has moved to another uplink."""
        if before.state.placed != after.state.placed or before.state.uplink_of == after.state.uplink_of:
            return
        for part in after.topology.host_switches.values():
            moved = [p.name for p in part.ports if _hears(p) and _has_moved(before, after, (part.host, p.name))]
            if moved:
                self._query(part.host, part.name, moved)

    def _query(self, host: str, switch: str, moved: list[str]) -> None:
        bridge = self.network.bridge_with(host, moved[0])
        numbers = [bridge.port(name).number for name in moved]
        try:
            packet_out(self.network.ovs(host), bridge.name, general_query(box_mac(host, switch)), numbers * QUERIES)
        except SystemRefused as error:  # its switch has ended; the guests of other hosts are asked all the same
            self.present.event("refused", text=str(error))


def _is(state: State, near: PortKey, far: PortKey, up: bool) -> bool:
    """The link of a port is so, and has settled."""
    return (near not in state.links_down) == up and not {near, far} & state.settling


def uplinks_of(topology: Topology) -> frozenset[PortKey]:
    """Every pNIC that a switch uses."""
    return frozenset((part.host, uplink) for part in topology.host_switches.values() for uplink in part.uplinks)


def tracked(topology: Topology) -> dict[str, tuple[list[PortKey], list[PortKey]]]:
    """pSwitch with link-state tracking -> its ports to other pSwitches, and those to hosts."""
    found: dict[str, tuple[list[PortKey], list[PortKey]]] = {}
    for name, switch in topology.physical_switches.items():
        if switch.link_state_tracking:
            cables = [(name, cable.port_at(name)) for cable in topology.cables if name in cable.ends]
            pnics = [pnic for host in topology.hosts.values() for pnic in host.pnics.values() if pnic.switch == name]
            found[name] = cables, [(name, pnic.far_port) for pnic in pnics]
    return found


def _hears(port: ClientPort) -> bool:
    return not port.nic.is_vmk and port.nic.connected and not port.nic.blocked


def _has_moved(before: Moment, after: Moment, port: PortKey) -> bool:
    uplink = after.state.uplink_of.get(port)
    return uplink is not None and uplink != before.state.uplink_of.get(port)
