"""graph: the lab as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.output import lab_option
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
