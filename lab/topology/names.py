"""Names of nodes and ports, each taken once, and the sites that things are at."""

from __future__ import annotations

from collections.abc import Iterator

from lab.topology.nodes import Path
from lab.topology.reading import Reading

ONLY_SITE = "site"


def check_names(reading: Reading) -> None:
    _node_names(reading)
    _port_names(reading)
    _site_names(reading)


def site_of(reading: Reading, path: Path, site: str | None) -> str:
    """The site of the host or pSwitch at `path`, which may leave it out when there is only one."""
    sites = list(reading.spec.sites)
    if site is not None:
        if sites:
            reading.known((*path, "site"), site, reading.declared("sites"), "site")
        return site
    if len(sites) > 1:
        reading.wrong(path, "says no site, and there are several", f"site: {sites[0]}", key=True)
    return sites[0] if sites else ONLY_SITE


def _node_names(reading: Reading) -> None:
    """Every namespace has its own name: pSwitches, modules, hosts, their vmkernels, VMs, machines."""
    seen: dict[str, Path] = {}
    for path in _nodes(reading):
        name = str(path[-1])
        taken = seen.get(name)
        if taken:
            where = ".".join(map(str, taken[:-1]))
            reading.wrong(path, f"the name {name!r} is taken", f"it is in {where} too", key=True)
        seen[name] = path
    for host, spec in reading.spec.hosts.items():
        kernel = f"{host}-vmk"
        if spec.vmkernel and kernel in seen:
            reading.wrong(seen[kernel], f"the name {kernel!r} is taken", f"by the vmkernel of {host}", key=True)


def _nodes(reading: Reading) -> Iterator[Path]:
    for section in ("physical_switches", "chassis", "hosts", "vms", "machines"):
        if section == "chassis":
            yield from modules(reading)
        else:
            yield from ((section, name) for name in reading.declared(section) or ())


def modules(reading: Reading) -> Iterator[tuple[str, ...]]:
    """Where the file has the interconnect modules of its chassis."""
    for chassis in reading.declared("chassis") or ():
        for name in reading.declared("chassis", chassis, "modules") or ():
            yield "chassis", chassis, "modules", name


def _port_names(reading: Reading) -> None:
    """On a pSwitch a port bears the name of what is plugged in; a host's is HOST-vmnicN, a module's MODULE-XN."""
    pnics = {f"{host}-{pnic}" for host, spec in reading.spec.hosts.items() for pnic in spec.uplinks}
    uplinks = {f"{at[-1]}-{uplink}" for at in modules(reading) for uplink in reading.declared(*at, "uplinks") or ()}
    for section in ("machines", "physical_switches"):
        for name in reading.declared(section) or ():
            path: Path = (section, name)
            if name in pnics:
                reading.wrong(path, f"the name {name!r} is taken", "a pNIC's port is called so", key=True)
            elif name in uplinks:
                reading.wrong(path, f"the name {name!r} is taken", "a module's uplink is called so", key=True)


def _site_names(reading: Reading) -> None:
    spec = reading.spec
    if spec.sites or reading.pruned(("sites",)):
        return
    placed = (("physical_switches", spec.physical_switches), ("chassis", spec.chassis), ("hosts", spec.hosts))
    for section, things in placed:
        for name, thing in things.items():
            if thing.site:
                reading.wrong((section, name, "site"), f"no site {thing.site!r}", "declare it under sites:")
