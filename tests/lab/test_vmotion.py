"""VMs that move while they run: memory on the wire, ports, pSwitches, captures (VMO, VMK)."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import RunningLab
from lab.errors import SystemRefused, UsageError
from lab.frame import ALL_SYSTEMS, Frame
from lab.observe.pcapng import Packet
from lab.realise.run import wait_until
from lab.report.clear import ClearReport

vlab_topology = "vmotion.yaml"

ROOT = Path(__file__).parents[2]
VLAB = [sys.executable, "-m", "lab.cli"]
RARP, ARP, IPV4, TCP = 0x8035, 0x0806, 0x0800, 6
FRAMES = 20
ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], 7777))
print("listening", flush=True)
end, _ = server.accept()
while data := end.recv(100):
    end.sendall(data)
"""
TALK = """
import socket, sys
end = socket.create_connection((sys.argv[1], 7777), 20)
for line in sys.stdin:
    end.sendall(line.encode())
    print(end.recv(100).decode(), end="", flush=True)
"""


def other_host(lab: RunningLab, vm: str) -> str:
    return {"esx1": "esx2", "esx2": "esx1"}[lab.client.topology.vms[vm].host]


def moved(lab: RunningLab, vm: str, watch: bool = False) -> ClearReport:
    return lab.vmotion(vm, other_host(lab, vm), watch=watch)


def with_marker(lab: RunningLab, vm: str, pages: int = 4) -> bytes:
    token = secrets.token_bytes(16)
    lab.client.ask("guest_write", vm=vm, token=token.hex(), pages=pages)
    return token


def copying(packet: Packet) -> int:
    """How many bytes of TCP payload go to port 8000 in this frame."""
    frame = Frame.parse(packet.data)
    ip = frame.payload
    if frame.ethertype != IPV4 or ip[9] != TCP or ip[22:24] != (8000).to_bytes(2, "big"):
        return 0
    return int.from_bytes(ip[2:4], "big") - 20 - (ip[32] >> 4) * 4


def of_type(packets: tuple[Packet, ...], ethertype: int, src: str) -> Counter[str]:
    """Interface -> frames of this type from this MAC."""
    frames = ((p.interface, Frame.parse(p.data)) for p in packets)
    return Counter(name for name, frame in frames if frame.ethertype == ethertype and frame.src == src)


def where_learned(lab: RunningLab, vm: str, vlan: int) -> tuple[str | None, ...]:
    """The port that each pSwitch has learned a VM's MAC on."""
    return tuple(table.get((vlan, lab.vm(vm).mac)) for table in lab.client.state().mac_tables.values())


def heard(lab: RunningLab, vm: str, vlan: int) -> None:
    """Let a VM send a broadcast, and wait until every pSwitch knows where it is."""
    here = {"esx1": ("esx1-vmnic1", "tor1"), "esx2": ("tor2", "esx2-vmnic1")}[lab.client.topology.vms[vm].host]
    lab.send(vm, dst_mac="broadcast", kind="raw")
    wait_until(lambda: where_learned(lab, vm, vlan) == here, f"the broadcast of {vm}")


