"""The guards are guarded: a switch that is broken on purpose, a capture that ends early, a cable that is pulled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.answers.campaign import Campaign
from lab.answers.verify import verify
from lab.client import places_of
from lab.errors import CannotTell
from lab.frame import DropReason
from lab.plan.tables import PUSH_TAG
from lab.plan.types import Bridge, Row
from lab.realise.run import wait_until
from lab.report.verify import Report
from lab.running import RunningLab
from traffic.frames import FrameSpec, build

ROOT = Path(__file__).resolve().parents[2]
TO_WEB1 = "reg0=0xa,dl_dst=00:50:56:00:00:01"
TO_ALL = "dl_dst=ff:ff:ff:ff:ff:ff"

vlab_topology = str(ROOT / "topologies" / "vlan-isolation.yaml")

Break = Callable[[str, int, str, str], None]


def bridge_of(lab: RunningLab, box: str) -> Bridge:
    (bridge,) = lab.client.plan.bridges_of(box)
    return bridge


def row_of(bridge: Bridge, table: int, match: str) -> Row:
    (row,) = [row for row in bridge.rows if (row.table, row.match) == (table, match)]
    return row


@pytest.fixture
def break_row(vlab: RunningLab) -> Iterator[Break]:
    """`break_row(box, table, match, actions)`: other actions for a row, or the row gone; mended at the test's end."""
    broken: list[tuple[Bridge, Row]] = []

    def change(box: str, table: int, match: str, actions: str) -> None:
        bridge = bridge_of(vlab, box)
        row = row_of(bridge, table, match)
        broken.append((bridge, row))
        gone = f"delete_strict table={table},priority={row.priority},{match}"
        line = f"add {replace(row, actions=actions).text()}" if actions else gone
        vlab.client.ask("mutate", box=box, switch=bridge.label, change=line)

    yield change
    for bridge, row in broken:
        vlab.client.ask("mutate", box=bridge.node, switch=bridge.label, change=f"add {row.text()}")


def broken_expectations(report: Report) -> list[str]:
    return [f"{e.kind} {'/'.join(e.names)}" for e in report.expectations if not e.holds]


LEAK = "clone(set_field:100->reg5,resubmit(,50)),clone(set_field:101->reg5,resubmit(,50)),goto_table:40"
BREAKS = [
    pytest.param("esx1", 30, f"reg0=0xa,{TO_ALL}", LEAK, ["isolate web/db"], id="broadcasts of web come to db1 too"),
    pytest.param("esx1", 20, "in_port=100", "goto_table:25", ["isolate web/db"], id="tags of web1 are let through"),
    pytest.param("esx1", 30, TO_WEB1, "", ["reach web1/web2"], id="deleted: the way to web1"),
    pytest.param("tor1", 50, "reg0=0xa", f"{PUSH_TAG},output:1,output:2,in_port", [], id="a pSwitch that reflects"),
]


def test_a_switch_that_is_whole_passes(vlab: RunningLab) -> None:
    report = vlab.verify()
    assert (report.ok, report.differ, report.pairs, report.agree) == (True, (), 12, 12)


@pytest.mark.parametrize(("box", "table", "match", "actions", "broken"), BREAKS)
def test_verify_sees_a_row_that_is_wrong(
    vlab: RunningLab, break_row: Break, box: str, table: int, match: str, actions: str, broken: list[str]
) -> None:
    break_row(box, table, match, actions)
    report = vlab.verify()
    assert not report.ok
    assert report.differ
    assert broken_expectations(report) == broken


def test_verify_names_the_sender_the_receiver_and_the_port_of_a_leak(vlab: RunningLab, break_row: Break) -> None:
    break_row("esx1", 30, f"reg0=0xa,{TO_ALL}", LEAK)
    report = vlab.verify()
    leaks = {(d.sender, d.receiver, d.port) for d in report.differ if d.observed > d.predicted}
    assert leaks == {(f"{web}.eth0", "db1.eth0", "esx1:db1.eth0") for web in ("web1", "web2")}
    isolate, reach_web, reach_db = report.expectations
    assert (isolate.holds, reach_web.holds, reach_db.holds) == (False, True, True)
    assert isolate.broken == ("web1.eth0 -> db1.eth0", "web2.eth0 -> db1.eth0")


