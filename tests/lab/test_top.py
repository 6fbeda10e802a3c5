"""`vlab top`: what was sent is on the rows where it went, and nowhere else; TEAM-PNIC follows the links."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from lab import RunningLab
from lab.answers.top import sample
from lab.errors import UsageError
from lab.realise.run import wait_until
from lab.report.top import Flow, Row, rows_between

vlab_topology = "top.yaml"

ROOT = Path(__file__).resolve().parents[2]
VLAB = [sys.executable, "-m", "lab.cli"]
FRAMES, SOME = 400, 40
"""Sent, and more than hosts send by themselves meanwhile (RARP, CDP)."""


def after_sending(
    lab: RunningLab, sender: str, receiver: str, arriving: int = FRAMES, **how: int
) -> Mapping[tuple[str, str], Row]:
    """Rows for the time in which the frames went from one end to the other, where so many are counted."""
    lab.where(receiver, sender, count=1)  # whoever knows the receiver does not flood
    before = sample(lab.client)
    lab.send(sender, receiver, count=FRAMES, rate=2000.0, **how)
    far = lab.vm(receiver).place.label
    host = lab.client.topology.vms[receiver].host
    old = before.readings[host].counts[far]

    def arrived() -> bool:
        new = sample(lab.client, [host]).readings[host].counts[far]
        return new.tx_packets + new.tx_dropped - old.tx_packets - old.tx_dropped >= arriving

    wait_until(arrived, f"{arriving} frames at {far}")
    found = rows_between(lab.client.topology, before, sample(lab.client))
    return {(row.host, row.used_by): row for row in found}


def busy(rows: Mapping[tuple[str, str], Row], flow: str) -> set[tuple[str, str]]:
    """Where there was as much as was sent; elsewhere there was next to nothing."""
    flows: dict[tuple[str, str], Flow] = {place: getattr(row, flow) for place, row in rows.items()}
    most = max(found.packets for found in flows.values())
    share = {place: found.packets / most for place, found in flows.items()}
    assert all(part > 0.95 or part < SOME / FRAMES for part in share.values()), share
    return {place for place, part in share.items() if part > 0.95}


def team_pnic(lab: RunningLab, vm: str) -> str:
    now = sample(lab.client, ["esx1"])
    (row,) = (r for r in rows_between(lab.client.topology, now, sample(lab.client, ["esx1"])) if r.used_by == vm)
    return row.team_pnic


def test_what_a_vm_sends_is_on_its_row_its_uplink_s_and_the_receiver_s(vlab: RunningLab) -> None:
    rows = after_sending(vlab, "web1", "web2", size=500)
    assert busy(rows, "sent") == {("esx1", "web1.eth0"), ("esx1", "vmnic1")}
    assert busy(rows, "received") == {("esx2", "vmnic1"), ("esx2", "web2.eth0")}
    row = rows["esx1", "web1.eth0"]
    assert row.sent.megabits * 1e6 / row.sent.packets == pytest.approx(500 * 8, rel=0.02)


def test_the_other_way_round_sent_and_received_change_places(vlab: RunningLab) -> None:
    rows = after_sending(vlab, "web2", "web1")
    assert busy(rows, "sent") == {("esx2", "web2.eth0"), ("esx2", "vmnic1")}
    assert busy(rows, "received") >= {("esx1", "vmnic1"), ("esx1", "web1.eth0")}


@pytest.mark.parametrize(("size", "arriving", "dropped"), [(3000, 1, 100.0), (1000, FRAMES, 0.0)])
def test_frames_that_are_too_long_for_the_receiver_are_drprx(
    vlab: RunningLab, size: int, arriving: int, dropped: float
) -> None:
    rows = after_sending(vlab, "long1", "short1", arriving, size=size)
    # Open vSwitch gives up the rest of a batch whose first frame the kernel drops: not every frame is counted.
    assert rows["esx1", "short1.eth0"].received.dropped == pytest.approx(dropped, abs=5)
    assert rows["esx1", "vmnic0"].received.packets > 0


@pytest.fixture
def links(vlab: RunningLab) -> Iterator[RunningLab]:
    """Every link is up again afterwards."""
    yield vlab
    for pnic in ("vmnic1", "vmnic2", "vmnic3", "vmnic4"):
        vlab.link(f"esx1:{pnic}", up=True)
    wait_until(lambda: team_pnic(vlab, "moving1.eth0") == "vmnic1", "moving1 is back")


@pytest.mark.parametrize(
    ("vm", "steps"),
    [("moving1", ("vmnic1", "vmnic2", "void")), ("hashed1", ("all(2)", "all(1)", "void"))],
)
def test_team_pnic_follows_the_links(links: RunningLab, vm: str, steps: tuple[str, str, str]) -> None:
    seen = [team_pnic(links, f"{vm}.eth0")]
    for pnic in ("vmnic1", "vmnic2") if vm == "moving1" else ("vmnic3", "vmnic4"):
        links.link(f"esx1:{pnic}", up=False)
        seen.append(team_pnic(links, f"{vm}.eth0"))
    assert tuple(seen) == steps


def test_traffic_follows_team_pnic(links: RunningLab) -> None:
    links.link("esx1:vmnic1", up=False)
    assert busy(after_sending(links, "web1", "web2"), "sent") == {("esx1", "web1.eth0"), ("esx1", "vmnic2")}


def vlab_top(lab: RunningLab, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [*VLAB, "top", "--lab", lab.name, "--interval", "0.2", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_one_sample_in_json(vlab: RunningLab) -> None:
    done = vlab_top(vlab, "--json", "--host", "esx2")
    said = json.loads(done.stdout)
    assert (done.returncode, done.stderr, said["schema"], said["speed_scale"]) == (0, "", 1, 0.01)
    assert [(port["host"], port["port_id"], port["used_by"], port["team_pnic"]) for port in said["ports"]] == [
        ("esx2", 16777218, "vmnic0", "-"), ("esx2", 16777219, "long1.eth0", "vmnic0"),
        ("esx2", 33554434, "vmnic1", "-"), ("esx2", 33554435, "web2.eth0", "vmnic1"),
    ]  # fmt: skip
    assert 0.2 <= said["seconds"] < 5


def test_one_table_where_there_is_no_terminal(vlab: RunningLab) -> None:
    done = vlab_top(vlab)
    head, columns, *lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert head.endswith(" s; 1 Mb/s here stands for 100 Mb/s (speed_scale 0.01)")
    assert columns.split() == ["HOST", "PORT-ID", "USED-BY", "TEAM-PNIC", "DNAME", "PKTTX/s", "MbTX/s", "PKTRX/s",
                               "MbRX/s", "%DRPTX", "%DRPRX"]  # fmt: skip
    assert len(lines) == 13 and "hashed1.eth0  all(2)" in done.stdout


LEADING = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A program as a shell has it in the foreground of its terminal: what runs the tests may ignore Ctrl-C."""


