"""What a single value of the topology file may be: names, VLANs, addresses, rates, times, numbers.

A validator's ValueError is what the author of the file reads.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from lab.model import ALL_VLANS, VLAN_MAX, Ranges
from lab.topology.releases import RELEASES
from lab.units import Duration, Rate, Size

NAME_MAX = 80
DELAY_MAX = 2.0
MEMORY_MIN, MEMORY_MAX = 1024**2, 1024**3
LATER = "is not emulated by this version"
UNWRITTEN = "nothing was written after the colon"
_NAME = re.compile(r"[\w ._()#+-]+")
_RANGE = re.compile(r"([0-9]{1,4})-([0-9]{1,4})")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_VLAN_KEY = re.compile(r"[0-9]{1,4}")


class Refused(ValueError):
    """With a hint of its own."""

    def __init__(self, what: str, hint: str) -> None:
        self.hint = hint
        super().__init__(what)


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`; with `above` more than `low`. `kind` stands before it in a mistake."""

    low: float
    high: float
    kind: str = ""
    above: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "exclusiveMinimum" if self.above else "minimum": self.low, "maximum": self.high}

    def _check(self, value: float) -> float:
        if self.low <= value <= self.high and not (self.above and value == self.low):
            return value
        span = f": above {self.low}, at most {self.high}" if self.above else f" {self.low}-{self.high}"
        shown = int(value) if value == int(value) else value
        raise ValueError(f"{self.kind}{shown} is out of range{span}")


