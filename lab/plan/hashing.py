"""A hash of the frame as rows: XOR of 32-bit words, modulo n (docs/teaming.md, "Hashes").

OpenFlow can move fields but not compute, so both are done by tables, a nibble at a time: XOR is a table of 256 rows,
the modulo is one of 16 n. Whoever wants a hash sets reg11 to n, reg13 to the recipe and reg14 to the port's number,
and finds the number 0 to n - 1 in reg10. reg8 is the hash as it grows, reg9 the next word, reg12 one step of nibbles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lab.plan.types import Row
from lab.plan.vlans import UNTAGGED

_NAME = re.compile(r"(srcDest|src|dest)?(Mac|IpTcpUdpPort|Ip|TcpUdpPort|PortId)?([vV]lan)?")
_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Mac": ("mac",),
        "Ip": ("ip",),
        "IpTcpUdpPort": ("ip", "port"),
        "TcpUdpPort": ("port",),
    }
)
_PSWITCH = MappingProxyType(
    {
        "src-dst-ip": ("src_ip", "dst_ip"),
        "src-ip": ("src_ip",),
        "dst-ip": ("dst_ip",),
        "src-mac": ("src_mac",),
        "dst-mac": ("dst_mac",),
        "src-dst-mac": ("src_mac", "dst_mac"),
        "src-dst-port": ("src_ip", "dst_ip", "src_port", "dst_port"),
    }
)
_HASH, _NEXT, _NUMBER, _PORT = "NXM_NX_REG8", "NXM_NX_REG9", "NXM_NX_REG10", "NXM_NX_REG14"
_NIBBLES = range(28, -4, -4)


@dataclass(frozen=True, order=True)
class Recipe:
    """`words` of docs/teaming.md; `bits`: how many low bits of an address count; `why` is a statement id."""

    words: tuple[str, ...]
    why: str
    bits: int = 32


@dataclass(frozen=True)
class Tables:
    """Where a switch has room for the hash: tables that others do not use, and the one to go on to."""

    hash: int
    xor: int
    step: int
    modulo: int
    divide: int
    spread: int

    @property
    def names(self) -> dict[int, str]:
        return {
            self.hash: "hash of the frame",
            self.xor: "XOR of the next word",
            self.step: "XOR of a nibble",
            self.modulo: "hash modulo n",
            self.divide: "modulo of a nibble",
            self.spread: "chosen by the hash",
        }


SOURCE_MAC = Recipe(("src_octet",), "TEAM-MAC-2")


def ip_hash(octet_only: bool) -> Recipe:
    """`loadbalance_ip`, and with the knob `iphash: lastoctet`."""
    return Recipe(("src_ip", "dst_ip"), "TEAM-IPH-1", 8 if octet_only else 32)


def lag_hash(name: str) -> Recipe:
    """By one of the API's twenty names."""
    found = _NAME.fullmatch(name)
    assert found, name
    ends = {"srcDest": ("src", "dst"), "src": ("src",), "dest": ("dst",), None: ()}[found[1]]
    words = [f"{end}_{word}" for word in _WORDS.get(found[2] or "", ()) for end in ends]
    words += ["port_id"] if found[2] == "PortId" else []
    words += ["vlan"] if found[3] else []
    return Recipe(tuple(words), "LACP-4")


def channel_hash(name: str) -> Recipe:
    """By a pSwitch's word for it."""
    return Recipe(_PSWITCH[name], "TEAM-IPH-3")


def choose(recipe: Recipe, recipes: Mapping[Recipe, int], n: int, port: int, tables: Tables) -> str:
    """Actions that end with the number in reg10, at the table `tables.spread`."""
    number = f"set_field:{port}->reg14," if "port_id" in recipe.words else ""
    return f"{number}set_field:{n}->reg11,set_field:{recipes[recipe]}->reg13,goto_table:{tables.hash}"


def divided(n: int, tables: Tables) -> str:
    """Actions that leave reg8 modulo n in reg10 and go on."""
    return f"set_field:{n}->reg11,resubmit(,{tables.modulo})"


def rows_of(recipes: Mapping[Recipe, int], counts: Iterable[int], tables: Tables) -> Iterator[Row]:
    """`recipes`: those in use -> their numbers; `counts`: every n in use. Nothing where nothing is hashed."""
    for recipe, number in recipes.items():
        yield from _recipe(recipe, number, tables)
    if any(len(recipe.words) > 1 for recipe in recipes):
        yield from _xor(tables)
    yield from _modulo(sorted(set(counts)), tables)


