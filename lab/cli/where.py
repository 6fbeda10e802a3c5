"""where: the question that the lab exists for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lab.cli.output import lab_option, say_json
from lab.cli.traffic import DIFFERS, frame_options, opened
from lab.errors import UsageError


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@lab_option
@click.option("--from", "sender", required=True, help="web1, web1.eth1, esx1.vmk0, gw.")
@click.option("--to", "receiver", required=True)
@frame_options
@click.option("--count", default=3, type=click.IntRange(1, 10000), show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=1000.0, show_default=True)
@click.option("-d", "--directory", type=click.Path(path_type=Path, file_okay=False), help="Keep the pcapng files here.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An earlier answer (--json): what has changed is told, and makes exit 1.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def where(file: Path | None, lab: str | None, sender: str, receiver: str, count: int, rate: float,
          directory: Path | None, baseline: Path | None, as_json: bool, **look: Any) -> None:  # fmt: skip
    """Where does a frame go? Send canaries, print their trail.

    Every wire is captured, so the trail is hop by hop, with who else saw the frame, and who could have.
    With FILE a lab is built for the question and taken down after it. Exit 1: seen differs from predicted, or from
    the --baseline.
    """
    from lab.answers.probes import probe
    from lab.answers.where import where as ask
    from lab.report.where import as_json as document
    from lab.report.where import as_text

    before = read_answer(baseline) if baseline else None
    with opened(file, lab) as client:
        question = probe(client.place(sender), client.place(receiver), count, rate, **look)
        answer = ask(client, question, directory)
    told = document(answer)
    changed = compared(before, told, str(baseline)) if before else []
    if as_json:
        say_json({**told, "baseline": {"file": str(baseline), "changes": changed}} if before else told)
    else:
        click.echo(as_text(answer))
        say_changes(changed, baseline)
    if not answer.agrees or changed:
        raise SystemExit(DIFFERS)


def read_answer(path: Path) -> dict[str, Any]:
    """An answer that `--json` printed. Raises UsageError."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no answer of vlab where --json: {error}") from None
    if not isinstance(document, dict) or not {"schema", "trails", "exposure", "disposition"} <= document.keys():
        raise UsageError(f"{path} is no answer of vlab where --json")
    if document["schema"] != 1:
        raise UsageError(f"{path} has schema {document['schema']}; this version reads schema 1")
    return document


def compared(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> list[str]:
    """Raises UsageError for a document that only looks like an answer."""
    from lab.report.tally import changes

    try:
        return changes(before, now)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{name} is no whole answer of vlab where --json: {error!r}") from None


def say_changes(changed: list[str], baseline: Path | None) -> None:
    if baseline is not None:
        click.echo(f"{'changed' if changed else 'nothing has changed'} since {baseline}" + (":" if changed else ""))
    for line in changed:
        click.echo(f"  {line}")
