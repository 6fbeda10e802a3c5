"""The second opinion, statement by statement, on the topology of the switching tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.frame import BROADCAST, DropReason, Frame, Hop, Point, Tag
from lab.model import Knobs, PortKey, Topology
from lab.predict import Prediction, Predictor, predict
from lab.predict.prediction import RECEIVED
from lab.state import State
from lab.teaming import initial_state, with_links_down
from lab.topology import read_topology, read_topology_file

FILE = Path(__file__).parents[1] / "lab" / "switching.yaml"
TEXT = FILE.read_text()
TOPOLOGY = read_topology_file(FILE)
NICS = (*TOPOLOGY.vnics, *TOPOLOGY.vmknics)
MACHINES = TOPOLOGY.machines
MAC = {nic.label: nic.mac for nic in NICS} | {name: machine.mac for name, machine in MACHINES.items()}
UNKNOWN, OTHER_UNKNOWN = "00:50:56:3f:00:01", "00:50:56:3f:00:02"
BPDU = "01:80:c2:00:00:00"
DROPS = DropReason


def label(name: str) -> str:
    return name if name in MAC else f"{name}.eth0"


def mac(name: str) -> str:
    return name if ":" in name else MAC[label(name)]


def frame(sender: str, to: str, tags: Iterable[int | Tag] = (), src: str | None = None) -> Frame:
    return Frame(src or mac(sender), mac(to), tuple(t if isinstance(t, Tag) else Tag(t) for t in tags))


def taught(topology: Topology, down: Iterable[PortKey] = ()) -> State:
    """Every vNIC, vmknic and machine has sent one untagged broadcast."""
    state = with_links_down(topology, initial_state(topology), down)
    for name in MAC:
        state = predict(topology, state, name, frame(name, BROADCAST)).state_after(state)
    return state


def knobs(**changes: bool | str) -> Topology:
    return replace(TOPOLOGY, knobs=replace(Knobs(), **changes))  # type: ignore[arg-type]


def short(name: str) -> str:
    return name.removesuffix(".eth0")


def received(prediction: Prediction) -> list[tuple[str, tuple[int, ...]]]:
    """Who gets a copy, and with which tags; sorted, a duplicate twice."""
    hops = [hop for hop in prediction.hops if hop.point in RECEIVED]
    names = map(short, prediction.receivers)
    return sorted((name, vids(hop)) for name, hop in zip(names, hops, strict=True))


def vids(hop: Hop) -> tuple[int, ...]:
    return tuple(tag.vid for tag in hop.vlans)


def sent(prediction: Prediction) -> list[tuple[str, str, tuple[int, ...]]]:
    """On which uplinks it leaves hosts, and with which tags."""
    return sorted((h.box, h.interface, vids(h)) for h in prediction.hops if h.point is Point.UPLINK_SND)


def dropped(prediction: Prediction, *boxes: str) -> set[tuple[str, str, DropReason]]:
    return {
        (h.box, short(h.interface), h.reason) for h in prediction.drops if h.reason and (not boxes or h.box in boxes)
    }


STATE = taught(TOPOLOGY)
COLD = initial_state(TOPOLOGY)


@dataclass(frozen=True)
class Case:
    """A frame and all that is to become of it: copies received, uplinks used, drops, and the statements named."""

    name: str
    sender: str
    to: str
    tags: tuple[int, ...] = ()
    received: tuple[tuple[str, tuple[int, ...]], ...] = ()
    sent: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    dropped: tuple[tuple[str, str, DropReason], ...] = ()
    why: tuple[str, ...] = ()
    topology: Topology = TOPOLOGY


WEB1_OUT = (("esx1", "vmnic1", (10,)),)
FLOODED_10 = tuple(
    (host, uplink, DROPS.UNKNOWN_UNICAST) for host in ("esx1", "esx2") for uplink in ("vmnic0", "vmnic1", "vmnic2")
)
UNKNOWN_10 = tuple(drop for drop in FLOODED_10 if drop[:2] != ("esx1", "vmnic1"))
IN_VLAN_10 = (
    ("old1", ()), ("old2", ()), ("trunk1", (10,)), ("vgt1", (10,)), ("vgt2", (10,)), ("web3", ()), ("app1", ()),
)  # fmt: skip
REFLECTED = (
    ("esx1", "app1", DROPS.REVERSE_PATH),
    ("esx1", "trunk1", DROPS.REVERSE_PATH),
    ("esx1", "web1", DROPS.REVERSE_PATH),
    ("esx1", "mute", DROPS.PORT_BLOCKED),
    ("esx2", "web3", DROPS.REVERSE_PATH),
)
NATIVE_10 = read_topology(
    TEXT.replace("{switch: tor1, trunk: [10, 11, 20, 21, 30]}", "{switch: tor1, trunk: [10], native: 10}", 1),
    "native.yaml",
)

CASES = [
    Case("fwd_1 local unicast reaches its port only", "web1", "web2", received=(("web2", ()),), why=("FWD-1",)),
    Case("fwd_1 to its own address", "web1", "web1", dropped=(("esx1", "web1", DROPS.OWN_PORT),), why=("FWD-1",)),
    Case("fwd_2 other port group, same VLAN", "web1", "app1", received=(("app1", ()),), why=("FWD-2",)),
    Case("fwd_2 other port group, other uplink", "web2", "app1", received=(("app1", ()),), why=("FWD-2",)),
    Case(
        "fwd_3 other VLAN leaves with the sender's tag", "web1", "db1", received=(("gw", ()),), sent=WEB1_OUT,
        dropped=(
            *(set(UNKNOWN_10) - {("esx1", "vmnic2", DROPS.UNKNOWN_UNICAST)}), ("esx1", "db1", DROPS.VLAN_MISMATCH),
        ),
        why=("FWD-4", "VLAN-3"),
    ),
    Case(
        "fwd_4 unknown unicast leaves on one uplink, is not flooded inside", "web1", UNKNOWN, received=(("gw", ()),),
        sent=WEB1_OUT, dropped=UNKNOWN_10, why=("FWD-4", "TEAM-PID-1"),
    ),
    Case(
        "fwd_4 known unicast leaves on one uplink", "web1", "web3", received=(("web3", ()),), sent=WEB1_OUT,
        why=("FWD-4",),
    ),
    Case("fwd_5 unknown unicast from an uplink is dropped", "gw", UNKNOWN, dropped=FLOODED_10, why=("FWD-5",)),
    Case("fwd_5 known unicast from an uplink is delivered", "gw", "web1", received=(("web1", ()),), why=("FWD-11",)),
    Case(
        "fwd_6 fwd_10 broadcast of a vNIC", "web1", BROADCAST,
        received=(*IN_VLAN_10, ("web2", ()), ("web2", ()), ("gw", ())), sent=WEB1_OUT, dropped=REFLECTED,
        why=("FWD-6", "FWD-7", "FWD-10"),
    ),
    Case(
        "fwd_7 fwd_8 fwd_11 broadcast from the wire", "gw", BROADCAST,
        received=(*IN_VLAN_10, ("web1", ()), ("web2", ())),
        dropped=(*REFLECTED, ("esx1", "web2", DROPS.REVERSE_PATH)), why=("FWD-7", "FWD-11"),
    ),
    Case(
        "fwd_9 the other vSwitch of a host only by the wire", "web1", "old1", received=(("old1", ()),), sent=WEB1_OUT,
        why=("FWD-4",),
    ),
    Case(
        "fwd_10 reverse path off: reflected copies come in", "web1", BROADCAST,
        received=(
            *IN_VLAN_10, ("web1", ()), ("web2", ()), ("web2", ()), ("web3", ()), ("app1", ()), ("trunk1", (10,)),
            ("gw", ()),
        ),
        sent=WEB1_OUT, dropped=(("esx1", "mute", DROPS.PORT_BLOCKED),), why=("FWD-7",),
        topology=knobs(reverse_path=False),
    ),
    Case("fwd_11 unicast on the port's own uplink", "gw", "web2", received=(("web2", ()),), why=("FWD-11",)),
    Case(
        "fwd_16 fwd_19 guest BPDU leaves, and no guest asked for it", "est1", BPDU, received=(("plain", ()),),
        sent=(("esx1", "vmnic0", ()),), dropped=(("esx2", "vmnic0", DROPS.NO_RECEIVER),), why=("FWD-15", "FWD-19"),
    ),
    Case(
        "fwd_16 guest BPDU blocked", "est1", BPDU, dropped=(("esx1", "est1", DROPS.GUEST_BPDU),), why=("FWD-16",),
        topology=knobs(block_guest_bpdu=True),
    ),
    Case(
        "fwd_16 blocking spares other multicast", "est1", "01:80:c2:00:00:0e", received=(("plain", ()),),
        sent=(("esx1", "vmnic0", ()),), dropped=(("esx2", "vmnic0", DROPS.DISCOVERY),), why=("FWD-19", "MIR-13"),
        topology=knobs(block_guest_bpdu=True),
    ),
    Case(
        "fwd_19 every guest has asked for the group of all systems", "est1", "01:00:5e:00:00:01",
        received=(("vgt1", ()), ("est2", ()), ("vgt2", ()), ("plain", ())), sent=(("esx1", "vmnic0", ()),),
        why=("FWD-19",),
    ),
    Case(
        "fwd_17 to a disconnected vNIC: as to an unknown address", "web1", "gone", received=(("gw", ()),),
        sent=WEB1_OUT, dropped=UNKNOWN_10, why=("FWD-5",),
    ),
    Case(
        "fwd_17 a disconnected vNIC sends nothing", "gone", "web1", dropped=(("esx1", "eth0", DROPS.DISCONNECTED),),
        why=("FWD-17",),
    ),
    Case(
        "vlan_1 EST leaves and arrives untagged", "est1", "est2", received=(("est2", ()),),
        sent=(("esx1", "vmnic0", ()),), why=("VLAN-1",),
    ),
    Case(
        "vlan_1 EST to a machine in the native VLAN", "est1", "plain", received=(("plain", ()),),
        sent=(("esx1", "vmnic0", ()),), why=("VLAN-1",),
    ),
    Case(
        "vlan_2 a tagged frame for an EST port", "vgt1", "est2", (5,), sent=(("esx1", "vmnic0", (5,)),),
        dropped=(("esx2", "est2", DROPS.VLAN_MISMATCH),), why=("VLAN-2",),
    ),
    Case(
        "vlan_3 vlan_4 VST: one tag on the wire", "web1", "web3", received=(("web3", ()),), sent=WEB1_OUT,
        why=("VLAN-3", "VLAN-4"),
    ),
    Case(
        "vlan_4 an untagged frame for a VST port", "est2", "old1", sent=(("esx2", "vmnic0", ()),),
        received=(("plain", ()),), dropped=(("esx1", "old1", DROPS.VLAN_MISMATCH),), why=("VLAN-4",),
    ),
    Case(
        "vlan_4 another tag for a VST port", "vgt2", "old1", (5,), sent=(("esx2", "vmnic0", (5,)),),
        dropped=(("esx1", "old1", DROPS.VLAN_MISMATCH),), why=("VLAN-4",),
    ),
    Case(
        "vlan_4 its own tag for a VST port", "vgt2", "old1", (10,), sent=(("esx2", "vmnic0", (10,)),),
        received=(("old1", ()),), why=("VLAN-4",),
    ),
    Case("vlan_5 local traffic has no tag", "web2", "web1", received=(("web1", ()),), why=("FWD-1",)),
    Case(
        "vlan_6 the port group's own VID", "web1", "web2", (10,), dropped=(("esx1", "web1", DROPS.DOUBLE_TAG),),
        why=("VLAN-6",),
    ),
    Case("vlan_6 another VID", "web1", "web3", (20,), dropped=(("esx1", "web1", DROPS.DOUBLE_TAG),), why=("VLAN-6",)),
    Case(
        "vlan_6 two tags", "web1", BROADCAST, (10, 20), dropped=(("esx1", "web1", DROPS.DOUBLE_TAG),),
        why=("VLAN-6",),
    ),
    Case(
        "vlan_7 EST drops a guest's tag", "est1", "est2", (20,), dropped=(("esx1", "est1", DROPS.VLAN_MISMATCH),),
        why=("VLAN-7",),
    ),
    Case(
        "vlan_7 pass: the tag goes out as it is", "est1", UNKNOWN, (5,), sent=(("esx1", "vmnic0", (5,)),),
        dropped=(("esx2", "vmnic0", DROPS.UNKNOWN_UNICAST),), why=("FWD-4",), topology=knobs(est_guest_tag="pass"),
    ),
    Case(
        "vlan_8 VGT untagged", "vgt1", "vgt2", received=(("vgt2", ()),), sent=(("esx1", "vmnic0", ()),),
        why=("VLAN-1",),
    ),
    Case(
        "vlan_8 VGT keeps the guest's tag", "vgt1", "vgt2", (5,), received=(("vgt2", (5,)),),
        sent=(("esx1", "vmnic0", (5,)),), why=("VLAN-8",),
    ),
    Case(
        "vlan_8 VGT keeps an inner tag", "vgt1", "vgt2", (5, 77), received=(("vgt2", (5, 77)),),
        sent=(("esx1", "vmnic0", (5, 77)),), why=("VLAN-8",),
    ),
    Case(
        "vlan_9 in range", "trunk1", "db2", (20,), received=(("db2", ()),), sent=(("esx1", "vmnic1", (20,)),),
        why=("VLAN-8",),
    ),
    Case("vlan_9 in range, to the trunk port", "web1", "trunk1", received=(("trunk1", (10,)),), why=("FWD-1",)),
    Case(
        "vlan_9 out of range", "trunk1", "web1", (11,), dropped=(("esx1", "trunk1", DROPS.VLAN_MISMATCH),),
        why=("VLAN-9",),
    ),
    Case(
        "vlan_9 untagged is not in the range", "trunk1", "web1", dropped=(("esx1", "trunk1", DROPS.VLAN_MISMATCH),),
        why=("VLAN-9",),
    ),
    Case("vlan_10 VGT to VST, locally", "vgt1", "old1", (10,), received=(("old1", ()),), why=("FWD-1",)),
    Case("vlan_10 VST to VGT, locally", "old1", "vgt1", received=(("vgt1", (10,)),), why=("FWD-1", "VLAN-8")),
    Case(
        "vlan_12 native mismatch: out it goes", "web1", "gw", received=(("gw", ()),), sent=WEB1_OUT, why=("VLAN-3",),
        topology=NATIVE_10,
    ),
    Case(
        "vlan_12 native mismatch: nothing comes back", "gw", "web1", dropped=(("esx1", "web1", DROPS.VLAN_MISMATCH),),
        topology=NATIVE_10,
    ),
    Case(
        "vlan_13 missing on the trunk it is pinned to", "narrow1", "narrow2", sent=(("esx1", "vmnic2", (30,)),),
        dropped=(("tor2", "esx1-vmnic2", DROPS.PSWITCH_VLAN),), why=("VLAN-13",),
    ),
    Case("vlan_13 present on the trunk", "narrow2", UNKNOWN, sent=(("esx2", "vmnic1", (30,)),), dropped=(
        ("esx1", "vmnic1", DROPS.UNKNOWN_UNICAST), ("tor2", "tor1", DROPS.PSWITCH_NO_RECEIVER),
    ), why=("VLAN-3",)),
    Case("vlan_14 priority tag on VST", "web1", "web3", (0,), received=(("web3", ()),), sent=WEB1_OUT, why=("VLAN-3",)),
    Case(
        "vlan_14 priority tag on EST", "est1", "est2", (0,), received=(("est2", ()),),
        sent=(("esx1", "vmnic0", ()),), why=("VLAN-1",),
    ),
    Case("vlan_14 priority tag from the wire", "gw", "web1", (0,), received=(("web1", ()),), why=("FWD-11",)),
    Case(
        "vlan_14 drop", "web1", "web3", (0,), dropped=(("esx1", "web1", DROPS.VLAN_MISMATCH),), why=("VLAN-14",),
        topology=knobs(prio_tag="drop"),
    ),
    Case("sec_19 to a blocked port", "web1", "mute", dropped=(("esx1", "mute", DROPS.PORT_BLOCKED),), why=("SEC-19",)),
    Case(
        "sec_19 from a blocked port", "mute", "web1", dropped=(("esx1", "mute", DROPS.PORT_BLOCKED),),
        why=("SEC-19",),
    ),
    Case(
        "pswitch: a tag on an access port", "gw", "web1", (10,),
        dropped=(("tor1", "gw", DROPS.PSWITCH_ACCESS_TAGGED),),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_a_frame(case: Case) -> None:
    state = STATE if case.topology is TOPOLOGY else taught(case.topology)
    prediction = predict(case.topology, state, label(case.sender), frame(case.sender, case.to, case.tags))
    assert received(prediction) == sorted(case.received)
    assert sent(prediction) == sorted(case.sent)
    assert dropped(prediction) == set(case.dropped)
    assert set(case.why) <= set(prediction.statements)


def path(prediction: Prediction) -> list[tuple[str, str, str, tuple[int, ...]]]:
    return [(hop.box, hop.point.value, hop.interface, vids(hop)) for hop in prediction.hops]


def test_fwd_1_vlan_5_every_hop_of_a_local_frame() -> None:
    assert path(predict(TOPOLOGY, STATE, "web1.eth0", frame("web1", "web2"))) == [
        ("esx1", "VnicTx", "eth0", ()),
        ("esx1", "PortInput", "web1.eth0", ()),
        ("esx1", "VnicOut", "web2.eth0", ()),
        ("esx1", "VnicRx", "eth0", ()),
    ]


def test_vlan_3_every_hop_of_a_frame_to_another_host() -> None:
    assert path(predict(TOPOLOGY, STATE, "db1.eth0", frame("db1", "db2"))) == [
        ("esx1", "VnicTx", "eth0", ()),
        ("esx1", "PortInput", "db1.eth0", ()),
        ("esx1", "UplinkSnd", "vmnic2", (20,)),
        ("tor2", "PSwitchRcv", "esx1-vmnic2", (20,)),
        ("tor2", "PSwitchSnd", "esx2-vmnic2", (20,)),
        ("esx2", "UplinkRcv", "vmnic2", (20,)),
        ("esx2", "VnicOut", "db2.eth0", ()),
        ("esx2", "VnicRx", "eth0", ()),
    ]


def test_every_hop_from_a_vmknic_to_another_host() -> None:
    assert path(predict(TOPOLOGY, STATE, "esx1.vmk0", frame("esx1.vmk0", "esx2.vmk0"))) == [
        ("esx1", "VmkTx", "vmk0", ()),
        ("esx1", "PortInput", "vmk0", ()),
        ("esx1", "UplinkSnd", "vmnic0", (5,)),
        ("tor1", "PSwitchRcv", "esx1-vmnic0", (5,)),
        ("tor1", "PSwitchSnd", "esx2-vmnic0", (5,)),
        ("esx2", "UplinkRcv", "vmnic0", (5,)),
        ("esx2", "VmkOut", "vmk0", ()),
        ("esx2", "VmkRx", "vmk0", ()),
    ]


def test_every_hop_between_two_machines_and_a_vnic() -> None:
    assert path(predict(TOPOLOGY, STATE, "gw", frame("gw", "web2"))) == [
        ("gw", "NicTx", "eth0", ()),
        ("tor1", "PSwitchRcv", "gw", ()),
        ("tor1", "PSwitchSnd", "tor2", (10,)),
        ("tor2", "PSwitchRcv", "tor1", (10,)),
        ("tor2", "PSwitchSnd", "esx1-vmnic2", (10,)),
        ("esx1", "UplinkRcv", "vmnic2", (10,)),
        ("esx1", "VnicOut", "web2.eth0", ()),
        ("esx1", "VnicRx", "eth0", ()),
    ]


def test_fwd_8_no_frame_that_came_in_on_an_uplink_leaves_on_one() -> None:
    for name in MAC:
        prediction = predict(TOPOLOGY, COLD, name, frame(name, BROADCAST, (10,) if "vgt" in name else ()))
        for hop in prediction.hops:
            if hop.point is Point.UPLINK_SND:
                assert prediction.hops[hop.parent or 0].point is Point.PORT_INPUT


@pytest.mark.parametrize("sender", ["web1", "web2", "old1", "est1", "vgt1"])
def test_fwd_6_a_broadcast_leaves_its_host_once(sender: str) -> None:
    prediction = predict(TOPOLOGY, COLD, label(sender), frame(sender, BROADCAST))
    assert [(box, nic) for box, nic, _ in sent(prediction)] == [("esx1", STATE.uplink_of["esx1", label(sender)])]


def test_fwd_11_a_learned_address_moved_to_the_wrong_uplink_is_dropped() -> None:
    table = {"tor1": {(10, mac("web2")): "esx1-vmnic1"}}
    wrong = predict(TOPOLOGY, STATE.with_tables(table, {}, {}), "gw", frame("gw", "web2"))
    assert dropped(wrong) == {("esx1", "web2", DROPS.REVERSE_PATH)}
    assert "FWD-11" in wrong.statements
    assert received(predict(TOPOLOGY, STATE, "gw", frame("gw", "web2"))) == [("web2", ())]


@pytest.mark.parametrize(
    ("sender", "to", "forged"), [("db1", "db2", True), ("db1", BROADCAST, True), ("db1", "db2", False)]
)
def test_sec_7_a_forged_source_is_dropped_at_its_port(sender: str, to: str, forged: bool) -> None:
    prediction = predict(TOPOLOGY, STATE, "db1.eth0", frame(sender, to, src=OTHER_UNKNOWN if forged else None))
    assert dropped(prediction) == ({("esx1", "db1", DROPS.FORGED_TRANSMIT)} if forged else set())
    assert ("SEC-7" in prediction.statements) is forged
    assert bool(received(prediction)) is not forged


def test_sec_7_a_forged_source_passes_where_it_is_accepted() -> None:
    prediction = predict(TOPOLOGY, STATE, "web1.eth0", frame("web1", "web3", src=OTHER_UNKNOWN))
    assert received(prediction) == [("web3", ())]
    assert {hop.src for hop in prediction.hops} == {OTHER_UNKNOWN}


def test_sec_19_a_blocked_port_gets_no_broadcast_and_no_unicast_from_the_wire() -> None:
    for to in (BROADCAST, "mute"):
        prediction = predict(TOPOLOGY, STATE, "gw", frame("gw", to))
        assert "mute" not in dict(received(prediction))
        assert ("esx1", "mute", DROPS.PORT_BLOCKED) in dropped(prediction)


def test_vlan_14_the_priority_of_a_priority_tag_is_kept() -> None:
    prediction = predict(TOPOLOGY, STATE, "web1.eth0", frame("web1", "web3", (Tag(0, 5),)))
    assert [hop.vlans for hop in prediction.hops if hop.point is Point.UPLINK_SND] == [(Tag(10, 5),)]
    assert [hop.vlans for hop in prediction.hops if hop.point is Point.VNIC_RX] == [()]


def test_vlan_3_the_priority_is_zero_unless_the_frame_is_marked() -> None:
    prediction = predict(TOPOLOGY, STATE, "web1.eth0", frame("web1", "web3"))
    assert [hop.vlans for hop in prediction.hops if hop.point is Point.UPLINK_SND] == [(Tag(10, 0, 0x8100),)]


@pytest.mark.parametrize(("sender", "to", "on_wire"), [("web1", "web3", 1518), ("est1", "est2", 1514)])
def test_vlan_17_one_tag_adds_four_bytes_and_only_on_the_wire(sender: str, to: str, on_wire: int) -> None:
    whole = replace(frame(sender, to), payload=bytes(1500))
    hops = predict(TOPOLOGY, STATE, label(sender), whole).hops
    sizes = {hop.point: len(replace(whole, vlans=hop.vlans).to_bytes()) for hop in hops}
    assert (sizes[Point.UPLINK_SND], sizes[Point.UPLINK_RCV]) == (on_wire, on_wire)
    assert {sizes[p] for p in (Point.VNIC_TX, Point.PORT_INPUT, Point.VNIC_OUT, Point.VNIC_RX)} == {1514}


# -- teaming


def cut(*uplinks: str) -> State:
    """Cables of esx1's dvs0 pulled: both ends are without carrier."""
    ends = {"vmnic1": "tor1", "vmnic2": "tor2"}
    return taught(TOPOLOGY, [key for u in uplinks for key in (("esx1", u), (ends[u], f"esx1-{u}"))])


