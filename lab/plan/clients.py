"""A vSwitch's client ports as its rows need them: numbers, accepted MACs, VLANs, what their guests asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lab.model import ClientPort, HostSwitch, Knobs, PvlanKind, PvlanMap, Ranges, Tagging, VlanPolicy
from lab.plan.hashing import SOURCE_MAC, Recipe, ip_hash, lag_hash
from lab.state import State

FIRST_CLIENT = 100


def client_number(port: ClientPort) -> int:
    """The OpenFlow port of a vNIC or vmknic; uplinks are 1, 2, ... in the switch's order."""
    return FIRST_CLIENT + port.number - 1


@dataclass(frozen=True)
class Client:
    """`mac` is the one that the switch accepts; `vlans` those whose frames the port takes; `team` the OpenFlow ports
    of the uplinks that it sends on: by `recipe` one of them, without it all; `refused`: its guest set a MAC that policy
    rejects."""

    port: ClientPort
    number: int
    mac: str
    vlans: Ranges
    promiscuous: bool
    groups: frozenset[str]
    all_groups: bool
    team: tuple[int, ...]
    recipe: Recipe | None
    refused: bool
    mirror_only: bool

    @property
    def here(self) -> str:
        return f"in_port={self.number}"

    @property
    def connected(self) -> bool:
        return self.port.nic.connected

    def wants(self, group: str) -> bool:
        """Of a multicast MAC; the empty text stands for any that nobody named."""
        return self.promiscuous or self.all_groups or group in self.groups


def clients_of(part: HostSwitch, state: State, knobs: Knobs) -> tuple[Client, ...]:
    uplinks = {name: n for n, name in enumerate(part.uplinks, start=1)}
    dedicated = {label for m in part.mirrors if not m.normal_traffic for label in m.to_ports}
    return tuple(_client(part, port, state, knobs, uplinks, port.nic.label in dedicated) for port in part.ports)


def _client(
    part: HostSwitch, port: ClientPort, state: State, knobs: Knobs, uplinks: Mapping[str, int], mirror_only: bool
) -> Client:
    key = (part.host, port.name)
    wanted = state.macs.get(key, port.nic.mac)
    accepted = wanted if port.security.mac_changes else port.nic.mac
    return Client(
        port=port,
        number=client_number(port),
        mac=accepted,
        vlans=accepted_vlans(port.vlan, part.pvlans),
        promiscuous=port.security.promiscuous and key in state.promiscuous,
        groups=state.groups_of(key),
        all_groups=key in state.all_groups,
        team=tuple(uplinks[name] for name in state.sends_on(key)),
        recipe=_recipe(port, knobs) if key in state.spread and key not in state.copied else None,
        refused=wanted != accepted,
        mirror_only=mirror_only,
    )


def _recipe(port: ClientPort, knobs: Knobs) -> Recipe:
    """How a port that spreads its frames chooses an uplink for each."""
    if port.lag is not None:
        return lag_hash(port.lag.hash)
    return SOURCE_MAC if port.policy == "loadbalance_srcmac" else ip_hash(knobs.iphash == "lastoctet")


def allowed_source(client: Client, knobs: Knobs) -> str:
    """The source MAC that passes where forged transmits are rejected (SEC-8)."""
    return client.port.nic.mac if knobs.forged_compare == "vmx" else client.mac


def accepted_vlans(policy: VlanPolicy, pvlans: PvlanMap) -> Ranges:
    """VLANs inside the switch (0: none) whose frames a port with this policy takes (VLAN-4, VLAN-9, PVL-7)."""
    if policy.tagging is Tagging.VGT:
        return policy.ranges
    own = policy.pvlan
    if own is None:
        return ((policy.vlan, policy.vlan),)
    vlans = {own.primary}
    if own.kind is PvlanKind.COMMUNITY:
        vlans.add(own.secondary)
    elif own.kind is PvlanKind.PROMISCUOUS:
        vlans |= domain(own.primary, pvlans)
    return tuple((vlan, vlan) for vlan in sorted(vlans))


def kept_apart(client: Client, pvlans: PvlanMap) -> Iterator[tuple[int, str]]:
    """(VLAN, statement): the IDs of the port's own private VLAN that it may not hear."""
    own = client.port.vlan.pvlan
    if own is None:
        return
    heard = {low for low, _ in client.vlans}
    for vlan in sorted(domain(own.primary, pvlans) - heard):
        kinds = {own.kind, pvlans[vlan].kind}
        yield vlan, "PVL-3" if len(kinds) == 2 else "PVL-2" if PvlanKind.ISOLATED in kinds else "PVL-4"


def domain(primary: int, pvlans: PvlanMap) -> set[int]:
    """Every VLAN ID of one private VLAN."""
    return {entry.secondary for entry in pvlans.values() if entry.primary == primary} | {primary}


def blocks_of(clients: Sequence[Client]) -> Iterator[tuple[Ranges, tuple[Client, ...]]]:
    """VLAN ranges -> the clients that take frames there; ranges that nobody takes are left out."""
    cuts = sorted({edge for c in clients for low, high in c.vlans for edge in (low, high + 1)})
    members: dict[int, list[Client]] = {low: [] for low in cuts}
    at = {edge: index for index, edge in enumerate(cuts)}
    for client in clients:
        for low, high in client.vlans:
            for edge in cuts[at[low] : at[high + 1]]:
                members[edge].append(client)
    same: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    who: dict[tuple[int, ...], tuple[Client, ...]] = {}
    for low, after in pairwise(cuts):
        key = tuple(c.number for c in members[low])
        if not key:
            continue
        who[key] = tuple(members[low])
        ranges = same.setdefault(key, [])
        if ranges and ranges[-1][1] == low - 1:
            ranges[-1] = (ranges[-1][0], after - 1)
        else:
            ranges.append((low, after - 1))
    for key, ranges in same.items():
        yield tuple(ranges), who[key]
