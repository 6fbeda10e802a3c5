"""An answer's three-way difference, and what is said to have changed since an earlier answer."""

from __future__ import annotations

from typing import Any

import pytest

from lab.frame import Frame, Hop, Point
from lab.predict.passing import CouldSee
from lab.report.exposure import could_see_json, could_see_lines
from lab.report.tally import Tally, changes, tally_json, tally_lines
from lab.report.where import Answer, Seen, Trail, as_text, did_see_lines, end_text, policy_of, trail_lines

KEY = ("esx1", "esx1", "UplinkSnd", "vmnic0", (10,), "02:00:00:00:00:01", "02:00:00:00:00:02")
TAP = CouldSee("esx1:vmnic0 - tor1:esx1-vmnic0", "esx1", "vmnic0", "cable", "tap", "a tap", after="esx1:vmnic1 fails")
SNIFFER = CouldSee("spy", "esx1", "spy.eth0", "guest", "promiscuous", "listens", ("SEC-2",), "vlab set vnic spy x=y")


@pytest.mark.parametrize(
    ("tally", "unexpected", "missing"),
    [(Tally(KEY, 3, 3), 0, 0), (Tally(KEY, 3, 4), 1, 0), (Tally(KEY, 3, 4, 1), 0, 0), (Tally(KEY, 3, 1), 0, 2)],
    ids=["as predicted", "one too many", "a sampled copy", "two missing"],
)
def test_what_is_unexpected_and_what_is_missing(tally: Tally, unexpected: int, missing: int) -> None:
    assert (tally.unexpected, tally.missing) == (unexpected, missing)


def test_the_third_opinion_says_whether_a_sighting_was_possible() -> None:
    strange = [Tally(KEY, 0, 1)]
    assert tally_json(strange, [TAP])[0]["possible"] == "a tap"
    assert tally_json(strange, [SNIFFER])[0]["possible"] is None
    assert list(tally_lines(strange, [])) == ["esx1 UplinkSnd vmnic0 VLAN 10: predicted 0, observed 1, not possible"]
    assert list(tally_lines([Tally(KEY, 1, 1)], [])) == []


def test_what_could_see_is_told_with_what_closes_it() -> None:
    lines = list(could_see_lines([SNIFFER, TAP]))
    assert lines[1:3] == ["    spy: listens (SEC-2)", "      closed by: vlab set vnic spy x=y"]
    assert lines[3].endswith("on the path when esx1:vmnic1 fails")
    assert [entry["closes"] for entry in could_see_json([SNIFFER, TAP])] == ["vlab set vnic spy x=y", None]


def test_who_did_see_it_is_told_with_the_statement_and_what_closes_it() -> None:
    spy = Seen("spy", "esx1", Point.VNIC_OUT, "spy.eth0", "listens", ("SEC-2",), "vlab set vnic spy x=y")
    tors = [Seen(name, name, Point.PSWITCH_RCV, "", "flooded", ("VLAN-16",)) for name in ("tor1", "tor2")]
    assert list(did_see_lines([tors[0], spy, tors[1]])) == [
        "  seen off the path by:",
        "    tor1, tor2: flooded (VLAN-16)",
        "    spy: listens (SEC-2)",
        "      closed by: vlab set vnic spy x=y",
    ]
    assert list(did_see_lines([])) == []


def test_what_a_copy_passes_is_told_apart_from_the_path() -> None:
    copy = CouldSee("tor2", "tor2", "", "box", "capture", "a copy of the frame passes it", copy=True)
    box = CouldSee("tor1", "tor1", "", "box", "capture", "the frame passes it")
    lines = list(could_see_lines([box, copy]))
    assert lines[1:] == ["    who administers tor1: on the path", "    who administers tor2: on the way of a copy"]
    assert [entry["copy"] for entry in could_see_json([box, copy])] == [False, True]


def test_a_copy_that_came_back_to_its_host_says_by_which_uplink() -> None:
    here = Hop("esx1", "a", Point.VNIC_TX, "out", "eth0", (), "", "", "wire")
    back = Hop("esx1", "esx1", Point.UPLINK_RCV, "in", "vmnic1", (), "", "", "wire")
    end = Hop("esx1", "spy", Point.VNIC_OUT, "out", "spy.eth0", (), "", "", "wire")
    assert end_text((here, back, end)) == "a copy reached spy (esx1 spy.eth0, VnicOut, back in by vmnic1)"
    assert end_text((here, end)) == "a copy reached spy (esx1 spy.eth0, VnicOut)"


def test_many_guests_are_told_in_few_lines() -> None:
    crowd = [CouldSee(f"vm{n}", "esx1", f"vm{n}.eth0", "guest", "arp", f"way {n}", (), "") for n in range(50)]
    assert len(list(could_see_lines(crowd))) < 20
    assert "42 more ways" in "\n".join(could_see_lines(crowd))


