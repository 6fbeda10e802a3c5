"""What a host concludes about its uplinks from what it has seen: pure functions for the agents (docs/teaming.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

BEACON_THRESHOLD = 3
"""Beacons missed before an uplink counts as not heard (BCN-5)."""
LBT_THRESHOLD = 0.75
LBT_PERIOD = 30.0
"""Seconds (LBT-2)."""


@dataclass(frozen=True)
class Verdict:
    """`dead`: uplinks that are taken out; `unsure`: beacons were lost and nobody can be blamed."""

    dead: frozenset[str] = frozenset()
    unsure: bool = False


def beacon_verdict(uplinks: Sequence[str], hears: Collection[tuple[str, str]]) -> Verdict:
    """`uplinks`: those with carrier; `hears`: (listener, sender) pairs of them that hear each other now.

    Three or more: those that neither hear nor are heard are dead, unless that is all of them (BCN-6). Two, one of which
    does not hear the other: unsure (BCN-7). One: believed.
    """
    known = {*uplinks}
    pairs = {(a, b) for a, b in hears if a in known and b in known and a != b}
    if len(known) < 2:
        return Verdict()
    if len(known) == 2:
        return Verdict(unsure=len(pairs) < 2)
    joined = {end for pair in pairs for end in pair}
    if not joined:
        return Verdict(unsure=True)
    return Verdict(dead=frozenset(known - joined))


@dataclass(frozen=True)
class Traffic:
    """Means over a window, in bits per second."""

    sent: float = 0.0
    received: float = 0.0

    @property
    def most(self) -> float:
        return max(self.sent, self.received)

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.sent + other.sent, self.received + other.received)


@dataclass(frozen=True)
class UplinkLoad:
    """`speed` in bits per second, as it is emulated."""

    traffic: Traffic
    speed: float

    @property
    def share(self) -> float:
        """Of its speed: the larger of what it sent and received (LBT-3, LBT-7)."""
        return self.traffic.most / self.speed

    def with_more(self, traffic: Traffic) -> UplinkLoad:
        return UplinkLoad(self.traffic + traffic, self.speed)


@dataclass(frozen=True)
class PortLoad:
    """A port that Load-Based Teaming may move: the uplink that it is on, and its usable active ones."""

    uplink: str
    candidates: tuple[str, ...]
    traffic: Traffic


@dataclass(frozen=True)
class Move:
    port: str
    uplink: str
    was: str


def lbt_move(
    uplinks: Mapping[str, UplinkLoad], ports: Mapping[str, PortLoad], threshold: float = LBT_THRESHOLD
) -> Move | None:
    """The one move of a window on one host's part of a switch, or None (LBT-2, LBT-4, LBT-11).

    Uplinks above the threshold are looked at from the most loaded one; the first whose busiest port has somewhere to go
    gives it to the least loaded of that port's candidates that stays under the threshold with it.
    """
    over = sorted((name for name, load in uplinks.items() if load.share > threshold), key=lambda n: -uplinks[n].share)
    for name in over:
        here = [port for port, load in ports.items() if load.uplink == name and load.traffic.most > 0]
        if not here:
            continue
        busiest = max(here, key=lambda port: ports[port].traffic.most)
        load = ports[busiest]
        fits = [
            uplink
            for uplink in load.candidates
            if uplink != name and uplinks[uplink].with_more(load.traffic).share < threshold
        ]
        if fits:
            return Move(busiest, min(fits, key=lambda uplink: uplinks[uplink].share), name)
    return None
