"""What guests send by themselves is followed while it happens, and again in the files that were kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import RunningLab
from lab.answers.follow import follow
from lab.answers.wanted import Wanted, flow_wanted, token_wanted
from lab.errors import CannotTell
from lab.frame import Point
from lab.report.follow import Followed

ROOT = Path(__file__).resolve().parents[2]
vlab_topology = ROOT / "topologies/vlan-isolation.yaml"
TOKEN = "c0ffee00deadbeef"


def watch(lab: RunningLab, wanted: Wanted, what: Callable[[], object], directory: Path | None = None) -> Followed:
    return follow(lab.client, wanted, 0.1, directory, lambda: what() and None)


def ping(lab: RunningLab, count: int = 2) -> object:
    return lab.exec("web1", "ping", "-c", str(count), "-i", "0.2", lab.vm("web2").address)


def offline(*words: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run([sys.executable, "-m", "lab.cli", "where", *words, "--json"], cwd=ROOT, capture_output=True)
    return done.returncode, json.loads(done.stdout or b"{}")


def test_a_flow_is_followed_in_both_directions_live_and_in_the_files(vlab: RunningLab, tmp_path: Path) -> None:
    ping(vlab, 1)  # nobody asks for addresses any more, and the pSwitch knows both
    wanted = flow_wanted("src web1 dst web2 proto 1", vlab.client.places)
    told = watch(vlab, wanted, lambda: ping(vlab), tmp_path)
    ends = {(a.sender, a.receiver): (a.sent, a.disposition, a.agrees, len(a.trails)) for a in told.answers}
    assert ends[("web1.eth0", "web2.eth0")] == ends[("web2.eth0", "web1.eth0")] == (2, "delivered", True, 1)
    files = [str(path) for path in sorted(tmp_path.glob("*.pcapng"))]
    code, again = offline(str(vlab_topology), *(w for f in files for w in ("--pcap", f)), "--flow", "icmp")
    assert code == 0
    points = {tuple(hop["point"] for hop in trail["hops"]) for trail in again["trails"]}  # type: ignore[attr-defined]
    inner = (Point.DISPATCH, Point.PORT_OUTPUT)
    live = {tuple(h.point.value for h in a.trails[0].hops if h.point not in inner) for a in told.answers}
    assert points == live


def test_a_token_that_is_in_a_guest_already(vlab: RunningLab) -> None:
    send = f"printf '\\xc0\\xff\\xee\\x00\\xde\\xad\\xbe\\xef' > /dev/udp/{vlab.vm('web2').address}/9"
    vlab.client.ask("sink", node="web2")
    ping(vlab, 1)
    told = watch(vlab, token_wanted(TOKEN), lambda: vlab.exec("web1", "bash", "-c", send))
    (answer,) = told.answers
    assert (answer.sender, answer.receiver, answer.sent, answer.disposition) == (
        "web1.eth0",
        "web2.eth0",
        1,
        "delivered",
    )
    assert answer.agrees, answer.differences


def test_what_was_not_sent_is_not_told_to_be_nowhere(vlab: RunningLab) -> None:
    with pytest.raises(CannotTell, match="not seen on any wire"):
        watch(vlab, token_wanted(TOKEN), lambda: ping(vlab, 1))


def test_a_switch_that_leaks_is_found_in_a_flow_too(vlab: RunningLab) -> None:
    bridge = next(b for b in vlab.client.plan.bridges if b.node == "tor1")
    row = next(r for r in bridge.rows if r.table == 50 and r.match == "reg0=0xa")
    ping(vlab, 1)
    leak = row.text().replace("actions=", "actions=in_port,")
    vlab.client.ask("mutate", box="tor1", switch=bridge.label, change=f"add {leak}")
    try:
        told = watch(
            vlab, flow_wanted("src web1", vlab.client.places), lambda: vlab.send("web1", "web2", dst_mac="broadcast")
        )
        assert told.trails
        assert any(
            hop.point is Point.PSWITCH_SND and hop.interface == "esx1-vmnic0" for t in told.trails for hop in t.hops
        )
    finally:
        vlab.client.ask("mutate", box="tor1", switch=bridge.label, change=f"add {row.text()}")


def test_a_port_group_that_leaks_makes_a_flow_disagree(vlab: RunningLab) -> None:
    bridge = next(b for b in vlab.client.plan.bridges if b.node == "esx2")
    number, other = (bridge.port(f"{name}.eth0").number for name in ("web2", "db2"))
    row = next(r for r in bridge.rows if r.table == 60 and f"output:{number}" in r.actions)
    ping(vlab, 1)
    leak = row.text().replace(f"output:{number}", f"output:{other},output:{number}")
    vlab.client.ask("mutate", box="esx2", switch=bridge.label, change=f"add {leak}")
    try:
        told = watch(vlab, flow_wanted("src web1 dst web2", vlab.client.places), lambda: ping(vlab, 1))
        (answer,) = (a for a in told.answers if a.sender == "web1.eth0" and a.frame.ethertype == 0x0800)
        assert not told.agrees
        assert "db2" in {seen.node for seen in answer.did_see}
        assert [t.unexpected for t in answer.tally if t.key[1] == "db2"] == [1]
    finally:
        vlab.client.ask("mutate", box="esx2", switch=bridge.label, change=f"add {row.text()}")
