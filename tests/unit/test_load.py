"""Scenario files, what iperf3 says, and the verdict on what was measured; no flow runs here."""

from __future__ import annotations

from typing import Any

import pytest

from lab.answers.load import scenario_of
from lab.errors import TopologyError
from lab.report.nioc import Verdict, exit_code, judge
from lab.topology import read_topology
from traffic.load import Flow, _heard, client, server

RIGHT = "seconds: 3\nflows:\n  - {from: a, to: b}\n  - {from: a, to: c, protocol: udp, rate: 1G, seconds: 2}\n"
WRONG = [
    ("flows: []", "needs at least 1"),
    ("flows: [{from: a, to: b, protocol: udp}]", "UDP without a rate"),
    ("flows: [{from: a, to: b, size: 100}]", "size is for UDP"),
    ("flows: [{from: a}]", "'to' is missing"),
    ("flows: [{from: a, to: b, protocol: sctp}]", "'sctp' is not one of"),
    ("flows: [{from: a, to: b, rate: fast}]", "'fast' is not a rate"),
    ("seconds: 0\nflows: [{from: a, to: b}]", "out of range"),
    ("- 1", "no mapping"),
    ("flows: [", "not YAML"),
]


@pytest.mark.parametrize(("text", "what"), WRONG)
def test_a_mistake_in_a_scenario_is_told_with_its_line(text: str, what: str) -> None:
    assert [flow.seconds for flow in scenario_of(RIGHT, "f").flows] == [None, 2]
    with pytest.raises(TopologyError) as refused:
        scenario_of(text, "f")
    assert what in str(refused.value) and str(refused.value).startswith("f:")


TCP = """\
[  5]   0.00-1.00   sec  1.10 MBytes  9200 Kbits/sec
[  5]   1.00-2.00   sec  1.20 MBytes  9400 Kbits/sec
[  5]   2.00-2.04   sec  10.0 KBytes  2000 Kbits/sec
- - - - -
[  5]   0.00-2.04   sec  2.30 MBytes  9300 Kbits/sec                  receiver
"""
UDP = "[  5]   0.00-2.04   sec   259 KBytes  1040 Kbits/sec  10.5 ms  520/710 (73%)  receiver\n"
TWO = "[  5]   0.00-1.00   sec  1.0 MBytes  100 Kbits/sec\n[SUM]   0.00-1.00   sec  2.0 MBytes  200 Kbits/sec\n"


def test_what_an_iperf3_server_says_is_read() -> None:
    heard = _heard(TCP, 1)
    assert (heard.rates, heard.final, heard.lost) == ([9.2e6, 9.4e6], 9.3e6, None)
    heard = _heard(UDP, 1)
    assert (heard.final, heard.lost, heard.datagrams) == (1.04e6, 520, 710)
    assert _heard(TWO, 2).rates == [2e5] and _heard("no such line\n", 1).final is None


def test_streams_share_the_rate() -> None:
    flow = Flow("a -> b", "a", "10.0.0.1", "b", "10.0.0.2", "udp", rate=4e6, streams=4, size=1000, seconds=2)
    assert " -u -b 1000000 -l 1000" in " ".join(client(flow)) and "-P 4" in " ".join(client(flow))
    assert "-B 10.0.0.2" in " ".join(server(flow))


TOPOLOGY = read_topology(
    "name: lab\nphysical_switches: {tor1: {}}\nhosts: {esx1: {uplinks: {vmnic0: {switch: tor1}}}}\n"
    "distributed_switches: {dvs0: {uplinks: {esx1: [vmnic0]}, network_io_control: {}}}\n",
    "f",
)
LINK = 100e6


def measured(idle: float, **types: tuple[float, int]) -> dict[str, Any]:
    """Type -> (Mbit/s, frames dropped), all with 50 shares."""
    classes = [{"label": "link", "minor": 1, "parent": 0, "shares": 0, "limit": LINK, "bytes": 0, "dropped": 0}]
    for minor, (name, (rate, dropped)) in enumerate(types.items(), start=16):
        one = {"label": name, "minor": minor, "parent": 1, "shares": 50, "limit": LINK, "waiting": 0.0}
        classes.append({**one, "bytes": rate * 1e6 / 8, "dropped": dropped})
    return {"seconds": 1.0, "idle": idle, "pnics": [
        {"host": "esx1", "pnic": "vmnic0", "capacity": LINK, "classes": [{"waiting": 0.0, **c} for c in classes]}
    ]}  # fmt: skip


JUDGED = [
    pytest.param(measured(0.5, nfs=(50, 9), vmotion=(49, 9)), Verdict.AGREES, 0, id="as it should be"),
    pytest.param(measured(0.0, nfs=(50, 9), vmotion=(50, 9)), Verdict.AGREES, 0, id="right on a busy machine"),
    pytest.param(measured(0.5, nfs=(60, 9), vmotion=(40, 9)), Verdict.DIFFERS, 1, id="wrong"),
    pytest.param(measured(0.0, nfs=(60, 9), vmotion=(40, 9)), Verdict.BUSY, 6, id="wrong on a busy machine"),
    pytest.param(measured(0.5, nfs=(20, 0), vmotion=(30, 0)), Verdict.NO_CONTENTION, 6, id="too little load"),
    pytest.param(measured(0.5, nfs=(0, 0), vmotion=(0, 0)), Verdict.IDLE, 6, id="no load"),
    pytest.param(measured(0.5, nfs=(20, 0), vmotion=(80, 9)), Verdict.AGREES, 0, id="one leaves some"),
]


@pytest.mark.parametrize(("answer", "verdict", "code"), JUDGED)
def test_a_measurement_is_judged_only_when_it_can_be(answer: dict[str, Any], verdict: Verdict, code: int) -> None:
    judged = judge(TOPOLOGY, answer)
    assert [one.verdict for one in judged] == [verdict]
    assert exit_code(judged) == code