@pytest.mark.parametrize(
    ("pulled", "uplink"), [((), "vmnic1"), (("vmnic1",), "vmnic2"), (("vmnic2",), "vmnic1")], ids=str
)
def test_team_f_1_frames_leave_and_arrive_on_the_surviving_uplink(pulled: tuple[str, ...], uplink: str) -> None:
    state = cut(*pulled)
    out = predict(TOPOLOGY, state, "web1.eth0", frame("web1", "web3"))
    back = predict(TOPOLOGY, state, "web3.eth0", frame("web3", "web1"))
    assert (sent(out), received(out)) == ([("esx1", uplink, (10,))], [("web3", ())])
    assert [h.interface for h in back.hops if h.point is Point.UPLINK_RCV] == [uplink]
    assert received(back) == [("web1", ())]


def test_team_f_1_a_missing_vlan_is_not_detected() -> None:
    prediction = predict(TOPOLOGY, STATE, "narrow1.eth0", frame("narrow1", "narrow2"))
    assert sent(prediction) == [("esx1", "vmnic2", (30,))]
    assert received(prediction) == []


def test_team_f_2_after_failback_all_is_as_before() -> None:
    back = with_links_down(TOPOLOGY, cut("vmnic1"), ())
    assert sent(predict(TOPOLOGY, back, "web1.eth0", frame("web1", "web3"))) == list(WEB1_OUT)
    assert back.uplink_of == STATE.uplink_of


