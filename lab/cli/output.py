"""How verbs speak: JSON alone on stdout, tables, progress on stderr when it is a terminal."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

Progress = Callable[[str, int, int], None]


def _complete_lab(_context: click.Context, _parameter: click.Parameter, start: str) -> list[str]:
    from lab.realise import sandbox

    names = [json.loads((d / "lab.json").read_text())["name"] for d in sandbox.living()]
    return [name for name in names if name.startswith(start)]


lab_option = click.option(
    "--lab", help="Which running lab; may be left out when one is up.", shell_complete=_complete_lab
)


def unlike_any_other() -> str:
    """The end of a name for a lab that a verb makes for itself. Process numbers are not unique across sandboxes."""
    return secrets.token_hex(3)


def say_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False))


def say_report(report: Any, lines: Iterable[str], as_json: bool) -> None:
    """What the daemon did (`lab.report.clear.ClearReport`); what it warned of goes to stderr."""
    for warning in report.done["warnings"]:
        click.echo(f"vlab: warning: {warning}", err=True)
    if as_json:
        say_json(report.as_json())
        return
    for line in lines:
        click.echo(line)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Plain aligned columns; bold heads on a terminal."""
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    head = "  ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True))
    click.echo(click.style("  " + head.rstrip(), bold=True))
    for row in rows:
        click.echo(("  " + "  ".join(str(c).ljust(w) for c, w in zip(row, widths, strict=True))).rstrip())


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Work with visible progress on a terminal, silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _step, _done, _of: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, of: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=of)
            bar.update(tasks[step], completed=done, total=of)

        show("starting", 0, 1)
        yield show
