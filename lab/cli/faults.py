"""link, fail: what breaks; lbt: how Load-Based Teaming answers to load."""

from __future__ import annotations

from typing import Any

import click

from lab.cli.output import lab_option, say_json, table
from lab.errors import UsageError


@click.command()
@lab_option
@click.argument("port", metavar="PORT|STRETCH")
@click.argument("state", type=click.Choice(["down", "up", "block", "deaf"]))
@click.option("--site", help="Of a STRETCH: its ways to and from this site only.")
@click.option(
    "--one-way", metavar="SITE", help="Of a STRETCH: what this site sends is lost, what is sent to it is not."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def link(lab: str | None, port: str, state: str, site: str | None, one_way: str | None, as_json: bool) -> None:
    """Pull or plug the cable at a PORT, or every way of a STRETCH between sites; teaming answers.

    \b
    vlab link esx1:vmnic0 down            also tor1:esx1-vmnic0, esx1:web1.eth0
    vlab link tor1:esx1-vmnic0 block      a pSwitch's port keeps its carrier and forwards nothing
    vlab link tor2:tor1 deaf              it takes nothing in, and what it sends arrives: half of a fibre is broken
    vlab link dci down                    no site has a way to another by the stretch dci
    vlab link dci down --one-way dallas   what dallas sends is lost

    Link status notices neither a blocked nor a deaf port; beacon probing does. `up` ends all of these.
    """
    from lab.client import find_lab, nearest

    client = find_lab(lab)
    stretches = [stretch.name for stretch in client.topology.stretches]
    if port in stretches:
        _cut(client, port, state, site, one_way, as_json)
        return
    if site or one_way:
        raise UsageError(f"--site and --one-way are of a stretch, and {port!r} is none{nearest(port, stretches)}")
    box, _, label = port.partition(":")
    known = [f"{node}:{end}" for cable in client.plan.cables for node, end in (cable.a, cable.b)]
    if port not in known:
        raise UsageError(f"no port {port!r}{nearest(port, [*known, *stretches])}")
    before = client.ask("status")
    if state == "block":
        after = client.ask("block", box=box, port=label, on=True)
    elif state == "deaf":
        after = client.ask("deafen", box=box, port=label)
    else:
        after = client.ask("link", box=box, port=label, up=state == "up")
    _told(f"{port} is {'blocked' if state == 'block' else state}", before, after, as_json)


def _cut(client: Any, stretch: str, state: str, site: str | None, one_way: str | None, as_json: bool) -> None:
    if state not in ("down", "up"):
        raise UsageError(f"a stretch goes down or up; {state} is for one of its ports (vlab status lists the wires)")
    if site and one_way:
        raise UsageError("--site or --one-way, not both")
    before = client.ask("status")
    after = client.ask("cut", stretch=stretch, up=state == "up", site=site, one_way=one_way)
    if one_way and state == "down":
        what = f"what {one_way} sends over {stretch} is lost, at {', '.join(after['ports'])}"
    else:
        where = f" to {site or one_way}" if site or one_way else ""
        what = f"{stretch}{where} is {state}, at {', '.join(after['ports'])}"
    _told(what, before, after, as_json)


@click.command()
@lab_option
@click.argument("kind", type=click.Choice(["host", "switch", "site"]))
@click.argument("name")
@click.option("--repair", is_flag=True, help="Bring it back.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def fail(lab: str | None, kind: str, name: str, repair: bool, as_json: bool) -> None:
    """Let a host, a pSwitch or a whole site fail: everything that is plugged into it loses carrier.

    Of a site, that is every host and pSwitch there, the ends of its stretches included.
    """
    from lab.client import find_lab, nearest

    client = find_lab(lab)
    topology = client.topology
    known = list({"host": topology.hosts, "switch": topology.physical_switches}.get(kind, topology.sites))
    if name not in known:
        raise UsageError(f"no {kind} {name!r}{nearest(name, known)}")
    before = client.ask("status")
    if kind == "site":
        after = client.ask("fail_site", site=name, failed=not repair)
        name = f"site {name} ({', '.join(after['boxes'])})"
    else:
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
        said = {name: after[name] for name in ("links_down", "blocked", "deaf", "failed")}
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
