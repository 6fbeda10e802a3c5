"""Blade chassis: modules as what they are in the model, their uplinks as cables, blades' pNICs as pvNICs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from lab.chassis import NO_VLAN, PORT_SPEED, STEP, Module, ModuleNetwork, Pvnic
from lab.model import ALL_VLANS, Cable, Host, ModuleUplink, PhysicalPort, PhysicalSwitch, Pnic, Ranges, in_ranges
from lab.topology.chassis_schema import ModuleSpec
from lab.topology.listing import spans
from lab.topology.names import modules, site_of
from lab.topology.nodes import Path
from lab.topology.physical import check_plugged
from lab.topology.reading import Reading
from lab.topology.schema import PnicSpec
from lab.topology.shaping import check_emulated
from lab.units import Rate

TUNNEL = PhysicalPort(trunk=ALL_VLANS, native=NO_VLAN)
"""Every tag passes, and so do frames without one."""
_OF_PVNICS = ("pvnic", "networks", "max")
_OF_PNICS = ("trunk", "access", "channel", "lacp")


def is_module(reading: Reading, name: str) -> bool:
    """True for a module that the file has, right or wrong."""
    return any(path[-1] == name for path in modules(reading))


def _specs(reading: Reading) -> Iterator[tuple[Path, str, ModuleSpec]]:
    for chassis, spec in reading.spec.chassis.items():
        yield from ((("chassis", chassis, "modules", name), name, module) for name, module in spec.modules.items())


# -- modules


def modules_of(reading: Reading) -> dict[str, PhysicalSwitch]:
    found = {}
    for chassis, spec in reading.spec.chassis.items():
        site = site_of(reading, ("chassis", chassis), spec.site)
        for name, module in spec.modules.items():
            path: Path = ("chassis", chassis, "modules", name)
            networks = {n: _network(reading, (*path, "networks", n), n, module) for n in module.networks}
            _check_networks(reading, path, module)
            made = Module(
                chassis, MappingProxyType(networks), module.mode == "tunnelled", module.dcc, module.loop_protection
            )
            found[name] = PhysicalSwitch(name, site, module=made)
    return found


def _network(reading: Reading, path: Path, name: str, module: ModuleSpec) -> ModuleNetwork:
    spec = module.networks[name]
    known = reading.declared(*map(str, path[:-2]), "uplinks")
    for n, uplink in enumerate(spec.uplinks):
        reading.known((*path, "uplinks", n), uplink, known, "uplink")
        if uplink in spec.uplinks[:n]:
            reading.wrong((*path, "uplinks", n), f"{uplink} is listed twice")
    if spec.smart_link and not spec.uplinks and reading.whole((*path, "uplinks")):
        what = "SmartLink follows the uplinks of a network, and this one has none"
        reading.wrong((*path, "smart_link"), what, "uplinks: [X1]", key=True)
    if module.mode == "tunnelled":
        return ModuleNetwork(name, ALL_VLANS, tuple(spec.uplinks), spec.smart_link)
    return ModuleNetwork(name, spec.vlans or (), tuple(spec.uplinks), spec.smart_link)


def _check_networks(reading: Reading, path: Path, module: ModuleSpec) -> None:
    """Mapped: each knows its VLANs, and no two the same ones. Tunnelled: one takes them all."""
    seen: list[tuple[str, Ranges]] = []
    for name, spec in module.networks.items():
        here: Path = (*path, "networks", name)
        if module.mode == "tunnelled":
            if spec.vlans is not None:
                what = "a tunnelled network takes every VLAN (PVN-10)"
                reading.wrong((*here, "vlans"), what, "leave it out, or mode: mapped", key=True)
            if seen:
                what = f"{seen[0][0]!r} takes every VLAN already: a tunnelled module has one network here"
                reading.wrong(here, what, "a module for each, or mode: mapped", key=True)
        elif spec.vlans is None and not reading.pruned((*here, "vlans")):
            what = "says no vlans, and a mapped network has to know each (PVN-10)"
            reading.wrong(here, what, "vlans: [10]", key=True)
        for other, vlans in seen if module.mode == "mapped" else ():
            common = _common(vlans, spec.vlans or ())
            if common:
                what = f"VLAN {spans(common)} is of network {other!r} already"
                reading.wrong((*here, "vlans"), what, "a VLAN is in one network of a module")
        seen.append((name, spec.vlans or ()))


def _common(a: Ranges, b: Ranges) -> list[int]:
    return [vlan for low, high in a for vlan in range(low, high + 1) if in_ranges(vlan, b)]


def uplinks(reading: Reading) -> Iterator[Cable]:
    """A cable from each uplink of a module to its pSwitch."""
    for path, name, module in _specs(reading):
        for uplink, spec in module.uplinks.items():
            here: Path = (*path, "uplinks", uplink)
            check_plugged(reading, (*here, "switch"), spec.switch)
            check_emulated(reading, (*here, "speed"), spec.speed)
            there = PhysicalPort(trunk=spec.trunk or ALL_VLANS, native=spec.native)
            end = ModuleUplink(uplink, _at_module(module, uplink, spec.native), spec.speed)
            yield Cable((name, spec.switch), there, uplink=end)


def _at_module(module: ModuleSpec, uplink: str, native: int | None) -> PhysicalPort:
    """What the module's end takes: the VLANs of the networks that may use it."""
    if module.mode == "tunnelled":
        return TUNNEL
    vlans = _vlans(module, [name for name, spec in module.networks.items() if uplink in spec.uplinks])
    return PhysicalPort(trunk=vlans, native=native if native and in_ranges(native, vlans) else None)


