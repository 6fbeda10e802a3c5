"""Private VLAN maps of distributed switches (PVL-1): spec -> model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from lab.model import Pvlan, PvlanKind, PvlanMap
from lab.topology.nodes import Path
from lab.topology.reading import Reading

PvlanMaps = Mapping[str, PvlanMap]
"""By distributed switch."""
_TWICE = "a VLAN has one place in the map"


def pvlan_maps(reading: Reading) -> PvlanMaps:
    return {name: MappingProxyType(_map(reading, name)) for name in reading.spec.distributed_switches}


def _map(reading: Reading, switch: str) -> dict[int, Pvlan]:
    """A primary stands for its own promiscuous entry, written or not."""
    pvlans = reading.spec.distributed_switches[switch].pvlans
    found = {int(text): Pvlan(int(text), int(text), PvlanKind.PROMISCUOUS) for text in pvlans}
    seen: set[int] = set()
    for text, secondaries in pvlans.items():
        path: Path = ("distributed_switches", switch, "pvlans", text)
        if int(text) in seen:
            reading.wrong(path, f"VLAN {int(text)} is in the map already", _TWICE, key=True)
        else:
            _add(reading, path, found, int(text), {key: PvlanKind(word) for key, word in secondaries.items()})
        seen.add(int(text))
    return found


def _add(
    reading: Reading, path: Path, found: dict[int, Pvlan], primary: int, secondaries: Mapping[str, PvlanKind]
) -> None:
    isolated = None
    own = False
    for text, kind in secondaries.items():
        at, vlan = (*path, text), int(text)
        if vlan in found and (vlan != primary or own):
            reading.wrong(at, f"VLAN {vlan} is in the map already", _TWICE, key=True)
        elif (vlan == primary) != (kind is PvlanKind.PROMISCUOUS):
            which = "primary" if vlan == primary else "secondary"
            hint = "the primary VLAN itself, and no other, is promiscuous"
            reading.wrong(at, f"the {which} VLAN {vlan} cannot be {kind}", hint)
        elif kind is PvlanKind.ISOLATED and isolated is not None:
            reading.wrong(at, f"{primary} has an isolated VLAN already: {isolated}", "one for each primary VLAN")
        else:
            isolated = vlan if kind is PvlanKind.ISOLATED else isolated
            found[vlan] = Pvlan(primary, vlan, kind)
        own = own or vlan == primary


def is_told(reading: Reading, switch: str, vlan: int) -> bool:
    """True when the file may have this VLAN in the switch's map, in an entry that is wrong."""
    path = ("distributed_switches", switch, "pvlans")
    primaries = reading.declared(*path)
    if primaries is None:
        return True
    below = [reading.declared(*path, primary) for primary in primaries]
    written = [*primaries, *(key for keys in below for key in keys or ())]
    return None in below or any(key.isdecimal() and int(key) == vlan for key in written)


def map_of_all(maps: PvlanMaps) -> PvlanMap:
    """What a PVLAN-aware pSwitch is told."""
    return MappingProxyType({vlan: entry for found in maps.values() for vlan, entry in found.items()})


def check_aware_switches(reading: Reading, maps: PvlanMaps) -> None:
    """Something is there to be aware of, and it is the same on all distributed switches."""
    aware = [name for name, spec in reading.spec.physical_switches.items() if spec.pvlan_aware]
    paths: list[Path] = [("physical_switches", name, "pvlan_aware") for name in aware]
    for path in paths[:1]:
        for what in _differences(maps):
            reading.wrong(path, what, "one map for all")
    switches = reading.declared("distributed_switches")
    if switches is None or any(reading.declared("distributed_switches", name, "pvlans") != [] for name in switches):
        return
    for path in paths:
        reading.wrong(path, "no distributed switch has private VLANs", "pvlans: {100: {101: isolated}}")


def _differences(maps: PvlanMaps) -> Iterator[str]:
    """At most one for each distributed switch, against those before it in the file."""
    first: dict[int, str] = {}
    for name, found in maps.items():
        others = [(vlan, entry, first[vlan]) for vlan, entry in found.items() if vlan in first]
        unlike = ((vlan, entry, other) for vlan, entry, other in others if maps[other][vlan] != entry)
        for vlan, entry, other in unlike:
            before = maps[other][vlan]
            if entry.kind is not before.kind:
                yield f"private VLAN {vlan} is {entry.kind} on {name} and {before.kind} on {other}"
            else:
                yield f"private VLAN {vlan} belongs to {entry.primary} on {name} and to {before.primary} on {other}"
            break
        first = {**dict.fromkeys(found, name), **first}
