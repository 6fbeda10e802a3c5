"""Everybody who acts in a running lab: each is started once, and follows every change of its topology."""

from __future__ import annotations

from typing import Any

from lab.agents.beacons import BeaconAgent
from lab.agents.discovery import DiscoveryAgent
from lab.agents.events import Moment
from lab.agents.lacp import LacpAgent
from lab.agents.lbt import LbtAgent
from lab.agents.limits import LimitAgent
from lab.agents.loops import LoopAgent
from lab.agents.macmoves import MacMoveAgent
from lab.agents.mirrors import MirrorAgent
from lab.agents.netflow import NetflowAgent
from lab.agents.notify import NotifyAgent
from lab.agents.present import Present
from lab.agents.pswitches import PSwitchAgent
from lab.agents.pvnics import PvnicAgent
from lab.agents.timers import Timers
from lab.agents.watch import Watch


class Agents:
    """Returns from its making when everything has been looked at once and every spanning tree has settled."""

    def __init__(self, present: Present) -> None:
        topology, network = present.topology, present.network
        self._timers = Timers(topology.speedup, present.event)
        self.watch = Watch(present, self._timers)
        self.notify = NotifyAgent(present, self._timers)
        self.beacons = BeaconAgent(present)
        self.lbt = LbtAgent(present)
        self.lacp = LacpAgent(present)
        self._moves = MacMoveAgent(present)
        self._limits = LimitAgent(present)
        self._pvnics = PvnicAgent(present)
        self._loops = LoopAgent(present, self._disable_loop)
        self.discovery = DiscoveryAgent(topology, network, topology.speedup)
        self.mirrors = MirrorAgent(topology, network, present.event)
        self._netflow = NetflowAgent(topology, network, topology.speedup, present.event)
        self._pswitches = PSwitchAgent(topology, network, lambda: present.state.links_down)
        self._pswitches.start(self._guard, present.set_discarding)
        self._pswitches.wait_converged()
        self.lacp.wait_negotiated()
        present.follow(self._follow)

    def start(self) -> None:
        for agent in (
            self.watch, self.discovery, self.mirrors, self._netflow, self._timers, self.beacons, self.lbt, self.lacp,
            self._moves, self._limits, self._pvnics, self._loops,
        ):  # fmt: skip
            agent.start()

    def _guard(self, switch: str, port: str) -> None:
        self.watch.links.err_disable(switch, port, "BPDU guard")

    def _disable_loop(self, module: str, port: str) -> None:
        self.watch.links.err_disable(module, port, "loop protection")

    def _follow(self, before: Moment, after: Moment) -> None:
        if after.topology is not before.topology:
            self.watch.guests.update(after.topology)
            agents: tuple[Any, ...] = (self.discovery, self.mirrors, self._netflow, self._pswitches)
            for agent in agents:
                agent.update(after.topology)
