"""An evidence folder read again: the answer, its frames and the lab as it was, without any lab."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from lab.answers.evidence import Checked, verify_evidence
from lab.errors import LabError, UsageError
from lab.frame import Frame, Hop
from lab.model import Topology
from lab.observe.pcapng import CaptureFile, Packet
from lab.report.document import followed_of
from lab.report.follow import Followed
from lab.report.where import Caught, Trail
from lab.topology.edit import first_edition

Place = tuple[str, tuple[int, ...], str, str]
"""What a comment begins with, VLAN IDs, MACs."""


@dataclass(frozen=True)
class Kept:
    """`checked`: what the manifest tells of the files; `about`: lab, versions, capture and clock of then."""

    checked: Checked
    topology: Topology
    followed: Followed
    about: Mapping[str, Any]


def read_evidence(directory: Path) -> Kept:
    """Also of a folder that was changed: `checked.wrong` says so. Raises UsageError for what cannot be understood."""
    checked = verify_evidence(directory)
    edits, about = _json(directory, "edits.json"), _json(directory, "about.json")
    try:
        edition = first_edition((directory / "topology.yaml").read_text(), str(directory / "topology.yaml"))
        for _, change in groupby(edits, itemgetter(0)):
            edition = edition.with_edits((tuple(path), value) for _, path, value in change)
        told = followed_of(_json(directory, "answer.json"))
        known = {"lab": dict(about["lab"]), "versions": dict(about["versions"]), "capture": dict(about["capture"])}
        told = _with_frames(told, directory / "frames.pcapng")
    except LabError as error:
        raise UsageError(f"{directory} cannot be read: {error}") from None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{directory} holds no whole answer: {error!r}") from None
    return Kept(checked, edition.topology, told, known)


def _json(directory: Path, name: str) -> Any:
    try:
        return json.loads((directory / name).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{directory / name} cannot be read: {error}") from None


def _with_frames(told: Followed, path: Path) -> Followed:
    with CaptureFile(path) as file:
        packets: dict[Place, Packet] = {}
        for packet in file.find(b""):
            packets.setdefault(_place(packet), packet)
    answers = tuple(replace(answer, caught=tuple(_caught(answer.trails, packets))) for answer in told.answers)
    return replace(told, answers=answers, others=tuple(_caught(told.trails, packets)))


def _place(packet: Packet) -> Place:
    """A comment begins with `esx1 UplinkSnd vmnic0`; names have no comma."""
    frame = Frame.parse(packet.data)
    return packet.comment.partition(", ")[0], tuple(tag.vid for tag in frame.vlans), frame.src, frame.dst


def _caught(trails: Sequence[Trail], packets: Mapping[Place, Packet]) -> Iterator[Caught]:
    """For each hop that was captured, the first frame that was captured there."""
    for number, hop in ((n, hop) for trail in trails for n, hop in enumerate(trail.hops, start=1)):
        packet = packets.get(_place_of_hop(hop)) if hop.evidence == "wire" and hop.reason is None else None
        if packet is not None:
            yield Caught(0, number, hop._replace(time_ns=packet.time_ns), packet.data)


def _place_of_hop(hop: Hop) -> Place:
    return f"{hop.box} {hop.point} {hop.interface}", tuple(tag.vid for tag in hop.vlans), hop.src, hop.dst