def test_team_f_6_a_port_on_the_other_uplink_notices_nothing() -> None:
    before = predict(TOPOLOGY, STATE, "db1.eth0", frame("db1", "db2"))
    during = predict(TOPOLOGY, cut("vmnic1"), "db1.eth0", frame("db1", "db2"))
    assert during.hops == before.hops


def test_team_f_7_without_uplinks_local_frames_pass_and_others_are_dropped() -> None:
    state = cut("vmnic1", "vmnic2")
    local = predict(TOPOLOGY, state, "web1.eth0", frame("web1", "web2"))
    outbound = predict(TOPOLOGY, state, "web1.eth0", frame("web1", "web3"))
    assert received(local) == [("web2", ())]
    assert dropped(outbound) == {("esx1", "web1", DROPS.NO_UPLINK)}
    assert (outbound.statements, received(outbound)) == (("TEAM-F-7",), [])


def test_team_f_7_without_uplinks_a_broadcast_stays_on_the_host() -> None:
    prediction = predict(TOPOLOGY, cut("vmnic1", "vmnic2"), "web1.eth0", frame("web1", BROADCAST))
    assert received(prediction) == [("app1", ()), ("trunk1", (10,)), ("web2", ())]
    assert ("esx1", "web1", DROPS.NO_UPLINK) in dropped(prediction)


