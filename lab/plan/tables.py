"""The vSwitch's tables, and the pieces of rows that several of them share."""

from __future__ import annotations

from collections.abc import Iterable

from lab.frame import DropReason
from lab.plan import hashing
from lab.plan.clients import Client
from lab.plan.types import Row

PORT_INPUT, FORGED, BPDU, VLAN_IN, LEARN, LIMIT, MIRROR_IN, PROMISCUOUS = 0, 10, 15, 20, 22, 23, 25, 28
DISPATCH, LEARNED, LEARNED_OUT, TEAMING, REVERSE, REVERSE_HASHED, ADAPTER = 30, 35, 36, 40, 50, 51, 52
MIRROR_OUT, VLAN_OUT = 55, 60
MIRROR_COPY, MIRROR_SEND = 70, 75
HASHING = hashing.Tables(hash=41, xor=42, step=43, modulo=44, divide=45, spread=46)
TABLE_NAMES = {
    PORT_INPUT: "PortInput",
    FORGED: "forged transmits",
    BPDU: "guest BPDU",
    VLAN_IN: "VLAN in",
    LEARN: "MAC learning",
    LIMIT: "MAC limit",
    MIRROR_IN: "mirroring of what comes in",
    PROMISCUOUS: "promiscuous copies",
    DISPATCH: "EtherswitchDispath",
    LEARNED: "learned MACs",
    LEARNED_OUT: "learned or flooded",
    TEAMING: "teaming",
    **HASHING.names,
    REVERSE: "reverse teaming",
    REVERSE_HASHED: "reverse teaming by hash",
    ADAPTER: "MAC changes",
    MIRROR_OUT: "mirroring of what goes out",
    VLAN_OUT: "VLAN out",
    MIRROR_COPY: "mirror copy",
    MIRROR_SEND: "mirror destination",
}
GROUP = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
UNICAST = "dl_dst=00:00:00:00:00:00/01:00:00:00:00:00"
KEEP_PRIORITY = "move:NXM_OF_VLAN_TCI[13..15]->NXM_NX_REG1[0..2]"
POP_TAG = f"move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11],{KEEP_PRIORITY},pop_vlan"
PUSH_TAG = (
    "push_vlan:0x8100,move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11],move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]"
)


def drop(table: int, priority: int, match: str, reason: DropReason, why: str, port: int = 0) -> Row:
    return Row(table, priority, match, "drop", why, reason, port)


def copies(clients: Iterable[Client]) -> str:
    """One copy for each, on its way out."""
    return ",".join(f"clone(set_field:{c.number}->reg5,resubmit(,{REVERSE}))" for c in clients)
