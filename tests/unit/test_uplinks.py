"""What a host concludes from what it has seen of its uplinks: who is dead by beacons, which port moves by load."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.uplinks import Move, PortLoad, Traffic, UplinkLoad, Verdict, beacon_verdict, lbt_move

NAMES = ("a", "b", "c", "d")
UNSURE = Verdict(unsure=True)


def mesh(*names: str) -> set[tuple[str, str]]:
    """Everybody of these hears everybody."""
    return set(permutations(names, 2))


def dead(*names: str) -> Verdict:
    return Verdict(frozenset(names))


@pytest.mark.parametrize(
    ("uplinks", "hears", "expected"),
    [
        ("", mesh(), Verdict()),
        ("a", mesh(), Verdict()),
        ("ab", mesh("a", "b"), Verdict()),
        ("ab", {("a", "b")}, UNSURE),
        ("ab", mesh(), UNSURE),
        ("abc", mesh("a", "b", "c"), Verdict()),
        ("abc", mesh("a", "b"), dead("c")),
        ("abc", mesh("a", "b") | {("c", "a")}, Verdict()),
        ("abc", mesh("a", "b") | {("a", "c")}, Verdict()),
        ("abc", mesh(), UNSURE),
        ("abcd", mesh("a", "b"), dead("c", "d")),
        ("abcd", mesh("a", "b") | mesh("c", "d"), Verdict()),
    ],
)
def test_bcn_6_bcn_7_verdict(uplinks: str, hears: set[tuple[str, str]], expected: Verdict) -> None:
    assert beacon_verdict([*uplinks], hears) == expected


@pytest.mark.parametrize("stranger", [("a", "x"), ("x", "c"), ("c", "c")])
def test_bcn_6_what_is_heard_of_strangers_and_of_oneself_keeps_nobody_alive(stranger: tuple[str, str]) -> None:
    assert beacon_verdict("abc", mesh("a", "b") | {stranger}) == dead("c")


HEARS = st.sets(st.sampled_from(sorted(mesh(*NAMES))))
TEAM = st.lists(st.sampled_from(NAMES), unique=True)


@given(TEAM, HEARS)
def test_bcn_6_at_least_two_of_a_team_are_always_left(team: list[str], hears: set[tuple[str, str]]) -> None:
    verdict = beacon_verdict(team, hears)
    assert verdict.dead <= {*team}
    assert not verdict.dead or len({*team} - verdict.dead) >= 2
    assert not (verdict.dead and verdict.unsure)


# -- Load-Based Teaming

SPEED = 100.0


def up(sent: float, received: float = 0.0, speed: float = SPEED) -> UplinkLoad:
    return UplinkLoad(Traffic(sent, received), speed)


def port(uplink: str, sent: float, candidates: str = "ab", received: float = 0.0) -> PortLoad:
    return PortLoad(uplink, tuple(candidates), Traffic(sent, received))


@pytest.mark.parametrize(
    ("uplinks", "ports", "expected"),
    [
        pytest.param({"a": up(74), "b": up(0)}, {"p": port("a", 74)}, None, id="lbt-5 74 %"),
        pytest.param({"a": up(75), "b": up(0)}, {"p": port("a", 70)}, None, id="lbt-2 over means over"),
        pytest.param({"a": up(80), "b": up(0)}, {"p": port("a", 70)}, Move("p", "b", "a"), id="lbt-5 80 %"),
        pytest.param(
            {"a": up(80), "b": up(0)},
            {"p": port("a", 30), "q": port("a", 50)},
            Move("q", "b", "a"),
            id="lbt-2 the busiest",
        ),
        pytest.param(
            {"a": up(0, 80), "b": up(0)},
            {"p": port("a", 9), "q": port("a", 0, received=70)},
            Move("q", "b", "a"),
            id="lbt-3 received",
        ),
        pytest.param(
            {"a": up(80), "b": up(30), "c": up(10)},
            {"p": port("a", 40, "abc")},
            Move("p", "c", "a"),
            id="lbt-11 the least loaded",
        ),
        pytest.param({"a": up(80), "b": up(30)}, {"p": port("a", 50)}, None, id="lbt-11 nowhere it would fit"),
        pytest.param({"a": up(80), "b": up(45)}, {"p": port("a", 30)}, None, id="lbt-11 under means under"),
        pytest.param(
            {"a": up(80), "b": up(0, speed=1000)},
            {"p": port("a", 80)},
            Move("p", "b", "a"),
            id="lbt-7 a faster uplink",
        ),
        pytest.param({"a": up(80), "b": up(0, speed=90)}, {"p": port("a", 70)}, None, id="lbt-7 a slower one"),
        pytest.param({"a": up(80), "b": up(0)}, {"p": port("a", 80, "a")}, None, id="lbt-10 one uplink only"),
        pytest.param({"a": up(80), "b": up(0)}, {"p": port("a", 0)}, None, id="an idle port is no help"),
        pytest.param({"a": up(80), "b": up(0)}, {"p": port("b", 0)}, None, id="load that is not theirs"),
        pytest.param(
            {"a": up(80), "b": up(90), "c": up(0)},
            {"p": port("a", 60, "abc"), "q": port("b", 70, "b")},
            Move("p", "c", "a"),
            id="lbt-10 the next one, where the most loaded has none to give",
        ),
    ],
)
def test_lbt_choice(uplinks: dict[str, UplinkLoad], ports: dict[str, PortLoad], expected: Move | None) -> None:
    assert lbt_move(uplinks, ports) == expected


RATES = st.floats(0, 200, allow_nan=False)
TRAFFIC = st.builds(Traffic, RATES, RATES)
UPLINKS = st.fixed_dictionaries(
    {name: st.builds(UplinkLoad, TRAFFIC, st.sampled_from([50.0, 100.0, 400.0])) for name in NAMES}
)
PORTS = st.dictionaries(
    st.sampled_from("pqrst"),
    st.builds(PortLoad, st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True).map(tuple), TRAFFIC),
)
THRESHOLDS = st.floats(0.1, 1.0)


@given(UPLINKS, PORTS, THRESHOLDS)
def test_lbt_11_a_move_leaves_an_overloaded_uplink_and_overloads_none(
    uplinks: dict[str, UplinkLoad], ports: dict[str, PortLoad], threshold: float
) -> None:
    move = lbt_move(uplinks, ports, threshold)
    if move is not None:
        moved = ports[move.port]
        assert move.was == moved.uplink != move.uplink in moved.candidates
        assert uplinks[move.was].share > threshold
        assert uplinks[move.uplink].with_more(moved.traffic).share < threshold


@given(UPLINKS, PORTS, THRESHOLDS)
def test_lbt_2_under_the_threshold_nothing_moves(
    uplinks: dict[str, UplinkLoad], ports: dict[str, PortLoad], threshold: float
) -> None:
    quiet = {name: load for name, load in uplinks.items() if load.share <= threshold}
    here = {name: load for name, load in ports.items() if {load.uplink, *load.candidates} <= quiet.keys()}
    assert lbt_move(quiet, here, threshold) is None


@given(UPLINKS, PORTS)
def test_lbt_2_the_port_is_the_busiest_of_its_uplink(
    uplinks: dict[str, UplinkLoad], ports: dict[str, PortLoad]
) -> None:
    move = lbt_move(uplinks, ports)
    if move is not None:
        others = [load.traffic.most for load in ports.values() if load.uplink == move.was]
        assert ports[move.port].traffic.most == max(others) > 0
