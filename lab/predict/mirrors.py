"""Mirroring sessions: copies of the frame as it is inside a host's switch (MIR-1 to MIR-8)."""

from __future__ import annotations

from collections.abc import Iterable

from lab.frame import Point, Tag
from lab.predict.prediction import MIRROR_PORT
from lab.predict.scene import Port, Session, View
from lab.predict.trail import Entry, Inside, Trail


def mirror(trail: Trail, entry: Entry, sessions: Iterable[Session], why: tuple[str, ...] = ()) -> None:
    """One copy for each of these sessions. They pass no policy on their way and are never mirrored again."""
    for session in sessions:
        _copy(trail, entry, session, (*session.why, *why))


def _copy(trail: Trail, entry: Entry, session: Session, why: tuple[str, ...]) -> None:
    vlans = _tags(session, entry.inside)
    parent, certain, teaches = entry.hop, session.tellable, entry.teaches
    if session.encapsulated:
        _to_the_mirror_port(trail, entry, session, why)
        return
    if not session.ports and not session.uplinks:
        return
    if session.sampled:
        parent = _back(trail, entry, session, _to_the_mirror_port(trail, entry, session, why))
        certain, teaches = False, False
    for port in session.ports:
        _to_a_port(trail, entry.view, port, vlans, parent, why, certain)
    for uplink in session.uplinks:
        trail.onto_uplink(entry.view, uplink, vlans, parent, (*why, "MIR-7"), teaches, certain)


def _tags(session: Session, inside: Inside) -> tuple[Tag, ...]:
    """The encapsulation VLAN in front, then the original tag, unless the session strips it (MIR-2)."""
    own = inside.inner if session.mirror.strip else inside.tagged()
    return own if session.mirror.vlan is None else (Tag(session.mirror.vlan), *own)


def _to_the_mirror_port(trail: Trail, entry: Entry, session: Session, why: tuple[str, ...]) -> int:
    """To the host's vmkernel node, where sampled copies are counted and encapsulated ones packed (MIR-5, MIR-6)."""
    view = entry.view
    node, port, marked = _marked(entry, session)
    out = trail.hop(
        view.host, node, Point.VMK_OUT, port, marked, entry.hop, why, view.name, "out", certain=session.tellable
    )
    return trail.hop(view.host, node, Point.VMK_RX, port, marked, out)


def _back(trail: Trail, entry: Entry, session: Session, parent: int) -> int:
    """A copy that was counted and let through comes back as it went."""
    view = entry.view
    node, port, marked = _marked(entry, session)
    out = trail.hop(view.host, node, Point.VMK_TX, port, marked, parent, direction="out", certain=False)
    return trail.hop(view.host, node, Point.PORT_INPUT, port, marked, out, switch=view.name)


def _marked(entry: Entry, session: Session) -> tuple[str, str, tuple[Tag, ...]]:
    """(node, port, tags) of a copy between the switch and the vmkernel node."""
    own = entry.inside.inner if session.mirror.strip else entry.inside.tagged()
    view = entry.view
    return f"{view.host}-vmk", f"{view.name}{MIRROR_PORT}", (Tag(session.number), *own)


def _to_a_port(
    trail: Trail, view: View, port: Port, vlans: tuple[Tag, ...], parent: int, why: tuple[str, ...], certain: bool
) -> None:
    outward, inward = port.points
    seen = certain and port.lit
    out = trail.hop(view.host, port.node, outward, port.name, vlans, parent, why, view.name, "out", certain=seen)
    if port.lit:
        trail.hop(view.host, port.node, inward, port.interface, vlans, out)
