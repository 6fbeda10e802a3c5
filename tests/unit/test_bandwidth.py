"""Bandwidth without a wire: what a file may say of it, what Network I/O Control gives to whom, the trees of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agents.events import Moment
from lab.agents.limits import Shared, parts_of, shared_limits
from lab.errors import TopologyError
from lab.model import Topology
from lab.nioc import Sender, divided, guaranteed, rates
from lab.plan import compile_plan
from lab.plan.queues import Bucket, Tree, shortened
from lab.report.nioc import Quota, quotas
from lab.teaming import initial_state
from lab.topology import read_topology, warnings

BASE = """\
name: lab
release: "<release>"
speed_scale: <scale>
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks: {vmnic0: {switch: tor1, speed: 10G}, vmnic1: {switch: tor1, speed: <speed>}, vmnic2: {switch: tor1}}
    standard_switches:
      vSwitch0: {uplinks: [vmnic2], <vss> port_groups: {old: {vlan: 5, <old>}}}
    vmkernel:
      vmk0: {port_group: kernel, services: [<services>]}
      vmk1: {port_group: kernel, services: [nfs]}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic0, vmnic1]}
    <nioc>
    port_groups:
      kernel: {vlan: 10}
      web: {vlan: 20, <web>}
vms:
  web1: {host: esx1, networks: [{port_group: web, <web1>}]}
  web2: {host: esx1, networks: [web]}
  old1: {host: esx1, networks: [{port_group: old, <old1>}]}
