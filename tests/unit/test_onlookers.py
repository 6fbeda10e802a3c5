"""Why somebody off the path saw a frame; each remedy that is named keeps it from being seen there again."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from test_exposure import closed, edition

from lab.answers.onlookers import Asking, Onlooking, onlooking, vids_on
from lab.client import places_of
from lab.frame import BROADCAST, Frame, Hop, Tag
from lab.predict import Predictor
from lab.predict.passing import CouldSee
from lab.state import State
from lab.teaming import initial_state
from lab.topology.edit import Edition


def told(
    used: Edition, who: str, ends: tuple[str, str], to: str = "", tags: tuple[int, ...] = (), **state: object
) -> Onlooking | None:
    """Of the first copy that reaches `who`; None when none does."""
    places, now = places_of(used.topology), replace(initial_state(used.topology), **state)
    frame = Frame(places[ends[0]].mac, to or places[ends[1]].mac, tuple(map(Tag, tags)), 0x0800, bytes(60))
    every = list(Predictor(used.topology, now).predict(ends[0], frame).trails())
    asking = Asking(used.topology, frame, ends, vids_on(every))
    ways = [way for way in every if _reaches(way[-1], who)]
    return onlooking(asking, ways[0]) if ways else None


def _reaches(last: Hop, who: str) -> bool:
    return last.reason is None and last.node == who


def remedied(used: Edition, seen: Onlooking) -> Edition:
    return closed(used, CouldSee("", "", "", "", "", "", closes=seen.closes))


LISTENS = {"promiscuous": frozenset({("esx1", "sniffer.eth0")})}
ENDS = ("victim.eth0", "gw")
MAC_OF_REMOTE = {"macs": MappingProxyType({("esx1", "sniffer.eth0"): "00:50:56:00:00:04"})}
KINDS = [
    pytest.param("sniffing", "sniffer", ENDS, "", LISTENS, ("SEC-2",), id="promiscuous"),
    pytest.param("sniffing", "evil", ENDS, BROADCAST, {}, ("FWD-6", "VLAN-4"), id="broadcast"),
    pytest.param("sniffing", "gw", ("victim.eth0", "remote.eth0"), "", {}, ("VLAN-16",), id="flooded"),
    pytest.param("port-mirroring", "ids1", ("web1.eth0", "web2.eth0"), "", {}, ("MIR-1",), id="mirrored"),
]


@pytest.mark.parametrize(("name", "who", "ends", "to", "state", "statements"), KINDS)
def test_who_saw_it_is_told_with_the_statement_and_with_what_ends_it(
    name: str, who: str, ends: tuple[str, str], to: str, state: dict[str, object], statements: tuple[str, ...]
) -> None:
    used = edition(name)
    seen = told(used, who, ends, to, **state)
    assert seen is not None
    assert seen.statements == statements
    assert told(remedied(used, seen), who, ends, to, **state) is None


def test_sec_10_a_guest_that_has_set_the_receivers_mac() -> None:
    used = edition("sniffing")
    assert places_of(used.topology)["remote.eth0"].mac == "00:50:56:00:00:04"
    seen = told(used, "sniffer", ("victim.eth0", "remote.eth0"), **MAC_OF_REMOTE)
    assert seen is not None
    assert seen.statements == ("SEC-10", "ATK-6")
    assert told(remedied(used, seen), "sniffer", ("victim.eth0", "remote.eth0"), **MAC_OF_REMOTE) is None


def test_sec_12_what_bears_a_spoofers_own_address_was_asked_for() -> None:
    used = edition("sniffing")
    evil = places_of(used.topology)["evil.eth0"].mac
    seen = told(used, "evil", ENDS, evil)
    assert seen is not None
    assert (seen.why, seen.statements) == ("the frame is addressed to it", ("SEC-12", "ATK-5"))
    assert told(remedied(used, seen), "evil", ENDS, evil) is None


def test_atk_1_what_hops_between_vlans_is_kept_out_of_both() -> None:
    used, ends = edition("attacks"), ("hopper.eth0", "db2.eth0")
    for who in ("range1", "web1"):
        seen = told(used, who, ends, BROADCAST, (10, 20))
        assert seen is not None
        assert "port_group=db" not in seen.closes  # VLAN 20
        assert told(remedied(used, seen), who, ends, BROADCAST, (10, 20)) is None


def test_no_policy_keeps_a_frame_from_a_box_that_a_pswitch_floods_it_to() -> None:
    used = edition("sniffing")
    frame = Frame(places_of(used.topology)["victim.eth0"].mac, "00:50:56:3f:00:01")
    said = Predictor(used.topology, _cold(used)).predict("victim.eth0", frame)
    (way,) = (way for way in said.trails() if way[-1].box == "esx2")
    seen = onlooking(Asking(used.topology, frame, ENDS, vids_on([way])), [hop for hop in way if hop.reason is None])
    assert (seen.closes, seen.why) == ("", "flooded: a pSwitch does not know the destination")


def _cold(used: Edition) -> State:
    return initial_state(used.topology)
