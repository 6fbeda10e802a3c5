"""What is foretold about one frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from lab.frame import Hop, Point, ways
from lab.state import ArpTable, MacTable, State

RECEIVED = frozenset({Point.VNIC_RX, Point.VMK_RX, Point.NIC_RX})
MIRROR_PORT = ".mirror"
"""What the name of a host's mirror port ends with: `dvs0.mirror`."""


@dataclass(frozen=True)
class Prediction:
    """`hops`, each with the index of the hop before it; those of one switch together, nearer switches first. Drops are
    hops with a reason.

    `mac_tables`, `learned`, `secured` and `arp_known` are the State's tables after this frame: the same object when
    nothing was added to any of that kind.
    """

    hops: tuple[Hop, ...]
    mac_tables: Mapping[str, MacTable]
    learned: Mapping[tuple[str, str], MacTable]
    secured: Mapping[str, MacTable]
    arp_known: Mapping[str, ArpTable] = field(default_factory=dict)

    @cached_property
    def wire(self) -> tuple[Hop, ...]:
        """What captures must show."""
        return tuple(hop for hop in self.hops if hop.reason is None and hop.certain)

    @cached_property
    def possible(self) -> tuple[Hop, ...]:
        """What captures may show or not: mirror copies that are sampled, or cut too short to be told."""
        return tuple(hop for hop in self.hops if hop.reason is None and not hop.certain)

    @cached_property
    def drops(self) -> tuple[Hop, ...]:
        return tuple(hop for hop in self.hops if hop.reason is not None)

    @cached_property
    def receivers(self) -> tuple[str, ...]:
        """Labels of the vNICs (`web2.eth0`), vmknics (`esx2.vmk0`) and machines (`gw`) that surely get a copy."""
        return tuple(label_of(hop) for hop in self.hops if hop.point in RECEIVED and hop.certain and not _mirror(hop))

    @cached_property
    def may_receive(self) -> tuple[str, ...]:
        """Labels of those that get a copy or not: of a sampled mirroring session."""
        return tuple(label_of(h) for h in self.hops if h.point in RECEIVED and not h.certain and not _mirror(h))

    @cached_property
    def statements(self) -> tuple[str, ...]:
        """Every id that decided a step, in order."""
        return tuple(dict.fromkeys(name for hop in self.hops for name in hop.statements))

    def state_after(self, state: State) -> State:
        """The state, which must be the one that this was predicted from, with what was learned."""
        same = self.mac_tables is state.mac_tables and self.learned is state.learned and self.secured is state.secured
        after = state if same else state.with_tables(self.mac_tables, self.learned, self.secured)
        return after if self.arp_known is state.arp_known else replace(after, arp_known=self.arp_known)

    def followed_by(self, other: Prediction) -> Prediction:
        """With what is foretold of the packet once a router has sent it on; the tables are those after both."""
        shift = len(self.hops)
        hops = (hop._replace(parent=None if hop.parent is None else hop.parent + shift) for hop in other.hops)
        return replace(other, hops=(*self.hops, *hops))

    def trails(self) -> Iterator[tuple[Hop, ...]]:
        """From the sender to each end."""
        yield from ways(self.hops)


def _mirror(hop: Hop) -> bool:
    """True at a host's mirror port, which belongs to no vmknic."""
    return hop.interface.endswith(MIRROR_PORT)


def label_of(hop: Hop) -> str:
    """Of the vNIC, vmknic or machine at a sending or receiving point."""
    if hop.point in (Point.NIC_RX, Point.NIC_TX):
        return hop.node
    return f"{hop.box}.{hop.interface}" if hop.point in (Point.VMK_RX, Point.VMK_TX) else f"{hop.node}.{hop.interface}"