def read_until(terminal: int, fact: Callable[[bytes], bool]) -> bytes:
    """What is printed there until `fact`, or until nobody has the terminal open any more."""
    seen, deadline = b"", time.monotonic() + 20
    while not fact(seen):
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, seen
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            break
    return seen


def test_a_terminal_has_it_live_until_ctrl_c(vlab: RunningLab) -> None:
    here, there = pty.openpty()
    argv = [sys.executable, "-c", LEADING, *VLAB, "top", "--lab", vlab.name, "--interval", "0.2"]
    with subprocess.Popen(argv, stdin=there, stdout=there, stderr=there, cwd=ROOT, start_new_session=True) as child:
        os.close(there)
        try:
            seen = read_until(here, lambda seen: seen.count(b"PORT-ID") > 2)
            os.write(here, b"\x03")
            seen += read_until(here, lambda _: False)
            assert (child.wait(20), b"Traceback" in seen, b"Ctrl-C ends" in seen) == (0, False, True)
        finally:
            child.kill()
            os.close(here)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "esx9"], "no host 'esx9' (there is esx1, esx2)"),
        (["--interval", "0"], "--interval is 0.1 to 3600 seconds"),
        (["--interval", "nan"], "--interval is 0.1 to 3600 seconds"),
    ],
)
def test_a_mistake_of_the_caller_is_exit_2(vlab: RunningLab, words: list[str], said: str) -> None:
    done = vlab_top(vlab, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"vlab: {said}\n")


def test_a_host_that_is_not_there_is_refused(vlab: RunningLab) -> None:
    assert sample(vlab.client, ["esx2"]).readings.keys() == {"esx2"}
    with pytest.raises(UsageError, match="no host 'web1'"):
        sample(vlab.client, ["web1"])