def _vlans(module: ModuleSpec, networks: list[str]) -> Ranges:
    return tuple(sorted(r for name in networks if name in module.networks for r in module.networks[name].vlans or ()))


# -- blades


def check_no_pvnic(reading: Reading, path: Path, spec: PnicSpec) -> None:
    """Only a module has pvNICs."""
    known = reading.declared("physical_switches")
    if known is None or spec.switch not in known:
        return
    for key in _OF_PVNICS:
        if getattr(spec, key) is not None:
            what = f"{spec.switch} is a pSwitch: {key!r} is for what is plugged into a chassis' module"
            reading.wrong((*path, key), what, "switch: the module's name, or leave it out", key=True)


def pvnic(reading: Reading, path: Path, spec: PnicSpec, pnic: Pnic) -> Pnic:
    """`pnic` as the part of a physical port that `spec` says; of no use when that is wrong."""
    for key in _OF_PNICS:
        if getattr(spec, key) is not None:
            what = f"{spec.switch} is a module: a pvNIC has no {key!r}"
            reading.wrong((*path, key), what, "its networks say which VLANs it has: networks: [...]", key=True)
    if spec.pvnic is None:
        if not reading.pruned((*path, "pvnic")):
            reading.wrong(path, f"{spec.switch} is a module: which pvNIC is it?", "pvnic: 1a", key=True)
        return pnic
    module = next((module for _, name, module in _specs(reading) if name == spec.switch), None)
    if module is None:  # told where it stands
        return pnic
    networks = list(module.networks) if spec.networks is None else spec.networks
    _check_reached(reading, path, spec, module, networks)
    _check_speed(reading, path, spec)
    part = Pvnic(int(spec.pvnic[0]), spec.pvnic[1], tuple(networks), spec.speed)
    port = TUNNEL if module.mode == "tunnelled" else PhysicalPort(trunk=_vlans(module, networks), native=spec.native)
    return replace(pnic, speed=spec.max or spec.speed, port=port, pvnic=part)


