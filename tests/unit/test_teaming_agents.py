"""What the teaming agents make of a topology, a State, a switch's words and a wire: no namespaces."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from lab.agents import beacons
from lab.agents.beacons import BeaconAgent, Team, rested, teams
from lab.agents.events import Moment
from lab.agents.lacp import Member, read_lacp, to_negotiate
from lab.agents.lbt import LbtAgent
from lab.agents.links import LinkAgent
from lab.agents.notify import NotifyAgent, changes, told_on, uplink_of_mac
from lab.errors import SystemRefused, UsageError
from lab.frame import Frame
from lab.model import PortKey, Topology
from lab.realise import packets
from lab.state import State
from lab.teaming import initial_state, settled, with_links_down
from lab.topology import read_topology
from traffic.teaming import Beacon, beacon, virtual_mac

TEXT = """
name: agents
release: "6.7"
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: tor1}
      vmnic1: {switch: tor1}
      vmnic2: {switch: tor1}
      vmnic3: {switch: tor1, channel: 1, lacp: active}
      vmnic4: {switch: tor1, channel: 1, lacp: active}
      vmnic5: {switch: tor1, channel: 2, lacp: passive}
    standard_switches:
      alone:
        port_groups: {inside: {vlan: 10, teaming: {detection: beacon}}}
  esx2: {uplinks: {vmnic0: {switch: tor1}}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic0, vmnic1, vmnic2], esx2: [vmnic0]}
    lags:
      lag1: {uplinks: {esx1: [vmnic3, vmnic4]}, mode: passive}
      lag2: {uplinks: {esx1: [vmnic5]}, mode: passive}
    pvlans: {100: {101: isolated}}
    port_groups:
      pinned: {vlan: 10, teaming: {active: [uplink1, uplink2], standby: []}}
      balanced: {vlan: 10, teaming: {policy: loadbalance_loadbased, active: [uplink1, uplink2], standby: []}}
      kept: {vlan: 10, teaming: {policy: loadbalance_loadbased, active: [uplink1, uplink2], failback: false}}
      ordered: {vlan: 10, teaming: {policy: failover_explicit, active: [uplink2, uplink1], standby: [uplink3]}}
      macs: {vlan: 10, teaming: {policy: loadbalance_srcmac, active: [uplink1, uplink2], standby: []},
             security: {mac_changes: reject}}
      hashed: {vlan: 10, teaming: {policy: loadbalance_ip, active: [uplink1, uplink2], standby: [uplink3]}}
      silent: {vlan: 10, teaming: {notify_switches: false}}
      lagged: {vlan: 10, teaming: {active: [lag1], standby: [], detection: beacon}}
      probed: {vlan: 30, teaming: {active: [uplink1, uplink2], standby: [uplink3], detection: beacon}}
      probed too: {vlan: 20, teaming: {active: [uplink1], standby: [], detection: beacon}}
      private: {pvlan: 101, teaming: {active: [uplink1, uplink2], standby: [], detection: beacon}}
      tagging: {vlan: [40-50], teaming: {detection: beacon}}
vms:
  pinned: {host: esx1, networks: [pinned]}
  balanced: {host: esx1, networks: [balanced]}
  kept: {host: esx1, networks: [kept]}
  ordered: {host: esx1, networks: [ordered]}
  macs: {host: esx1, networks: [{port_group: macs, mac: "00:50:56:00:00:10"}]}
  hashed: {host: esx1, networks: [hashed]}
  silent: {host: esx1, networks: [silent]}
  lagged: {host: esx1, networks: [lagged]}
  probed: {host: esx1, networks: [probed]}
  probed2: {host: esx1, networks: [probed too]}
  private: {host: esx1, networks: [private]}
  tagging: {host: esx2, networks: [tagging]}
  inside: {host: esx1, networks: [inside]}
  off: {host: esx1, networks: [{port_group: pinned, connected: false}]}
  blocked: {host: esx1, networks: [{port_group: pinned, blocked: true}]}
