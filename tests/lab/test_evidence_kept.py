"""One folder for one answer: what Wireshark shows of it, and that it can be followed again without the lab."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
    data = json.loads(page.read_text().partition('id="data">')[2].partition("</script>")[0])
    hops = data["trails"][0]["hops"]
    assert [hop["box"] for hop in hops if hop["x"] is None] == []
    assert hops[-1]["frame_was"] == "Delivered"
    assert "Ethernet" in {name for name, _ in data["frames"][hops[0]["frame"]]}
    assert 'title="web1.eth0 to web2.eth0">●' in page.read_text()
    assert vlab_cli("graph", "--lab", vlab.name).stdout.startswith("<svg")
