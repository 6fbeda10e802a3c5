"""What changes while a lab runs, as one frozen value. `compile` and `predict` are functions of (Topology, State)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from lab.frame import ALL_SYSTEMS
from lab.model import PortKey

MacTable = Mapping[tuple[int, str], str]
"""(VLAN, MAC) -> port name, as one switch has learned it. In a PVLAN-aware pSwitch the VLAN is the primary one."""
ArpTable = Mapping[tuple[int, str], str]
"""(VLAN, IPv4 address) -> MAC, as an OTV edge has heard it of another site."""

_T = TypeVar("_T")

FIRST_GROUPS = frozenset({ALL_SYSTEMS})


@dataclass(frozen=True)
class State:
    """`links_down`: box ports without carrier; `mac_tables`: pSwitch -> what it has learned; `secured`: pSwitch -> what
    port security has tied to its ports; `learned`: (host, switch) -> what MAC learning there has;
    `arp_known`: pSwitch -> what it answers ARP for, as an OTV edge.

    What guests do: `macs`: client port -> the MAC that its guest has set, where that is not the configured one;
    `promiscuous`: ports whose guest listens promiscuously; `groups`: port -> the multicast MACs that its guest asked
    for (a port that is not there: FIRST_GROUPS); `all_groups`: ports whose guest asked for every multicast.
    `discarding`: pSwitch ports that spanning tree keeps from forwarding; `blocked`: those that somebody does;
    `deaf`: those that take nothing in while what they send goes out.

    What teaming has seen: `beacons_lost`: uplinks that beacons have declared dead; `beacons_unsure`: (host, switch)
    where beacons were lost and nobody can be blamed; `unstable`: uplinks that lose their link too often; `settling`:
    those whose link has just come back; `lag_members` and `channel_members`: uplinks, and pSwitch ports, that LACP has
    up; `placed`: client port -> the uplink where Load-Based Teaming has put it.

    What teaming makes of it (lab/teaming.py): `uplink_of`: client port -> the pNIC that it sends on, the first one
    where it sends on several (None: no usable one); `spread`: ports whose frames a hash spreads -> their pNICs in the
    hash's order; `copied`: ports each of whose frames leaves by all of these (BCN-7).

    `divided`: (host, switch, traffic type) -> uplink -> its part of the host's limit, where the host has measured what
    each of them needs (NIOC-6). `pvnic_rates`: ends of pvNICs' cables -> the part of their physical port that the
    chassis gives them now, in bits/s as emulated.
    """

    links_down: frozenset[PortKey] = frozenset()
    uplink_of: Mapping[PortKey, str | None] = field(default_factory=lambda: MappingProxyType({}))
    mac_tables: Mapping[str, MacTable] = field(default_factory=lambda: MappingProxyType({}))
    secured: Mapping[str, MacTable] = field(default_factory=lambda: MappingProxyType({}))
    learned: Mapping[tuple[str, str], MacTable] = field(default_factory=lambda: MappingProxyType({}))
    arp_known: Mapping[str, ArpTable] = field(default_factory=lambda: MappingProxyType({}))
    macs: Mapping[PortKey, str] = field(default_factory=lambda: MappingProxyType({}))
    promiscuous: frozenset[PortKey] = frozenset()
    groups: Mapping[PortKey, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    all_groups: frozenset[PortKey] = frozenset()
    discarding: frozenset[PortKey] = frozenset()
    blocked: frozenset[PortKey] = frozenset()
    deaf: frozenset[PortKey] = frozenset()
    beacons_lost: frozenset[PortKey] = frozenset()
    beacons_unsure: frozenset[tuple[str, str]] = frozenset()
    unstable: frozenset[PortKey] = frozenset()
    settling: frozenset[PortKey] = frozenset()
    lag_members: frozenset[PortKey] = frozenset()
    channel_members: frozenset[PortKey] = frozenset()
    placed: Mapping[PortKey, str] = field(default_factory=lambda: MappingProxyType({}))
    spread: Mapping[PortKey, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    copied: Mapping[PortKey, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    divided: Mapping[tuple[str, str, str], Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    pvnic_rates: Mapping[PortKey, float] = field(default_factory=lambda: MappingProxyType({}))

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

    def with_ports_moved(self, moved: Mapping[PortKey, PortKey]) -> State:
        """The same guests, some of whose client ports are elsewhere: old -> new. Where those send is not known yet."""

        def ports(keys: frozenset[PortKey]) -> frozenset[PortKey]:
            return frozenset(moved.get(key, key) for key in keys)

        def values(of: Mapping[PortKey, _T]) -> Mapping[PortKey, _T]:
            return MappingProxyType({moved.get(key, key): value for key, value in of.items()})

        return replace(
            self,
            links_down=ports(self.links_down),
            macs=values(self.macs),
            promiscuous=ports(self.promiscuous),
            groups=values(self.groups),
            all_groups=ports(self.all_groups),
            uplink_of=MappingProxyType({k: v for k, v in self.uplink_of.items() if k not in moved}),
            spread=MappingProxyType({k: v for k, v in self.spread.items() if k not in moved}),
        )

    def groups_of(self, port: PortKey) -> frozenset[str]:
        """Multicast MACs that the guest behind this client port asked for."""
        return self.groups.get(port, FIRST_GROUPS)

    def sends_on(self, port: PortKey) -> tuple[str, ...]:
        """Every pNIC that a frame of this client port may leave by now."""
        several = self.copied.get(port) or self.spread.get(port)
        one = self.uplink_of.get(port)
        return several or ((one,) if one is not None else ())
