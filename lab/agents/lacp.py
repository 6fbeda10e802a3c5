"""LACP as Open vSwitch negotiates it for LAGs and port channels: which members are up (LACP-2, LACP-6), and LAGs whose
links are up while nobody answers them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from lab.agents.events import Moment
from lab.agents.present import Present
from lab.agents.supervised import supervise
from lab.errors import SystemRefused
from lab.model import PortKey, Topology
from lab.plan.types import Bridge
from lab.state import State
from lab.teaming import settled

LOOK_SECONDS = 0.2
"""Between two looks: Open vSwitch tells nobody when a member comes up."""
SILENT_SECONDS = 4.0
"""A link that is up so long without one LACPDU is told of; an active partner sends at once."""
NEGOTIATING_SECONDS = 15.0
_NOBODY = "00:00:00:00:00:00"
_MEMBER = re.compile(r"^member: (\S+): (.*?)(?=^member: |^---- |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Member:
    """`up`: LACP lets frames pass there; `partner`: the system ID that answers, None when nobody does."""

    up: bool
    partner: str | None


def read_lacp(text: str) -> dict[str, Member]:
    """`text` of `lacp/show`: interface name -> how it is."""
    found = {}
    for name, rest in _MEMBER.findall(text):
        partner = re.search(r"partner sys_id: (\S+)", rest)
        known = partner is not None and partner[1] != _NOBODY
        up = re.search(r"may_enable: true", rest) is not None
        found[name] = Member(up and known, partner[1] if partner and known else None)
    return found


def to_negotiate(topology: Topology) -> frozenset[PortKey]:
    """LAG members that will come up while everything is plugged in: both ends speak LACP, and one of them begins
    (LACP-2)."""
    found = set()
    for part in topology.host_switches.values():
        for lag in part.lags:
            for pnic in lag.uplinks.get(part.host, ()):
                mode = topology.hosts[part.host].pnics[pnic].port.lacp
                if mode is not None and "active" in (mode, lag.mode):
                    found.add((part.host, pnic))
    return frozenset(found)


class LacpAgent:
    """One thread for all boxes that have bonds; nothing where there are none."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self._pause = threading.Event()
        self._lit: dict[PortKey, float] = {}
        self._silent: set[PortKey] = set()
        self.members: dict[PortKey, Member] = {}

    def start(self) -> None:
        if self._bridges():
            supervise("lacp", self._run, self._present.event)

    def wait_negotiated(self) -> None:
        """Until every member that will come up is up at both ends, or for NEGOTIATING_SECONDS."""
        wanted = to_negotiate(self._present.topology)
        if not wanted:
            return
        deadline = time.monotonic() + NEGOTIATING_SECONDS
        hosts = self._present.topology.hosts
        pnics = [hosts[host].pnics[name] for host, name in wanted]
        far = {(pnic.switch, pnic.far_port) for pnic in pnics}
        while time.monotonic() < deadline:
            self.look()
            state = self._present.state
            if wanted <= state.lag_members and far <= state.channel_members:
                return
            self._pause.wait(LOOK_SECONDS)

    def silent(self) -> list[PortKey]:
        """Members whose link is up while nobody answers."""
        return sorted(self._silent)

    def _run(self) -> None:
        while True:
            self.look()
            self._pause.wait(LOOK_SECONDS)

    def _bridges(self) -> list[Bridge]:
        return [bridge for bridge in self._present.network.plan.bridges if bridge.bonds]

    def look(self) -> None:
        """At every member now; the State is so on return. Nobody waits while a switch is asked: it may not answer."""
        members = dict(self._read())
        with self._present.lock:
            self.members = members
            hosts = self._present.topology.hosts
            up = {key for key, member in self.members.items() if member.up}
            lag, channel = (frozenset(k for k in up if (k[0] in hosts) == host) for host in (True, False))

            def after(now: Moment) -> State:
                return settled(now.topology, replace(now.state, lag_members=lag, channel_members=channel))

            if (lag, channel) != (self._present.state.lag_members, self._present.state.channel_members):
                self._present.observe(after)
            self._tell_silent(time.monotonic())

    def _read(self) -> Iterator[tuple[PortKey, Member]]:
        for bridge in self._bridges():
            label = {port.interface: port.label for port in bridge.ports}
            try:
                found: Mapping[str, Member] = read_lacp(self._present.network.ovs(bridge.node).appctl("lacp/show"))
            except SystemRefused:  # it has ended, which `status` says
                continue
            for name in bridge.bonded:
                if name in found:
                    yield (bridge.node, label[name]), found[name]

    def _tell_silent(self, now: float) -> None:
        """The warning that a bond is up and no LACPDU has come."""
        dark = self._present.state.links_down
        for key, member in self.members.items():
            if key in dark or member.partner is not None:
                self._lit.pop(key, None)
                self._silent.discard(key)
                continue
            since = self._lit.setdefault(key, now)
            if now - since > SILENT_SECONDS and key not in self._silent:
                self._silent.add(key)
                self._present.event("lacp", port=f"{key[0]}:{key[1]}", up=False, why="no LACPDU comes in (LACP-2)")
