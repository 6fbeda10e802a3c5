"""The kinds of way that `could_see` knows and test_exposure_done.py does not go: each is gone for real, and the named
remedy closes it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import RunningLab
from lab.frame import BROADCAST, Frame
from lab.observe.pcapng import CaptureFile
from lab.predict.passing import CouldSee
from lab.realise.run import wait_until
from lab.report.where import Answer
from traffic.canary import MAGIC

vlab_topology = "exposure-kinds.yaml"
TABLE = 16


@pytest.fixture(autouse=True)
def pswitches_know_everybody(vlab: RunningLab) -> None:
    learn(vlab, "victim", "remote", "gw", "spy")


def learn(lab: RunningLab, *names: str) -> None:
    """Both pSwitches know these, and nobody else."""
    for bridge in (b for b in lab.client.plan.bridges if b.node in ("tor1", "tor2")):
        lab.client.ask("mutate", box=bridge.node, switch=bridge.label, change="delete table=35")
    speak(lab, *names)


def speak(lab: RunningLab, *names: str) -> None:
    """They send, and both pSwitches have room to learn them."""

    def heard() -> bool:
        """A frame that a switch still passes by an old row of its cache teaches it nothing: they send again."""
        tables = [known(lab, switch) for switch in ("tor1", "tor2")]
        missing = [name for name in names if not all(lab.vm(name).mac in table for table in tables)]
        for name in missing:
            lab.send(name, name, dst_mac="broadcast")
        return not missing

    wait_until(heard, "what they have sent")


def known(lab: RunningLab, switch: str = "tor1") -> set[str]:
    return {mac for _, mac in lab.client.state().mac_tables[switch]}


def ask(lab: RunningLab, sender: str, to: str, count: int = 1, **how: object) -> Answer:
    answer = lab.where(sender, to, count=count, **how)  # type: ignore[arg-type]
    assert answer.agrees, answer.differences
    return answer


def way(answer: Answer, node: str, action: str) -> CouldSee | None:
    return next((e for e in answer.could_see if (e.node, e.action) == (node, action)), None)


def saw(answer: Answer, node: str) -> bool:
    return node in {seen.node for seen in answer.did_see}


@contextmanager
def remedied(lab: RunningLab, entry: CouldSee | None, before: str) -> Iterator[None]:
    """With what closes this way, as a user would type it; `before`: the value that was there."""
    assert entry is not None
    words = shlex.split(entry.closes)[2:]
    (change,) = (word for word in words if "=" in word)
    what = " ".join(word for word in words if "=" not in word)
    lab.set(what, change)
    try:
        yield
    finally:
        lab.set(what, f"{change.partition('=')[0]}={before}")


def inject(lab: RunningLab, node: str, *frames: Frame) -> None:
    place = lab.client.place(node)
    job = {"node": place.node, "interface": place.interface, "frames": [f.to_bytes().hex() for f in frames]}
    lab.client.ask("send", jobs=[job])


def flood(lab: RunningLab, node: str) -> None:
    """Twice as many made-up sources as the table has room for; what was known before has aged out."""
    learn(lab)
    sources = (f"00:1c:00:00:{n:02x}:00" for n in range(2 * TABLE))
    inject(lab, node, *(Frame(source, "00:1c:ff:ff:ff:ff", payload=bytes(46)) for source in sources))
    lab.where(node, "gw", count=1)  # what comes after them has come


def full(lab: RunningLab) -> None:
    wait_until(lambda: len(known(lab)) == TABLE, "a full MAC table")


@contextmanager
def listening(lab: RunningLab, node: str) -> Iterator[None]:
    lab.exec(node, "ip", "link", "set", "eth0", "promisc", "on")
    try:
        yield
    finally:
        lab.exec(node, "ip", "link", "set", "eth0", "promisc", "off")


def test_atk_7_a_guest_that_could_flood_the_pswitch_does_and_hears_what_is_not_for_its_host(vlab: RunningLab) -> None:
    assert way(ask(vlab, "gw", "remote"), "sniffer", "flood") is None  # it does not listen
    with listening(vlab, "sniffer"):
        before = ask(vlab, "gw", "remote")
        assert not saw(before, "sniffer")
        flood(vlab, "sniffer")
        full(vlab)
        assert saw(ask(vlab, "gw", "remote"), "sniffer")
        with remedied(vlab, way(before, "sniffer", "flood"), "accept"):
            flood(vlab, "sniffer")
            speak(vlab, "gw", "remote")
            assert not saw(ask(vlab, "gw", "remote"), "sniffer")


def test_atk_7_a_machine_that_could_flood_the_pswitch_does(vlab: RunningLab) -> None:
    before = ask(vlab, "gw", "victim")
    assert not saw(before, "spy")
    flood(vlab, "spy")
    full(vlab)
    flooded = ask(vlab, "gw", "victim")
    assert (saw(flooded, "spy"), flooded.flooded, before.flooded) == (True, True, False)
    with remedied(vlab, way(before, "spy", "flood"), ""):
        flood(vlab, "spy")
        speak(vlab, "gw", "victim")
        closed = ask(vlab, "gw", "victim")
        assert not saw(closed, "spy")
        assert way(closed, "spy", "flood") is None


def test_a_machine_that_could_take_over_the_receivers_mac_does(vlab: RunningLab) -> None:
    entry, stolen = way(ask(vlab, "victim", "gw"), "spy", "mac"), Frame(vlab.vm("gw").mac, BROADCAST)
    inject(vlab, "spy", stolen)
    place = (10, stolen.src)
    wait_until(lambda: vlab.client.state().mac_tables["tor1"][place] == "spy", "what the spy has sent")
    taken = ask(vlab, "victim", "gw")
    assert saw(taken, "spy")
    assert taken.disposition != "delivered"
    learn(vlab, "victim", "gw")
    assert not saw(ask(vlab, "victim", "gw"), "spy")  # once the receiver has sent, its frames are its own again
    with remedied(vlab, entry, "10"):
        inject(vlab, "spy", stolen)
        assert not saw(ask(vlab, "victim", "gw"), "spy")


def test_mir_5_of_three_frames_one_is_copied_and_the_others_could_have_been(vlab: RunningLab) -> None:
    answers = [ask(vlab, "victim", "gw") for _ in range(6)]
    copied = [saw(answer, "ids") for answer in answers]
    assert copied[:3] == copied[3:]
    assert sum(copied) == 2
    for answer, seen in zip(answers, copied, strict=True):
        assert (way(answer, "ids", "sampled") is None) is seen
    back = ask(vlab, "gw", "victim", count=3)  # what the source gets is not copied
    assert not saw(back, "ids")
    assert way(back, "ids", "sampled") is None


def test_mir_5_a_port_that_is_blocked_gets_no_sampled_copy(vlab: RunningLab) -> None:
    entry = next(filter(None, (way(ask(vlab, "victim", "gw"), "ids", "sampled") for _ in range(2))))
    with remedied(vlab, entry, "false"):
        closed = ask(vlab, "victim", "gw", count=3)
        assert not saw(closed, "ids")
        assert way(closed, "ids", "sampled") is None
    assert saw(ask(vlab, "victim", "gw", count=3), "ids")


def test_sec_2_vlan_11_a_trunk_that_could_listen_does(vlab: RunningLab) -> None:
    entry = way(ask(vlab, "victim", "gw"), "trunk", "promiscuous")
    assert entry is not None
    assert "VLAN-11" in entry.statements
    with listening(vlab, "trunk"):
        assert saw(ask(vlab, "victim", "gw"), "trunk")
        with remedied(vlab, entry, "accept"):
            assert not saw(ask(vlab, "victim", "gw"), "trunk")


def test_boxes_and_cables_on_the_way_see_it_and_no_others(vlab: RunningLab, tmp_path: Path) -> None:
    answer = ask(vlab, "remote", "victim", directory=tmp_path)
    now = [entry for entry in answer.could_see if not entry.after]
    cables = {end for e in now if e.action == "tap" for end in e.node.split(" - ")}
    boxes = {e.node for e in now if e.action == "capture"}
    assert cables == seen_between_boxes(vlab, tmp_path)
    assert boxes == {"esx2", "tor2", "tor1", "esx1"} == {end.partition(":")[0] for end in cables}
    spared = {e.node for e in answer.could_see if e.after}
    assert spared  # the other cable of esx1, and its failover path


def test_cables_that_a_broadcast_passes_are_told_and_have_it(vlab: RunningLab, tmp_path: Path) -> None:
    answer = vlab.where("remote", "victim", dst_mac="broadcast", count=1, directory=tmp_path)
    assert answer.agrees, answer.differences
    now = [e for e in answer.could_see if e.action == "tap" and not e.after]
    assert {end for e in now for end in e.node.split(" - ")} >= seen_between_boxes(vlab, tmp_path)
    assert [e for e in now if e.copy]


def seen_between_boxes(lab: RunningLab, directory: Path) -> set[str]:
    """`esx1:vmnic0`: the ends of cables between boxes whose captures have a canary."""
    plan, found = lab.client.plan, set()
    for node in (node for node in plan.nodes if node.is_box):
        ends = {end for cable in plan.cables for end in (cable.a, cable.b)}
        far = {c.a: c.b for c in plan.cables} | {c.b: c.a for c in plan.cables}
        with CaptureFile(directory / f"{node.id}.pcapng") as file:
            heard = {packet.interface for packet in file.find(MAGIC)}
        labels = {i.label for i in node.interfaces if i.name in heard and (node.name, i.label) in ends}
        found |= {f"{node.name}:{label}" for label in labels if plan.node_named[far[node.name, label][0]].is_box}
    return found