@pytest.mark.parametrize(("sender", "key"), [("web1", ("esx1", "web1.eth0")), ("gw", ("tor1", "gw"))])
def test_a_sender_without_carrier_sends_nothing(sender: str, key: PortKey) -> None:
    dark = with_links_down(TOPOLOGY, STATE, [key])
    assert [h.reason for h in predict(TOPOLOGY, dark, label(sender), frame(sender, "web3")).hops] == [DROPS.LINK_DOWN]
    assert received(predict(TOPOLOGY, STATE, label(sender), frame(sender, "web3"))) == [("web3", ())]


# -- what pSwitches learn


def test_pswitches_learn_the_source_in_its_vlan_on_the_port_it_came_in() -> None:
    tables = predict(TOPOLOGY, COLD, "web1.eth0", frame("web1", BROADCAST)).mac_tables
    assert tables == {"tor1": {(10, mac("web1")): "esx1-vmnic1"}, "tor2": {(10, mac("web1")): "tor1"}}


def test_pswitches_learn_untagged_frames_in_the_native_vlan() -> None:
    tables = predict(TOPOLOGY, COLD, "est1.eth0", frame("est1", BROADCAST)).mac_tables
    assert tables == {"tor1": {(1, mac("est1")): "esx1-vmnic0"}}


