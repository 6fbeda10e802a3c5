"""How an OTV edge answers ARP for the other sites, as rows (docs/stretch.md).

In front of the flood: a reply that comes from another site is remembered (table 41, by `learn()`), and a request for
what is remembered is answered where it came in (table 42). xreg6 is the MAC that was asked for; reg2 is 1 where it is
known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.model import StretchKind
from lab.plan.stretching import End
from lab.plan.tables import GROUP, PUSH_TAG
from lab.plan.types import Row

KNOWN, ANSWER = 41, 42
REMEMBERED = 480
"""Seconds until what a reply said is forgotten (K)."""
MOST = 4096
_COOKIE = 0xA49 << 32
_SHORTEST, _TAG = 60, 4
_REQUEST, _REPLY = "arp,arp_op=1", "arp,arp_op=2"
_MAC = "OXM_OF_PKT_REG6[0..47]"
_ASKED, _ASKING, _SPARE = "NXM_OF_ARP_TPA[]", "NXM_OF_ARP_SPA[]", "NXM_NX_REG14[]"


def rows_of(live: Sequence[End], mac: str, lookup: int, learned: int, known: int, flood: int) -> Iterator[Row]:
    """`live`: ports and channels that forward; `mac`: the edge's own; the others are the lookup's tables. Nothing for a
    switch without an OTV port."""
    overlay = [end for end in live if end.config.stretch and end.config.stretch.kind is StretchKind.OTV]
    for end in overlay:
        here = f"in_port={end.number}"
        yield Row(
            lookup, 130, f"{here},{_REQUEST}", f"goto_table:{flood}", "asked by another site: its edge did not know"
        )
        yield Row(lookup, 125, f"{here},{_REPLY},{GROUP}", f"{_remember()},goto_table:{flood}", "told by another site")
        onward = f"{_remember()},resubmit(,{learned}),goto_table:{known}"
        yield Row(lookup, 120, f"{here},{_REPLY}", onward, "told by another site")
    if overlay:
        yield Row(
            lookup, 110, f"{_REQUEST},{GROUP}", f"resubmit(,{KNOWN}),goto_table:{ANSWER}", "L2S-1: after the first"
        )
        yield Row(ANSWER, 0, "", f"set_field:0->reg2,goto_table:{flood}", "not known, or no site of its own asks")
    for end in live if overlay else ():
        if end.config.stretch is None:
            yield from _answers(end, mac, flood)


def _remember() -> str:
    return (
        f"learn(table={KNOWN},priority=50,hard_timeout={REMEMBERED},cookie={_COOKIE:#x},limit={MOST},"
        f"NXM_NX_REG0[],eth_type=0x806,NXM_OF_ARP_OP[]=1,{_ASKED}={_ASKING},load:NXM_NX_ARP_SHA[]->{_MAC},"
        f"load:1->NXM_NX_REG2[])"
    )


def _answers(end: End, mac: str, flood: int) -> Iterator[Row]:
    """The answer goes back where the request came in; the request itself goes on to the rest of this site."""
    for number in end.inputs:
        match = f"reg2=1,in_port={number},arp"
        native = end.config.native if end.config.access is None else None
        if native is not None:
            yield Row(
                ANSWER, 60, f"{match},reg0={native:#x}", f"{_answer(mac, number, False)},goto_table:{flood}", "answered"
            )
        tagged = end.config.access is None
        yield Row(ANSWER, 50, match, f"{_answer(mac, number, tagged)},goto_table:{flood}", "answered")


def _answer(mac: str, port: int, tagged: bool) -> str:
    """A frame of its own: what stood behind the request is no part of it."""
    size = _SHORTEST + (_TAG if tagged else 0)
    parts = [
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
        f"set_field:{mac}->eth_src",
        "set_field:2->arp_op",
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
        f"move:{_MAC}->NXM_NX_ARP_SHA[]",
        f"move:{_ASKING}->{_SPARE}",
        f"move:{_ASKED}->{_ASKING}",
        f"move:{_SPARE}->{_ASKED}",
        *([PUSH_TAG] if tagged else []),
        "load:0->NXM_OF_IN_PORT[]",  # or it would never leave where the request came in
        f"output(port={port},max_len={size})",
    ]
    return f"clone({','.join(parts)})"
