"""Hypothesis draws whole cases: a topology file, what its guests do, and frames. VLANs and MACs are few, so that they
meet often; every choice shrinks towards the plain one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from hypothesis import strategies as st

from lab.frame import Frame
from lab.model import Topology
from lab.state import State
from lab.topology import read_topology

from .chassis import draw_chassis
from .frames import draw_shots
from .guests import draw_state
from .teaming import draw_channels, draw_lag, draw_team, with_seen

T = TypeVar("T")
Section = dict[str, Any]

VLANS = (10, 20, 30)
PRIMARY, ISOLATED, COMMUNITIES = 100, 101, (102, 103)
RELEASES = ("4.1", "5.0", "5.1", "5.5", "6.0", "6.5", "6.7", "7.0", "8.0")
VGT_RANGES: tuple[list[int | str], ...] = (["0-4094"], ["10-20"], [0, 20], [30], ["5-12", "100-103"])
TRUNKS: tuple[Any, ...] = ([10], ["10-20"], [20, 30], ["10-30", "100-103"], ["1-101"])


class Dice:
    """Hypothesis' `draw` in the words that the drawers need."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def chance(self, percent: int) -> bool:
        return bool(self._draw(st.integers(0, 99)) >= 100 - percent)

    def number(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.number(0, len(choices) - 1)]

    def some(self, choices: Sequence[T], percent: int) -> list[T]:
        return [choice for choice in choices if self.chance(percent)]

    def verdict(self, accept: int = 50) -> str:
        return "accept" if self.chance(accept) else "reject"


@dataclass(frozen=True)
class Case:
    """What is drawn: the file's text and what it means, what guests do, and (sender, frame) in order."""

    text: str
    topology: Topology
    state: State
    shots: tuple[tuple[str, Frame], ...]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002
        """Hypothesis prints it when a check fails; what failed says more."""
        printer.text(f"{self.topology.name}, {len(self.shots)} frames")


@st.composite
def cases(draw: Any, shots: int, wires: bool = False, chassis: bool = False, stretch: bool = False) -> Case:
    """A topology with `shots` frames. `wires`: without what changes by itself in a running lab; `chassis`, `stretch`:
    surely with one."""
    dice = Dice(draw)
    document = _document(dice, wires, chassis, stretch)
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=120)
    topology = read_topology(text, "drawn.yaml")
    state = draw_state(dice, topology)
    state = state if wires else with_seen(dice, topology, state)
    return Case(text, topology, state, tuple(draw_shots(dice, topology, state, shots, wires)))


