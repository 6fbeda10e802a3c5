"""vmkernel services without a lab: which adapter, which ports, in clear or not, and what both ends say."""

from __future__ import annotations

import socket
import threading

import pytest

from lab.errors import LabError, SystemRefused, TopologyError, UsageError
from lab.frame import Frame, mac_text
from lab.model import Knobs, Topology
from lab.plan import compile_plan
from lab.plan.render import render
from lab.predict.clear import in_clear
from lab.teaming import initial_state
from lab.topology import read_topology
from lab.topology.releases import RELEASES
from lab.topology.services import Exchange, exchange_of, services
from traffic.canary import canary_payload
from traffic.services import TALKS, answer, call
from traffic.tls import Tls

FILE = """
name: kernels
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks: {vmnic0: {switch: tor1}}
    gateway: 10.0.5.254
    standard_switches: {v: {uplinks: [vmnic0], port_groups: {m: {vlan: 5}, s: {vlan: 7}, r: {vlan: 9}, w: {vlan: 10}}}}
    vmkernel:
      vmk0: {port_group: m, services: [management], ip: 10.0.5.11/24}
      vmk1: {port_group: s, services: [iscsi], ip: 10.0.7.11/24}
      vmk2: {port_group: s, services: [nfs], ip: 10.0.7.21/24}
      vmk3: {port_group: r, services: [vsphere_replication, provisioning], ip: 10.0.9.11/24}
  esx2:
    uplinks: {vmnic0: {switch: tor1}}
    standard_switches: {v: {uplinks: [vmnic0], port_groups: {m: {vlan: 5}, r: {vlan: 9}}}}
    vmkernel:
      vmk0: {port_group: m, services: [management], ip: 10.0.5.12/24}
      vmk3: {port_group: r, services: [provisioning], ip: 10.0.9.12/24}
  esx3: {uplinks: {vmnic0: {switch: tor1}}}
vms:
  web1: {host: esx1, networks: [w]}
machines:
  admin: {switch: tor1, access: 5, ip: 10.0.5.50/24}
  nas: {switch: tor1, access: 7, ip: 10.0.7.50/24}
  far: {switch: tor1, access: 8, ip: 10.0.8.50/24}
  gw: {switch: tor1, access: 5, ip: 10.0.5.254/24, more_ips: [10.0.8.254/24], gateway: 10.0.5.1, routes: true}
"""
TOKEN = bytes(range(16))


def topology(release: str = "6.0", text: str = FILE) -> Topology:
    return read_topology(f'release: "{release}"\n{text}', "kernels.yaml")


def exchange(name: str, sender: str, receiver: str, release: str = "6.0") -> Exchange:
    return exchange_of(topology(release), name, sender, receiver)


@pytest.mark.parametrize(
    ("name", "sender", "receiver", "by", "bound"),
    [
        ("iscsi", "esx1", "nas", "esx1.vmk1", True),
        ("nfs", "esx1", "nas", "esx1.vmk1", False),  # the first in that subnet, whatever is said
        ("iscsi", "web1", "nas", "esx1.vmk1", True),
        ("ha", "esx1", "esx2", "esx1.vmk0", True),
        ("provisioning", "esx1", "esx2", "esx1.vmk3", True),
        ("heartbeat", "esx1", "admin", "esx1.vmk0", True),
        ("replication", "esx1", "admin", "esx1.vmk0", False),
        ("replication", "esx1", "far", "esx1.vmk0", False),
    ],
)
def test_vmk_8_a_service_leaves_by_its_adapter(name: str, sender: str, receiver: str, by: str, bound: bool) -> None:
    found = exchange(name, sender, receiver)
    assert (getattr(found.sender, "label", ""), found.bound) == (by, bound)
    assert found.vm == ("web1" if sender == "web1" else "")


@pytest.mark.parametrize(("release", "by"), [("5.5", "esx1.vmk0"), ("6.0", "esx1.vmk3")])
def test_adapters_for_provisioning_alone_came_with_6_0(release: str, by: str) -> None:
    assert getattr(exchange("provisioning", "esx1", "esx2", release).sender, "label", "") == by


