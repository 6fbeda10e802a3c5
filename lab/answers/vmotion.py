"""A vMotion with every wire captured: where could somebody have read the guest's memory?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from lab.answers.campaign import Campaign, campaign
from lab.client import LabClient
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.report.vmotion import Exposed, MigrationReport

Marker = tuple[bytes, int]
"""(token, page)."""


def vmotion(client: LabClient, vm: str, host: str, watch: bool = True) -> MigrationReport:
    """Move it. With `watch`, everything is captured meanwhile, when the guest has a marker in its memory.

    Raises UsageError for what vSphere refuses, SystemRefused, CannotTell (the VM has moved, and the capture lost
    frames).
    """
    if not watch or vm not in client.topology.vms or not client.ask("guest_tokens", vm=vm):
        return MigrationReport(client.ask("vmotion", vm=vm, host=host), None)
    kernels = {f"{name}-vmk" for name in (client.topology.vms[vm].host, host) if name in client.topology.hosts}
    points = PointMap.of(client.plan)
    # Its own ports are not captured: a capture that has to follow them would keep the VM out of reach for longer.
    own = {(nic.host, nic.port) for nic in client.topology.vms[vm].nics}
    with campaign(client, kernels & set(client.plan.node_named), without=own) as running:
        done = client.ask("vmotion", vm=vm, host=host)
        running.settle()
        running.stop()
        return MigrationReport(done, tuple(_exposed(points, running, done)))


def _exposed(points: PointMap, running: Campaign, done: dict[str, Any]) -> Iterator[Exposed]:
    sender = (f"{done['source']}-vmk", done["adapters"][0][0].partition(".")[2])
    tokens = {bytes.fromhex(token) for token in done["tokens"]}
    by_marker: dict[Marker, dict[tuple[End, int], Sighting]] = defaultdict(dict)
    for sighting in running.sightings():
        if sighting.token in tokens:  # a page holds its marker many times: one sighting a packet
            by_marker[sighting.token, sighting.seq].setdefault((sighting.end, sighting.time_ns), sighting)
    found: Counter[tuple[str, str, str, str, tuple[int, ...]]] = Counter()
    for (token, _), seen in by_marker.items():
        for hop in hops_of(points, seen.values(), {token: sender}):
            found[hop.box, hop.node, hop.interface, hop.point.value, tuple(t.vid for t in hop.vlans)] += 1
    yield from (Exposed(*place, count) for place, count in found.items())
