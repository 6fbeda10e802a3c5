"""A VLAN that one uplink's trunk lacks: the wire does what `check` says, to whom it says, and when (ATK-15)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import RunningLab
from lab.frame import DropReason
from lab.topology import warnings

vlab_topology = "asymmetric.yaml"

ON_THE_HOST = [("left1", "right1"), ("right1", "left2")]


@pytest.fixture
def failed_over(vlab: RunningLab) -> Iterator[RunningLab]:
    """The uplink that carries the VLAN has lost its link; the other one is up all the time."""
    vlab.link("esx1:vmnic0", up=False)
    yield vlab
    vlab.link("esx1:vmnic0", up=True)


def reaches(lab: RunningLab, sender: str, receiver: str) -> bool:
    """As predicted, too. A frame that does not arrive was dropped by the pSwitch, because of its VLAN."""
    answer = lab.where(sender, receiver)
    assert answer.agrees, answer.differences
    if answer.ending is not None:
        assert (answer.ending.box, answer.ending.reason) == ("tor1", DropReason.PSWITCH_VLAN)
    return answer.disposition == "delivered"


def test_atk_15_check_says_who_is_cut_off_now_and_who_after_a_failover(vlab: RunningLab) -> None:
    (said,) = warnings(vlab.client.topology)
    assert said.endswith(
        "at esx1:vmnic1, unlike vmnic0: that cuts off right1.eth0 now, left1.eth0, left2.eth0 after a failover to it "
        "(ATK-15)"
    )


@pytest.mark.parametrize(("sender", "arrives"), [("left1", True), ("left2", True), ("right1", False)])
def test_atk_15_who_sends_on_the_uplink_that_lacks_the_vlan_is_cut_off(
    vlab: RunningLab, sender: str, arrives: bool
) -> None:
    assert reaches(vlab, sender, "far1") is arrives


@pytest.mark.parametrize("pair", ON_THE_HOST)
def test_atk_15_on_the_host_all_goes_on_which_hides_the_fault(failed_over: RunningLab, pair: tuple[str, str]) -> None:
    assert reaches(failed_over, *pair)


@pytest.mark.parametrize("sender", ["left1", "right1"])
def test_atk_15_after_a_failover_all_are_cut_off_although_a_link_is_up(failed_over: RunningLab, sender: str) -> None:
    assert failed_over.client.state().uplink_of["esx1", f"{sender}.eth0"] == "vmnic1"
    assert not reaches(failed_over, sender, "far1")
