"""What happens to whole sites: their ways to each other are cut, in both directions or in one, or all of them is lost
(L2S-10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lab.agents.events import Moment
from lab.agents.links import LinkAgent
from lab.agents.present import Present
from lab.errors import UsageError
from lab.model import Cable, PortKey
from lab.state import State
from lab.topology.words import suggestion


class Sites:
    def __init__(self, present: Present, links: LinkAgent) -> None:
        self._present = present
        self._links = links

    def boxes(self, site: str) -> list[str]:
        """The hosts and pSwitches of a site. Raises UsageError for one that is not there."""
        topology = self._present.topology
        self._check(site)
        hosts = [host.name for host in topology.hosts.values() if host.site == site]
        return hosts + [switch.name for switch in topology.physical_switches.values() if switch.site == site]

    def fail(self, site: str, failed: bool) -> list[str]:
        """All of it, or back; returns its boxes. Cables to it from elsewhere lose their carrier too."""
        boxes = self.boxes(site)
        for box in boxes:
            self._links.fail(box, failed)
        return boxes

    def cut(self, stretch: str, up: bool, site: str | None = None, one_way: str | None = None) -> list[str]:
        """The ways of a stretch, of one `site` only where that is said, go down or come back. `one_way`: what that site
        sends does not arrive, and what is sent to it does. Returns the ports at which that was done."""
        ways = list(self._ways(stretch, one_way or site))
        if not up and one_way:
            ends = [far for _, far in (self._from(way, one_way) for way in ways)]
            self.deafen(ends, True)
            return [f"{box}:{port}" for box, port in ends]
        for way in ways:
            near, far = self._ends(way)
            if up:
                self.deafen((near, far), False)
                self._links.replug((near, far))
            self._links.set_link(self._links.far_end(near) or far, near, up)
        return [f"{box}:{port}" for way in ways for box, port in self._ends(way)[:1]]

    def deafen(self, ports: list[PortKey] | tuple[PortKey, ...], on: bool) -> None:
        """Ports of pSwitches take nothing in, while their link stays and what they send arrives."""
        known = self._present.topology.physical_switches
        for box, port in ports:
            if box not in known or self._links.far_end((box, port)) is None:
                raise UsageError(f"{box}:{port} is no port of a pSwitch: only those can be deaf")

        def after(now: Moment) -> State:
            deaf = now.state.deaf | set(ports) if on else now.state.deaf - set(ports)
            return replace(now.state, deaf=deaf)

        self._present.observe(after)
        self._present.network.settle_changes()

    def _ways(self, stretch: str, site: str | None) -> Iterator[Cable]:
        topology = self._present.topology
        known = [one.name for one in topology.stretches]
        if stretch not in known:
            raise UsageError(f"no stretch {stretch!r} ({suggestion(stretch, known) or 'there is none'})")
        if site is not None:
            self._check(site)
        ways = [c for c in topology.cables if c.port.stretch is not None and c.port.stretch.name == stretch]
        found = [way for way in ways if site is None or site in self._sites_of(way)]
        if not found:
            raise UsageError(f"{stretch} does not come to {site}")
        yield from found

    def _check(self, site: str) -> None:
        known = self._present.topology.sites
        if site not in known:
            raise UsageError(f"no site {site!r} ({suggestion(site, list(known))})")

    def _sites_of(self, way: Cable) -> list[str]:
        switches = self._present.topology.physical_switches
        return [switches[end].site for end in way.ends]

    @staticmethod
    def _ends(way: Cable) -> tuple[PortKey, PortKey]:
        near, far = ((end, way.port_at(end)) for end in way.ends)
        return near, far

    def _from(self, way: Cable, site: str) -> tuple[PortKey, PortKey]:
        """The end at that site first."""
        near, far = self._ends(way)
        return (near, far) if self._sites_of(way)[0] == site else (far, near)
