"""set, events: what changes while a lab runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from lab.cli.output import lab_option, say_json, table
from lab.errors import UsageError

FOLLOW_SECONDS = 3600.0
_APART = ("number", "time_ns", "nominal", "event", "port", "message")


@click.command("set")
@lab_option
@click.argument("words", nargs=-1, required=True, metavar="WHAT... KEY=VALUE...")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def set_policy(lab: str | None, words: tuple[str, ...], as_json: bool) -> None:
    """Change a policy of a running lab; all KEY=VALUE are one change.

    \b
    vlab set port-group web security.promiscuous=accept
    vlab set port-group esx1/vSwitch0/web vlan=20 teaming.active=[vmnic1]
    vlab set switch dvs0 security.forged_transmits=reject
    vlab set vnic web1.eth0 connected=false
    vlab set physical-switch tor1 mac_table=10
    vlab set pnic esx1:vmnic0 trunk='[10, 20-29]' native=
    vlab set module bay1 networks.prod.smart_link=true
    vlab set knobs reverse_path=0

    WHAT is port-group, switch, vnic, vm (all of its vNICs), physical-switch, module, pnic or machine and a name, or
    knobs. KEY is what the topology file has there, dotted; VALUE is YAML, and nothing, or null, takes the setting away.
    What needs other boxes, cables or addresses is refused. Frames of others are not disturbed.
    """
    from lab.client import find_lab
    from lab.topology.edit import settings_of

    names = [word for word in words if "=" not in word]
    if tuple(names) != words[: len(names)]:
        raise UsageError("first WHAT, then every KEY=VALUE (quote a VALUE with spaces)")
    what = " ".join(names)
    done = find_lab(lab).set(what, settings_of(words[len(names) :]))
    for line in done["warnings"]:
        click.echo(f"vlab: warning: {line}", err=True)
    if as_json:
        say_json({"schema": 1, "what": what, **done})
        return
    changed = done["changes"] or done["queues"]
    click.echo(f"{what} is changed" if changed else f"{what}: no switch forwards otherwise than before")
    if done["queues"]:
        click.echo(f"  other rates at {', '.join(done['queues'])}")
    if done["changes"]:
        columns = ("box", "switch", "rows added", "rows removed", "rows changed")
        table(columns, [[str(c[name.removeprefix("rows ")]) for name in columns] for c in done["changes"]])


@click.command()
@lab_option
@click.option("--follow", is_flag=True, help="Wait for more until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; with --follow one on each line.")
def events(lab: str | None, follow: bool, as_json: bool) -> None:
    """What hosts told of: links, failovers, guests that asked for what policy refuses, changes of policy."""
    from lab.client import find_lab

    client = find_lab(lab)
    found: list[dict[str, Any]] = client.ask("events")
    if as_json and not follow:
        say_json({"schema": 1, "events": found})
        return
    _print(found, as_json)
    while follow:
        after = found[-1]["number"] + 1 if found else 0
        found = client.ask("events", after=after, seconds=FOLLOW_SECONDS) or found
        _print([event for event in found if event["number"] >= after], as_json)


def _print(events: list[dict[str, Any]], as_json: bool) -> None:
    for event in events:
        click.echo(json.dumps(event, ensure_ascii=False) if as_json else _line(event))


def _line(event: dict[str, Any]) -> str:
    """`02:41:07.123 +31.250s failover esx1:web1.eth0 uplink=vmnic2 was=vmnic1`: the clock, the lab's own time since it
    began; a message as the host words it."""
    seconds, rest = divmod(event["time_ns"], 10**9)
    clock = datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%H:%M:%S")
    shown = {k: v for k, v in event.items() if k not in _APART}
    words = [event["event"], event.get("port", "")]
    words += [event["message"]] if "message" in event else [f"{key}={_shown(value)}" for key, value in shown.items()]
    return f"{clock}.{rest // 10**6:03d} +{event['nominal']:.3f}s " + " ".join(filter(None, words))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ",".join(map(_shown, value))
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