"""
SLOTS = {
    "release": "6.7", "scale": "0.01", "speed": "10G", "vss": "", "old": "", "services": "vmotion", "nioc": "mtu: 1500",
    "web": "", "web1": "", "old1": "",
}  # fmt: skip


def text_of(**slots: str) -> str:
    text = BASE
    for name, value in {**SLOTS, **slots}.items():
        text = text.replace(f"<{name}>", value)
    return text


def lab(**slots: str) -> Topology:
    return read_topology(text_of(**slots), "f")


def tree(topology: Topology, pnic: str = "vmnic0") -> Tree:
    plan = compile_plan(topology, initial_state(topology))
    (found,) = (q for q in plan.queues if (q.node, q.label) == ("esx1", pnic))
    assert isinstance(found, Tree)
    return found


def buckets(topology: Topology) -> dict[str, Bucket]:
    plan = compile_plan(topology, initial_state(topology))
    return {f"{q.node}:{q.label}": q for q in plan.queues if isinstance(q, Bucket)}


def control(words: str, version: int = 3) -> str:
    return f"network_io_control: {{version: {version}, pools: {{{words}}}}}"


# -- what is refused

WRONG = [
    pytest.param({"old": "shaping: {outbound: {average: 2M, peak: 1M}}"}, "peak", "the peak 1M is under the average"),
    pytest.param({"old": "shaping: {ingress: {}}"}, "shaping", "a standard switch has no 'ingress'"),
    pytest.param({"web": "shaping: {egress: {average: 700}}"}, "average", "700 is 7 bit/s at the speed_scale of 0.01"),
    pytest.param({"scale": "0.000001", "speed": "1M"}, "speed", "1M is 1 bit/s at the speed_scale of 1e-06"),
    pytest.param({"old1": "shaping: {ingress: {}}"}, "shaping", "a standard switch has no 'shaping' for a single port"),
    pytest.param({"old": "shaping: {outbound: {burst: 0}}"}, "burst", "0 is no size of a burst"),
    pytest.param({"nioc": control("nfs: {limit: 1G, reservation: 2G}")}, "limit", "1G is under the reservation 2G"),
    pytest.param({"nioc": control("nfs: {reservation: 8G}")}, "reservation", "8G are reserved, more than 75 %"),
    pytest.param({"nioc": control("nfs: {reservation: 1G}"), "speed": "1G"}, "reservation", "slowest pNIC's 1G"),
    pytest.param({"nioc": control("nfs: {reservation: 1G}", 2)}, "reservation", "version 2 of Network I/O Control"),
    pytest.param({"nioc": control("nsf: {}")}, "nsf", "has no traffic type 'nsf'"),
    pytest.param({"nioc": control("gold: {}", 1)}, "gold", "has no pools of one's own"),
    pytest.param({"nioc": control("nfs: {qos_tag: 5}")}, "qos_tag", "version 3 of Network I/O Control marks nothing"),
    pytest.param({"nioc": control("nfs: {shares: 101}")}, "shares", "101 is no number of shares"),
    pytest.param({"nioc": control("", 3), "release": "5.5"}, "version", "release 5.5 has no version 3"),
    pytest.param({"web": "network_pool: gold"}, "network_pool", "its switch has no Network I/O Control"),
    pytest.param({"nioc": control("gold: {}", 2), "web": "network_pool: silver"}, "network_pool", "no pool of one"),
    pytest.param({"web1": "shares: high"}, "shares", "need version 3 of Network I/O Control"),
    pytest.param({"nioc": control("", 2), "web1": "limit: 1G"}, "limit", "need version 3 of Network I/O Control"),
    pytest.param({"nioc": control(""), "web1": "reservation: 1G"}, "reservation", "web1 cannot be powered on"),
    pytest.param({"nioc": control("gold: {}"), "web": "network_pool: gold"}, "gold", "a pool of one's own has a quota"),
    pytest.param({"nioc": control("gold: {shares: 80}"), "web": "network_pool: gold"}, "shares", "has no shares"),
    pytest.param({"nioc": control("gold: {quota: 1G}", 2)}, "quota", "version 2 of Network I/O Control has no quotas"),
    pytest.param({"nioc": control("nfs: {quota: 1G}")}, "quota", "a traffic type has no quota"),
    pytest.param({"nioc": control("virtualMachine: {reservation: 1G}, gold: {quota: 1G}, silver: {quota: 1001M}")},
                 "quota", "the quotas are 2.001G together, and 2G are reserved for VMs"),
    pytest.param({"nioc": control("virtualMachine: {reservation: 1G}, gold: {quota: 1G}"), "web": "network_pool: gold",
                  "web1": "reservation: 1100M"}, "reservation", "VMs of the pool gold reserve 1.1G, 1G fit"),
    pytest.param({"nioc": "network_io_control: {opt_out: {esx1: [vmnic2]}}"}, "opt_out", "no pNIC of this switch"),
]  # fmt: skip


@pytest.mark.parametrize(("slots", "key", "what"), WRONG)
def test_a_mistake_about_bandwidth_is_told_with_its_place(slots: Mapping[str, str], key: str, what: str) -> None:
    assert lab()
    with pytest.raises(TopologyError) as refused:
        lab(**slots)
    (mistake,) = refused.value.mistakes
    assert what in mistake.what and key in mistake.path
    assert key in text_of(**slots).splitlines()[mistake.line - 1]


SURPRISING = [
    ({"nioc": control("gold: {}", 2)}, "no port group of dvs0 has the pool 'gold'"),
    ({"nioc": control("virtualMachine: {reservation: 1G}, gold: {quota: 1G}")}, "no port group of dvs0 has the pool"),
    ({"nioc": control("vsan: {limit: 1G}")}, "'vsan' is allotted bandwidth on dvs0, and no adapter there sends it"),
    ({"nioc": control(""), "services": "vmotion, nfs"}, "esx1.vmk0 has several services"),
]


@pytest.mark.parametrize(("slots", "what"), SURPRISING)
def test_what_will_surprise_is_told(slots: Mapping[str, str], what: str) -> None:
    assert [line for line in warnings(lab(**slots)) if what in line]
    assert not [line for line in warnings(lab()) if what in line]


GOLD = {"nioc": control("virtualMachine: {reservation: 1G}, gold: {quota: 1G}"), "web": "network_pool: gold"}


def test_a_quota_is_taken_by_what_vnics_of_its_port_groups_reserve() -> None:
    """A pool of version 3 is admission alone: nothing is scheduled by it."""
    topology = lab(**GOLD, web1="reservation: 400M")
    assert quotas(topology) == [Quota("dvs0", "gold", 10**9, 400 * 10**6)]
    assert tree(topology) == tree(lab(nioc=control("virtualMachine: {reservation: 1G}"), web1="reservation: 400M"))


def test_a_port_group_without_a_pool_takes_nothing_of_a_quota() -> None:
    topology = lab(nioc=GOLD["nioc"], web1="reservation: 1100M")
    assert quotas(topology) == [Quota("dvs0", "gold", 10**9, 0)]


# -- who gets what

ALL = math.inf
SHARES = [
    pytest.param(100, {"a": Sender(ALL), "b": Sender(ALL)}, {"a": 50, "b": 50}, id="nioc_2 alike"),
    pytest.param(
        100, {"a": Sender(ALL, 100), "b": Sender(ALL, 100), "c": Sender(ALL, 50)}, {"a": 40, "b": 40, "c": 20},
        id="nioc_2 high, high, normal",
    ),
    pytest.param(
        100, {"ft": Sender(ALL, 100), "iscsi": Sender(ALL, 100), **{n: Sender(ALL, 50) for n in "abcd"}},
        {"ft": 25, "iscsi": 25, "a": 12.5, "b": 12.5, "c": 12.5, "d": 12.5}, id="nioc_2 six types",
    ),
    pytest.param(100, {"a": Sender(30, 1), "b": Sender(40, 100)}, {"a": 30, "b": 40}, id="nioc_1 no contention"),
    pytest.param(100, {"a": Sender(10, 100), "b": Sender(ALL, 50)}, {"a": 10, "b": 90}, id="nioc_4 work conserving"),
    pytest.param(100, {"a": Sender(ALL, 50, 0, 20)}, {"a": 20}, id="nioc_8 a limit without contention"),
    pytest.param(
        100, {"a": Sender(ALL, 50, 0, 20), "b": Sender(ALL, 50)}, {"a": 20, "b": 80}, id="nioc_8 the rest to others"
    ),
    pytest.param(
        100, {"a": Sender(ALL, 50, 50), "b": Sender(ALL, 50)}, {"a": 75, "b": 25}, id="nioc_11 shares of the spare"
    ),
    pytest.param(100, {"a": Sender(0, 50, 50), "b": Sender(ALL, 50)}, {"a": 0, "b": 100}, id="nioc_10 unused"),
    pytest.param(100, {"a": Sender(60, 50, 50), "b": Sender(ALL, 50)}, {"a": 60, "b": 40}, id="nioc_11 partly used"),
]  # fmt: skip


@pytest.mark.parametrize(("capacity", "senders", "wanted"), SHARES)
def test_nioc_who_gets_what(capacity: float, senders: dict[str, Sender], wanted: dict[str, float]) -> None:
    assert rates(capacity, senders) == pytest.approx(wanted)


AMOUNT = st.floats(0, 1000)
SENDER = st.builds(
    lambda offered, shares, reservation, more: Sender(offered, shares, reservation, reservation + more),
    st.one_of(AMOUNT, st.just(ALL)), st.integers(1, 100), st.floats(0, 15), st.one_of(AMOUNT, st.just(ALL)),
)  # fmt: skip
SENDERS = st.dictionaries(st.sampled_from("abcde"), SENDER, min_size=1)
CAPACITY = 100.0
CLOSE = 1e-6


@given(SENDERS)
def test_nobody_gets_more_than_it_may_nor_all_more_than_there_is(senders: dict[str, Sender]) -> None:
    found = rates(CAPACITY, senders)
    assert sum(found.values()) <= CAPACITY + CLOSE
    assert all(found[name] <= s.most + CLOSE for name, s in senders.items())


@given(SENDERS)
def test_everybody_gets_its_reservation_when_it_wants_it(senders: dict[str, Sender]) -> None:
    found = rates(CAPACITY, senders)
    assert all(found[name] >= min(s.reservation, s.most) - CLOSE for name, s in senders.items())


@given(SENDERS)
def test_nothing_is_left_while_somebody_wants_more(senders: dict[str, Sender]) -> None:
    found = rates(CAPACITY, senders)
    hungry = [name for name, s in senders.items() if found[name] < s.most - CLOSE]
    assert not hungry or sum(found.values()) == pytest.approx(CAPACITY)


@given(SENDERS, st.sampled_from("abcde"), st.integers(1, 99))
def test_more_shares_never_give_less(senders: dict[str, Sender], name: str, more: int) -> None:
    old = senders.get(name, Sender(ALL))
    few, many = ({**senders, name: Sender(old.offered, n, old.reservation, old.limit)} for n in (1, 1 + more))
    assert rates(CAPACITY, many)[name] >= rates(CAPACITY, few)[name] - CLOSE


@given(SENDERS)
def test_what_is_guaranteed_is_what_is_got_when_all_want_everything(senders: dict[str, Sender]) -> None:
    hungry = {name: Sender(ALL, s.shares, s.reservation, ALL) for name, s in senders.items()}
    assert guaranteed(CAPACITY, hungry) == pytest.approx(rates(CAPACITY, hungry))


@given(st.dictionaries(st.sampled_from("abcd"), AMOUNT, min_size=1), st.floats(1, 1000))
def test_nioc_6_the_parts_of_a_hosts_limit_add_up_to_it(wanted: dict[str, float], limit: float) -> None:
    assert sum(divided(limit, wanted).values()) == pytest.approx(limit)


def test_nioc_6_an_uplink_gets_what_others_leave() -> None:
    assert divided(100, {"a": 90, "b": 10}) == {"a": 90, "b": 10}
    assert divided(100, {"a": 90, "b": 90}) == {"a": 50, "b": 50}
    assert divided(100, {"a": 20, "b": 0}) == {"a": 60, "b": 40}


# -- trees


def classes(topology: Topology, pnic: str = "vmnic0") -> dict[str, tuple[float, float]]:
    """Label -> (rate, ceil) in Mbit/s."""
    return {c.label: (round(c.rate / 1e6, 2), round(c.ceil / 1e6, 2)) for c in tree(topology, pnic).classes}


def test_every_pnic_sends_and_is_sent_to_at_its_scaled_speed() -> None:
    topology = lab(speed="1G")
    plan = compile_plan(topology, initial_state(topology))
    links = {(q.node, q.label): q.classes[0].ceil for q in plan.queues if isinstance(q, Tree)}
    assert links["esx1", "vmnic1"] == links["tor1", "esx1-vmnic1"] == 10**7
    assert links["esx1", "vmnic0"] == links["tor1", "esx1-vmnic0"] == 10**8


def test_nioc_2_the_types_that_a_host_sends_have_classes_by_their_shares() -> None:
    found = classes(lab(nioc=control("vmotion: {shares: 25}, nfs: {shares: low}")))
    assert found == {"link": (100, 100), "vmotion": (16.67, 100), "nfs": (16.67, 100), "virtualMachine": (66.67, 100)}


def test_nioc_11_a_reservation_is_kept_and_the_rest_is_divided() -> None:
    found = classes(lab(nioc=control("vmotion: {reservation: 2G}, nfs: {limit: 1G}")))
    assert found == {"link": (100, 100), "vmotion": (40, 100), "nfs": (10, 10), "virtualMachine": (40, 100)}


def test_nioc_6_and_7_a_limit_is_the_hosts_before_version_3_and_then_the_pnics() -> None:
    limit = "virtualMachine: {limit: 2G}"
    assert classes(lab(nioc=control(limit, 3)))["virtualMachine"][1] == 20
    both = [classes(lab(nioc=control(limit, 2)), pnic)["virtualMachine"][1] for pnic in ("vmnic0", "vmnic1")]
    assert sum(both) == 20


def test_nioc_13_each_vnic_has_a_class_where_one_is_allotted_something() -> None:
    words = control("virtualMachine: {reservation: 1G}")
    found = tree(lab(nioc=words, web1="shares: high, reservation: 1G, limit: 3G"))
    vnics = {c.label: c for c in found.classes if c.label.startswith("web")}
    assert vnics["web1.eth0"].shares == 100 and vnics["web1.eth0"].ceil == 3 * 10**7
    assert vnics["web2.eth0"].shares == 50 and vnics["web2.eth0"].ceil == 10**8
    assert buckets(lab(nioc=words, web1="limit: 3G"))["web1:eth0"].rate == 3 * 10**7


def test_nioc_20_a_pnic_that_is_opted_out_has_one_queue() -> None:
    found = lab(nioc="network_io_control: {opt_out: {esx1: [vmnic1]}}")
    assert len(tree(found, "vmnic1").classes) == 1 < len(tree(found, "vmnic0").classes)


def test_a_vmknic_with_several_services_is_told_apart_by_port() -> None:
    found = tree(lab(nioc=control(""), services="vmotion, management"))
    labels = {c.minor: c.label for c in found.classes}
    matches = {(labels.get(m.target), m.port) for m in found.matches if m.mac}
    assert {("vmotion", 8000), ("management", 0), ("nfs", 0)} <= matches


def test_shp_6_a_bucket_without_a_peak_has_no_bonus() -> None:
    found = buckets(lab(web="shaping: {ingress: {average: 100M}, egress: {average: 10M, peak: 20M, burst: 1MB}}"))
    assert (found["web1:eth0"].peak, found["web1:eth0"].burst) == (0, 2 * 1518 + 0)
    assert found["esx1:web1.eth0"].peak == 200_000 and found["esx1:web1.eth0"].burst == 10486


def test_queues_are_shorter_where_there_is_less_room_and_never_none() -> None:
    (first, *_) = shortened([tree(lab(nioc=control("")))], 0.1)
    assert isinstance(first, Tree)
    assert all(2 <= c.packets <= 5 for c in first.classes if c.label != "link")


def test_nioc_6_a_limit_follows_what_uplinks_need() -> None:
    shared = Shared(("esx1", "dvs0", "vmotion"), 100.0, ("vmnic0", "vmnic1"))
    alike = parts_of(shared, {"vmnic0": 50, "vmnic1": 50}, {"vmnic0": True, "vmnic1": True})
    assert alike == pytest.approx({"vmnic0": 0.5, "vmnic1": 0.5})
    other = parts_of(shared, {"vmnic0": 50, "vmnic1": 5}, {"vmnic0": True, "vmnic1": False})
    assert other["vmnic0"] > 0.8 and sum(other.values()) == pytest.approx(1)


def test_nioc_6_only_limits_of_several_uplinks_are_divided() -> None:
    limit = "virtualMachine: {limit: 2G}, vmotion: {limit: 2G}"
    for version, names in ((2, ["virtualMachine"]), (3, [])):
        topology = lab(nioc=control(limit, version))
        assert [s.key[2] for s in shared_limits(Moment(topology, initial_state(topology)))] == names


@pytest.mark.parametrize(("web", "tag"), [("", 3), ("network_pool: gold", 5)])
def test_nioc_15_a_vnic_has_the_tag_of_its_pool_or_type(web: str, tag: int) -> None:
    topology = lab(nioc=control("gold: {qos_tag: 5}, virtualMachine: {qos_tag: 3}", 2), web=web)
    assert {nic.priority for nic in topology.vnics if nic.switch == "dvs0"} == {tag}
    assert {nic.priority for nic in topology.vnics if nic.switch != "dvs0"} == {None}
    bridges = {b.label: b for b in compile_plan(topology, initial_state(topology)).bridges}
    assert any(f"set_field:{tag}->reg1" in row.actions for row in bridges["dvs0"].rows)
    assert not any(f"set_field:{tag}->reg1" in row.actions for row in bridges["vSwitch0"].rows)
