"""What is no mistake about bandwidth and yet will surprise."""

from __future__ import annotations

from collections.abc import Iterator

from lab.model import Allocation, DistributedSwitch, NetworkIoControl, Nic, Topology

_SENDS = {
    "vmotion": ("vmotion",),
    "faultTolerance": ("ft_logging",),
    "iSCSI": ("iscsi",),
    "nfs": ("nfs",),
    "hbr": ("vsphere_replication", "vsphere_replication_nfc"),
    "vsan": ("vsan",),
    "provisioning": ("provisioning",),
}


def bandwidth_warnings(topology: Topology) -> Iterator[str]:
    """One line each."""
    for dvs in topology.distributed_switches.values():
        control = dvs.network_io_control
        if control is not None:
            nics = [nic for nic in topology.vmknics if nic.switch == dvs.name and nic.port_group in dvs.port_groups]
            yield from _unused(dvs, control, nics)
            yield from _shared(nics)


def _unused(dvs: DistributedSwitch, control: NetworkIoControl, nics: list[Nic]) -> Iterator[str]:
    """Pools and types that nothing can be in."""
    used = {group.network_pool for group in dvs.port_groups.values()}
    for pool in (*control.pools, *control.quotas):
        if pool not in used:
            yield f"no port group of {dvs.name} has the pool {pool!r} (network_pool: {pool})"
    services = {service for nic in nics for service in nic.services}
    for kind, allotted in control.types.items():
        plain = Allocation(allotted.shares) == allotted
        if not plain and kind in _SENDS and not services.intersection(_SENDS[kind]):
            yield f"{kind!r} is allotted bandwidth on {dvs.name}, and no adapter there sends it"


def _shared(nics: list[Nic]) -> Iterator[str]:
    for nic in nics:
        if len(nic.services) > 1:
            yield f"{nic.label} has several services, which are told apart by their well-known ports only"
