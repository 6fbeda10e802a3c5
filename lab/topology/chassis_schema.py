"""The grammar of blade chassis: modules, their networks and uplinks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from lab.topology.section import Section
from lab.topology.values import Name, RateValue, Trunk, Vid
from lab.units import Rate

_PVNIC = "[1-9][a-d]"


def _pvnic(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_PVNIC, value):
        raise ValueError(f"{value!r} is no pvNIC: a physical port and one of its four functions, such as 1a")
    return value


PvnicName = Annotated[str, PlainValidator(_pvnic), WithJsonSchema({"type": "string", "pattern": f"^{_PVNIC}$"})]
UplinkName = Annotated[str, Field(pattern=r"^X[0-9]{1,3}$")]


class ModuleUplinkSpec(Section):
    NOT_EMULATED = frozenset(("channel", "lacp"))
    switch: Name
    speed: RateValue = Rate(10**10)
    trunk: Trunk | None = None
    native: Vid | None = None


class ModuleNetworkSpec(Section):
    vlans: Trunk | None = None
    uplinks: list[UplinkName] = []
    smart_link: bool = False


class ModuleSpec(Section):
    NOT_EMULATED = frozenset(("stacking", "monitor"))
    mode: Literal["mapped", "tunnelled"] = "mapped"
    dcc: bool = True
    loop_protection: bool = True
    uplinks: dict[UplinkName, ModuleUplinkSpec] = {}
    networks: Annotated[dict[Name, ModuleNetworkSpec], Field(min_length=1)]


class ChassisSpec(Section):
    site: Name | None = None
    modules: Annotated[dict[Name, ModuleSpec], Field(min_length=1)]
