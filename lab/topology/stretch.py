"""Layer-2 stretches between sites: a cable from each of their pSwitches to each other one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from lab.model import ALL_VLANS, Cable, PhysicalPort, Stretch, StretchKind
from lab.topology.nodes import Path
from lab.topology.physical import check_plugged
from lab.topology.reading import Reading
from lab.topology.releases import since
from lab.topology.schema import StretchSpec

IANA_PORT = "6.5"
"""The first release whose VXLAN uses the port that IANA gave it (K)."""


def stretches_of(reading: Reading) -> tuple[Stretch, ...]:
    return tuple(_stretch(reading, name, spec) for name, spec in reading.spec.stretch.items())


def _stretch(reading: Reading, name: str, spec: StretchSpec) -> Stretch:
    path: Path = ("stretch", name)
    for n, switch in enumerate(spec.switches):
        check_plugged(reading, (*path, "switches", n), switch)
        if switch in spec.switches[:n]:
            reading.wrong((*path, "switches", n), f"{switch!r} is here twice")
    if spec.kind in ("trunk", "vpls") and reading.document.has((*path, "mtu")):
        reading.wrong((*path, "mtu"), f"a {spec.kind} adds nothing to a frame", "otv and vxlan have an mtu", key=True)
    _check_sites(reading, path, spec)
    port = 4789 if since(reading.spec.release, IANA_PORT) else 8472
    if spec.jitter > spec.delay:
        reading.wrong((*path, "jitter"), "more than the delay", "a frame cannot arrive before it is sent", key=True)
    return Stretch(
        name=name,
        kind=StretchKind(spec.kind),
        switches=tuple(spec.switches),
        vlans=spec.vlans or ALL_VLANS,
        mtu=spec.mtu,
        udp_port=port,
        delay=spec.delay,
        jitter=spec.jitter,
        loss=spec.loss,
        rate=spec.rate,
    )


def _check_sites(reading: Reading, path: Path, spec: StretchSpec) -> None:
    known = reading.spec.physical_switches
    first: dict[str | None, str] = {}
    for n, switch in enumerate(spec.switches):
        if switch not in known:
            continue
        other = first.setdefault(known[switch].site, switch)
        if other != switch:
            what = f"{switch!r} and {other!r} are at one site"
            reading.wrong((*path, "switches", n), what, "a stretch joins sites: one pSwitch of each")


def stretch_cables(stretches: Iterable[Stretch], cables: Sequence[Cable]) -> Iterator[Cable]:
    """After the other cables, which may join the same pSwitches."""
    found = list(cables)
    for stretch in stretches:
        port = PhysicalPort(trunk=stretch.vlans, stretch=stretch)
        for ends in combinations(dict.fromkeys(stretch.switches), 2):
            again = sum(1 for cable in found if set(cable.ends) == set(ends))
            found.append(Cable(ends, port, again + 1))
            yield found[-1]


def check_loops(reading: Reading, cables: Iterable[Cable], stretches: Iterable[Stretch]) -> None:
    """A stretch that splits the horizon is one thing between all its sites; a trunk is a cable like others."""
    joined: dict[str, str] = {}

    def root(name: str) -> str:
        while name in joined:
            name = joined[name]
        return name

    def join(a: str, b: str) -> bool:
        """False when they were joined already."""
        alone = root(a) != root(b)
        if alone:
            joined[root(a)] = root(b)
        return alone

    for cable in cables:
        join(*cable.ends)
    for stretch in stretches:
        joins = [join(a, b) for a, b in _ways(stretch)]
        broken = stretch.carries_bpdus and _all_speak_stp(reading)
        if not (all(joins) or broken):
            hint = "leave a way out, or stp: true on every pSwitch"
            reading.wrong(("stretch", stretch.name), "closes a loop between its pSwitches", hint, key=True)


def _ways(stretch: Stretch) -> list[tuple[str, str]]:
    """The ways between its sites by which a frame could come back."""
    first, *others = dict.fromkeys(stretch.switches)
    return [(first, other) for other in others] if stretch.splits_horizon else [*combinations((first, *others), 2)]


def _all_speak_stp(reading: Reading) -> bool:
    switches = reading.spec.physical_switches.items()
    return all(spec.stp or reading.pruned(("physical_switches", name, "stp")) for name, spec in switches)
