"""Port mirroring sessions as rows (MIR-1 to MIR-8).

A copy is made where a frame enters the switch (table 25) or leaves it (table 55), with reg6 the session's number from
1; table 70 dresses it in its tags, table 75 sends it to reg7. What rows cannot do (count frames, send GRE) is done by
an actor in the host's vmkernel node: such copies leave by the mirror port with the session's number as their outermost
tag, and sampled ones come back by it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from lab.frame import DropReason
from lab.model import HostSwitch, Mirror, MirrorKind
from lab.plan.clients import Client
from lab.plan.tables import (
    MIRROR_COPY,
    MIRROR_IN,
    MIRROR_OUT,
    MIRROR_SEND,
    PORT_INPUT,
    PROMISCUOUS,
    PUSH_TAG,
    VLAN_OUT,
    drop,
)
from lab.plan.types import Row
from lab.state import State

MIRROR_PORT = 90
PORT_SUFFIX = ".mirror"
NO_PORT = 65535
"""An input port that no frame comes in by: plain output does not go back to the input port, and `in_port` cuts nothing
off."""


def needs_actor(session: Mirror) -> bool:
    return session.sampling > 1 or session.kind is MirrorKind.ENCAPSULATED


def has_actor(part: HostSwitch) -> bool:
    """True when this host's part of the switch has a mirror port: a source of such a session is here."""
    labels = {port.nic.label for port in part.ports}
    return any(
        session.source_vlans or labels & {*session.transmitted, *session.received}
        for session in part.mirrors
        if needs_actor(session)
    )


def port_label(part: HostSwitch) -> str:
    return f"{part.name}{PORT_SUFFIX}"


def rows_of(part: HostSwitch, clients: Sequence[Client], state: State) -> Iterator[Row]:
    """Of the sessions that have anything to do with this host."""
    by_label = {client.port.nic.label: client for client in clients if client.connected}
    entering: dict[str, list[int]] = defaultdict(list)
    leaving: dict[str, list[int]] = defaultdict(list)
    for number, session in enumerate(part.mirrors, start=1):
        targets = _targets(part, session, by_label, state)
        if not targets or not _is_here(session, by_label):
            continue
        for label in session.transmitted:
            if label in by_label:
                entering[by_label[label].here].append(number)
        for vlan in session.source_vlans:
            entering[f"reg2=1,reg0={vlan:#x}"].append(number)
        for label in session.received:
            if label in by_label:
                leaving[f"reg5={by_label[label].number:#x}"].append(number)
        yield from _dressed(number, session, targets)
        yield from _sent(number, session, targets)
    for table, onward, sources in ((MIRROR_IN, PROMISCUOUS, entering), (MIRROR_OUT, VLAN_OUT, leaving)):
        for match, numbers in sources.items():
            made = ",".join(f"clone(set_field:{n}->reg6,resubmit(,{MIRROR_COPY}))" for n in numbers)
            names = ", ".join(part.mirrors[n - 1].name for n in numbers)
            yield Row(table, 50, match, f"{made},goto_table:{onward}", f"MIR-1: {names}")
        yield Row(table, 0, "", f"goto_table:{onward}")
    if has_actor(part):
        yield drop(PORT_INPUT, 50, f"in_port={MIRROR_PORT}", DropReason.MIRROR_DESTINATION, "MIR-4", MIRROR_PORT)


def _is_here(session: Mirror, ports: dict[str, Client]) -> bool:
    """True when one of its sources is."""
    return bool(session.source_vlans) or not ports.keys().isdisjoint((*session.transmitted, *session.received))


def _targets(part: HostSwitch, session: Mirror, ports: dict[str, Client], state: State) -> list[int]:
    """OpenFlow ports that copies go to in the end; the actor's for those that leave the host encapsulated."""
    if session.kind is MirrorKind.ENCAPSULATED:
        return [MIRROR_PORT]
    named = {part.numbered[name] for name in session.to_uplinks if name in part.numbered}
    lit = {name for name in named if (part.host, name) not in state.links_down}
    up = [n for n, name in enumerate(part.uplinks, start=1) if name in lit]
    clients = [ports[label] for label in session.to_ports if label in ports]
    return [*(client.number for client in clients if not client.port.nic.blocked), *up]


def _dressed(number: int, session: Mirror, targets: Sequence[int]) -> Iterator[Row]:
    """The copy's tags: its original one unless it is stripped, then the encapsulation VLAN or the actor's."""
    outer = _encapsulated(session)
    if needs_actor(session):
        outer = [f"push_vlan:0x8100,set_field:{0x1000 | number:#x}->vlan_tci"]
        targets = [MIRROR_PORT]
    send = [f"clone(set_field:{target}->reg7,resubmit(,{MIRROR_SEND}))" for target in targets]
    match = f"reg6={number:#x}"
    own = [] if session.strip else [PUSH_TAG]
    yield Row(MIRROR_COPY, 100, f"{match},reg0=0", ",".join([*outer, *send]), f"MIR-2: {session.name}, untagged")
    yield Row(MIRROR_COPY, 50, match, ",".join([*own, *outer, *send]), f"MIR-2: {session.name}")


def _sent(number: int, session: Mirror, targets: Sequence[int]) -> Iterator[Row]:
    """Even back to the port it came from, which plain output would not do."""
    if needs_actor(session):
        yield Row(MIRROR_SEND, 50, f"reg6={number:#x},reg7={MIRROR_PORT:#x}", f"output:{MIRROR_PORT}", "MIR-5, MIR-6")
        if session.kind is MirrorKind.ENCAPSULATED:
            return
        # What the actor lets through comes back with the session's number on it.
        back = ",".join(f"clone(set_field:{target}->reg7,resubmit(,{MIRROR_SEND}))" for target in targets)
        match = f"in_port={MIRROR_PORT},vlan_tci={0x1000 | number:#x}/0x1fff"
        dressed = ",".join(["pop_vlan", *_encapsulated(session), f"set_field:{number}->reg6", back])
        yield Row(PORT_INPUT, 100, match, dressed, f"MIR-5: {session.name}")
    for target in targets:
        match = f"reg6={number:#x},reg7={target:#x}"
        elsewhere = f"set_field:{NO_PORT}->in_port"
        yield Row(MIRROR_SEND, 100, f"{match},in_port={target}", f"{elsewhere},{_output(target, session)}", "MIR-3")
        yield Row(MIRROR_SEND, 50, match, _output(target, session), "MIR-3")


def _encapsulated(session: Mirror) -> list[str]:
    return [f"push_vlan:0x8100,set_field:{0x1000 | session.vlan:#x}->vlan_tci"] if session.vlan else []


def _output(port: int, session: Mirror) -> str:
    if session.length is None:
        return f"output:{port}"
    # Open vSwitch cuts before it pushes the tags that are still to be pushed, but for a clone it pushes them first; the
    # note makes the clone one, which it is not as the last action.
    return f"clone(output(port={port},max_len={session.length})),note:00"
