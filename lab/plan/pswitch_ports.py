"""The ports of a physical switch as its rows see them: what they hear, which are one channel, which are shut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lab.frame import DropReason
from lab.model import PhysicalPort, PhysicalSwitch, Pvlan, PvlanMap, Ranges, Tagging, VlanPolicy
from lab.plan import modules
from lab.plan.clients import accepted_vlans
from lab.plan.types import CHANNELS_FROM
from lab.state import State


@dataclass(frozen=True)
class SwitchPort:
    """A port, or a channel as one: then it has `members`, and of them `forwarding` do.

    `hears`: VLANs whose frames leave there; `live`: up and not shut; `edge`: to a host or machine; `shut`: why it takes
    nothing in; `waits`: VLANs that another uplink of a module has, taken from what `config` says."""

    number: int
    config: PhysicalPort
    hears: Ranges
    own: Pvlan | None
    edge: bool
    live: bool
    shut: tuple[DropReason, str] | None
    members: tuple[int, ...] = ()
    forwarding: tuple[int, ...] = ()
    waits: Ranges = ()

    @property
    def here(self) -> str:
        return f"reg15={self.number:#x}" if self.members else f"in_port={self.number}"

    @property
    def inputs(self) -> tuple[int, ...]:
        """OpenFlow ports by which frames come in there."""
        return self.members or (self.number,)

    def spans(self) -> Iterator[tuple[int, int, bool]]:
        """(lowest VLAN, highest VLAN, leaves tagged) of all that it hears; none twice."""
        native = self.config.native if self.config.access is None else None
        if native is not None:
            yield native, native, False
        for low, high in self.hears:
            if native is not None and low <= native <= high:
                pieces = [(low, native - 1), (native + 1, high)]
            else:
                pieces = [(low, high)]
            yield from ((a, b, self.config.access is None) for a, b in pieces if a <= b)


def port_of(
    switch: PhysicalSwitch, number: int, label: str, config: PhysicalPort, edges: frozenset[str], state: State
) -> SwitchPort:
    key = (switch.name, label)
    waits = modules.waiting(switch, label, config, state)
    config = modules.without(config, waits)
    own = switch.pvlans.get(config.access) if config.access is not None else None
    shut = None
    if key in state.blocked:
        shut = DropReason.PSWITCH_BLOCKED, "TEAM-F-1"
    elif key in state.discarding:
        shut = DropReason.PSWITCH_STP, "TEAM-F-1"
    elif config.lacp and key not in state.channel_members:
        shut = DropReason.PSWITCH_CHANNEL, "LACP-6"
    deaf = shut is None and key in state.deaf
    return SwitchPort(
        number=number,
        config=config,
        hears=_heard(config, own, switch.pvlans),
        own=own,
        edge=label in edges,
        live=key not in state.links_down and shut is None,
        shut=(DropReason.PSWITCH_DEAF, "L2S-10") if deaf else shut,
        waits=waits,
    )


def channels_of(ports: Iterable[SwitchPort]) -> list[SwitchPort]:
    """Members are configured alike, so a channel is what its first one is."""
    members: dict[int, list[SwitchPort]] = {}
    for port in ports:
        if port.config.channel is not None:
            members.setdefault(port.config.channel, []).append(port)
    return [
        replace(
            group[0],
            number=CHANNELS_FROM + number,
            live=any(port.live for port in group),
            members=tuple(port.number for port in group),
            forwarding=tuple(port.number for port in group if port.live),
        )
        for number, group in members.items()
    ]


def _heard(config: PhysicalPort, own: Pvlan | None, pvlans: PvlanMap) -> Ranges:
    if config.access is None:
        return config.trunk
    if own is None:
        return ((config.access, config.access),)
    return accepted_vlans(VlanPolicy(Tagging.PVLAN, own.secondary, pvlan=own), pvlans)
