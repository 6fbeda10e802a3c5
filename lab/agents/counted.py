"""What ports have counted. A distributed port's counters go with it when vMotion moves its VM; on a standard switch a
VM gets a new port, whose counters begin afresh (VMO-7)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from lab.model import Nic, PortKey, Topology
from lab.realise.linkwatch import LinkQuery
from lab.realise.net import Network


class Counted:
    """Of the interfaces of hosts, as the kernel counts them since the lab began, without what an earlier port had."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._links = LinkQuery(network.namespaces)
        self._before: dict[PortKey, dict[str, int]] = {}
        self._one = threading.Lock()

    def of(self, hosts: Iterable[str]) -> dict[str, Any]:
        """Host -> when (monotonic, ns), and by the model's name what each port has counted."""
        with self._one:
            return {host: self._read(host) for host in hosts}

    def moved(self, before: Topology, after: Topology, vm: str) -> None:
        """A VM's ports are on another host."""
        with self._one:
            for old, new in zip(before.vms[vm].nics, after.vms[vm].nics, strict=True):
                had = self._before.pop((old.host, old.port), None)
                if _is_new(after, new):
                    self._before[new.host, new.port] = self._raw(new.host)[new.port]
                elif had is not None:
                    self._before[new.host, new.port] = had

    def _read(self, host: str) -> dict[str, Any]:
        at, found = time.monotonic_ns(), self._raw(host)
        for port, counts in found.items():
            earlier = self._before.get((host, port))
            if earlier is not None:
                found[port] = {name: number - earlier[name] for name, number in counts.items()}
        return {"time_ns": at, "ports": found}

    def _raw(self, host: str) -> dict[str, dict[str, int]]:
        counted = self._links.counters(host)
        ports = self._network.plan.node_named[host].interfaces
        return {p.label: asdict(counted[p.name]) for p in ports if p.name in counted}


def _is_new(topology: Topology, nic: Nic) -> bool:
    """A standard switch's port belongs to its host."""
    return nic.switch in topology.hosts[nic.host].standard_switches
