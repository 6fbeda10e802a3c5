"""What a frame leaves behind on its walk: hops, what switches learn from it, and the switches that it has yet to
reach."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from lab.frame import DropReason, Frame, Hop, Point, Tag
from lab.model import HostSwitch
from lab.predict.clear import in_clear
from lab.predict.hashes import Words, words_of
from lab.predict.scene import Port, Scene, View
from lab.predict.tables import Added, Learned

Refusal = tuple[DropReason, tuple[str, ...]]
"""Why a frame ends, and the statements that say so."""


class Inside(NamedTuple):
    """A frame inside a switch: its VLAN (0: untagged), the priority of the tag that was taken off, inner tags."""

    vlan: int
    pcp: int
    inner: tuple[Tag, ...]

    def tagged(self) -> tuple[Tag, ...]:
        """As it leaves where tags are kept."""
        return (Tag(self.vlan, self.pcp), *self.inner) if self.vlan else self.inner


class Entry(NamedTuple):
    """A frame that came into a host's switch: by a client port (`sender`) or by an uplink (`pnic`). `hop` is the index
    of that sighting, `vlans` its tags there. `teaches`: a pSwitch that it comes to learns from it. `known`: the port
    behind which MAC learning had seen the destination when the frame came in."""

    view: View
    hop: int
    vlans: tuple[Tag, ...]
    inside: Inside
    sender: Port | None
    pnic: str | None
    teaches: bool
    known: str | None


class AtPSwitch(NamedTuple):
    """A copy on its way into a pSwitch. `teaches` is False where it may not exist (a sampled mirror copy)."""

    switch: str
    port: str
    vlans: tuple[Tag, ...]
    parent: int
    teaches: bool


class AtUplink(NamedTuple):
    """A copy on its way into a host."""

    part: HostSwitch
    pnic: str
    vlans: tuple[Tag, ...]
    parent: int
    teaches: bool


class Trail:
    """One frame."""

    def __init__(self, scene: Scene, learned: Learned, frame: Frame) -> None:
        self.scene = scene
        self.world = scene.world
        self.knobs = scene.world.knobs
        self.frame = frame
        self.src, self.dst, self.vlans = frame.src, frame.dst, frame.vlans
        self.group = frame.is_multicast
        self.clear = in_clear(frame)
        self.group_source = bool(int(frame.src[:2], 16) & 1)
        self._words: dict[bool, Words] = {}
        self.hops: list[Hop] = []
        self.queue: deque[AtPSwitch | AtUplink] = deque()
        self.mac_tables = Added(learned.mac_tables)
        self.learned = Added(learned.ports)
        self.secured = Added(learned.secured)
        self.arp = Added(learned.arp)

    def words(self, inside: Inside) -> Words:
        """What a hash may read of the frame as it is inside a switch."""
        key = bool(inside.inner)
        if key not in self._words:
            self._words[key] = words_of(self.frame, behind_a_tag=key)
        return self._words[key]

    def has_type(self, ethertype: int, vlans: tuple[Tag, ...]) -> bool:
        """Behind one tag or none, where a switch sees it."""
        return self.frame.ethertype == ethertype and len(vlans) < 2

    def hop(
        self, box: str, node: str, point: Point, interface: str, vlans: tuple[Tag, ...], parent: int | None,
        why: tuple[str, ...] = (), switch: str = "", direction: str = "in", reason: DropReason | None = None,
        certain: bool = True,
    ) -> int:  # fmt: skip
        """Put down a sighting; what follows an uncertain one is uncertain too. Gives its index."""
        hops = self.hops
        if certain and parent is not None:
            certain = hops[parent].certain
        hops.append(
            Hop(box, node, point, direction, interface, vlans, self.src, self.dst, "predicted", switch, reason, why,
                None, parent, "vswitch", self.clear, certain)
        )  # fmt: skip
        return len(hops) - 1

    def drop_at(self, entry: Entry, port: Port, refusal: Refusal, direction: str = "out") -> None:
        """A copy that ends at a client port."""
        reason, why = refusal
        view = entry.view
        self.hop(view.host, port.node, Point.DROP, port.name, entry.vlans, entry.hop, why, view.name, direction, reason)

    def onto_uplink(
        self, view: View, uplink: str, vlans: tuple[Tag, ...], parent: int, why: tuple[str, ...],
        teaches: bool, certain: bool = True,
    ) -> None:  # fmt: skip
        """Out of a host and on to the pSwitch, if there is carrier at its port."""
        out = self.hop(
            view.host, view.host, Point.UPLINK_SND, uplink, vlans, parent, why, view.name, "out", certain=certain
        )  # fmt: skip
        far = view.far[uplink]
        if far.lit:
            self.queue.append(AtPSwitch(far.switch, far.port, vlans, out, teaches))
