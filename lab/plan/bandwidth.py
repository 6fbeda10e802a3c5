"""Speeds, shapers and Network I/O Control -> token buckets and HTB trees.

Every pNIC sends, and is sent to, at its emulated speed. With Network I/O Control its tree has a class for each traffic
type that the host can send there; the class's own rate is what the type gets when all of them want everything, so that
lending has to divide only what somebody leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from lab.chassis import PORT_SPEED, shared_ports
from lab.model import Allocation, ClientPort, HostSwitch, NetworkIoControl, Nic, Pnic, PortKey, Shaping, Topology
from lab.nioc import PORTS_OF_TYPE, VIRTUAL_MACHINE, Sender, guaranteed, types_of
from lab.plan.queues import PAST, PROBE_ETHERTYPE, ROOT, Bucket, Class, Match, Queue, Tree
from lab.state import State
from lab.units import Rate, Size

SEND_ROOM = 1_000_000
"""Bytes of kernel memory for frames that wait in the queues of what a box sends through its one socket."""
LEAST_PACKETS, MOST_PACKETS = 10, 50
WAITING_SECONDS = 0.05
"""What a full queue takes to empty at its own rate, as long as that is more than the fewest frames."""
FIRST_TYPE, FIRST_POOL, OTHER_VMS, FIRST_VNIC = 0x10, 0x40, 0xFF, 0x100
LEAST_WAITING, MOST_WAITING = 10, 50
"""Frames in the queue of a shaped port; where the port's box has less room, less."""
LEAST_RATE = 8000
"""Bits/s: a class must have a rate of its own."""
WIDEST_QUANTUM = 60_000
"""Bytes that a class may send in its turn: what is lent is not divided more unevenly than this over one frame."""
TAGGED_HEADER = 18
_PROBES = Match(PAST, ethertype=PROBE_ETHERTYPE)


def queues(topology: Topology, state: State) -> Iterator[Queue]:
    """In file order: pNICs with their pSwitch's end, both ends of modules' uplinks, shaped ports, vmknics first."""
    parts = {(p.host, u): p for p in topology.host_switches.values() for u in p.uplinks}
    rooms, given = _leaves(topology, state, parts), _port_rates(topology, state)
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            part = parts.get((host.name, pnic.name))
            sends = given.get((host.name, pnic.name), _speed(topology, pnic))
            gets = given.get((pnic.switch, pnic.far_port), _received(topology, pnic))
            yield _pnic(topology, state, pnic, part, rooms[host.name], sends)
            yield _link(pnic.switch, pnic.far_port, gets, _frame(part), rooms[pnic.switch])
    longest = max((_frame(part) for part in parts.values()), default=_frame(None))
    for (box, uplink), speed in _module_uplinks(topology):
        yield _link(box, uplink, speed.scaled(topology.speed_scale).bits, longest, rooms[box])
    for part in topology.host_switches.values():
        for port in part.ports:
            yield from _shaped(topology, port, part, rooms[part.host])


def _speed(topology: Topology, pnic: Pnic) -> int:
    return pnic.speed.scaled(topology.speed_scale).bits


def _port_rates(topology: Topology, state: State) -> dict[PortKey, int]:
    """What chassis give to the ends of cables that share a physical port, bits/s as emulated."""
    shared = [(port, end) for port in shared_ports(topology) for end in port.ends]
    scale = topology.speed_scale
    return {end: int(state.pvnic_rates.get(end, port.at_first(end) * scale)) for port, end in shared}


def _received(topology: Topology, pnic: Pnic) -> int:
    """What it is sent at. A chassis holds what a blade sends to the pvNIC's speed; whether what it sends to the blade
    too is disputed (PVN-3)."""
    if pnic.pvnic is None or topology.knobs.pvnic_rx_cap:
        return _speed(topology, pnic)
    return PORT_SPEED.scaled(topology.speed_scale).bits


