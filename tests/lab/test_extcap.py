"""Wireshark's external capture interface, asked as Wireshark asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import RunningLab

ROOT = Path(__file__).resolve().parents[2]
vlab_topology = ROOT / "topologies/vlan-isolation.yaml"
ASK = [sys.executable, "-m", "lab.cli", "extcap"]


def asked(*words: str, argv: list[str] = ASK) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*argv, *words], cwd=ROOT, capture_output=True, text=True, timeout=30)


def test_every_point_of_a_running_lab_is_an_interface(vlab: RunningLab) -> None:
    said = asked("--extcap-interfaces", "--extcap-version=4.0").stdout.splitlines()
    values = {line.partition("{value=")[2].partition("}")[0] for line in said if line.startswith("interface")}
    assert said[0].startswith("extcap {version=")
    assert {f"vlab:{vlab.name}:{point}" for point in ("esx1", "esx1:vmnic0", "web1:eth0", "tor1")} <= values


def test_the_installed_script_answers_for_every_interface(tmp_path: Path) -> None:
    assert asked("--install", "--folder", str(tmp_path)).returncode == 0
    script = [str(tmp_path / "vlab")]
    assert asked("--extcap-dlts", "--extcap-interface", "vlab:x:y", argv=script).stdout.startswith("dlt {number=1}")
    assert asked("--extcap-config", argv=script).stdout == ""
    assert asked("--extcap-interfaces", argv=script).stdout.startswith("extcap {")


def test_frames_reach_wireshark_through_its_pipe_until_it_has_enough(vlab: RunningLab, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = ("--capture", "--extcap-interface", f"vlab:{vlab.name}:esx1:vmnic0", "--fifo", str(pipe))
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "vlan.id"]
    with (
        subprocess.Popen([*ASK, *words], cwd=ROOT, stderr=subprocess.PIPE) as ours,
        subprocess.Popen(["tshark", "-l", "-i", str(pipe), "-c", "3", *fields], stdout=subprocess.PIPE, text=True,
                         stderr=subprocess.DEVNULL) as wireshark,
    ):  # fmt: skip
        while not vlab.client.ask("status")["captures"]:
            assert ours.poll() is None
        vlab.send("web1", "web2", count=100, rate=50.0, kind="raw")
        seen, _ = wireshark.communicate(timeout=20)
        vlab.send("web1", "web2", kind="raw")  # a frame that finds the pipe closed
        assert ours.wait(20) == 0
    assert seen.splitlines() == ["vmnic0\t10"] * 3
    assert vlab.client.ask("status")["captures"] == []


@pytest.mark.parametrize("words", [(), ("--capture", "--extcap-interface", "eth0"), ("--capture",)], ids=str)
def test_what_wireshark_never_asks_is_refused(words: tuple[str, ...]) -> None:
    assert asked(*words).returncode == 2
