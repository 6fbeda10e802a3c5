"""Memory from one host to another while the guest runs: rounds of what has changed since the last, until the rest can
go while the guest is stunned (VMO-2). Real bytes between the vMotion vmkernel adapters, over TCP 8000."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from lab.agents.memory import Guest, Ram
from lab.errors import SystemRefused
from lab.model import Nic
from lab.realise.net import Network
from lab.realise.run import inside
from traffic.vmotion import PAGE, PORT, Key, Sender, receive

NET_TIMEOUT_SECONDS = 20.0
"""`Migrate.NetTimeout` (VMO-10)."""
GOAL_SECONDS = 0.1
"""What the last round may take: well below vSphere's goal of 500 ms (`Migrate.PreCopySwitchoverTimeGoal`)."""
LIMIT_SECONDS = 0.5
MOST_ROUNDS = 40
SLOWED = 0.5
"""Stun during page send: what the guest's speed becomes in every round that gained nothing."""


_ZEROS = bytes(PAGE)


@dataclass(frozen=True)
class Round:
    pages: int
    bytes: int
    seconds: float


class Precopy:
    """One VM's memory on its way. `copy` while the guest runs, then `finish` while it is stunned.

    `latency`: seconds of every round that are waiting for its answer, and not copying (VMO-10)."""

    def __init__(self, guest: Guest, target: Ram, senders: Sequence[Sender], latency: float = 0.0) -> None:
        self._guest = guest
        self._latency = latency
        self.target = target
        self._senders = senders
        self._known: dict[int, bytes] = {}
        self.rounds: list[Round] = []

    def copy(self, may_slow: bool) -> bool:
        """Until the rest would take no longer than the goal. False: the guest changes its memory faster than that, and
        it may not be slowed down (before 5.0) or that was of no use."""
        factor = 1.0
        while len(self.rounds) < MOST_ROUNDS:
            done = self._round()
            left = sum(1 for _ in self._dirty())
            copying = max(done.seconds - self._latency, 0.0)
            expected = left * copying / done.pages if done.pages else 0.0
            if expected <= GOAL_SECONDS:
                return True
            if left > done.pages * 0.8 or len(self.rounds) > MOST_ROUNDS // 2:
                if not may_slow:
                    return expected <= LIMIT_SECONDS
                factor *= SLOWED
                self._guest.ask("slow", factor)
        return False

    def finish(self, devices: bytes) -> None:
        """The last pages and the devices' state are at the destination when this returns. The guest is stunned."""
        self._round()
        self._senders[0].devices(devices)
        for sender in self._senders:
            sender.end_round()

    @property
    def bytes_sent(self) -> int:
        return sum(sender.sent for sender in self._senders)

    def _dirty(self) -> Iterator[int]:
        ram = self._guest.ram
        return (n for n in ram.touched() if ram.page(n) != self._known.get(n, _ZEROS))

    def _round(self) -> Round:
        begin, before = time.monotonic(), self.bytes_sent
        pages = self._guest.ram.changed(self._known)
        shares = [pages[n :: len(self._senders)] for n in range(len(self._senders))]

        def send(pair: tuple[Sender, list[tuple[int, bytes]]]) -> None:
            pair[0].pages(pair[1])
            pair[0].end_round()

        with ThreadPoolExecutor(len(self._senders)) as pool:
            list(pool.map(send, zip(self._senders, shares, strict=True)))
        done = Round(len(pages), self.bytes_sent - before, time.monotonic() - begin)
        self.rounds.append(done)
        return done


class Target(Protocol):
    """Where pages go; `commit` at the end of each round."""

    def write(self, number: int, data: bytes) -> None: ...

    def commit(self) -> None: ...


@contextmanager
def connected(
    network: Network, pairs: Sequence[tuple[Nic, Nic]], target: Target, key: Key | None, seconds: float,
    port: int = PORT,
) -> Iterator[list[Sender]]:  # fmt: skip
    """One TCP connection from each source adapter to its counterpart (VMK-7); what comes is written into `target`.

    Raises SystemRefused when one cannot be made in time, or when the receiving end fails.
    """
    failed: list[SystemRefused] = []
    with ExitStack() as stack:
        senders, receivers = [], []
        for stream, (source, there) in enumerate(pairs):
            listener = stack.enter_context(_socket(network, there, port))
            listener.listen(1)
            here = stack.enter_context(_socket(network, source, 0))
            here.settimeout(seconds)
            way = f"{source.label} {_ip(source)} to {there.label} {_ip(there)} TCP {port}"
            try:
                here.connect((_ip(there), port))
                listener.settimeout(seconds)
                accepted, _ = listener.accept()
            except OSError as error:
                raise SystemRefused(f"no connection from {way}: {error.strerror or 'timed out'}") from error
            stack.enter_context(accepted)
            accepted.settimeout(None)
            senders.append(Sender(here, key, stream))
            receivers.append(threading.Thread(target=_take, args=(accepted, key, stream, target, failed), daemon=True))
            receivers[-1].start()
        yield senders
        for sender in senders:
            sender.close()
        for receiver in receivers:
            receiver.join(seconds)
    if failed:
        raise failed[0]


def _take(accepted: socket.socket, key: Key | None, stream: int, target: Target, failed: list[SystemRefused]) -> None:
    """A failure closes the connection, so that the sender learns of it."""
    try:
        for _state in receive(accepted, key, stream, target.write, target.commit):
            pass
    except SystemRefused as error:
        failed.append(error)
        accepted.close()


def _socket(network: Network, nic: Nic, port: int) -> socket.socket:
    """Of this adapter and no other, whatever the routes say."""
    made = None
    try:
        with inside(network.namespaces[nic.node]):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, network.interface_name(nic.node, nic.name).encode())
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind((_ip(nic), port))
    except OSError as error:
        if made is not None:
            made.close()
        raise SystemRefused(f"{nic.label}: {error.strerror}") from error
    return made


def _ip(nic: Nic) -> str:
    return nic.address.split("/")[0]
