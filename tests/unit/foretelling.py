"""What the tests of the prediction ask of it, in few words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

from lab.frame import BROADCAST, DropReason, Frame, Hop, Point, Tag
from lab.model import PortKey, Topology
from lab.predict import Prediction, predict
from lab.predict.prediction import RECEIVED
from lab.state import State
from lab.teaming import initial_state, with_links_down
from lab.topology import read_topology

UNKNOWN, NEW, FORGED = "00:50:56:3f:00:01", "00:50:56:3f:00:02", "00:50:56:3f:00:03"
NESTED, NESTED_2, NESTED_3 = "00:50:56:3e:00:01", "00:50:56:3e:00:02", "00:50:56:3e:00:03"
GROUP = "01:00:5e:01:01:01"

Copy = tuple[str, tuple[int, ...]]
End = tuple[str, str, DropReason]


@dataclass(frozen=True)
class Foretold:
    """A topology and a state to ask. `web1` stands for its first vNIC, also as a receiver."""

    topology: Topology
    state: State

    @classmethod
    def of(cls, text: str) -> Foretold:
        """Cold: nobody has sent yet."""
        topology = read_topology(text, "test.yaml")
        return cls(topology, initial_state(topology))

    def taught(self, *names: str) -> Foretold:
        """After a broadcast of each of these."""
        lab = self
        for name in names:
            lab = lab.after(name, BROADCAST)
        return lab

    def after(self, sender: str, to: str, *tags: int | Tag, src: str | None = None) -> Foretold:
        return replace(self, state=self.ask(sender, to, *tags, src=src).state_after(self.state))

    def ask(self, sender: str, to: str, *tags: int | Tag, src: str | None = None) -> Prediction:
        vlans = tuple(tag if isinstance(tag, Tag) else Tag(tag) for tag in tags)
        frame = Frame(src or self.mac(sender), self.mac(to), vlans)
        return predict(self.topology, self.state, self.label(sender), frame)

    def label(self, name: str) -> str:
        return name if name in self.topology.machines or "." in name else f"{name}.eth0"

    def mac(self, name: str) -> str:
        if ":" in name:
            return name
        if name in self.topology.machines:
            return self.topology.machines[name].mac
        nics = (*self.topology.vnics, *self.topology.vmknics)
        return next(nic.mac for nic in nics if nic.label == self.label(name))

    def port(self, name: str) -> PortKey:
        """Where it is in a State."""
        nics = (*self.topology.vnics, *self.topology.vmknics)
        return next((nic.host, nic.port) for nic in nics if nic.label == self.label(name))

    def uplink(self, name: str) -> str | None:
        return self.state.uplink_of[self.port(name)]

    # -- what changes

    def listening(self, *names: str) -> Foretold:
        """Their adapters are promiscuous."""
        return self.given(promiscuous=frozenset(map(self.port, names)))

    def renamed(self, name: str, mac: str) -> Foretold:
        """Its guest has set this MAC."""
        return self.given(macs=MappingProxyType({**self.state.macs, self.port(name): mac}))

    def asked_for(self, **groups: str) -> Foretold:
        wanted = {self.port(name): frozenset({group}) for name, group in groups.items()}
        return self.given(groups=MappingProxyType(wanted))

    def dark(self, *ports: PortKey) -> Foretold:
        return replace(self, state=with_links_down(self.topology, self.state, ports))

    def given(self, **fields: object) -> Foretold:
        return replace(self, state=replace(self.state, **fields))  # type: ignore[arg-type]

    def knobs(self, **knobs: object) -> Foretold:
        changed = replace(self.topology.knobs, **knobs)  # type: ignore[arg-type]
        return replace(self, topology=replace(self.topology, knobs=changed))


def vids(hop: Hop) -> tuple[int, ...]:
    return tuple(tag.vid for tag in hop.vlans)


def short(name: str) -> str:
    return name.removesuffix(".eth0")


def _who(hop: Hop) -> str:
    return f"{hop.box}.{hop.interface}" if hop.point is Point.VMK_RX else hop.node


def copies(said: Prediction, certain: bool | None = None) -> list[Copy]:
    """Who gets a copy and with which tags, sorted, a duplicate twice; mirror ports too."""
    return sorted(
        (_who(hop), vids(hop)) for hop in said.hops if hop.point in RECEIVED and certain in (None, hop.certain)
    )


def local(said: Prediction) -> list[Copy]:
    """Copies for ports of the switch that the sender is on, of what it sent itself; not of what came back."""
    inputs = [index for index, hop in enumerate(said.hops) if hop.point is Point.PORT_INPUT]
    return sorted(
        (hop.node, vids(hop))
        for hop in said.hops
        if hop.parent in inputs and hop.point in (Point.VNIC_OUT, Point.VMK_OUT)
    )


def heard(said: Prediction, name: str) -> list[tuple[int, ...]]:
    """The tags of each copy that this one gets."""
    return [tags for who, tags in copies(said) if who == name]


def ends(said: Prediction, *boxes: str) -> set[End]:
    """Where copies ended and why; on these boxes only, if any are named."""
    return {(h.box, short(h.interface), h.reason) for h in said.drops if h.reason and (not boxes or h.box in boxes)}


def reason(said: Prediction, box: str, interface: str) -> DropReason | None:
    return next((r for b, i, r in ends(said, box) if i == interface), None)


def leaving(said: Prediction, host: str) -> list[Copy]:
    """On which uplinks it leaves a host, and with which tags."""
    return sorted((h.interface, vids(h)) for h in said.hops if h.point is Point.UPLINK_SND and h.box == host)


def pswitch_ports(said: Prediction, switch: str) -> list[str]:
    return sorted(h.interface for h in said.hops if h.point is Point.PSWITCH_SND and h.box == switch)


def why(said: Prediction, point: Point, interface: str = "") -> set[str]:
    """The statements at this point."""
    found: Iterable[Hop] = (h for h in said.hops if h.point is point and interface in ("", short(h.interface)))
    return {name for hop in found for name in hop.statements}


def places(said: Prediction) -> list[tuple[str, str, str, tuple[int, ...], bool]]:
    """Node, point, interface, tags of every hop, and whether it is certain."""
    return [(h.node, h.point.value, h.interface, vids(h), h.certain) for h in said.hops]


def mirrored(said: Prediction) -> list[Hop]:
    """Where copies leave a switch."""
    return [hop for hop in said.hops if "MIR-1" in hop.statements]
