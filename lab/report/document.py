"""An answer's JSON document, as `vlab where --json` printed it -> the answer as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.frame import DropReason, Frame, Hop, Point, Tag
from lab.predict.passing import CouldSee
from lab.report.follow import Followed
from lab.report.where import Answer, Seen, Trail

SCHEMA = 1


def followed_of(document: Mapping[str, Any]) -> Followed:
    """Of `where --from A --to B` or of what was followed. What a document does not have (payloads, the three-way
    difference) is left empty. Raises KeyError, TypeError, ValueError for what is no whole answer."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}; this version reads schema {SCHEMA}")
    if "followed" not in document:
        answer = _answer(document)
        return Followed(f"{answer.sender} -> {answer.receiver}", answer.sent, (answer,))
    return Followed(
        wanted=str(document["followed"]),
        frames=int(document["frames"]),
        answers=tuple(_answer(said) for said in document["answers"]),
        trails=tuple(_trail(said) for said in document["trails"]),
        notes=tuple(map(str, document["notes"])),
    )


def _answer(said: Mapping[str, Any]) -> Answer:
    exposure, frame = said["exposure"], said["frame"]
    return Answer(
        frame=Frame(frame["src"], frame["dst"], _tags(frame), int(frame["ethertype"])),
        size=int(frame["bytes"]),
        sender=str(said["from"]),
        receiver=str(said["to"]),
        sent=int(said["sent"]),
        disposition=str(said["disposition"]),
        flooded=bool(said["flooded"]),
        trails=tuple(_trail(one) for one in said["trails"]),
        predicted=tuple(_hop(one) for one in said["predicted"]),
        agrees=bool(said["agrees"]),
        differences=tuple(map(str, said["differences"])),
        path=tuple(map(str, exposure["path"])),
        did_see=tuple(_seen(one) for one in exposure["did_see"]),
        could_see=tuple(_could(one) for one in exposure["could_see"]),
    )


def _trail(said: Mapping[str, Any]) -> Trail:
    hops = tuple(_hop(one) for one in said["hops"])
    if not hops:
        raise ValueError("a trail without hops")
    return Trail(int(said["count"]), hops)


def _hop(said: Mapping[str, Any]) -> Hop:
    return Hop(
        box=str(said["box"]),
        node=str(said["node"]),
        point=Point(said["point"]),
        direction=str(said["direction"]),
        interface=str(said["interface"]),
        vlans=_tags(said),
        src=str(said["src"]),
        dst=str(said["dst"]),
        evidence=str(said["evidence"]),
        switch=str(said["switch"]),
        reason=DropReason(said["reason"]) if said["reason"] else None,
        statements=tuple(map(str, said["statements"])),
        time_ns=None if said["time_ns"] is None else int(said["time_ns"]),
        medium=str(said["medium"]),
        in_clear=bool(said["in_clear"]),
        encapsulation=str(said["encapsulation"] or ""),
        port_group=str(said.get("port_group") or ""),
    )


def _tags(said: Mapping[str, Any]) -> tuple[Tag, ...]:
    return tuple(Tag(int(vid), int(pcp)) for vid, pcp in zip(said["vlans"], said["pcp"], strict=True))


def _seen(said: Mapping[str, Any]) -> Seen:
    """An answer of an earlier version has no statements here."""
    return Seen(
        node=str(said["node"]),
        box=str(said["box"]),
        point=Point(said["point"]),
        interface=str(said["interface"]),
        why=str(said["why"]),
        statements=tuple(map(str, said.get("statements", ()))),
        closes=str(said.get("closes") or ""),
        in_clear=bool(said.get("in_clear", True)),
    )


def _could(said: Mapping[str, Any]) -> CouldSee:
    return CouldSee(
        node=str(said["node"]),
        box=str(said["box"]),
        interface=str(said["interface"]),
        kind=str(said["kind"]),
        action=str(said["action"]),
        why=str(said["why"]),
        statements=tuple(map(str, said["statements"])),
        closes=str(said["closes"] or ""),
        in_clear=bool(said["in_clear"]),
        after=str(said["after"] or ""),
        copy=bool(said.get("copy")),
    )
