"""The answer to "where did it go?" as values, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lab.frame import RECEIVE_POINTS, Frame, Hop, Point
from lab.predict.clear import in_clear
from lab.predict.passing import CouldSee
from lab.report.exposure import could_see_json, could_see_lines
from lab.report.tally import Tally, tally_json, tally_lines

RULE = "-" * 78
POLICIES = {
    "TEAM-PID-1": "loadbalance_srcid",
    "LBT-1": "loadbalance_loadbased",
    "TEAM-EXP-1": "failover_explicit",
    "TEAM-EXP-2": "failover_explicit, standby",
    "TEAM-MAC-2": "loadbalance_srcmac",
    "TEAM-IPH-1": "loadbalance_ip",
    "LACP-4": "LAG",
    "BCN-7": "every uplink, beacons blame nobody",
}
"""The teaming policy behind a statement that chose an uplink."""
_INNER = frozenset({Point.DISPATCH, Point.SWITCH_OUTPUT, Point.PORT_OUTPUT})
"""Points inside a switch: the port group is told where the frame comes in and goes out."""


@dataclass(frozen=True)
class Trail:
    """One way that `count` of the frames went, from the sender to where a copy ended."""

    count: int
    hops: tuple[Hop, ...]


@dataclass(frozen=True)
class Seen:
    """A node or box that saw the frame and is not on its way to the receiver; `statements` say why, and `closes` is the
    `vlab set` that ends it, empty where none does."""

    node: str
    box: str
    point: Point
    interface: str
    why: str
    statements: tuple[str, ...] = ()
    closes: str = ""
    in_clear: bool = True


@dataclass(frozen=True)
class Caught:
    """A frame as it was captured: of the sent ones the `seq`th, at hop `number` of its trail. `hop.time_ns` counts from
    the epoch."""

    seq: int
    number: int
    hop: Hop
    data: bytes


@dataclass(frozen=True)
class Answer:
    """`disposition` is about the intended receiver; `trails` has the receiver's first, or what came nearest to it.
    `tally`: what was predicted and what observed at each place; `caught`: the captured frames in the order of time."""

    frame: Frame
    size: int
    sender: str
    receiver: str
    sent: int
    disposition: str
    flooded: bool
    trails: tuple[Trail, ...]
    predicted: tuple[Hop, ...]
    agrees: bool
    differences: tuple[str, ...]
    path: tuple[str, ...]
    did_see: tuple[Seen, ...]
    could_see: tuple[CouldSee, ...] = ()
    tally: tuple[Tally, ...] = ()
    caught: tuple[Caught, ...] = ()
    what: str = "canary frame"

    @property
    def ending(self) -> Hop | None:
        """Where the copy that came nearest to the receiver ended, when it was not delivered: the first trail's drop."""
        if self.disposition == "delivered":
            return None
        ends = (trail.hops[-1] for trail in self.trails)
        drops = [last for last in ends if last.reason and not last.encapsulation]
        return drops[0] if drops else None


def as_json(answer: Answer) -> dict[str, Any]:
    """One document of `where --json` (docs/commands.md); times count from the first sighting, in ns."""
    frame, ending = answer.frame, answer.ending
    return {
        "schema": 1,
        "from": answer.sender,
        "to": answer.receiver,
        "frame": {
            "src": frame.src,
            "dst": frame.dst,
            "vlans": [t.vid for t in frame.vlans],
            "pcp": [t.pcp for t in frame.vlans],
            "ethertype": frame.ethertype,
            "bytes": answer.size,
        },
        "sent": answer.sent,
        "disposition": answer.disposition,
        "flooded": answer.flooded,
        "reason": ending.reason.value if ending and ending.reason else None,
        "dropped_at": {"box": ending.box, "switch": ending.switch, "port": ending.interface} if ending else None,
        "statements": list(ending.statements) if ending else [],
        "trails": [{"count": trail.count, "hops": hops_json(trail.hops)} for trail in answer.trails],
        "predicted": hops_json(answer.predicted),
        "agrees": answer.agrees,
        "differences": list(answer.differences),
        "exposure": {
            "path": list(answer.path),
            "did_see": list(map(_seen_json, answer.did_see)),
            "could_see": could_see_json(answer.could_see),
            "in_clear": in_clear(frame),
        },
        "three_way": tally_json(answer.tally, answer.could_see),
    }


