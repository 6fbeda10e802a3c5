"""The instrument tests itself, and each of its checks is shown to fail once."""

from __future__ import annotations

from pathlib import Path

from lab import RunningLab
from lab.answers import selftest
from lab.answers.selftest import self_test
from lab.frame import Frame, Hop, Point, Tag
from lab.observe.sightings import PointMap, Sighting
from lab.predict import Predictor

vlab_topology = Path(__file__).resolve().parents[2] / "topologies/trunk-vgt.yaml"


def test_a_healthy_lab_is_believed(vlab: RunningLab) -> None:
    checks = self_test(vlab.client)
    assert [(check.name, check.wrong) for check in checks if not check.ok] == []
    assert min(check.tried for check in checks) > 10


def test_a_point_where_nothing_arrives_is_deaf(vlab: RunningLab) -> None:
    bridge = next(b for b in vlab.client.plan.bridges if b.node == "tor1")
    rows = [row for row in bridge.rows if row.table == 0]
    for row in rows:
        match = f",{row.match}" if row.match else ""
        gone = f"delete_strict table=0,priority={row.priority}{match}"
        vlab.client.ask("mutate", box="tor1", switch=bridge.label, change=gone)
    try:
        deaf = self_test(vlab.client)[0]
    finally:
        for row in rows:
            vlab.client.ask("mutate", box="tor1", switch=bridge.label, change=f"add {row.text()}")
    assert not deaf.ok
    assert all("is deaf" in line for line in deaf.wrong)


def shot(vlab: RunningLab, vlans: tuple[Tag, ...]) -> selftest._Shot:
    place = vlab.client.place("trunk1")
    frame = Frame(place.mac, "ff:ff:ff:ff:ff:ff", vlans)
    foretold = Predictor(vlab.client.topology, vlab.client.state()).predict(place.label, frame)
    return selftest._Shot(place, b"t" * 16, 0, frame, foretold)


def test_a_tag_that_a_capture_loses_is_told(vlab: RunningLab) -> None:
    sent, points = shot(vlab, (Tag(10, 3, 0x88A8),)), PointMap.of(vlab.client.plan)
    for vlans, ok in ((sent.frame.vlans, True), ((Tag(10, 3),), False), ((Tag(10, 0, 0x88A8),), False), ((), False)):
        seen = Sighting(("trunk1", "eth0"), 1, Frame(sent.frame.src, sent.frame.dst, vlans), sent.token, 0)
        assert selftest._tags([sent], {(sent.token, 0): [seen]}, points).ok is ok


def test_a_direction_that_is_told_wrong_and_a_clock_that_runs_back(vlab: RunningLab) -> None:
    sent = shot(vlab, ())
    first, second = (hop._replace(time_ns=n) for n, hop in enumerate(sent.foretold.wire[:2]))
    key = (sent.token, 0)
    assert selftest._directions([sent], {key: [first, second]}).ok
    assert not selftest._directions([sent], {key: [first._replace(direction="in"), second]}).ok
    assert selftest._clocks({key: [first, second]}).ok
    assert not selftest._clocks({key: [first._replace(time_ns=9), second]}).ok
    assert isinstance(first, Hop)
    assert first.point is Point.VNIC_TX
