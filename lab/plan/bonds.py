"""LAGs of hosts and LACP channels of pSwitches as bonds: Open vSwitch speaks LACP for them (LACP-2, LACP-3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lab.model import HostSwitch, PhysicalPort
from lab.plan.names import box_mac, linux_name
from lab.plan.types import Bond


def of_host(part: HostSwitch) -> Iterator[Bond]:
    for lag in part.lags:
        members = lag.uplinks.get(part.host, ())
        if members:
            yield _bond(part.host, f"{part.name}-{lag.name}", lag.name, members, lag.mode, lag.fast)


def of_pswitch(switch: str, ports: Mapping[str, PhysicalPort]) -> Iterator[Bond]:
    """A channel's mode is its first member's; members are configured alike."""
    members: dict[int, list[str]] = {}
    modes: dict[int, str] = {}
    for label, port in ports.items():
        if port.channel is not None and port.lacp is not None:
            members.setdefault(port.channel, []).append(label)
            modes.setdefault(port.channel, port.lacp)
    for channel, labels in members.items():
        yield _bond(switch, f"po{channel}", f"po{channel}", labels, modes[channel], False)


def _bond(box: str, name: str, label: str, members: Sequence[str], mode: str, fast: bool) -> Bond:
    columns = (
        ("bond_mode", "active-backup"),
        ("lacp", mode),
        ("other_config:lacp-system-id", f'"{box_mac(box)}"'),
        ("other_config:lacp-time", "fast" if fast else "slow"),
    )
    return Bond(linux_name(f"{name} (bond)"), label, tuple(linux_name(member) for member in members), columns)
