"""A bare VM, set up by `vagrant up`: the lab in it, and the kernel's own datapath."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from machine import IN_GUEST, Machine, Ready

EVERY_TAGGING = "tests/lab/switching.yaml"
"""EST, VST, VGT, native VLANs, blocked and disconnected ports: every vNIC to every other, with tags too."""
NAMESPACE_TESTS = os.environ.get("VLAB_VM_TESTS", " ".join((
    "tests/lab/test_switching.py",
    "--deselect=tests/lab/test_switching.py::test_delivery_is_as_predicted",
    "tests/lab/test_capture.py::test_frames_bear_the_interface_and_the_tags_of_where_they_were",
    "tests/lab/test_mirrors.py::test_mir_2_the_encapsulation_vlan_stands_before_the_tag_that_is_kept",
    "tests/lab/test_mirrors.py::test_mir_2_a_tag_that_is_stripped_is_gone",
    "tests/lab/test_mirrors.py::test_mir_3_a_copy_is_cut_to_the_session_s_length",
)))  # fmt: skip
"""What is run on the kernel's datapath: where a frame goes, tags, drops, captures. Deliveries are in EVERY_TAGGING's
matrix. VLAB_VM_TESTS=tests/lab is all."""


def in_login_shell(command: str) -> str:
    return f"cd {IN_GUEST} && bash -lc '{command}'"


def verified(machine: Machine, topology: str, datapath: str) -> dict[str, Any]:
    command = in_login_shell(f"VLAB_DATAPATH={datapath} vlab verify {topology} --json")
    report: dict[str, Any] = json.loads(machine.timed(f"verify {topology}, {datapath} datapath", command))
    return {key: report[key] for key in ("pairs", "agree", "differ", "capture_loss")}


def test_provisioning_again_is_harmless(ready: Ready) -> None:
    said = ready.provision()
    assert "ready: " in said
    assert "installing" not in said and "making" not in said


def test_an_ordinary_user_has_vlab_and_its_completion(ready: Ready) -> None:
    assert ready.machine.run(in_login_shell("id -u; command -v vlab")).stdout.split()[0] != "0"
    asked = 'COMP_WORDS="vlab ver" COMP_CWORD=1 _VLAB_COMPLETE=bash_complete vlab'
    assert "plain,verify" in ready.machine.run(in_login_shell(asked)).stdout
    assert "complete" in ready.machine.run("cat ~/.local/share/bash-completion/completions/vlab").stdout


def test_the_demo_runs_by_vagrant_ssh_and_its_captures_are_where_the_host_sees_them(ready: Ready) -> None:
    assert not ready.captures()
    with ready.machine.timing("demo, user datapath, with Vagrant's own ssh"):
        said = ready.ssh("vlab demo")
    assert "as predicted" in said
    assert {Path(name).parent.name for name in ready.captures()} == {"where", "verify"}


def test_the_demo_tells_the_same_story_on_the_kernels_datapath(ready: Ready) -> None:
    said = ready.machine.timed("demo, kernel datapath", in_login_shell("VLAB_DATAPATH=kernel vlab demo"))
    assert "as predicted" in said


def test_both_datapaths_give_the_same_answers(ready: Ready) -> None:
    answers = {datapath: verified(ready.machine, EVERY_TAGGING, datapath) for datapath in ("user", "kernel")}
    assert answers["kernel"] == answers["user"]
    assert answers["kernel"]["pairs"] == answers["kernel"]["agree"] > 0


def test_doctor_knows_the_kernels_datapath(ready: Ready) -> None:
    findings = json.loads(ready.machine.run(in_login_shell("vlab doctor --json")).stdout)["findings"]
    assert {f["name"]: f["ok"] for f in findings if f["name"].startswith("datapath")} == {
        "datapath: user": True,
        "datapath: kernel": True,
    }


def test_the_namespace_suite_holds_on_the_kernels_datapath(ready: Ready) -> None:
    command = f"VLAB_DATAPATH=kernel $VLAB_VENV/bin/python -m pytest -q -p no:cacheprovider {NAMESPACE_TESTS}"
    said = ready.machine.timed("namespace tests, kernel datapath", in_login_shell(command), 1500.0)
    assert re.search(r"\d+ passed", said)


def test_a_lab_in_the_kernels_datapath_is_built_of_it(ready: Ready) -> None:
    """Without this the tests above could all have run in the other one."""
    up = "vlab up topologies/vlan-isolation.yaml --datapath kernel --json"
    said = ready.machine.run(in_login_shell(f"{up} && vlab exec esx1 -- ip -br link; vlab down")).stdout
    assert '"datapath": "kernel"' in said
    assert "ovs-system" in said


def test_a_stretch_is_as_far_by_netem_as_by_the_userspace_wire(ready: Ready) -> None:
    """1,000 frames each over 20 +- 5 ms with 20 % loss."""
    command = 'VLAB_DISTANCE="netem wire" $VLAB_VENV/bin/python benchmarks/distance.py 20ms:5ms:0.2'
    netem, wire = json.loads(ready.machine.timed("a stretch by netem and by the wire", in_login_shell(command)))
    print(f"vm: {netem}\nvm: {wire}", flush=True)
    assert (netem["by"], wire["by"]) == ("netem", "userspace wire")
    for found in (netem, wire):
        assert found["alive"] and found["in_order"] and found["frames"] == 1000
        assert found["median"] > 19
        assert found["p95"] - found["p5"] > 4
        assert found["lost"] == pytest.approx(0.2, abs=0.06)
    assert netem["median"] < 60  # on an emulated processor everything is late, and a process most of all
    assert netem["median"] < wire["median"] + 5