def test_one_address_is_learned_in_each_of_its_vlans() -> None:
    state = COLD
    for vid in (10, 20):
        state = predict(TOPOLOGY, state, "vgt1.eth0", frame("vgt1", BROADCAST, (vid,))).state_after(state)
    assert {key for key in state.mac_tables["tor1"] if key[1] == mac("vgt1")} == {(10, mac("vgt1")), (20, mac("vgt1"))}


@pytest.mark.parametrize(
    ("sender", "to", "tags", "src"),
    [
        pytest.param("web1", "web2", (), None, id="it stays on the host"),
        pytest.param("gw", BROADCAST, (10,), None, id="the pSwitch drops it"),
        pytest.param("narrow1", BROADCAST, (), None, id="VLAN not allowed"),
        pytest.param("web1", UNKNOWN, (), "01:00:5e:00:00:01", id="the source is a group"),
    ],
)
def test_nothing_is_learned_from(sender: str, to: str, tags: tuple[int, ...], src: str | None) -> None:
    prediction = predict(TOPOLOGY, COLD, label(sender), frame(sender, to, tags, src))
    assert prediction.mac_tables is COLD.mac_tables
    assert prediction.state_after(COLD) is COLD


def test_what_is_known_already_changes_nothing() -> None:
    assert predict(TOPOLOGY, STATE, "web1.eth0", frame("web1", "web3")).state_after(STATE) is STATE
    assert predict(TOPOLOGY, COLD, "web1.eth0", frame("web1", "web3")).state_after(COLD) is not COLD


