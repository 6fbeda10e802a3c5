"""Chassis drawn: one module, mapped or tunnelled, into which some pNICs are plugged instead of a pSwitch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .strategies import Dice

Section = dict[str, Any]
VLANS: dict[str, list[int | str]] = {"a": [10, "100-103"], "b": [20], "c": [1, "30-31"]}
MODULE = "bay1"


def draw_chassis(dice: Dice, doc: Section) -> None:
    """pNICs that are in no channel may become pvNICs, each of a physical port of its own."""
    switches = list(doc["physical_switches"])
    names = [f"X{n}" for n in range(1, dice.number(1, 3) + 1)]
    tunnelled = dice.chance(35)
    module: Section = {"mode": "tunnelled"} if tunnelled else {}
    module["uplinks"] = {name: _uplink(dice, switches) for name in names}
    networks: dict[str, Section] = {"all": {}} if tunnelled else {n: {"vlans": v} for n, v in VLANS.items()}
    for network in networks.values():
        network["uplinks"] = dice.some(names, 70)[:: dice.pick((1, -1))]
    module["networks"] = networks
    chassis: Section = {"modules": {MODULE: module}}
    if "sites" in doc:
        chassis["site"] = next(iter(doc["sites"]))
    doc["chassis"] = {"c7000": chassis}
    for host in doc["hosts"].values():
        for number, (pnic, spec) in enumerate(host["uplinks"].items(), start=1):
            if "channel" not in spec and dice.chance(60):
                host["uplinks"][pnic] = _pvnic(dice, number, tunnelled)


def _uplink(dice: Dice, switches: list[str]) -> Section:
    drawn: Section = {"switch": dice.pick(switches)}
    if dice.chance(20):
        drawn["trunk"] = dice.pick(([10], [10, 20], ["1-101"]))
    if dice.chance(45):
        drawn["native"] = dice.pick((1, 10, 20))
    return drawn


def _pvnic(dice: Dice, port: int, tunnelled: bool) -> Section:
    drawn: Section = {"switch": MODULE, "pvnic": f"{port}a"}
    if tunnelled:
        return drawn
    networks = dice.some(list(VLANS), 75) or ["a"]
    if dice.chance(45):
        drawn["native"] = {"a": 10, "b": 20, "c": 1}[dice.pick(networks)]
    return {**drawn, "networks": networks}
