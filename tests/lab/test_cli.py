"""The command line from outside: exit codes, JSON documents, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import VERBS
from lab.running import RunningLab

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGIES = ROOT / "topologies"
TOPOLOGY = TOPOLOGIES / "vlan-isolation.yaml"
VLAB = [sys.executable, "-m", "lab.cli"]

vlab_topology = str(TOPOLOGY)


def vlab_run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


def document(*words: str) -> Any:
    """The one JSON document that a verb that succeeds prints, with nothing beside it."""
    done = vlab_run(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken.yaml"
    file.write_text(TOPOLOGY.read_text().replace("vlan: 20", "vlan: 5000").replace("host: esx2", "host: esx9"))
    return file


@pytest.mark.parametrize("verb", [*VERBS, ""], ids=[*VERBS, "vlab itself"])
def test_help_says_what_a_verb_does(verb: str) -> None:
    done = vlab_run(*filter(None, [verb]), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: vlab {verb}".rstrip())
    assert len(done.stdout.splitlines()) > 4


def test_help_lists_every_verb_with_a_line() -> None:
    lines = vlab_run("--help").stdout.splitlines()
    assert all(any(re.match(rf"  {verb} +\S.{{10}}", line) for line in lines) for verb in VERBS)


USAGE = [
    pytest.param(["chekc"], "no verb 'chekc' (did you mean 'check'?)", id="verb, nearly"),
    pytest.param(["xyzzy"], "no verb 'xyzzy' (vlab --help lists the verbs)", id="verb, unknown"),
    pytest.param(["check"], "Missing argument", id="argument missing"),
    pytest.param(["check", "--nope", str(TOPOLOGY)], "No such option", id="option, unknown"),
    pytest.param(["where", str(TOPOLOGY), "--lab", "x", "--from", "web1", "--to", "web2"],
                 "FILE or --lab, not both", id="two labs"),
    pytest.param(["predict", str(TOPOLOGY), "--from", "wbe1", "--to", "db1"], "did you mean web1?", id="VM, nearly"),
    pytest.param(["predict", str(TOPOLOGY), "--from", "web1", "--to", "db1", "--vlan", "4096"], "VID 0 to 4095",
                 id="tag, out of range"),
    pytest.param(["predict", str(TOPOLOGY), "--from", "web1", "--to", "db1", "--vlan", "ten"], "'ten' is no tag",
                 id="tag, no number"),
    pytest.param(["predict", str(TOPOLOGY), "--from", "web1", "--to", "db1", "--src-mac", "1:2"], "no MAC address",
                 id="MAC"),
    pytest.param(["status", "--lab", "no-such-lab"], "no lab named 'no-such-lab' is up", id="lab, unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), USAGE)
def test_a_mistake_of_the_caller_is_exit_2_on_stderr_without_a_traceback(words: list[str], said: str) -> None:
    done = vlab_run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


WRONG_FILE = [["check"], ["plan"], ["up"], ["verify"], ["predict", "--from", "web1", "--to", "db1"]]


@pytest.mark.parametrize("words", WRONG_FILE, ids=lambda words: words[0])
def test_a_wrong_file_is_exit_3_with_every_mistake_at_its_place(broken: Path, words: list[str]) -> None:
    done = vlab_run(words[0], str(broken), *words[1:])
    assert (done.returncode, done.stdout) == (3, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0] == f"{broken}:25:18: distributed_switches.dvs0.port_groups.db.vlan: " \
        "VLAN 5000 is out of range 0-4095"  # fmt: skip
    assert all(re.match(rf"{re.escape(str(broken))}:\d+:\d+: vms\.\w+\.host: .*esx9", line) for line in lines[1:])


def test_check_of_every_shipped_topology_is_silent_and_0() -> None:
    files = sorted(map(str, TOPOLOGIES.glob("*.yaml")))
    said = document("check", *files)
    assert said["schema"] == 1
    assert [file["file"] for file in said["files"]] == files
    assert all(file == {**file, "ok": True, "mistakes": [], "warnings": []} for file in said["files"])


def test_check_in_json_has_the_mistakes_of_the_bad_file_and_goes_on(broken: Path) -> None:
    done = vlab_run("check", str(broken), str(TOPOLOGY), "--json")
    assert done.returncode == 3
    bad, good = json.loads(done.stdout)["files"]
    assert (bad["ok"], good["ok"], good["mistakes"]) == (False, True, [])
    assert [set(mistake) for mistake in bad["mistakes"]] == [{"line", "column", "path", "what", "hint"}] * 3
    assert (bad["mistakes"][0]["line"], bad["mistakes"][0]["column"]) == (25, 18)


def test_check_in_text_counts_what_is_in_the_file() -> None:
    done = vlab_run("check", str(TOPOLOGY))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{TOPOLOGY}: vlan-isolation (vSphere 5.0): 2 hosts, 4 VMs, 4 vNICs, 1 pSwitches\n"


def test_plan_is_the_same_every_time_and_names_every_node() -> None:
    one, two = vlab_run("plan", str(TOPOLOGY)), vlab_run("plan", str(TOPOLOGY))
    assert (one.returncode, one.stderr, one.stdout) == (0, "", two.stdout)
    assert {"host esx1", "host esx2", "pswitch tor1", "vm web1"} <= set(one.stdout.splitlines())


def test_a_reader_that_has_gone_is_no_complaint() -> None:
    script = 'set -o pipefail; "$@" | head -1'
    argv = ["bash", "-c", script, "bash", *VLAB, "plan", str(TOPOLOGIES / "where-is-my-data.yaml")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("plan where-is-my-data\n", "")


@pytest.mark.parametrize("words", [["plan", str(TOPOLOGY)], ["--help"]], ids=["plan", "help"])
def test_a_reader_that_has_gone_is_no_difference_from_a_prediction(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        done = subprocess.run([*VLAB, *words], cwd=ROOT, stdout=gone, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (141, "")


LEFT_ASIDE = [
    pytest.param(["--pcap", "x.pcapng", "--from", "web1"], "do not go with --pcap", id="ends in files"),
    pytest.param(["--pcap", "x.pcapng", "--baseline", __file__], "do not go with --pcap", id="baseline of files"),
    pytest.param(["--flow", "icmp", "--baseline", __file__], "do not go with --flow", id="baseline of a flow"),
    pytest.param(["--token", "c0ffee00", "--to", "web2"], "do not go with --flow and --token", id="end of a token"),
    pytest.param(["--self-test", "--baseline", __file__], "do not go with --self-test", id="baseline of a self-test"),
    pytest.param(["--self-test", "--pcap", "x.pcapng"], "--self-test is of a lab", id="self-test of files"),
]


@pytest.mark.parametrize(("words", "said"), LEFT_ASIDE)
def test_where_refuses_an_option_that_it_would_leave_aside(words: list[str], said: str) -> None:
    done = vlab_run("where", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_schema_is_a_json_schema_that_the_shipped_files_use_the_words_of() -> None:
    done = vlab_run("schema")
    schema = json.loads(done.stdout)
    assert (done.returncode, schema["type"]) == (0, "object")
    assert {"hosts", "vms", "physical_switches", "distributed_switches", "expect"} <= set(schema["properties"])


HOP = {"hop", "box", "point", "direction", "interface", "node", "switch", "medium", "vlans", "pcp", "src", "dst",
       "in_clear", "evidence", "time_ns", "reason", "statements", "observation", "macs_rewritten", "policy",
       "encapsulation", "port_group"}  # fmt: skip
PREDICTIONS = [
    pytest.param("web1", "web2", [], "delivered", None, id="delivered"),
    pytest.param("web1", "db2", [], "dropped", "VlanTag Mismatch", id="other VLAN"),
    pytest.param("web1", "web2", ["--vlan", "10", "--vlan", "20"], "dropped", "Double Tag", id="double tag"),
]


@pytest.mark.parametrize(("sender", "receiver", "words", "disposition", "reason"), PREDICTIONS)
def test_predict(sender: str, receiver: str, words: list[str], disposition: str, reason: str | None) -> None:
    said = document("predict", str(TOPOLOGY), "--from", sender, "--to", receiver, *words)
    assert set(said) == {"schema", "from", "to", "disposition", "predicted", "exposure"}
    assert (said["schema"], said["from"], said["to"]) == (1, f"{sender}.eth0", f"{receiver}.eth0")
    assert (said["disposition"], said["predicted"][-1]["reason"]) == (disposition, reason)
    assert {frozenset(hop) for hop in said["predicted"]} == {frozenset(HOP)}
    assert [hop["hop"] for hop in said["predicted"]] == list(range(1, len(said["predicted"]) + 1))


def test_where_in_json(vlab: RunningLab) -> None:
    said = document("where", "--lab", vlab.name, "--from", "web1", "--to", "web2")
    assert set(said) == {"schema", "from", "to", "frame", "sent", "disposition", "flooded", "reason", "dropped_at",
                         "trails", "predicted", "agrees", "differences", "exposure", "statements",
                         "three_way"}  # fmt: skip
    assert set(said["frame"]) == {"src", "dst", "vlans", "pcp", "ethertype", "bytes"}
    assert (said["sent"], said["disposition"], said["agrees"], said["reason"]) == (3, "delivered", True, None)
    assert {frozenset(hop) for trail in said["trails"] for hop in trail["hops"]} == {frozenset(HOP)}
    assert sum(trail["count"] for trail in said["trails"]) >= 3
    assert set(said["exposure"]) == {"path", "did_see", "could_see", "in_clear"}
    assert said["exposure"]["path"] == ["web1", "esx1", "tor1", "esx2", "web2"]


def test_where_of_what_is_dropped_in_json(vlab: RunningLab) -> None:
    said = document("where", "--lab", vlab.name, "--from", "web1", "--to", "web2", "--vlan", "10", "--vlan", "20")
    assert (said["disposition"], said["reason"]) == ("dropped", "Double Tag")
    assert said["dropped_at"] == {"box": "esx1", "switch": "dvs0", "port": "web1.eth0"}


def test_verify_in_json(vlab: RunningLab) -> None:
    said = document("verify", "--lab", vlab.name)
    assert set(said) == {"schema", "pairs", "agree", "differ", "expectations", "canaries", "capture_loss", "seconds"}
    assert (said["pairs"], said["agree"], said["differ"], said["capture_loss"]) == (12, 12, [], 0)
    assert [(e["kind"], e["names"], e["holds"], e["broken"]) for e in said["expectations"]] == [
        ("isolate", ["web", "db"], True, []),
        ("reach", ["web1", "web2"], True, []),
        ("reach", ["db1", "db2"], True, []),
    ]


def test_send_in_json(vlab: RunningLab) -> None:
    said = document("send", "--lab", vlab.name, "--from", "web1", "--to", "web2", "--count", "5", "--rate", "100")
    assert set(said) == {"schema", "from", "sent", "seconds", "frames_per_second"}
    assert (said["from"], said["sent"]) == ("web1.eth0", 5)
    assert 0.03 < said["seconds"] < 5
    assert said["frames_per_second"] == pytest.approx(5 / said["seconds"])


def test_status_in_json_follows_a_link(vlab: RunningLab) -> None:
    said = document("status", "--lab", vlab.name)
    assert set(said) == {"schema", "name", "file", "since", "hosts", "vms", "datapath", "pid", "links_down",
                         "uplink_of", "ended", "captures",
                         "err_disabled", "discarding", "macs", "promiscuous", "copies_lost", "wires", "blocked",
                         "beacons_lost", "shotgun", "unstable", "lacp_silent", "deaf", "failed"}  # fmt: skip
    assert (said["links_down"], said["ended"], said["captures"]) == ([], {}, [])
    assert {"host": "esx1", "port": "web1.eth0", "uplink": "vmnic0", "uplinks": ["vmnic0"]} in said["uplink_of"]


def test_link_says_what_teaming_made_of_it(vlab: RunningLab) -> None:
    down = vlab_run("link", "--lab", vlab.name, "esx1:vmnic0", "down")
    pulled = document("status", "--lab", vlab.name)
    up = vlab_run("link", "--lab", vlab.name, "esx1:vmnic0", "up")
    assert (down.returncode, up.returncode) == (0, 0)
    assert "esx1:web1.eth0 sends on no uplink (was vmnic0)" in down.stdout
    assert pulled["links_down"] != []
    assert "esx1:web1.eth0 sends on vmnic0 (was none)" in up.stdout
    unknown = vlab_run("link", "--lab", vlab.name, "esx1:vmnic9", "down")
    assert (unknown.returncode, "did you mean esx1:vmnic0?" in unknown.stderr) == (2, True)


EXEC = [
    pytest.param(["web1", "--", "echo", "a b"], (0, "a b\n"), id="output"),
    pytest.param(["web1", "--", "sh", "-c", "exit 7"], (7, ""), id="exit code"),
    pytest.param(["web1", "echo", "--json", "-x"], (0, "--json -x\n"), id="options of the command"),
    pytest.param(["esx1", "--", "sh", "-c", "ip -o link show vmnic0 | grep -c LOWER_UP"], (0, "1\n"), id="in a host"),
    pytest.param(["tor1", "--", "sh", "-c", "ip -o link | grep -c esx.-vmnic0"], (0, "2\n"), id="in a pSwitch"),
]


@pytest.mark.parametrize(("words", "expected"), EXEC)
def test_exec_is_the_command_in_the_node(vlab: RunningLab, words: list[str], expected: tuple[int, str]) -> None:
    done = vlab_run("exec", "--lab", vlab.name, *words)
    assert (done.returncode, done.stdout) == expected


@pytest.mark.parametrize(("node", "code"), [("wbe1", 2), ("web1", 0)])
def test_exec_in_an_unknown_node_suggests_the_nearest(vlab: RunningLab, node: str, code: int) -> None:
    done = vlab_run("exec", "--lab", vlab.name, node, "--", "true")
    assert (done.returncode, "did you mean web1?" in done.stderr) == (code, bool(code))


@pytest.mark.parametrize(("words", "shown"), [([], False), (["--debug"], True)], ids=["usually", "--debug"])
def test_a_traceback_is_shown_only_with_debug(words: list[str], shown: bool) -> None:
    done = vlab_run(*words, "check", "/nonexistent.yaml")
    assert done.returncode in (2, 3)
    assert "/nonexistent.yaml" in done.stderr
    assert ("Traceback" in vlab_run(*words, "plan", "/nonexistent.yaml").stderr) is shown


def test_the_demo_answers_both_questions_and_leaves_its_captures(tmp_path: Path) -> None:
    done = vlab_run("demo", "-d", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stderr
    assert "delivered to web2.eth0" in done.stdout and "ordered vNIC pairs as predicted" in done.stdout
    for question in ("where", "verify"):
        assert {"esx1.pcapng", "tor1.pcapng"} <= {path.name for path in (tmp_path / "kept" / question).iterdir()}
