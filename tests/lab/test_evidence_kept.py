"""One folder for one answer: what Wireshark shows of it, and that it can be followed again without the lab."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import RunningLab

ROOT = Path(__file__).resolve().parents[2]
vlab_topology = ROOT / "topologies/vlan-isolation.yaml"


def vlab_cli(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab.cli", *words], cwd=ROOT, capture_output=True, text=True)


def test_an_answer_is_kept_whole_and_any_change_shows(vlab: RunningLab, tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    ask = ("where", "--lab", vlab.name, "--from", "web1", "--to", "web2", "--evidence", str(folder))
    done = vlab_cli(*ask, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "answer.json").read_text()) == json.loads(done.stdout)
    digest = done.stderr.split()[-1]
    assert vlab_cli("evidence", "verify", str(folder), "--manifest", digest).returncode == 0
    assert vlab_cli(*ask).returncode == 2  # never written over
    frames = folder / "frames.pcapng"
    argv = ["tshark", "-r", str(frames), "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "web1:eth0\tesx1 VnicTx eth0, hop 1, frame 1" in shown
    assert any(
        line.startswith("esx1:vmnic0\tesx1 UplinkSnd vmnic0, VLAN 10, hop 5, frame 1, decided") for line in shown
    )
    again = vlab_cli("where", str(vlab_topology), "--pcap", str(frames), "--json")
    assert {hop["point"] for t in json.loads(again.stdout)["trails"] for hop in t["hops"]} >= {"VnicTx", "VnicRx"}
    frames.write_bytes(frames.read_bytes().replace(b"VLABCNRY", b"VLABCNRX"))
    assert vlab_cli("evidence", "verify", str(folder)).returncode == 1


def test_a_baseline_tells_what_a_change_of_policy_did(vlab: RunningLab, tmp_path: Path) -> None:
    ask = ("where", "--lab", vlab.name, "--from", "web1", "--to", "web2")
    vlab_cli(*ask)  # the pSwitches know both now
    before = tmp_path / "before.json"
    before.write_text(vlab_cli(*ask, "--json").stdout)
    same = vlab_cli(*ask, "--baseline", str(before))
    assert (same.returncode, "nothing has changed" in same.stdout) == (0, True)
    vlab.set("vnic web2.eth0", "connected=false")
    told = vlab_cli(*ask, "--baseline", str(before), "--json")
    vlab.set("vnic web2.eth0", "connected=true")
    assert told.returncode == 1
    assert "disposition: was delivered, is dropped" in json.loads(told.stdout)["baseline"]["changes"]
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    assert vlab_cli(*ask, "--baseline", str(broken)).returncode == 2


def test_a_report_and_a_picture_of_a_running_lab(vlab: RunningLab, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = vlab_cli("report", "--lab", vlab.name, "--from", "web1", "--to", "web2", "-o", str(page))
    assert done.returncode == 0, done.stderr
    data = drawn_with(page)
    hops = data["trails"][0]["hops"]
    assert [hop["box"] for hop in hops if hop["x"] is None] == []
    assert hops[-1]["frame_was"] == "Delivered"
    assert "Ethernet" in {name for name, _ in data["frames"][hops[0]["frame"]]}
    assert 'title="web1.eth0 to web2.eth0">●' in page.read_text()
    assert vlab_cli("graph", "--lab", vlab.name).stdout.startswith("<svg")


def drawn_with(page: Path) -> dict[str, Any]:
    """What the page's script draws with."""
    data: dict[str, Any] = json.loads(page.read_text().partition('id="data">')[2].partition("</script>")[0])
    return data


def while_they_ping(lab: RunningLab, *words: str) -> int:
    """The exit code of a verb that watches, while web1 pings web2 twice."""
    argv = [sys.executable, "-m", "lab.cli", words[0], "--lab", lab.name, *words[1:], "--seconds", "1"]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline() == "watching\n"
        lab.exec("web1", "ping", "-c", "2", "-i", "0.2", lab.vm("web2").address)
        watching.communicate(timeout=60)
    return watching.returncode


def test_a_flow_and_its_evidence_are_one_page_with_both_directions(vlab: RunningLab, tmp_path: Path) -> None:
    vlab.exec("web1", "ping", "-c", "1", vlab.vm("web2").address)
    flow, folder = ("--flow", "src web1 dst web2 proto 1"), str(tmp_path / "case")
    live, kept = tmp_path / "live.html", tmp_path / "kept.html"
    assert while_they_ping(vlab, "report", *flow, "--no-matrix", "-o", str(live)) == 0
    assert while_they_ping(vlab, "where", *flow, "--evidence", folder) == 0
    assert vlab_cli("report", "--evidence", folder, "-o", str(kept)).returncode == 0
    titles = [[trail["title"] for trail in drawn_with(page)["trails"]] for page in (live, kept)]
    assert titles[0] == titles[1]
    assert [title.split(", ")[:2] for title in titles[0]] == [
        ["web1.eth0 → web2.eth0", "2 frames"],
        ["web2.eth0 → web1.eth0", "2 frames"],
    ]
    assert [frame[0][0] for frame in drawn_with(kept)["frames"]] == ["Ethernet"] * len(drawn_with(live)["frames"])
