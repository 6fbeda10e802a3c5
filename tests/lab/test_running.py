"""What changes while a lab runs: guests' adapters, cables, policies. State, events and frames say the same."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import RunningLab
from lab.client import LabClient
from lab.errors import UsageError
from lab.frame import ALL_SYSTEMS, Frame
from lab.realise.run import wait_until
from lab.running import launch
from lab.topology.edit import settings_of

vlab_topology = "running.yaml"

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VLAB = [sys.executable, "-m", "lab.cli"]
NEW_MAC = "00:50:56:3f:00:21"
GROUP = "01:00:5e:01:02:03"
FRAMES = 5
LISTENING = """
import socket, struct, sys
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
tap.bind(("eth0", 0))
tap.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex("eth0"), int(sys.argv[1]), 0, b""))
print("listening", flush=True)
sys.stdin.read()
"""
PROMISCUOUS, ALL_MULTICAST = "1", "2"
"""What a packet socket asks of its adapter, as tcpdump and multicast routers do."""


def key(vm: str, host: str = "esx1") -> tuple[str, str]:
    return host, f"{vm}.eth0"


def ip_link(lab: RunningLab, vm: str, *words: str) -> None:
    lab.exec(vm, "ip", "link", "set", "eth0", *words)


@contextmanager
def policy(lab: RunningLab, what: str, on: str, off: str) -> Iterator[None]:
    """KEY=VALUE... meanwhile, and what puts it back."""
    lab.set(what, *on.split())
    try:
        yield
    finally:
        lab.set(what, *off.split())


@contextmanager
def own_mac(lab: RunningLab, vm: str) -> Iterator[None]:
    ip_link(lab, vm, "address", NEW_MAC)
    try:
        yield
    finally:
        ip_link(lab, vm, "address", lab.vm(vm).mac)


@contextmanager
def packet_socket(lab: RunningLab, vm: str, asks: str) -> Iterator[None]:
    argv = [*lab.client.entry(vm), sys.executable, "-c", LISTENING, asks]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "listening\n"
        yield
        assert child.stdin is not None
        child.stdin.close()
        child.wait(10)


def arrived(lab: RunningLab, node: str, sender: str, dst: str, count: int = FRAMES) -> int:
    """How many of so many frames from `sender` to the MAC `dst` come to the adapter of `node`."""
    with lab.capture(node) as seen:
        assert lab.send(sender, dst_mac=dst, kind="raw", count=count).count == count
    return sum((f.src, f.dst) == (lab.vm(sender).mac, dst) for f in seen.frames)


def is_general_query(frame: Frame) -> bool:
    """IGMP type 0x11 about no group in particular."""
    return frame.dst == ALL_SYSTEMS and frame.payload[9] == 2 and frame.payload[24:32:4] == b"\x11\0"


def events_of(lab: RunningLab, kind: str, port: str, after: int = 0) -> list[dict[str, Any]]:
    return [e for e in lab.client.ask("events", after=after) if e["event"] == kind and e.get("port") == port]


def events_so_far(lab: RunningLab) -> int:
    """The number of the next event."""
    found = lab.client.ask("events")
    return found[-1]["number"] + 1 if found else 0


def vlab_run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


# -- what guests do


def test_an_untouched_lab_has_nothing_to_tell_of_guests(vlab: RunningLab) -> None:
    state = vlab.client.state()
    assert not (state.macs or state.promiscuous or state.groups or state.all_groups)


@pytest.mark.parametrize("how", ["flag", "packet socket"])
def test_sec_02_a_guest_that_listens_is_known_and_hears_when_policy_accepts(vlab: RunningLab, how: str) -> None:
    def heard() -> int:
        return arrived(vlab, "free1", "free2", vlab.vm("free3").mac)

    vlab.send("free3", dst_mac="broadcast", kind="raw")
    assert (heard(), vlab.client.state().promiscuous) == (0, frozenset())
    if how == "flag":
        ip_link(vlab, "free1", "promisc", "on")
        assert vlab.client.state().promiscuous == {key("free1")}
        assert heard() == FRAMES
        ip_link(vlab, "free1", "promisc", "off")
    else:
        with packet_socket(vlab, "free1", PROMISCUOUS):
            assert vlab.client.state().promiscuous == {key("free1")}
            assert heard() == FRAMES
    assert vlab.client.state().promiscuous == frozenset()
    assert heard() == 0


def test_a_capture_of_ours_makes_no_guest_promiscuous(vlab: RunningLab) -> None:
    with vlab.capture("free1", "free2", "esx1:free1.eth0"):
        assert vlab.client.state().promiscuous == frozenset()
    assert not [e for e in vlab.client.ask("events") if e["event"] == "promiscuous" and e["port"] == "esx1:free2.eth0"]


@pytest.mark.parametrize("how", ["flag", "packet socket"])
def test_fwd_19_a_guest_that_wants_every_multicast_is_known(vlab: RunningLab, how: str) -> None:
    assert arrived(vlab, "free1", "free2", GROUP) == 0
    if how == "flag":
        ip_link(vlab, "free1", "allmulticast", "on")
        assert vlab.client.state().all_groups == {key("free1")}
        assert arrived(vlab, "free1", "free2", GROUP) == FRAMES
        ip_link(vlab, "free1", "allmulticast", "off")
    else:
        with packet_socket(vlab, "free1", ALL_MULTICAST):
            assert vlab.client.state().all_groups == {key("free1")}
            assert arrived(vlab, "free1", "free2", GROUP) == FRAMES
    assert vlab.client.state().all_groups == frozenset()
    assert arrived(vlab, "free1", "free2", GROUP) == 0


def test_fwd_19_a_guest_hears_the_groups_that_it_asked_for(vlab: RunningLab) -> None:
    vlab.exec("web2", "ip", "maddr", "add", GROUP, "dev", "eth0")
    assert vlab.client.state().groups == {key("web2"): {ALL_SYSTEMS, GROUP}}
    assert arrived(vlab, "web2", "web1", GROUP) == FRAMES
    vlab.exec("web2", "ip", "maddr", "del", GROUP, "dev", "eth0")
    assert vlab.client.state().groups == {}
    assert arrived(vlab, "web2", "web1", GROUP) == 0
    assert arrived(vlab, "web2", "web1", ALL_SYSTEMS) == FRAMES


def test_fwd_19_a_group_that_a_guest_joins_is_noticed_when_nobody_asks(vlab: RunningLab) -> None:
    (bridge,) = (b for b in vlab.client.plan.bridges_of("esx1") if b.label == "dvs0")
    rows = ["ovs-ofctl", "-OOpenFlow14", "dump-flows", f"unix:{vlab.client.facts['run']}/ovs/esx1/{bridge.name}.mgmt"]
    vlab.exec("web2", "ip", "maddr", "add", GROUP, "dev", "eth0")
    wait_until(lambda: GROUP in vlab.exec("esx1", *rows).stdout, "a row for the group")
    vlab.exec("web2", "ip", "maddr", "del", GROUP, "dev", "eth0")
    wait_until(lambda: GROUP not in vlab.exec("esx1", *rows).stdout, "no row for the group")


def test_sec_10_with_mac_changes_accepted_frames_to_the_new_mac_arrive_and_to_the_old_one_do_not(
    vlab: RunningLab,
) -> None:
    configured = vlab.vm("free1").mac
    with own_mac(vlab, "free1"):
        assert vlab.client.state().macs == {key("free1"): NEW_MAC}
        assert arrived(vlab, "free1", "free2", NEW_MAC) == FRAMES
        assert arrived(vlab, "free1", "free2", configured) == 0
    assert vlab.client.state().macs == {}
    assert arrived(vlab, "free1", "free2", configured) == FRAMES
    assert [(e["mac"], e["allowed"]) for e in events_of(vlab, "mac", "esx1:free1.eth0")] == [
        (NEW_MAC, True),
        (configured, True),
    ]


def test_sec_09_with_mac_changes_rejected_nothing_arrives_until_the_configured_mac_is_back(vlab: RunningLab) -> None:
    configured = vlab.vm("bound1").mac
    with own_mac(vlab, "bound1"):
        assert vlab.client.state().macs == {key("bound1"): NEW_MAC}
        for dst in (NEW_MAC, configured, "ff:ff:ff:ff:ff:ff"):
            assert arrived(vlab, "bound1", "free2", dst) == 0
    assert arrived(vlab, "bound1", "free2", configured) == FRAMES
    assert arrived(vlab, "bound1", "free2", "ff:ff:ff:ff:ff:ff") == FRAMES


def test_sec_14_what_policy_refuses_is_told_in_the_vmkernels_words(vlab: RunningLab) -> None:
    start = events_so_far(vlab)
    number = next(p.number for p in vlab.client.topology.host_switches["esx1", "dvs0"].ports if p.name == "bound1.eth0")
    with own_mac(vlab, "bound1"):
        ip_link(vlab, "bound1", "promisc", "on")
        wait_until(lambda: events_of(vlab, "promiscuous", "esx1:bound1.eth0", start), "an event")  # or none is seen
        ip_link(vlab, "bound1", "promisc", "off")
        wait_until(lambda: len(events_of(vlab, "promiscuous", "esx1:bound1.eth0", start)) == 2, "the next")
    (mac, back) = events_of(vlab, "mac", "esx1:bound1.eth0", start)
    (listens, no_more) = events_of(vlab, "promiscuous", "esx1:bound1.eth0", start)
    told = "L2Sec_EnforcePortCompliance: client bound1.eth0 requested {} on port {}, disallowed by vswitch policy"
    assert mac["message"] == told.format(f"mac address change to {NEW_MAC}", number)
    assert listens["message"] == told.format("promiscuous mode", number)
    assert (mac["allowed"], listens["allowed"], "message" in back, "message" in no_more) == (False, False, False, False)
    said = vlab_run("events", "--lab", vlab.name)
    assert mac["message"] in said.stdout


def test_sec_14_a_policy_that_becomes_stricter_tells_of_who_breaks_it(vlab: RunningLab) -> None:
    start = events_so_far(vlab)
    with own_mac(vlab, "free1"):
        with policy(vlab, "port-group lenient", "security.mac_changes=reject", "security.mac_changes=accept"):
            assert arrived(vlab, "free1", "free2", NEW_MAC) == 0
        assert arrived(vlab, "free1", "free2", NEW_MAC) == FRAMES
    allowed = [e["allowed"] for e in events_of(vlab, "mac", "esx1:free1.eth0", start)]
    assert allowed == [True, False, True, True]


def test_status_shows_what_guests_do(vlab: RunningLab) -> None:
    ip_link(vlab, "free2", "promisc", "on")
    with own_mac(vlab, "free1"):
        text = vlab_run("status", "--lab", vlab.name).stdout
        said = json.loads(vlab_run("status", "--lab", vlab.name, "--json").stdout)
    ip_link(vlab, "free2", "promisc", "off")
    assert "promiscuous guests: esx1:free2.eth0" in text
    assert f"guests with another MAC: esx1:free1.eth0 {NEW_MAC}" in text
    assert (said["promiscuous"], said["macs"]) == (["esx1:free2.eth0"], {"esx1:free1.eth0": NEW_MAC})


# -- cables


def test_fwd_17_a_vnic_that_is_disconnected_while_the_lab_runs(vlab: RunningLab) -> None:
    mac = vlab.vm("cable2").mac
    assert arrived(vlab, "cable2", "cable1", mac) == FRAMES
    with policy(vlab, "vnic cable2.eth0", "connected=false", "connected=true"):
        assert "NO-CARRIER" in vlab.exec("cable2", "ip", "link", "show", "eth0").stdout
        assert key("cable2") in vlab.client.state().links_down
        assert arrived(vlab, "cable2", "cable1", mac) == 0
        assert arrived(vlab, "cable2", "cable1", "ff:ff:ff:ff:ff:ff") == 0
    assert "LOWER_UP" in vlab.exec("cable2", "ip", "link", "show", "eth0").stdout
    assert key("cable2") not in vlab.client.state().links_down
    assert arrived(vlab, "cable2", "cable1", mac) == FRAMES


def test_fwd_17_a_vnic_that_was_never_connected_is_plugged_in(vlab: RunningLab) -> None:
    with policy(vlab, "vm gone", "connected=true", "connected=false"):
        assert arrived(vlab, "gone", "cable1", vlab.vm("gone").mac) == FRAMES
    assert "NO-CARRIER" in vlab.exec("gone", "ip", "link", "show", "eth0").stdout


def test_fwd_20_a_port_that_fails_over_gets_two_igmp_queries(vlab: RunningLab) -> None:
    uplink = vlab.client.state().uplink_of
    assert uplink[key("moving1")] != uplink[key("moving2")]
    for up in (False, True):
        with vlab.capture("esx1:moving1.eth0", "esx1:moving2.eth0") as seen:
            vlab.link(f"esx1:{uplink[key('moving1')]}", up=up)
        queries = [p.interface for p in seen.packets if is_general_query(Frame.parse(p.data))]
        assert queries == ["moving1.eth0"] * 2


# -- policies


def test_a_vlan_that_is_changed_moves_a_port_group_and_leaves_addresses(vlab: RunningLab) -> None:
    before = vlab.client.topology
    with policy(vlab, "port-group moving", "vlan=10", "vlan=40"):
        after = vlab.client.topology
        assert after.distributed_switches["dvs0"].port_groups["moving"].vlan.vlan == 10
        assert [nic.address for nic in after.vnics] == [nic.address for nic in before.vnics]
        assert arrived(vlab, "moving1", "web1", vlab.vm("moving1").mac) == FRAMES
    assert vlab.client.topology == before
    assert arrived(vlab, "moving1", "web1", vlab.vm("moving1").mac) == 0


def test_where_predicts_with_the_policy_of_now(vlab: RunningLab) -> None:
    with policy(vlab, "vnic other2.eth0", "blocked=true", "blocked=null"):
        answer = vlab.where("other1", "other2")
        assert answer.agrees, answer.differences
        assert answer.ending is not None and answer.ending.reason == "Port Blocked"
    answer = vlab.where("other1", "other2")
    assert answer.agrees, answer.differences
    assert answer.disposition == "delivered"


def test_active_uplinks_that_are_changed_move_ports(vlab: RunningLab) -> None:
    both = {key(vm) for vm in ("moving1", "moving2")}
    with policy(vlab, "port-group moving", "teaming.active=[uplink2]", "teaming.active=[uplink1,uplink2]"):
        uplink = vlab.client.state().uplink_of
        assert {uplink[port] for port in both} == {"vmnic1"}
    assert {vlab.client.state().uplink_of[port] for port in both} == {"vmnic0", "vmnic1"}


def test_a_pswitch_port_is_changed_while_it_forwards(vlab: RunningLab) -> None:
    def across() -> int:
        vlab.send("web3", dst_mac="broadcast", kind="raw")
        return arrived(vlab, "web1", "web3", vlab.vm("web1").mac)

    assert across() == FRAMES
    for pnic in ("esx2:vmnic0", "esx2:vmnic1"):
        vlab.set(f"pnic {pnic}", "trunk=[20, 30]")
    assert across() == 0
    for pnic in ("esx2:vmnic0", "esx2:vmnic1"):
        vlab.set(f"pnic {pnic}", trunk=None)
    assert across() == FRAMES


REFUSED = [
    pytest.param("port-group web", ["vlan=5000"], "VLAN 5000 is out of range 0-4095", id="value"),
    pytest.param("port-group web", ["vlan=10", "security.promiscuous=maybe"], "'maybe' is not one of", id="one of two"),
    pytest.param("port-group wbe", ["vlan=10"], "did you mean 'web'?", id="name"),
    pytest.param("port-group old", ["vlan=10"], "esx1/vSwitch0/old, esx2/vSwitch0/old", id="several of that name"),
    pytest.param("port-group esx1/vSwitch0/old", ["pvlan=10"], "a standard switch has no 'pvlan'", id="not there"),
    pytest.param("port-group web", ["vlna=10"], "did you mean 'vlan'?", id="key"),
    pytest.param("prot-group web", ["vlan=10"], "did you mean 'port-group'?", id="kind"),
    pytest.param("switch dvs0", ["mtu=9000"], "vlab down, vlab up", id="needs a new lab"),
    pytest.param("vnic web1.eth0", ["port_group=old"], "other boxes, cables or addresses", id="needs another cable"),
    pytest.param("vnic web1.eth0", ["mac=00:50:56:00:00:77"], "vlab down, vlab up", id="needs another MAC"),
    pytest.param("vnic old1.eth0", ["blocked=true"], "a standard switch has no 'blocked'", id="not on this switch"),
    pytest.param("knobs", ["reverse_path=2"], "2 is not one of 0, 1", id="knob"),
]


@pytest.mark.parametrize(("what", "changes", "said"), REFUSED)
def test_what_cannot_be_is_refused_and_nothing_of_it_is_done(
    vlab: RunningLab, what: str, changes: list[str], said: str
) -> None:
    before, events = vlab.client.topology, events_so_far(vlab)
    done = vlab_run("set", "--lab", vlab.name, *what.split(), *changes)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    with pytest.raises(UsageError):
        vlab.set(what, *changes)
    assert vlab.client.topology == before
    assert vlab.client.ask("events", after=events) == []


def test_set_in_json_tells_which_switches_have_which_rows_anew(vlab: RunningLab) -> None:
    words = ["set", "--lab", vlab.name, "port-group", "dvs0/moving", "--json"]
    done = vlab_run(*words, "vlan=4000")
    said = json.loads(done.stdout)
    again = json.loads(vlab_run(*words, "vlan=4000").stdout)
    back = json.loads(vlab_run(*words, "vlan=40").stdout)
    assert set(said) == {"schema", "what", "version", "changes", "queues", "warnings"}
    assert [(c["box"], c["switch"]) for c in said["changes"]] == [("esx1", "dvs0")]
    assert said["changes"][0]["added"] + said["changes"][0]["changed"] > 0
    assert (again["changes"], len(back["changes"]), done.stderr) == ([], 1, "")


def test_set_warns_of_what_will_surprise(vlab: RunningLab) -> None:
    done = vlab_run("set", "--lab", vlab.name, "pnic", "esx1:vmnic2", "trunk=[5]")
    vlab.set("pnic esx1:vmnic2", trunk=None)
    assert (done.returncode, "VLAN 60 is not in the trunk's list" in done.stderr) == (0, True)


# -- several at once


def test_a_stream_loses_no_frame_while_the_policy_of_others_changes(vlab: RunningLab) -> None:
    """5,000 frames/s for two seconds, locally and to another host; every one is counted where it is received."""
    total, rate = 10_000, 5000.0
    streams = {"web1": ("web2", LabClient(vlab.client.directory)), "free1": ("free3", LabClient(vlab.client.directory))}
    for receiver, _ in streams.values():
        vlab.send(receiver, dst_mac="broadcast", kind="raw")
    flips = 0
    with vlab.capture("web2", "free3") as seen:
        threads = []
        for sender, (receiver, client) in streams.items():
            stream = RunningLab(client)
            dst = vlab.vm(receiver).mac
            how = {"dst_mac": dst, "kind": "raw", "count": total, "rate": rate}
            threads.append(threading.Thread(target=stream.send, args=(sender,), kwargs=how))
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            vlab.set("port-group other", vlan=30 + flips % 2, security={"promiscuous": ("accept", "reject")[flips % 2]})
            vlab.set("vnic moving1.eth0", blocked=flips % 2 == 0)
            flips += 1
    vlab.set("port-group other", "vlan=30", "security=")
    vlab.set("vnic moving1.eth0", "blocked=")
    for _, client in streams.values():
        client.close()
    pairs = [(f.src, f.dst) for f in seen.frames]
    for sender, (receiver, _) in streams.items():
        assert pairs.count((vlab.vm(sender).mac, vlab.vm(receiver).mac)) == total
    assert flips >= 2  # each waits until the switches are done with their old rows


def test_two_who_set_at_once_are_both_heard(vlab: RunningLab) -> None:
    clients = [LabClient(vlab.client.directory) for _ in range(2)]
    keys = ("security.forged_transmits", "security.mac_changes")
    versions: list[int] = []

    def change(client: LabClient, name: str) -> None:
        for value in ("accept", "reject") * 10:
            versions.append(client.set("port-group other", {name: value})["version"])
        versions.append(client.set("port-group other", {name: "accept"})["version"])

    threads = [threading.Thread(target=change, args=pair) for pair in zip(clients, keys, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    security = vlab.client.topology.distributed_switches["dvs0"].port_groups["other"].security
    assert (security.forged_transmits, security.mac_changes) == (True, True)
    assert len(set(versions)) == len(versions) == 42
    assert all(client.topology == vlab.client.topology for client in clients)
    vlab.set("port-group other", "security=")
    for client in clients:
        client.close()


def test_a_set_on_a_lab_that_is_taken_down_ends_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    ended: list[BaseException] = []
    with launch(HERE / "running.yaml", name="ending") as lab:
        other = LabClient(lab.client.directory)
        ready = threading.Event()

        def change() -> None:
            try:
                while True:
                    other.set("port-group web", settings_of(["vlan=11"]))
                    other.set("port-group web", settings_of(["vlan=10"]))
                    ready.set()
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=change)
        thread.start()
        assert ready.wait(30)
    thread.join(30)
    assert [type(error) for error in ended] == [UsageError]
    assert "lab ending has ended" in str(ended[0])


def test_events_are_followed_as_they_come(vlab: RunningLab) -> None:
    argv = [*VLAB, "events", "--lab", vlab.name, "--follow", "--json"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        known = vlab.client.ask("events")
        old = [json.loads(child.stdout.readline()) for _ in known]
        vlab.set("port-group moving", "vlan=41")
        new = json.loads(child.stdout.readline())
        child.terminate()
        child.wait(10)
    vlab.set("port-group moving", "vlan=40")
    assert old == known
    assert (new["event"], new["what"], new["settings"]) == ("set", "port-group moving", {"vlan": 41})
