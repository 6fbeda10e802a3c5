"""A secondary on another host: what goes to it is in clear on the FT network, and it takes over (VMK-2)."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from lab import RunningLab
from lab.errors import UsageError
from lab.realise.run import wait_until

vlab_topology = "vmotion.yaml"

ROOT = Path(__file__).parents[2]
VLAB = [sys.executable, "-m", "lab.cli"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


def protection(lab: RunningLab, vm: str) -> dict[str, object]:
    return next(one for one in lab.client.ask("ft") if one["vm"] == vm)


def test_vmk_2_the_ft_network_carries_what_a_vm_hears_and_what_it_writes(vlab: RunningLab) -> None:
    token = secrets.token_bytes(16)
    vlab.client.ask("ft_on", vm="web1", host="esx2")
    with vlab.capture("esx1:vmk3", "esx1:vmnic0") as seen:
        vlab.client.ask("guest_write", vm="web1", token=token.hex(), pages=2)
        vlab.send("gw", "web1", kind="raw", count=3)
        wait_until(lambda: int(str(protection(vlab, "web1")["inputs"])) >= 3, "inputs at the secondary")
        wait_until(lambda: int(str(protection(vlab, "web1")["pages"])) >= 2, "pages at the secondary")
    vlab.client.ask("ft_off", vm="web1")
    heard = bytes.fromhex((vlab.vm("web1").mac + vlab.vm("gw").mac).replace(":", ""))
    for wanted in (token, heard):
        assert {p.interface for p in seen.packets if wanted in p.data} == {"vmk3", "vmnic0"}


def test_a_secondary_takes_over_with_the_same_mac_and_memory_when_its_primarys_host_fails(vlab: RunningLab) -> None:
    token, mac = secrets.token_bytes(16), vlab.vm("tcp1").mac
    vlab.client.ask("guest_write", vm="tcp1", token=token.hex(), pages=3)
    vlab.client.ask("ft_on", vm="tcp1", host="esx2")
    said = run("fail", "--lab", vlab.name, "host", "esx1")
    assert "tcp1 has been taken over by esx2" in said.stdout, said.stdout + said.stderr
    answer = vlab.where("tcp2", "tcp1")
    assert answer.agrees and answer.disposition == "delivered", answer.differences
    assert vlab.client.topology.vms["tcp1"].host == "esx2" and vlab.vm("tcp1").mac == mac
    assert vlab.client.ask("guest_find", vm="tcp1", token=token.hex())["pages"] == [0, 1, 2]
    assert run("fail", "--lab", vlab.name, "host", "esx1", "--repair").returncode == 0
    vlab.vmotion("tcp1", "esx1")


def test_a_vm_whose_secondary_is_lost_runs_on_unprotected(vlab: RunningLab) -> None:
    vlab.client.ask("ft_on", vm="web1", host="esx2")
    vlab.client.ask("fail", box="esx2", failed=True)
    assert vlab.client.ask("ft") == [] and vlab.client.topology.vms["web1"].host == "esx1"
    vlab.client.ask("fail", box="esx2", failed=False)
    assert vlab.where("web1", "gw").disposition == "delivered"


@pytest.mark.parametrize(
    ("vm", "host", "why"),
    [
        ("web1", "esx1", "the primary is on esx1"),
        ("web1", "esx3", "esx3 has no vmkernel adapter"),
        ("x", "esx2", "no VM"),
    ],
)
def test_what_ft_refuses(vlab: RunningLab, vm: str, host: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        vlab.client.ask("ft_on", vm=vm, host=host)


def test_a_protected_vm_is_not_moved_and_ft_is_a_verb(vlab: RunningLab) -> None:
    assert "protected" in run("ft", "--lab", vlab.name, "web1", "esx2").stdout
    refused = run("vmotion", "--lab", vlab.name, "web1", "esx2")
    assert (refused.returncode, "FT protects it" in refused.stderr) == (2, True)
    assert [one["vm"] for one in json.loads(run("ft", "--lab", vlab.name, "--json").stdout)["protected"]] == ["web1"]
    assert "no more" in run("ft", "--lab", vlab.name, "web1", "off").stdout
    assert run("ft", "--lab", vlab.name, "web1", "off").returncode == 2
