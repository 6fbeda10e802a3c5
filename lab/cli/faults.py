"""link, fail: what breaks; lbt: how Load-Based Teaming answers to load."""

from __future__ import annotations

from typing import Any

import click

from lab.cli.output import lab_option, say_json, table
from lab.errors import UsageError


@click.command()
@lab_option
@click.argument("port")
@click.argument("state", type=click.Choice(["down", "up", "block"]))
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def link(lab: str | None, port: str, state: str, as_json: bool) -> None:
    """Pull or plug the cable at a PORT, or block a pSwitch's PORT; teaming answers.

    A PORT is `esx1:vmnic0`, `tor1:esx1-vmnic0`, `esx1:web1.eth0`. A blocked one keeps its carrier and forwards nothing,
    which link status does not notice and beacon probing does; `up` forwards again.
    """
    from lab.client import find_lab, nearest

    client = find_lab(lab)
    box, _, label = port.partition(":")
    known = [f"{node}:{end}" for cable in client.plan.cables for node, end in (cable.a, cable.b)]
    if port not in known:
        raise UsageError(f"no port {port!r}{nearest(port, known)}")
    before = client.ask("status")
    if state == "block":
        after = client.ask("block", box=box, port=label, on=True)
    else:
        after = client.ask("link", box=box, port=label, up=state == "up")
    _told(f"{port} is {'blocked' if state == 'block' else state}", before, after, as_json)


@click.command()
@lab_option
@click.argument("kind", type=click.Choice(["host", "switch"]))
@click.argument("name")
@click.option("--repair", is_flag=True, help="Bring it back.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def fail(lab: str | None, kind: str, name: str, repair: bool, as_json: bool) -> None:
    """Let a host or a pSwitch fail: everything that is plugged into it loses carrier."""
    from lab.client import find_lab, nearest

    client = find_lab(lab)
    topology = client.topology
    known: list[str] = list(topology.hosts if kind == "host" else topology.physical_switches)
    if name not in known:
        raise UsageError(f"no {kind} {name!r}{nearest(name, known)}")
    before = client.ask("status")
    after = client.ask("fail", box=name, failed=not repair)
    _told(f"{name} {'is back' if repair else 'has failed'}", before, after, as_json)


def _told(what: str, before: dict[str, Any], after: dict[str, Any], as_json: bool) -> None:
    """What changed, and who sends on another uplink now."""
    was = {(host, port): uplinks for host, port, uplinks in before["sends_on"]}
    for one in after.get("taken_over", ()):
        what += f"; {one['vm']} has been taken over by {one['secondary']} in {one['milliseconds']:g} ms"
    ports = [(host, port, was.get((host, port), []), now) for host, port, now in after["sends_on"]]
    moved = [one for one in ports if one[2] != one[3]]
    if as_json:
        names = ("host", "port", "was", "uplinks")
        said = {"links_down": after["links_down"], "blocked": after["blocked"]}
        say_json({"schema": 1, "done": what, **said, "moved": [dict(zip(names, one, strict=True)) for one in moved]})
        return
    click.echo(what)
    for host, port, old, now in moved:
        click.echo(f"  {host}:{port} sends on {', '.join(now) or 'no uplink'} (was {', '.join(old) or 'none'})")


@click.command()
@lab_option
@click.option("--threshold", type=float, help="Percent of an uplink's speed, 10 to 100; 75 unless said.")
@click.option("--period", type=float, help="Seconds of the lab's own time, 10 or more; 30 unless said.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def lbt(lab: str | None, threshold: float | None, period: float | None, as_json: bool) -> None:
    """Load-Based Teaming: the last window's loads and move, or, as `net-lbt` does, another threshold or period."""
    from lab.client import find_lab

    client = find_lab(lab)
    part = threshold / 100 if threshold is not None else None
    said: dict[str, Any] = client.ask("lbt", threshold=part, period=period)
    if as_json:
        say_json({"schema": 1, "speed_scale": client.topology.speed_scale, "speedup": client.topology.speedup, **said})
        return
    pace = f"the lab runs {client.topology.speedup:g} times as fast"
    click.echo(f"threshold {said['threshold']:.0%}, period {said['period']:g} s ({pace})")
    if not said["windows"]:
        click.echo("no window has ended yet, or no port group has this policy")
    for window in said["windows"]:
        _print_window(window, client.topology.speed_scale)


def _print_window(window: dict[str, Any], scale: float) -> None:
    click.echo(f"\n{window['host']} {window['switch']} (rates nominal: measured x {1 / scale:g})")
    on: dict[str, list[str]] = {}
    for port in window["ports"]:
        on.setdefault(port["uplink"], []).append(port["port"])
    rows = [
        [
            u["uplink"],
            f"{u['share']:.0%}",
            _mega(u["sent"], scale),
            _mega(u["received"], scale),
            ", ".join(on.get(u["uplink"], [])) or "-",
        ]
        for u in window["uplinks"]
    ]
    table(("uplink", "load", "MbTX/s", "MbRX/s", "ports that may move"), rows)
    move = window["move"]
    click.echo(f"moved {move['port']} from {move['was']} to {move['uplink']}" if move else "no move")


def _mega(rate: float, scale: float) -> str:
    return f"{rate / scale / 1e6:.1f}"
