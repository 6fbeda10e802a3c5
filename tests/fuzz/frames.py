"""Frames that are worth sending: most of them go far, and the rest meets every rule that ends one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab.frame import BPDU_MACS, BROADCAST, CDP_MAC, LACP_ETHERTYPE, LLDP_MAC, Frame, Tag
from lab.model import ClientPort, HostSwitch, Machine, Tagging, Topology
from lab.state import State

from .guests import GROUPS, STRANGE_MACS
from .payloads import IPV4, ROOM, draw_payload, udp_with_room

if TYPE_CHECKING:
    from .strategies import Dice

UNKNOWN = "00:50:56:3f:ff:ff"
STRANGE_GROUP = "01:00:5e:7f:00:09"
PLAIN_TYPE = 0x88B5
ETHERTYPES = (0x0800, 0x0800, 0x0806, 0x86DD, LACP_ETHERTYPE, 0x8922)
SOME_VIDS = (10, 20, 30, 1, 100, 101, 102, 0, 4094, 4095, 999)

Sender = tuple[HostSwitch, ClientPort] | Machine


def draw_shots(dice: Dice, topology: Topology, state: State, count: int, wires: bool) -> Iterator[tuple[str, Frame]]:
    """`count` times a sender's name and a frame. `wires`: one that has room for a canary."""
    senders: list[Sender] = [(part, port) for part in topology.host_switches.values() for port in part.ports]
    senders += topology.machines.values()
    macs = [_own(sender, state) for sender in senders] + [_configured(sender) for sender in senders]
    for _ in range(count):
        sender = dice.pick(senders)
        dst = _destination(dice, sender, state, macs)
        src, tags = _source(dice, sender, state, macs), _tags(dice, sender)
        if wires:
            kind, payload = (IPV4, udp_with_room(dice)) if dice.chance(50) else (PLAIN_TYPE, ROOM)
        else:
            kind = PLAIN_TYPE if dice.chance(55) else dice.pick(ETHERTYPES)
            payload = draw_payload(dice, kind, src, dst)
        yield _name(sender), Frame(src, dst, tags, kind, payload)


def _name(sender: Sender) -> str:
    return sender.name if isinstance(sender, Machine) else sender[1].nic.label


def _configured(sender: Sender) -> str:
    return sender.mac if isinstance(sender, Machine) else sender[1].nic.mac


def _own(sender: Sender, state: State) -> str:
    """The MAC that the guest uses now."""
    if isinstance(sender, Machine):
        return sender.mac
    part, port = sender
    return state.macs.get((part.host, port.name), port.nic.mac)


def _destination(dice: Dice, sender: Sender, state: State, macs: list[str]) -> str:
    throw = dice.number(0, 99)
    if throw < 48:
        return dice.pick(macs)
    for below, choices in (
        (66, (BROADCAST,)),
        (78, (*GROUPS, STRANGE_GROUP)),
        (88, (*STRANGE_MACS, UNKNOWN)),
        (92, (_own(sender, state), _configured(sender))),
        (95, BPDU_MACS),
    ):
        if throw < below:
            return dice.pick(choices)
    return dice.pick((CDP_MAC, LLDP_MAC))


def _source(dice: Dice, sender: Sender, state: State, macs: list[str]) -> str:
    learns = not isinstance(sender, Machine) and sender[1].mac_learning is not None
    if not dice.chance(50 if learns else 25):
        return _own(sender, state)
    throw = dice.number(0, 9)
    if throw < 2:
        return _configured(sender)
    if throw < 4:
        return dice.pick(macs)
    return dice.pick((*STRANGE_MACS, STRANGE_GROUP)) if throw < 9 else UNKNOWN


def _tags(dice: Dice, sender: Sender) -> tuple[Tag, ...]:
    """As the sender's port wants them, mostly."""
    if dice.chance(13):
        return tuple(_tag(dice, dice.pick(SOME_VIDS)) for _ in range(dice.number(1, 2)))
    vids = _wanted(sender)
    stack = (_tag(dice, dice.pick(vids)),) if vids and dice.chance(80) else ()
    return (*stack, _tag(dice, dice.pick(SOME_VIDS))) if stack and dice.chance(8) else stack


def _tag(dice: Dice, vid: int) -> Tag:
    return Tag(vid, dice.number(1, 7) if dice.chance(20) else 0)


def _wanted(sender: Sender) -> list[int]:
    """VLAN IDs that the sender may tag its frames with."""
    if isinstance(sender, Machine):
        return [] if sender.port.access is not None else [v for v in SOME_VIDS if v and sender.port.carries(v)]
    policy = sender[1].vlan
    return [v for v in SOME_VIDS if v and policy.carries(v)] if policy.tagging is Tagging.VGT else []