def _recipe(recipe: Recipe, number: int, tables: Tables) -> Iterator[Row]:
    """One row for each kind of frame that has other words. Open vSwitch reads nothing behind a second tag."""
    here = f"reg13={number}"
    # (priority, match, which words such a frame has)
    kinds: list[tuple[int, str, Mapping[str, str]]] = [(10, "", {})]
    if {"src_ip", "dst_ip"} & {*recipe.words}:
        kinds += [(50, f"{UNTAGGED},{kind}", _ADDRESSES[kind]) for kind in ("ip", "ipv6", "arp")]
    if {"src_port", "dst_port"} & {*recipe.words}:
        for kind, ip in (("tcp", "ip"), ("udp", "ip"), ("tcp6", "ipv6"), ("udp6", "ipv6")):
            ports = _ports(kind.removesuffix("6"))
            kinds.append((90, f"{UNTAGGED},{kind},nw_frag=no", {**_ADDRESSES[ip], **ports}))
    for priority, match, fields in kinds:
        moves = [move for word in recipe.words for move in [_word(word, fields, recipe.bits)] if move]
        yield Row(tables.hash, priority, f"{here},{match}".rstrip(","), _folded(moves, tables), recipe.why)


def _word(word: str, fields: Mapping[str, str], bits: int) -> Callable[[str], str] | None:
    """How a word gets into a register that is 0; None where such a frame has none."""
    always = {
        "src_mac": "move:NXM_OF_ETH_SRC[0..31]->{}[]",
        "dst_mac": "move:NXM_OF_ETH_DST[0..31]->{}[]",
        "src_octet": "move:NXM_OF_ETH_SRC[0..7]->{}[0..7]",
        "vlan": "move:NXM_NX_REG0[]->{}[]",
        "port_id": f"move:{_PORT}[]->{{}}[]",
    }
    form = always.get(word) or fields.get(f"{word}/8" if bits == 8 else word)
    return form.format if form else None


_ADDRESSES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ip": {
            "src_ip": "move:NXM_OF_IP_SRC[]->{}[]",
            "dst_ip": "move:NXM_OF_IP_DST[]->{}[]",
            "src_ip/8": "move:NXM_OF_IP_SRC[0..7]->{}[0..7]",
            "dst_ip/8": "move:NXM_OF_IP_DST[0..7]->{}[0..7]",
        },
        "ipv6": {
            "src_ip": "move:NXM_NX_IPV6_SRC[0..31]->{}[]",
            "dst_ip": "move:NXM_NX_IPV6_DST[0..31]->{}[]",
            "src_ip/8": "move:NXM_NX_IPV6_SRC[0..7]->{}[0..7]",
            "dst_ip/8": "move:NXM_NX_IPV6_DST[0..7]->{}[0..7]",
        },
        # TEAM-IPH-5: what stands where an IPv4 header would have the addresses.
        "arp": {
            "src_ip": "move:NXM_NX_ARP_SHA[0..15]->{0}[16..31],move:NXM_OF_ARP_SPA[16..31]->{0}[0..15]",
            "dst_ip": "move:NXM_OF_ARP_SPA[0..15]->{0}[16..31],move:NXM_NX_ARP_THA[32..47]->{0}[0..15]",
            "src_ip/8": "move:NXM_OF_ARP_SPA[16..23]->{}[0..7]",
            "dst_ip/8": "move:NXM_NX_ARP_THA[32..39]->{}[0..7]",
        },
    }
)


def _ports(kind: str) -> dict[str, str]:
    return {f"{end}_port": f"move:NXM_OF_{kind.upper()}_{end.upper()}[]->{{}}[0..15]" for end in ("src", "dst")}


def _folded(moves: list[Callable[[str], str]], tables: Tables) -> str:
    """The first word into reg8, every other one into reg9 and from there onto it."""
    actions = ["set_field:0->reg8"]
    for place, move in enumerate(moves):
        actions += [move(_HASH)] if place == 0 else ["set_field:0->reg9", move(_NEXT), f"resubmit(,{tables.xor})"]
    return ",".join([*actions, f"resubmit(,{tables.modulo})", f"goto_table:{tables.spread}"])


def _xor(tables: Tables) -> Iterator[Row]:
    steps = [
        f"move:{_HASH}[{low}..{low + 3}]->NXM_NX_REG12[0..3],move:{_NEXT}[{low}..{low + 3}]->NXM_NX_REG12[4..7],"
        f"resubmit(,{tables.step}),move:NXM_NX_REG12[0..3]->{_HASH}[{low}..{low + 3}]"
        for low in _NIBBLES
    ]
    yield Row(tables.xor, 0, "", ",".join(steps), "reg8 ^= reg9")
    for both in range(256):
        yield Row(tables.step, 50, f"reg12={both:#x}/0xff", f"set_field:{both % 16 ^ both // 16:#x}/0xf->reg12")


def _modulo(counts: Iterable[int], tables: Tables) -> Iterator[Row]:
    """Horner's rule: the rest so far, times 16, plus the next nibble."""
    counts = list(counts)
    steps = [f"move:{_HASH}[{low}..{low + 3}]->NXM_NX_REG12[0..3],resubmit(,{tables.divide})" for low in _NIBBLES]
    if counts:
        yield Row(tables.modulo, 0, "", ",".join(["set_field:0->reg10", *steps]), "reg10 = reg8 mod reg11")
    for n in counts:
        for rest in range(n):
            for nibble in range(16):
                match = f"reg11={n},reg10={rest},reg12={nibble:#x}/0xf"
                yield Row(tables.divide, 50, match, f"set_field:{(16 * rest + nibble) % n}->reg10", f"mod {n}")
