"""Token buckets of ports, with real flows: rates are low, so that a busy machine does not change what is measured."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from lab import RunningLab
from lab.errors import UsageError

vlab_topology = "shaping.yaml"

SIZE = 1400
OF_FRAME = (SIZE + 42) / SIZE
AVERAGE = 1e6
"""100 Mbit/s as they are emulated."""
FREE = 2e6
TOLERANCE = 0.05


def flood(sender: str, receiver: str, rate: str = "400M") -> dict[str, object]:
    return {"from": sender, "to": receiver, "protocol": "udp", "rate": rate, "size": SIZE}


def rates(lab: RunningLab, *flows: Mapping[str, object], seconds: float = 3.0) -> dict[str, float]:
    """`sender -> receiver` -> bits/s of frames that arrived."""
    outcomes = lab.load(*flows, seconds=seconds)
    assert not [o.why for o in outcomes if o.why]
    return {o.flow.label.replace(".eth0", ""): o.received * OF_FRAME for o in outcomes}


FLOODED = (
    flood("a1", "m10"),
    flood("a2", "m10"),
    flood("esx1.vmk0", "m10"),
    flood("in1", "m20"),
    flood("m20", "out1"),
)
FREELY = (
    flood("m10", "a1", "200M"),
    flood("m20", "in1", "200M"),
    flood("out1", "m20", "200M"),
)
"""Not at the same time: what iperf3 has to say to its peer would be lost in the full queue of a shaped port."""
SHAPED = {
    "a1 -> m10": AVERAGE,
    "a2 -> m10": AVERAGE,
    "m10 -> a1": FREE,
    "esx1.vmk0 -> m10": AVERAGE,
    "in1 -> m20": AVERAGE,
    "m20 -> in1": FREE,
    "m20 -> out1": AVERAGE,
    "out1 -> m20": FREE,
}


@pytest.fixture(scope="module")
def all_at_once(launch_lab) -> dict[str, float]:  # type: ignore[no-untyped-def]
    lab = launch_lab(vlab_topology)
    return {**rates(lab, *FLOODED), **rates(lab, *FREELY)}


def near(rate: float, wanted: float) -> bool:
    return abs(rate / wanted - 1) <= TOLERANCE


def test_shp_01_a_standard_switch_limits_what_a_vm_sends_and_not_what_it_gets(all_at_once: dict[str, float]) -> None:
    assert near(all_at_once["a1 -> m10"], AVERAGE), all_at_once
    assert near(all_at_once["m10 -> a1"], FREE), all_at_once


def test_shp_02_the_limit_holds_between_two_vms_of_one_host(vlab: RunningLab) -> None:
    found = rates(vlab, flood("a1", "f1"), flood("f1", "a2", "200M"))
    assert near(found["a1 -> f1"], AVERAGE), found
    assert near(found["f1 -> a2"], FREE), found


def test_shp_03_each_port_of_a_shaped_port_group_has_the_whole_average(all_at_once: dict[str, float]) -> None:
    assert near(all_at_once["a1 -> m10"], AVERAGE) and near(all_at_once["a2 -> m10"], AVERAGE), all_at_once


@pytest.mark.parametrize("flow", ["in1 -> m20", "m20 -> in1", "m20 -> out1", "out1 -> m20"])
def test_shp_07_ingress_is_what_a_vm_sends_and_egress_what_it_gets(all_at_once: dict[str, float], flow: str) -> None:
    assert near(all_at_once[flow], SHAPED[flow]), all_at_once


def test_shp_08_vmkernel_ports_are_shaped_too(all_at_once: dict[str, float]) -> None:
    assert near(all_at_once["esx1.vmk0 -> m10"], AVERAGE), all_at_once


def received(lab: RunningLab, node: str) -> tuple[float, int]:
    """(s, bytes that its adapter has received)."""
    said = lab.exec(node, "cat", "/proc/net/dev").stdout
    (line,) = (line for line in said.splitlines() if line.strip().startswith("eth0:"))
    return time.monotonic(), int(line.split(":")[1].split()[0])


def test_shp_04_a_burst_goes_at_the_peak_until_the_bonus_is_used(vlab: RunningLab) -> None:
    """25 MB at 250 M over 50 M nominal: a bonus of 2.1 Mbit, gone after 1.05 s. A third more has been sent by then than
    the average would have allowed; what came in all says how long the burst was."""
    seconds = 4.0
    (outcome,) = vlab.load(flood("bonus1", "m20"), seconds=seconds)
    bonus = 25 * 1024**2 * 8 * 0.01
    sent = outcome.received * OF_FRAME * seconds
    length = (sent - 0.5e6 * seconds) / (2.5e6 - 0.5e6)
    assert length == pytest.approx(bonus / 2e6, rel=0.1), outcome
    assert outcome.each[-1] * OF_FRAME == pytest.approx(0.5e6, rel=TOLERANCE), outcome


def test_shp_05_a_peak_under_the_average_is_refused(vlab: RunningLab) -> None:
    with pytest.raises(UsageError, match="the peak 50M is under the average 100M"):
        vlab.set("port-group in", "shaping.ingress.peak=50M")
    vlab.set("port-group in", "shaping.ingress.peak=100M")


def test_shp_06_without_a_peak_above_the_average_the_burst_is_not_seen(vlab: RunningLab) -> None:
    vlab.set("port-group shaped", "shaping.outbound.burst=900MB")
    found = rates(vlab, flood("a1", "m10"))
    assert near(found["a1 -> m10"], AVERAGE), found


def test_shp_10_the_limit_is_the_same_by_whichever_uplink(vlab: RunningLab) -> None:
    uplink = vlab.client.state().uplink_of["esx1", "a1.eth0"]
    vlab.link(f"esx1:{uplink}", up=False)
    found = rates(vlab, flood("a1", "m10"))
    assert vlab.client.state().uplink_of["esx1", "a1.eth0"] != uplink
    vlab.link(f"esx1:{uplink}", up=True)
    assert near(found["a1 -> m10"], AVERAGE), found


def test_a_rate_that_is_changed_while_the_lab_runs_holds_at_once(vlab: RunningLab) -> None:
    vlab.set("vnic o1", "shaping.ingress.average=50M", "shaping.ingress.peak=50M")
    assert near(rates(vlab, flood("o1", "m20"))["o1 -> m20"], AVERAGE / 2)
    vlab.set("vnic o1", "shaping=")
    assert near(rates(vlab, flood("o1", "m20", "200M"))["o1 -> m20"], FREE)
