"""Sightings on a clock that ticks more slowly than a frame goes: Hyper-V's every 100 ns, acpi_pm's every 279."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from lab.answers.campaign import ends_by_place, place_of_hop
from lab.frame import BROADCAST, Frame, Hop
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.plan import compile_plan
from lab.predict import predict
from lab.teaming import initial_state
from lab.topology import read_topology_file

TOPOLOGIES = [
    path
    for path in sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))
    # Its modules have a flood from both sides; of two pSwitches that have a frame already the later is believed.
    if path.stem != "pvnic-chassis"
]
TOKEN = b"t" * 16
TICKS = (1, 100, 256, 279)


def timed(hops: tuple[Hop, ...], chance: random.Random) -> list[int]:
    """When each was: a cable takes less than any of these ticks, a switch up to some microseconds."""
    times: list[int] = []
    for hop in hops:
        before = times[hop.parent] if hop.parent is not None else 1_000_000_000
        crossing = hop.direction == "in" and hop.parent is not None and hops[hop.parent].direction == "out"
        times.append(before + (chance.randint(40, 90) if crossing else chance.randint(300, 3000)))
    return times


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda p: p.stem)
def test_directions_do_not_hang_on_the_clock(path: Path) -> None:
    topology = read_topology_file(path)
    state = initial_state(topology)
    points = PointMap.of(compile_plan(topology, state))
    ends = ends_by_place(points)
    for nic in topology.vnics[:6]:
        hops = predict(topology, state, nic.label, Frame(nic.mac, BROADCAST)).hops
        where: list[End | None] = [
            ends.get(place_of_hop(hop)) if hop.reason is None and hop.certain else None for hop in hops
        ]
        assert where[0] is not None
        expected = Counter((end, hop.direction) for end, hop in zip(where, hops, strict=True) if end)
        for seed in range(20):
            chance = random.Random(seed)
            tick = TICKS[seed % len(TICKS)]
            times = timed(hops, chance)
            seen = [
                Sighting(end, time // tick * tick, Frame(hop.src, hop.dst, hop.vlans), TOKEN, 0)
                for end, hop, time in zip(where, hops, times, strict=True)
                if end
            ]
            chance.shuffle(seen)
            found = hops_of(points, seen, {TOKEN: where[0]})
            assert Counter((ends[place_of_hop(hop)], hop.direction) for hop in found) == expected, (nic.label, tick)
            assert [n for n, hop in enumerate(found) if hop.parent is None] == [0]
