"""What lies below the hosts: pSwitches and their ports, cables, machines, stretches between sites."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lab.chassis import Module
from lab.model.policies import ALL_VLANS, NO_PVLANS, PvlanMap, Ranges, in_ranges
from lab.units import Rate


class StretchKind(StrEnum):
    """What carries VLANs to another site."""

    TRUNK = "trunk"
    OTV = "otv"
    VPLS = "vpls"
    VXLAN = "vxlan"


@dataclass(frozen=True)
class Stretch:
    """A Layer-2 stretch between pSwitches of several sites (docs/stretch.md). `vlans` cross it, others do not; `mtu` is
    that of the transport network (IP bytes) and `udp_port` VXLAN's there, of no meaning for other kinds. `delay`
    and `jitter` in seconds one way, `loss` a share of frames, `rate` nominal."""

    name: str
    kind: StretchKind
    switches: tuple[str, ...]
    vlans: Ranges
    mtu: int = 1600
    udp_port: int = 4789
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: Rate | None = None

    @property
    def room(self) -> int | None:
        """Bytes behind a frame's Ethernet header and one tag that the transport network has room for (L2S-8): what is
        put in front of a frame is 42 bytes for OTV, 50 for VXLAN. None: no limit of its own."""
        added = {StretchKind.OTV: 42, StretchKind.VXLAN: 50}.get(self.kind)
        return None if added is None else self.mtu - added

    @property
    def splits_horizon(self) -> bool:
        """What comes in by one of its ports leaves by no other one of them: every site has a way to every other."""
        return self.kind is not StretchKind.TRUNK

    @property
    def floods_unknown(self) -> bool:
        """Unicast to a MAC that was not learned crosses."""
        return self.kind is not StretchKind.OTV

    @property
    def carries_bpdus(self) -> bool:
        return self.kind in (StretchKind.TRUNK, StretchKind.VPLS)


@dataclass(frozen=True)
class PhysicalPort:
    """A port of a pSwitch. `access` None: a trunk that carries `trunk`; `native` None: untagged frames drop.
    `channel`: it is a member of that port channel, by LACP when `lacp` is `active` or `passive`. `stretch`: it leads to
    another site by that."""

    access: int | None = None
    trunk: Ranges = ALL_VLANS
    native: int | None = None
    channel: int | None = None
    lacp: str | None = None
    stretch: Stretch | None = None

    def carries(self, vid: int) -> bool:
        if self.access is not None:
            return vid == self.access
        return vid == self.native or in_ranges(vid, self.trunk)

    @property
    def untagged(self) -> int | None:
        """The VLAN whose frames are untagged on this wire, or None."""
        return self.native if self.access is None else self.access


@dataclass(frozen=True)
class Machine:
    """What is no VM, on a pSwitch port that bears its name. `routes`: it forwards IP between its own interfaces."""

    name: str
    switch: str
    port: PhysicalPort
    mac: str
    address: str = ""
    routes: bool = False
    more: tuple[str, ...] = ()
    """Further addresses of its adapter."""
    gateway: str = ""


@dataclass(frozen=True)
class PhysicalSwitch:
    """`mac_table`: entries that its CAM holds; full, it learns nothing more and floods. `bpdu_guard` and
    `port_security` (source MACs that a port may have) are for ports to hosts and machines, not for cables between
    pSwitches. `pvlans`: the map that a PVLAN-aware switch knows. `stp`: rapid spanning tree. `cdp`, `lldp`: it speaks
    that protocol. `channel_hash`: how its port channels choose a member. `link_state_tracking`: it takes ports to hosts
    down while it has no link to another pSwitch (TEAM-F-5). `module`: it is an interconnect module of a chassis."""

    name: str
    site: str
    mac_table: int = 8192
    bpdu_guard: bool = False
    port_security: int | None = None
    stp: bool = False
    pvlans: PvlanMap = field(default_factory=lambda: NO_PVLANS)
    cdp: bool = False
    lldp: bool = False
    channel_hash: str = "src-dst-ip"
    link_state_tracking: bool = False
    module: Module | None = None


@dataclass(frozen=True)
class ModuleUplink:
    """What a cable is at its end in an interconnect module: the name and configuration of its port there. `speed`
    holds in both directions."""

    name: str
    port: PhysicalPort
    speed: Rate


@dataclass(frozen=True)
class Cable:
    """Between two pSwitches; each end's port bears the other's name (`tor2`, and `tor2#2` for a second cable). With an
    `uplink`, the first of `ends` is an interconnect module, and the other's port is named `bay1-X1`."""

    ends: tuple[str, str]
    port: PhysicalPort
    index: int = 1
    uplink: ModuleUplink | None = None

    def config_at(self, switch: str) -> PhysicalPort:
        return self.uplink.port if self.uplink is not None and switch == self.ends[0] else self.port

    def port_at(self, switch: str) -> str:
        if self.uplink is not None:
            return self.uplink.name if switch == self.ends[0] else f"{self.ends[0]}-{self.uplink.name}"
        other = self.ends[1] if switch == self.ends[0] else self.ends[0]
        return other if self.index == 1 else f"{other}#{self.index}"