def _check_reached(reading: Reading, path: Path, spec: PnicSpec, module: ModuleSpec, networks: list[str]) -> None:
    where = next(place for place in modules(reading) if place[-1] == spec.switch)
    for n, name in enumerate(spec.networks or ()):
        reading.known((*path, "networks", n), name, reading.declared(*where, "networks"), f"network of {spec.switch}")
        if name in (spec.networks or ())[:n]:
            reading.wrong((*path, "networks", n), f"{name!r} is listed twice")
    if spec.networks == []:
        reading.wrong((*path, "networks"), "no network", f"there is {', '.join(module.networks)}")
    if spec.native is None:
        return
    if module.mode == "tunnelled":
        what = "a tunnelled network passes frames as they are: it has no native VLAN (PVN-10)"
        reading.wrong((*path, "native"), what, "leave it out, or mode: mapped", key=True)
    elif not in_ranges(spec.native, _vlans(module, networks)) and reading.whole(where):
        what = f"VLAN {spec.native} is in none of its networks"
        reading.wrong((*path, "native"), what, f"they have {_text(_vlans(module, networks))}")


def _text(vlans: Ranges) -> str:
    return ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in vlans) or "none"


def _check_speed(reading: Reading, path: Path, spec: PnicSpec) -> None:
    for key, rate in (("speed", spec.speed), ("max", spec.max)):
        if rate is not None and (rate.bits % STEP.bits or not STEP <= rate <= PORT_SPEED):
            reading.wrong((*path, key), f"{rate} is no speed of a pvNIC", f"{STEP} to {PORT_SPEED}, in steps of {STEP}")
    if spec.max is not None and spec.max < spec.speed:
        reading.wrong((*path, "max"), f"the most, {spec.max}, is under the speed {spec.speed}", "at least that")


def check_blades(reading: Reading, hosts: Mapping[str, Host]) -> None:
    """The pvNICs of each host: different ones, those of a physical port in one module, with VLANs that differ
    (PVN-5) and at most its speed together; all in one chassis."""
    chassis_of = {str(path[-1]): str(path[1]) for path in modules(reading)}
    for host in hosts.values():
        earlier: list[Pnic] = []
        for pnic in host.pnics.values():
            if pnic.pvnic is not None and pnic.switch in chassis_of:
                _check_beside(reading, pnic, earlier, chassis_of)
                earlier.append(pnic)


def _check_beside(reading: Reading, pnic: Pnic, earlier: list[Pnic], chassis_of: Mapping[str, str]) -> None:
    path: Path = ("hosts", pnic.host, "uplinks", pnic.name)
    assert pnic.pvnic is not None
    sharing = [other for other in earlier if other.pvnic and other.pvnic.port == pnic.pvnic.port]
    here, first = chassis_of[pnic.switch], earlier[0] if earlier else pnic
    if chassis_of[first.switch] != here:
        what = f"{pnic.switch} is in {here}, and {first.name} is in {chassis_of[first.switch]}"
        reading.wrong((*path, "switch"), what, "a blade is in one chassis")
    for other in sharing:
        if str(other.pvnic) == str(pnic.pvnic):
            what = f"{pnic.pvnic} is {other.name} already"
            reading.wrong((*path, "pvnic"), what, "each pNIC is another pvNIC")
        elif other.switch != pnic.switch:
            what = f"port {pnic.pvnic.port} is wired to {other.switch}, where {other.name} is"
            reading.wrong((*path, "switch"), what, "the pvNICs of a physical port share its cable (PVN-4)")
            break
        elif common := _common(other.port.trunk, pnic.port.trunk):
            what = f"VLAN {spans(common)} is on {other.name} too, a pvNIC of the same physical port (PVN-5)"
            reading.wrong(path, what, "networks without a VLAN in common", key=True)
    least = Rate(sum(one.pvnic.least.bits for one in (*sharing, pnic) if one.pvnic))
    if least > PORT_SPEED and Rate(least.bits - pnic.pvnic.least.bits) <= PORT_SPEED:
        what = f"the pvNICs of port {pnic.pvnic.port} have {least} together, more than its {PORT_SPEED}"
        reading.wrong((*path, "speed"), what, "less for one of them")
