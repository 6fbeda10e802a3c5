"""What the author expects of the lab: who is kept apart, who reaches whom."""

from __future__ import annotations

from collections.abc import Iterator

from lab.model import Expectation
from lab.topology.guests import PortGroups
from lab.topology.nodes import Path
from lab.topology.reading import Reading


def expectations(reading: Reading, groups: PortGroups) -> Iterator[Expectation]:
    for index, spec in enumerate(reading.spec.expect):
        path: Path = ("expect", index)
        if reading.document.has((*path, "isolate")) == reading.document.has((*path, "reach")):
            reading.wrong(path, "needs either isolate or reach", "{isolate: [web, db]} or {reach: [web1, web2]}")
            continue
        if spec.isolate is None and spec.reach is None:
            continue  # told already
        kind, names = ("isolate", spec.isolate) if spec.isolate is not None else ("reach", spec.reach)
        for n, name in enumerate(names or ()):
            if kind == "isolate":
                _check_group(reading, (*path, kind, n), name, groups)
            else:
                _check_node(reading, (*path, kind, n), name)
            if name in (names or ())[:n]:
                reading.wrong((*path, kind, n), f"{name!r} is listed twice")
        line, _ = reading.document.place(path)
        yield Expectation(kind, tuple(names or ()), line)


def _check_group(reading: Reading, path: Path, name: str, groups: PortGroups) -> None:
    known = groups.names()
    if name not in known and not groups.is_told_anywhere(name):
        hint = reading.nearest(name, sorted(k for k in known if "/" not in k))
        reading.wrong(path, f"no port group {name!r}", hint)


def _check_node(reading: Reading, path: Path, name: str) -> None:
    vms, machines, hosts = (reading.declared(section) for section in ("vms", "machines", "hosts"))
    adapters = [(host, reading.declared("hosts", host, "vmkernel")) for host in hosts or ()]
    unreadable = {host for host, names in adapters if names is None}
    if None in (vms, machines, hosts) or name.partition(".")[0] in unreadable:
        return
    vmks = [f"{host}.{vmk}" for host, names in adapters for vmk in names or ()]
    vnics = [f"{vm}.eth{n}" for vm, spec in reading.spec.vms.items() for n in range(len(spec.networks))]
    if name not in vnics:
        reading.known(path, name, [*(vms or ()), *(machines or ()), *vmks], "VM, machine or vmknic")
