"""What lies between two plans of one lab: its shape, which must stay, and what a running switch is to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.plan.types import Bridge, Interface, Plan, Row
from lab.realise.ovs import OpenVSwitch, column_words

Key = tuple[int, int, str]


@dataclass(frozen=True)
class BridgeChange:
    """How many rows of the switch `switch` in `box` are new, gone, or do something else."""

    box: str
    switch: str
    added: int
    removed: int
    changed: int


def shape(plan: Plan) -> object:
    """All that cannot change while a lab runs: nodes, interfaces, cables, switches and their ports."""
    return (
        [(n.id, n.name, n.kind, n.forwards, [_adapter(i) for i in n.interfaces]) for n in plan.nodes],
        plan.cables,
        [
            (b.node, b.name, b.label, b.dpid, [(p.number, p.interface, p.label) for p in b.ports], _bonds(b))
            for b in plan.bridges
        ],
    )  # fmt: skip


def _bonds(bridge: Bridge) -> object:
    return [(bond.name, bond.members) for bond in bridge.bonds]


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
    for before, after in zip(old.ports, new.ports, strict=True):
        if after.interface not in new.bonded:
            words += _words("Port", after.interface, dict(before.columns), dict(after.columns))
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