"""
TOPOLOGY = read_topology(TEXT, "agents.yaml")
LAG_UP = frozenset({("esx1", "vmnic3"), ("esx1", "vmnic4")})
START = settled(TOPOLOGY, replace(initial_state(TOPOLOGY), lag_members=LAG_UP))
PART = TOPOLOGY.host_switches["esx1", "dvs0"]


def without(*pnics: str, state: State = START) -> State:
    return with_links_down(TOPOLOGY, state, [("esx1", f"vmnic{pnic}") for pnic in pnics])


def with_(**facts: Any) -> State:
    return settled(TOPOLOGY, replace(START, **facts))


def uplinks(state: State, vm: str) -> str:
    """The numbers of its pNICs, in order."""
    return "".join(uplink[-1] for uplink in state.sends_on(("esx1", f"{vm}.eth0")))


# -- each policy, settled


@pytest.mark.parametrize(
    ("vm", "at_first", "without_0", "without_1", "without_both"),
    [
        pytest.param("pinned", "0", "1", "0", "", id="team-pid-2"),
        pytest.param("balanced", "1", "1", "0", "", id="lbt-1"),
        pytest.param("ordered", "1", "1", "0", "2", id="team-exp-1 team-exp-2"),
        pytest.param("macs", "01", "1", "0", "", id="team-mac-2"),
        pytest.param("hashed", "01", "1", "0", "2", id="team-iph-1"),
        pytest.param("lagged", "34", "34", "34", "34", id="lacp-4"),
        pytest.param("inside", "", "", "", "", id="a switch without uplinks"),
    ],
)
def test_policy_settled(vm: str, at_first: str, without_0: str, without_1: str, without_both: str) -> None:
    states = (START, without("0"), without("1"), without("0", "1"))
    assert tuple(uplinks(state, vm) for state in states) == (at_first, without_0, without_1, without_both)


@pytest.mark.parametrize("vm", ["balanced", "kept"])
def test_lbt_2_a_placement_is_followed_with_and_without_failback(vm: str) -> None:
    """Without failback it was recorded and not followed, window after window."""
    home = uplinks(START, vm)
    other = "1" if home == "0" else "0"
    placed = with_(placed=MappingProxyType({("esx1", f"{vm}.eth0"): f"vmnic{other}"}))
    assert uplinks(placed, vm) == other
    assert uplinks(without("2", state=placed), vm) == other
    failed = without(other, state=placed)
    assert (uplinks(failed, vm), dict(failed.placed)) == (home, {})


@pytest.mark.parametrize("switch", ["dvs0", "alone"])
def test_lacp_5_bcn_7_a_shotgun_copies_what_probes_and_never_a_lag(switch: str) -> None:
    unsure = with_(beacons_unsure=frozenset({("esx1", switch)}))
    copies = {vm: uplinks(unsure, vm) for vm in ("probed", "private", "lagged", "pinned")}
    here = {"dvs0": ("012", "01")}.get(switch, (uplinks(START, "probed"), uplinks(START, "private")))
    assert copies == {"probed": here[0], "private": here[1], "lagged": "34", "pinned": "0"}
    assert ("esx1", "lagged.eth0") not in unsure.copied


def test_bcn_6_only_those_who_probe_believe_beacons() -> None:
    lost = with_(beacons_lost=frozenset({("esx1", "vmnic0"), ("esx1", "vmnic1")}))
    assert (uplinks(lost, "probed"), uplinks(lost, "pinned")) == ("2", "0")


# -- RARP


def announced(before: State, after: State, old: Topology = TOPOLOGY, new: Topology = TOPOLOGY) -> dict[str, str]:
    return {
        told.port.removesuffix(".eth0"): told.uplink for told, _ in changes(Moment(old, before), Moment(new, after))
    }


def test_nsw_2_nsw_4_nsw_7_who_is_told_of_in_a_failover() -> None:
    assert announced(START, START) == {}
    moved = announced(START, without("0"))
    assert moved.keys() >= {"pinned", "hashed"}
    assert not moved.keys() & {"silent", "lagged", "ordered", "balanced", "off", "blocked", "inside"}
    assert set(moved.values()) == {"vmnic1"}


def test_nsw_2_a_port_that_is_connected_is_told_of_once() -> None:
    connected = read_topology(TEXT.replace("connected: false", "connected: true"), "agents.yaml")
    after = settled(connected, START)
    (one,) = changes(Moment(TOPOLOGY, START), Moment(connected, after))
    assert (one[0].port, one[1]) == ("off.eth0", True)
    assert announced(after, START, connected, TOPOLOGY) == {}


@pytest.mark.parametrize(
    ("guest_set", "mac", "expected"),
    [
        (None, "00:50:56:00:00:10", "vmnic0"),
        (None, "00:50:56:00:00:11", "vmnic1"),
        ("00:50:56:00:00:11", "00:50:56:00:00:10", "vmnic0"),
    ],
)
def test_nsw_5_team_mac_1_each_mac_behind_a_port_is_told_on_its_own_uplink(
    guest_set: str | None, mac: str, expected: str
) -> None:
    """The port itself goes by its accepted MAC: what policy refuses to the guest is never told."""
    state = with_(macs=MappingProxyType({("esx1", "macs.eth0"): guest_set} if guest_set else {}))
    port = PART.port_of("macs.eth0")
    assert uplink_of_mac(PART, port, state, mac) == expected
    assert told_on(PART, port, state) == "vmnic0"
    assert uplink_of_mac(PART, PART.port_of("pinned.eth0"), state, mac) is None


class Dead:
    """In place of an Open vSwitch that has ended."""

    def learned(self, *_: object) -> list[tuple[int, int, str]]:
        raise SystemRefused("ovs-vswitchd: Connection refused")


def test_nsw_2_a_dead_switch_keeps_nobody_elses_rarp_back() -> None:
    """Of its own ports the configured MACs are told; what was learned there nobody knows any more."""
    learning = read_topology(TEXT.replace("{vlan: 10, teaming: {active: [uplink1, uplink2], standby: []}}",
                                          "{vlan: 10, mac_learning: {}}", 1), "agents.yaml")  # fmt: skip
    here: Any = Here(learning, settled(learning, START))
    bridge = SimpleNamespace(name="dvs0", port=lambda _: SimpleNamespace(number=1))
    here.network.bridge_with, here.network.ovs = lambda *_: bridge, lambda _: Dead()
    part = learning.host_switches["esx1", "dvs0"]
    port = part.port_of("pinned.eth0")
    assert port.mac_learning is not None
    assert list(NotifyAgent(here, Later())._macs(part, port, here.state)) == [(port.nic.mac, 10)]  # type: ignore[arg-type]


# -- beacons


def test_bcn_1_bcn_4_bcn_9_lacp_5_the_teams_that_probe() -> None:
    assert list(teams(TOPOLOGY)) == [Team(("esx1", "dvs0"), ("vmnic0", "vmnic1", "vmnic2"), (30, 20, 101))]


@pytest.mark.parametrize(
    ("due", "began", "ended", "expected"), [(10.0, 9.0, 9.1, 10.0), (10.0, 9.0, 9.8, 10.6), (10.0, 10.0, 12.0, 14.0)]
)
def test_others_have_as_long_as_a_turn_of_beacons_took(due: float, began: float, ended: float, expected: float) -> None:
    assert rested(due, began, ended) == pytest.approx(expected)


class Wire:
    """In place of packet sockets: what each uplink hears is put there by the test."""

    def __init__(self, _: int, interface: str, **heard: Any) -> None:
        self.interface, self.heard, self.waiting, self.closed = interface, heard, [], False

    def receive(self) -> bytes | None:
        return self.waiting.pop(0) if self.waiting else None

    def close(self) -> None:
        self.closed = True


class Here:
    """In place of `Present`."""

    def __init__(self, topology: Topology, state: State) -> None:
        self.topology, self.state, self.lock = topology, state, threading.RLock()
        names = SimpleNamespace(get=lambda _: 0)
        plan = SimpleNamespace(nodes=(), cables=())
        self.network = SimpleNamespace(
            namespaces={"esx1": 0, "esx2": 0}, interface_name=lambda _, label: label, plan=plan, names=names
        )

    def follow(self, follower: Callable[[Moment, Moment], None]) -> None:
        self.follower = follower

    def observe(self, after: Callable[[Moment], State]) -> None:
        self.state = after(Moment(self.topology, self.state))

    def becomes(self, topology: Topology) -> None:
        before, self.topology = Moment(self.topology, self.state), topology
        self.follower(before, Moment(topology, self.state))


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> BeaconAgent:
    monkeypatch.setattr(beacons, "PacketSocket", Wire)
    made = BeaconAgent(Here(TOPOLOGY, START))  # type: ignore[arg-type]
    monkeypatch.setattr(made._sender, "send", lambda *_: True)
    return made


def listening(agent: BeaconAgent, uplink: str) -> Any:
    return agent._hearing["esx1", uplink][0]


def mac_of(uplink: str) -> str:
    return virtual_mac(TOPOLOGY.hosts["esx1"].pnics[uplink].mac)


def turns(agent: BeaconAgent, number: int, hears: str, said: Callable[[int], int] = lambda tick: tick) -> State:
    """So many turns in which every uplink of `hears` hears the others of it."""
    for _ in range(number):
        for listener in hears:
            for sender in hears:
                uplink = f"vmnic{sender}"
                frame = beacon(Beacon(mac_of(uplink), uplink, said(agent._tick)), 0x8922, 30)
                listening(agent, f"vmnic{listener}").waiting.append(frame)
        agent._turn()
    return agent._present.state


def test_bcn_5_three_missed_beacons_and_not_two(agent: BeaconAgent) -> None:
    assert not turns(agent, 8, "012").beacons_lost
    assert not turns(agent, 2, "01").beacons_lost
    assert turns(agent, 2, "01").beacons_lost == {("esx1", "vmnic2")}
    assert not turns(agent, 1, "012").beacons_lost


def test_bcn_5_a_forged_beacon_of_the_future_keeps_nobody_alive(agent: BeaconAgent) -> None:
    """It did, until the lab was taken down."""
    turns(agent, 8, "012")
    forged = beacon(Beacon(mac_of("vmnic2"), "vmnic2", 0xFFFFFFFF), 0x8922, 30)
    listening(agent, "vmnic0").waiting.append(forged)
    assert turns(agent, 5, "01").beacons_lost == {("esx1", "vmnic2")}


def test_a_flood_of_beacons_ends_with_the_turn(agent: BeaconAgent) -> None:
    junk = beacon(Beacon("00:50:56:5f:00:00", "x", 0), 0x8922, 30)
    wire = listening(agent, "vmnic0")
    wire.receive = lambda: junk  # for ever
    assert turns(agent, 1, "12") is not None


def test_listeners_follow_the_topology_and_its_ethertype(agent: BeaconAgent) -> None:
    wires = [listening(agent, f"vmnic{n}") for n in range(3)]
    assert [wire.heard["sources"] for wire in wires] == [[mac_of(f"vmnic{n}") for n in range(3)]] * 3
    there: Any = agent._present
    there.becomes(read_topology(TEXT.replace('"6.7"', '"6.7"\nknobs: {beacon_ethertype: 0x88b6}'), "agents.yaml"))
    assert all(wire.closed for wire in wires)
    assert {listening(agent, f"vmnic{n}").heard["kind"] for n in range(3)} == {0x88B6}
    there.becomes(read_topology(TEXT.replace(", detection: beacon", ""), "agents.yaml"))
    assert not agent._hearing


MACS = ["00:50:56:50:00:01", "00:50:56:50:00:02"]


@pytest.mark.parametrize(
    ("src", "kind", "sources", "heard"),
    [
        (MACS[0], 0x8922, MACS, True),
        (MACS[1], 0x8922, MACS, True),
        ("00:50:56:50:00:03", 0x8922, MACS, False),
        ("00:50:57:50:00:01", 0x8922, MACS, False),
        (MACS[0], 0x88B6, MACS, False),
        ("00:50:56:50:00:03", 0x8922, [], True),
        (MACS[0], 0x88B6, [], False),
    ],
)
def test_bcn_10_what_a_listener_lets_in(src: str, kind: int, sources: list[str], heard: bool) -> None:
    """The kernel runs the program; a pair of datagram sockets is as good as a wire."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    program = packets._kind_filter(0x8922, sources)
    code = ctypes.create_string_buffer(program)
    attached = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, packets._SO_ATTACH_FILTER, attached)
        theirs.send(Frame(src, "ff:ff:ff:ff:ff:ff", (), kind, bytes(46)).to_bytes())
        ours.setblocking(False)
        try:
            assert bool(ours.recv(2000)) == heard
        except BlockingIOError:
            assert not heard


