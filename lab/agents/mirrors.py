"""What rows cannot do for a mirroring session: count frames (MIR-5), and send copies to an address (MIR-6).

A copy comes in by the mirror port of the host's vmkernel node with the session's number, from 1, as its outermost tag.
A sampled copy that is let through goes back the same way; one for an address leaves as GRE from the host's own stack.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from lab.errors import SystemRefused
from lab.frame import TPIDS
from lab.model import Mirror, MirrorKind, Topology
from lab.plan.mirroring import has_actor, needs_actor, port_label
from lab.realise.net import Network
from lab.realise.packets import PacketSocket, drop_all
from lab.realise.run import inside
from traffic.erspan import IPPROTO_GRE, encapsulate, make_copy

ROOM = 4 * 1024 * 1024
"""Bytes of frames that may wait for the agent at one port."""
_TURN = 256
"""Frames of one port before the others have theirs."""
_IPV4 = 0x0800

Tell = Callable[..., None]
"""(kind of event, facts by keyword)."""


@dataclass
class _Session:
    """A session on one host; `seen` counts its frames there, `taken` those of them that are sent on."""

    mirror: Mirror
    seen: int = 0
    taken: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def takes(self) -> bool:
        """The first frame of every `sampling`."""
        self.seen += 1
        taken = (self.seen - 1) % self.mirror.sampling == 0
        self.taken += taken
        return taken


@dataclass(frozen=True)
class _Tap:
    """One host's mirror port of one switch: where copies come in, and the host's way out."""

    host: str
    switch: str
    port: PacketSocket
    way_out: socket.socket


class MirrorAgent:
    """One thread for all mirror ports of the lab. What cannot be sent becomes one event, told to `tell`."""

    def __init__(self, topology: Topology, network: Network, tell: Tell = lambda _kind, **_facts: None) -> None:
        self._tell = tell
        self._taps: dict[int, _Tap] = {}
        self._poll = select.poll()
        self._sessions: dict[tuple[str, str, int], _Session] = {}
        self._addresses: frozenset[bytes] = frozenset()
        self._network = network
        self._sinks: dict[str, socket.socket] = {}
        self._lost: Counter[str] = Counter()
        for part in topology.host_switches.values():
            if has_actor(part):
                self._add(network, part.host, part.name, port_label(part))
        self.update(topology)

    def _add(self, network: Network, host: str, switch: str, label: str) -> None:
        node = f"{host}-vmk"
        namespace = network.namespaces[node]
        port = PacketSocket(namespace, network.interface_name(node, label), buffer=ROOM)
        way_out = _gre_socket(namespace, node)
        self._taps[port.fileno()] = _Tap(host, switch, port, way_out)
        self._poll.register(port, select.POLLIN)

    def update(self, topology: Topology) -> None:
        """Sessions as this topology has them, from the next frame on; counts of those that stay as they are go on."""
        before, after = self._sessions, {}
        for tap in self._taps.values():
            for number, mirror in enumerate(topology.host_switches[tap.host, tap.switch].mirrors, start=1):
                if needs_actor(mirror):
                    key = (tap.host, tap.switch, number)
                    old = before.get(key)
                    after[key] = old if old is not None and old.mirror == mirror else _Session(mirror)
        self._addresses = frozenset(
            socket.inet_aton(address) for session in after.values() for address in session.mirror.to_addresses
        )
        self._sessions = after
        for node in _owners(topology, {to for session in after.values() for to in session.mirror.to_addresses}):
            if node not in self._sinks:
                self._sinks[node] = _gre_socket(self._network.namespaces[node], node)

    def start(self) -> None:
        threading.Thread(target=self._run, name="mirrors", daemon=True).start()

    def _run(self) -> None:
        while self._taps:
            for fd, _ in self._poll.poll():
                try:
                    for frame in _waiting(self._taps[fd].port):
                        self._take(self._taps[fd], frame)
                except Exception as error:  # the next frame has nothing to do with this one; the trace goes to the log
                    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))

    def _take(self, tap: _Tap, frame: bytes) -> None:
        """A frame of no session is one that a session of before `update` has copied."""
        number = int.from_bytes(frame[14:16], "big") & 0xFFF if len(frame) >= 18 else 0
        session = self._sessions.get((tap.host, tap.switch, number))
        if session is not None and session.mirror.kind is MirrorKind.ENCAPSULATED and self._is_copy(frame):
            return
        if session is None or not session.takes():
            return
        if session.mirror.kind is not MirrorKind.ENCAPSULATED:
            self._send(session, tap, "its port", partial(tap.port.send, frame))
        else:
            self._encapsulate(session, tap, frame[:12] + frame[16:])

    def _encapsulate(self, session: _Session, tap: _Tap, inner: bytes) -> None:
        mirror = session.mirror
        copy = make_copy(inner, mirror.strip, mirror.length)
        number = session.taken - 1
        packet = encapsulate(mirror.encapsulation, copy, mirror.session_id, mirror.cos, number, time.time_ns())
        for address in mirror.to_addresses:
            self._send(session, tap, address, partial(tap.way_out.sendto, packet, (address, 0)))

    def _send(self, session: _Session, tap: _Tap, to: str, send: Callable[[], object]) -> None:
        """What cannot be sent is told once, until it can be sent again or fails otherwise."""
        try:
            send()
        except OSError as error:
            why = error.strerror or str(error)
            if session.refused.get(to) != why:
                session.refused[to] = why
                facts = {"host": tap.host, "switch": tap.switch, "session": session.mirror.name, "to": to, "why": why}
                self._tell("mirror", **facts)
        else:
            session.refused.pop(to, None)

    def _is_copy(self, frame: bytes) -> bool:
        """True for GRE to one of the lab's own collectors: a copy is never mirrored again, or it would be for ever."""
        at = 12
        while int.from_bytes(frame[at : at + 2], "big") in TPIDS:
            at += 4
        packet = frame[at + 2 : at + 22]
        is_gre = frame[at : at + 2] == _IPV4.to_bytes(2, "big") and len(packet) == 20 and packet[9] == IPPROTO_GRE
        return is_gre and packet[16:20] in self._addresses

    def lost(self) -> dict[str, int]:
        """Host -> copies that found no room on their way to the agent so far; hosts that lost none left out."""
        for tap in self._taps.values():
            self._lost[tap.host] += tap.port.lost()
        return dict(+self._lost)


def _gre_socket(namespace: int, node: str) -> socket.socket:
    """To send GRE from. What comes in is thrown away, but not refused: a collector is expected to listen, and one that
    does not would send every copy back in an ICMP error."""
    try:
        with inside(namespace):
            made = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, IPPROTO_GRE)
        drop_all(made)
    except OSError as error:
        raise SystemRefused(f"{node}: {error.strerror}") from error
    return made


def _owners(topology: Topology, addresses: set[str]) -> Iterator[str]:
    """Nodes of the lab that have one of these addresses."""
    for end in (*topology.vnics, *topology.vmknics):
        if end.address.split("/")[0] in addresses:
            yield end.node
    for machine in topology.machines.values():
        if machine.address.split("/")[0] in addresses:
            yield machine.name


def _waiting(port: PacketSocket) -> Iterator[bytes]:
    for _ in range(_TURN):
        frame = port.receive()
        if frame is None:
            return
        yield frame
