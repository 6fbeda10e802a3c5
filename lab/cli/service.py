"""service: what vmkernel adapters say to others, by real connections."""

from __future__ import annotations

import click

from lab.cli.output import lab_option, say_json, say_report, table
from lab.errors import UsageError


@click.command()
@lab_option
@click.argument("name", required=False, metavar="[SERVICE]")
@click.argument("sender", required=False, metavar="[FROM]")
@click.argument("receiver", required=False, metavar="[TO]")
@click.option("--blocks", type=click.IntRange(1, 10_000), default=4, show_default=True, help="Pieces of data.")
@click.option("--no-capture", is_flag=True, help="Do not look for its data on the wires.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def service(
    lab: str | None, name: str | None, sender: str | None, receiver: str | None, blocks: int, no_capture: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Let a host's vmkernel use a SERVICE, and tell where its data passed in clear; without words, what there is.

    \b
    vlab service                           every service, its ports, in clear or not in this release
    vlab service management admin esx1     TLS on 443, from wherever an administrator sits
    vlab service nfs web1 nas              what web1 writes to its disk: its host sends it
    vlab service provisioning esx1 esx2    NFC, by the adapters for it

    FROM and TO are hosts, which choose the adapter, or machines, VMs and adapters. The trail frame by frame:
    `vlab where --service nfs --from esx1 --to nas`.
    """
    from lab.answers.service import service as run
    from lab.client import find_lab
    from lab.report.service import COLUMNS, as_text, listed, rows
    from lab.topology.services import services

    client = find_lab(lab)
    known = services(client.topology.release, client.topology.knobs).values()
    if name is None:
        if as_json:
            say_json({"schema": 1, "services": listed(known)})
        else:
            table(COLUMNS, rows(known))
        return
    if sender is None or receiver is None:
        raise UsageError(f"say from where to where: vlab service {name} FROM TO")
    report = run(client, name, sender, receiver, blocks, not no_capture)
    say_report(report, as_text(report), as_json)
