"""Every hash that a LAG may have, on whole and broken headers: rows and prediction choose the same member."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import get_args

import pytest

from lab.frame import Frame
from lab.plan import compile_plan
from lab.teaming import initial_state, settled
from lab.topology import read_topology
from lab.topology.schema import LagHash

from .frames import ETHERTYPES
from .offline import Offline
from .opinions import walk
from .payloads import draw_payload
from .strategies import Case, Dice

FRAMES = 60
TOPOLOGY = """
name: hashes
release: "5.5"
physical_switches: {tor1: {}}
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: tor1, channel: 1, lacp: active}
      vmnic1: {switch: tor1, channel: 1, lacp: active}
      vmnic2: {switch: tor1, channel: 1, lacp: active}
distributed_switches:
  dvs0:
    lags: {lag1: {uplinks: {esx1: [vmnic0, vmnic1, vmnic2]}, hash: HASH}}
    port_groups:
      web: {vlan: 10, security: {forged_transmits: accept}, teaming: {active: [lag1], standby: []}}
      trunk: {vlan: [0-4094], security: {forged_transmits: accept}, teaming: {active: [lag1], standby: []}}
vms: {vm1: {host: esx1, networks: [web]}, vm2: {host: esx1, networks: [trunk]}, vm3: {host: esx1, networks: [web]}}
"""


class Thrown(Dice):
    """The same numbers every time, without Hypothesis."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


@pytest.mark.parametrize("name", get_args(LagHash))
def test_lacp_4_every_hash_of_a_lag(switches: Offline, name: str) -> None:
    dice, text = Thrown(name), TOPOLOGY.replace("HASH", name)
    topology = read_topology(text, "hashes.yaml")
    members = frozenset(("esx1", f"vmnic{n}") for n in range(3))
    state = settled(topology, replace(initial_state(topology), lag_members=members))
    shots = []
    for _ in range(FRAMES):
        src, dst = f"00:50:56:3f:{dice.number(0, 9)}0:{dice.number(10, 99)}", f"00:50:56:3e:00:{dice.number(10, 99)}"
        kind = dice.pick(ETHERTYPES)
        shots.append((f"vm{dice.number(1, 3)}.eth0", Frame(src, dst, (), kind, draw_payload(dice, kind, src, dst))))
    case = Case(text, topology, state, tuple(shots))
    switches.load(compile_plan(topology, state))
    steps = list(walk(switches, case))
    chosen = {hop.interface for step in steps for hop in step.prediction.hops if hop.interface.startswith("vmnic")}
    assert len(steps) == FRAMES
    assert name == "vlan" or len(chosen) > 1
