"""Load on a running lab: a scenario file's flows, run between its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.client import LabClient, Place
from lab.errors import Mistake, TopologyError, UsageError
from lab.topology import read_topology_text
from lab.topology.nodes import Document, YamlMistake, read_document
from lab.topology.values import Between, RateValue
from lab.topology.words import mistakes_of
from lab.units import Rate
from traffic import load
from traffic.load import FIRST_PORT, Flow, Outcome, Progress

LONGEST = 3600.0


class _Part(BaseModel):
    """Of a scenario file; no section of a topology."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FlowSpec(_Part):
    """`rate` is nominal; left out, TCP goes as fast as it can."""

    sender: Annotated[str, Field(alias="from")]
    to: str
    protocol: Literal["tcp", "udp"] = "tcp"
    rate: RateValue | None = None
    streams: Annotated[int, Between(1, 64)] = 1
    size: Annotated[int, Between(16, 8900)] | None = None
    port: Annotated[int, Between(1, 65535)] | None = None
    seconds: Annotated[float, Between(0.5, LONGEST)] | None = None


class ScenarioSpec(_Part):
    seconds: Annotated[float, Between(0.5, LONGEST)] = 10.0
    flows: Annotated[list[FlowSpec], Field(min_length=1, max_length=200)]


@dataclass(frozen=True)
class Scenario:
    seconds: float
    flows: tuple[FlowSpec, ...]


def read_scenario(path: Path) -> Scenario:
    """Raises UsageError for a file that cannot be read, TopologyError with every mistake of one that is wrong."""
    return scenario_of(read_topology_text(path), str(path))


def scenario_of(text: str, source: str) -> Scenario:
    """Raises TopologyError with every mistake."""
    try:
        document = read_document(text)
    except YamlMistake as error:
        raise TopologyError(source, [error.mistake]) from None
    mistakes = list(document.mistakes)
    if not isinstance(document.value, dict):
        raise TopologyError(source, mistakes or [Mistake(1, 1, "", "no mapping", "a scenario begins with `flows:`")])
    try:
        spec = ScenarioSpec.model_validate(document.value)
    except ValidationError as error:
        raise TopologyError(source, [*mistakes, *mistakes_of(error, document)]) from None
    for n, flow in enumerate(spec.flows):
        mistakes += _wrong(document, n, flow)
    if mistakes:
        raise TopologyError(source, mistakes)
    return Scenario(spec.seconds, tuple(spec.flows))


def _wrong(document: Document, number: int, flow: FlowSpec) -> list[Mistake]:
    path = ("flows", number)
    line, column = document.place(path)
    place = f"flows[{number}]"
    found = []
    if flow.protocol == "udp" and flow.rate is None:
        found.append(Mistake(line, column, place, "UDP without a rate", "rate: 1G"))
    if flow.protocol == "tcp" and flow.size is not None:
        found.append(Mistake(line, column, place, "size is for UDP", "leave it out"))
    return found


def flows_of(client: LabClient, scenario: Scenario) -> list[Flow]:
    """With the addresses and nodes of this lab; rates are scaled. Raises UsageError for names that are not there."""
    scale = client.topology.speed_scale
    return [_flow(client, n, spec, scenario, scale) for n, spec in enumerate(scenario.flows)]


def _flow(client: LabClient, number: int, spec: FlowSpec, scenario: Scenario, scale: float) -> Flow:
    sender, receiver = client.place(spec.sender), client.place(spec.to)
    if sender.node == receiver.node:
        raise UsageError(f"flow {number + 1}: {spec.sender} and {spec.to} are in one node: no frame would leave it")
    return Flow(
        label=f"{sender.label} -> {receiver.label}",
        sender=sender.node,
        source=_address(sender),
        receiver=receiver.node,
        destination=_address(receiver),
        protocol=spec.protocol,
        rate=None if spec.rate is None else spec.rate.bits * scale,
        streams=spec.streams,
        size=spec.size,
        port=spec.port or FIRST_PORT + number,
        seconds=spec.seconds or scenario.seconds,
    )


def _address(place: Place) -> str:
    if not place.address:
        raise UsageError(f"{place.label} has no address: give it one in the topology file")
    return place.address.split("/")[0]


def run_load(client: LabClient, scenario: Scenario, progress: Progress = lambda *_: None) -> list[Outcome]:
    """Run all flows to their end. Raises MachineLacks without iperf3, UsageError, SystemRefused."""
    return load.run(flows_of(client, scenario), client.entry, progress)


def as_json(outcomes: Sequence[Outcome], scale: float) -> dict[str, Any]:
    """Rates in bits/s of payload, `nominal` as the file's speeds are."""
    return {"schema": 1, "speed_scale": scale, "flows": [_as_json(outcome, scale) for outcome in outcomes]}


def _as_json(outcome: Outcome, scale: float) -> dict[str, Any]:
    flow = outcome.flow
    return {
        "flow": flow.label, "protocol": flow.protocol, "streams": flow.streams, "seconds": flow.seconds,
        "asked": flow.rate, "received": outcome.received, "nominal": outcome.received / scale,
        "lost": outcome.lost, "datagrams": outcome.datagrams, "retransmits": outcome.retransmits,
        "each_second": list(outcome.each), "failed": outcome.why or None,
    }  # fmt: skip


def rows(outcomes: Sequence[Outcome], scale: float) -> list[list[str]]:
    """For a table: flow, protocol, asked, received (nominal), emulated, lost or repeated."""
    return [_row(outcome, scale) for outcome in outcomes]


def _row(outcome: Outcome, scale: float) -> list[str]:
    flow = outcome.flow
    asked = "all it can" if flow.rate is None else str(Rate(round(flow.rate / scale)))
    if outcome.why:
        return [flow.label, flow.protocol, asked, "FAILED", "", outcome.why]
    lost = (
        f"{outcome.retransmits} sent again" if outcome.lost is None else f"{outcome.lost} of {outcome.datagrams} lost"
    )
    return [flow.label, flow.protocol, asked, rate_text(outcome.received / scale), rate_text(outcome.received), lost]


def rate_text(bits: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if bits >= unit:
            return f"{bits / unit:.3g}{letter}"
    return f"{bits:.0f}"