def _module_uplinks(topology: Topology) -> Iterator[tuple[PortKey, Rate]]:
    """Both ends of each."""
    for cable in topology.cables:
        if cable.uplink is not None:
            yield from (((end, cable.port_at(end)), cable.uplink.speed) for end in cable.ends)


def _frame(part: HostSwitch | None) -> int:
    """The longest frame, in bytes, with a tag."""
    return (part.mtu if part else 1500) + TAGGED_HEADER


def _leaves(topology: Topology, state: State, parts: Mapping[tuple[str, str], HostSwitch]) -> Counter[str]:
    """Queues that each box's frames may wait in: all of the pNIC that has most of them, and half of the others, which
    are not full at the same time."""
    found: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            part = parts.get((host.name, pnic.name))
            tree = _pnic(topology, state, pnic, part, 1, _speed(topology, pnic))
            own = sum(1 for c in tree.classes if c.packets)
            for box, leaves in ((host.name, own), (pnic.switch, 1)):
                found[box] += leaves
                most[box] = max(most[box], leaves)
    for (box, _), _ in _module_uplinks(topology):
        found[box] += 1
        most[box] = max(most[box], 1)
    for part in topology.host_switches.values():
        found[part.host] += sum(1 for port in part.ports if _shapers(topology, port.nic)[1])
    return Counter({box: most[box] + (leaves - most[box] + 1) // 2 for box, leaves in found.items()})


def _packets(frame: int, leaves: int) -> int:
    """Of one queue, so that all of a box together leave room in its socket: a frame takes a power of two of memory."""
    memory = 256 + (1 << (frame + 450).bit_length())
    return max(LEAST_PACKETS, min(SEND_ROOM // memory // max(leaves, 1), MOST_PACKETS))


def _waiting(rate: float, frame: int, most: int) -> int:
    return max(LEAST_PACKETS, min(int(rate / 8 * WAITING_SECONDS) // frame, most))


def _burst(rate: int, frame: int) -> int:
    return max(2 * frame, rate // 8 // 500)


def _link(node: str, label: str, rate: int, frame: int, leaves: int) -> Tree:
    """All frames wait in one queue."""
    link = Class(
        ROOT, 0, "link", rate, rate, frame, _burst(rate, frame), _waiting(rate, frame, _packets(frame, leaves))
    )
    return Tree(node, label, ROOT, (link,), (_PROBES,))


def _pnic(topology: Topology, state: State, pnic: Pnic, part: HostSwitch | None, leaves: int, rate: int) -> Tree:
    frame = _frame(part)
    dvs = topology.distributed_switches.get(part.name) if part and part.distributed else None
    control = dvs.network_io_control if dvs else None
    if part is None or control is None or (pnic.host, pnic.name) in control.opt_out:
        return _link(pnic.host, pnic.name, rate, frame, leaves)
    builder = _Scheduled(topology, state, control, part, pnic.name, rate)
    classes = builder.classes(_packets(frame, leaves))
    default = OTHER_VMS if builder.by_vnic else _minor(VIRTUAL_MACHINE, control)
    return Tree(pnic.host, pnic.name, default, classes, (_PROBES, *builder.matches()))


def _minor(name: str, control: NetworkIoControl) -> int:
    if name in control.types:
        return FIRST_TYPE + list(control.types).index(name)
    return FIRST_POOL + list(control.pools).index(name)


class _Scheduled:
    """The tree of one pNIC with Network I/O Control."""

    def __init__(
        self, topology: Topology, state: State, control: NetworkIoControl, part: HostSwitch, pnic: str, rate: int
    ) -> None:
        self._topology, self._state = topology, state
        self._control, self._part, self._pnic, self._rate = control, part, pnic, rate
        self._frame = _frame(part)
        self._vnics = [p for p in part.ports if not p.nic.is_vmk]
        self.by_vnic = control.version >= 3 and any(p.nic.allocation for p in self._vnics)

    def _here(self, port: ClientPort) -> bool:
        return self._pnic in self._state.sends_on((self._part.host, port.name))

    def _pool_of(self, port: ClientPort) -> str | None:
        return None if port.nic.is_vmk else self._topology.port_group(port.nic).network_pool

    def names_of(self, port: ClientPort) -> tuple[str, ...]:
        pool = self._pool_of(port)
        return (pool,) if pool in self._control.pools and pool else types_of(port, self._control)

    def _present(self) -> tuple[str, ...]:
        """Types and pools that ports here may send, in the order of the switch."""
        named = {name for port in self._part.ports for name in self.names_of(port)} | {VIRTUAL_MACHINE}
        return tuple(n for n in (*self._control.types, *self._control.pools) if n in named)

    def _allotted(self, name: str) -> Allocation:
        return self._control.types.get(name) or self._control.pools[name]

    def _scaled(self, bits: float) -> float:
        return bits * self._topology.speed_scale

    def limit(self, name: str) -> float:
        """Of this pNIC: from version 3 on for each, before for the host (NIOC-6, NIOC-7)."""
        said = self._allotted(name).limit
        if said is None:
            return self._rate
        limit = self._scaled(said.bits)
        return min(limit * self._part_of(name), self._rate) if self._control.version < 3 else min(limit, self._rate)

    def _part_of(self, name: str) -> float:
        """This pNIC's part of the host's limit: as the host has divided it, or even among those that ports send on."""
        key = (self._part.host, self._part.name, name)
        if key in self._state.divided:
            return self._state.divided[key].get(self._pnic, 0.0)
        used = uplinks_of(self._part, self._state, self._control, self._topology, name)
        return 1 / len(used) if self._pnic in used else (0.0 if used else 1.0)

    def classes(self, packets: int) -> tuple[Class, ...]:
        burst = _burst(self._rate, self._frame)
        link = Class(ROOT, 0, "link", self._rate, self._rate, self._frame, burst)
        senders = {
            name: Sender(0, allotted.shares, self._scaled(allotted.reservation.bits), self.limit(name))
            for name in self._present()
            for allotted in (self._allotted(name),)
        }
        split = VIRTUAL_MACHINE if self.by_vnic else ""
        minors = {name: _minor(name, self._control) for name in senders}
        own = self._level(ROOT, self._rate, senders, minors, packets, split)
        below = self._vnic_classes(next((c for c in own if c.label == split), link), packets) if split else ()
        return (link, *own, *below)

    def _level(
        self,
        parent: int,
        rate: float,
        senders: Mapping[str, Sender],
        minors: Mapping[str, int],
        packets: int,
        split: str,
    ) -> tuple[Class, ...]:
        """Sisters below one class; `split` has classes below itself."""
        own, least = guaranteed(rate, senders), min(s.shares for s in senders.values())
        return tuple(
            Class(
                minors[name],
                parent,
                name,
                max(int(own[name]), LEAST_RATE),
                max(int(sender.limit), LEAST_RATE),
                min(self._frame * sender.shares // least, max(WIDEST_QUANTUM, self._frame)),
                _burst(int(own[name]), self._frame),
                0 if name == split else _waiting(own[name], self._frame, packets),
                sender.shares,
            )
            for name, sender in senders.items()
        )

    def _vnic_classes(self, above: Class, packets: int) -> tuple[Class, ...]:
        """Of each vNIC, and of frames that bear nobody's MAC (NIOC-13). Those that send elsewhere count for nothing."""
        senders = {p.nic.label: self._vnic(p) for p in self._vnics if self._pool_of(p) not in self._control.pools}
        minors = {p.nic.label: FIRST_VNIC + p.number for p in self._vnics}
        other = {"other VMs": Sender(0, Allocation().shares, 0, above.ceil)}
        return self._level(
            above.minor, above.rate, {**senders, **other}, {**minors, "other VMs": OTHER_VMS}, packets, ""
        )

    def _vnic(self, port: ClientPort) -> Sender:
        said = port.nic.allocation or Allocation()
        reserved = self._scaled(said.reservation.bits) if self._here(port) else 0.0
        limit = self._rate if said.limit is None else min(self._scaled(said.limit.bits), self._rate)
        return Sender(0, said.shares, reserved, limit)

    def matches(self) -> Iterator[Match]:
        """vmknics by MAC, and by port where one has several services; vNICs of pools; all where each has a class."""
        for port in self._part.ports:
            if port.nic.is_vmk:
                yield from self._vmk_matches(port)
            elif self._pool_of(port) in self._control.pools:
                yield from self._vnic_matches(port, _minor(str(self._pool_of(port)), self._control))
            elif self.by_vnic:
                yield from self._vnic_matches(port, FIRST_VNIC + port.number)

    def _vmk_matches(self, port: ClientPort) -> Iterator[Match]:
        kinds = types_of(port, self._control)
        rest = next((k for k in kinds if k not in PORTS_OF_TYPE), kinds[0])
        for kind in kinds:
            if kind != rest:
                yield from (Match(_minor(kind, self._control), port.nic.mac, number) for number in PORTS_OF_TYPE[kind])
        yield Match(_minor(rest, self._control), port.nic.mac)

    def _vnic_matches(self, port: ClientPort, minor: int) -> Iterator[Match]:
        """By the configured MAC, and the one that its guest has set."""
        set_by_guest = self._state.macs.get((self._part.host, port.name), port.nic.mac)
        for mac in dict.fromkeys((port.nic.mac, set_by_guest)):
            yield Match(minor, mac)


def uplinks_of(
    part: HostSwitch, state: State, control: NetworkIoControl, topology: Topology, name: str
) -> tuple[str, ...]:
    """Uplinks of this host that ports of the traffic type or pool `name` send on."""
    found: list[str] = []
    for port in part.ports:
        pool = None if port.nic.is_vmk else topology.port_group(port.nic).network_pool
        names = (pool,) if pool in control.pools else types_of(port, control)
        if name in names:
            found += state.sends_on((part.host, port.name))
    return tuple(u for u in part.uplinks if u in found)


# -- shaped ports


def _shapers(topology: Topology, nic: Nic) -> tuple[Shaping | None, Shaping | None]:
    """(what it sends, what it gets); a vNIC's limit holds for all that it sends (NIOC-13)."""
    shapers = nic.shapers or topology.port_group(nic).shapers
    sends, limit = shapers.ingress, nic.allocation.limit if nic.allocation else None
    if limit is None:
        return sends, shapers.egress
    if sends is None:
        return Shaping(limit, limit, Size(1)), shapers.egress
    return Shaping(min(sends.average, limit), min(sends.peak, limit), sends.burst), shapers.egress


def _shaped(topology: Topology, port: ClientPort, part: HostSwitch, leaves: int) -> Iterator[Bucket]:
    """What a port sends is held back at its own end of its cable, what it gets at the switch's."""
    nic = port.nic
    sends, gets = _shapers(topology, nic)
    frame = _frame(part)
    if sends is not None:
        yield _bucket(topology, nic.node, nic.name, sends, frame, MOST_WAITING)
    if gets is not None:
        yield _bucket(topology, part.host, port.name, gets, frame, _packets(frame, leaves))


def _bucket(topology: Topology, node: str, label: str, shaping: Shaping, frame: int, most: int) -> Bucket:
    """Without a peak above the average there is no bonus to be seen (SHP-6). The queue holds a tenth of a second."""
    rate, peak = (r.scaled(topology.speed_scale).bits for r in (shaping.average, shaping.peak))
    packets = min(max(LEAST_WAITING, rate // 80 // frame), most)
    if peak <= rate:
        return Bucket(node, label, rate, _burst(rate, frame), 0, 0, packets)
    burst = max(round(shaping.burst.bytes * topology.speed_scale), _burst(rate, frame))
    return Bucket(node, label, rate, burst, peak, _burst(peak, frame), packets)