def test_an_address_that_moves_is_learned_anew() -> None:
    prediction = predict(TOPOLOGY, STATE, "web2.eth0", frame("web2", "web3", src=mac("web1")))
    assert STATE.mac_tables["tor2"][10, mac("web1")] == "tor1"
    assert prediction.mac_tables["tor2"][10, mac("web1")] == "esx1-vmnic2"
    assert prediction.mac_tables["tor1"][10, mac("web1")] == "tor2"


def test_learning_spares_the_state_that_was_given() -> None:
    before = {name: dict(table) for name, table in STATE.mac_tables.items()}
    predict(TOPOLOGY, STATE, "web2.eth0", frame("web2", "web3", src=OTHER_UNKNOWN))
    assert {name: dict(table) for name, table in STATE.mac_tables.items()} == before


def test_a_pswitch_sends_a_known_address_out_of_one_port_and_floods_an_unknown_one() -> None:
    counts = [
        sum(h.point is Point.PSWITCH_SND for h in predict(TOPOLOGY, state, "web1.eth0", frame("web1", "web3")).hops)
        for state in (STATE, COLD)
    ]
    assert counts == [1, 7]


def test_a_pswitch_never_sends_a_frame_back_where_it_came_from() -> None:
    table = {"tor1": {(10, mac("web3")): "esx1-vmnic1"}}
    prediction = predict(TOPOLOGY, COLD.with_tables(table, {}, {}), "web1.eth0", frame("web1", "web3"))
    assert dropped(prediction) == {("tor1", "esx1-vmnic1", DROPS.PSWITCH_SAME_PORT)}


