"""An answer as one self-contained page: the picture with the trail drawn on it, each hop's frame, who saw it and who
could have, the isolation matrix, drops, versions. It loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from lab.frame import Hop, Point
from lab.predict.passing import CouldSee
from lab.report.picture import STYLE, Picture
from lab.report.verify import Report
from lab.report.where import Answer, Caught, Seen, verdict

Layers = Sequence[tuple[str, Sequence[tuple[str, str]]]]
_GUEST = frozenset({Point.VNIC_TX, Point.VNIC_RX, Point.VMK_TX, Point.VMK_RX, Point.NIC_TX, Point.NIC_RX})
_INSIDE = frozenset({Point.DISPATCH, Point.SWITCH_OUTPUT})


@dataclass(frozen=True)
class Page:
    """`layers` decodes a captured frame; `drops` are rows of box, switch, port, reason, statement, frames; `facts` are
    what the reader should know of the run, in order."""

    title: str
    picture: Picture
    answers: tuple[Answer, ...] = ()
    matrix: Report | None = None
    drops: tuple[Mapping[str, Any], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


def render(page: Page, layers: Mapping[bytes, Layers]) -> str:
    """The HTML document. `layers`: each captured frame, decoded."""
    own = files("lab.report")
    css, script = ((own / name).read_text() for name in ("page.css", "page.js"))
    data = json.dumps(_data(page, layers), ensure_ascii=False).replace("</", "<\\/").replace("<!--", "<\\!--")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(page.title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{css}{STYLE}</style></head><body><main>{''.join(_parts(page))}</main>"
        f'<script type="application/json" id="data">{data}</script><script>{script}</script></body></html>\n'
    )


# -- what the script draws with


def _data(page: Page, layers: Mapping[bytes, Layers]) -> dict[str, Any]:
    frames: dict[bytes, int] = {}
    trails = []
    for answer in page.answers:
        caught = _by_hop(answer.caught)
        for trail in answer.trails:
            hops = list(_hops(trail.hops, page.picture, caught, frames))
            trails.append({"hops": hops})
    return {"trails": trails, "frames": [layers.get(raw, ()) for raw in frames]}


def _by_hop(caught: Sequence[Caught]) -> dict[tuple[Any, ...], bytes]:
    return {c.hop.key: c.data for c in reversed(caught)}


def _hops(
    hops: Sequence[Hop], picture: Picture, caught: Mapping[tuple[Any, ...], bytes], frames: dict[bytes, int]
) -> Iterator[dict[str, Any]]:
    start = next((hop.time_ns for hop in hops if hop.time_ns is not None), 0)
    raw = b""
    for number, hop in enumerate(hops, start=1):
        raw = caught.get(hop.key, raw)
        x, y = picture.anchors.get(_anchor(hop), (None, None))
        yield {
            "n": number,
            "x": x,
            "y": y,
            "box": hop.box,
            "frame_was": hop.observation,
            "point": hop.point.value,
            "interface": hop.interface,
            "vlan": "/".join(map(str, hop.vlans)) or "-",
            "us": "" if hop.time_ns is None else f"{(hop.time_ns - start) / 1000:.0f}",
            "evidence": hop.evidence,
            "decided": " ".join((*([str(hop.reason)] if hop.reason else []), *hop.statements)),
            "dropped": hop.reason is not None,
            "frame": frames.setdefault(raw, len(frames)) if raw else None,
        }


def _anchor(hop: Hop) -> tuple[str, str]:
    if hop.point in _INSIDE:
        return hop.box, hop.switch
    return (hop.node if hop.point in _GUEST else hop.box), hop.interface


# -- what is there without it


def _parts(page: Page) -> Iterator[str]:
    yield f"<h1>{escape(page.title)}</h1>"
    for answer in page.answers:
        mark, kind = ("✔", "good") if answer.agrees else ("✘", "bad")
        said = escape(f"{answer.sender} → {answer.receiver}: {verdict(answer)}")
        yield f'<p class="verdict {kind}">{mark} {said}</p>'
    yield from _picture(page)
    for answer in page.answers:
        yield from _exposure(answer)
    if page.matrix is not None:
        yield from _matrix(page.matrix)
    yield from _drops(page.drops)
    yield "<section><h2>How this was made</h2>" + _table("", ("what", "value"), page.facts) + "</section>"


def _picture(page: Page) -> Iterator[str]:
    drawn = page.picture
    box = f'viewBox="0 0 {drawn.width:.0f} {drawn.height:.0f}"'
    yield '<section aria-label="The way of the frame"><h2>Where it went</h2><div class="scroll">'
    yield f'<svg class="pic" id="picture" role="img" aria-label="The datacentre" width="{drawn.width:.0f}" '
    yield f'height="{drawn.height:.0f}" {box}>{drawn.body}<g id="trail"></g></svg></div>'
    if page.answers:
        yield from _controls(page)
    yield "</section>"


def _controls(page: Page) -> Iterator[str]:
    options, number = [], 0
    for answer in page.answers:
        for trail in answer.trails:
            last = trail.hops[-1]
            end = f"dropped: {last.reason}" if last.reason else f"to {last.node}"
            words = f"{answer.sender} {end} ({last.box} {last.interface}), {trail.count} frames"
            options.append(f'<option value="{number}">{escape(words)}</option>')
            number += 1
    yield '<div class="bar" role="toolbar" aria-label="Step through the trail">'
    for name, words in (
        ("first", "First"),
        ("back", "◀ Back"),
        ("play", "Play"),
        ("next", "Next ▶"),
        ("last", "Last"),
    ):
        yield f'<button type="button" id="{name}">{words}</button>'
    yield f'<label>Trail <select id="which">{"".join(options)}</select></label>'
    yield '<input type="range" id="range" min="0" value="0" aria-label="Hop"></div>'
    yield '<p><output id="step" aria-live="polite"></output></p><div class="two"><div><table id="hops"><thead><tr>'
    heads = ("hop", "box", "frame", "point", "interface", "VLAN", "µs", "evidence", "decided by")
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield '</tr></thead><tbody></tbody></table></div><div id="frame" aria-label="The frame at this hop"></div></div>'
    yield "<p><small>Keys: ← → step, Home and End, space plays.</small></p>"


def _exposure(answer: Answer) -> Iterator[str]:
    yield f"<section><h2>Who saw it: {escape(f'{answer.sender} → {answer.receiver}')}</h2>"
    yield f"<p>Had to see it: {escape(', '.join(answer.path))}</p>"
    yield _table("Did see it, off the path", ("node", "box", "point", "interface", "why"), map(_seen, answer.did_see))
    heads = ("node", "by", "why", "statements", "closed by", "in clear")
    yield _table("Could have seen it", heads, map(_could, answer.could_see))
    yield "</section>"


def _seen(seen: Seen) -> tuple[str, ...]:
    return seen.node, seen.box, seen.point.value, seen.interface, seen.why


def _could(entry: CouldSee) -> tuple[str, ...]:
    closed = entry.closes or "encryption only"
    return entry.node, entry.action, entry.why, " ".join(entry.statements), closed, "yes" if entry.in_clear else "no"


def _table(caption: str, heads: Sequence[str], rows: Any) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    if not body:
        body = f'<tr><td colspan="{len(heads)}">nobody</td></tr>' if caption else ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _matrix(report: Report) -> Iterator[str]:
    """● a frame of any kind passed, · none did, ! not as predicted."""
    mark, kind = ("✔", "good") if report.ok else ("✘", "bad")
    yield '<section id="matrix"><h2>Isolation matrix</h2>'
    said = f"{report.agree} of {report.pairs} ordered vNIC pairs as predicted, {report.canaries} canaries"
    yield f'<p class="{kind}">{mark} {said}</p><p>Rows send, columns receive: ● reached, · not reached, ! differs</p>'
    wrong = {(d.sender, d.receiver) for d in report.differ}
    names = report.senders
    yield '<div class="scroll"><table class="matrix"><thead><tr><td></td>'
    yield "".join(f'<th class="top" scope="col">{escape(name)}</th>' for name in names) + "</tr></thead><tbody>"
    for sender in names:
        yield f'<tr><th class="side" scope="row">{escape(sender)}</th>'
        yield "".join(_square(sender, to, report, wrong) for to in names) + "</tr>"
    yield "</tbody></table></div>"
    for verdict_ in report.expectations:
        holds = "✔ holds" if verdict_.holds else f"✘ broken: {', '.join(verdict_.broken)}"
        yield f"<p>{escape(verdict_.kind)} {escape(', '.join(verdict_.names))}: {escape(holds)}</p>"
    yield "</section>"


def _square(sender: str, to: str, report: Report, wrong: set[tuple[str, str]]) -> str:
    kind, mark = "", "·"
    if sender == to:
        kind, mark = "self", ""
    elif (sender, to) in wrong:
        kind, mark = "differs", "!"
    elif (sender, to) in report.received:
        kind, mark = "reached", "●"
    return f'<td class="{kind}" title="{escape(f"{sender} to {to}")}">{mark}</td>'


def _drops(drops: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if drops:
        columns = ("box", "switch", "port", "reason", "statement", "frames")
        rows = [tuple(row[name] for name in columns) for row in drops]
        yield "<section><h2>What the switches dropped</h2>" + _table("", columns, rows) + "</section>"
