"""Network I/O Control as arithmetic: which traffic type a port's frames are of, and what each sender gets of a pNIC.

Everything here is a pure function of values; rates are in bits/s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lab.model import TYPE_OF_SERVICE, ClientPort, NetworkIoControl

VIRTUAL_MACHINE = "virtualMachine"
MANAGEMENT = "management"
PORTS_OF_TYPE: Mapping[str, tuple[int, ...]] = {
    "vmotion": (8000,),
    "nfs": (2049,),
    "iSCSI": (3260,),
    "faultTolerance": (8100, 8200, 8300),
    "hbr": (31031, 44046),
    "vsan": (2233, 12321, 12345, 23451),
    "provisioning": (902,),
}
"""By which the types of a vmkernel adapter with several services are told apart; all else of it is management."""


def types_of(port: ClientPort, control: NetworkIoControl) -> tuple[str, ...]:
    """Traffic types that this port's frames may be of; a type that the version does not know is management."""
    if not port.nic.is_vmk:
        return (VIRTUAL_MACHINE,)
    named = (TYPE_OF_SERVICE[service] for service in port.nic.services)
    known = (kind if kind in control.types else MANAGEMENT for kind in named)
    return tuple(dict.fromkeys(known)) or (MANAGEMENT,)


@dataclass(frozen=True)
class Sender:
    """What a traffic type, a pool or a vNIC wants (`offered`, may be infinite) and what it is allotted."""

    offered: float
    shares: int = 50
    reservation: float = 0.0
    limit: float = math.inf

    @property
    def most(self) -> float:
        return min(self.offered, self.limit)


def rates(capacity: float, senders: Mapping[str, Sender]) -> dict[str, float]:
    """What each sender gets of a link (NIOC-1 to NIOC-4, NIOC-8, NIOC-10, NIOC-11).

    Everybody first gets what it wants of its reservation. What is left is divided by shares among those that want
    more; what one of them does not need, or may not take, goes to the others in the same way.
    """
    found = {name: min(s.reservation, s.most) for name, s in senders.items()}
    reserved = sum(found.values())
    if reserved > capacity:
        return {name: rate * capacity / reserved for name, rate in found.items()}
    left, hungry = capacity - reserved, {n for n, s in senders.items() if s.most > found[n]}
    while hungry and left > 0:
        per_share = left / sum(senders[n].shares for n in hungry)
        full = {n for n in hungry if senders[n].most - found[n] <= per_share * senders[n].shares}
        if not full:
            return {n: rate + (per_share * senders[n].shares if n in hungry else 0.0) for n, rate in found.items()}
        for n in full:
            left -= senders[n].most - found[n]
            found[n] = senders[n].most
        hungry -= full
    return found


def guaranteed(capacity: float, senders: Mapping[str, Sender]) -> dict[str, float]:
    """What each gets when all want everything: its reservation and its part of the rest."""
    spare = max(capacity - sum(s.reservation for s in senders.values()), 0.0)
    shares = sum(s.shares for s in senders.values())
    return {name: min(s.reservation + spare * s.shares / shares, s.limit) for name, s in senders.items()}


def divided(limit: float, wanted: Mapping[str, float]) -> dict[str, float]:
    """A host's limit over its uplinks by what each of them wants to send (NIOC-6): nobody gets less than an equal part
    of what others leave, and what nobody wants is spread evenly, so that whoever begins can begin."""
    found = rates(limit, {uplink: Sender(want, 1) for uplink, want in wanted.items()})
    rest = (limit - sum(found.values())) / len(found) if found else 0.0
    return {uplink: rate + max(rest, 0.0) for uplink, rate in found.items()}
