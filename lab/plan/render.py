"""A plan as text that a person can read and a test can compare."""

from __future__ import annotations

from collections.abc import Iterator

from lab.plan.types import Bridge, Node, NodeKind, Plan, Row, Way
from lab.plan.vswitch import TABLE_NAMES


def render(plan: Plan) -> str:
    """The whole plan, one thing a line; ends with a newline."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"plan {plan.name}"
    for node in plan.nodes:
        yield ""
        yield from _node(node)
    yield ""
    yield "cables"
    for cable in plan.cables:
        line = "~~" if cable.tunnelled else "--"
        yield f"  {cable.a[0]}:{cable.a[1]} {line} {cable.b[0]}:{cable.b[1]}{_way(cable.way)}"
    if plan.queues:
        yield ""
    for queue in plan.queues:
        yield from queue.text()
    for bridge in plan.bridges:
        yield ""
        yield from _bridge(bridge, plan.node_named[bridge.node].kind)


def _way(way: Way | None) -> str:
    if way is None:
        return ""
    rate = f", {way.rate} bit/s" if way.rate else ""
    return f" (delay {way.delay * 1000:g} ms, jitter {way.jitter * 1000:g} ms, loss {way.loss:g}{rate})"


def _node(node: Node) -> Iterator[str]:
    forwards = (" forwards" if node.forwards else "") + (f" gateway {node.gateway}" if node.gateway else "")
    shown = "" if node.id == node.name else f" (namespace {node.id})"
    yield f"{node.kind} {node.name}{shown}{forwards}"
    for i in node.interfaces:
        label = "" if i.label == i.name else f" ({i.label})"
        addresses = "".join(f" {a}" for a in i.addresses)
        tunnel = f" vxlan {i.tunnel.vni} to {i.tunnel.remote} udp {i.tunnel.port}" if i.tunnel else ""
        yield f"  {i.name}{label} mac {i.mac} mtu {i.mtu}{addresses}{tunnel}{'' if i.up else ' down'}"


def _bridge(bridge: Bridge, kind: NodeKind) -> Iterator[str]:
    shown = "" if bridge.name == bridge.label else f" (bridge {bridge.name})"
    yield f"switch {bridge.node}:{bridge.label}{shown} dpid {bridge.dpid}"
    for key, value in bridge.columns:
        yield f"  {key}={value}"
    for port in bridge.ports:
        columns = "".join(f" {key}={value}" for key, value in port.columns)
        yield f"  port {port.number} {port.label}{columns}"
    for bond in bridge.bonds:
        columns = "".join(f" {key}={value}" for key, value in bond.columns)
        yield f"  bond {bond.label} of {', '.join(bond.members)}{columns}"
    table = None
    for row in bridge.rows:
        if row.table != table:
            table = row.table
            name = TABLE_NAMES.get(table, "") if kind is NodeKind.HOST else "ingress"
            yield f"  table {table} {name}".rstrip()
        yield f"    {_row(row)}"


def _row(row: Row) -> str:
    reason = f"{row.reason.value}: " if row.reason and row.why else row.reason.value if row.reason else ""
    comment = f"{reason}{row.why}"
    cookie = f"cookie {row.cookie:#x} " if row.cookie else ""
    return f"{row.priority} {row.match or 'any'} -> {row.actions}" + (f"  # {cookie}{comment}" if comment else "")
