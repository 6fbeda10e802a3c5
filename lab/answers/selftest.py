"""Can the instrument be believed? Known frames from everywhere: no point is deaf, tags come through captures as they
were, directions are right, and no frame is seen before it was sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.answers.campaign import campaign, ends_by_place, place_of_hop
from lab.client import LabClient, Place
from lab.frame import BROADCAST, Frame, Hop, Tag
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.predict import Prediction, Predictor
from lab.report.selftest import Check
from traffic.canary import ETHERTYPE, canary_payload, new_token

TAGS: tuple[tuple[Tag, ...], ...] = (
    (),
    (Tag(0, 5),),
    (Tag(10, 5),),
    (Tag(10, 3, 0x88A8),),
    (Tag(4094, 7), Tag(1)),
)
"""Untagged, priority-tagged, 802.1Q with a priority, 802.1ad, and two tags."""
_RATE = 2000.0


@dataclass(frozen=True)
class _Shot:
    sender: Place
    token: bytes
    seq: int
    frame: Frame
    foretold: Prediction


def self_test(client: LabClient) -> tuple[Check, ...]:
    """Raises CannotTell when frames were lost on the way into the captures."""
    points = PointMap.of(client.plan)
    off = {nic.label for nic in client.topology.vnics if not nic.connected}
    senders = [place for label, place in client.places.items() if label not in off]
    shots = list(_shots(client, senders))
    places = ends_by_place(points)
    expected = Counter((places[place_of_hop(hop)], shot.token) for shot in shots for hop in shot.foretold.wire)
    with campaign(client, {place.node for place in senders}) as running:
        running.send(list(_jobs(shots)))
        running.wait_for((end, token, times) for (end, token), times in expected.items())
        running.settle()
        running.stop()
        seen: dict[tuple[bytes, int], list[Sighting]] = defaultdict(list)
        for sighting in running.sightings():
            seen[sighting.token, sighting.seq].append(sighting)
    origins = {shot.token: (shot.sender.node, shot.sender.interface) for shot in shots}
    hops = {(s.token, s.seq): hops_of(points, seen[s.token, s.seq], origins) for s in shots}
    return (
        _deaf(shots, hops, running.captured, points),
        _tags(shots, seen, points),
        _directions(shots, hops),
        _clocks(hops),
    )


def _shots(client: LabClient, senders: Sequence[Place]) -> Iterator[_Shot]:
    predictor = Predictor(client.topology, client.state())
    for place in senders:
        token = new_token()
        for seq, vlans in enumerate(TAGS):
            frame = Frame(place.mac, BROADCAST, vlans, ETHERTYPE, canary_payload(token, seq, 46))
            foretold = predictor.predict(place.label, frame)
            yield _Shot(place, token, seq, frame, foretold)
            predictor = predictor.after(foretold)


def _jobs(shots: Sequence[_Shot]) -> Iterator[dict[str, object]]:
    for token in dict.fromkeys(shot.token for shot in shots):
        own = [shot for shot in shots if shot.token == token]
        place = own[0].sender
        frames = [shot.frame.to_bytes().hex() for shot in own]
        yield {"node": place.node, "interface": place.interface, "frames": frames, "rate": _RATE}


def _deaf(
    shots: Sequence[_Shot], hops: Mapping[tuple[bytes, int], Sequence[Hop]], captured: Collection[End], points: PointMap
) -> Check:
    """A capture point, that is a wire and a direction, where frames must pass and none was seen."""
    places = ends_by_place(points)
    meant = {(places[place_of_hop(hop)], hop.point) for shot in shots for hop in shot.foretold.wire}
    heard = {(places[place_of_hop(hop)], hop.point) for some in hops.values() for hop in some}
    tried = [(end, point) for end, point in sorted(meant) if end in captured]
    silent = tuple(
        f"{node}:{label} {point} is deaf" for (node, label), point in tried if ((node, label), point) not in heard
    )
    used = {end for end, _ in (*meant, *heard)}
    return Check("every point hears", len(tried), silent, tuple(f"{n}:{i}" for n, i in sorted(set(captured) - used)))


def _tags(
    shots: Sequence[_Shot], seen: Mapping[tuple[bytes, int], Sequence[Sighting]], points: PointMap
) -> Check:  # fmt: skip
    """At both ends of the sender's own cable the tags are what was sent: TPID, VLAN ID, priority."""
    wrong = []
    tried = 0
    for shot in shots:
        own = (shot.sender.node, shot.sender.interface)
        for sighting in seen.get((shot.token, shot.seq), ()):
            if sighting.end in (own, points.far[own]) and sighting.frame.src == shot.frame.src:
                tried += 1
                if not _same_tags(sighting.frame.vlans, shot.frame.vlans):
                    node, label = sighting.end
                    was, sent = (_text(vlans) for vlans in (sighting.frame.vlans, shot.frame.vlans))
                    wrong.append(f"{node}:{label}: sent with {sent}, captured with {was}")
    return Check("tags come through as they were", tried, tuple(wrong))


def _same_tags(seen: Sequence[Tag], sent: Sequence[Tag]) -> bool:
    return list(seen) == list(sent)


def _text(vlans: Sequence[Tag]) -> str:
    return " ".join(f"{tag.tpid:#06x}/{tag}" for tag in vlans) or "no tag"


def _directions(shots: Sequence[_Shot], hops: Mapping[tuple[bytes, int], Sequence[Hop]]) -> Check:
    """A frame that must go one way through a point, and is said to have gone the other."""
    wrong, tried = [], 0
    for shot in shots:
        meant = {(place_of_hop(hop), hop.vlans): hop.direction for hop in shot.foretold.wire}
        twice = Counter((place_of_hop(hop), hop.vlans) for hop in shot.foretold.wire)
        for hop in hops[shot.token, shot.seq]:
            key = (place_of_hop(hop), hop.vlans)
            if twice[key] == 1:
                tried += 1
                if hop.direction != meant[key]:
                    wrong.append(
                        f"{hop.box}:{hop.interface}: a frame that went {meant[key]} is told as {hop.direction}"
                    )
    return Check("directions are right", tried, tuple(wrong))


def _clocks(hops: Mapping[tuple[bytes, int], Sequence[Hop]]) -> Check:
    """No hop is earlier than the one before it."""
    wrong, tried = [], 0
    for some in hops.values():
        for hop in some:
            if hop.parent is not None and hop.time_ns is not None:
                before = some[hop.parent]
                tried += 1
                if hop.time_ns < (before.time_ns or 0):
                    early = (before.time_ns or 0) - hop.time_ns
                    wrong.append(f"{hop.box}:{hop.interface}: {early} ns before {before.box}:{before.interface}")
    return Check("clocks are in order", tried, tuple(wrong))
