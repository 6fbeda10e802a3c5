"""evidence: is a folder still what it was when it was made?"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.output import say_json
from lab.cli.traffic import DIFFERS


@click.group()
def evidence() -> None:
    """Folders that `vlab where --evidence DIR` wrote."""


@evidence.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--manifest", "expected", help="The SHA-256 that the manifest had when it was made.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def verify(directory: Path, expected: str | None, as_json: bool) -> None:
    """Compare every file of DIRECTORY with the manifest. Exit 1: something was changed, added or taken away.

    A manifest can be made anew by whoever changes the files: only its own SHA-256, kept elsewhere, shows that.
    """
    from lab.answers.evidence import verify_evidence

    checked = verify_evidence(directory)
    wrong = list(checked.wrong)
    if expected is not None and expected.lower() != checked.manifest:
        wrong.insert(0, f"the manifest is another one: {checked.manifest}")
    if as_json:
        say_json({"schema": 1, "directory": str(directory), "made": checked.made, "files": checked.files,
                  "manifest_sha256": checked.manifest, "ok": not wrong, "wrong": wrong})  # fmt: skip
    else:
        for line in wrong:
            click.echo(f"  {line}")
        state = "CHANGED" if wrong else "as it was"
        click.echo(f"{directory}: {checked.files} files, made {checked.made}: {state}")
        click.echo(f"  manifest {checked.manifest}")
    if wrong:
        raise SystemExit(DIFFERS)
