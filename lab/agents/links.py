"""What a host does when a pNIC's link goes or comes back: ports move, rows follow (TEAM-F-1, TEAM-F-2, TEAM-F-6), and
the guests that moved are asked for their multicast groups again (FWD-20)."""

from __future__ import annotations

from collections.abc import Iterable

from lab.agents.events import Moment
from lab.agents.igmp import QUERIES, general_query
from lab.agents.present import Present
from lab.errors import SystemRefused
from lab.model import ClientPort, PortKey
from lab.plan.names import box_mac
from lab.realise import netlink
from lab.realise.linkwatch import LinkWatch
from lab.realise.packet_out import packet_out
from lab.teaming import with_links_down


class LinkAgent:
    """Looks after the carriers of all boxes. `look` is for whoever watches; it holds the lock of `present`."""

    def __init__(self, present: Present, watch: LinkWatch) -> None:
        self.present = present
        self.network = present.network
        self.err_disabled: dict[PortKey, str] = {}
        self._watch = watch
        self._boxes = [node.name for node in self.network.plan.nodes if node.is_box]
        self._far = {cable.a: cable.b for cable in self.network.plan.cables}
        self._far.update({cable.b: cable.a for cable in self.network.plan.cables})
        self._down: dict[str, frozenset[PortKey]] = {}
        present.follow(self._query_moved)
        self.look(self._boxes)

    def look(self, nodes: Iterable[str]) -> None:
        """At those of the nodes that are boxes, and act on what is different."""
        named = set(nodes)
        with self.present.lock:
            for box in (box for box in self._boxes if box in named):
                links = self._watch.links(box)
                ports = ((i.label, links.get(i.name)) for i in self.network.plan.node_named[box].interfaces)
                self._down[box] = frozenset((box, label) for label, link in ports if not (link and link.carrier))
            down = frozenset[PortKey]().union(*self._down.values())
            if down != self.present.state.links_down:
                self.present.observe(lambda now: with_links_down(now.topology, now.state, down))

    def far_end(self, port: PortKey) -> PortKey | None:
        """The other end of the cable in this port, or None."""
        return self._far.get(port)

    def set_link(self, far: PortKey, near: PortKey, up: bool, seconds: float = 10.0) -> None:
        """Take the far end down or up and wait until `near`'s carrier has been seen and the rows are right.

        A cable is plugged in at both ends: a port that was err-disabled is switched on again.
        """
        with self.present.lock:
            for end in {far, near} & self.err_disabled.keys() if up else ():
                del self.err_disabled[end]
                self._switch(end, True)
            self._switch(far, up)
            self.look([near[0], far[0]])
        if not self.present.wait_for(lambda state: (near not in state.links_down) == up, seconds):
            raise SystemRefused(f"{near[0]}:{near[1]} did not go {'up' if up else 'down'} within {seconds:g} s")

    def err_disable(self, box: str, port: str, why: str) -> None:
        """Switch a port of a box off until somebody plugs its cable in again (`set_link`)."""
        with self.present.lock:
            if (box, port) in self.err_disabled:
                return
            self.err_disabled[box, port] = why
            self._switch((box, port), False)
            self.present.event("err-disabled", port=f"{box}:{port}", why=why)
            self.look([box, self._far[box, port][0]])

    def _switch(self, end: PortKey, up: bool) -> None:
        netlink.set_link(self.network.namespaces[end[0]], self.network.interface_name(*end), up)

    def _query_moved(self, before: Moment, after: Moment) -> None:
        """To VMs whose port a change of links has moved to another uplink."""
        if before.state.links_down == after.state.links_down or before.state.uplink_of == after.state.uplink_of:
            return
        for part in after.topology.host_switches.values():
            moved = [p.name for p in part.ports if _hears(p) and _has_moved(before, after, (part.host, p.name))]
            if moved:
                self._query(part.host, part.name, moved)

    def _query(self, host: str, switch: str, moved: list[str]) -> None:
        bridge = self.network.bridge_with(host, moved[0])
        numbers = [bridge.port(name).number for name in moved]
        packet_out(self.network.ovs(host), bridge.name, general_query(box_mac(host, switch)), numbers * QUERIES)


def _hears(port: ClientPort) -> bool:
    return not port.nic.is_vmk and port.nic.connected and not port.nic.blocked


def _has_moved(before: Moment, after: Moment, port: PortKey) -> bool:
    uplink = after.state.uplink_of.get(port)
    return uplink is not None and uplink != before.state.uplink_of.get(port)
