"""A vmkernel service with every wire captured: by which adapter did its data leave, and where could it be read?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lab.answers.campaign import Campaign, campaign
from lab.answers.follow import follow
from lab.answers.wanted import Wanted
from lab.client import LabClient, Place, place_of
from lab.observe.bpf import Filter
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.report.follow import Followed
from lab.report.service import ServiceReport
from lab.report.vmotion import Exposed
from lab.topology.services import Exchange, exchange_of
from traffic.canary import new_token

BLOCKS = 4
_TCP_DATA = "(ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) > 0)"
"""For libpcap: a segment that carries something."""
_AT_ONCE = 0.01


def service(
    client: LabClient, name: str, sender: str, receiver: str, blocks: int = BLOCKS, watch: bool = True
) -> ServiceReport:
    """One exchange; with `watch`, everything is captured meanwhile. Raises UsageError for what no vmkernel does,
    SystemRefused when nobody answers, CannotTell."""
    exchange = exchange_of(client.topology, name, sender, receiver)
    token = new_token()
    if not watch:
        return ServiceReport(_ask(client, name, sender, receiver, blocks, token), None)
    ends = place_of(exchange.sender), place_of(exchange.receiver)
    points = PointMap.of(client.plan)
    with campaign(client, {end.node for end in ends}) as running:
        done = _ask(client, name, sender, receiver, blocks, token)
        running.settle()
        running.stop()
        origin = _origin(client, ends[0], str(done["source"]))
        return ServiceReport(done, tuple(_exposed(points, running, token, origin)))


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


def _exposed(points: PointMap, running: Campaign, token: bytes, origin: End) -> Iterator[Exposed]:
    by_block: dict[int, dict[tuple[End, int], Sighting]] = defaultdict(dict)
    for sighting in running.sightings():
        if sighting.token == token:
            by_block[sighting.seq].setdefault((sighting.end, sighting.time_ns), sighting)
    found: Counter[tuple[str, str, str, str, tuple[int, ...]]] = Counter()
    for seen in by_block.values():
        for hop in hops_of(points, seen.values(), {token: origin}):
            found[hop.box, hop.node, hop.interface, hop.point.value, tuple(t.vid for t in hop.vlans)] += 1
    yield from (Exposed(*place, count) for place, count in found.items())


def where_service(
    client: LabClient, name: str, sender: str, receiver: str, directory: Path | None, ready: Callable[[], None]
) -> tuple[ServiceReport, Followed]:
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
    return ServiceReport(done[0], None), followed


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
