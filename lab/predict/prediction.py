"""What is foretold about one frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from lab.frame import Hop, Point
from lab.state import MacTable, State

RECEIVED = frozenset({Point.VNIC_RX, Point.VMK_RX, Point.NIC_RX})


@dataclass(frozen=True)
class Prediction:
    """`hops` in breadth-first order, each with the index of the hop before it; drops are hops with a reason.
    `mac_tables` are the pSwitches' tables after this frame: the same object when nothing was learned."""

    hops: tuple[Hop, ...]
    mac_tables: Mapping[str, MacTable]

    @cached_property
    def wire(self) -> tuple[Hop, ...]:
        """What captures must show."""
        return tuple(hop for hop in self.hops if hop.reason is None)

    @cached_property
    def drops(self) -> tuple[Hop, ...]:
        return tuple(hop for hop in self.hops if hop.reason is not None)

    @cached_property
    def receivers(self) -> tuple[str, ...]:
        """Labels of the vNICs (`web2.eth0`), vmknics (`esx2.vmk0`) and machines (`gw`) that get a copy."""
        return tuple(_label(hop) for hop in self.hops if hop.point in RECEIVED)

    @cached_property
    def statements(self) -> tuple[str, ...]:
        """Every id that decided a step, in order."""
        return tuple(dict.fromkeys(name for hop in self.hops for name in hop.statements))

    def state_after(self, state: State) -> State:
        return state if self.mac_tables is state.mac_tables else state.with_mac_tables(self.mac_tables)

    def trails(self) -> Iterator[tuple[Hop, ...]]:
        """From the sender to each end."""
        parents = {hop.parent for hop in self.hops}
        for index in range(len(self.hops)):
            if index in parents:
                continue
            chain: list[Hop] = []
            at: int | None = index
            while at is not None:
                chain.insert(0, self.hops[at])
                at = self.hops[at].parent
            yield tuple(chain)


def _label(hop: Hop) -> str:
    if hop.point is Point.NIC_RX:
        return hop.node
    return f"{hop.box}.{hop.interface}" if hop.point is Point.VMK_RX else f"{hop.node}.{hop.interface}"
