"""A picture of captures alone: nobody says what is between them, so each stands for itself, with its interfaces."""

from __future__ import annotations

from collections.abc import Iterator

from lab.frame import Hop
from lab.report.follow import Followed
from lab.report.layout import GAP, LINE, PAD, Item, Placed, flowed, text_width
from lab.report.picture import Anchor, Picture, shape

_WIDTH = 1100


def picture_of(told: Followed) -> Picture:
    """A box for each capture, in the order in which frames were first seen there."""
    interfaces: dict[str, dict[str, None]] = {}
    for hop in _hops(told):
        interfaces.setdefault(hop.box, {}).setdefault(hop.interface)
    whole = flowed([_capture(name, list(ports)) for name, ports in interfaces.items()], _WIDTH, GAP * 4)
    anchors: dict[tuple[str, str], Anchor] = {}
    shapes = "".join(_put(whole, PAD, PAD, "", anchors))
    return Picture(whole.width + 2 * PAD, whole.height + 2 * PAD, shapes, anchors)


def _hops(told: Followed) -> Iterator[Hop]:
    trails = (*(trail for answer in told.answers for trail in answer.trails), *told.trails)
    yield from (hop for trail in trails for hop in trail.hops)


def _capture(name: str, ports: list[str]) -> Item:
    chips = [Item("chip", port, text_width(port) + 2 * PAD, LINE + 4, port, (), "port") for port in ports]
    body = flowed(chips, _WIDTH / 3, GAP * 2)
    width = max(body.width, text_width(name)) + 2 * PAD
    return Item("box", name, width, body.height + LINE + 3 * PAD, name, (Placed(PAD, LINE + PAD, body),), "capture")


def _put(item: Item, x: float, y: float, capture: str, anchors: dict[tuple[str, str], Anchor]) -> Iterator[str]:
    if item.role == "capture":
        capture = item.name
    elif item.role == "port":
        anchors[capture, item.name] = (x + item.width / 2, y + item.height + 4)
    if item.style:
        yield shape(item, x, y, capture)
    for placed in item.inside:
        yield from _put(placed.item, x + placed.x, y + placed.y, capture, anchors)