@dataclass(frozen=True)
class Seconds:
    """A time of whole seconds within the API's range."""

    low: int
    high: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._parse)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": ["string", "number"], "examples": ["60s"]}

    def _parse(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError('must be a time, such as "60s" or "10min"')
        seconds = Duration.parse(value).seconds
        if not self.low <= seconds <= self.high or seconds != int(seconds):
            raise ValueError(f"{value!r} is not a whole number of seconds from {self.low} to {self.high}")
        return int(seconds)


def _name(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value!r} is a number where a name is meant; write it in quotes")
    if isinstance(value, str):
        if not value.strip() or value != value.strip():
            raise ValueError("a name must not be empty or begin or end with a space")
        if len(value) > NAME_MAX:
            raise ValueError(f"a name of {len(value)} characters; the longest is {NAME_MAX}")
        if value.startswith(".") or not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no name: letters, digits, space and ._-()#+, not beginning with a dot")
    return value


def _group_name(value: Any) -> Any:
    if isinstance(value, str):
        for part in value.split("/", 1):
            _name(part)
        return value
    return _name(value)


def _release(value: Any) -> Any:
    text = str(value)
    if text not in RELEASES or isinstance(value, bool):
        raise ValueError(f"{text!r} is no release of vSphere that is known here; one of {', '.join(RELEASES)}")
    return text


def _rate(value: Any) -> Rate:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('must be a rate, such as "10G" or "100M"')
    rate = Rate.parse(value)
    if not 0 < rate.bits <= 10**12:
        raise ValueError(f"{value!r} is no rate of a pNIC")
    return rate


def _size(value: Any) -> Size:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('must be a size, such as "16MB"')
    size = Size.parse(value)
    if not MEMORY_MIN <= size.bytes <= MEMORY_MAX or size.bytes % MEMORY_MIN:
        raise ValueError(f"{value!r} is no memory of a VM here: whole megabytes, 1MB to 1GB")
    return size


def _delay(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('must be a time, such as "5ms"')
    seconds = Duration.parse(value).seconds
    if seconds > DELAY_MAX:
        raise ValueError(f"{value!r} is longer than {DELAY_MAX:g} s")
    return seconds


def _ranges(value: Any, lowest: int) -> Ranges:
    """A list of VLAN IDs and ranges -> sorted, joined ranges."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("an empty list of VLANs")
    found: list[tuple[int, int]] = []
    for item in items:
        spread = _RANGE.fullmatch(item) if isinstance(item, str) else None
        if spread:
            low, high = int(spread[1]), int(spread[2])
        elif isinstance(item, int) and not isinstance(item, bool):
            low = high = item
        else:
            raise ValueError(f"{item!r} is neither a VLAN ID nor a range such as 20-29")
        if low > high:
            raise ValueError(f"the range {item!r} runs backwards")
        if low < lowest or high > VLAN_MAX:
            raise ValueError(f"VLAN {item} is out of range {lowest}-{VLAN_MAX}")
        found.append((low, high))
    joined: list[tuple[int, int]] = []
    for low, high in sorted(found):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def _trunk(value: Any) -> Ranges:
    return ALL_VLANS if value == "all" else _ranges(value, 1)


def _port_group_vlan(value: Any) -> int | Ranges:
    if isinstance(value, list):
        return _ranges(value, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no VLAN: 0, 1 to {VLAN_MAX}, 4095, or a list of IDs and ranges")
    if not 0 <= value <= 4095:
        raise ValueError(f"VLAN {value} is out of range 0-4095")
    return value


def _mac(value: Any) -> str:
    text = value.lower() if isinstance(value, str) else value
    if not isinstance(text, str) or not _MAC.fullmatch(text):
        raise ValueError(f"{value!r} is no MAC address such as 00:50:56:00:00:01")
    if int(text[:2], 16) & 1 or text == "00:00:00:00:00:00":
        raise ValueError(f"{text} is no address of a single adapter")
    return text


def _address(value: Any) -> str:
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"{value!r} is no address with its prefix length, such as 10.0.10.1/24")
    try:
        found = ipaddress.ip_interface(value)
    except ValueError:
        raise ValueError(f"{value!r} is no address with its prefix length, such as 10.0.10.1/24") from None
    network = found.network
    point_to_point = network.num_addresses <= 2
    if found.version == 4 and not point_to_point and found.ip in (network.network_address, network.broadcast_address):
        raise ValueError(f"{value} is the network's own or its broadcast address")
    if found.is_multicast or found.is_unspecified or found.is_loopback:
        raise ValueError(f"{value} is no address of a single adapter")
    return str(found)


def network(value: Any) -> Any:
    return {"port_group": value} if isinstance(value, str) else value


def _cdp(value: Any) -> Any:
    if value == "lldp":
        raise Refused("a standard switch has no LLDP", "use a distributed switch")
    return value


def _ip(value: Any) -> str:
    try:
        found = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.version != 4 or found.is_multicast or found.is_unspecified or found.is_loopback:
        raise ValueError(f"{value!r} is no IPv4 address of a single adapter, such as 10.0.5.9")
    return str(found)


def _vlan_key(text: str) -> str:
    if not _VLAN_KEY.fullmatch(text) or not 1 <= int(text) <= VLAN_MAX:
        raise ValueError(f"{text!r} is no VLAN ID from 1 to {VLAN_MAX}")
    return text


_VLANS = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+-[0-9]+$"}]}
Name = Annotated[str, BeforeValidator(_name), Field(min_length=1, max_length=NAME_MAX)]
GroupName = Annotated[str, BeforeValidator(_group_name), Field(min_length=1, max_length=2 * NAME_MAX + 1)]
Release = Annotated[str, BeforeValidator(_release), WithJsonSchema({"enum": [*RELEASES]})]
RateValue = Annotated[Rate, PlainValidator(_rate), WithJsonSchema({"type": ["string", "number"], "examples": ["10G"]})]
Delay = Annotated[float, PlainValidator(_delay), WithJsonSchema({"type": ["string", "number"], "examples": ["5ms"]})]
SizeValue = Annotated[Size, PlainValidator(_size), WithJsonSchema({"type": ["string", "number"], "examples": ["16MB"]})]
Trunk = Annotated[
    tuple[tuple[int, int], ...],
    PlainValidator(_trunk),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": _VLANS}, *_VLANS["anyOf"]]}),
]
PortGroupVlan = Annotated[
    Any,
    PlainValidator(_port_group_vlan),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 4095}, {"type": "array", "items": _VLANS}]}),
]
Vid = Annotated[int, Between(1, VLAN_MAX, "VLAN ")]
Mac = Annotated[str, PlainValidator(_mac), WithJsonSchema({"type": "string", "examples": ["00:50:56:00:00:01"]})]
Address = Annotated[str, PlainValidator(_address), WithJsonSchema({"type": "string", "examples": ["10.0.10.1/24"]})]
VlanKey = Annotated[str, PlainValidator(_vlan_key), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,4}$"})]
"""As written: `0100` and `100` are one VLAN under two keys."""
IpAddress = Annotated[str, PlainValidator(_ip), WithJsonSchema({"type": "string", "examples": ["10.0.5.9"]})]
PnicName = Annotated[str, Field(pattern=r"^vmnic[0-9]{1,3}$")]
VmkName = Annotated[str, Field(pattern=r"^vmk[0-9]{1,3}$")]
Mtu = Annotated[int, Between(1280, 9000)]
CdpOnly = Annotated[Literal["cdp"], BeforeValidator(_cdp)]
AcceptReject = Literal["accept", "reject"]
Service = Literal[
    "management",
    "vmotion",
    "ft_logging",
    "provisioning",
    "vsphere_replication",
    "vsphere_replication_nfc",
    "vsan",
    "iscsi",
    "nfs",
]
