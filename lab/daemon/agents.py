"""Everybody who acts in a running lab: each is started once, and follows every change of its topology."""

from __future__ import annotations

from typing import Any

from lab.agents.discovery import DiscoveryAgent
from lab.agents.events import Moment
from lab.agents.mirrors import MirrorAgent
from lab.agents.netflow import NetflowAgent
from lab.agents.present import Present
from lab.agents.pswitches import PSwitchAgent
from lab.agents.watch import Watch


class Agents:
    """Returns from its making when everything has been looked at once and every spanning tree has settled."""

    def __init__(self, present: Present) -> None:
        topology, network = present.topology, present.network
        self.watch = Watch(present)
        self.discovery = DiscoveryAgent(topology, network, topology.speedup)
        self.mirrors = MirrorAgent(topology, network, present.event)
        self._netflow = NetflowAgent(topology, network, topology.speedup, present.event)
        self._pswitches = PSwitchAgent(topology, network, lambda: present.state.links_down)
        self._pswitches.start(self._guard, present.set_discarding)
        self._pswitches.wait_converged()
        present.follow(self._follow)

    def start(self) -> None:
        for agent in (self.watch, self.discovery, self.mirrors, self._netflow):
            agent.start()

    def _guard(self, switch: str, port: str) -> None:
        self.watch.links.err_disable(switch, port, "BPDU guard")

    def _follow(self, before: Moment, after: Moment) -> None:
        if after.topology is not before.topology:
            agents: tuple[Any, ...] = (self.discovery, self.mirrors, self._netflow, self._pswitches)
            for agent in agents:
                agent.update(after.topology)
