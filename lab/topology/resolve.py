"""What the names in a topology file mean: spec -> model, defaults filled in, all mistakes collected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from lab.errors import Mistake
from lab.model import (
    ALL_VLANS,
    VLAN_MAX,
    Cable,
    DistributedSwitch,
    Expectation,
    Host,
    Knobs,
    Machine,
    Nic,
    PhysicalPort,
    PhysicalSwitch,
    Pnic,
    PortGroup,
    PvlanMap,
    Security,
    StandardSwitch,
    Tagging,
    Teaming,
    Topology,
    VlanPolicy,
    Vm,
)
from lab.topology import addressing, distributed
from lab.topology.addressing import Addresses
from lab.topology.distributed import Mirrors, since
from lab.topology.nodes import Document, Path, path_text
from lab.topology.schema import (
    CableSpec,
    DistributedPortGroupSpec,
    DistributedSwitchSpec,
    HostSpec,
    MachineSpec,
    NetworkSpec,
    PhysicalSwitchSpec,
    PnicSpec,
    PortGroupSpec,
    SecuritySpec,
    StandardSwitchSpec,
    TeamingSpec,
    TopologySpec,
    VmkSpec,
    VmSpec,
)
from lab.topology.words import suggestion

ONLY_SITE = "site"
SUGGESTED = 100
"""Mistakes with a hint about the nearest name: finding it costs time that a file full of mistakes does not deserve."""


def resolve(spec: TopologySpec, document: Document, source: str) -> tuple[Topology, list[Mistake]]:
    """The topology, of use only when there is no mistake."""
    resolver = _Resolver(spec, document)
    return resolver.topology(source), resolver.mistakes


def default_security(release: str, distributed: bool) -> Security:
    """A vSS has reject, accept, accept before 7.0, a vDS the same before 5.1; all reject from then on."""
    strict = since(release, "5.1" if distributed else "7.0")
    return Security(promiscuous=False, mac_changes=not strict, forged_transmits=not strict)


class _Resolver:
    def __init__(self, spec: TopologySpec, document: Document) -> None:
        self.spec = spec
        self.document = document
        self.mistakes: list[Mistake] = []
        self._groups: dict[str, dict[str, list[PortGroup]]] = {}
        self._pvlans = {
            name: distributed.pvlan_map(("distributed_switches", name), dvs, self._wrong)
            for name, dvs in spec.distributed_switches.items()
        }
        self._addresses = Addresses(*self._given())

    # -- telling

    def _wrong(self, path: Path, what: str, hint: str = "", key: bool = False) -> None:
        line, column = self.document.place(path, key)
        self.mistakes.append(Mistake(line, column, path_text(path), what, hint))

    def _declared(self, section: str) -> list[str]:
        """Names as the file has them, those whose own entry is wrong included: they are no unknown names."""
        raw = self.document.value.get(section)
        return list(raw) if isinstance(raw, dict) else []

    def _known(self, path: Path, name: str, known: Iterable[str], what: str) -> bool:
        names = list(known)
        if name in names:
            return True
        hint = suggestion(name, names) if len(self.mistakes) < SUGGESTED else ""
        self._wrong(path, f"no {what} {name!r}", hint)
        return False

    # -- the whole

    def topology(self, source: str) -> Topology:
        spec = self.spec
        self._node_names()
        self._site_names()
        switches = {name: self._physical(name, s) for name, s in spec.physical_switches.items()}
        cables = self._cables()
        hosts = {name: self._host(name, host) for name, host in spec.hosts.items()}
        distributed = {name: self._distributed(name, s) for name, s in spec.distributed_switches.items()}
        self._uplinks_used_once()
        self._index_groups(hosts, distributed)
        vmknics = tuple(
            nic
            for host, h in spec.hosts.items()
            for name, vmk in h.vmkernel.items()
            if (nic := self._vmk(host, name, vmk))
        )
        vms = {name: self._vm(name, vm) for name, vm in spec.vms.items()}
        nics = {nic.label: nic for nic in (*vmknics, *(nic for vm in vms.values() if vm for nic in vm.nics))}
        distributed = {name: self._with_traffic_watched(switch, nics) for name, switch in distributed.items()}
        machines = {name: self._machine(name, m) for name, m in spec.machines.items()}
        return Topology(
            name=spec.name,
            release=spec.release,
            speed_scale=spec.speed_scale,
            speedup=spec.clock.speedup,
            knobs=self._knobs(),
            sites=tuple(spec.sites) or (ONLY_SITE,),
            physical_switches=MappingProxyType(switches),
            cables=cables,
            hosts=MappingProxyType(hosts),
            distributed_switches=MappingProxyType(distributed),
            vms=MappingProxyType({name: vm for name, vm in vms.items() if vm}),
            vmknics=vmknics,
            machines=MappingProxyType({name: machine for name, machine in machines.items() if machine}),
            expect=tuple(self._expectations()),
            source=source,
        )

    def _knobs(self) -> Knobs:
        given = self.spec.knobs
        bpdu = given.block_guest_bpdu
        blocked = since(self.spec.release, "8.0") if bpdu is None else bool(bpdu)
        return Knobs(
            blocked, bool(given.reverse_path), given.est_guest_tag, given.prio_tag, bool(given.reverse_path_promisc),
            given.forged_compare,
        )  # fmt: skip

    # -- names

    def _node_names(self) -> None:
        """Every namespace has its own name: pSwitches, hosts, their vmkernels, VMs, machines."""
        seen: dict[str, str] = {}
        for section in ("physical_switches", "hosts", "vms", "machines"):
            for name in self._declared(section):
                taken = seen.get(name)
                if taken:
                    self._wrong((section, name), f"the name {name!r} is taken", f"it is in {taken} too", key=True)
                seen[name] = section
        for host, spec in self.spec.hosts.items():
            kernel = f"{host}-vmk"
            if spec.vmkernel and kernel in seen:
                self._wrong((seen[kernel], kernel), f"the name {kernel!r} is taken", f"by the vmkernel of {host}", True)
        self._port_names()

    def _port_names(self) -> None:
        """On a pSwitch a port bears the name of what is plugged in; a host's is HOST-vmnicN."""
        pnics = {f"{host}-{pnic}" for host, spec in self.spec.hosts.items() for pnic in spec.uplinks}
        for section in ("machines", "physical_switches"):
            for name in self._declared(section):
                if name in pnics:
                    self._wrong((section, name), f"the name {name!r} is taken", "a pNIC's port is called so", key=True)

    def _site_names(self) -> None:
        if len(self.spec.sites) > 1:
            return
        for section, things in (("physical_switches", self.spec.physical_switches), ("hosts", self.spec.hosts)):
            for name, thing in things.items():
                if thing.site and not self.spec.sites:
                    self._wrong((section, name, "site"), f"no site {thing.site!r}", "declare it under sites:")

    def _site(self, path: Path, site: str | None) -> str:
        sites = list(self.spec.sites)
        if site is not None:
            if sites:
                self._known((*path, "site"), site, self._declared("sites"), "site")
            return site
        if len(sites) > 1:
            self._wrong(path, "says no site, and there are several", f"site: {sites[0]}", key=True)
        return sites[0] if sites else ONLY_SITE

    # -- physical switches

    def _physical(self, name: str, spec: PhysicalSwitchSpec) -> PhysicalSwitch:
        return PhysicalSwitch(
            name=name,
            site=self._site(("physical_switches", name), spec.site),
            mac_table=spec.mac_table,
            bpdu_guard=spec.bpdu_guard,
            port_security=spec.port_security,
            stp=spec.stp,
            pvlans=self._all_pvlans(name) if spec.pvlan_aware else MappingProxyType({}),
            cdp=spec.cdp,
            lldp=spec.lldp,
        )

    def _all_pvlans(self, switch: str) -> PvlanMap:
        """What a PVLAN-aware pSwitch is told: the maps of all distributed switches."""
        path: Path = ("physical_switches", switch, "pvlan_aware")
        known: dict[int, object] = {}
        for name, found in self._pvlans.items():
            for vlan, entry in found.items():
                if known.setdefault(vlan, entry) != entry:
                    self._wrong(path, f"private VLAN {vlan} is not the same on {name} as before it", "one map for all")
        if not known:
            self._wrong(path, "no distributed switch has private VLANs", "pvlans: {100: {101: isolated}}")
        return MappingProxyType({vlan: entry for found in self._pvlans.values() for vlan, entry in found.items()})

    def _physical_port(self, path: Path, spec: PnicSpec | CableSpec | MachineSpec) -> PhysicalPort:
        if spec.access is not None and (spec.trunk is not None or spec.native is not None):
            self._wrong((*path, "access"), "access and trunk exclude each other", "an access port has one VLAN", True)
        return PhysicalPort(spec.access, spec.trunk or ALL_VLANS, spec.native)

    def _pswitch(self, path: Path, name: str) -> None:
        self._known(path, name, self._declared("physical_switches"), "physical switch")

    def _cables(self) -> tuple[Cable, ...]:
        joined: dict[str, str] = {}
        cables: list[Cable] = []

        def root(name: str) -> str:
            while name in joined:
                name = joined[name]
            return name

        for index, spec in enumerate(self.spec.cables):
            path: Path = ("cables", index)
            for n, end in enumerate(spec.ends):
                self._pswitch((*path, "ends", n), end)
            a, b = spec.ends
            again = sum(1 for cable in cables if set(cable.ends) == {a, b})
            cables.append(Cable((a, b), self._physical_port(path, spec), again + 1))
            if a == b:
                self._wrong((*path, "ends"), f"both ends are in {a!r}")
            elif root(a) == root(b):
                if not all(s.stp for s in self.spec.physical_switches.values()):
                    self._wrong(path, f"closes a loop between {a!r} and {b!r}", "stp: true on every pSwitch")
            else:
                joined[root(a)] = root(b)
        return tuple(cables)

    # -- hosts and their switches

    def _host(self, name: str, spec: HostSpec) -> Host:
        path: Path = ("hosts", name)
        pnics = {pnic: self._pnic((*path, "uplinks", pnic), name, pnic, p) for pnic, p in spec.uplinks.items()}
        switches = {
            switch: self._standard((*path, "standard_switches", switch), name, switch, s)
            for switch, s in spec.standard_switches.items()
        }
        site = self._site(path, spec.site)
        return Host(name, site, MappingProxyType(pnics), MappingProxyType(switches))

    def _pnic(self, path: Path, host: str, name: str, spec: PnicSpec) -> Pnic:
        self._pswitch((*path, "switch"), spec.switch)
        mac = spec.mac or self._addresses.mac(addressing.PNIC)
        return Pnic(host, name, spec.switch, spec.speed, self._physical_port(path, spec), mac)

    def _raw_pnics(self, host: str) -> list[str]:
        raw = self.document.value.get("hosts", {}).get(host, {})
        uplinks = raw.get("uplinks") if isinstance(raw, dict) else None
        return list(uplinks) if isinstance(uplinks, dict) else []

    def _standard(self, path: Path, host: str, name: str, spec: StandardSwitchSpec) -> StandardSwitch:
        for n, pnic in enumerate(spec.uplinks):
            self._known((*path, "uplinks", n), pnic, self._raw_pnics(host), f"pNIC on {host}")
        if name in self.spec.distributed_switches and host in self.spec.distributed_switches[name].uplinks:
            self._wrong(path, f"{host} is on a distributed switch {name!r} too", "give one of them another name", True)
        base = self._security(default_security(self.spec.release, False), spec.security)
        team = self._teaming((*path, "teaming"), Teaming(active=tuple(spec.uplinks)), spec.teaming, list(spec.uplinks))
        groups = {
            group: self._group((*path, "port_groups", group), group, name, g, base, team, list(spec.uplinks), False)
            for group, g in spec.port_groups.items()
        }
        discovery = distributed.discovery(spec.discovery)
        return StandardSwitch(name, host, tuple(spec.uplinks), spec.mtu, MappingProxyType(groups), discovery)

    def _distributed(self, name: str, spec: DistributedSwitchSpec) -> DistributedSwitch:
        path: Path = ("distributed_switches", name)
        for host, uplinks in spec.uplinks.items():
            if self._known((*path, "uplinks", host), host, self._declared("hosts"), "host"):
                for n, pnic in enumerate(uplinks):
                    self._known((*path, "uplinks", host, n), pnic, self._raw_pnics(host), f"pNIC on {host}")
        names = [f"uplink{n + 1}" for n in range(max(map(len, spec.uplinks.values()), default=0))]
        base = self._security(default_security(self.spec.release, True), spec.security)
        team = self._teaming((*path, "teaming"), Teaming(active=tuple(names)), spec.teaming, names)
        groups = {
            group: self._group((*path, "port_groups", group), group, name, g, base, team, names, True)
            for group, g in spec.port_groups.items()
        }
        uplinks_of = {host: tuple(uplinks) for host, uplinks in spec.uplinks.items()}
        if spec.netflow and not since(self.spec.release, "5.0"):
            self._wrong((*path, "netflow"), f"NetFlow is not in release {self.spec.release}", "from 5.0 on", True)
        if spec.discovery.protocol == "lldp" and not since(self.spec.release, "5.0"):
            self._wrong((*path, "discovery", "protocol"), f"LLDP is not in release {self.spec.release}", "from 5.0 on")
        return DistributedSwitch(
            name=name,
            uplinks=MappingProxyType(uplinks_of),
            mtu=spec.mtu,
            port_groups=MappingProxyType(groups),
            pvlans=self._pvlans[name],
            netflow=distributed.netflow(spec.netflow) if spec.netflow else None,
            discovery=distributed.discovery(spec.discovery),
        )

    def _with_traffic_watched(self, switch: DistributedSwitch, nics: Mapping[str, Nic]) -> DistributedSwitch:
        """With its mirroring sessions, which name ports; and hosts that are to export flows must be able to."""
        spec = self.spec.distributed_switches[switch.name]
        able = {nic.host for nic in nics.values() if nic.is_vmk}
        for nic in nics.values():
            if nic.switch == switch.name and switch.port_groups[nic.port_group].netflow and nic.host not in able:
                path = ("distributed_switches", switch.name, "port_groups", nic.port_group, "netflow")
                self._wrong(path, f"{nic.host} has no vmkernel adapter to export from", f"hosts.{nic.host}.vmkernel")
        sessions = Mirrors(switch.name, spec, nics, self.spec.release, self._wrong).sessions()
        return replace(switch, mirrors=tuple(sessions))

    def _group(
        self, path: Path, name: str, switch: str, spec: PortGroupSpec, base: Security, team: Teaming,
        uplinks: list[str], distributed: bool,
    ) -> PortGroup:  # fmt: skip
        group = PortGroup(
            name=name,
            switch=switch,
            vlan=self._vlan((*path, "vlan"), spec.vlan or 0, distributed),
            security=self._security(base, spec.security),
            teaming=self._teaming((*path, "teaming"), team, spec.teaming, uplinks),
        )
        return self._distributed_group(path, group, spec) if isinstance(spec, DistributedPortGroupSpec) else group

    def _distributed_group(self, path: Path, group: PortGroup, spec: DistributedPortGroupSpec) -> PortGroup:
        """With what only a port group of a distributed switch has."""
        policy, pvlans = group.vlan, self._pvlans[group.switch]
        if spec.pvlan is not None and spec.vlan is not None:
            self._wrong((*path, "pvlan"), "vlan and pvlan exclude each other", "leave one of them out", True)
        elif spec.pvlan is not None and spec.pvlan not in pvlans:
            known = f"there is {', '.join(map(str, pvlans))}" if pvlans else f"{group.switch} has no pvlans:"
            self._wrong((*path, "pvlan"), f"no private VLAN {spec.pvlan} on {group.switch}", known)
        elif spec.pvlan is not None:
            policy = VlanPolicy(Tagging.PVLAN, spec.pvlan, pvlan=pvlans[spec.pvlan])
        if spec.mac_learning and not since(self.spec.release, "6.7"):
            self._wrong(
                (*path, "mac_learning"), f"MAC learning is not in release {self.spec.release}", "from 6.7 on", True
            )
        if spec.netflow and self.spec.distributed_switches[group.switch].netflow is None:
            self._wrong((*path, "netflow"), f"{group.switch} has no netflow:", "netflow: {collector: 10.0.5.9}", True)
        learning = distributed.mac_learning(spec.mac_learning) if spec.mac_learning else None
        return replace(group, vlan=policy, mac_learning=learning, netflow=spec.netflow)

    def _vlan(self, path: Path, vlan: Any, distributed: bool) -> VlanPolicy:
        if isinstance(vlan, tuple):
            if not distributed:
                self._wrong(path, "a standard switch has no VLAN ranges", "4095 for all VLANs, or a distributed switch")
            return VlanPolicy(Tagging.VGT, ranges=vlan)
        if vlan == 4095:
            if distributed:
                self._wrong(path, "a distributed switch has no VLAN 4095", "write a range, such as [0-4094]")
            return VlanPolicy(Tagging.VGT, ranges=((0, VLAN_MAX),))
        return VlanPolicy(Tagging.VST, vlan) if vlan else VlanPolicy(Tagging.EST)

    def _security(self, base: Security, spec: SecuritySpec) -> Security:
        def said(value: str | None, default: bool) -> bool:
            return default if value is None else value == "accept"

        return Security(
            said(spec.promiscuous, base.promiscuous),
            said(spec.mac_changes, base.mac_changes),
            said(spec.forged_transmits, base.forged_transmits),
        )

    def _teaming(self, path: Path, base: Teaming, spec: TeamingSpec, uplinks: list[str]) -> Teaming:
        listed = [("active", n, u) for n, u in enumerate(spec.active or ())]
        listed += [("standby", n, u) for n, u in enumerate(spec.standby or ())]
        seen: set[str] = set()
        for which, n, uplink in listed:
            if uplink in seen:
                self._wrong((*path, which, n), f"{uplink!r} is listed twice", "an uplink is active, standby or unused")
            elif uplinks:
                self._known((*path, which, n), uplink, uplinks, "uplink of this switch")
            else:
                self._wrong((*path, which, n), f"no uplink {uplink!r}", "this switch has none")
            seen.add(uplink)
        standby = base.standby if spec.standby is None else tuple(spec.standby)
        active = tuple(u for u in base.active if u not in standby) if spec.active is None else tuple(spec.active)
        if spec.standby is None:
            standby = tuple(u for u in standby if u not in active)
        failback = base.failback if spec.failback is None else spec.failback
        return Teaming(spec.policy or base.policy, active, standby, failback)

    def _uplinks_used_once(self) -> None:
        users: dict[tuple[str, str], str] = {}
        for host, spec in self.spec.hosts.items():
            for name, vss in spec.standard_switches.items():
                path: Path = ("hosts", host, "standard_switches", name, "uplinks")
                self._claim(users, host, name, vss.uplinks, path)
        for name, dvs in self.spec.distributed_switches.items():
            for host, uplinks in dvs.uplinks.items():
                self._claim(users, host, name, uplinks, ("distributed_switches", name, "uplinks", host))

    def _claim(self, users: dict[tuple[str, str], str], host: str, name: str, uplinks: list[str], path: Path) -> None:
        for n, pnic in enumerate(uplinks):
            other = users.get((host, pnic))
            if other is not None:
                what = "is listed twice" if other == name else f"of {host} is an uplink of {other!r} already"
                self._wrong((*path, n), f"{pnic} {what}", "a pNIC belongs to one switch")
            users[host, pnic] = name

    # -- who is connected where

    def _index_groups(self, hosts: Mapping[str, Host], distributed: Mapping[str, DistributedSwitch]) -> None:
        for host in hosts.values():
            here = self._groups.setdefault(host.name, {})
            parts: list[StandardSwitch | DistributedSwitch] = [*host.standard_switches.values()]
            parts += [dvs for dvs in distributed.values() if host.name in dvs.uplinks]
            for part in parts:
                for group in part.port_groups.values():
                    here.setdefault(group.name, []).append(group)
                    here.setdefault(group.label, []).append(group)

    def _find_group(self, path: Path, host: str, name: str) -> PortGroup | None:
        here = self._groups.get(host)
        if here is None:
            return None
        found = here.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            choices = " or ".join(repr(group.label) for group in found)
            self._wrong(path, f"{name!r} is the name of {len(found)} port groups on {host}", f"write {choices}")
        elif not self._pruned_group(name):
            elsewhere = [other for other, groups in self._groups.items() if name in groups]
            elsewhere += [n for n, dvs in self.spec.distributed_switches.items() if name in dvs.port_groups]
            names = [label for label in here if "/" not in label]
            hint = f"it is on {elsewhere[0]}" if elsewhere else suggestion(name, names)
            self._wrong(path, f"no port group {name!r} on {host}", hint)
        return None

    def _pruned_group(self, name: str) -> bool:
        """The file has a port group of this name whose own entry is wrong: told already."""
        return (
            any(keys[-2:] == ("port_groups", name) for keys in self.document.key_places)
            and not any(name in groups for groups in self._groups.values())
            and not any(name in dvs.port_groups for dvs in self.spec.distributed_switches.values())
        )

    def _vmk(self, host: str, name: str, spec: VmkSpec) -> Nic | None:
        group = self._find_group(("hosts", host, "vmkernel", name, "port_group"), host, spec.port_group)
        if group is None:
            return None
        mac = spec.mac or self._addresses.mac(addressing.VMKNIC)
        address = spec.ip or self._addresses.ip(group.vlan)
        return Nic(host, name, host, group.switch, group.name, mac, address, services=tuple(spec.services))

    def _vm(self, name: str, spec: VmSpec) -> Vm | None:
        path: Path = ("vms", name)
        if not self._known((*path, "host"), spec.host, self._declared("hosts"), "host"):
            return None
        nics = [self._vnic((*path, "networks", n), name, n, spec, network) for n, network in enumerate(spec.networks)]
        return Vm(name, spec.host, tuple(nic for nic in nics if nic))

    def _vnic(self, path: Path, vm: str, number: int, spec: VmSpec, network: NetworkSpec) -> Nic | None:
        group = self._find_group((*path, "port_group"), spec.host, network.port_group)
        if number == 0 and spec.ip and network.ip:
            self._wrong((*path, "ip"), "the VM has an ip: of its own, which is this vNIC's", "leave one of them out")
        if group is None:
            return None
        distributed = group.switch not in self.spec.hosts[spec.host].standard_switches
        for key in ("blocked", "security"):
            if not distributed and getattr(network, key):
                self._wrong(
                    (*path, key), f"a standard switch has no {key!r} for a single port", "use a distributed switch"
                )
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
            security=self._security(group.security, network.security) if network.security else None,
        )

    def _machine(self, name: str, spec: MachineSpec) -> Machine | None:
        path: Path = ("machines", name)
        self._pswitch((*path, "switch"), spec.switch)
        port = self._physical_port(path, spec)
        if not {"access", "trunk"} & set(self.document.value["machines"][name]):
            self._wrong(path, "says neither access nor trunk", "access: 10", key=True)
        mac = spec.mac or self._addresses.mac(addressing.MACHINE)
        policy = VlanPolicy(Tagging.VST, spec.access) if spec.access else VlanPolicy(Tagging.VGT)
        return Machine(name, spec.switch, port, mac, spec.ip or self._addresses.ip(policy), spec.routes)

    # -- addresses

    def _given(self) -> tuple[set[str], set[str]]:
        macs: dict[str, Path] = {}
        ips: dict[str, Path] = {}
        for path, mac, ip in self._written():
            for known, value, key in ((macs, mac, "mac"), (ips, ip.split("/")[0] if ip else None, "ip")):
                if value is None:
                    continue
                if value in known:
                    what = "MAC" if key == "mac" else "address"
                    self._wrong((*path, key), f"{what} {value} is given twice", f"first at {path_text(known[value])}")
                known.setdefault(value, (*path, key))
        return set(macs), set(ips)

    def _written(self) -> Iterable[tuple[Path, str | None, str | None]]:
        for host, spec in self.spec.hosts.items():
            for pnic, p in spec.uplinks.items():
                yield ("hosts", host, "uplinks", pnic), p.mac, None
            for vmk, k in spec.vmkernel.items():
                yield ("hosts", host, "vmkernel", vmk), k.mac, k.ip
        for vm, v in self.spec.vms.items():
            yield ("vms", vm), None, v.ip
            for n, network in enumerate(v.networks):
                yield ("vms", vm, "networks", n), network.mac, network.ip
        for machine, m in self.spec.machines.items():
            yield ("machines", machine), m.mac, m.ip

    # -- expectations

    def _expectations(self) -> Iterable[Expectation]:
        for index, spec in enumerate(self.spec.expect):
            path: Path = ("expect", index)
            line, _ = self.document.place(path)
            raw = self.document.value["expect"][index]
            if ("isolate" in raw) == ("reach" in raw):
                self._wrong(path, "needs either isolate or reach", "{isolate: [web, db]} or {reach: [web1, web2]}")
                continue
            if spec.isolate is None and spec.reach is None:
                continue  # told already
            kind, names = ("isolate", spec.isolate) if spec.isolate is not None else ("reach", spec.reach)
            for n, name in enumerate(names or ()):
                self._expected((*path, kind, n), kind, name)
                if name in (names or ())[:n]:
                    self._wrong((*path, kind, n), f"{name!r} is listed twice")
            yield Expectation(kind, tuple(names or ()), line)

    def _expected(self, path: Path, kind: str, name: str) -> None:
        if kind == "isolate":
            known = {label for groups in self._groups.values() for label in groups}
            if name not in known and not self._pruned_group(name):
                self._wrong(path, f"no port group {name!r}", suggestion(name, sorted(k for k in known if "/" not in k)))
            return
        keys = self.document.key_places
        vmks = [f"{k[1]}.{k[3]}" for k in keys if len(k) == 4 and (k[0], k[2]) == ("hosts", "vmkernel")]
        vnics = [f"{vm}.eth{n}" for vm, spec in self.spec.vms.items() for n in range(len(spec.networks))]
        places = [*self._declared("vms"), *self._declared("machines"), *vmks]
        if name not in vnics:
            self._known(path, name, places, "VM, machine or vmknic")
