"""What only a distributed switch has: private VLANs, mirroring sessions, NetFlow. Spec -> model, mistakes told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from lab.model import Discovery, MacLearning, Mirror, MirrorKind, Netflow, Nic, Pvlan, PvlanKind, PvlanMap
from lab.topology.nodes import Path
from lab.topology.schema import (
    RELEASES,
    DiscoverySpec,
    DistributedSwitchSpec,
    MacLearningSpec,
    MirrorSpec,
    NetflowSpec,
    StandardDiscoverySpec,
)
from lab.topology.words import suggestion

Wrong = Callable[..., None]
"""(path, what, hint, key): puts a mistake down."""

_SOURCES_OF = {MirrorKind.REMOTE_DESTINATION: ("vlans",)}
_TARGETS_OF = {
    MirrorKind.DV_PORT: ("ports",),
    MirrorKind.REMOTE_SOURCE: ("uplinks",),
    MirrorKind.REMOTE_DESTINATION: ("ports",),
    MirrorKind.ENCAPSULATED: ("addresses",),
    MirrorKind.MIXED: ("ports", "uplinks"),
}


def since(release: str, first: str) -> bool:
    """True when `release` is `first` or later."""
    return RELEASES.index(release) >= RELEASES.index(first)


def discovery(spec: StandardDiscoverySpec | DiscoverySpec) -> Discovery:
    return Discovery(spec.protocol, spec.operation in ("listen", "both"), spec.operation in ("advertise", "both"))


def mac_learning(spec: MacLearningSpec) -> MacLearning:
    return MacLearning(spec.limit, spec.over_limit == "allow", spec.unicast_flooding, spec.age)


def netflow(spec: NetflowSpec) -> Netflow:
    return Netflow(
        spec.collector,
        spec.port,
        spec.active_timeout,
        spec.idle_timeout,
        spec.sampling,
        spec.internal_flows_only,
        spec.domain,
    )


def pvlan_map(path: Path, spec: DistributedSwitchSpec, wrong: Wrong) -> PvlanMap:
    """A primary stands for its own promiscuous entry, written or not."""
    found: dict[int, Pvlan] = {primary: Pvlan(primary, primary, PvlanKind.PROMISCUOUS) for primary in spec.pvlans}
    for primary, secondaries in spec.pvlans.items():
        isolated = None
        for secondary, word in secondaries.items():
            at, kind = (*path, "pvlans", str(primary), str(secondary)), PvlanKind(word)
            if (secondary == primary) != (kind is PvlanKind.PROMISCUOUS):
                wrong(at, f"{secondary} is {word}", "the primary VLAN itself, and no other, is promiscuous")
            elif secondary != primary and secondary in found:
                wrong(at, f"VLAN {secondary} is in the map already", "a VLAN has one place in the map", True)
            elif kind is PvlanKind.ISOLATED and isolated is not None:
                wrong(at, f"{primary} has an isolated VLAN already: {isolated}", "one for each primary VLAN")
            else:
                isolated = secondary if kind is PvlanKind.ISOLATED else isolated
                found[secondary] = Pvlan(primary, secondary, kind)
    return MappingProxyType(found)


class Mirrors:
    """Resolves the sessions of one distributed switch; `nics` are all vNICs and vmknics of the lab."""

    def __init__(
        self, name: str, spec: DistributedSwitchSpec, nics: Mapping[str, Nic], release: str, wrong: Wrong
    ) -> None:
        self.name = name
        self.spec = spec
        self.release = release
        self.wrong = wrong
        self.nics = {label: nic for label, nic in nics.items() if nic.switch == name}
        self.vmkernels = {nic.host for nic in nics.values() if nic.is_vmk}
        self.uplinks = [f"uplink{n + 1}" for n in range(max(map(len, spec.uplinks.values()), default=0))]

    def sessions(self) -> Iterator[Mirror]:
        for name, spec in self.spec.mirrors.items():
            path: Path = ("distributed_switches", self.name, "mirrors", name)
            kind = MirrorKind(spec.type)
            self._fits(path, kind, spec)
            sent = self._ports((*path, "from", "transmitted"), spec.sources.transmitted)
            received = self._ports((*path, "from", "received"), spec.sources.received)
            to_ports = self._ports((*path, "to", "ports"), spec.to.ports)
            for n, label in enumerate(to_ports):
                if label in (*sent, *received):
                    self.wrong((*path, "to", "ports", n), f"{label} is mirrored to itself", "another destination")
            for n, uplink in enumerate(spec.to.uplinks):
                if uplink not in self.uplinks:
                    at = (*path, "to", "uplinks", n)
                    self.wrong(at, f"no uplink {uplink!r}", suggestion(uplink, self.uplinks))
            if kind is MirrorKind.ENCAPSULATED:
                self._can_send(path, (*sent, *received))
            yield Mirror(
                name=name,
                switch=self.name,
                kind=kind,
                transmitted=sent,
                received=received,
                source_vlans=tuple(dict.fromkeys(spec.sources.vlans)),
                to_ports=to_ports,
                to_uplinks=tuple(dict.fromkeys(spec.to.uplinks)),
                to_addresses=tuple(dict.fromkeys(spec.to.addresses)),
                vlan=spec.vlan,
                strip=spec.strip_vlan,
                length=spec.length,
                sampling=spec.sampling,
                normal_traffic=spec.normal_traffic,
                encapsulation=spec.encapsulation,
                session_id=spec.id,
                cos=spec.cos,
            )

    def _fits(self, path: Path, kind: MirrorKind, spec: MirrorSpec) -> None:
        """Sources and destinations are those of this type, and the release has it."""
        if not since(self.release, "5.0" if kind is MirrorKind.MIXED else "5.1"):
            self.wrong((*path, "type"), f"{kind} is not in release {self.release}", "mixedDestMirror from 5.0 on")
        sources, targets = _SOURCES_OF.get(kind, ("transmitted", "received")), _TARGETS_OF[kind]
        for section, given, fitting in (("from", spec.sources, sources), ("to", spec.to, targets)):
            said = [key for key in type(given).model_fields if getattr(given, key)]
            for key in said:
                if key not in fitting:
                    hint = f"{section}: {{{fitting[0]}: [...]}}"
                    self.wrong((*path, section, key), f"a {kind} session has no {key} here", hint, True)
            if not set(said) & set(fitting):
                self.wrong((*path, section), f"names no {' and no '.join(fitting)}", "", True)
        if kind is MirrorKind.REMOTE_SOURCE and spec.vlan is None:
            self.wrong(path, "'vlan' is missing", "the VLAN that carries the copies, such as 999", True)
        if spec.vlan is not None and kind not in (MirrorKind.REMOTE_SOURCE, MirrorKind.MIXED):
            self.wrong((*path, "vlan"), f"a {kind} session has no encapsulation VLAN", "", True)
        if spec.encapsulation != "gre":
            if kind is not MirrorKind.ENCAPSULATED:
                self.wrong((*path, "encapsulation"), f"a {kind} session is not encapsulated", "", True)
            elif not since(self.release, "6.5"):
                self.wrong((*path, "encapsulation"), f"release {self.release} has gre only", "erspan from 6.5 on")

    def _ports(self, path: Path, names: list[str]) -> tuple[str, ...]:
        """`web1`: its first vNIC; `web1.eth1`; `esx1.vmk0`."""
        labels: dict[str, None] = {}
        for n, name in enumerate(names):
            label = name if name in self.nics else f"{name}.eth0"
            if label in self.nics:
                labels[label] = None
            else:
                known = [known.removesuffix(".eth0") for known in self.nics]
                self.wrong((*path, n), f"no port of {name!r} on {self.name}", suggestion(name, known))
        return tuple(labels)

    def _can_send(self, path: Path, labels: tuple[str, ...]) -> None:
        for host in dict.fromkeys(self.nics[label].host for label in labels):
            if host not in self.vmkernels:
                self.wrong(path, f"{host} has no vmkernel adapter to send copies from", f"hosts.{host}.vmkernel", True)
