"""The shipped where-is-my-data.yaml: an answer is about the receiver, also when other copies go elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import RunningLab
from lab.frame import DropReason, Point

vlab_topology = Path(__file__).resolve().parents[2] / "topologies/where-is-my-data.yaml"


@pytest.mark.parametrize(("to", "box"), [("db1", "esx1"), ("db2", "esx2")], ids=["on the same host", "on another"])
def test_an_answer_ends_at_the_receivers_port_and_not_where_some_copy_does(vlab: RunningLab, to: str, box: str) -> None:
    answer = vlab.where("web1", to, count=1)
    assert answer.agrees, answer.differences
    end = answer.ending
    assert end is not None
    assert (end.box, end.interface, end.port_group) == (box, f"{to}.eth0", "dvs0/db")
    assert (end.reason, end.statements) == (DropReason.VLAN_MISMATCH, ("VLAN-4",))
    assert {hop.box for hop in answer.trails[0].hops} <= set(answer.path)


def test_each_hop_at_a_port_names_its_port_group(vlab: RunningLab) -> None:
    answer = vlab.where("web1", "web2", count=1)
    assert answer.disposition == "delivered"
    named = {hop.point for hop in answer.trails[0].hops if hop.port_group == "dvs0/web"}
    assert {Point.PORT_INPUT, Point.UPLINK_SND, Point.VNIC_OUT} <= named
    assert not named & {Point.UPLINK_RCV, Point.PSWITCH_RCV, Point.PSWITCH_SND}