def answer(**changed: Any) -> dict[str, Any]:
    hop = {
        "box": "esx1",
        "point": "UplinkSnd",
        "interface": "vmnic0",
        "vlans": [10],
        "evidence": "wire",
        "reason": None,
    }
    whole = {
        "from": "a",
        "to": "b",
        "disposition": "delivered",
        "reason": None,
        "agrees": True,
        "trails": [{"count": 3, "hops": [{**hop, "time_ns": 5}]}],
        "exposure": {"path": ["esx1"], "did_see": [], "could_see": could_see_json([SNIFFER])},
    }
    return {**whole, **changed}


def test_an_answer_like_the_baseline_has_no_change() -> None:
    later = answer(trails=[{"count": 9, "hops": [{**answer()["trails"][0]["hops"][0], "time_ns": 7}]}])
    assert changes(answer(), later) == []


CHANGED = [
    pytest.param({"disposition": "dropped"}, ["disposition: was delivered, is dropped"], id="disposition"),
    pytest.param({"agrees": False}, ["agrees: was yes, is no"], id="agrees"),
    pytest.param({"trails": []}, ["trail gone: esx1 UplinkSnd vmnic0 VLAN 10"], id="trail"),
    pytest.param(
        {"exposure": {"path": ["esx1", "tor1"], "did_see": [], "could_see": []}},
        ["on the path now: tor1", "could see it no more: spy by promiscuous (listens)"],
        id="exposure",
    ),
]


@pytest.mark.parametrize(("changed", "said"), CHANGED)
def test_what_changed_is_named(changed: dict[str, Any], said: list[str]) -> None:
    assert changes(answer(), answer(**changed)) == said


@pytest.mark.parametrize(
    ("point", "statements", "policy"),
    [
        (Point.UPLINK_SND, ("FWD-4", "TEAM-PID-1", "VLAN-3"), "loadbalance_srcid"),
        (Point.UPLINK_SND, ("FWD-4", "LBT-1"), "loadbalance_loadbased"),
        (Point.UPLINK_SND, ("FWD-6", "TEAM-EXP-2"), "failover_explicit, standby"),
        (Point.UPLINK_SND, ("TEAM-MAC-1", "TEAM-MAC-2"), "loadbalance_srcmac"),
        (Point.UPLINK_SND, ("TEAM-IPH-1", "TEAM-IPH-5"), "loadbalance_ip"),
        (Point.UPLINK_SND, ("LACP-4",), "LAG"),
        (Point.UPLINK_SND, ("BCN-7",), "every uplink, beacons blame nobody"),
        (Point.UPLINK_SND, ("MIR-7",), None),
        (Point.UPLINK_RCV, ("LACP-4",), None),
    ],
)
def test_the_policy_that_chose_an_uplink_is_named(
    point: Point, statements: tuple[str, ...], policy: str | None
) -> None:
    hop = Hop("esx1", "esx1", point, "out", "vmnic0", (), "", "", statements=statements)
    assert policy_of(hop) == policy
    assert (policy or "") in "\n".join(trail_lines([hop]))


def told(*trails: tuple[int, str, str]) -> list[str]:
    """The text about frames that went by these uplinks to these ends; three were sent."""
    frame = Frame("02:00:00:00:00:01", "02:00:00:00:00:02")
    up = Hop("esx1", "esx1", Point.UPLINK_SND, "out", "", (), frame.src, frame.dst, "wire")
    end = Hop("esx2", "", Point.VNIC_RX, "in", "eth0", (), frame.src, frame.dst, "wire")
    ways = [Trail(n, (up._replace(interface=nic), end._replace(node=node))) for n, nic, node in trails]
    answer = Answer(frame, 60, "a", "b", 3, "delivered", False, tuple(ways), (), True, (), (), ())
    return as_text(answer).splitlines()


def test_each_way_to_the_receiver_is_a_trail_with_its_count() -> None:
    lines = told((2, "vmnic0", "b"), (1, "vmnic1", "b"), (3, "vmnic0", "spy"))
    assert [line.strip() for line in lines if "went this way" in line] == [
        "2 of 3 went this way:",
        "1 of 3 went this way:",
    ]
    assert [line for line in lines if "also" in line] == ["  also: a copy reached spy (esx2 eth0, VnicRx)"]


def test_one_way_needs_no_count_and_a_copy_of_some_frames_has_one() -> None:
    lines = told((3, "vmnic0", "b"), (1, "vmnic0", "spy"))
    assert not [line for line in lines if "went this way" in line]
    assert [line for line in lines if "also" in line] == ["  also: 1 of 3: a copy reached spy (esx2 eth0, VnicRx)"]
