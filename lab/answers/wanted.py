"""What is to be followed: a token, or the frames of a flow, in a user's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.client import Place, resolve
from lab.errors import UsageError
from lab.observe.bpf import Filter
from lab.observe.pcapng import CaptureFile, Packet
from lab.observe.peel import untagged
from traffic.canary import MAGIC

SHORTEST_TOKEN = 4
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_WORDS = ("src", "dst", "host", "port", "proto")


@dataclass(frozen=True)
class Wanted:
    """`text` says it; `needle` must be in a frame's bytes, and `filter` must take the frame without its tags. `nodes`
    are the guests that it names."""

    text: str
    needle: bytes = b""
    filter: Filter | None = None
    nodes: frozenset[str] = frozenset()

    def packets(self, capture: CaptureFile) -> Iterator[Packet]:
        """Those of a file that are wanted."""
        for packet in capture.find(self.needle):
            if self.filter is None or self.filter.matches(untagged(packet.data)):
                yield packet


def canaries() -> Wanted:
    return Wanted("canaries", MAGIC)


def token_wanted(text: str) -> Wanted:
    """`text` is hexadecimal, with or without colons. Raises UsageError."""
    try:
        needle = bytes.fromhex(text.removeprefix("0x").replace(":", " "))
    except ValueError:
        raise UsageError(f"--token {text!r} is not hexadecimal") from None
    if len(needle) < SHORTEST_TOKEN:
        raise UsageError(f"--token needs {SHORTEST_TOKEN} bytes or more, or it is found everywhere")
    return Wanted(f"token {needle.hex()}", needle)


def flow_wanted(text: str, places: Mapping[str, Place]) -> Wanted:
    """`src web1 dst db1 port 3306` is both directions of that flow; anything else is a libpcap filter as it stands.
    Names stand for the address that the lab gave them, or the MAC. Raises UsageError."""
    words = text.split()
    if not words:
        raise UsageError("--flow is empty: say src, dst, host, port or proto, or a capture filter")
    if len(words) % 2 or any(word not in _WORDS for word in words[::2]):
        return Wanted(f"flow {text}", filter=Filter(text))
    said = dict(zip(words[::2], words[1::2], strict=True))
    if len(said) * 2 != len(words):
        raise UsageError(f"--flow {text!r} says something twice")
    named = {key: _place(said[key], places) for key in ("src", "dst", "host") if key in said}
    rest = [_rest(key, said[key]) for key in ("port", "proto") if key in said]
    forth = [_term(key, said[key], named[key]) for key in named]
    back = [_term({"src": "dst", "dst": "src"}.get(key, key), said[key], named[key]) for key in named]
    terms = {" and ".join((*ends, *rest)): None for ends in (forth, back)}
    nodes = frozenset(place.node for place in named.values() if place is not None)
    return Wanted(f"flow {text}", filter=Filter(" or ".join(f"({term})" for term in terms)), nodes=nodes)


def _place(name: str, places: Mapping[str, Place]) -> Place | None:
    """None for an address, which needs no lab to be known."""
    if name.replace(".", "").isdigit() or ":" in name:
        return None
    if not places:
        raise UsageError(f"--flow names {name!r}: say which lab or topology FILE that is in, or give its address")
    return resolve(name, places)


def _rest(key: str, value: str) -> str:
    """libpcap takes `icmp` for a word of its own, and `\\icmp` for the protocol's name."""
    if key == "port":
        return f"port {value}"
    return f"ip proto {value}" if value.isdigit() else f"ip proto \\{value}"


def _term(direction: str, name: str, place: Place | None) -> str:
    way = "" if direction == "host" else f"{direction} "
    if place is None and _MAC.fullmatch(name):
        return f"ether {way or 'host '}{name}"
    if place is None:
        return f"{way}host {name}"
    address = place.address.split("/")[0]
    return f"{way}host {address}" if address else f"ether {way or 'host '}{place.mac}"