class _Plain(yaml.SafeDumper):
    """Writes out what is there twice: the reader takes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


@dataclass
class _Drawing:
    """The file so far, and who has which ports where."""

    dice: Dice
    release: str
    doc: Section
    lags: bool = True

    def since(self, release: str) -> bool:
        return RELEASES.index(self.release) >= RELEASES.index(release)


def _document(dice: Dice, wires: bool, chassis: bool, stretch: bool) -> Section:
    release = dice.pick(("7.0", "6.7", "5.0", "6.7", "8.0", "6.5", "5.1", "4.1"))
    doc: Section = {"name": "drawn", "release": release}
    drawing = _Drawing(dice, release, doc, lags=not wires)
    if dice.chance(50):
        doc["knobs"] = _knobs(dice)
    _physical(drawing, wires, stretch)
    _hosts(drawing)
    draw_channels(dice, doc, wires)
    if chassis or (not wires and dice.chance(30)):
        draw_chassis(dice, doc)
    _distributed(drawing)
    _vmkernels(drawing)
    _vms(drawing)
    _machines(drawing)
    _mirrors(drawing)
    return doc


def _knobs(dice: Dice) -> Section:
    drawn: Section = {}
    for key, values in (
        ("block_guest_bpdu", (0, 1)), ("reverse_path", (1, 1, 0)), ("est_guest_tag", ("drop", "pass")),
        ("prio_tag", ("untag", "drop")), ("reverse_path_promisc", (0, 1)), ("forged_compare", ("effective", "vmx")),
        ("iphash", ("xor32", "lastoctet")), ("beacon_ethertype", (0x8922, 0x0600)),
    ):  # fmt: skip
        if dice.chance(60):
            drawn[key] = dice.pick(values)
    return drawn


# -- the physical network


def _physical(drawing: _Drawing, wires: bool, stretch: bool) -> None:
    """In a running lab a guarded port goes down, and spanning tree decides for itself."""
    dice = drawing.dice
    names = [f"tor{n}" for n in range(1, dice.number(2 if stretch else 1, 3) + 1)]
    stp = not wires and not stretch and dice.chance(30)
    drawing.doc["physical_switches"] = {name: _pswitch(dice, stp) for name in names}
    for switch in drawing.doc["physical_switches"].values() if wires else ():
        switch.pop("bpdu_guard", None)
    if stretch or (not wires and not stp and len(names) > 1 and dice.chance(30)):
        _stretched(drawing, names)
        return
    cables = [{"ends": [dice.pick(names[:n]), name], **_wire(dice)} for n, name in enumerate(names) if n]
    if stp and len(names) > 1 and dice.chance(60):
        cables.append({"ends": [names[0], names[-1]], **_wire(dice)})
    drawing.doc["cables"] = cables


def _stretched(drawing: _Drawing, names: list[str]) -> None:
    """Every pSwitch is a site of its own, and a stretch joins them."""
    dice, doc = drawing.dice, drawing.doc
    doc["sites"] = {f"site-{name}": {} for name in names}
    for name in names:
        doc["physical_switches"][name]["site"] = f"site-{name}"
    kind = dice.pick(("otv", "otv", "vpls", "vxlan", *(["trunk"] if len(names) == 2 else [])))
    doc["stretch"] = {"dci": {"kind": kind, "switches": names, "vlans": dice.pick(([10], [10, 20], ["1-4094"]))}}


def _pswitch(dice: Dice, stp: bool) -> Section:
    drawn: Section = {"stp": True} if stp else {}
    if dice.chance(25):
        drawn["mac_table"] = dice.number(1, 4)
    if dice.chance(20):
        drawn["port_security"] = dice.number(1, 3)
    drawn.update(dict.fromkeys(dice.some(("bpdu_guard", "cdp", "lldp"), 25), True))
    return drawn


def _wire(dice: Dice) -> Section:
    """How a port of a pSwitch is configured: mostly a trunk of everything."""
    if dice.chance(7):
        return {"access": dice.pick(VLANS)}
    drawn: Section = {"trunk": dice.pick(TRUNKS)} if dice.chance(20) else {}
    if dice.chance(45):
        drawn["native"] = dice.pick((1, *VLANS, 1, PRIMARY))
    return drawn


# -- hosts


def _hosts(drawing: _Drawing) -> None:
    dice, switches = drawing.dice, list(drawing.doc["physical_switches"])
    hosts: Section = {}
    for n in range(1, dice.number(1, 3) + 1):
        pnics = [f"vmnic{i}" for i in range(dice.number(1, 3))]
        near = [dice.pick(switches)] if "sites" in drawing.doc else switches
        host: Section = {"uplinks": {pnic: {"switch": dice.pick(near), **_wire(dice)} for pnic in pnics}}
        if "sites" in drawing.doc:
            host["site"] = f"site-{near[0]}"
        if dice.chance(50):
            own = dice.some(pnics[:-1], 60)
            host["standard_switches"] = {"vSwitch0": _standard(drawing, own)}
        hosts[f"esx{n}"] = host
    drawing.doc["hosts"] = hosts


def _standard(drawing: _Drawing, uplinks: list[str]) -> Section:
    dice = drawing.dice
    drawn: Section = {"uplinks": uplinks, **_policies(dice, uplinks, False)}
    drawn["port_groups"] = {
        f"s{n}": {"vlan": dice.pick((10, 10, 0, 4095, 20)), **_policies(dice, uplinks, False)}
        for n in range(1, dice.number(1, 3) + 1)
    }
    if dice.chance(15):
        drawn["discovery"] = {"protocol": "cdp", "operation": dice.pick(("none", "listen", "advertise", "both"))}
    return drawn


def _policies(dice: Dice, uplinks: Sequence[str], distributed: bool) -> Section:
    drawn: Section = {}
    if dice.chance(35):
        drawn["security"] = _security(dice)
    if uplinks and dice.chance(45):
        drawn["teaming"] = draw_team(dice, uplinks, distributed)
    return drawn


def _security(dice: Dice) -> Section:
    keys = (("promiscuous", 75), ("mac_changes", 55), ("forged_transmits", 65))
    return {key: dice.verdict(accept) for key, accept in keys if dice.chance(75)}


# -- distributed switches


def _distributed(drawing: _Drawing) -> None:
    """One or two; every host without a standard switch is on the first, and some of the others are."""
    dice, hosts = drawing.dice, drawing.doc["hosts"]
    left = {name: _unused(host) for name, host in hosts.items()}
    switches: Section = {}
    count = 2 if dice.chance(20) else 1
    for n in range(count):
        mine = [h for h in hosts if dice.chance(85) or (n == 0 and "standard_switches" not in hosts[h])]
        uplinks = {}
        for host in mine:
            uplinks[host] = left[host] if n == count - 1 or dice.chance(30) else left[host][:1]
            left[host] = [pnic for pnic in left[host] if pnic not in uplinks[host]]
        switches[f"dvs{n}"] = _dvs(drawing, f"d{n}", uplinks)
    drawing.doc["distributed_switches"] = switches
    if any("pvlans" in dvs for dvs in switches.values()):
        for switch in drawing.doc["physical_switches"].values():
            switch.update({"pvlan_aware": True} if dice.chance(50) else {})


def _unused(host: Section) -> list[str]:
    used = {pnic for switch in host.get("standard_switches", {}).values() for pnic in switch["uplinks"]}
    return [pnic for pnic in host["uplinks"] if pnic not in used]


def _dvs(drawing: _Drawing, prefix: str, uplinks: dict[str, list[str]]) -> Section:
    dice = drawing.dice
    lag = draw_lag(dice, uplinks) if drawing.lags and drawing.since("5.1") and dice.chance(65) else None
    names = [f"uplink{n + 1}" for n in range(max(map(len, uplinks.values()), default=0))]
    drawn: Section = {"uplinks": uplinks, **_policies(dice, names, True)}
    if lag is not None:
        drawn["lags"] = {"lag1": lag}
    if dice.chance(45):
        drawn["pvlans"] = {PRIMARY: _pvlan_map(dice)}
    drawn["port_groups"] = {f"{prefix}g{n}": _dv_group(drawing, drawn, names) for n in range(1, dice.number(1, 4) + 1)}
    if dice.chance(15):
        protocol = dice.pick(("cdp", "lldp")) if drawing.since("5.0") else "cdp"
        drawn["discovery"] = {"protocol": protocol, "operation": dice.pick(("none", "listen", "advertise", "both"))}
    return drawn


def _pvlan_map(dice: Dice) -> Section:
    """One map for all switches, as a PVLAN-aware pSwitch wants it; a switch may lack entries of it."""
    entries: Section = {PRIMARY: "promiscuous"} if dice.chance(50) else {}
    if dice.chance(90):
        entries[ISOLATED] = "isolated"
    entries.update(dict.fromkeys(dice.some(COMMUNITIES, 80), "community"))
    return entries


def _dv_group(drawing: _Drawing, dvs: Section, uplinks: list[str]) -> Section:
    dice = drawing.dice
    drawn: Section = _policies(dice, uplinks, True)
    if "lags" in dvs and dice.chance(70):
        drawn["teaming"] = {"active": ["lag1"], "standby": []}
    secondaries = list(dvs.get("pvlans", {}).get(PRIMARY, ()))
    if "pvlans" in dvs and dice.chance(60):
        drawn["pvlan"] = dice.pick([PRIMARY, *secondaries])
    elif dice.chance(25):
        drawn["vlan"] = dice.pick(VGT_RANGES)
    else:
        drawn["vlan"] = dice.pick((10, 10, 20, 0))
    if drawing.since("6.7") and dice.chance(45):
        drawn["mac_learning"] = _mac_learning(dice)
        if dice.chance(85):
            drawn.setdefault("security", {})["forged_transmits"] = "accept"
    return drawn


def _mac_learning(dice: Dice) -> Section:
    drawn: Section = {"limit": dice.number(0, 3)} if dice.chance(75) else {}
    if dice.chance(40):
        drawn["over_limit"] = dice.pick(("drop", "allow"))
    if dice.chance(30):
        drawn["unicast_flooding"] = dice.chance(50)
    return drawn


# -- who is connected


def _groups_on(doc: Section, host: str) -> list[tuple[str, str, bool]]:
    """(switch, port group, distributed) of everything that a port on this host may be in."""
    found = [
        (name, group, False)
        for name, switch in doc["hosts"][host].get("standard_switches", {}).items()
        for group in switch["port_groups"]
    ]
    found += [
        (name, group, True)
        for name, dvs in doc["distributed_switches"].items()
        if host in dvs["uplinks"]
        for group in dvs["port_groups"]
    ]
    return found


def _vmkernels(drawing: _Drawing) -> None:
    for name, host in drawing.doc["hosts"].items():
        groups = _groups_on(drawing.doc, name)
        if groups and drawing.dice.chance(40):
            switch, group, _ = drawing.dice.pick(groups)
            host["vmkernel"] = {"vmk0": {"port_group": f"{switch}/{group}"}}


def _vms(drawing: _Drawing) -> None:
    dice, doc = drawing.dice, drawing.doc
    hosts = [host for host in doc["hosts"] if _groups_on(doc, host)]
    vms: Section = {}
    for n in range(1, dice.number(2, 8) + 1):
        host = dice.pick(hosts)
        networks = [_network(dice, _groups_on(doc, host)) for _ in range(2 if dice.chance(25) else 1)]
        vms[f"vm{n}"] = {"host": host, "networks": networks}
    doc["vms"] = vms


def _network(dice: Dice, groups: list[tuple[str, str, bool]]) -> Section:
    switch, group, distributed = dice.pick(groups)
    drawn: Section = {"port_group": f"{switch}/{group}"}
    if dice.chance(6):
        drawn["connected"] = False
    if distributed and dice.chance(6):
        drawn["blocked"] = True
    if distributed and dice.chance(15):
        drawn["security"] = _security(dice)
    return drawn


def _machines(drawing: _Drawing) -> None:
    dice, switches = drawing.dice, list(drawing.doc["physical_switches"])
    drawing.doc["machines"] = {
        f"pc{n}": {"switch": dice.pick(switches), **_machine_port(dice)} for n in range(1, dice.number(0, 3) + 1)
    }


def _machine_port(dice: Dice) -> Section:
    if dice.chance(60):
        return {"access": dice.pick((10, 20, PRIMARY, ISOLATED, *COMMUNITIES, 10))}
    drawn: Section = {"trunk": dice.pick(("all", *TRUNKS))}
    return {**drawn, "native": dice.pick((1, *VLANS))} if dice.chance(50) else drawn


# -- mirroring


def _mirrors(drawing: _Drawing) -> None:
    doc = drawing.doc
    kernels = {name for name, host in doc["hosts"].items() if "vmkernel" in host}
    for name, dvs in doc["distributed_switches"].items():
        places = _places_on(doc, name)
        if len(places) > 1 and drawing.since("5.0") and drawing.dice.chance(45):
            sessions = [_mirror(drawing, dvs, places, kernels) for _ in range(drawing.dice.number(1, 3))]
            dvs["mirrors"] = {f"m{n}": session for n, session in enumerate(sessions)}


def _places_on(doc: Section, switch: str) -> dict[str, str]:
    """Ports on a distributed switch, and the host that each is on."""
    found = {
        f"{vm}.eth{n}": spec["host"]
        for vm, spec in doc["vms"].items()
        for n, network in enumerate(spec["networks"])
        if network["port_group"].startswith(f"{switch}/")
    }
    for host, spec in doc["hosts"].items():
        for vmk, adapter in spec.get("vmkernel", {}).items():
            if adapter["port_group"].startswith(f"{switch}/"):
                found[f"{host}.{vmk}"] = host
    return found


def _mirror(drawing: _Drawing, dvs: Section, places: dict[str, str], kernels: set[str]) -> Section:
    dice = drawing.dice
    target = dice.pick(list(places))
    sources = [place for place in places if place != target]
    uplinks = [f"uplink{n + 1}" for n in range(max(map(len, dvs["uplinks"].values()), default=0))]
    kinds = ["mixedDestMirror"]
    if drawing.since("5.1"):
        kinds += ["dvPortMirror", "dvPortMirror", "remoteMirrorDest", *(["remoteMirrorSource"] if uplinks else [])]
        if all(places[place] in kernels for place in sources):
            kinds.append("encapsulatedRemoteMirrorSource")
    kind = dice.pick(kinds)
    drawn: Section = {
        "type": kind,
        "from": _mirrored(dice, kind, sources),
        "to": _copied_to(dice, kind, target, uplinks),
    }
    if kind == "remoteMirrorSource" or (kind == "mixedDestMirror" and dice.chance(50)):
        drawn["vlan"] = dice.pick((30, 999))
    drawn.update(dict.fromkeys(dice.some(("strip_vlan", "normal_traffic"), 40), True))
    if dice.chance(15):
        drawn["length"] = 60
    if dice.chance(10):
        drawn["sampling"] = 2
    return drawn


def _mirrored(dice: Dice, kind: str, sources: Sequence[str]) -> Section:
    if kind == "remoteMirrorDest":
        return {"vlans": [dice.pick((30, 10, 999))]}
    drawn = {key: dice.some(sources, 60) for key in ("transmitted", "received")}
    kept = {key: ports for key, ports in drawn.items() if ports}
    return kept or {"transmitted": [sources[0]]}


def _copied_to(dice: Dice, kind: str, target: str, uplinks: list[str]) -> Section:
    if kind == "encapsulatedRemoteMirrorSource":
        return {"addresses": ["10.0.5.9"]}
    if kind == "remoteMirrorSource":
        return {"uplinks": dice.some(uplinks, 70) or uplinks[:1]}
    if kind == "mixedDestMirror" and uplinks and dice.chance(60):
        return {"uplinks": dice.some(uplinks, 70) or uplinks[:1], **({"ports": [target]} if dice.chance(60) else {})}
    return {"ports": [target]}
