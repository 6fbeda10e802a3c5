"""vmkernel services on the wire: real connections between the adapters that the topology says, with data that can be
found again (VMK-3, VMK-4, VMK-8, VMK-9)."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from lab.errors import LabError, SystemRefused
from lab.model import Machine, Nic, Topology
from lab.realise.net import Network
from lab.realise.run import inside
from lab.topology.services import Exchange, Part, exchange_of
from traffic.canary import canary_payload
from traffic.services import TALKS, Talk, answer, call
from traffic.tls import Tls

TIMEOUT_SECONDS = 5.0
"""For each answer: a SYN that is lost has come again twice by then."""
BLOCK, DATAGRAM = 4096, 256
"""Bytes of data at a time."""


class Services:
    """One exchange at a time between the same two ends."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._tls: dict[str, Tls] = {}
        self._one = threading.Lock()

    def run(
        self, topology: Topology, service: str, sender: str, receiver: str, token: bytes, blocks: int
    ) -> dict[str, Any]:
        """Returns when the receiver has all of it. Raises UsageError for what no vmkernel does, SystemRefused."""
        exchange = exchange_of(topology, service, sender, receiver)
        begin = time.monotonic()
        with self._one:
            told = list(self._parts(exchange, token, blocks, topology.speedup))
        by = next((source for source, _ in told), "")
        return {
            "service": service, "sender": _label(exchange.sender), "receiver": _label(exchange.receiver),
            "source": by, "destination": _ip(exchange.receiver), "gateway": exchange.gateway, "vm": exchange.vm,
            "parts": [said for _, said in told], "bytes": sum(said["bytes"] for _, said in told),
            "sealed": exchange.service.sealed, "token": token.hex(), "warnings": list(exchange.warnings),
            "seconds": round(time.monotonic() - begin, 3),
        }  # fmt: skip

    def _parts(self, exchange: Exchange, token: bytes, blocks: int, speedup: float) -> Iterator[tuple[str, Any]]:
        parts = exchange.service.parts
        talks = iter(TALKS.get(exchange.service.name, ()))
        carrying = [part for part in parts if part.carries]
        for part in parts:
            size = BLOCK if part.protocol == "tcp" else DATAGRAM
            own = range(carrying.index(part), blocks, len(carrying)) if part.carries else ()
            data = [canary_payload(token, number, size) for number in own]
            if part.protocol == "tcp":
                source, got = self._connection(exchange, part, next(talks), data)
            else:
                source, got = self._datagrams(exchange, part, data, exchange.service.interval / speedup)
            yield source, {**asdict(part), "bytes": got if part.carries else 0}

    def _connection(self, exchange: Exchange, part: Part, talk: Talk, data: Sequence[bytes]) -> tuple[str, int]:
        tls = self._certificate(_node(exchange.receiver)) if part.sealed else None
        with self._server(exchange, part) as server, self._client(exchange, part) as client:
            server.listen(1)
            answering = _Answering(server, talk, tls)
            with _in_words(exchange, part):
                client.connect((_ip(exchange.receiver), part.port))
                source = client.getsockname()[0]
                call(talk, client, data, tls)
                return source, answering.result()

    def _datagrams(self, exchange: Exchange, part: Part, data: Sequence[bytes], pause: float) -> tuple[str, int]:
        got = 0
        ends = self._server(exchange, part), self._client(exchange, part)
        with ends[0] as server, ends[1] as client, _in_words(exchange, part):
            client.connect((_ip(exchange.receiver), part.port))
            for number, datagram in enumerate(data):
                if number:
                    select.select([], [], [], pause)
                client.send(datagram)
                got += len(server.recv(DATAGRAM))
            return client.getsockname()[0], got

    @contextmanager
    def _server(self, exchange: Exchange, part: Part) -> Iterator[socket.socket]:
        with self._socket(exchange.receiver, part) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                made.bind((_ip(exchange.receiver), part.port))
            except OSError as error:
                raise SystemRefused(f"{_label(exchange.receiver)}, {part}: {error.strerror}") from error
            yield made

    @contextmanager
    def _client(self, exchange: Exchange, part: Part) -> Iterator[socket.socket]:
        """Bound to its adapter where the service is, else as the routing table says."""
        with self._socket(exchange.sender, part) as made:
            if exchange.bound and isinstance(exchange.sender, Nic):
                name = self._network.interface_name(exchange.sender.node, exchange.sender.name)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
                made.bind((_ip(exchange.sender), 0))
            yield made

    def _socket(self, end: Nic | Machine, part: Part) -> socket.socket:
        kind = socket.SOCK_STREAM if part.protocol == "tcp" else socket.SOCK_DGRAM
        family = socket.AF_INET6 if ":" in _ip(end) else socket.AF_INET
        with inside(self._network.namespaces[_node(end)]):
            made = socket.socket(family, kind)
        made.settimeout(TIMEOUT_SECONDS)
        if part.protocol == "tcp":
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _certificate(self, node: str) -> Tls:
        if node not in self._tls:
            self._tls[node] = Tls.new(node)
        return self._tls[node]


class _Answering:
    """The server's end of one connection, in a thread of its own."""

    def __init__(self, listener: socket.socket, talk: Talk, tls: Tls | None) -> None:
        self._listener, self._talk, self._tls = listener, talk, tls
        self._got = 0
        self.failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._got = answer(self._talk, connection, self._tls)
        except (OSError, LabError) as error:
            self.failed = error

    def result(self) -> int:
        """Once the client has ended. Raises what went wrong here."""
        self._thread.join(2 * TIMEOUT_SECONDS)
        if self.failed is not None:
            raise self.failed
        return self._got


@contextmanager
def _in_words(exchange: Exchange, part: Part) -> Iterator[None]:
    """What the system says -> from where to where nothing came."""
    try:
        yield
    except OSError as error:
        way = f"{_label(exchange.sender)} to {_label(exchange.receiver)} {_ip(exchange.receiver)} {part}"
        by = f" by the gateway {exchange.gateway}" if exchange.gateway else ""
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise SystemRefused(f"{exchange.service.name} from {way}{by}: {why}") from error


def _label(end: Nic | Machine) -> str:
    return end.label if isinstance(end, Nic) else end.name


def _node(end: Nic | Machine) -> str:
    return end.node if isinstance(end, Nic) else end.name


def _ip(end: Nic | Machine) -> str:
    return end.address.split("/")[0]