# -- LACP

NEGOTIATED = """\
---- dvs0-lag_990a3f ----
  status: passive negotiated
  sys_id: 02:dd:02:19:f4:5e
  lacp_time: slow

member: vmnic3: current attached
  port_id: 4
  may_enable: true

  actor sys_id: 02:dd:02:19:f4:5e
  actor state: aggregation synchronized collecting distributing

  partner sys_id: 02:71:c1:8c:90:f2
  partner state: activity aggregation synchronized collecting distributing

member: vmnic4: current detached
  port_id: 5
  may_enable: false

  actor sys_id: 02:dd:02:19:f4:5e
  partner sys_id: 02:71:c1:8c:90:f2
---- po2-bond_9ffaa6 ----
  status: active
  sys_id: 02:ba:1d:22:69:20

member: standard-vmnic0: defaulted detached
  port_id: 6
  may_enable: false

  actor sys_id: 02:ba:1d:22:69:20
  actor state: activity aggregation collecting distributing defaulted

  partner sys_id: 00:00:00:00:00:00
  partner key: 0
"""


def test_lacp_2_lacp_6_members_as_open_vswitch_tells_them() -> None:
    assert read_lacp(NEGOTIATED) == {
        "vmnic3": Member(True, "02:71:c1:8c:90:f2"),
        "vmnic4": Member(False, "02:71:c1:8c:90:f2"),
        "standard-vmnic0": Member(False, None),
    }