def _seen_json(seen: Seen) -> dict[str, Any]:
    return {
        "node": seen.node,
        "box": seen.box,
        "point": seen.point.value,
        "interface": seen.interface,
        "why": seen.why,
        "statements": list(seen.statements),
        "closes": seen.closes or None,
        "in_clear": seen.in_clear,
    }


def hops_json(hops: Sequence[Hop]) -> list[dict[str, Any]]:
    """One object a hop; `hop` counts from 1, `after` is the hop before it in a tree, `time_ns` from the first."""
    start = next((hop.time_ns for hop in hops if hop.time_ns is not None), 0)
    return [
        {
            "hop": number,
            "box": hop.box,
            "point": hop.point.value,
            "observation": hop.observation,
            "direction": hop.direction,
            "interface": hop.interface,
            "node": hop.node,
            "switch": hop.switch,
            "medium": hop.medium,
            "vlans": [tag.vid for tag in hop.vlans],
            "pcp": [tag.pcp for tag in hop.vlans],
            "src": hop.src,
            "dst": hop.dst,
            "macs_rewritten": rewritten(hop, hops[0]),
            "encapsulation": hop.encapsulation or None,
            "in_clear": hop.in_clear,
            "evidence": hop.evidence,
            "time_ns": None if hop.time_ns is None else hop.time_ns - start,
            "reason": hop.reason.value if hop.reason else None,
            "statements": list(hop.statements),
            "policy": policy_of(hop),
            "port_group": hop.port_group or None,
        }
        for number, hop in enumerate(hops, start=1)
    ]


def rewritten(hop: Hop, first: Hop) -> bool:
    """True when the frame bears other MACs than at first; a packet around it has MACs of its own."""
    return not hop.encapsulation and (hop.src, hop.dst) != (first.src, first.dst)


def decided_by(hop: Hop, first: Hop) -> Iterator[str]:
    """In words: why it ended, the statements, the port group and its teaming policy, what it is inside of, other MACs
    than those of the `first` hop."""
    if hop.reason:
        yield str(hop.reason)
    if hop.statements:
        yield " ".join(hop.statements)
    policy, group = policy_of(hop), hop.port_group if hop.point not in _INNER else ""
    if policy or group:
        yield " of ".join(word for word in (policy, group) if word)
    if hop.encapsulation:
        yield f"in {hop.encapsulation}"
    if rewritten(hop, first):
        yield "MACs rewritten"


def policy_of(hop: Hop) -> str | None:
    """The teaming policy that chose the uplink which a frame left by; None elsewhere."""
    chosen = (POLICIES[name] for name in hop.statements if name in POLICIES)
    return next(chosen, None) if hop.point is Point.UPLINK_SND else None


def as_text(answer: Answer) -> str:
    """For a person: the receiver's trail as a table, other ends as one line each, the verdict."""
    return "\n".join(_lines(answer))


def _lines(answer: Answer) -> Iterator[str]:
    frame = answer.frame
    tags = f", tagged {'/'.join(map(str, frame.vlans))}" if frame.vlans else ", untagged"
    frames = f"1 {answer.what}" if answer.sent == 1 else f"{answer.sent} {answer.what}s"
    sealed = "" if in_clear(frame) else ", encrypted"
    yield f"{answer.sender} -> {answer.receiver}: {frames} of {answer.size} bytes{tags}{sealed}"
    yield f"  {frame.src} -> {frame.dst}"
    whole = [trail for trail in answer.trails if _arrives_as(trail, answer.trails[0])]
    for trail in whole:
        yield ""
        if len(whole) > 1:
            yield f"  {trail.count} of {answer.sent} went this way:"
        yield from trail_lines(trail.hops)
    for trail in answer.trails:
        if trail not in whole:
            often = "" if trail.count == answer.sent else f"{trail.count} of {answer.sent}: "
            yield f"  also: {often}{end_text(trail.hops)}"
    yield ""
    yield verdict(answer)
    for difference in answer.differences:
        yield f"  {difference}"
    for line in tally_lines(answer.tally, answer.could_see):
        yield f"  {line}"
    yield from did_see_lines(answer.did_see)
    yield from could_see_lines(answer.could_see)


