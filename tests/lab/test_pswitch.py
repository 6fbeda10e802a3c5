"""Physical switches with real frames: VLANs, the MAC table, port security, private VLANs; BPDU guard, spanning tree."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab import RunningLab
from lab.agents.pswitches import PSwitchAgent
from lab.client import LabClient
from lab.frame import BPDU_MACS, BROADCAST, CDP_MAC, DropReason, Frame, Point
from lab.plan import compile_plan
from lab.realise import netlink
from lab.realise.ovs import OpenVSwitch, make_template
from lab.realise.run import CLONE_NEWNET, inside
from lab.report.where import Answer
from lab.teaming import initial_state
from lab.topology import read_topology

vlab_topology = "pswitch.yaml"
SWITCHES = ("cam", "strict", "plain", "aware")
FILL = bytes(46)
STRANGER = "00:50:56:3f:00:01"


def asked(lab: RunningLab, sender: str, receiver: str, **how: object) -> Answer:
    """The switches' rows, what really went over the wires and the prediction agree, or the test ends here."""
    answer = lab.where(sender, receiver, count=1, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    return answer


def heard(answer: Answer) -> dict[str, tuple[int, ...]]:
    """Machines' ports that the frame left by, with its tags there."""
    hops = [hop for trail in answer.trails for hop in trail.hops if hop.point is Point.PSWITCH_SND]
    return {hop.interface: tuple(tag.vid for tag in hop.vlans) for hop in hops if hop.node not in SWITCHES}


def refusals(answer: Answer) -> set[DropReason]:
    return {hop.reason for trail in answer.trails for hop in trail.hops if hop.reason}


def until(fact: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        threading.Event().wait(0.01)


def table(lab: RunningLab, switch: str) -> dict[tuple[int, str], str]:
    return dict(lab.client.state().mac_tables[switch])


def send(lab: RunningLab, sender: str, *frames: Frame) -> None:
    place = lab.client.place(sender)
    job = {"node": place.node, "interface": place.interface, "rate": 5000.0}
    lab.client.ask("send", jobs=[{**job, "frames": [frame.to_bytes().hex() for frame in frames]}])


def teach(lab: RunningLab, sender: str, mac: str | None = None) -> None:
    """A broadcast of this machine, which its pSwitch has learned from when this returns."""
    source, switch = mac or lab.client.place(sender).mac, lab.client.topology.machines[sender].switch
    send(lab, sender, Frame(source, BROADCAST, payload=FILL))
    until(lambda: sender in {port for (_, known), port in table(lab, switch).items() if known == source})


# -- VLANs

IN = [
    pytest.param("acc1", (), {"acc2": (), "native": (), "trunk": (10,)}, None, id="access"),
    pytest.param("acc1", (10,), {}, DropReason.PSWITCH_ACCESS_TAGGED, id="a tag on an access port"),
    pytest.param("acc1", (0,), {"acc2": (), "native": (), "trunk": (10,)}, None, id="a priority tag"),
    pytest.param("native", (), {"acc1": (), "acc2": (), "trunk": (10,)}, None, id="native"),
    pytest.param("native", (10,), {"acc1": (), "acc2": (), "trunk": (10,)}, None, id="native, tagged all the same"),
    pytest.param("native", (20,), {"acc3": (), "trunk": (20,)}, None, id="trunk"),
    pytest.param("native", (30,), {}, DropReason.PSWITCH_NO_RECEIVER, id="nobody else in the VLAN"),
    pytest.param("native", (40,), {}, DropReason.PSWITCH_VLAN, id="vlan_13 not in the trunk's list"),
    pytest.param("native", (4095,), {}, DropReason.PSWITCH_VLAN, id="reserved"),
    pytest.param("trunk", (), {}, DropReason.PSWITCH_NO_NATIVE, id="no native VLAN"),
    pytest.param("native", (10, 20), {"acc1": (20,), "acc2": (20,), "trunk": (10, 20)}, None, id="two tags"),
    pytest.param("native", (0, 20), {"acc1": (20,), "acc2": (20,), "trunk": (10, 20)}, None, id="priority and a tag"),
    pytest.param("trunk", (10, 10), {"acc1": (10,), "acc2": (10,), "native": (10,)}, None, id="the native one twice"),
    pytest.param("lone", (), {}, DropReason.PSWITCH_NO_RECEIVER, id="alone in the VLAN"),
]


@pytest.mark.parametrize(("sender", "vlans", "receivers", "reason"), IN)
def test_vlan_16_a_broadcast_by_its_tags(
    vlab: RunningLab, sender: str, vlans: tuple[int, ...], receivers: dict[str, tuple[int, ...]], reason: DropReason
) -> None:
    answer = asked(vlab, sender, "acc2" if sender != "acc2" else "acc1", vlans=vlans, dst_mac="broadcast")
    assert heard(answer) == receivers
    assert refusals(answer) == ({reason} if reason else set())


# -- learning


def test_an_address_is_learned_and_a_move_overwrites(vlab: RunningLab) -> None:
    mac = vlab.client.place("acc1").mac
    for _ in range(10):
        # Frames that Open vSwitch forwarded by itself and has not counted yet must not undo the move.
        for sender, times in (("acc1", 5), ("acc2", 1)):
            until(lambda at=sender, n=times: seen_from(vlab, at, mac, n) == at)  # type: ignore[misc]
    vlab.client.ask("settle")
    assert heard(asked(vlab, "native", "acc1")) == {"acc2": ()}
    teach(vlab, "acc1")
    assert heard(asked(vlab, "native", "acc1")) == {"acc1": ()}


def seen_from(lab: RunningLab, sender: str, mac: str, times: int) -> str:
    """Where the pSwitch has this source after frames of the sender's: one that comes within a millisecond of a move
    may still go by the old flow."""
    send(lab, sender, *([Frame(mac, STRANGER, payload=FILL)] * times))
    return table(lab, "plain")[10, mac]


def test_an_address_comes_back_while_its_stream_never_pauses(vlab: RunningLab) -> None:
    """Open vSwitch forwards the stream by itself, and must look at it again when somebody else took the address."""
    mac = vlab.client.place("acc2").mac
    stream = {"node": "acc2", "interface": "eth0", "count": 3000, "rate": 1000.0}
    frame = Frame(mac, STRANGER, payload=FILL)
    with closing(LabClient(vlab.client.directory)) as other:
        jobs = [{**stream, "frames": [frame.to_bytes().hex()]}]
        running = threading.Thread(target=other.ask, args=("send",), kwargs={"jobs": jobs})
        running.start()
        until(lambda: table(vlab, "plain").get((10, mac)) == "acc2")
        for _ in range(20):
            send(vlab, "acc1", frame)
            until(lambda: table(vlab, "plain")[10, mac] == "acc2", 1)
        assert running.is_alive()
        running.join()


def test_an_address_behind_the_port_that_asks_for_it(vlab: RunningLab) -> None:
    teach(vlab, "acc1", STRANGER)
    answer = asked(vlab, "acc1", "acc2", dst_mac=STRANGER)
    assert (heard(answer), refusals(answer)) == ({}, {DropReason.PSWITCH_SAME_PORT})
    assert heard(asked(vlab, "acc2", "acc1", dst_mac=STRANGER)) == {"acc1": ()}


def test_an_address_on_a_port_that_is_down_is_flooded(vlab: RunningLab) -> None:
    teach(vlab, "acc2")
    vlab.link("plain:acc2", False)
    try:
        assert heard(asked(vlab, "acc1", "acc2")) == {"native": (), "trunk": (10,)}
    finally:
        vlab.link("plain:acc2", True)
    assert heard(asked(vlab, "acc1", "acc2")) == {"acc2": ()}


def test_atk_7_a_full_mac_table_floods_and_keeps_what_it_has(vlab: RunningLab) -> None:
    first, late = (vlab.client.place(name).mac for name in ("full1", "full2"))
    teach(vlab, "full1")
    send(vlab, "full3", *(Frame(f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}", STRANGER, payload=FILL) for n in range(500)))
    until(lambda: len(table(vlab, "cam")) == 16 and len(table(vlab, "strict")) > 16)
    assert set(heard(asked(vlab, "full2", "full1"))) == {"full1"}
    assert table(vlab, "cam")[10, first] == "full1"
    assert (10, late) not in table(vlab, "cam")
    assert {"full2", "full3"} <= heard(asked(vlab, "full1", "full2")).keys()
    # An entry that is there may move: that needs no room.
    teach(vlab, "full3", first)
    assert len(table(vlab, "cam")) == 16


# -- what a port takes


def test_port_security_holds_a_port_to_its_addresses(vlab: RunningLab) -> None:
    own = vlab.client.place("safe1").mac
    for mac in (own, "00:50:56:3f:00:0a"):
        teach(vlab, "safe1", mac)
        assert vlab.client.state().secured["strict"][10, mac] == "safe1"
    refused = asked(vlab, "safe1", "safe2", src_mac="00:50:56:3f:00:0b")
    assert (heard(refused), refusals(refused)) == ({}, {DropReason.PSWITCH_PORT_SECURITY})
    assert "safe2" in heard(asked(vlab, "safe1", "safe2"))
    stolen = asked(vlab, "safe2", "full1", src_mac=own)
    assert (heard(stolen), refusals(stolen)) == ({}, {DropReason.PSWITCH_PORT_SECURITY})
    assert table(vlab, "strict")[10, own] == "safe1"


def test_port_security_is_not_for_cables_between_pswitches(vlab: RunningLab) -> None:
    for number in range(4):
        mac = f"00:50:56:3f:00:1{number}"
        send(vlab, "full2", Frame(mac, BROADCAST, payload=FILL))
        until(lambda mac=mac: table(vlab, "strict").get((10, mac)) == "cam")  # type: ignore[misc]
    assert "cam" not in vlab.client.state().secured["strict"].values()


@pytest.mark.parametrize("mac", BPDU_MACS)
def test_atk_8_bpdu_guard_takes_no_bpdu(vlab: RunningLab, mac: str) -> None:
    answer = asked(vlab, "bpdu1", "safe2", dst_mac=mac)
    assert (heard(answer), refusals(answer)) == ({}, {DropReason.PSWITCH_BPDU_GUARD})
    vlab.link("strict:bpdu1", True)  # the guard has switched it off
    passed = asked(vlab, "full1", "full2", dst_mac=mac)
    assert {"full2", "full3", "safe1"} <= heard(passed).keys()


def test_mir_13_a_pswitch_that_speaks_cdp_keeps_it(vlab: RunningLab) -> None:
    kept = asked(vlab, "safe1", "safe2", dst_mac=CDP_MAC)
    assert (heard(kept), refusals(kept)) == ({}, {DropReason.PSWITCH_DISCOVERY})
    passed = asked(vlab, "full1", "full2", dst_mac=CDP_MAC)
    assert heard(passed).keys() == {"full2", "full3"}


# -- private VLANs

PRIVATE = [
    pytest.param("plain101a", "plain101b", True, id="pvl_10 isolated, not enforced"),
    pytest.param("aware101a", "aware101b", False, id="pvl_10 isolated"),
    pytest.param("aware101a", "aware102a", False, id="pvl_3 isolated to community"),
    pytest.param("aware102a", "aware102b", True, id="pvl_4 in a community"),
    pytest.param("aware101a", "aware100", True, id="pvl_1 to the promiscuous one"),
    pytest.param("aware100", "aware101a", True, id="pvl_1 from the promiscuous one"),
    pytest.param("plain100", "plain101a", False, id="pvl_10 other VLANs where nobody knows better"),
]


@pytest.mark.parametrize(("sender", "receiver", "reaches"), PRIVATE)
def test_pvl_10_isolation_is_enforced_by_a_switch_that_knows_private_vlans(
    vlab: RunningLab, sender: str, receiver: str, reaches: bool
) -> None:
    teach(vlab, receiver)
    known, broadcast = asked(vlab, sender, receiver), asked(vlab, sender, receiver, dst_mac="broadcast")
    assert [receiver in heard(answer) for answer in (known, broadcast)] == [reaches, reaches]
    if sender.startswith("aware"):
        assert refusals(known) == (set() if reaches else {DropReason.PVLAN_ISOLATED})


def test_pvl_9_what_is_learned_in_the_other_vlan_is_flooded_by_a_plain_switch_only(vlab: RunningLab) -> None:
    for switch, vlans in (("plain", [100, 101]), ("aware", [100, 100])):
        names = [f"{switch}100", f"{switch}101a"]
        for name in names:
            teach(vlab, name)
        learned = {port: vlan for (vlan, _), port in table(vlab, switch).items()}
        assert [learned[name] for name in names] == vlans
    flooded, known = asked(vlab, "iso", "plain100"), asked(vlab, "aware101a", "aware100")
    assert {"plain101a", "plain101b"} <= heard(flooded).keys()
    assert heard(known) == {"aware100": ()}


# -- agents, with switches of their own and without a daemon

RING = """
name: ring
release: "5.0"
physical_switches: {a: {stp: true, bpdu_guard: true}, b: {stp: true}, c: {stp: true}}
cables: [{ends: [a, b]}, {ends: [b, c]}, {ends: [c, a]}]
machines: {m1: {switch: a, access: 10}, m2: {switch: b, access: 10}, m3: {switch: c, access: 10}}
"""


def namespace() -> int:
    """A network namespace that is gone once this descriptor and its last process are."""
    with Path("/proc/thread-self/ns/net").open() as home, inside(home.fileno()):
        assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Rig:
    """The pSwitches of a topology, built as the daemon would, as far as agents look at it."""

    def __init__(self, text: str, directory: Path) -> None:
        self.topology = read_topology(text, "")
        self.plan = compile_plan(self.topology, initial_state(self.topology))
        self.namespaces = {node.name: namespace() for node in self.plan.nodes}
        self._switches: dict[str, OpenVSwitch] = {}
        self.dark: frozenset[tuple[str, str]] = frozenset()
        ends = [[(n, self.plan.node_named[n].interface(i)) for n, i in (c.a, c.b)] for c in self.plan.cables]
        netlink.create_cables([((self.namespaces[n], i), (self.namespaces[m], j)) for (n, i), (m, j) in ends])
        for node in self.plan.nodes:
            netlink.write_sysctls(self.namespaces[node.name], netlink.SYSCTLS_BOX)
            netlink.configure(self.namespaces[node.name], node.interfaces, not node.is_box)
        template = make_template(directory)
        for bridge in self.plan.bridges:
            ovs = OpenVSwitch(self.namespaces[bridge.node], directory / bridge.node, "user")
            self._switches[bridge.node] = ovs
            ovs.launch(template)
            ovs.configure([bridge])

    def ovs(self, box: str) -> OpenVSwitch:
        return self._switches[box]

    def interface_name(self, node: str, label: str) -> str:
        return self.plan.node_named[node].interface(label).name

    def link(self, node: str, label: str, up: bool) -> None:
        """Of a cable between pSwitches: both ends lose their carrier."""
        ends = {(node, label), (label, node)}
        self.dark = self.dark - ends if up else self.dark | ends
        netlink.set_link(self.namespaces[node], self.interface_name(node, label), up)

    def send(self, machine: str, frame: Frame) -> None:
        with inside(self.namespaces[machine]), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
            out.bind(("eth0", 0))
            out.send(frame.to_bytes())

    def mac_tables(self) -> dict[str, list[tuple[int, int, str]]]:
        return {name: ovs.mac_table(name) for name, ovs in self._switches.items()}

    def stop(self) -> None:
        for ovs in self._switches.values():
            ovs.stop()
        for fd in self.namespaces.values():
            os.close(fd)


class Heard:
    """What an agent told."""

    def __init__(self) -> None:
        self.bpdus: list[tuple[str, str]] = []
        self.discarding: dict[str, frozenset[str]] = {}

    def on_bpdu(self, switch: str, port: str) -> None:
        self.bpdus.append((switch, port))

    def on_discarding(self, switch: str, ports: frozenset[str]) -> None:
        self.discarding[switch] = ports

    @property
    def held(self) -> set[tuple[str, str]]:
        return {(switch, port) for switch, ports in self.discarding.items() for port in ports}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Heard, PSwitchAgent]]:
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces outside of a lab, which only root may")
    rig, told = Rig(RING, tmp_path_factory.mktemp("ring")), Heard()
    try:
        agent = PSwitchAgent(rig.topology, rig, lambda: rig.dark)  # type: ignore[arg-type]
        agent.start(told.on_bpdu, told.on_discarding)
        agent.wait_converged()
        yield rig, told, agent
    finally:
        rig.stop()


def test_spanning_tree_holds_one_end_of_a_ring(ring: tuple[Rig, Heard, PSwitchAgent]) -> None:
    rig, told, _ = ring
    (held,) = told.held
    assert held in {("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")}
    rig.send("m1", Frame("00:50:56:00:00:01", BROADCAST, payload=FILL))
    until(lambda: all(len(entries) == 1 for entries in rig.mac_tables().values()))


def test_spanning_tree_opens_another_way_and_forgets_addresses(ring: tuple[Rig, Heard, PSwitchAgent]) -> None:
    rig, told, agent = ring
    ((switch, port),) = told.held
    (other,) = {"a", "b", "c"} - {switch, port}
    rig.send(f"m{'abc'.index(switch) + 1}", Frame("00:50:56:00:00:09", BROADCAST, payload=FILL))
    until(lambda: all("00:50:56:00:00:09" in {mac for _, _, mac in e} for e in rig.mac_tables().values()))
    rig.link(switch, other, False)
    try:
        until(lambda: not told.held)
        until(lambda: not any(rig.mac_tables().values()))
        agent.wait_converged()
    finally:
        rig.link(switch, other, True)
    until(lambda: told.held == {(switch, port)})
    agent.wait_converged()


def test_fwd_15_a_pswitch_with_spanning_tree_sends_bpdus_to_hosts_too(ring: tuple[Rig, Heard, PSwitchAgent]) -> None:
    rig, _, _ = ring
    with inside(rig.namespaces["m2"]), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as ear:
        ear.bind(("eth0", 0))
        ear.settimeout(10)
        assert Frame.parse(ear.recv(2048)).dst == BPDU_MACS[0]


@pytest.mark.parametrize("mac", BPDU_MACS)
def test_atk_8_a_bpdu_is_heard_where_the_guard_is(ring: tuple[Rig, Heard, PSwitchAgent], mac: str) -> None:
    rig, told, _ = ring
    told.bpdus.clear()
    rig.send("m2", Frame("00:50:56:00:00:02", mac, payload=FILL))
    rig.send("m1", Frame("00:50:56:00:00:01", BROADCAST, payload=FILL))
    rig.send("m1", Frame("00:50:56:00:00:01", mac, payload=FILL))
    until(lambda: bool(told.bpdus))
    # Neither its own BPDUs nor those on cables nor those of switches without the guard.
    assert set(told.bpdus) == {("a", "m1")}


def test_atk_8_a_guarded_port_is_heard_again_after_it_was_down(ring: tuple[Rig, Heard, PSwitchAgent]) -> None:
    rig, told, _ = ring

    def heard() -> bool:
        """What is sent before the kernel has told of the carrier goes nowhere: it is sent again."""
        rig.send("m1", Frame("00:50:56:00:00:01", BPDU_MACS[0], payload=FILL))
        return bool(told.bpdus)

    for _ in range(2):
        told.bpdus.clear()
        until(heard)
        for up in (False, True):
            rig.link("a", "m1", up)
    assert set(told.bpdus) == {("a", "m1")}


def test_an_agent_follows_a_topology_that_changes(ring: tuple[Rig, Heard, PSwitchAgent]) -> None:
    rig, told, agent = ring
    told.bpdus.clear()
    moved = RING.replace(", bpdu_guard: true", "").replace("b: {stp: true", "b: {stp: true, bpdu_guard: true")
    agent.update(read_topology(moved, ""))
    rig.send("m1", Frame("00:50:56:00:00:01", BPDU_MACS[0], payload=FILL))
    rig.send("m2", Frame("00:50:56:00:00:02", BPDU_MACS[0], payload=FILL))
    until(lambda: bool(told.bpdus))
    assert set(told.bpdus) == {("b", "m2")}
    agent.update(rig.topology)
