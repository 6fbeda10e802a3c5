"""Changes to the policies of a topology that is in use: `port-group web security.promiscuous=accept`.

An edit puts a value at a path of the file's parsed document (or takes it away), and the whole is read again by the same
grammar and the same resolver. MACs and addresses stay those that the lab was started with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from lab.errors import TopologyError, UsageError
from lab.model import Machine, Nic, Topology
from lab.topology import document_of, topology_of
from lab.topology.migration import port_numbers
from lab.topology.nodes import Document, Path, YamlMistake, read_document
from lab.topology.words import suggestion

Edit = tuple[Path, Any]
"""(where in the document, the value); None takes away what is there."""
AGAIN = "start the lab again with the file changed (vlab down, vlab up)"
_ELSEWHERE = {"port_groups": "vlab set port-group NAME", "networks": "vlab set vnic VM.ethN"}


@dataclass(frozen=True)
class Edition:
    """A topology with the document that it was read from, edits included."""

    document: Document
    topology: Topology

    def with_edits(self, edits: Iterable[Edit]) -> Edition:
        """All of them as one change. Raises UsageError with every mistake that they make."""
        value = self.document.value
        for path, new in edits:
            value = _assigned(value, path, new, path)
        document = replace(self.document, value=value)
        try:
            topology = topology_of(document, self.topology.source)
        except TopologyError as error:
            told = (f"{m.path}: {m.what}" + (f" ({m.hint})" if m.hint else "") for m in error.mistakes)
            raise UsageError("\n".join(told)) from None
        return Edition(document, _with_addresses_of(self.topology, topology))


def first_edition(text: str, source: str) -> Edition:
    """Raises TopologyError with every mistake of the file."""
    document = document_of(text, source)
    return Edition(document, topology_of(document, source))


def edits_of(edition: Edition, what: str, settings: Mapping[str, Any]) -> list[Edit]:
    """`what` is `port-group web`, `switch dvs0`, `vnic web1.eth0`, `knobs`, ...; `settings` are dotted keys below it.

    Raises UsageError for what is not there and for keys that cannot change while a lab runs.
    """
    kind, _, name = what.strip().partition(" ")
    if kind not in _KINDS:
        raise UsageError(f"no kind of thing {kind!r}{_hint(kind, list(_KINDS))}")
    if not settings:
        raise UsageError(f"say what to change: {what} KEY=VALUE")
    find, fixed = _KINDS[kind]
    places = find(edition, kind, name.strip())
    for key in settings:
        parts = key.split(".")
        if not all(parts):
            raise UsageError(f"{key!r} is no key, such as vlan or security.promiscuous")
        if parts[0] in fixed:
            raise UsageError(f"{what}: {parts[0]} does not change here; {_ELSEWHERE.get(parts[0], AGAIN)}")
    return [((*place, *key.split(".")), value) for place in places for key, value in settings.items()]


def settings_of(words: Sequence[str]) -> dict[str, Any]:
    """`vlan=10`, `teaming.active=[uplink2]`, `security=` -> keys and values, read as YAML. Raises UsageError."""
    settings: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is no KEY=VALUE")
        if key in settings:
            raise UsageError(f"{key} is set twice")
        settings[key] = _value(key, text)
    return settings


def _value(key: str, text: str) -> Any:
    try:
        document = read_document(text)
    except YamlMistake as error:
        raise UsageError(f"{key}: {error.mistake.what}") from None
    for mistake in document.mistakes:
        raise UsageError(f"{key}: {mistake.what}" + (f" ({mistake.hint})" if mistake.hint else ""))
    return document.value


def _assigned(value: Any, path: Path, new: Any, whole: Path) -> Any:
    """A copy with `new` at `path`; what is not on the way is shared with the original."""
    if not path:
        return new
    key, rest = path[0], path[1:]
    if isinstance(value, list) and isinstance(key, int):
        return [_assigned(item, rest, new, whole) if n == key else item for n, item in enumerate(value)]
    if isinstance(value, str) and isinstance(whole[-len(path) - 1], int):
        value = {"port_group": value}  # a vNIC may be written as the name of its port group alone
    if not isinstance(value, dict):
        above = ".".join(str(part) for part in whole[: len(whole) - len(path)])
        raise UsageError(f"{above} is no mapping: nothing can be set below it")
    if new is None and key not in value:
        return value
    if new is None and not rest:
        return {name: item for name, item in value.items() if name != key}
    return {**value, key: _assigned(value.get(key, {}), rest, new, whole)}


def _with_addresses_of(before: Topology, after: Topology) -> Topology:
    """Addresses that were not given follow from VLANs, and running guests keep theirs."""
    nics = {nic.label: nic for nic in (*before.vmknics, *before.vnics)}

    def kept(nic: Nic) -> Nic:
        old = nics[nic.label]
        same = (nic.mac, nic.address) == (old.mac, old.address)
        return nic if same else replace(nic, mac=old.mac, address=old.address)

    def kept_machine(machine: Machine) -> Machine:
        old = before.machines[machine.name]
        return replace(machine, mac=old.mac, address=old.address)

    vms = {name: replace(vm, nics=tuple(map(kept, vm.nics))) for name, vm in after.vms.items()}
    return replace(
        after,
        numbers=port_numbers(before, after),
        vms=MappingProxyType(vms),
        vmknics=tuple(map(kept, after.vmknics)),
        machines=MappingProxyType({name: kept_machine(machine) for name, machine in after.machines.items()}),
    )


# -- what can be named


def _hint(name: str, known: Sequence[str]) -> str:
    found = suggestion(name, list(known))
    return f" ({found})" if found else ""


def _one(kind: str, name: str, named: Iterable[tuple[Path, Sequence[str]]]) -> list[Path]:
    """The one place that bears this name; `named` gives each place with its names, the fullest last."""
    places = list(named)
    found = [(path, names) for path, names in places if name in names]
    if len(found) == 1:
        return [found[0][0]]
    if found:
        choices = ", ".join(names[-1] for _, names in found[:6]) + (", ..." if len(found) > 6 else "")
        raise UsageError(f"{name!r} is the name of more than one {kind}: {choices}")
    known = list(dict.fromkeys(names[0] for _, names in places))
    what = f"no {kind} {name!r}" if name else f"say which {kind}"
    raise UsageError(f"{what}{_hint(name, known)}")


def _port_groups(edition: Edition, kind: str, name: str) -> list[Path]:
    return _one(kind, name.replace(":", "/"), _labelled_groups(edition.topology))


def _labelled_groups(topology: Topology) -> Iterator[tuple[Path, Sequence[str]]]:
    for dvs in topology.distributed_switches.values():
        for group in dvs.port_groups:
            yield ("distributed_switches", dvs.name, "port_groups", group), (group, f"{dvs.name}/{group}")
    for host in topology.hosts.values():
        for vss in host.standard_switches.values():
            for group in vss.port_groups:
                path = ("hosts", host.name, "standard_switches", vss.name, "port_groups", group)
                yield path, (group, f"{vss.name}/{group}", f"{host.name}/{vss.name}/{group}")


def _switches(edition: Edition, kind: str, name: str) -> list[Path]:
    return _one(kind, name.replace("/", ":"), _labelled_switches(edition.topology))


def _labelled_switches(topology: Topology) -> Iterator[tuple[Path, Sequence[str]]]:
    for dvs in topology.distributed_switches:
        yield ("distributed_switches", dvs), (dvs,)
    for host in topology.hosts.values():
        for vss in host.standard_switches:
            yield ("hosts", host.name, "standard_switches", vss), (vss, f"{host.name}:{vss}")


def _vnics(edition: Edition, kind: str, name: str) -> list[Path]:
    def named() -> Iterator[tuple[Path, Sequence[str]]]:
        for vm in edition.topology.vms.values():
            for n, nic in enumerate(vm.nics):
                yield ("vms", vm.name, "networks", n), (nic.label, *([vm.name] if n == 0 else []))

    return _one(kind, name, named())


def _vms(edition: Edition, kind: str, name: str) -> list[Path]:
    """All vNICs of the VM."""
    _one(kind, name, ((("vms", vm), (vm,)) for vm in edition.topology.vms))
    return [("vms", name, "networks", n) for n, _ in enumerate(edition.topology.vms[name].nics)]


def _pnics(edition: Edition, kind: str, name: str) -> list[Path]:
    hosts = edition.topology.hosts.values()
    ends = ((("hosts", h.name, "uplinks", pnic), (f"{h.name}:{pnic}",)) for h in hosts for pnic in h.pnics)
    return _one(kind, name.replace("/", ":"), ends)


def _in_section(section: str, names: Callable[[Topology], Iterable[str]]) -> _Find:
    def find(edition: Edition, kind: str, name: str) -> list[Path]:
        return _one(kind, name, (((section, known), (known,)) for known in names(edition.topology)))

    return find


def _modules(edition: Edition, kind: str, name: str) -> list[Path]:
    found = {s.name: s.module.chassis for s in edition.topology.physical_switches.values() if s.module}
    return _one(kind, name, ((("chassis", at, "modules", known), (known,)) for known, at in found.items()))


def _pswitches(topology: Topology) -> Iterator[str]:
    return (switch.name for switch in topology.physical_switches.values() if switch.module is None)


def _knobs(_edition: Edition, _kind: str, name: str) -> list[Path]:
    if name:
        raise UsageError(f"knobs have no name: vlab set knobs {name}=...")
    return [("knobs",)]


_Find = Callable[[Edition, str, str], list[Path]]
_KINDS: Mapping[str, tuple[_Find, frozenset[str]]] = {
    "port-group": (_port_groups, frozenset()),
    "switch": (_switches, frozenset(("uplinks", "mtu", "port_groups"))),
    "vnic": (_vnics, frozenset(("mac", "ip"))),
    "vm": (_vms, frozenset(("host", "networks", "mac", "ip"))),
    "physical-switch": (_in_section("physical_switches", _pswitches), frozenset(("site",))),
    "module": (_modules, frozenset(("uplinks",))),
    "pnic": (_pnics, frozenset(("switch", "speed", "mac", "pvnic", "max"))),
    "machine": (
        _in_section("machines", lambda t: t.machines),
        frozenset(("switch", "ip", "mac", "routes", "more_ips", "gateway")),
    ),
    "knobs": (_knobs, frozenset()),
}
"""What can be named, how it is found, and which of its keys need other boxes, cables or addresses."""
