"""Boxes and cables that a frame passes on its way to its receiver, that a copy of it passes, or that it would pass
after one failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType

from lab.chassis import with_consequences
from lab.frame import Frame, Hop, Point
from lab.model import PortKey, Topology
from lab.predict.prediction import RECEIVED, Prediction, label_of
from lab.predict.remedies import group_name, set_words
from lab.predict.walk import Predictor
from lab.predict.world import Trunk, Uplink, World
from lab.state import State
from lab.teaming import HASHED, with_links_down

Link = tuple[PortKey, PortKey]
"""Both ends of a cable, the end that the frame leaves by first."""
_OUT = frozenset({Point.UPLINK_SND, Point.PSWITCH_SND})


@dataclass(frozen=True)
class CouldSee:
    """`kind` is guest, machine, box or cable; `action` is what it takes: promiscuous, mac, forge, arp, group, flood,
    sampled, capture (at a box), tap (on a cable). `closes`: the words of `vlab set` that end it; empty where only
    encryption does. `after`: the failure that brings the frame there, empty for what it passes now."""

    node: str
    box: str
    interface: str
    kind: str
    action: str
    why: str
    statements: tuple[str, ...] = ()
    closes: str = ""
    in_clear: bool = True
    after: str = ""
    copy: bool = False


def passed(topology: Topology, state: State, sender: str, receiver: str, frame: Frame) -> Iterator[CouldSee]:
    """What is on the way now, as far as the frame gets, what its other copies pass, then what is on the way when one
    cable of it fails."""
    predictor = Predictor(topology, state)
    said = predictor.predict(sender, frame)
    way = _way(said, receiver) or _nearest(topology, said, receiver)
    if way and way[0].reason is not None:  # its own adapter does not take it
        return
    links = list(dict.fromkeys(_links(predictor.world, way)))
    boxes = list(dict.fromkeys(hop.box for hop in way if _is_box(topology, hop.box)))
    for box in boxes:
        yield _box(topology, box, "the frame passes it")
    for link in links:
        yield _cable(link, "the frame passes it", "")
    known_boxes, known_links = set(boxes), {frozenset(link) for link in links}
    yield from _copies(predictor.world, said, known_boxes, known_links)
    for failed in links:
        after = f"{failed[0][0]}:{failed[0][1]} fails"
        closes = _pinned(topology, state, (sender, receiver), failed)
        new = _way(_after(topology, state, sender, receiver, frame, failed), receiver)
        for box in dict.fromkeys(hop.box for hop in new):
            if box not in known_boxes and _is_box(topology, box):
                known_boxes.add(box)
                why, below = f"the frame passes it when {after}", _tool(topology, box)[1]
                yield CouldSee(box, box, "", "box", "capture", why, ("TEAM-F-1", *below), closes, after=after)
        for link in _links(predictor.world, new):
            if frozenset(link) not in known_links:
                known_links.add(frozenset(link))
                entry = _cable(link, f"the frame passes it when {after}", after)
                yield replace(entry, statements=("TEAM-F-1",), closes=closes)


def _copies(
    world: World, said: Prediction, boxes: Set[str], links: Set[frozenset[PortKey]]
) -> Iterator[CouldSee]:  # fmt: skip
    """What other copies pass, beside `boxes` and `links`; it may be on the failover path as well."""
    hops = [hop for trail in said.trails() for hop in trail]
    for box in dict.fromkeys(hop.box for hop in hops if hop.box not in boxes and _is_box(world.topology, hop.box)):
        yield replace(_box(world.topology, box, "a copy of the frame passes it"), copy=True)
    for link in dict.fromkeys(link for link in _links(world, hops) if frozenset(link) not in links):
        yield replace(_cable(link, "a copy of the frame passes it", ""), copy=True)


def _box(topology: Topology, box: str, why: str) -> CouldSee:
    tool, below = _tool(topology, box)
    return CouldSee(box, box, "", "box", "capture", f"{why}: {tool} shows it", below)


def _tool(topology: Topology, box: str) -> tuple[str, tuple[str, ...]]:
    """What shows a frame there, and the statements about that."""
    switch = topology.physical_switches.get(box)
    if switch is None:
        return "pktcap-uw there", ()
    if switch.module is None:
        return "a SPAN session there", ()
    return f"a port monitor of chassis {switch.module.chassis}, below all that vSphere controls,", ("PVN-11",)


def _cable(link: Link, why: str, after: str) -> CouldSee:
    (box, port), (far, far_port) = link
    name = f"{box}:{port} - {far}:{far_port}"
    return CouldSee(name, box, port, "cable", "tap", why, after=after)


def _is_box(topology: Topology, name: str) -> bool:
    return name in topology.hosts or name in topology.physical_switches


def _way(said: Prediction, receiver: str) -> tuple[Hop, ...]:
    """The receiver's own trail, or nothing when it gets no copy."""
    for trail in said.trails():
        if trail[-1].point in RECEIVED and label_of(trail[-1]) == receiver and trail[-1].certain:
            return trail
    return ()


