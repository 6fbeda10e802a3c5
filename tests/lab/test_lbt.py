"""Load-Based Teaming with uplinks of two speeds, and what it leaves alone."""

from __future__ import annotations

from contextlib import closing
from threading import Thread

from lab import RunningLab
from lab.client import LabClient
from lab.realise.run import wait_until

vlab_topology = "lbt.yaml"


def load(lab: RunningLab, sender: str, to: str, megabits: float, seconds: float) -> Thread:
    """Frames of 1,000 bytes at this rate for so long, from now on."""
    rate = megabits * 1e6 / 8000

    def send() -> None:
        with closing(LabClient(lab.client.directory)) as own:
            how = {"dst_mac": lab.vm(to).mac, "kind": "raw", "size": 1000}
            RunningLab(own).send(sender, count=round(rate * seconds), rate=rate, **how)  # type: ignore[arg-type]

    lab.client.ask("lbt", threshold=0.75, period=30)  # a window begins now
    thread = Thread(target=send)
    thread.start()
    return thread


def on(lab: RunningLab, port: str) -> str | None:
    return lab.client.state().uplink_of["esx1", port]


def moves(lab: RunningLab) -> list[dict[str, object]]:
    return [event for event in lab.client.ask("events") if event["event"] == "lbt"]


def test_lbt_6_lbt_7_a_vmkernel_port_moves_to_the_faster_uplink(vlab: RunningLab) -> None:
    assert (on(vlab, "vmk1"), on(vlab, "second.eth0")) == ("vmnic0", "vmnic1")
    vlab.send("gw", dst_mac="broadcast", kind="raw")
    stream = load(vlab, "esx1.vmk1", "gw", 8.2, 7)  # 82 % of vmnic0; of vmnic1 it is 41 %
    wait_until(lambda: on(vlab, "vmk1") == "vmnic1", "a move", 9)
    stream.join()
    assert len(moves(vlab)) == 1


def test_lbt_9_overload_by_what_is_received_is_relieved_too(vlab: RunningLab) -> None:
    assert on(vlab, "third.eth0") == "vmnic0"
    vlab.send("third", dst_mac="broadcast", kind="raw")
    before, mac = len(moves(vlab)), vlab.vm("third").mac
    stream = load(vlab, "gw", "third", 8.2, 7)
    wait_until(lambda: on(vlab, "third.eth0") == "vmnic1", "a move", 9)
    with vlab.capture("esx1:vmnic0", "esx1:vmnic1") as seen:
        stream.join()
    assert len(moves(vlab)) == before + 1
    came = {p.interface for p in seen.packets if p.data[:6].hex(":") == mac}
    assert came == {"vmnic1"}  # the pSwitch has learned from the RARP


def test_lbt_8_lbt_10_no_other_uplink_no_move_and_standby_takes_no_part(vlab: RunningLab) -> None:
    assert on(vlab, "only.eth0") == "vmnic0"
    before = len(moves(vlab))
    stream = load(vlab, "only", "gw", 8.2, 7)
    seen = vlab.client.ask("lbt")["windows"]
    wait_until(lambda: vlab.client.ask("lbt")["windows"] != seen, "a window", 9)
    (window,) = vlab.client.ask("lbt")["windows"]
    stream.join()
    assert {u["uplink"]: u["share"] > 0.75 for u in window["uplinks"]} == {
        "vmnic0": True,
        "vmnic1": False,
        "vmnic2": False,
    }
    assert (on(vlab, "only.eth0"), len(moves(vlab))) == ("vmnic0", before)
