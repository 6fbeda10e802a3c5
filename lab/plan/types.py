"""The plan as values: what to build, in Linux's and Open vSwitch's words. It prints as text, and that is the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from lab.frame import DropReason
from lab.plan.queues import Queue


class NodeKind(StrEnum):
    HOST = "host"
    PSWITCH = "pswitch"
    VM = "vm"
    VMKERNEL = "vmkernel"
    MACHINE = "machine"


BOX_KINDS = (NodeKind.HOST, NodeKind.PSWITCH)


@dataclass(frozen=True)
class Tunnel:
    """A VXLAN interface: what it sends goes in UDP from `local` to `remote`, whose MAC is `remote_mac`, by the
    interface `underlay` (Linux's name)."""

    vni: int
    underlay: str
    local: str
    remote: str
    remote_mac: str
    port: int


@dataclass(frozen=True)
class Interface:
    """`name` is Linux's (at most 15 characters), `label` the model's. `addresses` are CIDR texts."""

    name: str
    label: str
    mac: str
    mtu: int = 1500
    addresses: tuple[str, ...] = ()
    up: bool = True
    tunnel: Tunnel | None = None


@dataclass(frozen=True)
class Node:
    """A network namespace. `id` is safe as a file name and unique; `name` is what people call it."""

    id: str
    name: str
    kind: NodeKind
    interfaces: tuple[Interface, ...]
    forwards: bool = False
    gateway: str = ""
    """Of its default route; empty for none."""

    @property
    def is_box(self) -> bool:
        return self.kind in BOX_KINDS

    def interface(self, label: str) -> Interface:
        """By the model's name. Raises KeyError."""
        for interface in self.interfaces:
            if interface.label == label:
                return interface
        raise KeyError(label)


@dataclass(frozen=True)
class Way:
    """What a long way does to frames, in each direction: `delay` and `jitter` in seconds, `loss` from 0 to 1, `rate` in
    bit/s (0: any)."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: int = 0


@dataclass(frozen=True)
class Cable:
    """A veth pair: (node name, interface label) at each end; or, `tunnelled`, two VXLAN interfaces that lead to each
    other. `way`: it is a long one."""

    a: tuple[str, str]
    b: tuple[str, str]
    tunnelled: bool = False
    way: Way | None = None


@dataclass(frozen=True)
class Row:
    """One OpenFlow row. `why` is a statement id or a few words, printed behind it; `reason` makes it a drop row."""

    table: int
    priority: int
    match: str
    actions: str
    why: str = ""
    reason: DropReason | None = None
    port: int = 0

    @property
    def cookie(self) -> int:
        """Zero, or what `reason_of_cookie` reads back: 0xd, the reason, the statement, the port that dropped."""
        if self.reason is None:
            return 0
        return 0xD << 48 | _REASONS.index(self.reason) << 32 | _number_of(self.why) << 16 | self.port

    def text(self) -> str:
        """As `ovs-ofctl add-flows` reads it."""
        match = f",{self.match}" if self.match else ""
        cookie = f"cookie={self.cookie:#x}," if self.cookie else ""
        return f"{cookie}table={self.table},priority={self.priority}{match},actions={self.actions}"


CHANNEL_MAX = 4096
CHANNELS_FROM = 0x8000
"""A pSwitch's rows number its port channel N this plus N; OpenFlow ports are below."""

_REASONS = tuple(DropReason)
_FAMILIES = (
    "",
    "FWD",
    "VLAN",
    "PVL",
    "SEC",
    "MIR",
    "TEAM-F",
    "TEAM-PID",
    "ATK",
    "BCN",
    "LACP",
    "TEAM-IPH",
    "TEAM-MAC",
    "L2S",
    "PVN",
)


class Dropped(NamedTuple):
    """What a drop row's cookie says: why, at which OpenFlow port (0: none in particular), by which statement."""

    reason: DropReason
    port: int
    statement: str


def _number_of(statement: str) -> int:
    """A statement id as 16 bits; 0 for what is none."""
    family, _, number = statement.partition(":")[0].rpartition("-")
    if family not in _FAMILIES or not number.isdigit():
        return 0
    return _FAMILIES.index(family) << 8 | int(number)


def reason_of_cookie(cookie: int) -> Dropped | None:
    """Of a drop row's cookie; None for any other cookie."""
    if cookie >> 48 != 0xD:
        return None
    reason, family, number = cookie >> 32 & 0xFFFF, cookie >> 24 & 0xFF, cookie >> 16 & 0xFF
    if reason >= len(_REASONS) or family >= len(_FAMILIES):
        return None
    return Dropped(_REASONS[reason], cookie & 0xFFFF, f"{_FAMILIES[family]}-{number}" if family else "")


@dataclass(frozen=True)
class Port:
    """`number` is the OpenFlow port; `columns` are OVSDB Port columns (tag, trunks, vlan_mode)."""

    number: int
    interface: str
    label: str
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bond:
    """Ports that Open vSwitch negotiates LACP for; rows choose among them. `members` are interface names, `columns`
    OVSDB Port columns."""

    name: str
    label: str
    members: tuple[str, ...]
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bridge:
    """A switch in the box `node`. `name` is Linux's, `label` the model's; `columns` are OVSDB Bridge columns."""

    node: str
    name: str
    label: str
    dpid: str
    ports: tuple[Port, ...]
    rows: tuple[Row, ...]
    columns: tuple[tuple[str, str], ...] = ()
    bonds: tuple[Bond, ...] = ()

    @property
    def bonded(self) -> frozenset[str]:
        """Interfaces that are a bond's members."""
        return frozenset(name for bond in self.bonds for name in bond.members)

    def port(self, label: str) -> Port:
        """By the model's name. Raises KeyError."""
        for port in self.ports:
            if port.label == label:
                return port
        raise KeyError(label)

    def label_of(self, number: int) -> str:
        """The model's name of what rows call by this number: a port, or a port channel; empty for any other."""
        if CHANNELS_FROM < number <= CHANNELS_FROM + CHANNEL_MAX:
            return f"po{number - CHANNELS_FROM}"
        return next((port.label for port in self.ports if port.number == number), "")


@dataclass(frozen=True)
class Plan:
    name: str
    nodes: tuple[Node, ...]
    cables: tuple[Cable, ...]
    bridges: tuple[Bridge, ...]
    queues: tuple[Queue, ...] = ()

    @cached_property
    def node_named(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    def bridges_of(self, node: str) -> tuple[Bridge, ...]:
        return tuple(b for b in self.bridges if b.node == node)
