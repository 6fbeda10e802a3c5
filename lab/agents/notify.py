"""A host tells pSwitches on which uplink its ports' MACs are now: RARP on the new uplink only (NSW-1 to NSW-8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.agents.events import Moment
from lab.agents.present import Present
from lab.agents.timers import Timers
from lab.errors import SystemRefused
from lab.model import ClientPort, HostSwitch, PortKey, Tagging
from lab.plan.tables import LEARNED
from lab.realise.packets import Sender
from lab.state import State
from traffic.teaming import rarp

REPEATS = 4
"""After the first one, a second apart (NSW-3)."""
SPACING = 1.0


@dataclass(frozen=True)
class Announcement:
    """A port whose MACs are told on this uplink."""

    host: str
    switch: str
    port: str
    uplink: str


class NotifyAgent:
    """Follows every change of the lab. Its repeats run in the timers' thread."""

    def __init__(self, present: Present, timers: Timers) -> None:
        self._present = present
        self._timers = timers
        self._sender = Sender(present.network.namespaces)
        present.follow(self._follow)

    def announce(self, host: str, port: str, repeats: int = REPEATS) -> None:
        """Tell of one port now: what a destination does at the end of a migration."""
        with self._present.lock:
            now = self._present.now
            found = [
                Announcement(host, part.name, port, uplink)
                for part in now.topology.host_switches.values()
                if part.host == host
                for client in part.ports
                if client.name == port and (uplink := told_on(part, client, now.state)) is not None
            ]
            self._tell(found, repeats)

    def _follow(self, before: Moment, after: Moment) -> None:
        moved: list[Announcement] = []
        fresh: list[Announcement] = []
        for found, new in changes(before, after):
            (fresh if new else moved).append(found)
        self._tell(moved, REPEATS)
        self._tell(fresh, 0)

    def _tell(self, told: list[Announcement], repeats: int) -> None:
        if not told:
            return
        self._send(told)
        by_host: dict[tuple[str, str], list[str]] = {}
        for one in told:
            by_host.setdefault((one.host, one.switch), []).append(one.port)
        for (host, switch), ports in by_host.items():
            self._present.event("notify", host=host, switch=switch, ports=ports)
        self._later(told, repeats)

    def _later(self, told: list[Announcement], repeats: int) -> None:
        if repeats > 0:
            self._timers.after(SPACING, lambda: self._again(told, repeats))

    def _again(self, told: list[Announcement], repeats: int) -> None:
        """Those that are still where they were."""
        with self._present.lock:
            now = self._present.now
            on = {
                (part.host, port.name): told_on(part, port, now.state)
                for part in now.topology.host_switches.values()
                if any(one.host == part.host and one.switch == part.name for one in told)
                for port in part.ports
            }
            still = [one for one in told if on.get((one.host, one.port)) == one.uplink]
            self._send(still)
        self._later(still, repeats - 1)

    def _send(self, told: Iterable[Announcement]) -> None:
        now = self._present.now
        for one in told:
            part = now.topology.host_switches[one.host, one.switch]
            port = part.port_of(one.port)
            for mac, vlan in self._macs(part, port, now.state):
                uplink = uplink_of_mac(part, port, now.state, mac) or one.uplink
                interface = self._present.network.interface_name(one.host, uplink)
                self._sender.send(one.host, interface, rarp(mac, vlan))

    def _macs(self, part: HostSwitch, port: ClientPort, state: State) -> Iterator[tuple[str, int]]:
        """(MAC, VLAN ID on the wire) of everything behind a port (NSW-5)."""
        yield accepted_mac(part, port, state), 0 if port.vlan.tagging in (Tagging.EST, Tagging.VGT) else port.vlan.vlan
        if port.mac_learning:
            bridge = self._present.network.bridge_with(part.host, port.name)
            number = bridge.port(port.name).number
            try:
                learned = self._present.network.ovs(part.host).learned(bridge.name, LEARNED)
            except SystemRefused:  # its switch has ended, which `status` says; the others are told of all the same
                return
            yield from ((mac, vlan) for at, vlan, mac in learned if at == number)


def told_on(part: HostSwitch, port: ClientPort, state: State) -> str | None:
    """The uplink that RARP for this port goes out on; None where it sends none (NSW-4, NSW-7)."""
    nic, key = port.nic, (part.host, port.name)
    if not port.notify or port.lag is not None or not nic.connected or nic.blocked:
        return None
    return uplink_of_mac(part, port, state, accepted_mac(part, port, state)) or state.uplink_of.get(key)


def accepted_mac(part: HostSwitch, port: ClientPort, state: State) -> str:
    """The MAC that the switch has at this port: the guest's own choice only where policy accepts it (SEC-8)."""
    return state.macs.get((part.host, port.name), port.nic.mac) if port.security.mac_changes else port.nic.mac


def uplink_of_mac(part: HostSwitch, port: ClientPort, state: State, mac: str) -> str | None:
    """Where the policy gives each MAC behind a port an uplink of its own, that one (TEAM-MAC-1); None elsewhere."""
    team = state.spread.get((part.host, port.name), ())
    if port.policy != "loadbalance_srcmac" or port.lag is not None or not team:
        return None
    return team[int(mac[-2:], 16) % len(team)]


def changes(before: Moment, after: Moment) -> Iterator[tuple[Announcement, bool]]:
    """Ports that are on another uplink than before or in another port group, and (True) those that were not connected.

    A lab that has just been built is not a datacentre that powers on: nothing is told then.
    """
    old_teams, new_teams = ((m.state.uplink_of, m.state.spread) for m in (before, after))
    if before.topology is after.topology and old_teams == new_teams:
        return
    was = dict(_told(before))
    for key, (found, group, connected) in _told(after):
        old = was.get(key)
        if found is None or (old is not None and old[:2] == (found, group)):
            continue
        yield found, old is None or (not old[2] and connected)


def _told(moment: Moment) -> Iterator[tuple[PortKey, tuple[Announcement | None, str, bool]]]:
    for part in moment.topology.host_switches.values():
        for port in part.ports:
            uplink = told_on(part, port, moment.state)
            found = Announcement(part.host, part.name, port.name, uplink) if uplink is not None else None
            yield (part.host, port.name), (found, port.nic.port_group, port.nic.connected)
