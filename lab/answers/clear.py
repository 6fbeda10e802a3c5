"""Where could somebody have read it? Marked data in everything that was captured."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from lab.answers.campaign import Campaign
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.report.clear import Exposed


def read_in_clear(points: PointMap, running: Campaign, tokens: Collection[bytes], origin: End) -> Iterator[Exposed]:
    """Every point where a stopped capture has data with one of the tokens, which was sent at `origin`."""
    by_marker: dict[tuple[bytes, int], dict[tuple[End, int], Sighting]] = defaultdict(dict)
    for sighting in running.sightings():
        if sighting.token in tokens:  # a packet may hold its marker many times: one sighting each
            by_marker[sighting.token, sighting.seq].setdefault((sighting.end, sighting.time_ns), sighting)
    found: Counter[tuple[str, str, str, str, tuple[int, ...]]] = Counter()
    for (token, _), seen in by_marker.items():
        for hop in hops_of(points, seen.values(), {token: origin}):
            found[hop.box, hop.node, hop.interface, hop.point.value, tuple(t.vid for t in hop.vlans)] += 1
    yield from (Exposed(*place, count) for place, count in found.items())
