"""Captures: what they hear, how they begin and end, and what is left of one whose disk is full."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.answers.capture import ends_of
from lab.errors import SystemRefused, UsageError
from lab.frame import Frame
from lab.observe.pcapng import CaptureFile
from lab.running import RunningLab

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGY = ROOT / "topologies" / "vlan-isolation.yaml"
VLAB = [sys.executable, "-m", "lab.cli"]
NAME_AND_TAG = ("frame.interface_name", "vlan.id")

vlab_topology = str(TOPOLOGY)


@contextmanager
def capturing(lab: RunningLab, *words: str, shell: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """`vlab capture` as a process, from the moment it says that it captures."""
    argv = [*shell, *VLAB, "capture", "--lab", lab.name, *words]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == b"capturing\n"
            yield process
        finally:
            process.kill()


def capture(lab: RunningLab, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [*VLAB, "capture", "--lab", lab.name, *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def tshark(source: Path | bytes, fields: Sequence[str] = NAME_AND_TAG) -> list[tuple[str, ...]]:
    """Those fields of every frame, as Wireshark reads them from a file or from its standard input."""
    name, data = ("-", source) if isinstance(source, bytes) else (str(source), b"")
    argv = ["tshark", "-r", name, "-T", "fields", *(word for field in fields for word in ("-e", field))]
    done = subprocess.run(argv, input=data, capture_output=True, check=True)
    return [tuple(line.split("\t")) for line in done.stdout.decode().splitlines()]


def send(lab: RunningLab, count: int = 3, **how: Any) -> None:
    assert lab.send("web1", "web2", count=count, kind="raw", **how).count == count


def test_frames_bear_the_interface_and_the_tags_of_where_they_were(vlab: RunningLab) -> None:
    with vlab.capture("web1", "esx1:vmnic0", "tor1:esx2-vmnic0", "esx2:web2.eth0") as seen:
        send(vlab)
    shown = sorted((p.interface, tuple(t.vid for t in Frame.parse(p.data).vlans)) for p in seen.packets)
    assert shown == sorted([("eth0", ()), ("esx2-vmnic0", (10,)), ("vmnic0", (10,)), ("web2.eth0", ())] * 3)


def test_a_capture_hears_nothing_of_another_vlan_and_all_of_its_own(vlab: RunningLab) -> None:
    with vlab.capture("db2", "web2") as seen:
        send(vlab)
    assert [(p.interface, p.original_length) for p in seen.packets] == [("eth0", 60)] * 3


def test_without_a_point_every_wire_of_every_box_is_captured(vlab: RunningLab) -> None:
    with vlab.capture() as seen:
        send(vlab, 1)
    names = sorted(packet.interface for packet in seen.packets)
    assert names == ["esx1-vmnic0", "esx2-vmnic0", "vmnic0", "vmnic0", "web1.eth0", "web2.eth0"]


POINTS = [
    pytest.param("web1", [("web1", ["eth0"])], id="VM"),
    pytest.param("web1.eth0", [("web1", ["eth0"])], id="vNIC"),
    pytest.param("esx1", [("esx1", ["vmnic0", "web1.eth0", "db1.eth0"])], id="host"),
    pytest.param("esx1:vmnic0", [("esx1", ["vmnic0"])], id="uplink"),
    pytest.param("esx1:web1.eth0", [("esx1", ["web1.eth0"])], id="vSwitch port"),
    pytest.param("tor1", [("tor1", ["esx1-vmnic0", "esx2-vmnic0"])], id="pSwitch"),
    pytest.param("UplinkSnd:esx1:vmnic0", [("esx1", ["vmnic0"])], id="pktcap-uw point of a port"),
    pytest.param("UplinkRcv:esx2", [("esx2", ["vmnic0"])], id="pktcap-uw point of a host"),
    pytest.param("VnicRx:web2", [("web2", ["eth0"])], id="pktcap-uw point of a VM"),
]


@pytest.mark.parametrize(("point", "wires"), POINTS)
def test_a_point_names_its_wires(vlab: RunningLab, point: str, wires: list[tuple[str, list[str]]]) -> None:
    found = [(node, sorted(labels)) for node, labels in ends_of(vlab.client, [point])]
    assert found == [(node, sorted(labels)) for node, labels in wires]


UNKNOWN = [
    pytest.param("web", "did you mean web2?", id="node"),
    pytest.param("esx1:vmnic9", "did you mean esx1:vmnic0?", id="port"),
    pytest.param("UplinkSnd:esx1:vmnci0", "did you mean", id="port of a pktcap-uw point"),
    pytest.param("db1.eth7", "did you mean db1", id="vNIC"),
    pytest.param("zzz", "there is", id="nothing like it"),
    pytest.param("VnicTx:esx1", "did you mean", id="pktcap-uw point of another node"),
]


@pytest.mark.parametrize(("point", "hint"), UNKNOWN)
def test_an_unknown_point_suggests_the_nearest(vlab: RunningLab, tmp_path: Path, point: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"no capture point {point!r}")) as raised, vlab.capture(point):
        pytest.fail("it captures")
    assert hint in str(raised.value)
    assert vlab.client.ask("status")["captures"] == []
    done = capture(vlab, point, "-w", str(tmp_path / "x"))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"vlab: {raised.value}\n")
    assert list(tmp_path.iterdir()) == []


def test_count_ends_a_capture(vlab: RunningLab, tmp_path: Path) -> None:
    with capturing(vlab, "UplinkSnd:esx1", "-w", str(tmp_path / "x.pcapng"), "--count", "3") as process:
        send(vlab, 3)
        assert ended(process) == (0, b"", b"")
    assert tshark(tmp_path / "x.pcapng") == [("vmnic0", "10")] * 3


def test_seconds_end_a_capture(vlab: RunningLab, tmp_path: Path) -> None:
    with capturing(vlab, "esx1:vmnic0", "-w", str(tmp_path / "x.pcapng"), "--seconds", "0.2") as process:
        send(vlab)
        assert ended(process) == (0, b"", b"")
    assert tshark(tmp_path / "x.pcapng") == [("vmnic0", "10")] * 3


def test_a_stream_is_a_whole_pcapng_and_nothing_else(vlab: RunningLab) -> None:
    with capturing(vlab, "esx1:vmnic0", "-w", "-", "--count", "3") as process:
        send(vlab)
        code, out, err = ended(process)
    assert (code, err) == (0, b"")
    assert tshark(out) == [("vmnic0", "10")] * 3


def test_a_stream_gives_frames_while_it_runs(vlab: RunningLab) -> None:
    with capturing(vlab, "esx1:vmnic0", "-w", "-", "--count", "2") as process:
        send(vlab, 1)
        assert process.stdout is not None
        out = b""
        while b"VLABCNRY" not in out:
            out += os.read(process.stdout.fileno(), 65536)
        assert process.poll() is None
        send(vlab, 1)
        assert ended(process)[0] == 0


def test_a_stream_comes_from_one_node(vlab: RunningLab) -> None:
    done = capture(vlab, "esx1", "web1", "-w", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert "esx1, web1" in done.stderr


@pytest.mark.parametrize("points", [["esx1:vmnic0"], ["esx1:vmnic0", "tor1"]], ids=["one node", "merged"])
def test_ctrl_c_leaves_a_whole_file_and_no_capture(vlab: RunningLab, tmp_path: Path, points: list[str]) -> None:
    file = tmp_path / "x.pcapng"
    with capturing(vlab, *points, "-w", str(file)) as process:
        with vlab.capture("tor1") as witness:
            send(vlab)
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, b"", b"")
    assert len(witness.packets) == 6
    assert tshark(file).count(("vmnic0", "10")) == 3
    assert vlab.client.ask("status")["captures"] == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_capture_in_the_background_of_a_script_ends_whole(
    vlab: RunningLab, tmp_path: Path, ending: signal.Signals
) -> None:
    """A shell without job control starts `command &` with SIGINT ignored."""
    file = tmp_path / "x.pcapng"
    with capturing(vlab, "esx1:vmnic0", "-w", str(file), shell=["sh", "-c", 'trap "" INT; exec "$@"', "sh"]) as process:
        with vlab.capture("tor1"):
            send(vlab)
        process.send_signal(ending)
        assert ended(process) == (0, b"", b"")
    assert tshark(file) == [("vmnic0", "10")] * 3


def test_a_file_that_cannot_be_written_is_refused(vlab: RunningLab) -> None:
    done = capture(vlab, "esx1", "-w", "/nonexistent/x.pcapng", "--seconds", "0.1")
    assert done.returncode == SystemRefused.exit_code
    assert "/nonexistent/x.pcapng: No such file or directory" in done.stderr


ON_A_SMALL_DISK = """
mount -t tmpfs -o size={size} tmpfs {disk}
code=0; {command} || code=$?
cp {disk}/* {kept}
exit $code
"""
CAPTURE = """
import subprocess, sys
from lab.running import launch
with launch({topology!r}, name={name!r}) as lab:
    argv = [sys.executable, "-m", "lab.cli", "capture", "--lab", lab.name, "esx1:vmnic0", "-w", {target!r}]
    with subprocess.Popen([*argv, "--count", "300"], stderr=subprocess.PIPE, text=True) as capture:
        capture.stderr.readline()
        lab.send("web1", "web2", count=300, kind="raw", size=1500, rate=5000)
        print(capture.stderr.read(), end="", file=sys.stderr)
sys.exit(capture.returncode)
"""


def on_a_disk_of(size: str, tmp_path: Path, command: str) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """Run it where tmp_path/disk is that small, and give what was on the disk in the end."""
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    script = ON_A_SMALL_DISK.format(size=size, disk=disk, kept=kept, command=command)
    argv = [*VLAB, "sandbox", "--", "sh", "-ec", script]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done, sorted(kept.iterdir())


def frames_in(path: Path) -> int:
    with CaptureFile(path) as file:
        return sum(1 for _ in file.find(b""))


@pytest.mark.parametrize(("size", "code"), [("128k", 5), ("4m", 0)], ids=["full", "room enough"])
def test_a_capture_onto_a_full_disk_says_so_and_keeps_what_fitted(tmp_path: Path, size: str, code: int) -> None:
    script = tmp_path / "capture.py"
    script.write_text(
        CAPTURE.format(
            topology=str(TOPOLOGY), name=f"capture-{os.getpid()}", target=str(tmp_path / "disk" / "x.pcapng")
        )
    )
    done, (file,) = on_a_disk_of(size, tmp_path, f"{sys.executable} {script}")
    assert done.returncode == code, done.stderr
    assert ("No space left on device" in done.stderr) is bool(code)
    assert frames_in(file) == 300 if not code else 50 < frames_in(file) < 300


@pytest.mark.parametrize(("size", "code"), [("256k", 6), ("8m", 0)], ids=["full", "room enough"])
def test_an_answer_whose_disk_is_full_is_no_answer_and_the_files_stay_readable(
    tmp_path: Path, size: str, code: int
) -> None:
    words = f"where {TOPOLOGY} --from web1 --to web2 --count 300 --size 1400 -d {tmp_path}/disk"
    done, files = on_a_disk_of(size, tmp_path, f"{sys.executable} -m lab.cli {words}")
    assert done.returncode == code, done.stdout + done.stderr
    assert ("no space left" in done.stderr, "as predicted" in done.stdout) == (bool(code), not code)
    assert [file.name for file in files] == ["esx1.pcapng", "esx2.pcapng", "tor1.pcapng", "web1.pcapng", "web2.pcapng"]
    assert all(frames_in(file) > 0 for file in files if file.name in ("esx1.pcapng", "tor1.pcapng"))
