"""An answer as one self-contained page: the picture with every way drawn on it, each hop's frame, who saw it and who
could have, the isolation matrix, drops, versions. It loads nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from lab.predict.passing import CouldSee
from lab.report.follow import Followed
from lab.report.picture import STYLE, Picture
from lab.report.verify import Report
from lab.report.ways import HOP_HEADS, Way, anchor_of, drawn, frames_of, hop_rows, on_paper, ways_of, ways_table
from lab.report.where import Answer, Seen, verdict

MANY = 40
"""A matrix of more vNICs is printed small."""
Layers = Sequence[tuple[str, Sequence[tuple[str, str]]]]


@dataclass(frozen=True)
class Page:
    """`told`: what was asked, with a direction for each answer; `warning`: what must be known before anything else;
    `drops` are rows of box, switch, port, reason, statement, frames; `facts` are what the reader should know of the
    run, in order."""

    title: str
    picture: Picture
    told: Followed | None = None
    matrix: Report | None = None
    drops: tuple[Mapping[str, Any], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    warning: str = ""


def render(page: Page, decode: Callable[[bytes], Layers]) -> str:
    """The HTML document. `decode` is asked for each frame that is shown, once."""
    own = files("lab.report")
    css, script = ((own / name).read_text() for name in ("page.css", "page.js"))
    ways = ways_of(page.told) if page.told is not None else []
    data = json.dumps(_data(page, ways, decode), ensure_ascii=False).replace("</", "<\\/").replace("<!--", "<\\!--")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(page.title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}{css}</style></head><body><main>{''.join(_parts(page, ways))}</main>"
        f'<script type="application/json" id="data">{data}</script><script>{script}</script></body></html>\n'
    )


# -- what the script draws with


def _data(page: Page, ways: Sequence[Way], decode: Callable[[bytes], Layers]) -> dict[str, Any]:
    frames: dict[bytes, int] = {}
    trails = [{"title": way.title, "hops": list(_hops(way, page.picture, frames))} for way in ways]
    return {"trails": trails, "frames": [decode(raw) for raw in frames]}


def _hops(way: Way, picture: Picture, frames: dict[bytes, int]) -> Iterator[dict[str, Any]]:
    """`cells` are those of the table; a hop without a frame of its own shows that of the hop before it."""
    caught, raw = frames_of(way), b""
    for hop, cells in zip(way.hops, hop_rows(way.hops), strict=True):
        raw = caught.get((*hop.key, hop.encapsulation), raw)
        x, y = anchor_of(hop, picture) or (None, None)
        yield {
            "x": x,
            "y": y,
            "box": hop.box,
            "frame_was": hop.observation,
            "cells": cells,
            "evidence": hop.evidence,
            "dropped": hop.reason is not None,
            "frame": frames.setdefault(raw, len(frames)) if raw else None,
        }


# -- what is there without it


def _parts(page: Page, ways: Sequence[Way]) -> Iterator[str]:
    yield f"<h1>{escape(page.title)}</h1>"
    answers = page.told.answers if page.told is not None else ()
    if page.warning:
        yield f'<p class="verdict bad" role="alert">✘ {escape(page.warning)}</p>'
    for answer in answers:
        mark, kind = ("✔", "good") if answer.agrees else ("✘", "bad")
        said = escape(f"{answer.sender} → {answer.receiver}: {verdict(answer)}")
        yield f'<p class="verdict {kind}">{mark} {said}</p>'
    yield from (f"<p>{escape(note)}</p>" for note in (page.told.notes if page.told is not None else ()))
    yield from _picture(page, ways)
    for answer in answers:
        yield from _exposure(answer)
    if page.matrix is not None:
        yield from _matrix(page.matrix)
    yield from _drops(page.drops)
    yield "<section><h2>How this was made</h2>" + _table("", ("what", "value"), page.facts) + "</section>"


def _picture(page: Page, ways: Sequence[Way]) -> Iterator[str]:
    picture = page.picture
    box = f'viewBox="0 0 {picture.width:.0f} {picture.height:.0f}"'
    heading = "Where it went" if ways else "The datacentre"
    yield f'<section aria-label="{heading}"><h2>{heading}</h2><div class="scroll">'
    yield f'<svg class="pic" id="picture" role="img" aria-label="The datacentre" width="{picture.width:.0f}" '
    yield f'height="{picture.height:.0f}" {box}>{picture.body}'
    if len(ways) > 1:
        yield f'<g id="courses">{"".join(drawn(ways, picture))}</g>'
    yield '<g id="trail"></g></svg></div>'
    if ways:
        yield from _controls(ways)
    yield "</section>"


def _controls(ways: Sequence[Way]) -> Iterator[str]:
    yield '<div class="bar" role="toolbar" aria-label="Step through the trail">'
    for name, words in (
        ("first", "First"),
        ("back", "◀ Back"),
        ("play", "Play"),
        ("next", "Next ▶"),
        ("last", "Last"),
    ):
        yield f'<button type="button" id="{name}">{words}</button>'
    options = (f'<option value="{n}">{n + 1}: {escape(way.title)}</option>' for n, way in enumerate(ways))
    yield f'<label>Way <select id="which">{"".join(options)}</select></label>'
    if len(ways) > 1:
        yield '<label><input type="checkbox" id="others" checked> the other ways too</label>'
    yield '<input type="range" id="range" min="0" value="0" aria-label="Hop"></div>'
    yield '<p><output id="step" aria-live="polite"></output></p><div class="two"><div class="screen">'
    heads = "".join(f'<th scope="col">{head}</th>' for head in HOP_HEADS)
    yield f'<table id="hops" role="grid" aria-label="Hops"><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>'
    yield '<div id="frame" aria-label="The frame at this hop"></div></div>'
    yield '<p class="screen"><small>Keys: ← → step, Home and End, space plays; ↑ ↓ in the table.</small></p>'
    if len(ways) > 1:
        yield "".join(ways_table(ways))
    yield f'<div class="paper">{"".join(on_paper(ways))}</div>'
    yield "<noscript><style>.paper{display:block!important}.bar,.two,.screen{display:none}</style></noscript>"


def _exposure(answer: Answer) -> Iterator[str]:
    yield f"<section><h2>Who saw it: {escape(f'{answer.sender} → {answer.receiver}')}</h2>"
    sealed = "in clear" if all(hop.in_clear for trail in answer.trails for hop in trail.hops) else "encrypted"
    yield f"<p>Had to see it, {sealed}: {escape(', '.join(answer.path))}</p>"
    why = ("why", "statements", "closed by", "in clear")
    yield _table("Did see it, off the path", ("node", "box", "point", "interface", *why), map(_seen, answer.did_see))
    yield _table("Could have seen it", ("node", "by", *why), map(_could, answer.could_see))
    yield "</section>"


def _seen(seen: Seen) -> tuple[str, ...]:
    place = (seen.node, seen.box, seen.point.value, seen.interface)
    return *place, seen.why, " ".join(seen.statements), seen.closes or "-", "yes" if seen.in_clear else "no"


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
    size = "matrix many" if len(names) > MANY else "matrix"
    yield f'<div class="scroll"><table class="{size}"><thead><tr><td></td>'
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
