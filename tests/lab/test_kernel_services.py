"""What vmkernels say, by real connections: by which adapter, in which VLAN, in clear or not (VMK)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lab import RunningLab
from lab.errors import UsageError
from lab.frame import Frame
from lab.observe.pcapng import Packet
from lab.realise.run import wait_until
from lab.report.clear import ClearReport

vlab_topology = "kernels.yaml"

ROOT = Path(__file__).parents[2]
VLAB = [sys.executable, "-m", "lab.cli"]
IPV4 = 0x0800


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


def ports_of(packets: tuple[Packet, ...], address: str) -> Counter[tuple[str, int]]:
    """(TCP or UDP, destination port) -> frames from this address."""
    found: Counter[tuple[str, int]] = Counter()
    for frame in (Frame.parse(packet.data) for packet in packets):
        ip = frame.payload
        if frame.ethertype == IPV4 and ip[12:16] == bytes(map(int, address.split("."))):
            found[{6: "tcp", 17: "udp"}.get(ip[9], ""), int.from_bytes(ip[22:24], "big")] += 1
    return found


def in_clear(report: ClearReport) -> set[tuple[str, str, tuple[int, ...]]]:
    """(box, interface, VLANs) of hosts' uplinks where its data was read."""
    assert report.exposed is not None
    return {(e.box, e.interface, e.vlans) for e in report.exposed if e.interface.startswith("vmnic")}


@pytest.mark.parametrize("service", ["iscsi", "nfs"])
def test_vmk_3_what_a_vm_writes_to_its_disk_is_on_the_storage_network_in_clear(vlab: RunningLab, service: str) -> None:
    report = vlab.service(service, "web1", "nas")
    assert report.done["bytes"] == 4 * 4096 and report.done["vm"] == "web1"
    assert in_clear(report) == {("esx1", "vmnic0", (7,))}
    assert report.exposed is not None and {e.node for e in report.exposed} == {"esx1", "esx1-vmk", "tor1", "nas"}


def test_vmk_4_replication_carries_the_same_blocks_in_clear_unless_told_otherwise(vlab: RunningLab) -> None:
    with vlab.capture("esx1:vmk3") as seen:
        clear = vlab.service("replication", "web1", "vr", watch=True)
    vlab.set("knobs", "hbr_encrypt=on")
    sealed = vlab.service("replication", "web1", "vr")
    vlab.set("knobs", "hbr_encrypt=off")
    assert {port for port, _ in ports_of(seen.packets, "10.0.9.11").items()} == {("tcp", 31031), ("tcp", 44046)}
    assert in_clear(clear) == {("esx1", "vmnic0", (9,))}
    assert sealed.exposed == () and sealed.done["bytes"] == clear.done["bytes"]


@pytest.mark.parametrize(("service", "to"), [("iscsi", "nas"), ("nfs", "nas"), ("replication", "vr")])
def test_vmk_5_a_vms_disk_on_the_wire_is_not_at_the_vms_own_ports(vlab: RunningLab, service: str, to: str) -> None:
    with vlab.capture("web1", "esx1:web1.eth0", "esx1:vmk2", "esx1:vmk3") as seen:
        vlab.send("web1", dst_mac="broadcast", kind="raw", count=3)
        done = vlab.service(service, "web1", to, watch=False).done
    found = Counter(p.interface for p in seen.packets if bytes.fromhex(done["token"]) in p.data)
    assert set(found) == {"vmk3" if service == "replication" else "vmk2"}
    own = [p for p in seen.packets if Frame.parse(p.data).src == vlab.vm("web1").mac]
    assert {p.interface for p in own} == {"eth0", "web1.eth0"}  # they are heard


def test_vmk_8_a_vmk_obeys_the_vlan_of_its_port_group(vlab: RunningLab) -> None:
    vlab.set("port-group esx1/vSwitch0/Storage", "vlan=17")
    answer = vlab.where("esx1.vmk2", "nas", kind="raw")
    vlab.set("port-group esx1/vSwitch0/Storage", "vlan=7")
    back = vlab.where("esx1.vmk2", "nas", kind="raw")
    assert answer.agrees and answer.disposition == "dropped", answer.differences
    assert back.agrees and back.disposition == "delivered", back.differences


def test_vmk_8_a_vmk_obeys_the_teaming_of_its_port_group(vlab: RunningLab) -> None:
    vlab.link("esx1:vmnic0", up=False)
    report = vlab.service("nfs", "esx1", "nas")
    vlab.link("esx1:vmnic0", up=True)
    assert in_clear(report) == {("esx1", "vmnic2", (7,))}
    wait_until(lambda: vlab.client.state().uplink_of["esx1", "vmk2"] == "vmnic0", "the failback")


