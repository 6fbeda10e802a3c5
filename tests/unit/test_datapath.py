"""Which datapath a lab gets, which rows the kernel's has besides, and what its distances are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import MachineLacks, UsageError
from lab.lifetime import datapath_named, distance_named
from lab.plan.types import Row
from lab.realise.kernel_rows import for_kernel
from lab.realise.longwire import wire_class
from lab.realise.ovs import OpenVSwitch

DATAPATH, DISTANCE = (datapath_named, "VLAB_DATAPATH"), (distance_named, "VLAB_DISTANCE")
CASES = [
    (DATAPATH, "auto", None, "user"), (DATAPATH, "auto", "", "user"), (DATAPATH, "auto", "kernel", "kernel"),
    (DATAPATH, "auto", "user", "user"), (DATAPATH, "user", "kernel", "user"), (DATAPATH, "kernel", "user", "kernel"),
    (DATAPATH, "kernel", None, "kernel"),
    (DISTANCE, "auto", None, "auto"), (DISTANCE, "auto", "wire", "wire"), (DISTANCE, "auto", "netem", "netem"),
    (DISTANCE, "wire", "netem", "wire"), (DISTANCE, "netem", "wire", "netem"),
]  # fmt: skip
Choice = tuple[Callable[[str], str], str]


@pytest.mark.parametrize(("choice", "wanted", "environment", "expected"), CASES)
def test_what_is_said_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, choice: Choice, wanted: str, environment: str | None, expected: str
) -> None:
    named, variable = choice
    monkeypatch.delenv(variable, raising=False)
    if environment is not None:
        monkeypatch.setenv(variable, environment)
    assert named(wanted) == expected


@pytest.mark.parametrize(("choice", "wrong"), [(DATAPATH, "kernal"), (DISTANCE, "netm")])
def test_what_is_no_choice_is_refused(monkeypatch: pytest.MonkeyPatch, choice: Choice, wrong: str) -> None:
    named, variable = choice
    monkeypatch.setenv(variable, wrong)
    with pytest.raises(UsageError, match=f"{wrong}.*{variable}"):
        named("auto")


def test_mir_3_the_kernel_cuts_a_tagged_copy_without_its_tag() -> None:
    plain = Row(30, 50, "reg6=0x1,reg7=0x3", "clone(output(port=3,max_len=128)),note:00", "MIR-3")
    tagged = Row(30, 51, "reg6=0x1,reg7=0x3,vlan_tci=0x1000/0x1000", plain.actions.replace("128", "124"), "MIR-3")
    assert for_kernel([plain]) == (plain, tagged)


def test_a_row_that_does_not_cut_is_the_same_for_the_kernel() -> None:
    rows = (Row(30, 50, "reg6=0x1", "output:3", "MIR-3"), Row(0, 0, "", "drop"))
    assert for_kernel(rows) == rows


@pytest.mark.parametrize(("wanted", "lack", "by"), [
    ("auto", None, "netem"), ("auto", "no netem", "userspace wire"), ("wire", None, "userspace wire"),
    ("netem", None, "netem"),
])  # fmt: skip
def test_a_distance_is_the_kernels_where_a_try_works(
    monkeypatch: pytest.MonkeyPatch, wanted: str, lack: str | None, by: str
) -> None:
    monkeypatch.setattr("lab.realise.netlink_netem.why_not", lambda: lack)
    assert wire_class(wanted).by == by


def test_netem_that_is_asked_for_and_not_there_is_what_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.realise.netlink_netem.why_not", lambda: "no such thing")
    with pytest.raises(MachineLacks, match="no such thing"):
        wire_class("netem")


MOST_OF_A_ROW = "duration=22s, n_packets=0, n_bytes=0, priority=50"
LEARNED_ROWS = [
    f"table_id=35, {MOST_OF_A_ROW},reg0=0xa,dl_dst=00:50:56:00:00:01,actions=load:0x2->NXM_NX_REG5[0..15]",
    f"cookie=0x1ea00000000, table_id=35, {MOST_OF_A_ROW},reg0=0xa,dl_dst=00:50:56:00:00:01,"
    "actions=load:0x2->NXM_NX_REG5[0..15]",
]
"""As Open vSwitch 3.1 and 3.5 print it."""


@pytest.mark.parametrize("row", LEARNED_ROWS, ids=["3.1", "3.5"])
def test_what_a_switch_has_learned_is_read_of_either_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, row: str
) -> None:
    switch = OpenVSwitch(0, tmp_path, "user")
    others = "table_id=32, duration=31s, n_packets=1, priority=10,actions=goto_table:40\n"
    monkeypatch.setattr(switch, "appctl", lambda *_: f"{others}{row}\n{others}")
    assert switch.mac_table("tor1") == [(2, 10, "00:50:56:00:00:01")]
