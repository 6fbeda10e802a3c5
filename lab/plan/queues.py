"""How fast interfaces send: token buckets of shaped ports, HTB trees of pNICs. Values in Linux's words, rates in bits/s
as they are emulated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lab.units import Rate

ROOT = 1
"""The class of the link itself; the classes of traffic types are below it."""
PAST = 0
"""Target of frames that no rate holds for."""
PROBE_ETHERTYPE = 0x88B5


@dataclass(frozen=True)
class Class:
    """One HTB class: sends at `rate` whatever others do, and up to `ceil` what they leave, in the proportion of
    `quantum` (bytes). `packets` is the length of its queue, 0 for one with classes below. `shares` is what the rates
    were made from, for people."""

    minor: int
    parent: int
    label: str
    rate: int
    ceil: int
    quantum: int
    burst: int
    packets: int = 0
    shares: int = 0


@dataclass(frozen=True)
class Match:
    """Frames to the class `target`: by source `mac`, by an L4 `port` too when there is one, or by `ethertype`."""

    target: int
    mac: str = ""
    port: int = 0
    ethertype: int = 0

    def __str__(self) -> str:
        words = [f"source {self.mac}"] if self.mac else []
        words += [f"port {self.port}"] if self.port else []
        words += [f"ethertype {self.ethertype:#06x}"] if self.ethertype else []
        return " ".join(words)


@dataclass(frozen=True)
class Tree:
    """What the interface `label` of `node` sends: frames that nothing matches are of class `default`."""

    node: str
    label: str
    default: int
    classes: tuple[Class, ...]
    matches: tuple[Match, ...]

    def text(self) -> Iterator[str]:
        link = self.classes[0]
        if link.packets:
            yield f"queue {self.node}:{self.label} {Rate(link.ceil)} burst {link.burst} queue {link.packets}"
            return
        yield f"queue {self.node}:{self.label} {Rate(link.ceil)} burst {link.burst}"
        for c in self.classes[1:]:
            queue = f" queue {c.packets}" if c.packets else ""
            shares = f" shares {c.shares}" if c.shares else ""
            rates = f"rate {Rate(c.rate)} ceil {Rate(c.ceil)} quantum {c.quantum} burst {c.burst}"
            yield f"  1:{c.minor:x} below 1:{c.parent:x} {c.label}{shares} {rates}{queue}"
        for m in self.matches:
            yield f"  {m} -> {f'1:{m.target:x}' if m.target else 'past the classes'}"
        yield f"  any -> 1:{self.default:x}"


@dataclass(frozen=True)
class Bucket:
    """A token bucket: `rate` in the long run, `peak` (0: none) while `burst` bytes of tokens last; `at_once` bytes may
    be sent back to back at the peak. `packets` is the length of its queue."""

    node: str
    label: str
    rate: int
    burst: int
    peak: int
    at_once: int
    packets: int

    def text(self) -> Iterator[str]:
        peak = f" peak {Rate(self.peak)} at once {self.at_once}" if self.peak else ""
        rate = f"bucket rate {Rate(self.rate)} burst {self.burst}{peak}"
        yield f"queue {self.node}:{self.label} {rate} queue {self.packets}"


Queue = Tree | Bucket


def shortened(queues: Iterable[Queue], part: float) -> tuple[Queue, ...]:
    """With queues of this part of their length, for a machine with less room for what waits; at least two frames."""
    return tuple(_shortened(queue, part) for queue in queues)


def _shortened(queue: Queue, part: float) -> Queue:
    def less(packets: int) -> int:
        return max(int(packets * part), 2) if packets else 0

    if isinstance(queue, Bucket):
        return replace(queue, packets=less(queue.packets))
    return replace(queue, classes=tuple(replace(c, packets=less(c.packets)) for c in queue.classes))
