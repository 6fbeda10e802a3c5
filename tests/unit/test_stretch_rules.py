"""Layer-2 stretches without a lab: what the file may say, how far sites are apart, when a wire lets frames go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import TopologyError
from lab.frame import BROADCAST, DropReason, Frame, mac_bytes
from lab.model import PortKey, StretchKind, Topology
from lab.plan import arping, compile_plan
from lab.plan.distance import BACKLOG_SECONDS, distance
from lab.plan.types import Way
from lab.plan.wiring import WIRE_MTU
from lab.predict import predict
from lab.predict.arping import said_by
from lab.realise.wire import Direction, Order
from lab.state_json import from_json, to_json
from lab.teaming import initial_state
from lab.topology import read_topology, warnings
from lab.topology.distance import ft_warnings, round_trip, too_far, vmotion_limit

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


def test_netem_is_told_of_a_way_in_its_own_units() -> None:
    told = distance(Way(delay=0.005, jitter=0.002, loss=0.25, rate=8_000_000))
    assert (told.delay, told.jitter, told.rate) == (5_000_000, 2_000_000, 1_000_000)
    assert told.loss / 0xFFFFFFFF == pytest.approx(0.25)


@pytest.mark.parametrize("rate", [64_000, 8_000_000, 10_000_000_000])
def test_netem_has_room_for_the_smallest_frames_and_the_backlog_is_cut_before_it(rate: int) -> None:
    told = distance(Way(delay=0.5, jitter=0.1, rate=rate))
    assert told.limit >= (0.5 + 0.1 + BACKLOG_SECONDS) * rate / (60 * 8)
    assert told.burst >= BACKLOG_SECONDS * rate / 8 + WIRE_MTU


def test_a_way_of_any_rate_cuts_no_backlog_and_still_lets_none_overtake() -> None:
    told = distance(Way(delay=0.005, jitter=0.005))
    assert told.burst == 0 and told.rate > 0


# -- what a frame meets


CUT = (
    BASE.replace("{v: {uplinks: [vmnic0]}}", "{v: {uplinks: [vmnic0], port_groups: {web: {vlan: 10}}}}")
    + """
vms:
  web1: {host: esx1, networks: [web]}
  web2: {host: esx2, networks: [web]}
