"""Layer-2 stretches without a lab: what the file may say, how far sites are apart, when a wire lets frames go."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import TopologyError
from lab.model import StretchKind, Topology
from lab.plan import compile_plan
from lab.realise.wire import BACKLOG_SECONDS, Direction, Order
from lab.teaming import initial_state
from lab.topology import read_topology, warnings
from lab.topology.distance import round_trip, too_far, vmotion_limit

ROOT = Path(__file__).parents[2]
BASE = """
name: sites
sites: {a: {}, b: {}, c: {}}
physical_switches: {sa: {site: a}, ta: {site: a}, sb: {site: b}, sc: {site: c}}
cables: [{ends: [sa, ta]}]
hosts:
  esx1: {site: a, uplinks: {vmnic0: {switch: ta}}, standard_switches: {v: {uplinks: [vmnic0]}}}
  esx2: {site: b, uplinks: {vmnic0: {switch: sb}}, standard_switches: {v: {uplinks: [vmnic0]}}}
"""


def stretched(*entries: str, release: str = "5.0") -> Topology:
    lines = "\n".join(f"  s{n}: {{{entry}}}" for n, entry in enumerate(entries))
    return read_topology(f'release: "{release}"{BASE}stretch:\n{lines}\n', "sites.yaml")


def told(*entries: str) -> list[str]:
    with pytest.raises(TopologyError) as wrong:
        stretched(*entries)
    return [f"{m.path}: {m.what}" for m in wrong.value.mistakes]


def test_every_site_has_a_way_to_every_other() -> None:
    topology = stretched("kind: vxlan, switches: [sa, sb, sc], vlans: [10]")
    ways = [cable for cable in topology.cables if cable.port.stretch]
    assert [cable.ends for cable in ways] == [("sa", "sb"), ("sa", "sc"), ("sb", "sc")]
    assert {cable.port.stretch.kind for cable in ways if cable.port.stretch} == {StretchKind.VXLAN}
    assert all(cable.port.carries(10) and not cable.port.carries(20) for cable in ways)


@pytest.mark.parametrize(("release", "port"), [("5.1", 8472), ("6.5", 4789)])
def test_vxlan_goes_by_its_releases_port(release: str, port: int) -> None:
    topology = stretched("kind: vxlan, switches: [sa, sb]", release=release)
    plan = compile_plan(topology, initial_state(topology))
    tunnel = plan.node_named["sa"].interface("sb").tunnel
    assert tunnel is not None and (tunnel.port, tunnel.local, tunnel.remote) == (port, "169.254.0.5", "169.254.0.6")


@pytest.mark.parametrize(
    ("kind", "mtu", "room"), [("otv", 1600, 1558), ("vxlan", 1600, 1550), ("vxlan", 1500, 1450), ("trunk", None, 9216)]
)
def test_l2s_8_a_stretch_takes_its_share_of_the_mtu(kind: str, mtu: int | None, room: int) -> None:
    topology = stretched(f"kind: {kind}, switches: [sa, sb]" + (f", mtu: {mtu}" if mtu else ""))
    assert compile_plan(topology, initial_state(topology)).node_named["sa"].interface("sb").mtu == room


@pytest.mark.parametrize(
    ("entries", "mistakes"),
    [
        (("switches: [sa, sx]",), ["stretch.s0.switches[1]: no physical switch 'sx'"]),
        (("switches: [sa, sa]",), ["stretch.s0.switches[1]: 'sa' is here twice"]),
        (("switches: [sa]",), ["stretch.s0.switches: "]),
        (("switches: [sa, ta]",), ["'ta' and 'sa' are at one site", "closes a loop"]),
        (("switches: [sa, sb], mtu: 1600",), ["stretch.s0.mtu: a trunk adds nothing to a frame"]),
        (("switches: [sa, sb], kind: mpls",), ["stretch.s0.kind: "]),
        (("switches: [sa, sb], delay: 3s",), ["stretch.s0.delay: '3s' is longer than 2 s"]),
        (("switches: [sa, sb], delay: 1ms, jitter: 2ms",), ["stretch.s0.jitter: more than the delay"]),
        (("switches: [sa, sb], loss: 2",), ["stretch.s0.loss: 2 is out of range"]),
        (("switches: [sa, sb]", "switches: [sb, sa], kind: otv"), ["stretch.s1: closes a loop between its pSwitches"]),
        (("switches: [sa, sb, sc]",), ["stretch.s0: closes a loop between its pSwitches"]),
    ],
)
def test_what_is_wrong_with_a_stretch_is_told_in_its_place(entries: tuple[str, ...], mistakes: list[str]) -> None:
    found = told(*entries)
    assert len(found) == len(mistakes)
    assert all(any(expected in one for one in found) for expected in mistakes), found


@pytest.mark.parametrize("kind", ["otv", "vpls", "vxlan"])
def test_three_sites_are_no_loop_where_the_horizon_is_split(kind: str) -> None:
    assert len(stretched(f"kind: {kind}, switches: [sa, sb, sc]").stretches) == 1


# -- distances


@pytest.mark.parametrize(("release", "limit"), [("4.1", 0.005), ("5.0", 0.01), ("5.5", 0.01), ("6.0", 0.15)])
def test_vmo_9_the_release_says_how_far_vmotion_goes(release: str, limit: float) -> None:
    assert vmotion_limit(release) == limit


def test_vmo_9_the_shortest_way_counts() -> None:
    topology = stretched("kind: vpls, switches: [sa, sb, sc], delay: 6ms")
    assert round_trip(topology, "esx1", "esx2") == pytest.approx(0.012)
    assert round_trip(topology, "esx1", "esx1") == 0.0
    assert [(one, other) for one, other, _ in too_far(topology)] == [("a", "b")]
    assert any("a and b are 12 ms apart" in line for line in warnings(topology))


def test_vmo_9_hosts_without_a_way_between_them_have_no_distance() -> None:
    topology = stretched("switches: [sa, sc], delay: 1ms")
    assert round_trip(topology, "esx1", "esx2") is None
    assert not list(too_far(topology))


# -- the wire


def test_a_frame_leaves_after_the_delay_and_none_overtakes() -> None:
    way = Direction(Order(delay=0.005, jitter=0.002), iter([1.0, 0.0, 0.5]).__next__)
    assert [way.leaves(t, 100) for t in (10.0, 10.001, 10.002)] == pytest.approx([10.007, 10.007, 10.007])


def test_a_share_of_frames_is_lost() -> None:
    way = Direction(Order(loss=0.25), iter([0.1, 0.9, 0.24, 0.25]).__next__)
    assert [way.leaves(1.0, 100) is None for _ in range(4)] == [True, False, True, False]


def test_a_rate_spaces_frames_and_what_has_to_wait_too_long_is_lost() -> None:
    way = Direction(Order(rate=100_000))  # 125 bytes take 10 ms
    left = [way.leaves(0.0, 125) for _ in range(20)]
    assert left[:3] == pytest.approx([0.01, 0.02, 0.03])
    assert sum(one is not None for one in left) == round(BACKLOG_SECONDS / 0.01) + 1
