"""MAC learning of a distributed switch's ports as rows (SEC-15 to SEC-17): the `learn()` action, bounded per port.

reg3 is 1 when there was room for the source MAC. A learned row is (VLAN, destination MAC) -> reg5 in table 35.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.frame import DropReason
from lab.model import PvlanMap
from lab.plan.clients import Client, blocks_of, kept_apart
from lab.plan.tables import (
    LEARN,
    LEARNED,
    LEARNED_OUT,
    LIMIT,
    MIRROR_IN,
    REVERSE,
    TEAMING,
    copies,
    drop,
)
from lab.plan.types import Row
from lab.plan.vlans import register_matches

__all__ = ["LEARNED", "rows_of"]
_COOKIE = 0x1EA << 32
_GROUP_SOURCE = "dl_src=01:00:00:00:00:00/01:00:00:00:00:00"


def cookie_of(number: int) -> int:
    """Of the rows that the port of this number has learned."""
    return _COOKIE | number


def rows_of(clients: Sequence[Client], connected: Sequence[Client], pvlans: PvlanMap) -> Iterator[Row]:
    """Nothing where no port learns."""
    learners = [client for client in clients if client.port.mac_learning]
    for client in learners:
        yield from _learn(client)
    if learners:
        yield from _lookup([client for client in connected if client.port.mac_learning], pvlans)


def _learn(client: Client) -> Iterator[Row]:
    policy = client.port.mac_learning
    assert policy is not None
    onward = f"goto_table:{MIRROR_IN}"
    yield Row(LEARN, 100, f"{client.here},dl_src={client.mac}", onward, "its own MAC")
    yield Row(LEARN, 90, f"{client.here},{_GROUP_SOURCE}", onward, "no source of one adapter")
    learn = (
        f"learn(table={LEARNED},priority=50,hard_timeout={policy.age},cookie={cookie_of(client.number):#x},"
        f"limit={policy.limit},result_dst=NXM_NX_REG3[0],NXM_NX_REG0[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
        f"load:{client.number:#x}->NXM_NX_REG5[]),"
    )
    # To Open vSwitch a limit of 0 is no limit.
    yield Row(LEARN, 50, client.here, f"{learn if policy.limit else ''}goto_table:{LIMIT}", "SEC-15")
    if not policy.allow:
        yield drop(LIMIT, 50, f"{client.here},reg3=0", DropReason.MAC_LIMIT, "SEC-15", client.number)
    yield Row(LIMIT, 10, client.here, onward, "SEC-15")


def _lookup(learners: Sequence[Client], pvlans: PvlanMap) -> Iterator[Row]:
    """An entry that leads to a port which is gone, or not in the VLAN, is passed over: no row here has its reg5."""
    for client in learners:
        number, learned = client.number, f"reg5={client.number:#x}"
        yield drop(LEARNED_OUT, 200, f"{learned},{client.here}", DropReason.OWN_PORT, "SEC-15", number)
        for match in register_matches(client.vlans):
            if client.promiscuous:
                yield Row(LEARNED_OUT, 150, f"{learned},{match}", "drop", "it has a promiscuous copy")
            yield Row(LEARNED_OUT, 100, f"{learned},{match}", f"goto_table:{REVERSE}", "SEC-15")
        for vlan, why in kept_apart(client, pvlans):
            match = f"{learned},reg0={vlan:#x}"
            yield drop(LEARNED_OUT, 110, f"reg2=1,{match}", DropReason.PVLAN_ISOLATED, "PVL-7", number)
            yield drop(LEARNED_OUT, 105, match, DropReason.PVLAN_ISOLATED, why, number)
    flooded = [client for client in learners if client.port.mac_learning and client.port.mac_learning.flooding]
    for ranges, members in blocks_of(flooded):
        # A promiscuous port has its copy already.
        plain = copies(client for client in members if not client.promiscuous)
        for match in register_matches(ranges):
            actions = f"{plain},goto_table:{TEAMING}" if plain else f"goto_table:{TEAMING}"
            yield Row(LEARNED_OUT, 50, match, actions, "SEC-16")
    yield drop(LEARNED_OUT, 20, "reg2=1", DropReason.UNKNOWN_UNICAST, "FWD-5")
    yield Row(LEARNED_OUT, 10, "", f"goto_table:{TEAMING}", "FWD-4")
