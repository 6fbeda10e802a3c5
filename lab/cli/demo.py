"""demo: the whole story in one command."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import click

from lab.cli.output import progress_bar, unlike_any_other
from lab.errors import SystemRefused, UsageError

TOPOLOGY = "where-is-my-data.yaml"
QUESTION = ("web1", "web2")


def _topology() -> Path:
    clone = Path(__file__).resolve().parents[2] / "topologies" / TOPOLOGY
    if not clone.exists():
        raise UsageError(f"{clone} is missing: run demo from a clone of vswitchlab")
    return clone


def _place(wanted: Path | None) -> Path:
    """Where captures go: as said, or a new directory below the environment's VLAB_CAPTURES. Raises SystemRefused."""
    below = os.environ.get("VLAB_CAPTURES") or None
    try:
        if wanted or below:
            Path(wanted or below or "").mkdir(parents=True, exist_ok=True)
        return wanted or Path(tempfile.mkdtemp(prefix="vlab-demo-", dir=below))
    except OSError as error:
        raise SystemRefused(f"a directory for captures: {error.filename}: {error.strerror}") from error


@click.command()
@click.option("-d", "--directory", type=click.Path(path_type=Path, file_okay=False), help="Keep the pcapng files here.")
def demo(directory: Path | None) -> None:
    """The whole story: where a frame goes, who is isolated, the evidence."""
    from lab.answers.probes import probe
    from lab.answers.verify import verify
    from lab.answers.where import where
    from lab.lifetime import launched
    from lab.report import verify as matrix
    from lab.report import where as trail

    started = time.monotonic()
    source = _topology()
    place = _place(directory)
    with progress_bar() as progress, launched(source, name=f"demo-{unlike_any_other()}", progress=progress) as client:
        up = time.monotonic() - started
        counts = client.facts["hosts"], client.facts["vms"], len(client.topology.physical_switches)
        sender, receiver = (client.place(name) for name in QUESTION)
        answer = where(client, probe(sender, receiver, 3, 1000.0), place / "where")
        report = verify(client, place / "verify", progress)
    facts = "{} hosts, {} VMs, {} pSwitches".format(*counts)
    click.echo(f"{source.name}: {facts}, up in {up:.1f} s, in namespaces of its own\n")
    click.echo(click.style("Where is my data?", bold=True))
    click.echo(trail.as_text(answer) + "\n")
    click.echo(click.style("Is every VLAN isolated?", bold=True))
    click.echo(matrix.as_text(report) + "\n")
    click.echo(click.style("The evidence", bold=True))
    click.echo(f"  {place}/where and {place}/verify: one pcapng a box, for Wireshark")
    click.echo(f"  the lab is gone again; {time.monotonic() - started:.1f} s in all")
    if not (answer.agrees and report.ok):
        raise SystemExit(1)
