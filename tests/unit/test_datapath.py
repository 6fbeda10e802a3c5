"""Which datapath a lab gets, and which rows the kernel's has besides."""

from __future__ import annotations

import pytest

from lab.errors import MachineLacks, UsageError
from lab.lifetime import datapath_named, distance_named
from lab.plan.types import Row
from lab.realise.kernel_rows import for_kernel
from lab.realise.longwire import wire_class

CASES = [
    ("auto", None, "user"), ("auto", "", "user"), ("auto", "kernel", "kernel"), ("auto", "user", "user"),
    ("user", "kernel", "user"), ("kernel", "user", "kernel"), ("kernel", None, "kernel"),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "environment", "expected"), CASES)
def test_what_is_said_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, wanted: str, environment: str | None, expected: str
) -> None:
    monkeypatch.delenv("VLAB_DATAPATH", raising=False)
    if environment is not None:
        monkeypatch.setenv("VLAB_DATAPATH", environment)
    assert datapath_named(wanted) == expected


def test_a_datapath_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAB_DATAPATH", "kernal")
    with pytest.raises(UsageError, match="kernal"):
        datapath_named("auto")


def test_mir_3_the_kernel_cuts_a_tagged_copy_without_its_tag() -> None:
    plain = Row(30, 50, "reg6=0x1,reg7=0x3", "clone(output(port=3,max_len=128)),note:00", "MIR-3")
    tagged = Row(30, 51, "reg6=0x1,reg7=0x3,vlan_tci=0x1000/0x1000", plain.actions.replace("128", "124"), "MIR-3")
    assert for_kernel([plain]) == (plain, tagged)


def test_a_row_that_does_not_cut_is_the_same_for_the_kernel() -> None:
    rows = (Row(30, 50, "reg6=0x1", "output:3", "MIR-3"), Row(0, 0, "", "drop"))
    assert for_kernel(rows) == rows


DISTANCES = [
    ("auto", None, "auto"), ("auto", "wire", "wire"), ("auto", "netem", "netem"), ("wire", "netem", "wire"),
    ("netem", "wire", "netem"),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "environment", "expected"), DISTANCES)
def test_a_distance_that_is_said_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, wanted: str, environment: str | None, expected: str
) -> None:
    monkeypatch.delenv("VLAB_DISTANCE", raising=False)
    if environment is not None:
        monkeypatch.setenv("VLAB_DISTANCE", environment)
    assert distance_named(wanted) == expected


def test_what_does_no_distance_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAB_DISTANCE", "netm")
    with pytest.raises(UsageError, match="netm"):
        distance_named("auto")


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
