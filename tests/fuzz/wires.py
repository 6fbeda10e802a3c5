"""A drawn case on real wires: guests do what the drawn State says, frames are sent, and every wire is captured.

Frames that teach a switch go one by one, each after what the one before it taught is in the tables; then all others go,
and nothing depends on their order.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import RunningLab
from lab.answers.campaign import Campaign, campaign, ends_by_place, place_of_hop
from lab.client import Place
from lab.errors import CannotTell
from lab.frame import ALL_SYSTEMS, DropReason, Frame, Hop, vids_of
from lab.model import Nic, PortKey
from lab.observe.sightings import End, PointMap
from lab.plan.wiring import UNDERLAY
from lab.predict import Prediction, Predictor
from lab.state import State
from traffic.canary import canary_payload, find_canaries, new_token

from .strategies import Case

MOST_HOPS = 400
"""A frame with more of them is a storm, which would drown the others."""
LEARN_SECONDS = 3.0
_KERNELS = {ALL_SYSTEMS, "33:33:00:00:00:01"}
"""Groups that a guest's kernel joins of itself."""
_SILENT = frozenset({DropReason.LINK_DOWN, DropReason.DISCONNECTED})

Key = tuple[End, tuple[int, ...]]


@dataclass
class Shot:
    """One frame: what is foretold of it, what may be seen or not, and what was seen."""

    place: Place
    frame: Frame
    foretold: Counter[Key] = field(default_factory=Counter)
    possible: Counter[Key] = field(default_factory=Counter)
    seen: Counter[Key] = field(default_factory=Counter)

    def differences(self) -> Iterator[str]:
        for key in sorted(self.seen.keys() | self.foretold.keys()):
            low, seen = self.foretold[key], self.seen[key]
            if not low <= seen <= low + self.possible[key]:
                (node, interface), vids = key
                yield f"at {node}:{interface} with tags {[*vids]}: foretold {low}, seen {seen}"

    def __str__(self) -> str:
        tags = "/".join(map(str, self.frame.vlans)) or "untagged"
        return f"{self.place.label}: {self.frame.src} -> {self.frame.dst} {tags}"


class Wires:
    """The case's frames in a running lab."""

    def __init__(self, lab: RunningLab, case: Case) -> None:
        self.lab = lab
        self.case = case
        self.token = new_token()
        self.shots: list[Shot] = []
        self.state = State()
        self.wrong: list[str] = []
        """What switches have learned otherwise than foretold."""
        self._points = PointMap.of(lab.client.plan)
        self._ends = ends_by_place(self._points)
        self._expected: Counter[End] = Counter()

    def run(self, directory: Path) -> None:
        """Send everything. Raises CannotTell when frames were lost on the way into the captures."""
        make_real(self.lab, self.case)
        self.state = self.lab.client.state()
        directory.mkdir()
        with campaign(self.lab.client, (), directory) as running:
            self._send_all(running)
            running.wait_for((end, self.token, times) for end, times in self._expected.items())
            running.settle()
            running.stop()
            for end, data in running.packets():
                for _, token, number in find_canaries(data):
                    if token == self.token:
                        self.shots[number].seen[end, vids_of(data)] += 1

    def _send_all(self, running: Campaign) -> None:
        left = list(self.case.shots)
        predictor = Predictor(self.case.topology, self.state)
        while left:
            for index, (sender, frame) in enumerate(left):
                teaching = _predict(predictor, sender, frame)
                if teaching is not None and teaching.state_after(self.state) is not self.state:
                    del left[index]
                    self._send(running, [(sender, frame, teaching)])
                    self._await_tables(teaching.state_after(self.state))
                    predictor = predictor.with_state(self.state)
                    break
            else:
                tried = ((sender, frame, _predict(predictor, sender, frame)) for sender, frame in left)
                self._send(running, [(s, f, p) for s, f, p in tried if p is not None])
                return

    def _send(self, running: Campaign, shots: list[tuple[str, Frame, Prediction]]) -> None:
        frames: dict[str, list[str]] = defaultdict(list)
        places = self.lab.client.places
        for sender, drawn, prediction in shots:
            payload = canary_payload(self.token, len(self.shots))
            shot = Shot(places[sender], replace(drawn, payload=drawn.payload[: -len(payload)] + payload))
            shot.foretold = Counter(k for hop in prediction.wire if (k := self._key(hop))[0] in running.captured)
            shot.possible = Counter(self._key(hop) for hop in prediction.possible)
            for (end, _), times in shot.foretold.items():
                self._expected[end] += times
            frames[sender].append(shot.frame.to_bytes().hex())
            self.shots.append(shot)
        at = places
        running.send(
            [
                {"node": at[s].node, "interface": at[s].interface, "frames": own, "rate": 2000}
                for s, own in frames.items()
            ]
        )

    def _key(self, hop: Hop) -> Key:
        return self._ends[place_of_hop(hop)], tuple(tag.vid for tag in hop.vlans)

    def _await_tables(self, after: State) -> None:
        """Until the switches have learned what is foretold, and forward by it."""
        deadline = time.monotonic() + LEARN_SECONDS
        real = self.lab.client.state()
        while tables(real) != tables(after) and time.monotonic() < deadline:
            real = self.lab.client.state()
        if tables(real) != tables(after):
            lacks, has = tables(after) - tables(real), tables(real) - tables(after)
            self.wrong.append(
                f"{self.shots[-1]}: foretold and not learned {sorted(lacks)}, learned instead {sorted(has)}"
            )
        self.lab.client.ask("settle")
        self.state = self.state.with_tables(real.mac_tables, real.learned, real.secured)
        self.state = replace(self.state, arp_known=real.arp_known)

    def at_own_port(self, shot: Shot) -> bool:
        """The frame was seen on its sender's cable."""
        own = self._points.far[shot.place.node, shot.place.interface]
        return any(end == own for end, _ in shot.seen)


