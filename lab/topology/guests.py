"""Who is connected where: vmkernel adapters, VMs and their vNICs, machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

from lab.model import (
    Allocation,
    DistributedSwitch,
    Host,
    Machine,
    NetworkIoControl,
    Nic,
    PortGroup,
    Shapers,
    StandardSwitch,
    Tagging,
    VlanPolicy,
    Vm,
)
from lab.topology import addressing, nioc, policies, shaping
from lab.topology.addressing import Addresses
from lab.topology.nodes import Path
from lab.topology.physical import check_plugged, physical_port
from lab.topology.reading import Reading
from lab.topology.schema import MachineSpec, NetworkSpec, VmkSpec, VmSpec

_SHARED = "distributed_switches"


class PortGroups:
    """The port groups that each host has, by their names and as SWITCH/NAME."""

    def __init__(
        self, reading: Reading, hosts: Mapping[str, Host], distributed: Mapping[str, DistributedSwitch]
    ) -> None:
        self._reading = reading
        self._here: dict[str, dict[str, list[PortGroup]]] = {}
        self._told_on = cache(self._wrong_on)
        for host in hosts.values():
            here = self._here.setdefault(host.name, {})
            parts: list[StandardSwitch | DistributedSwitch] = [*host.standard_switches.values()]
            parts += [dvs for dvs in distributed.values() if host.name in dvs.hosts]
            for part in parts:
                for group in part.port_groups.values():
                    here.setdefault(group.name, []).append(group)
                    here.setdefault(group.label, []).append(group)

    def names(self) -> set[str]:
        return {name for groups in self._here.values() for name in groups}

    def find(self, path: Path, host: str, name: str) -> PortGroup | None:
        """What is called `name` on that host; None when it is not there, which then has been told."""
        here = self._here.get(host)
        if here is None:
            return None
        found = here.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            choices = " or ".join(repr(group.label) for group in found)
            what = f"{name!r} is the name of {len(found)} port groups on {host}"
            self._reading.wrong(path, what, f"write {choices}")
        elif not self.is_told(name, host):
            self._reading.wrong(path, f"no port group {name!r} on {host}", self._hint(here, name))
        return None

    def _hint(self, here: Mapping[str, object], name: str) -> str:
        switches = self._reading.spec.distributed_switches
        elsewhere = [other for other, groups in self._here.items() if name in groups]
        elsewhere += [n for n, dvs in switches.items() if name in dvs.port_groups]
        if elsewhere:
            return f"it is on {elsewhere[0]}"
        return self._reading.nearest(name, [label for label in here if "/" not in label])

    def is_told(self, name: str, host: str) -> bool:
        """True when that host may have a port group of this name in an entry that is wrong."""
        return bool({"*", name, name.rpartition("/")[2]} & self._told_on(host))

    def is_told_anywhere(self, name: str) -> bool:
        return any(self.is_told(name, host) for host in (*(self._reading.declared("hosts") or ()), ""))

    def _wrong_on(self, host: str) -> frozenset[str]:
        """Names of that host's port groups whose own entries are wrong; `*` where they cannot be told. Of no host:
        those of all distributed switches."""
        return frozenset(self._wrong_names(host))

    def _wrong_names(self, host: str) -> Iterator[str]:
        reading = self._reading
        for section in (("hosts", host, "standard_switches"), (_SHARED,)):
            switches = reading.declared(*section)
            if switches is None:
                yield "*"
            for name in switches or ():
                if section != (_SHARED,) or self._may_be_on(name, host):
                    yield from self._wrong_in((*section, name), host)

    def _may_be_on(self, switch: str, host: str) -> bool:
        members = self._reading.declared(_SHARED, switch, "uplinks")
        return not host or members is None or host in members

    def _wrong_in(self, path: tuple[str, ...], host: str) -> Iterator[str]:
        groups = self._reading.declared(*path, "port_groups")
        if groups is None or self._reading.pruned((*path, "uplinks", host)):
            yield "*"
        for name in groups or ():
            if self._reading.pruned((*path, "port_groups", name)):
                yield name


class Adapters:
    """The vmkernel adapters and vNICs of a lab."""

    def __init__(
        self,
        reading: Reading,
        addresses: Addresses,
        groups: PortGroups,
        distributed: Mapping[str, DistributedSwitch] = MappingProxyType({}),
    ) -> None:
        self._reading = reading
        self._distributed = distributed
        self._addresses = addresses
        self._groups = groups
        spec = reading.spec
        kernels = [(host, name, vmk) for host, h in spec.hosts.items() for name, vmk in h.vmkernel.items()]
        self.vmknics = tuple(nic for kernel in kernels if (nic := self._vmk(*kernel)))
        found = {name: self._vm(name, vm) for name, vm in spec.vms.items()}
        self.vms = {name: vm for name, vm in found.items() if vm}
        vnics = (nic for vm in self.vms.values() for nic in vm.nics)
        placed = (
            (("vms", nic.owner, "networks", int(nic.name[3:])), nic) for vm in self.vms.values() for nic in vm.nics
        )
        nioc.check_admission(reading, distributed, placed)
        self.by_label = {nic.label: nic for nic in (*self.vmknics, *vnics)}

    def on_distributed(self, switch: str) -> dict[str, Nic]:
        """Those on this distributed switch, by label; another host's standard switch may bear its name."""
        hosts = self._reading.spec.hosts
        return {
            label: nic
            for label, nic in self.by_label.items()
            if nic.switch == switch and switch not in hosts[nic.host].standard_switches
        }

    def is_told(self, name: str) -> bool:
        """`web1`, `web1.eth1`, `esx1.vmk0`: in the file, but nowhere, because of something wrong that was told."""
        vms = self._reading.declared("vms")
        owner, adapter = (name, "eth0") if name in (vms or ()) else name.rpartition(".")[::2]
        label = f"{owner}.{adapter}"
        if label in self.by_label:
            return False
        if vms is None or self._reading.pruned(("vms", owner)):
            return True
        if owner in vms:
            return label in self._written(owner)
        adapters = self._reading.declared("hosts", owner, "vmkernel")
        return adapters is None or adapter in adapters

    def _written(self, vm: str) -> list[str]:
        return [f"{vm}.eth{n}" for n, _ in enumerate(self._reading.spec.vms[vm].networks)]

    def _vmk(self, host: str, name: str, spec: VmkSpec) -> Nic | None:
        group = self._groups.find(("hosts", host, "vmkernel", name, "port_group"), host, spec.port_group)
        if group is None:
            return None
        mac = spec.mac or self._addresses.mac(addressing.VMKNIC)
        address = spec.ip or self._addresses.ip(group.vlan)
        mark = nioc.priority(self._control(host, group), None, spec.services or ("management",))
        services = tuple(spec.services)
        return Nic(host, name, host, group.switch, group.name, mac, address, services=services, priority=mark)

    def _vm(self, name: str, spec: VmSpec) -> Vm | None:
        path: Path = ("vms", name)
        if not self._reading.known((*path, "host"), spec.host, self._reading.declared("hosts"), "host"):
            return None
        nics = [self._vnic((*path, "networks", n), name, n, spec, network) for n, network in enumerate(spec.networks)]
        return Vm(name, spec.host, tuple(nic for nic in nics if nic), spec.memory, tuple(spec.devices))

    def _vnic(self, path: Path, vm: str, number: int, spec: VmSpec, network: NetworkSpec) -> Nic | None:
        group = self._groups.find((*path, "port_group"), spec.host, network.port_group)
        if number == 0 and spec.ip and network.ip:
            what = "the VM has an ip: of its own, which is this vNIC's"
            self._reading.wrong((*path, "ip"), what, "leave one of them out")
        if group is None:
            return None
        if group.switch in self._reading.spec.hosts[spec.host].standard_switches:
            self._check_standard(path, network)
        given = network.ip or (spec.ip if number == 0 else None)
        return Nic(
            owner=vm,
            name=f"eth{number}",
            host=spec.host,
            switch=group.switch,
            port_group=group.name,
            mac=network.mac or self._addresses.mac(addressing.VNIC),
            address=given or self._addresses.ip(group.vlan),
            connected=network.connected,
            blocked=network.blocked,
            security=policies.security(group.security, network.security) if network.security else None,
            shapers=self._shapers(path, group, network),
            allocation=self._allocation(path, spec.host, group, network),
            priority=nioc.priority(self._control(spec.host, group), group.network_pool, ()),
        )

    def _shapers(self, path: Path, group: PortGroup, network: NetworkSpec) -> Shapers | None:
        if network.shaping is None:
            return None
        return shaping.shapers(self._reading, (*path, "shaping"), group.shapers, network.shaping)

    def _allocation(self, path: Path, host: str, group: PortGroup, network: NetworkSpec) -> Allocation | None:
        told = self._reading.pruned((_SHARED, group.switch, "network_io_control"))
        return nioc.allocation(self._reading, path, network, self._control(host, group), told)

    def _control(self, host: str, group: PortGroup) -> NetworkIoControl | None:
        """Of the group's switch, where that is a distributed one."""
        standard = group.switch in self._reading.spec.hosts[host].standard_switches
        switch = None if standard else self._distributed.get(group.switch)
        return switch.network_io_control if switch else None

    def _check_standard(self, path: Path, network: NetworkSpec) -> None:
        for key in ("blocked", "security", "shaping"):
            if getattr(network, key):
                what = f"a standard switch has no {key!r} for a single port"
                self._reading.wrong((*path, key), what, "use a distributed switch")


def machines(reading: Reading, addresses: Addresses) -> dict[str, Machine]:
    return {name: _machine(reading, addresses, name, spec) for name, spec in reading.spec.machines.items()}


def _machine(reading: Reading, addresses: Addresses, name: str, spec: MachineSpec) -> Machine:
    path: Path = ("machines", name)
    check_plugged(reading, (*path, "switch"), spec.switch)
    port = physical_port(reading, path, spec)
    if not any(reading.document.has((*path, key)) for key in ("access", "trunk")):
        reading.wrong(path, "says neither access nor trunk", "access: 10", key=True)
    mac = spec.mac or addresses.mac(addressing.MACHINE)
    policy = VlanPolicy(Tagging.VST, spec.access) if spec.access else VlanPolicy(Tagging.VGT)
    return Machine(name, spec.switch, port, mac, spec.ip or addresses.ip(policy), spec.routes, tuple(spec.more_ips),
                   spec.gateway or "")  # fmt: skip