stretch:
"""
)


def ends_of(kind: str, sender: str, deaf: PortKey | None = None, size: int = 60) -> set[str]:
    """Where a broadcast of web1 or web2 ends, and why; by prediction."""
    topology = read_topology(f"{CUT}  s: {{kind: {kind}, switches: [sa, sb]}}\n", "sites.yaml")
    state = replace(initial_state(topology), deaf=frozenset([deaf] if deaf else []))
    nic = topology.vms[sender].nics[0]
    frame = Frame(nic.mac, BROADCAST, payload=bytes(size - 14))
    return {f"{hop.box}:{hop.interface} {hop.reason}" for hop in predict(topology, state, nic.label, frame).drops}


@pytest.mark.parametrize(
    ("sender", "ends"), [("web1", {"sb:sa PSwitch Port Hears Nothing"}), ("web2", set())], ids=["to it", "from it"]
)
def test_l2s_10_a_port_that_hears_nothing_still_sends(sender: str, ends: set[str]) -> None:
    assert ends_of("trunk", sender, ("sb", "sa")) == ends
    assert ends_of("trunk", sender) == set()


def test_l2s_10_only_what_comes_in_by_a_deaf_port_has_a_row_to_end_it() -> None:
    topology = read_topology(f"{CUT}  s: {{switches: [sa, sb]}}\n", "sites.yaml")
    before = initial_state(topology)
    after = replace(before, deaf=frozenset([("sb", "sa")]))
    rows = [{*compile_plan(topology, state).bridges_of("sb")[0].rows} for state in (before, after)]
    (new,) = [row for row in rows[1] - rows[0] if row.reason]
    assert (new.table, new.reason, new.why, {row.table for row in rows[1] ^ rows[0]} <= {0, 10}) == (
        0, DropReason.PSWITCH_DEAF, "L2S-10", True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "size", "ends"),
    [
        ("trunk", 9000, set()),
        ("otv", 1572, set()),
        ("otv", 1573, {"sa:sb MTU Exceeded"}),
        ("vxlan", 1564, set()),
        ("vxlan", 1565, {"sa:sb MTU Exceeded"}),
    ],
)
def test_l2s_8_a_frame_that_has_no_room_is_foretold_to_disappear(kind: str, size: int, ends: set[str]) -> None:
    assert ends_of(kind, "web1", size=size) == ends


# -- ceilings


@pytest.mark.parametrize(
    ("release", "delay", "beyond"),
    [
        ("5.0", "1ms", ""),
        ("5.0", "3ms", "VPLEX Metro allows 5 ms"),
        ("5.0", "6ms", "vMotion in 5.0 allows 10 ms, VPLEX Metro allows 5 ms"),
        ("6.0", "6ms", "VPLEX Metro allows 5 ms"),
        ("6.0", "80ms", "vMotion in 6.0 allows 150 ms, VPLEX Metro allows 5 ms"),
    ],
)
def test_l2s_9_check_says_what_two_sites_are_too_far_apart_for(release: str, delay: str, beyond: str) -> None:
    told = [
        line for line in warnings(stretched(f"switches: [sa, sb], delay: {delay}", release=release)) if "L2S" in line
    ]
    away = float(delay.removesuffix("ms")) * 2
    assert told == ([f"a and b are {away:g} ms apart, there and back: {beyond} (L2S-9)"] if beyond else [])


FT = """
    standard_switches: {v: {uplinks: [vmnic0], port_groups: {ft: {vlan: 8}}}}
    vmkernel: {vmk0: {port_group: ft, services: [ft_logging]}}"""


@pytest.mark.parametrize(
    ("release", "delay", "speed", "told"),
    [
        ("5.0", "0ms", "1G", []),
        ("5.0", "1ms", "1G", ["esx1 and esx2 are 2 ms apart, there and back: FT in 5.0 wants 1 ms at most (L2S-9, K)"]),
        ("6.0", "1ms", "10G", []),
        (
            "6.0",
            "6ms",
            "10G",
            ["esx1 and esx2 are 12 ms apart, there and back: FT in 6.0 wants 10 ms at most (L2S-9, K)"],
        ),
        ("6.0", "1ms", "1G", [f"esx{n}.vmk0 has vmnic0 of 1G: FT wants 10G (L2S-9)" for n in (1, 2)]),
    ],
)
def test_l2s_9_ft_wants_a_short_and_a_fast_way(release: str, delay: str, speed: str, told: list[str]) -> None:
    text = BASE.replace(", standard_switches: {v: {uplinks: [vmnic0]}}}", "}")
    for name, site, switch in (("esx1", "a", "ta"), ("esx2", "b", "sb")):
        flow = f"{name}: {{site: {site}, uplinks: {{vmnic0: {{switch: {switch}}}}}}}"
        assert flow in text
        text = text.replace(
            flow, f"{name}:\n    site: {site}\n    uplinks: {{vmnic0: {{switch: {switch}, speed: {speed}}}}}{FT}"
        )
    text = f'release: "{release}"{text}stretch: {{s: {{switches: [sa, sb], delay: {delay}}}}}\n'
    assert list(ft_warnings(read_topology(text, "sites.yaml"), "esx1", "esx2")) == told


# -- ARP at an OTV edge


def arp(topology: Topology, sender: str, wanted: str, operation: int = 1) -> Frame:
    """What `sender` asks or tells about the address of `wanted`."""
    me, other = (topology.vms[name].nics[0] for name in (sender, wanted))
    own, asked = (bytes(map(int, nic.address.split("/")[0].split("."))) for nic in (me, other))
    head = bytes.fromhex("00010800060400") + bytes([operation])
    body = head + mac_bytes(me.mac) + own + (bytes(6) if operation == 1 else mac_bytes(other.mac)) + asked
    return Frame(me.mac, BROADCAST if operation == 1 else other.mac, (), 0x0806, body)


@pytest.mark.parametrize(
    ("kind", "told", "crosses"), [("otv", True, False), ("otv", False, True), ("vpls", True, True)]
)
def test_l2s_1_a_request_crosses_until_the_edge_has_heard_the_answer(kind: str, told: bool, crosses: bool) -> None:
    topology = read_topology(f"{CUT}  s: {{kind: {kind}, switches: [sa, sb]}}\n", "sites.yaml")
    state = initial_state(topology)
    if told:
        for sender, wanted, operation in (("web1", "web2", 1), ("web2", "web1", 2)):
            said = predict(topology, state, f"{sender}.eth0", arp(topology, sender, wanted, operation))
            state = said.state_after(state)
    asked = predict(topology, state, "web1.eth0", arp(topology, "web1", "web2"))
    assert ("web2.eth0" in asked.receivers) == crosses
    assert from_json(to_json(state)) == state
    assert bool(state.arp_known) == (kind == "otv" and told)


def test_l2s_1_only_an_otv_edge_has_rows_for_arp() -> None:
    def tables(kind: str) -> set[int]:
        topology = read_topology(f"{CUT}  s: {{kind: {kind}, switches: [sa, sb]}}\n", "sites.yaml")
        return {row.table for row in compile_plan(topology, initial_state(topology)).bridges_of("sa")[0].rows}

    assert tables("otv") - tables("vpls") == {arping.ANSWER}


@pytest.mark.parametrize(
    ("frame", "asks"),
    [
        (bytes.fromhex("0001080006040001") + bytes(20), True),
        (bytes.fromhex("0001080006040002") + bytes(20), False),
        (bytes.fromhex("0001080006040003") + bytes(20), None),
        (bytes.fromhex("0001080006040001") + bytes(19), None),
    ],
)
def test_what_is_arp(frame: bytes, asks: bool | None) -> None:
    said = said_by(Frame("02:00:00:00:00:01", BROADCAST, (), 0x0806, frame), 0)
    assert (said.asks if said else None) == asks
    assert said_by(Frame("02:00:00:00:00:01", BROADCAST, (), 0x0806, frame), 1) is None