def _predict(predictor: Predictor, sender: str, frame: Frame) -> Prediction | None:
    """None for what cannot be sent, or never ends."""
    with suppress(CannotTell):
        found = predictor.predict(sender, frame)
        if found.hops[0].reason not in _SILENT and len(found.hops) <= MOST_HOPS:
            return found
    return None


def tables(state: State) -> set[tuple[str, str, int, str, str]]:
    """All that switches have learned: (table, switch, VLAN, MAC, port)."""
    named = {f"{host} {name}": table for (host, name), table in state.learned.items()}
    kinds = {"CAM": state.mac_tables, "secured": state.secured, "MAC learning": named}
    return {
        (kind, switch, vlan, mac, port)
        for kind, by_switch in kinds.items()
        for switch, table in by_switch.items()
        for (vlan, mac), port in table.items()
    }


# -- guests and cables


def make_real(lab: RunningLab, case: Case) -> None:
    """Cables first, then what guests do; the lab's State must say so then."""
    topology, drawn = case.topology, case.state
    nics = {(nic.host, nic.port): nic for nic in (*topology.vmknics, *topology.vnics)}
    pulled: set[PortKey] = set()
    far = {cable.a: cable.b for cable in lab.client.plan.cables} | {c.b: c.a for c in lab.client.plan.cables}
    for end in sorted(drawn.links_down - nics.keys()):
        if far[end] not in pulled:
            lab.link(f"{end[0]}:{end[1]}", False)
            pulled.add(end)
    for node in sorted({nic.node for nic in nics.values()}):
        own = {key: nic for key, nic in nics.items() if nic.node == node}
        words = [line for key, nic in own.items() for line in _commands(lab, drawn, key, nic)]
        if words:
            lab.exec(node, "sh", "-ec", "\n".join(words))
    real = lab.client.state()
    assert {end for end in real.links_down if not end[1].endswith(UNDERLAY)} == drawn.links_down
    assert dict(real.macs) == dict(drawn.macs)
    assert real.promiscuous == drawn.promiscuous
    assert real.all_groups == drawn.all_groups
    for key in drawn.groups.keys() - drawn.links_down:
        assert drawn.groups[key] <= real.groups_of(key) <= drawn.groups[key] | _KERNELS, key


def _commands(lab: RunningLab, drawn: State, key: PortKey, nic: Nic) -> Iterator[str]:
    name = lab.client.plan.node_named[nic.node].interface(nic.name).name
    if key in drawn.macs:
        yield f"ip link set {name} address {drawn.macs[key]}"
    for group in sorted(drawn.groups.get(key, frozenset()) - {ALL_SYSTEMS}):
        yield f"ip maddr add {group} dev {name}"
    if key in drawn.all_groups:
        yield f"ip link set {name} allmulticast on"
    if key in drawn.promiscuous:
        yield f"ip link set {name} promisc on"
    if key in drawn.links_down and nic.connected:
        yield f"ip link set {name} down"
