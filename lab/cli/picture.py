"""graph, report: the lab as a picture, and an answer as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lab.cli.output import lab_option, progress_bar
from lab.cli.traffic import DIFFERS, opened
from lab.errors import SystemRefused, UsageError


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@lab_option
@click.option("-o", "--output", default="-", help="An SVG file; stdout unless said.", type=click.Path(path_type=Path))
def graph(file: Path | None, lab: str | None, output: Path) -> None:
    """Draw the datacentre: sites, pSwitches, hosts, and what is in them (SVG).

    Of a topology FILE (nothing is started) or of a running lab, as it is now.
    """
    from lab.client import find_lab
    from lab.report.picture import svg
    from lab.topology import read_topology_file

    if file is not None and lab is not None:
        raise UsageError("FILE or --lab, not both")
    topology = read_topology_file(file) if file is not None else find_lab(lab).topology
    write(output, svg(topology))


def write(output: Path, text: str) -> None:
    """Raises SystemRefused."""
    if str(output) == "-":
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise SystemRefused(f"{output}: {error.strerror}") from error


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@lab_option
@click.option("--from", "sender", help="web1, web1.eth1, esx1.vmk0, gw: with --to, the trail from there.")
@click.option("--to", "receiver")
@click.option("--count", default=3, type=click.IntRange(1, 1000), show_default=True, help="Canary frames.")
@click.option("--matrix/--no-matrix", default=True, show_default=True, help="The isolation matrix too.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="An HTML file.")
def report(file: Path | None, lab: str | None, sender: str | None, receiver: str | None, count: int, matrix: bool,
           output: Path) -> None:  # fmt: skip
    """One self-contained page: picture, trail step by step, exposure, isolation matrix, drops.

    Of a running lab, or of one that is built from a topology FILE for it. Exit 1: something is not as predicted.
    """
    from lab.answers.probes import probe
    from lab.answers.verify import verify
    from lab.answers.where import where
    from lab.report.page import Page, render
    from lab.report.picture import picture
    from lab.report.where import Answer
    from traffic.frames import layers

    if (sender is None) != (receiver is None):
        raise UsageError("--from and --to, or neither of them")
    if not output.parent.is_dir():  # told before the work, not after it
        raise SystemRefused(f"{output.parent}: no such directory")
    with opened(file, lab) as client, progress_bar() as progress:
        answers: tuple[Answer, ...] = ()
        if sender is not None and receiver is not None:
            look: dict[str, Any] = {"count": count, "rate": 1000.0}
            answers = (where(client, probe(client.place(sender), client.place(receiver), **look)),)
        checked = verify(client, None, progress) if matrix else None
        page = Page(f"Where is my data? {client.name}", picture(client.topology), answers, checked,
                    tuple(client.ask("drops")), tuple(_facts(client)))  # fmt: skip
    write(output, render(page, {c.data: layers(c.data) for answer in answers for c in answer.caught}))
    click.echo(f"{output} is written", err=True)
    if not (all(answer.agrees for answer in answers) and (checked is None or checked.ok)):
        raise SystemExit(DIFFERS)


def _facts(client: Any) -> list[tuple[str, str]]:
    from lab.answers.evidence import about

    known = about(client)
    told = [(name, str(value)) for name, value in known["lab"].items()]
    return [*told, *((name, str(value)) for name, value in known["versions"].items())]
