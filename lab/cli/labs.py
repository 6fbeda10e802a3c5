"""up, down, list, status, exec, shell, link, sandbox: a lab's life."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lab.cli.output import lab_option, progress_bar, say_json, table
from lab.errors import MachineLacks, UsageError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the lab; the topology's own name unless said.")
@click.option("--datapath", type=click.Choice(["auto", "user", "kernel"]), default="auto", show_default=True)
@click.option("--distance", type=click.Choice(["auto", "netem", "wire"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def up(file: Path, name: str | None, datapath: str, distance: str, as_json: bool) -> None:
    """Build the lab of a topology FILE and leave it running."""
    from lab.lifetime import bring_up

    with progress_bar() as progress:
        sandbox, client = bring_up(file, name, datapath, progress, distance)
    sandbox.detach()
    facts = _facts(client)
    if as_json:
        say_json(facts)
    else:
        counts = f"{facts['hosts']} hosts, {facts['vms']} VMs"
        click.echo(f"{client.name} is up: {counts}, {len(client.plan.cables)} cables (vlab down {client.name})")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of your labs.")
def down(names: tuple[str, ...], every: bool) -> None:
    """End a lab; nothing of it is left."""
    from lab.client import find_lab
    from lab.realise import sandbox

    if every:
        names = tuple(json.loads((d / "lab.json").read_text())["name"] for d in sandbox.living())
    elif not names:
        names = (find_lab(None).name,)
    for name in names:
        find_lab(name).end()
        click.echo(f"{name} is down", err=True)


def _facts(client: Any) -> dict[str, Any]:
    shown = {key: client.facts[key] for key in ("name", "file", "since", "hosts", "vms", "datapath")}
    return {**shown, "pid": client.pid}


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_labs(as_json: bool) -> None:
    """Your labs that are up."""
    from lab.client import LabClient
    from lab.realise import sandbox

    labs = []
    for directory in sandbox.living():
        try:
            client = LabClient(directory)
        except UsageError:  # it ended since
            continue
        labs.append(_facts(client))
        client.close()
    if as_json:
        say_json(labs)
    elif labs:
        columns = ("name", "hosts", "vms", "datapath", "pid", "since", "file")
        table(columns, [[str(lab[c]) for c in columns] for lab in labs])
    else:
        click.echo("no lab is up", err=True)


@click.command()
@lab_option
@click.option("--drops", is_flag=True, help="What the switches dropped, and why.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def status(lab: str | None, drops: bool, as_json: bool) -> None:
    """Links, teaming, guests and health of a running lab."""
    from lab.client import find_lab

    client = find_lab(lab)
    said = client.ask("status")
    dropped = client.ask("drops") if drops else []
    if as_json:
        several = {(host, port): uplinks for host, port, uplinks in said.pop("sends_on")}
        teaming = [{"host": h, "port": p, "uplink": u, "uplinks": several[h, p]} for h, p, u in said["uplink_of"]]
        say_json({"schema": 1, **_facts(client), **said, "uplink_of": teaming, **({"drops": dropped} if drops else {})})
        return
    click.echo(
        f"{client.name}: {client.facts['hosts']} hosts, {client.facts['vms']} VMs, up since {client.facts['since']}"
    )
    for line in _health(said):
        click.echo(f"  {line}")
    teams = [[host, port, ", ".join(uplinks) or "no usable uplink"] for host, port, uplinks in said["sends_on"]]
    table(("host", "port", "sends on"), teams)
    if drops:
        columns = ("box", "switch", "port", "reason", "statement", "frames")
        table(columns, [[str(row[c]) for c in columns] for row in dropped] or [["nothing dropped", *[""] * 5]])


def _health(said: dict[str, Any]) -> Iterator[str]:
    for box, daemon in said["ended"].items():
        yield f"{box}: {daemon} HAS ENDED; this box forwards nothing"
    yield "links down: " + (", ".join(said["links_down"]) or "none")
    for port, why in said["err_disabled"].items():
        yield f"err-disabled: {port} ({why}; vlab link {port} up)"
    for kind, what in (
        ("failed", "failed (vlab fail ... --repair)"),
        ("blocked", "blocked (carrier up, forwards nothing)"),
        ("deaf", "deaf (carrier up, takes nothing in)"),
        ("beacons_lost", "declared dead by beacons"),
        ("shotgun", "beacons blame nobody, every frame goes out on all uplinks of"),
        ("unstable", "unstable, lost its link too often"),
        ("lacp_silent", "no LACPDU comes in at"),
    ):
        if said[kind]:
            yield f"{what}: " + ", ".join(said[kind])
    for wire in said["wires"]:
        way = f"{wire['delay'] * 1000:g} ms one way, jitter {wire['jitter'] * 1000:g} ms, loss {wire['loss']:g}"
        rate = f", {wire['rate']} bit/s" if wire["rate"] else ""
        yield f"{wire['between']}: {way}{rate}, by {wire['by']}" + ("" if wire["alive"] else "; IT HAS ENDED")
    if said["discarding"]:
        yield "spanning tree discards at: " + ", ".join(said["discarding"])
    if said["promiscuous"]:
        yield "promiscuous guests: " + ", ".join(said["promiscuous"])
    if said["macs"]:
        yield "guests with another MAC: " + ", ".join(f"{port} {mac}" for port, mac in said["macs"].items())


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@lab_option
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_in(lab: str | None, node: str, command: tuple[str, ...]) -> None:
    """Run a COMMAND in a NODE: `vlab exec web1 -- ip addr`.

    A NODE is a VM, `esx1-vmk`, a machine, a host or a pSwitch. The command's exit code is the verb's.
    """
    from lab.client import find_lab

    words = command[1:] if command[0] == "--" else command
    if not words:
        raise UsageError("say which command: vlab exec NODE -- COMMAND")
    _become([*find_lab(lab).entry(node), *words])


@click.command()
@lab_option
@click.argument("node")
def shell(lab: str | None, node: str) -> None:
    """A shell in a NODE."""
    from lab.client import find_lab

    argv = find_lab(lab).entry(node)
    os.environ["VLAB_NODE"] = node
    prompt = ["env", f"PS1={node}# ", "bash", "--norc"]
    _become([*argv, *prompt])


def _become(argv: list[str]) -> None:
    sys.stdout.flush()
    try:
        os.execvp(argv[0], argv)
    except FileNotFoundError as error:
        raise MachineLacks(f"{argv[0]} is not installed (Debian package util-linux)") from error


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def sandbox(command: tuple[str, ...]) -> None:
    """Run a COMMAND in an empty sandbox of its own.

    Private network, mounts and processes, gone when it ends.
    """
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() != 0:
        argv += ["--user", "--map-root-user"]
    _become([*argv, "--", *command])
