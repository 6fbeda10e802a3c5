"""A State as JSON has it, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from lab.model import PortKey
from lab.state import MacTable, State

_PORT_SETS = (
    "blocked",
    "deaf",
    "beacons_lost",
    "beacons_unsure",
    "unstable",
    "settling",
    "lag_members",
    "channel_members",
)


def to_json(state: State) -> dict[str, Any]:
    return {
        "links_down": _listed(state.links_down),
        "uplink_of": _pairs(state.uplink_of),
        "mac_tables": {switch: _table(table) for switch, table in state.mac_tables.items()},
        "secured": {switch: _table(table) for switch, table in state.secured.items()},
        "arp_known": {switch: _table(table) for switch, table in state.arp_known.items()},
        "learned": [[*place, _table(table)] for place, table in state.learned.items()],
        "macs": _pairs(state.macs),
        "promiscuous": _listed(state.promiscuous),
        "groups": [[*port, sorted(groups)] for port, groups in state.groups.items()],
        "all_groups": _listed(state.all_groups),
        "discarding": _listed(state.discarding),
        **{name: _listed(getattr(state, name)) for name in _PORT_SETS},
        "placed": _pairs(state.placed),
        "spread": _pairs(state.spread),
        "copied": _pairs(state.copied),
        "divided": [[*name, dict(parts)] for name, parts in state.divided.items()],
        "pvnic_rates": _pairs(state.pvnic_rates),
    }


def from_json(said: Mapping[str, Any]) -> State:
    return State(
        links_down=_ports(said["links_down"]),
        uplink_of=_mapping(said["uplink_of"]),
        mac_tables=MappingProxyType({switch: _read_table(table) for switch, table in said["mac_tables"].items()}),
        secured=MappingProxyType({switch: _read_table(table) for switch, table in said["secured"].items()}),
        arp_known=MappingProxyType({switch: _read_table(table) for switch, table in said["arp_known"].items()}),
        learned=MappingProxyType({(host, name): _read_table(table) for host, name, table in said["learned"]}),
        macs=_mapping(said["macs"]),
        promiscuous=_ports(said["promiscuous"]),
        groups=MappingProxyType({(box, port): frozenset(groups) for box, port, groups in said["groups"]}),
        all_groups=_ports(said["all_groups"]),
        discarding=_ports(said["discarding"]),
        **{name: _ports(said[name]) for name in _PORT_SETS},
        placed=_mapping(said["placed"]),
        spread=_several(said["spread"]),
        copied=_several(said["copied"]),
        divided=MappingProxyType({(host, name, kind): parts for host, name, kind, parts in said["divided"]}),
        pvnic_rates=_mapping(said["pvnic_rates"]),
    )


def _listed(ports: Iterable[PortKey]) -> list[list[str]]:
    return [list(port) for port in sorted(ports)]


def _pairs(mapping: Mapping[PortKey, Any]) -> list[list[Any]]:
    return [[*port, value] for port, value in mapping.items()]


def _table(table: MacTable) -> list[list[Any]]:
    return [[vlan, mac, port] for (vlan, mac), port in table.items()]


def _ports(said: Iterable[Iterable[str]]) -> frozenset[PortKey]:
    return frozenset((box, port) for box, port in said)


def _mapping(said: Iterable[tuple[str, str, Any]]) -> Mapping[PortKey, Any]:
    return MappingProxyType({(box, port): value for box, port, value in said})


def _several(said: Iterable[tuple[str, str, Iterable[str]]]) -> Mapping[PortKey, tuple[str, ...]]:
    return MappingProxyType({(box, port): tuple(uplinks) for box, port, uplinks in said})


def _read_table(said: Iterable[tuple[int, str, str]]) -> MacTable:
    return {(vlan, mac): port for vlan, mac, port in said}
