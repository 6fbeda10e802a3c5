"""Beacon probing: every uplink of a team tells the others that it is there, and what is not heard is taken out
(BCN-1 to BCN-10). Beacons are real frames; which of them were heard is counted, not timed, so that a busy machine
declares nobody dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from lab.agents.events import Moment
from lab.agents.present import Present
from lab.agents.supervised import supervise
from lab.agents.timers import LOOK_SECONDS
from lab.model import PortKey, Tagging, Topology
from lab.realise.packets import PacketSocket, Sender
from lab.state import State
from lab.teaming import settled
from lab.uplinks import BEACON_THRESHOLD, Verdict, beacon_verdict
from traffic.teaming import Beacon, beacon, read_beacon, virtual_mac

INTERVAL = 1.0
SHORTEST_INTERVAL = 0.05
"""Real seconds. A beacon takes its real time through the boxes, whatever the lab's speed-up: sent faster, three are on
their way at once, and a busy machine would lose nobody and yet hear nobody."""
MOST_VLANS = 100
"""`Net.MaxBeaconVlans` (BCN-4)."""
MOST_HEARD = 1000
"""Frames that are read of one uplink in one turn, so that a flood of them holds nobody up."""
Place = tuple[str, str]


@dataclass(frozen=True)
class Team:
    """Uplinks of one host's part of a switch that probe each other, and the VLANs that they do it in (0: untagged)."""

    place: Place
    uplinks: tuple[str, ...]
    vlans: tuple[int, ...]


def teams(topology: Topology) -> Iterator[Team]:
    """Of every port group with beacon probing: its active and standby uplinks (BCN-1), its VLAN where it is no VGT one
    (BCN-9). LAGs do not probe (LACP-5)."""
    for part in topology.host_switches.values():
        probing = [port for port in part.ports if port.detection == "beacon" and port.lag is None]
        used = {uplink for port in probing for uplink in (*port.active, *port.standby)}
        vlans = dict.fromkeys(port.vlan.vlan for port in probing if port.vlan.tagging is not Tagging.VGT)
        if used and vlans:
            uplinks = tuple(uplink for uplink in part.uplinks if uplink in used)
            yield Team((part.host, part.name), uplinks, tuple(islice(vlans, MOST_VLANS)))


def rested(due: float, began: float, ended: float) -> float:
    """When the next turn is due (monotonic): never sooner than it takes others to have had as long as this turn."""
    return max(due, ended + (ended - began))


class BeaconAgent:
    """One thread for all hosts."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self._interval = max(INTERVAL / present.topology.speedup, SHORTEST_INTERVAL)
        self._sender = Sender(present.network.namespaces)
        self._tick = 0
        self._pause = threading.Event()
        self._hearing: dict[PortKey, tuple[PacketSocket, tuple[int, list[str] | None]]] = {}
        # (host, listener, sender) -> the tick of the last beacon heard; (host, uplink) -> since when it is judged.
        self._heard: dict[tuple[str, str, str], int] = {}
        self._since: dict[PortKey, int] = {}
        self._update(present.topology)
        present.follow(self._follow)

    def start(self) -> None:
        supervise("beacons", self._run, self._present.event)

    def _follow(self, before: Moment, after: Moment) -> None:
        if after.topology is not before.topology:
            self._update(after.topology)

    def _update(self, topology: Topology) -> None:
        """Listen at exactly the uplinks that probe."""
        with self._present.lock:
            self._teams = tuple(teams(topology))
            self._mac = {
                (host.name, pnic.name): virtual_mac(pnic.mac)
                for host in topology.hosts.values()
                for pnic in host.pnics.values()
            }
            # Only a host's own beacons: those of a hundred others would leave them no room in the socket.
            own = {(t.place[0], uplink): [self._mac[t.place[0], u] for u in t.uplinks]
                   for t in self._teams for uplink in t.uplinks}  # fmt: skip
            kind = topology.knobs.beacon_ethertype
            for key in [key for key, (_, hears) in self._hearing.items() if hears != (kind, own.get(key))]:
                self._hearing.pop(key)[0].close()
                self._since.pop(key, None)
            for host, uplink in sorted(own.keys() - self._hearing.keys()):
                name, macs = self._present.network.interface_name(host, uplink), own[host, uplink]
                heard = PacketSocket(self._present.network.namespaces[host], name, kind=kind, sources=macs)
                self._hearing[host, uplink] = heard, (kind, macs)
        if not self._teams:
            self._conclude({})

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            while (left := due - time.monotonic()) > 0:
                self._pause.wait(min(left, LOOK_SECONDS))
            due = max(due + self._interval, time.monotonic())
            if self._teams:
                began = time.monotonic()
                self._turn()
                due = rested(due, began, time.monotonic())

    def _turn(self) -> None:
        """Hear what has come since, judge, and send the next beacons."""
        with self._present.lock:
            self._listen()
            self._conclude({team.place: self._verdict(team) for team in self._teams})
            self._tick += 1
            for team in self._teams:
                for uplink in team.uplinks:
                    self._send(team, uplink)

    def _listen(self) -> None:
        sender_of = {(host, mac): uplink for (host, uplink), mac in self._mac.items()}
        for (host, listener), (heard, _) in self._hearing.items():
            for raw in takewhile(lambda raw: raw is not None, (heard.receive() for _ in range(MOST_HEARD))):
                said = read_beacon(raw or b"")
                sender = sender_of.get((host, said.mac)) if said else None
                # A number that has not been sent yet is a forger's: believed, it would keep a dead uplink alive.
                if said and sender is not None and sender != listener and said.number <= self._tick:
                    known = self._heard.get((host, listener, sender), 0)
                    self._heard[host, listener, sender] = max(known, said.number)

    def _verdict(self, team: Team) -> Verdict:
        """Of the uplinks that have carrier, once each has had time to be heard."""
        host = team.place[0]
        dark = self._present.state.links_down
        lit = [uplink for uplink in team.uplinks if (host, uplink) not in dark]
        for uplink in team.uplinks:
            if uplink not in lit:
                self._since.pop((host, uplink), None)
        since = [self._since.setdefault((host, uplink), self._tick) for uplink in lit]
        if since and self._tick - max(since) <= BEACON_THRESHOLD:
            return self._former(team, lit)
        oldest = self._tick - BEACON_THRESHOLD
        hears = {(a, b) for a in lit for b in lit if self._heard.get((host, a, b), 0) > oldest}
        return beacon_verdict(lit, hears)

    def _former(self, team: Team, lit: Iterable[str]) -> Verdict:
        state, host = self._present.state, team.place[0]
        dead = frozenset(uplink for uplink in lit if (host, uplink) in state.beacons_lost)
        return Verdict(dead, team.place in state.beacons_unsure)

    def _conclude(self, verdicts: Mapping[Place, Verdict]) -> None:
        lost = frozenset((host, uplink) for (host, _), verdict in verdicts.items() for uplink in verdict.dead)
        unsure = frozenset(place for place, verdict in verdicts.items() if verdict.unsure)
        state = self._present.state
        if (lost, unsure) != (state.beacons_lost, state.beacons_unsure):

            def after(now: Moment) -> State:
                return settled(now.topology, replace(now.state, beacons_lost=lost, beacons_unsure=unsure))

            self._present.observe(after)

    def _send(self, team: Team, uplink: str) -> None:
        host = team.place[0]
        said = Beacon(self._mac[host, uplink], uplink, self._tick)
        interface = self._present.network.interface_name(host, uplink)
        kind = self._present.topology.knobs.beacon_ethertype
        for vlan in team.vlans:
            self._sender.send(host, interface, beacon(said, kind, vlan))
