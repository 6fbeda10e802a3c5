"""How far apart hosts are: the round trip over stretches with a delay, and what vSphere allows (VMO-9, L2S-9)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import combinations

from lab.model import Topology
from lab.topology.releases import since

_LIMITS = (("6.0", 0.150), ("5.0", 0.010), ("4.1", 0.005))
"""(release, round trip in seconds) up to which vMotion is supported, the latest first; 10 ms is Metro vMotion's."""


VPLEX_METRO = 0.005
"""Of storage that is written at both sites; its later HA text says 10 ms."""
SMP_FT, FT_LOGGING = "6.0", "ft_logging"
FT_SPEED = 10 * 10**9
LATENCY_AWARE = 0.004
"""`Migrate.NetLatencyModeThreshold` (VMO-10): from this round trip on vMotion runs in latency-aware mode."""


def latency_aware(topology: Topology, source: str, target: str) -> bool:
    away = round_trip(topology, source, target)
    return away is not None and away >= LATENCY_AWARE


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


def ft_limit(release: str) -> float:
    """Seconds there and back (K): SMP-FT takes ten times as much as what went before it."""
    return 0.010 if since(release, SMP_FT) else 0.001


def ceilings(topology: Topology) -> dict[str, float]:
    """What two sites may want of each other -> the round trip up to which it is supported (L2S-9)."""
    found = {f"vMotion in {topology.release}": vmotion_limit(topology.release), "VPLEX Metro": VPLEX_METRO}
    if any(FT_LOGGING in nic.services for nic in topology.vmknics):
        found["FT (K)"] = ft_limit(topology.release)
    return found


def too_far(topology: Topology) -> Iterator[tuple[str, str, float]]:
    """(site, site, seconds there and back): the sites whose hosts are further apart than one of the ceilings, once
    each."""
    limit, seen = min(ceilings(topology).values()), set()
    for one, other in combinations(topology.hosts.values(), 2):
        sites = frozenset((one.site, other.site))
        if len(sites) == 2 and sites not in seen:
            seen.add(sites)
            there_and_back = round_trip(topology, one.name, other.name)
            if there_and_back is not None and there_and_back > limit:
                yield one.site, other.site, there_and_back


def ft_warnings(topology: Topology, primary: str, secondary: str) -> Iterator[str]:
    """What vSphere wants of the network between a primary and its secondary, and does not have (L2S-9)."""
    away, limit = round_trip(topology, primary, secondary), ft_limit(topology.release)
    if away is not None and away > limit:
        yield (
            f"{primary} and {secondary} are {away * 1000:g} ms apart, there and back: FT in {topology.release} wants "
            f"{limit * 1000:g} ms at most (L2S-9, K)"
        )
    for nic in topology.vmknics if since(topology.release, SMP_FT) else ():
        if nic.host in (primary, secondary) and FT_LOGGING in nic.services:
            port = topology.host_switches[nic.host, nic.switch].port_of(nic.port)
            pnics = [topology.hosts[nic.host].pnics[name] for name in (*port.active, *port.standby)]
            slow = [pnic for pnic in pnics if pnic.speed.bits < FT_SPEED]
            yield from (f"{nic.label} has {pnic.name} of {pnic.speed}: FT wants 10G (L2S-9)" for pnic in slow)
