"""The port group of each of a frame's hops: of the port itself, and at an uplink of the port whose teaming chose it."""

from __future__ import annotations

from collections.abc import Sequence

from lab.frame import Hop, Point
from lab.model import Topology

_BY_TEAMING = frozenset({Point.UPLINK_SND, Point.PORT_OUTPUT})


def with_groups(topology: Topology, hops: Sequence[Hop], parents: Sequence[int | None]) -> tuple[Hop, ...]:
    """`hops` with `port_group` (`dvs0/web`); `parents`: the index of the hop before each."""
    known: list[str] = []
    for hop, parent in zip(hops, parents, strict=True):
        group = _group_at(topology, hop)
        if not group and hop.point in _BY_TEAMING and parent is not None and hops[parent].box == hop.box:
            group = known[parent]
        known.append(group)
    return tuple(hop._replace(port_group=group) for hop, group in zip(hops, known, strict=True))


def tree_with_groups(topology: Topology, hops: Sequence[Hop]) -> tuple[Hop, ...]:
    """Of hops that say themselves which came before them."""
    return with_groups(topology, hops, [hop.parent for hop in hops])


def way_with_groups(topology: Topology, way: Sequence[Hop]) -> tuple[Hop, ...]:
    """Of one way, each hop behind the other."""
    return with_groups(topology, way, [number - 1 if number else None for number in range(len(way))])


def _group_at(topology: Topology, hop: Hop) -> str:
    """Empty at an uplink, in a guest and in a pSwitch."""
    part = topology.host_switches.get((hop.box, hop.switch))
    nics = (port.nic for port in part.ports if port.name == hop.interface) if part is not None else ()
    return next((topology.port_group(nic).label for nic in nics), "")
