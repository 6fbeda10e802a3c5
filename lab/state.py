"""What changes while a lab runs, as one frozen value. `compile` and `predict` are functions of (Topology, State)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from lab.frame import ALL_SYSTEMS
from lab.model import ClientPort, HostSwitch, Topology

PortKey = tuple[str, str]
"""(host or pSwitch, port name there): ("esx1", "web1.eth0"), ("esx1", "vmnic0"), ("tor1", "esx1-vmnic0")."""

MacTable = Mapping[tuple[int, str], str]
"""(VLAN, MAC) -> port name, as one switch has learned it. In a PVLAN-aware pSwitch the VLAN is the primary one."""

FIRST_GROUPS = frozenset({ALL_SYSTEMS})


@dataclass(frozen=True)
class State:
    """`links_down`: box ports without carrier; `uplink_of`: client port -> pNIC it sends on (None: no usable one);
    `mac_tables`: pSwitch -> what it has learned; `secured`: pSwitch -> what port security has tied to its ports;
    `learned`: (host, switch) -> what MAC learning there has.

    What guests do: `macs`: client port -> the MAC that its guest has set, where that is not the configured one;
    `promiscuous`: ports whose guest listens promiscuously; `groups`: port -> the multicast MACs that its guest asked
    for (a port that is not there: FIRST_GROUPS); `all_groups`: ports whose guest asked for every multicast.
    `discarding`: pSwitch ports that spanning tree keeps from forwarding.
    """

    links_down: frozenset[PortKey] = frozenset()
    uplink_of: Mapping[PortKey, str | None] = field(default_factory=lambda: MappingProxyType({}))
    mac_tables: Mapping[str, MacTable] = field(default_factory=lambda: MappingProxyType({}))
    secured: Mapping[str, MacTable] = field(default_factory=lambda: MappingProxyType({}))
    learned: Mapping[tuple[str, str], MacTable] = field(default_factory=lambda: MappingProxyType({}))
    macs: Mapping[PortKey, str] = field(default_factory=lambda: MappingProxyType({}))
    promiscuous: frozenset[PortKey] = frozenset()
    groups: Mapping[PortKey, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    all_groups: frozenset[PortKey] = frozenset()
    discarding: frozenset[PortKey] = frozenset()

    def with_tables(
        self,
        mac_tables: Mapping[str, MacTable],
        learned: Mapping[tuple[str, str], MacTable],
        secured: Mapping[str, MacTable],
    ) -> State:
        return replace(
            self,
            mac_tables=MappingProxyType(dict(mac_tables)),
            learned=MappingProxyType(dict(learned)),
            secured=MappingProxyType(dict(secured)),
        )

    def groups_of(self, port: PortKey) -> frozenset[str]:
        """Multicast MACs that the guest behind this client port asked for."""
        return self.groups.get(port, FIRST_GROUPS)


def initial_state(topology: Topology) -> State:
    """All links up, every client port on the uplink that its number gives (TEAM-PID-2), nothing learned."""
    return with_links_down(topology, State(), ())


def with_links_down(topology: Topology, state: State, down: Iterable[PortKey]) -> State:
    """The same lab with exactly these ports without carrier; teaming answers as TEAM-F-1, F-2 and F-6 say."""
    dead = frozenset(down)
    assigned = {
        (part.host, port.name): _uplink(part, port, dead, state.uplink_of.get((part.host, port.name)))
        for part in topology.host_switches.values()
        for port in part.ports
    }
    return replace(state, links_down=dead, uplink_of=MappingProxyType(assigned))


def _rank(port: ClientPort, usable: Callable[[tuple[str, ...]], list[str]]) -> list[str]:
    """The uplinks that a port may be on now: usable active ones, or else usable standby ones."""
    return usable(port.active) or usable(port.standby)


def _uplink(part: HostSwitch, port: ClientPort, dead: frozenset[PortKey], present: str | None) -> str | None:
    """Originating virtual port ID: number mod active uplinks; its own uplink dead: the same over the usable ones,
    and no move while the one it is on stays good (TEAM-F-1, TEAM-F-2, TEAM-F-6)."""

    def usable(names: tuple[str, ...]) -> list[str]:
        return [u for u in names if (part.host, u) not in dead]

    home = port.active[(port.number - 1) % len(port.active)] if port.active else None
    if home is not None and usable((home,)) and (port.failback or present is None or not usable((present,))):
        return home
    if present is not None and usable((present,)) and (not port.failback or present in _rank(port, usable)):
        return present
    for names in (usable(port.active), usable(port.standby)):
        if names:
            return names[(port.number - 1) % len(names)]
    return None