def did_see_lines(seen: Sequence[Seen]) -> Iterator[str]:
    """Those who saw it for the same reason together, with what closes that."""
    if seen:
        yield "  seen off the path by:"
    ways: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for who in seen:
        ways.setdefault((who.why, who.statements, who.closes), []).append(who.node)
    for (why, statements, closes), nodes in ways.items():
        yield f"    {', '.join(nodes)}: {why}" + (f" ({' '.join(statements)})" if statements else "")
        if closes:
            yield f"      closed by: {closes}"


def _arrives_as(trail: Trail, first: Trail) -> bool:
    """The first trail itself, or another way to the same receiver."""
    last, end = trail.hops[-1], first.hops[-1]
    arrived = last.point in RECEIVE_POINTS and (last.node, last.interface) == (end.node, end.interface)
    return trail is first or (arrived and last.reason is None and not last.encapsulation)


def trail_lines(hops: Sequence[Hop]) -> Iterator[str]:
    """A table of hops, as pktcap-uw's path trace reads: box, point, interface, VLAN, time since the first."""
    start = next((hop.time_ns for hop in hops if hop.time_ns is not None), 0)
    boxes = max((len(hop.box) for hop in hops), default=3)
    ports = max((len(hop.interface) for hop in hops), default=9)
    ports = max(ports, 9)
    head = f"  hop  {'box':{boxes}}  {'frame':9}  {'point':18}  {'interface':{ports}}  {'VLAN':9}  {'us':>8}"
    yield f"{head}  evidence  decided by"
    for number, hop in enumerate(hops, start=1):
        vlan = "/".join(map(str, hop.vlans)) or "-"
        time = "" if hop.time_ns is None else f"{(hop.time_ns - start) / 1000:.0f}"
        decided = "  ".join(decided_by(hop, hops[0]))
        row = f"  {number:3}  {hop.box:{boxes}}  {hop.observation:9}  {hop.point.value:18}"
        yield f"{row}  {hop.interface:{ports}}  {vlan:9}  {time:>8}  {hop.evidence:8}  {decided}".rstrip()


def end_text(hops: Sequence[Hop]) -> str:
    """Where a copy ended, in a line."""
    last = hops[-1]
    if last.reason:
        came = next((hop.interface for hop in reversed(hops[:-1]) if hop.evidence == "wire"), last.interface)
        how = "" if came == last.interface else f", having come in on {came}"
        where = last.box if last.switch in ("", last.box) else f"{last.box} {last.switch}"
        return f"a copy was dropped in {where} at {last.interface}{how}: {_because(last)}"
    if last.encapsulation:
        return f"a copy reached {last.node}, in {last.encapsulation}, by {_by(hops)}"
    back = next((hop.interface for hop in reversed(hops) if hop.point is Point.UPLINK_RCV), "")
    how = f", back in by {back}" if back and hops[0].box == last.box else ""
    return f"a copy reached {last.node} ({last.box} {last.interface}, {last.point}{how})"


def _by(hops: Sequence[Hop]) -> str:
    """The places where packets with the frame in them were captured: `esx1 vmk0 > esx1 vmnic0 VLAN 5 > tor1 gw`."""
    wires = (hop for hop in hops if hop.encapsulation and hop.evidence == "wire")
    tags = ((hop, f" VLAN {'/'.join(map(str, hop.vlans))}" if hop.vlans else "") for hop in wires)
    return " > ".join(dict.fromkeys(f"{hop.box} {hop.interface}{vlan}" for hop, vlan in tags))


def _because(ending: Hop) -> str:
    """`Double Tag (VLAN-6)`."""
    return f"{ending.reason}" + (f" ({' '.join(ending.statements)})" if ending.statements else "")


def verdict(answer: Answer) -> str:
    """One sentence: delivered or not, where and why it ended, and whether that was predicted."""
    agreed = "as predicted" if answer.agrees else "NOT as predicted"
    ending = answer.ending
    if answer.disposition == "delivered":
        said = f"delivered to {answer.receiver}" + (" (and flooded)" if answer.flooded else "")
    elif ending is not None:
        switch = f", switch {ending.switch}" if ending.switch not in ("", ending.box) else ""
        said = f"dropped in {ending.box}{switch}, at port {ending.interface}: {_because(ending)}"
        if ending.evidence == "adapter":
            said = f"never left {answer.sender}: {_because(ending)}"
    elif answer.trails:
        last = answer.trails[0].hops[-1]
        said = f"lost: last seen in {last.box} at {last.interface} ({last.point})"
    else:
        said = f"never left {answer.sender}"
    return f"{said}, {agreed}"