def test_where_sees_a_row_that_is_wrong(vlab: RunningLab, break_row: Break) -> None:
    assert vlab.where("web1", "web2", dst_mac="broadcast").agrees
    break_row("esx1", 30, f"reg0=0xa,{TO_ALL}", LEAK)
    broken = vlab.where("web1", "web2", dst_mac="broadcast", count=1)
    assert (broken.disposition, broken.agrees) == ("delivered", False)
    assert broken.differences == ("frame 0: seen 1 more than predicted at esx1:db1.eth0 VnicOut (db1)",)


ASKED = ["verify", "where --from web1 --to web2 --dst-mac broadcast"]


@pytest.mark.parametrize("words", ASKED, ids=["verify", "where"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "broken"])
def test_the_exit_code_says_whether_it_is_as_predicted(
    vlab: RunningLab, break_row: Break, words: str, whole: bool
) -> None:
    if not whole:
        break_row("esx1", 30, f"reg0=0xa,{TO_ALL}", LEAK)
    argv = [sys.executable, "-m", "lab.cli", *words.split(), "--lab", vlab.name, "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    said = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0 if whole else 1, "")
    assert bool(said["differ" if words == "verify" else "differences"]) is not whole


def dumpcap_of(lab: RunningLab, node: str) -> int:
    """The machine's process id of the dumpcap that runs in a node of this lab."""
    namespace = lab.exec(node, "readlink", "/proc/self/ns/net").stdout.strip()
    for directory in Path("/proc").iterdir():
        try:
            if (directory / "comm").read_text() == "dumpcap\n" and str((directory / "ns/net").readlink()) == namespace:
                return int(directory.name)
        except OSError:
            continue
    raise AssertionError(f"no dumpcap in {node}")


@pytest.mark.parametrize("node", ["esx1", "tor1"])
def test_a_capture_that_ended_early_is_no_evidence(vlab: RunningLab, node: str) -> None:
    stopped: list[int] = []

    def stop_dumpcap(*_: object) -> None:
        if not stopped:
            stopped.append(dumpcap_of(vlab, node))
            os.kill(stopped[0], signal.SIGKILL)

    with pytest.raises(CannotTell):
        verify(vlab.client, None, stop_dumpcap)
    assert stopped
    assert vlab.client.ask("status")["captures"] == []


def test_a_cable_that_is_pulled_is_where_the_frame_ends(vlab: RunningLab) -> None:
    vlab.link("esx1:vmnic0", up=False)
    try:
        answer = vlab.where("web1", "web2")
        assert answer.disposition in ("dropped", "lost")
        assert answer.ending is not None
        assert answer.ending.reason in (DropReason.LINK_DOWN, DropReason.NO_UPLINK)
        assert answer.ending.box == "esx1"
    finally:
        vlab.link("esx1:vmnic0", up=True)
    assert vlab.where("web1", "web2").disposition == "delivered"


def test_a_capture_that_somebody_ended_politely_is_no_evidence_either(
    vlab: RunningLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vlab.verify().ok
    settle = Campaign.settle

    def settle_and_end_one(running: Campaign) -> None:
        settle(running)
        os.kill(dumpcap_of(vlab, "tor1"), signal.SIGTERM)
        wait_until(lambda: not vlab.client.ask("capture_alive", number=running.number), "the end of dumpcap")

    monkeypatch.setattr(Campaign, "settle", settle_and_end_one)
    with pytest.raises(CannotTell, match="ended by somebody else"):
        vlab.verify()


def test_what_a_capture_lost_is_known_without_its_last_words(vlab: RunningLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """`where` keeps no files, so dumpcap is not asked to stop: the kernel tells what its sockets had no room for."""
    assert vlab.where("web1", "web2").agrees
    settle = Campaign.settle
    web1 = places_of(vlab.client.topology)["web1.eth0"]
    noise = build(FrameSpec(web1.mac, "ff:ff:ff:ff:ff:ff", min_size=1400))

    def flood_and_settle(running: Campaign) -> None:
        deaf = dumpcap_of(vlab, "tor1")
        os.kill(deaf, signal.SIGSTOP)
        running.send([{"node": "web1", "interface": "eth0", "frames": [noise.hex()], "count": 6000}])
        os.kill(deaf, signal.SIGCONT)
        settle(running)

    monkeypatch.setattr(Campaign, "settle", flood_and_settle)
    with pytest.raises(CannotTell, match=r"the capture lost frames: \d+ at tor1"):
        vlab.where("web1", "web2")