@pytest.mark.parametrize("text", ["", "---- x ----\n", "member: ", "member: a: current\n", "no such bridge"])
def test_lacp_text_without_a_partner_is_nobody_up(text: str) -> None:
    assert not any(member.up for member in read_lacp(text).values())


def test_lacp_2_only_a_lag_with_an_active_end_is_waited_for() -> None:
    assert to_negotiate(TOPOLOGY) == LAG_UP


# -- Load-Based Teaming's knobs


@pytest.mark.parametrize("period", [9.9, 0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_lbt_12_periods_that_are_none(period: float) -> None:
    """NaN made windows without end, each of no length."""
    agent = LbtAgent.__new__(LbtAgent)
    with pytest.raises(UsageError, match="the period is 10 to 86400 s"):
        agent.adjust(None, period)


@pytest.mark.parametrize("threshold", [0.05, 1.01, -1.0, float("nan"), float("inf")])
def test_lbt_12_thresholds_that_are_none(threshold: float) -> None:
    agent = LbtAgent.__new__(LbtAgent)
    with pytest.raises(UsageError, match="the threshold is 10% to 100%"):
        agent.adjust(threshold, None)


# -- links that come and go


class Later:
    """In place of `Timers`: the test says when."""

    speedup = 1.0

    def __init__(self) -> None:
        self.actions: list[Callable[[], None]] = []

    def after(self, _: float, action: Callable[[], None]) -> None:
        self.actions.append(action)


def test_team_f_2_a_link_that_bounces_has_its_whole_delay_each_time() -> None:
    here, later = Here(TOPOLOGY, START), Later()
    agent = LinkAgent(here, None, later)  # type: ignore[arg-type]
    gone: frozenset[PortKey] = frozenset({("esx1", "vmnic0")})
    for before, down in ((frozenset(), gone), (gone, frozenset()), (frozenset(), gone), (gone, frozenset())):
        agent._changed(before, down, frozenset())  # type: ignore[arg-type]
    first, second = later.actions
    first()
    assert here.state.settling == gone
    second()
    assert not here.state.settling