def _nearest(topology: Topology, said: Prediction, receiver: str) -> tuple[Hop, ...]:
    """Of what the receiver does not get: the copy that is soonest dropped at the port to it, or the one that comes
    furthest."""
    machine = topology.machines.get(receiver)
    nics = {nic.label: nic for nic in (*topology.vnics, *topology.vmknics)}
    home = (machine.switch, machine.name) if machine else (nics[receiver].host, nics[receiver].port)
    trails = list(said.trails())
    there = [trail for trail in trails if (trail[-1].box, trail[-1].interface) == home]
    return min(there, key=len) if there else max(trails, key=len, default=())


def _links(world: World, way: Sequence[Hop]) -> Iterator[Link]:
    """Cables between boxes, and to machines."""
    for hop in way:
        if hop.point is Point.UPLINK_SND:
            pnic = world.topology.hosts[hop.box].pnics[hop.interface]
            yield (hop.box, hop.interface), (pnic.switch, pnic.far_port)
        elif hop.point is Point.NIC_TX:
            yield (hop.box, hop.interface), (world.topology.machines[hop.node].switch, hop.node)
        elif hop.point is Point.PSWITCH_SND:
            yield (hop.box, hop.interface), _far_end(world, hop)


def _far_end(world: World, hop: Hop) -> PortKey:
    far = world.switches[hop.box].far[hop.interface]
    if isinstance(far, Trunk):
        return far.switch, far.port
    return (far.host, far.pnic) if isinstance(far, Uplink) else (far.name, "eth0")


def _after(
    topology: Topology, state: State, sender: str, receiver: str, frame: Frame, failed: Link
) -> Prediction:  # fmt: skip
    """The same frame when that cable is out, with whatever goes with it, and the receiver's new place is known to the
    pSwitches."""
    cleared = replace(state, mac_tables=MappingProxyType({}))
    later = with_links_down(topology, cleared, with_consequences(topology, {*state.links_down, *failed}))
    predictor = Predictor(topology, later)
    told = predictor.predict(receiver, Frame(frame.dst, frame.src)).state_after(later)
    return predictor.with_state(told).predict(sender, frame)


def _pinned(topology: Topology, state: State, ends: tuple[str, str], failed: Link) -> str:
    """Teaming without another uplink, where the failed cable is a pNIC's of one of the ends."""
    hosts = {host: pnic for host, pnic in failed if host in topology.hosts}
    for part in topology.host_switches.values():
        for port in part.ports:
            pnic = hosts.get(part.host)
            if port.nic.label not in ends or pnic not in part.uplinks:
                continue
            if port.lag is not None or port.policy in HASHED or state.uplink_of.get((part.host, port.name)) != pnic:
                return ""
            names = {pnic: name for name, pnic in part.numbered.items()} if part.distributed else {}
            where = set_words("port-group", group_name(topology, port.nic))
            return f"{where} teaming.active=[{names.get(pnic, pnic)}] teaming.standby=[]"
    return ""