def test_vmk_8_a_vmk_obeys_the_shaping_of_its_port_group(vlab: RunningLab) -> None:
    token, group = "00" * 16, "port-group esx1/vSwitch0/Storage"
    words = {"name": "nfs", "sender": "esx1", "receiver": "nas", "token": token, "blocks": 128}
    free = vlab.client.ask("service", **words)
    vlab.set(group, "shaping.outbound={average: 400M, peak: 400M, burst: 100KB}")  # 4 Mbit/s here
    shaped = vlab.client.ask("service", **words)
    vlab.set(group, "shaping=")
    assert shaped["bytes"] == free["bytes"] == 128 * 4096
    assert shaped["seconds"] > 0.9 and shaped["seconds"] > free["seconds"]


def test_vmk_9_storage_in_an_unknown_subnet_takes_the_management_network(vlab: RunningLab) -> None:
    near, far = vlab.service("iscsi", "web1", "nas"), vlab.service("iscsi", "web1", "far-nas")
    assert (near.done["source"], far.done["source"], far.done["gateway"]) == ("10.0.7.11", "10.0.5.11", "10.0.5.254")
    assert in_clear(near) == {("esx1", "vmnic0", (7,))}
    assert in_clear(far) == {("esx1", "vmnic0", (5,))}
    assert far.exposed is not None and "gw" in {e.node for e in far.exposed}
    assert not near.done["warnings"] and "only default gateway" in far.done["warnings"][0]


@pytest.mark.parametrize(
    ("service", "sender", "receiver", "source", "ports"),
    [
        ("management", "admin", "esx1", "10.0.5.50", {("tcp", 443)}),
        ("console", "admin", "esx1", "10.0.5.50", {("tcp", 902)}),
        ("heartbeat", "esx1", "admin", "10.0.5.11", {("udp", 902)}),
        ("ha", "esx1", "esx2", "10.0.5.11", {("tcp", 8182), ("udp", 8182)}),
        ("provisioning", "esx1", "esx2", "10.0.9.11", {("tcp", 902)}),
    ],
)
def test_a_service_goes_to_its_ports_and_only_tls_hides_its_data(
    vlab: RunningLab, service: str, sender: str, receiver: str, source: str, ports: set[tuple[str, int]]
) -> None:
    with vlab.capture("esx1:vmnic0") as seen:
        report = vlab.service(service, sender, receiver)
    assert set(ports_of(seen.packets, source)) == ports
    assert report.done["bytes"] > 0 and bool(in_clear(report)) != (service in ("management", "console"))


def test_nfc_ssl_hides_a_cold_migration(vlab: RunningLab) -> None:
    vlab.set("knobs", "nfc_ssl=on")
    report = vlab.service("provisioning", "esx1", "esx2")
    vlab.set("knobs", "nfc_ssl=off")
    assert report.exposed == () and report.done["bytes"] == 4 * 4096


@pytest.mark.parametrize(
    ("service", "sender", "receiver", "clear"),
    [("nfs", "esx1", "nas", True), ("management", "admin", "esx1", False), ("iscsi", "web1", "far-nas", True)],
    ids=["in clear", "TLS", "by a router"],
)
def test_where_shows_a_service_frame_by_frame(
    vlab: RunningLab, service: str, sender: str, receiver: str, clear: bool
) -> None:
    said = run("where", "--lab", vlab.name, "--service", service, "--from", sender, "--to", receiver, "--json")
    told = json.loads(said.stdout)
    assert said.returncode == 0 and told["agrees"], said.stderr
    answers = told["answers"]
    assert len(answers) >= 2 and {a["exposure"]["in_clear"] for a in answers} == {clear}
    assert {hop["in_clear"] for a in answers for t in a["trails"] for hop in t["hops"]} == {clear}


def test_service_as_a_verb_lists_what_there_is_and_tells_where_it_was_read(vlab: RunningLab) -> None:
    listed = run("service", "--lab", vlab.name).stdout
    assert "TCP 31031, TCP 44046" in listed and "the routing table says" in listed
    done = run("service", "--lab", vlab.name, "iscsi", "web1", "far-nas")
    assert done.returncode == 0 and "vlab: warning: iscsi leaves esx1 by vmk0" in done.stderr
    assert "for web1, whose vNIC sends nothing of it" in done.stdout and "esx1:vmnic0 UplinkSnd VLAN 5" in done.stdout
    refused = run("service", "--lab", vlab.name, "nfs", "esx1", "nass")
    assert (refused.returncode, refused.stdout) == (2, "") and "did you mean 'nas'?" in refused.stderr


def test_what_nobody_answers_is_told_with_its_way(vlab: RunningLab) -> None:
    vlab.set("port-group esx1/vSwitch0/Replication", "vlan=19")
    said = run("service", "--lab", vlab.name, "replication", "esx1", "vr", "--no-capture")
    vlab.set("port-group esx1/vSwitch0/Replication", "vlan=9")
    assert said.returncode == 5
    assert "replication from esx1.vmk3 to vr 10.0.9.50 TCP 31031: " in said.stderr


def test_a_service_that_no_vmkernel_has_is_refused(vlab: RunningLab) -> None:
    with pytest.raises(UsageError, match=r"esx2 has no way to 10\.0\.7\.50"):
        vlab.service("nfs", "esx2", "nas")
