"""A guest's port goes from one host's switch to another's while the guest runs: vMotion's last step.

The guest keeps its namespace, its adapter and all that it has open. What moves is the switch's end of its cable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from lab.errors import SystemRefused
from lab.plan.learning import cookie_of
from lab.plan.names import linux_name
from lab.plan.tables import LEARN, LEARNED
from lab.plan.types import Bridge, Plan
from lab.realise import netlink
from lab.realise.difference import Move
from lab.realise.net import Network


class Captures(Protocol):
    """Of the running captures: `leave` when a port is in no switch any more and about to leave its box; `arrive`, with
    what that said, when it is in its new box, switched on, and in no switch yet."""

    def leave(self, node: str, label: str) -> list[int]: ...

    def arrive(self, numbers: Sequence[int], source: str, node: str, label: str) -> None: ...


def migrate(network: Network, plan: Plan, moves: Sequence[Move], captures: Captures) -> None:
    """Go to `plan`, which differs from the present one in rows and in these moves only.

    Raises SystemRefused; the present plan is then in force again, as far as the system lets it be.
    """
    before = network.plan
    changed = [(old, new) for old, new in zip(before.bridges, plan.bridges, strict=True) if old != new]
    try:
        with ThreadPoolExecutor(4) as pool:
            # The rows of both hosts change while the port is out of its old switch and not yet in its new one.
            leaving = [pool.submit(_leave, network, before, move) for move in moves]
            rows = [pool.submit(network.reprogram, old, new) for old, new in changed]
            _all(leaving)
            for move in moves:
                heard = captures.leave(move.source, move.label)
                _carry(network, move)
                captures.arrive(heard, move.source, move.target, move.label)
            _all(rows)
            _all([pool.submit(_join, network, plan, move) for move in moves])
    except SystemRefused:
        _restore(network, plan, before, moves)
        raise
    network.plan = plan
    for move in moves:
        network.reattach(move)
    network.requeue(plan)


def _all(futures: Iterable[Future[None]]) -> None:
    for future in list(futures):
        future.result()


def _leave(network: Network, plan: Plan, move: Move) -> None:
    bridge = _bridge_with(plan, move.source, move.label)
    port = bridge.port(move.label)
    ovs = network.ovs(move.source)
    ovs.remove_port(bridge.name, port)
    if any(row.table == LEARN for row in bridge.rows):
        ovs.mutate(bridge.name, f"delete table={LEARNED},cookie={cookie_of(port.number):#x}/-1")


def _join(network: Network, plan: Plan, move: Move) -> None:
    bridge = _bridge_with(plan, move.target, move.label)
    network.ovs(move.target).add_port(bridge.name, bridge.port(move.label))


def _carry(network: Network, move: Move) -> None:
    """An adapter that is not connected has no carrier in its new host either."""
    name = linux_name(move.label)
    up = network.plan.node_named[move.guest[0]].interface(move.guest[1]).up
    netlink.move_interface(network.namespaces[move.source], name, network.namespaces[move.target], up)


def _bridge_with(plan: Plan, box: str, label: str) -> Bridge:
    return next(b for b in plan.bridges_of(box) if any(p.label == label for p in b.ports))


def _restore(network: Network, plan: Plan, before: Plan, moves: Iterable[Move]) -> None:
    """Each step by itself: what had not been done yet need not be undone."""
    for move in moves:
        with suppress(SystemRefused):
            _leave(network, plan, move.back())
        with suppress(SystemRefused):
            _carry(network, move.back())
        with suppress(SystemRefused):
            _join(network, before, move.back())
    for old, new in zip(before.bridges, plan.bridges, strict=True):
        if old.rows != new.rows:
            with suppress(SystemRefused):
                network.reprogram(new, old)
