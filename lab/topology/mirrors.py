"""Port mirroring sessions of a distributed switch: spec -> model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.model import Mirror, MirrorKind, Nic
from lab.topology import distributed
from lab.topology.guests import Adapters
from lab.topology.nodes import Path
from lab.topology.reading import Reading
from lab.topology.schema import MirrorSpec

_SOURCES_OF = {MirrorKind.REMOTE_DESTINATION: ("vlans",)}
_TARGETS_OF = {
    MirrorKind.DV_PORT: ("ports",),
    MirrorKind.REMOTE_SOURCE: ("uplinks",),
    MirrorKind.REMOTE_DESTINATION: ("ports",),
    MirrorKind.ENCAPSULATED: ("addresses",),
    MirrorKind.MIXED: ("ports", "uplinks"),
}
_SUCH_AS = {
    "transmitted": "[web1]",
    "received": "[web1]",
    "vlans": "[999]",
    "ports": "[web1]",
    "uplinks": "[uplink1]",
    "addresses": "[10.0.5.9]",
}


def sessions(reading: Reading, switch: str, adapters: Adapters) -> Iterator[Mirror]:
    here = adapters.on_distributed(switch)
    for name, spec in reading.spec.distributed_switches[switch].mirrors.items():
        session = _Session(reading, switch, name, spec)
        session.check()
        yield session.resolved(_Ports(here, adapters.is_told))


@dataclass(frozen=True)
class _Ports:
    """Ports of the switch by label; and whether a name is one that has no port for a reason that has been told."""

    here: Mapping[str, Nic]
    is_told: Callable[[str], bool]


class _Session:
    def __init__(self, reading: Reading, switch: str, name: str, spec: MirrorSpec) -> None:
        self.reading = reading
        self.switch = switch
        self.name = name
        self.spec = spec
        self.kind = MirrorKind(spec.type)
        self.path: Path = ("distributed_switches", switch, "mirrors", name)
        self.called = f"{'an' if self.kind is MirrorKind.ENCAPSULATED else 'a'} {self.kind} session"

    def resolved(self, ports: _Ports) -> Mirror:
        spec = self.spec
        sent = self._labels(ports, ("from", "transmitted"), spec.sources.transmitted)
        received = self._labels(ports, ("from", "received"), spec.sources.received)
        to_ports = self._labels(ports, ("to", "ports"), spec.to.ports)
        for n, label in enumerate(to_ports):
            if label in (*sent, *received):
                self._wrong(("to", "ports", n), f"{label} is mirrored to itself", "another destination")
        if self.kind is MirrorKind.ENCAPSULATED:
            self._check_senders({ports.here[label].host: None for label in (*sent, *received)})
        return Mirror(
            name=self.name,
            switch=self.switch,
            kind=self.kind,
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

    def check(self) -> None:
        """All that needs no port: the release has it, and every key is one of this type of session."""
        if self._in_release():
            self._check_encapsulation()
        self._check_ends("from", self.spec.sources, _SOURCES_OF.get(self.kind, ("transmitted", "received")))
        self._check_ends("to", self.spec.to, _TARGETS_OF[self.kind])
        self._check_uplinks()
        self._check_vlan()

    def _wrong(self, below: Path, what: str, hint: str = "", key: bool = False) -> None:
        self.reading.wrong((*self.path, *below), what, hint, key)

    def _in_release(self) -> bool:
        first = "5.0" if self.kind is MirrorKind.MIXED else "5.1"
        if not self.reading.lacks(first):
            return True
        release = self.reading.spec.release
        older = release == "5.0" and self.kind in (MirrorKind.DV_PORT, MirrorKind.REMOTE_SOURCE)
        hint = f"from {first} on" + ("; 5.0 has mixedDestMirror" if older else "")
        self._wrong(("type",), f"{self.kind} is not in release {release}", hint)
        return False

    def _check_encapsulation(self) -> None:
        given = [key for key in ("encapsulation", "id", "cos") if key in self.spec.model_fields_set]
        if self.kind is not MirrorKind.ENCAPSULATED:
            for key in given:
                self._wrong((key,), f"{self.called} is not encapsulated", "", key=True)
        elif self.spec.encapsulation == "gre":
            for key in given:
                if key != "encapsulation" and not self.reading.pruned((*self.path, "encapsulation")):
                    self._wrong((key,), f"gre carries no {key}", "encapsulation: erspan2 or erspan3", key=True)
        elif self.reading.lacks("6.5"):
            what = f"release {self.reading.spec.release} has gre only"
            self._wrong(("encapsulation",), what, "erspan from 6.5 on")

    def _check_ends(self, section: str, given: Any, fitting: tuple[str, ...]) -> None:
        said = [key for key in type(given).model_fields if getattr(given, key)]
        for key in said:
            if key not in fitting:
                hint = f"{section}: {{{fitting[0]}: [...]}}"
                self._wrong((section, key), f"{self.called} has no {key} here", hint, key=True)
        if not said and self.reading.whole((*self.path, section)):
            missing = f"neither {' nor '.join(fitting)}" if len(fitting) > 1 else f"no {fitting[0]}"
            hint = f"{section}: {{{fitting[0]}: {_SUCH_AS[fitting[0]]}}}"
            self._wrong((section,), f"says {missing}", hint, key=True)

    def _check_uplinks(self) -> None:
        known = distributed.known_uplinks(self.reading, self.switch)
        for n, uplink in enumerate(self.spec.to.uplinks):
            self.reading.known((*self.path, "to", "uplinks", n), uplink, known, "uplink")

    def _check_vlan(self) -> None:
        with_vlan = (MirrorKind.REMOTE_SOURCE, MirrorKind.MIXED)
        if self.kind is MirrorKind.REMOTE_SOURCE and not self.reading.document.has((*self.path, "vlan")):
            self._wrong((), "'vlan' is missing", "the VLAN that carries the copies, such as 999", key=True)
        if self.spec.vlan is not None and self.kind not in with_vlan:
            own = self.kind is MirrorKind.REMOTE_DESTINATION
            hint = "from: {vlans: [...]}" if own else " and ".join(f"{kind}" for kind in with_vlan) + " have one"
            self._wrong(("vlan",), f"{self.called} has no encapsulation VLAN", hint, key=True)

    def _labels(self, ports: _Ports, below: Path, names: list[str]) -> tuple[str, ...]:
        """`web1`: its first vNIC; `web1.eth1`; `esx1.vmk0`."""
        labels: dict[str, None] = {}
        for n, name in enumerate(names):
            label = name if name in ports.here else f"{name}.eth0"
            if label in ports.here:
                labels[label] = None
            elif not ports.is_told(name):
                known = [known.removesuffix(".eth0") for known in ports.here]
                self._wrong((*below, n), f"no port of {name!r} on {self.switch}", self.reading.nearest(name, known))
        return tuple(labels)

    def _check_senders(self, hosts: dict[str, None]) -> None:
        for host in hosts:
            if not self.reading.may_have_vmkernel(host):
                self._wrong((), f"{host} has no vmkernel adapter to send copies from", f"hosts.{host}.vmkernel", True)
