"""A vmkernel service with every wire captured: by which adapter did its data leave, and where could it be read?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lab.answers.campaign import campaign
from lab.answers.clear import read_in_clear
from lab.answers.follow import follow
from lab.answers.wanted import Wanted
from lab.client import LabClient, Place, place_of
from lab.observe.bpf import Filter
from lab.observe.sightings import End, PointMap
from lab.report.clear import ClearReport
from lab.report.follow import Followed
from lab.topology.services import Exchange, exchange_of
from traffic.canary import new_token

BLOCKS = 4
_TCP_DATA = "(ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) > 0)"
"""For libpcap: a segment that carries something."""
_AT_ONCE = 0.01


def service(
    client: LabClient, name: str, sender: str, receiver: str, blocks: int = BLOCKS, watch: bool = True
) -> ClearReport:
    """One exchange; with `watch`, everything is captured meanwhile. Raises UsageError for what no vmkernel does,
    SystemRefused when nobody answers, CannotTell."""
    exchange = exchange_of(client.topology, name, sender, receiver)
    token = new_token()
    if not watch:
        return ClearReport(_ask(client, name, sender, receiver, blocks, token), None)
    ends = place_of(exchange.sender), place_of(exchange.receiver)
    points = PointMap.of(client.plan)
    with campaign(client, {end.node for end in ends}) as running:
        done = _ask(client, name, sender, receiver, blocks, token)
        running.settle()
        running.stop()
        origin = _origin(client, ends[0], str(done["source"]))
        return ClearReport(done, tuple(read_in_clear(points, running, {token}, origin)))


def _ask(client: LabClient, name: str, sender: str, receiver: str, blocks: int, token: bytes) -> dict[str, Any]:
    done: dict[str, Any] = client.ask(
        "service", name=name, sender=sender, receiver=receiver, token=token.hex(), blocks=blocks
    )
    return done


def _origin(client: LabClient, sender: Place, source: str) -> End:
    """The adapter that it really left by: the one with that address."""
    for place in client.places.values():
        if place.node == sender.node and place.address.split("/")[0] == source:
            return place.node, place.interface
    return sender.node, sender.interface


def where_service(
    client: LabClient, name: str, sender: str, receiver: str, directory: Path | None, ready: Callable[[], None]
) -> tuple[ClearReport, Followed]:
    """The trail of every frame of an exchange that carries something. There is one before it, unwatched: what ARP and a
    handshake teach pSwitches is known to the prediction then."""
    exchange = exchange_of(client.topology, name, sender, receiver)
    _ask(client, name, sender, receiver, 1, new_token())
    done: list[dict[str, Any]] = []

    def begin() -> None:
        ready()
        done.append(_ask(client, name, sender, receiver, BLOCKS, new_token()))

    routers = [machine.name for machine in client.topology.machines.values() if machine.routes]
    followed = follow(client, _wanted(exchange, routers), _AT_ONCE, directory, begin)
    return ClearReport(done[0], None), followed


def _wanted(exchange: Exchange, routers: Iterable[str]) -> Wanted:
    """Routers are captured at their own end too: only that tells what they get from what they send on."""
    ends = place_of(exchange.sender), place_of(exchange.receiver)
    hosts = " and ".join(f"host {end.address.split('/')[0]}" for end in ends)
    parts = [
        f"({part.protocol} port {part.port}" + (f" and {_TCP_DATA})" if part.protocol == "tcp" else ")")
        for part in exchange.service.parts
    ]
    text = f"service {exchange.service.name} {ends[0].label} -> {ends[1].label}"
    nodes = frozenset((*(end.node for end in ends), *(routers if exchange.gateway else ())))
    return Wanted(text, filter=Filter(f"{hosts} and ({' or '.join(dict.fromkeys(parts))})"), nodes=nodes)
