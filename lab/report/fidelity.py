"""The table of statements: what vSphere does, how sure that is, and which test shows that the lab does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STATES = ("shown", "planned", "not emulated")
TAGS = {
    "S": "stated by a vendor's source",
    "S1": "one third-party experiment or blog only",
    "K": "general product knowledge, not verified from a source",
    "C": "sources contradict each other",
    "D": "follows from other statements",
}
FAMILIES = {
    "FWD": "Forwarding on standard and distributed switches",
    "VLAN": "VLAN modes",
    "PVL": "Private VLANs",
    "SEC": "Layer-2 security policy and MAC learning",
    "SHP": "Traffic shaping",
    "TEAM": "NIC teaming",
    "BCN": "Beacon probing",
    "NSW": "Notify switches",
    "LBT": "Load-Based Teaming",
    "LACP": "Link aggregation",
    "NIOC": "Network I/O Control",
    "VMK": "vmkernel traffic on the wire",
    "VMO": "vMotion as a network event",
    "DVF": "dvfilter and introspection",
    "MIR": "Mirroring, NetFlow, discovery",
    "PVN": "pvNICs and third-party switches",
    "L2S": "Layer-2 stretch between sites",
    "STO": "Storage paths",
    "SIDE": "Side channels",
    "CAP": "Capture points",
    "ATK": "Attacks",
}


@dataclass(frozen=True)
class Statement:
    """`tests` are names of test functions, for a statement that is shown; `why` says why one is not emulated."""

    id: str
    tag: str
    state: str
    meaning: str
    sources: tuple[str, ...] = ()
    knob: str = ""
    tests: tuple[str, ...] = ()
    why: str = ""

    @property
    def family(self) -> str:
        return self.id.split("-")[0]


def statements_of(entries: Sequence[Mapping[str, Any]]) -> tuple[Statement, ...]:
    """From the entries of statements.yaml. Raises ValueError for one that is not whole."""
    found = []
    for entry in entries:
        statement = Statement(
            **{**entry, "sources": tuple(entry.get("sources", ())), "tests": tuple(entry.get("tests", ()))}
        )
        if statement.state not in STATES or statement.tag not in TAGS:
            raise ValueError(f"{statement.id}: state {statement.state!r} or tag {statement.tag!r} is unknown")
        if (statement.state == "shown") != bool(statement.tests):
            raise ValueError(f"{statement.id}: shown needs tests, and only shown has them")
        if (statement.state == "not emulated") != bool(statement.why):
            raise ValueError(f"{statement.id}: not emulated needs a why, and only that has one")
        found.append(statement)
    return tuple(found)


def as_json(statements: Sequence[Statement]) -> dict[str, Any]:
    states = Counter(s.state for s in statements)
    return {
        "schema": 1,
        "statements": len(statements),
        "shown": states["shown"],
        "planned": states["planned"],
        "not_emulated": [{"id": s.id, "why": s.why} for s in statements if s.state == "not emulated"],
    }


def as_text(statements: Sequence[Statement]) -> str:
    """One line a family."""
    rows = [f"{'family':8}{'shown':>7}{'of':>5}"]
    for family, title in FAMILIES.items():
        own = [s for s in statements if s.family == family]
        rows.append(f"{family:8}{sum(s.state == 'shown' for s in own):7}{len(own):5}  {title}")
    shown = sum(s.state == "shown" for s in statements)
    rows.append(f"{'all':8}{shown:7}{len(statements):5}  docs/fidelity.md has every statement")
    return "\n".join(rows)


def as_markdown(statements: Sequence[Statement]) -> str:
    """docs/fidelity.md."""
    return "\n".join(_markdown(statements)) + "\n"


def _markdown(statements: Sequence[Statement]) -> Iterator[str]:
    yield "# Fidelity: what vSphere does, and what this lab shows of it"
    yield ""
    yield "Generated from `statements.yaml` by `vlab fidelity --markdown`; do not edit."
    yield ""
    counts = as_json(statements)
    yield f"{counts['statements']} statements, {counts['shown']} shown by tests, {counts['planned']} planned, "
    yield f"{len(counts['not_emulated'])} not emulated. How sure a statement is:"
    yield ""
    for tag, meaning in TAGS.items():
        yield f"- **{tag}**: {meaning}"
    for family, title in FAMILIES.items():
        own = [s for s in statements if s.family == family]
        yield from ("", f"## {title} ({family})", "", "| id | sure | state | statement |", "| --- | --- | --- | --- |")
        for s in own:
            state = s.state if s.state != "not emulated" else f"not emulated: {s.why}"
            knob = f" (knob `{s.knob}`)" if s.knob else ""
            yield f"| {s.id} | {s.tag} | {state} | {' '.join(s.meaning.split())}{knob} |".replace("\n", " ")
