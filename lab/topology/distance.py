"""How far apart hosts are: the round trip over stretches with a delay, and what vSphere allows (VMO-9, L2S-9)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import combinations

from lab.model import Topology
from lab.topology.releases import since

_LIMITS = (("6.0", 0.150), ("5.0", 0.010), ("4.1", 0.005))
"""(release, round trip in seconds) up to which vMotion is supported, the latest first; 10 ms is Metro vMotion's."""


def vmotion_limit(release: str) -> float:
    """Seconds there and back."""
    return next(limit for first, limit in _LIMITS if since(release, first))


def round_trip(topology: Topology, source: str, target: str) -> float | None:
    """Seconds there and back between two hosts by the shortest way over pSwitches; None when there is no way."""
    starts, ends = ({p.switch for p in topology.hosts[host].pnics.values()} for host in (source, target))
    nearest: dict[str, float] = {}
    waiting = [(0.0, switch) for switch in starts]
    while waiting:
        away, switch = heapq.heappop(waiting)
        if switch in nearest:
            continue
        nearest[switch] = away
        if switch in ends:
            return 2 * away
        for other, delay in _ways_from(topology, switch):
            heapq.heappush(waiting, (away + delay, other))
    return None


def _ways_from(topology: Topology, switch: str) -> Iterator[tuple[str, float]]:
    for cable in topology.cables:
        if switch in cable.ends:
            other = cable.ends[1] if switch == cable.ends[0] else cable.ends[0]
            yield other, cable.port.stretch.delay if cable.port.stretch else 0.0


def too_far(topology: Topology) -> Iterator[tuple[str, str, float]]:
    """(site, site, seconds there and back): the sites whose hosts are further apart than vMotion allows, once each."""
    limit, seen = vmotion_limit(topology.release), set()
    for one, other in combinations(topology.hosts.values(), 2):
        sites = frozenset((one.site, other.site))
        if len(sites) == 2 and sites not in seen:
            seen.add(sites)
            there_and_back = round_trip(topology, one.name, other.name)
            if there_and_back is not None and there_and_back > limit:
                yield one.site, other.site, there_and_back