@pytest.mark.parametrize("name", ["iscsi", "nfs", "replication"])
def test_vmk_9_to_an_unknown_subnet_everything_takes_the_one_default_gateway(name: str) -> None:
    found = exchange(name, "esx1", "far")
    assert (getattr(found.sender, "label", ""), found.gateway) == ("esx1.vmk0", "10.0.5.254")
    assert "only default gateway 10.0.5.254 is behind it (VMK-9)" in found.warnings[0]
    assert not exchange("iscsi", "esx1", "nas").warnings


def test_vmk_9_a_neighbour_is_reached_by_the_first_adapter_in_its_subnet() -> None:
    assert exchange("nfs", "esx1", "nas").warnings == (
        "nfs leaves esx1 by vmk1, not by vmk2: it is first in that subnet (VMK-9)",
    )


@pytest.mark.parametrize(
    ("name", "sender", "receiver", "why"),
    [
        ("nfz", "esx1", "nas", "no service 'nfz' here (did you mean 'nfs'?)"),
        ("nfs", "esx9", "nas", "no host 'esx9'"),
        ("nfs", "esx1", "nass", "no machine, VM or vmknic 'nass' (did you mean 'nas'?)"),
        ("nfs", "esx1", "esx2", "nfs goes to a server, and esx2 is a host"),
        ("ha", "esx1", "nas", "no host 'nas'"),
        ("ha", "esx1", "esx1", "both ends are esx1"),
        ("ha", "esx1", "esx3", "esx3 has no vmkernel adapter with an address and the service management"),
        ("nfs", "esx3", "nas", "esx3 has no way to 10.0.7.50"),
        ("nfs", "esx2", "nas", "no vmkernel adapter in that subnet, and the host has no gateway"),
        ("management", "admin", "nas", "no host 'nas'"),
        ("management", "esx2", "esx2", "both ends are esx2"),
    ],
)
def test_what_no_vmkernel_does_is_refused(name: str, sender: str, receiver: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        exchange(name, sender, receiver)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("release", "ha", "has"), [("4.1", ("UDP 8042",), False), ("5.0", ("TCP 8182", "UDP 8182"), True)]
)
def test_the_release_says_what_there_is(release: str, ha: tuple[str, ...], has: bool) -> None:
    known = services(release, Knobs())
    assert known["ha"].ports == ha and ("replication" in known) == has


@pytest.mark.parametrize(
    ("knobs", "sealed"),
    [
        (Knobs(), {"management", "console"}),
        (Knobs(nfc_ssl="on"), {"management", "console", "provisioning"}),
        (Knobs(hbr_encrypt="on"), {"management", "console", "replication"}),
    ],
)
def test_what_is_in_clear(knobs: Knobs, sealed: set[str]) -> None:
    assert {service.name for service in services("6.0", knobs).values() if service.sealed} == sealed


@pytest.mark.parametrize("release", RELEASES)
def test_every_connection_of_a_service_has_somebody_who_speaks_it(release: str) -> None:
    for service in services(release, Knobs()).values():
        over_tcp = [part for part in service.parts if part.protocol == "tcp"]
        assert len(over_tcp) <= len(TALKS.get(service.name, ())), service.name


