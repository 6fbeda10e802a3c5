"""Questions that begin or end where nothing happens have answers with reasons, and are no errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab import RunningLab
from lab.frame import DropReason, Hop
from lab.report.where import Answer, as_json, as_text

vlab_topology = "odd-starts.yaml"


def ask(lab: RunningLab, sender: str, to: str, **how: object) -> Answer:
    answer = lab.where(sender, to, count=1, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    assert as_json(answer)["sent"] == 1
    return answer


def ends(answer: Answer) -> set[tuple[str, str, DropReason | None]]:
    lasts: list[Hop] = [trail.hops[-1] for trail in answer.trails]
    return {(hop.box, hop.interface, hop.reason) for hop in lasts}


def test_a_frame_that_reaches_a_pnic_that_no_switch_uses_ends_there_with_its_reason(vlab: RunningLab) -> None:
    answer = ask(vlab, "gw", "web1", dst_mac="broadcast")
    assert ("esx1", "vmnic9", DropReason.UNUSED_PNIC) in ends(answer)
    assert "dropped in esx1 at vmnic9: No Switch Uses This pNIC" in as_text(answer)
    assert answer.disposition == "delivered"
    vlab.link("esx1:vmnic9", up=False)
    unplugged = ask(vlab, "gw", "web1", dst_mac="broadcast")
    vlab.link("esx1:vmnic9", up=True)
    assert not {end for end in ends(unplugged) if end[1] == "vmnic9"}


def test_a_vnic_that_is_not_connected_sends_nothing_and_says_why(vlab: RunningLab) -> None:
    answer = ask(vlab, "off", "gw")
    assert (answer.disposition, ends(answer)) == ("dropped", {("esx1", "eth0", DropReason.DISCONNECTED)})
    assert "never left off.eth0: Port Disconnected (FWD-17), as predicted" in as_text(answer)
    assert (answer.could_see, answer.did_see, answer.caught) == ((), (), ())
    vlab.set("vnic off.eth0", connected=True)
    connected = ask(vlab, "off", "gw")
    vlab.set("vnic off.eth0", connected=False)
    assert connected.disposition == "delivered"


@pytest.mark.parametrize(("end", "sender"), [("esx1:web2.eth0", "web2"), ("tor1:gw", "gw")])
def test_an_adapter_without_carrier_sends_nothing_and_says_why(vlab: RunningLab, end: str, sender: str) -> None:
    to = {"gw": "web1", "web2": "gw"}[sender]
    vlab.link(end, up=False)
    try:
        answer = ask(vlab, sender, to)
    finally:
        vlab.link(end, up=True)
    assert {reason for _, _, reason in ends(answer)} == {DropReason.LINK_DOWN}
    assert answer.disposition == "dropped"
    assert ask(vlab, sender, to).disposition == "delivered"


@pytest.mark.parametrize("to", [None, "broadcast"], ids=["for it", "broadcast"])
def test_a_vnic_that_is_not_connected_gets_nothing_and_others_do(vlab: RunningLab, to: str | None) -> None:
    answer = ask(vlab, "web1", "off", dst_mac=to)
    nodes = {hop.node for trail in answer.trails for hop in trail.hops}
    assert answer.disposition == "dropped"
    assert "off" not in nodes
    assert to is None or {"web2", "gw"} <= nodes


def test_vlan_13_a_vm_whose_vlan_no_trunk_has_is_told_where_that_is(vlab: RunningLab) -> None:
    answer = ask(vlab, "alone", "gw")
    assert ends(answer) == {("tor1", "esx1-vmnic0", DropReason.PSWITCH_VLAN)}


@pytest.mark.parametrize("name", ["web1", "gw"])
def test_what_one_sends_to_itself_is_an_answer(vlab: RunningLab, name: str) -> None:
    assert ask(vlab, name, name).disposition != "delivered"


def vlab_cli(lab: RunningLab, *words: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "lab.cli", "where", "--lab", lab.name, *words]
    done = subprocess.run(argv, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_an_end_may_be_an_address_or_a_mac_that_somebody_has(vlab: RunningLab) -> None:
    code, said = vlab_cli(vlab, "--from", vlab.vm("web1").mac, "--to", "10.0.10.254")
    assert (code, "web1.eth0 -> gw" in said) == (0, True)
