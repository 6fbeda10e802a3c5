"""top: what every port and uplink carries, in esxtop's columns."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from lab.cli.output import lab_option, say_json, table
from lab.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from lab.client import LabClient
    from lab.report.top import Row

SHORTEST, LONGEST = 0.1, 3600.0


@click.command()
@lab_option
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="Only this host; may be repeated.")
@click.option("--interval", type=float, default=2.0, show_default=True, help="Seconds between two readings.")
@click.option("--json", "as_json", is_flag=True, help="One sample as one JSON document on stdout.")
def top(lab: str | None, hosts: tuple[str, ...], interval: float, as_json: bool) -> None:
    """What every port and uplink carries, in esxtop's columns.

    Live on a terminal until Ctrl-C; elsewhere, and with --json, one sample of --interval seconds. TX of a client port
    is what the VM sent. TEAM-PNIC is the uplink that it sends on: all(n) where its frames are spread over n, void where
    there is none. Mb/s are as emulated (speed_scale); --json has nominal ones too.
    """
    from lab.answers.top import sample
    from lab.client import find_lab
    from lab.report.top import as_json as document
    from lab.report.top import rows_between

    if not SHORTEST <= interval <= LONGEST:
        raise UsageError(f"--interval is {SHORTEST:g} to {LONGEST:g} seconds")
    client = find_lab(lab)
    if not as_json and sys.stdout.isatty():
        with suppress(KeyboardInterrupt):
            _live(client, hosts, interval)
        return
    before = sample(client, hosts)
    time.sleep(interval)
    after = sample(client, hosts)
    topology = client.topology
    rows, seconds = rows_between(topology, before, after), after.seconds_since(before)
    if as_json:
        say_json(document(client.name, rows, seconds, topology.speed_scale))
        return
    click.echo(_head(client.name, seconds, topology.speed_scale))
    columns, lines = _lines(rows)
    widths = [len(max(column, *(line[n] for line in lines), key=len)) for n, column in enumerate(columns)]
    table(columns, [[_justified(*cell) for cell in zip(columns, line, widths, strict=True)] for line in lines])


def _head(name: str, seconds: float, scale: float) -> str:
    from lab.report.top import what_a_megabit_is

    return "; ".join(filter(None, (f"{name}: {seconds:.1f} s", what_a_megabit_is(scale))))


def _lines(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and cells; which host a row is of is said where there are several."""
    from lab.report.top import COLUMNS, cells

    if len({row.host for row in rows}) < 2:
        return COLUMNS, [cells(row) for row in rows]
    return ("HOST", *COLUMNS), [(row.host, *cells(row)) for row in rows]


def _is_name(column: str) -> bool:
    return column in ("HOST", "USED-BY", "TEAM-PNIC", "DNAME")


def _justified(column: str, cell: str, width: int) -> str:
    return cell if _is_name(column) else cell.rjust(width)


def _live(client: LabClient, hosts: Sequence[str], interval: float) -> None:
    """Until somebody interrupts it, or the lab ends (UsageError)."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from lab.answers.top import sample
    from lab.report.top import rows_between

    before = sample(client, hosts)
    first = Text(f"{client.name}: counting for {interval:g} s; Ctrl-C ends")
    with Live(first, console=Console(), auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            after, topology = sample(client, hosts), client.topology
            head = _head(client.name, after.seconds_since(before), topology.speed_scale)
            live.update(_rich(f"{head}; Ctrl-C ends", rows_between(topology, before, after)), refresh=True)
            before = after


def _rich(head: str, rows: Sequence[Row]) -> Table:
    """Each host's rows below its name. On a narrow terminal names give way, figures do not."""
    from rich.table import Table
    from rich.text import Text

    from lab.report.top import COLUMNS, cells

    lines = [cells(row) for row in rows]
    shown = Table(title=Text(head), title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for n, column in enumerate(COLUMNS):
        if _is_name(column):
            shown.add_column(column)
        else:
            width = len(max(column, *(line[n] for line in lines), key=len))
            shown.add_column(column, justify="right", no_wrap=True, min_width=width)
    for n, (row, line) in enumerate(zip(rows, lines, strict=True)):
        if n == 0 or row.host != rows[n - 1].host:
            shown.add_row("", Text(row.host, style="bold", no_wrap=True, overflow="ellipsis"))
        shown.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in line))
    return shown