@contextmanager
def process(lab: RunningLab, node: str, code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    argv = [*lab.client.entry(node), sys.executable, "-c", code, *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        yield child
        child.kill()


def said(child: subprocess.Popen[str], line: str = "") -> str:
    assert child.stdin is not None and child.stdout is not None
    if line:
        child.stdin.write(line + "\n")
        child.stdin.flush()
    return child.stdout.readline().strip()


# -- the network event


def test_vmo_1_a_vm_sends_from_its_source_before_and_from_its_destination_after(vlab: RunningLab) -> None:
    uplinks = ("esx1:vmnic1", "esx2:vmnic1")
    for _ in range(2):
        here = vlab.client.topology.vms["web1"].host
        with vlab.capture("tor1:esx1-vmnic1", "tor2:esx2-vmnic1", *uplinks) as seen:
            vlab.send("web1", dst_mac=vlab.vm("gw").mac, kind="raw", count=FRAMES)
        sent = Counter(p.interface for p in seen.packets if Frame.parse(p.data).src == vlab.vm("web1").mac)
        assert sent[{"esx1": "esx1-vmnic1", "esx2": "esx2-vmnic1"}[here]] == FRAMES
        answer = vlab.where("web1", "gw")
        assert answer.agrees and answer.disposition == "delivered", answer.differences
        assert answer.trails[0].hops[1].box == here
        moved(vlab, "web1")


def test_vmo_2_what_is_copied_goes_to_tcp_8000_and_has_every_touched_page_and_no_zero_page(vlab: RunningLab) -> None:
    with_marker(vlab, "web1", pages=200)
    source = vlab.client.topology.vms["web1"].host
    with vlab.capture(f"{source}:vmnic0") as seen:
        report = moved(vlab, "web1").done
    carried = sum(map(copying, seen.packets))
    assert sum(r["pages"] for r in report["rounds"]) >= 200
    assert 200 * 4096 <= carried < 400 * 4096 < vlab.client.topology.vms["web1"].memory.bytes


def test_vmo_3_the_destination_sends_rarp_and_the_pswitches_relearn(vlab: RunningLab) -> None:
    mac = vlab.vm("web1").mac
    source, target = vlab.client.topology.vms["web1"].host, other_host(vlab, "web1")
    with vlab.capture(f"{source}-vmk", "tor1:esx1-vmnic1", "tor2:esx2-vmnic1") as seen:
        moved(vlab, "web1")
        tor = {"esx1": "tor1", "esx2": "tor2"}[target]
        wait_until(lambda: vlab.client.state().mac_tables[tor].get((10, mac)) == f"{target}-vmnic1", "the RARP")
    told = of_type(seen.packets, RARP, mac)
    port = {host: f"{host}-vmnic1" for host in (source, target)}
    assert told[port[target]] >= 1
    first = next(p for p in seen.packets if Frame.parse(p.data).ethertype == RARP)
    assert first.interface == port[target]  # the other end of the network hears it, and did not send it


def test_vmo_4_without_rarp_late_frames_are_dropped_at_the_source_until_the_vm_sends(vlab: RunningLab) -> None:
    heard(vlab, "quiet1", 20)
    heard(vlab, "quiet3", 20)
    moved(vlab, "quiet1")
    lost = vlab.where("quiet2", "quiet1", kind="raw")
    assert lost.agrees and lost.disposition == "dropped", lost.differences
    heard(vlab, "quiet1", 20)
    found = vlab.where("quiet2", "quiet1", kind="raw")
    assert found.agrees and found.disposition == "delivered", found.differences


def test_vmo_5_each_pswitch_sees_the_mac_move_once(vlab: RunningLab) -> None:
    heard(vlab, "web1", 10)
    before = where_learned(vlab, "web1", 10)
    moved(vlab, "web1")
    wait_until(lambda: all(a != b for a, b in zip(where_learned(vlab, "web1", 10), before, strict=True)), "the RARP")
    after = where_learned(vlab, "web1", 10)
    for _ in range(20):
        vlab.send("web1", dst_mac="broadcast", kind="raw")
        assert where_learned(vlab, "web1", 10) == after  # no ping-pong


def test_vmo_6_the_guest_keeps_address_and_connection_and_announces_nothing(vlab: RunningLab) -> None:
    address = vlab.vm("tcp2").address
    with process(vlab, "tcp2", ECHO, address) as echo:
        assert said(echo) == "listening"
        with process(vlab, "tcp1", TALK, address) as talk, vlab.capture("tcp1") as seen:
            for n in range(3):
                assert said(talk, f"line {n}") == f"line {n}"
                moved(vlab, "tcp1")
            assert said(talk, "the end") == "the end"
    arps = [Frame.parse(p.data).payload for p in seen.packets if Frame.parse(p.data).ethertype == ARP]
    assert not [a for a in arps if a[14:18] == a[24:28]]  # nobody asks for, or tells of, its own address


def test_vmo_8_the_destination_asks_the_guest_for_its_groups(vlab: RunningLab) -> None:
    with vlab.capture("web1") as seen:
        moved(vlab, "web1")
    queries = [f for f in seen.frames if f.dst == ALL_SYSTEMS and f.payload[9] == 2 and f.payload[24:25] == b"\x11"]
    assert len(queries) == 2


# -- memory


def test_vmk_1_a_marker_in_ram_is_on_the_vmotion_vlan_in_clear_and_encrypted_it_is_not(vlab: RunningLab) -> None:
    token = with_marker(vlab, "web1")
    clear = moved(vlab, "web1", watch=True)
    vlab.set("knobs", "vmotion_encrypt=opportunistic")
    sealed = moved(vlab, "web1", watch=True)
    vlab.set("knobs", "vmotion_encrypt=off")
    assert clear.exposed and {e.vlans for e in clear.exposed} == {(), (6,)}
    assert {e.box for e in clear.exposed} == {"esx1", "tor1", "tor2", "esx2"}
    assert sealed.exposed == () and sealed.done["encrypted"] and sealed.done["bytes"] >= 4 * 4096
    assert len(vlab.client.ask("guest_find", vm="web1", token=token.hex())["pages"]) == 4


def test_vmk_5_memory_in_flight_is_not_at_the_vms_own_ports(vlab: RunningLab) -> None:
    token = with_marker(vlab, "web1")
    source, target = vlab.client.topology.vms["web1"].host, other_host(vlab, "web1")
    with vlab.capture("web1", source, target) as seen:
        moved(vlab, "web1")
    found = Counter(p.interface for p in seen.packets if token in p.data)
    assert found["vmk1"] and found["vmnic0"]
    assert not found.keys() & {"eth0", "web1.eth0", "vmnic1"}


@pytest.mark.parametrize(
    ("spy", "policy", "hears"), [("spy1", "accept", True), ("spy1", "reject", False), ("spy3", "accept", False)]
)
def test_vmk_6_a_vm_on_the_vmotion_vlan_hears_memory_only_of_its_own_host_and_if_policy_lets_it(
    vlab: RunningLab, spy: str, policy: str, hears: bool
) -> None:
    token = with_marker(vlab, "web1")
    group = f"port-group {vlab.client.topology.vms[spy].host}/vSwitch0/spy"
    vlab.exec(spy, "ip", "link", "set", "eth0", "promisc", "on")
    vlab.set(group, f"security.promiscuous={policy}")
    with vlab.capture(spy) as seen:
        vlab.send("esx2.vmk1", dst_mac="broadcast", kind="raw")
        moved(vlab, "web1")
    vlab.set(group, "security.promiscuous=accept")
    vlab.exec(spy, "ip", "link", "set", "eth0", "promisc", "off")
    assert any(token in packet.data for packet in seen.packets) == hears
    assert any(frame.src == vlab.vm("esx2.vmk1").mac for frame in seen.frames)  # broadcasts it hears in any case


def test_vmk_7_two_adapters_are_two_connections_to_port_8000(vlab: RunningLab) -> None:
    with_marker(vlab, "web1", pages=100)
    source = vlab.client.topology.vms["web1"].host
    with vlab.capture(f"{source}:vmk1", f"{source}:vmk2") as seen:
        report = moved(vlab, "web1").done
    carried: Counter[str] = Counter()
    for packet in seen.packets:
        carried[packet.interface] += copying(packet)
    assert len(report["adapters"]) == 2
    assert all(carried[vmk] > 40 * 4096 for vmk in ("vmk1", "vmk2"))


def test_a_guest_that_is_busy_with_its_memory_moves_and_loses_nothing(vlab: RunningLab) -> None:
    token = with_marker(vlab, "web1", pages=1000)
    vlab.client.ask("guest_churn", vm="web1", rate=2000)
    report = moved(vlab, "web1").done
    vlab.client.ask("guest_churn", vm="web1", rate=0)
    assert len(report["rounds"]) >= 2
    assert len(vlab.client.ask("guest_find", vm="web1", token=token.hex())["pages"]) == 1000


# -- who looks on


def test_a_capture_follows_a_port_and_has_each_frame_once(vlab: RunningLab) -> None:
    mac, home = vlab.vm("web1").mac, vlab.client.topology.vms["web1"].host
    # Not where its memory goes: that is more than a busy machine can write down.
    with vlab.capture(f"{home}:web1.eth0", "esx1:vmnic1", "esx2:vmnic1", "web1") as seen:
        for _ in range(2):
            vlab.send("web1", dst_mac=vlab.vm("gw").mac, kind="raw", count=FRAMES)
            moved(vlab, "web1")
        vlab.send("web1", dst_mac=vlab.vm("gw").mac, kind="raw", count=FRAMES)
    ethertype = 0x88B5
    sent = of_type(seen.packets, ethertype, mac)
    assert sent["eth0"] == sent["web1.eth0"] == 3 * FRAMES


def test_the_reach_of_a_moved_vm_is_measured(vlab: RunningLab) -> None:
    reach = moved(vlab, "web1").done["reach"]
    assert reach["from"] == "gw" and reach["received"] > 0 and reach["unheard"] < 100
    assert 0 < reach["missing"] == reach["gap_frames"] < 1000


# -- refusals


@pytest.mark.parametrize(
    ("vm", "host", "why"),
    [
        ("web1", "esx3", "esx3 has no vmkernel adapter"),
        ("web1", "esx3", "esx3 is no member of dvs0"),
        ("web", "esx2", "no VM 'web' (did you mean"),
        ("web1", "esx", "no host 'esx' (did you mean"),
    ],
)
def test_what_vsphere_refuses_is_refused_with_every_reason(vlab: RunningLab, vm: str, host: str, why: str) -> None:
    before = vlab.client.topology
    with pytest.raises(UsageError) as refused:
        vlab.vmotion(vm, host)
    assert why in str(refused.value)
    assert vlab.client.topology is before


def test_a_port_group_of_the_same_name_in_another_vlan_is_warned_of(vlab: RunningLab) -> None:
    warnings = moved(vlab, "old1").done["warnings"]
    assert warnings == ["old1.eth0: 'old' is VST 60 on esx1 and VST 61 on esx2"]
    assert vlab.client.topology.port_group(vlab.client.topology.vms["old1"].nics[0]).vlan.vlan == 61


def test_hosts_that_cannot_reach_each_other_leave_the_vm_where_it_is(vlab: RunningLab) -> None:
    home = vlab.client.topology.vms["web1"].host
    vlab.set("port-group esx2/vSwitch0/vMotion", "vlan=7")
    with pytest.raises(SystemRefused, match="no connection from"):
        moved(vlab, "web1")
    vlab.set("port-group esx2/vSwitch0/vMotion", "vlan=6")
    assert vlab.client.topology.vms["web1"].host == home
    assert vlab.where("web1", "gw").disposition == "delivered"
    assert moved(vlab, "web1").done["target"] == other_host(vlab, "web1").translate(str.maketrans("12", "21"))


# -- the verbs


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_vmotion_as_a_verb_tells_where_memory_could_be_read(vlab: RunningLab) -> None:
    written = run("guest", "write-memory", "--lab", vlab.name, "tcp1", "--token", "secret", "--pages", "2")
    assert written.returncode == 0, written.stderr
    done = run("vmotion", "--lab", vlab.name, "tcp1", other_host(vlab, "tcp1"))
    assert done.returncode == 0, done.stderr
    assert "its memory in clear at:" in done.stdout and "UplinkSnd VLAN 6" in done.stdout
    assert run("guest", "find-memory", "--lab", vlab.name, "tcp1", "secret").stdout == "tcp1: in page 0, 1\n"
    assert run("guest", "find-memory", "--lab", vlab.name, "tcp1", "else").returncode == 1


def test_vmotion_as_json_is_one_document(vlab: RunningLab) -> None:
    done = run("vmotion", "--lab", vlab.name, "quiet3", other_host(vlab, "quiet3"), "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["vm"], document["in_clear_at"]) == (1, "quiet3", None)
    refused = run("vmotion", "--lab", vlab.name, "quiet3", "esx3")
    assert (refused.returncode, refused.stdout) == (2, "")