def test_a_pswitch_floods_what_it_knows_behind_a_dead_port() -> None:
    dark = replace(STATE, links_down=frozenset({("tor1", "esx2-vmnic1")}))
    hops = predict(TOPOLOGY, dark, "gw", frame("gw", "web3")).hops
    ports = {hop.interface for hop in hops if hop.box == "tor1" and hop.point is Point.PSWITCH_SND}
    assert ports == {"esx1-vmnic0", "esx1-vmnic1", "esx2-vmnic0", "tor2"}


# -- every prediction

TARGETS = [*MAC.values(), BROADCAST, BPDU, UNKNOWN]
STACKS: list[tuple[int, ...]] = [(), (0,), (5,), (10,), (20,), (30,), (99,), (10, 20)]


@pytest.mark.parametrize("state", [COLD, STATE], ids=["cold", "taught"])
@pytest.mark.parametrize("sender", MAC)
def test_hops_are_a_tree_whose_leaves_are_ends(sender: str, state: State) -> None:
    predictor = Predictor(TOPOLOGY, state)
    for to in TARGETS:
        for tags in STACKS:
            assert_sound(predictor.predict(sender, frame(sender, to, tags)))


def assert_sound(prediction: Prediction) -> None:
    parents = [hop.parent for hop in prediction.hops]
    assert parents[0] is None
    assert all(p is not None and 0 <= p < index for index, p in enumerate(parents[1:], start=1))
    for index, hop in enumerate(prediction.hops):
        ends = hop.reason is not None or hop.point in RECEIVED
        assert ends is (index not in parents)
        assert (hop.reason is not None) is (hop.point is Point.DROP)
    assert sum(len(trail) > 0 for trail in prediction.trails()) == len(set(range(len(parents))) - set(parents))


