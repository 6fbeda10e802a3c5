"""Names of nodes and ports, each taken once, and the sites that things are at."""

from __future__ import annotations

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
    """Every namespace has its own name: pSwitches, hosts, their vmkernels, VMs, machines."""
    seen: dict[str, str] = {}
    for section in ("physical_switches", "hosts", "vms", "machines"):
        for name in reading.declared(section) or ():
            taken = seen.get(name)
            if taken:
                reading.wrong((section, name), f"the name {name!r} is taken", f"it is in {taken} too", key=True)
            seen[name] = section
    for host, spec in reading.spec.hosts.items():
        kernel = f"{host}-vmk"
        if spec.vmkernel and kernel in seen:
            path: Path = (seen[kernel], kernel)
            reading.wrong(path, f"the name {kernel!r} is taken", f"by the vmkernel of {host}", key=True)


def _port_names(reading: Reading) -> None:
    """On a pSwitch a port bears the name of what is plugged in; a host's is HOST-vmnicN."""
    pnics = {f"{host}-{pnic}" for host, spec in reading.spec.hosts.items() for pnic in spec.uplinks}
    for section in ("machines", "physical_switches"):
        for name in reading.declared(section) or ():
            if name in pnics:
                path: Path = (section, name)
                reading.wrong(path, f"the name {name!r} is taken", "a pNIC's port is called so", key=True)


def _site_names(reading: Reading) -> None:
    spec = reading.spec
    if spec.sites or reading.pruned(("sites",)):
        return
    for section, things in (("physical_switches", spec.physical_switches), ("hosts", spec.hosts)):
        for name, thing in things.items():
            if thing.site:
                reading.wrong((section, name, "site"), f"no site {thing.site!r}", "declare it under sites:")