def test_gateways_and_further_addresses_are_in_the_plan() -> None:
    lab = topology()
    text = render(compile_plan(lab, initial_state(lab)))
    assert "vmkernel esx1-vmk gateway 10.0.5.254\n" in text
    assert "machine gw forwards gateway 10.0.5.1\n" in text and "10.0.5.254/24 10.0.8.254/24\n" in text


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("gateway: 10.0.5.254", "gateway: 10.0.6.254", "hosts.esx1.gateway: 10.0.6.254 is in no subnet of its vmk"),
        ("gateway: 10.0.5.1,", "gateway: 10.9.5.1,", "machines.gw.gateway: 10.9.5.1 is in no subnet of its addr"),
        ("more_ips: [10.0.8.254/24]", "more_ips: [10.0.8.50/24]", "10.0.8.50 is given twice"),
    ],
)
def test_a_gateway_that_is_nobodys_neighbour_is_a_mistake(before: str, after: str, told: str) -> None:
    assert topology().hosts["esx1"].gateway == "10.0.5.254"
    with pytest.raises(TopologyError) as wrong:
        topology(text=FILE.replace(before, after))
    assert told in " ".join(f"{m.path}: {m.what}" for m in wrong.value.mistakes)


# -- both ends


def talked(name: str, number: int, sealed: bool) -> tuple[int, bytes]:
    """What the server got, and what was on the wire."""
    blocks = [canary_payload(TOKEN, n, 4096) for n in range(3)]
    tls = Tls.new("esx1") if sealed else None
    talk = TALKS[name][number]
    got: list[int] = []
    with Tapped() as (here, there, seen):
        serving = threading.Thread(target=lambda: got.append(answer(talk, there, tls)))
        serving.start()
        call(talk, here, blocks, tls)
        serving.join(10)
    return got[0], bytes(seen)


class Tapped:
    """Two ends of a connection, and everything that goes over it."""

    def __enter__(self) -> tuple[socket.socket, socket.socket, bytearray]:
        self.ends = [*socket.socketpair(), *socket.socketpair()]
        seen = bytearray()
        for end in self.ends:
            end.settimeout(10)
        for one, other in ((1, 2), (2, 1)):
            threading.Thread(target=self._pass, args=(self.ends[one], self.ends[other], seen), daemon=True).start()
        return self.ends[0], self.ends[3], seen

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket, seen: bytearray) -> None:
        try:
            while data := one.recv(65536):
                seen.extend(data)
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def __exit__(self, *_: object) -> None:
        for end in self.ends:
            end.close()


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    ("name", "number"),
    [("management", 0), ("console", 0), ("provisioning", 1), ("replication", 0), ("ha", 0), ("iscsi", 0), ("nfs", 0)],
)
def test_a_server_gets_all_that_a_client_has_and_only_tls_hides_it(name: str, number: int, sealed: bool) -> None:
    got, seen = talked(name, number, sealed)
    assert got == 3 * 4096
    assert (TOKEN in seen) != sealed


def test_the_login_on_port_902_is_hidden_behind_a_banner_in_clear() -> None:
    _, seen = talked("provisioning", 0, True)
    assert seen.startswith(b"220 VMware Authentication Daemon") and b"SESSION" not in seen


def test_a_client_does_not_take_another_servers_certificate() -> None:
    here, there = socket.socketpair()
    talk = TALKS["management"][0]
    failed: list[type[BaseException]] = []

    def serve() -> None:
        try:
            answer(talk, there, Tls.new("esx1"))
        except (OSError, LabError) as error:
            failed.append(type(error))

    serving = threading.Thread(target=serve)
    serving.start()
    with pytest.raises(OSError, match="certificate verify failed"):
        call(talk, here, [b"x"], Tls.new("esx1"))
    serving.join(10)
    assert failed


def test_a_target_that_is_none_is_told() -> None:
    here, there = socket.socketpair()
    there.sendall(bytes(48))
    with pytest.raises(SystemRefused, match="answered with 0x0 where 0x23 was due"):
        call(TALKS["iscsi"][0], here, [], None)


@pytest.mark.parametrize(("port", "clear"), [(443, False), (3260, True)])
def test_the_middle_of_a_tls_record_is_not_in_clear(port: int, clear: bool) -> None:
    ip = bytes([0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, *bytes(8)])
    tcp = port.to_bytes(2, "big") + bytes(10) + bytes([0x50]) + bytes(7) + b"anything"
    assert in_clear(Frame(mac_text(bytes(6)), mac_text(bytes(6)), (), 0x0800, ip + tcp)) == clear
