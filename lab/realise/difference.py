"""What lies between two plans of one lab: its shape, which must stay, and what a running switch is to change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from lab.errors import UsageError
from lab.plan.types import Bridge, Interface, Plan, Row
from lab.realise.ovs import OpenVSwitch, column_words

Key = tuple[int, int, str]
End = tuple[str, str]
"""(node name, interface label)."""


@dataclass(frozen=True)
class BridgeChange:
    """How many rows of the switch `switch` in `box` are new, gone, or do something else."""

    box: str
    switch: str
    added: int
    removed: int
    changed: int


def shape(plan: Plan, without: Collection[End] = ()) -> object:
    """All that cannot change while a lab runs: nodes, interfaces, cables, switches and their ports; those at the ends
    `without` left out."""
    return (
        [(n.id, n.name, n.kind, n.forwards, n.gateway,
          [_adapter(i) for i in n.interfaces if (n.name, i.label) not in without]) for n in plan.nodes],
        [cable for cable in plan.cables if cable.b not in without],
        [(b.node, b.name, b.label, b.dpid, [(p.number, p.interface, p.label) for p in b.ports
                                            if (b.node, p.label) not in without], _bonds(b))
         for b in plan.bridges],
    )  # fmt: skip


def _bonds(bridge: Bridge) -> object:
    return [(bond.name, bond.members) for bond in bridge.bonds]


@dataclass(frozen=True)
class Move:
    """The switch's end of the cable of `guest`, (node, interface), goes from one box to another."""

    guest: End
    label: str
    source: str
    target: str

    @property
    def ends(self) -> tuple[End, End]:
        return (self.source, self.label), (self.target, self.label)

    def back(self) -> Move:
        return Move(self.guest, self.label, self.target, self.source)


def moves_between(before: Plan, after: Plan) -> tuple[Move, ...]:
    """Cables that lead from the same guest's interface to another box. Raises UsageError when more than that differs
    which cannot change while a lab runs."""
    were = {cable.a: cable.b for cable in before.cables}
    moves = tuple(
        Move(c.a, c.b[1], were[c.a][0], c.b[0]) for c in after.cables if c.a in were and were[c.a][0] != c.b[0]
    )
    without = {end for move in moves for end in move.ends}
    if shape(before, without) != shape(after, without):
        raise UsageError("a mirroring session with an actor on the host would have to move with it")
    return moves


def _adapter(interface: Interface) -> object:
    return (interface.name, interface.label, interface.mac, interface.mtu, interface.addresses)


def _by_key(rows: tuple[Row, ...]) -> Mapping[Key, Row]:
    return {(row.table, row.priority, row.match): row for row in rows}


def change_of(old: Bridge, new: Bridge) -> BridgeChange:
    before, after = _by_key(old.rows), _by_key(new.rows)
    both = before.keys() & after.keys()
    changed = sum(before[key] != after[key] and before[key].text() != after[key].text() for key in both)
    return BridgeChange(new.node, new.label, len(after) - len(both), len(before) - len(both), changed)


def set_columns(ovs: OpenVSwitch, old: Bridge, new: Bridge) -> None:
    """Change what differs in OVSDB columns of the bridge and its ports, in one transaction."""
    words = list(_words("Bridge", new.name, dict(old.columns), dict(new.columns)))
    were = {port.label: port for port in old.ports}
    for port in new.ports:
        if port.label in were and port.interface not in new.bonded:
            words += _words("Port", port.interface, dict(were[port.label].columns), dict(port.columns))
    for was, bond in zip(old.bonds, new.bonds, strict=True):
        words += _words("Port", bond.name, dict(was.columns), dict(bond.columns))
    if words:
        ovs._vsctl(words)


def _words(table: str, record: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in old.keys() - new.keys():
        column, _, key = name.partition(":")
        yield from ("--", "remove", table, record, column, key) if key else ("--", "clear", table, record, column)
    for name, value in new.items():
        if old.get(name) != value:
            yield from column_words(table, record, name, value)
