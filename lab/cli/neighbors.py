"""neighbors: who hears whom by CDP or LLDP."""

from __future__ import annotations

import click

from lab.cli.output import lab_option, say_json, table


@click.command()
@lab_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def neighbors(lab: str | None, as_json: bool) -> None:
    """Who hears whom by CDP or LLDP.

    Ages are seconds of the lab's clock (clock.speedup).
    """
    from lab.client import find_lab

    heard = find_lab(lab).ask("neighbors")
    if as_json:
        say_json({"schema": 1, "neighbors": heard})
        return
    rows = [
        [
            f"{n['box']}:{n['port']}", n["device"], n["device_port"], n["protocol"],
            "" if n["native_vlan"] is None else str(n["native_vlan"]), n["platform"] or n["description"],
            f"{n['age']:.0f} s",
        ]
        for n in heard
    ]  # fmt: skip
    if not rows:
        click.echo("nobody has heard a neighbour", err=True)
        return
    table(("port", "hears", "its port", "protocol", "native VLAN", "what it is", "age"), rows)