def test_trails_go_from_the_sender_to_each_end() -> None:
    prediction = predict(TOPOLOGY, STATE, "web1.eth0", frame("web1", BROADCAST))
    trails = list(prediction.trails())
    assert {trail[0] for trail in trails} == {prediction.hops[0]}
    assert len(trails) == len(prediction.receivers) + len(prediction.drops)


def test_wire_and_drops_share_the_hops_among_them() -> None:
    prediction = predict(TOPOLOGY, STATE, "web1.eth0", frame("web1", BROADCAST))
    assert set(prediction.wire) | set(prediction.drops) == set(prediction.hops)
    assert {hop.point for hop in prediction.drops} == {Point.DROP}
    assert Point.DROP not in {hop.point for hop in prediction.wire}


@pytest.mark.parametrize("sender", ["web1", "nobody.eth0", "esx1", "esx1-vmk.vmk0"])
def test_an_unknown_sender_is_a_key_error(sender: str) -> None:
    with pytest.raises(KeyError):
        predict(TOPOLOGY, STATE, sender, frame("web1", "web2"))


def test_a_predictor_with_another_state_predicts_by_that_one() -> None:
    first = Predictor(TOPOLOGY, STATE)
    second = first.with_state(cut("vmnic1"))
    assert sent(first.predict("web1.eth0", frame("web1", "web3"))) == [("esx1", "vmnic1", (10,))]
    assert sent(second.predict("web1.eth0", frame("web1", "web3"))) == [("esx1", "vmnic2", (10,))]
