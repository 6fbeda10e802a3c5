"""report: an answer as one page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from lab.cli.output import lab_option, progress_bar
from lab.cli.picture import write
from lab.cli.traffic import DIFFERS, check_whole, frame_options, opened, watch_options
from lab.cli.where import topology_and_captures, wanted_in
from lab.errors import SystemRefused, UsageError


@dataclass(frozen=True)
class Asked:
    """What the page is to be about. Without any of these it is about the lab: picture, matrix, drops."""

    sender: str | None
    receiver: str | None
    flow: str | None
    token: str | None
    captures: tuple[Path, ...]
    evidence: Path | None
    count: int
    seconds: float
    look: dict[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        said = {
            "--from and --to": self.sender is not None,
            "--flow or --token": (self.flow or self.token) is not None and not self.captures,
            "--pcap": bool(self.captures),
            "--evidence": self.evidence is not None,
        }
        return [name for name, there in said.items() if there]


@dataclass(frozen=True)
class Told:
    """The page, and what makes its exit code: `agrees`: all is as predicted; `whole`: no file breaks off."""

    page: Any
    agrees: bool
    whole: bool = True


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]", type=click.Path(path_type=Path))
@lab_option
@click.option("--from", "sender", help="web1, web1.eth1, esx1.vmk0, gw: with --to, the trail of canaries from there.")
@click.option("--to", "receiver")
@frame_options
@click.option("--count", default=3, type=click.IntRange(1, 1000), show_default=True, help="Canary frames.")
@click.option("--flow", help="What is sent by others, as `vlab where --flow`: 'src web1 dst db1 port 3306'.")
@click.option("--token", help="Whatever carries these bytes (hexadecimal).")
@watch_options
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="An evidence folder (vlab where --evidence), without a lab.",
)
@click.option("--matrix/--no-matrix", default=None, help="The isolation matrix too; unless said, where a lab is up.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="An HTML file.")
def report(files: tuple[Path, ...], lab: str | None, sender: str | None, receiver: str | None, count: int,
           flow: str | None, token: str | None, seconds: float, captures: tuple[Path, ...], evidence: Path | None,
           matrix: bool | None, output: Path, **look: Any) -> None:  # fmt: skip
    """One self-contained page: picture, every way step by step, exposure, isolation matrix, drops.

    \b
    vlab report --from web1 --to db1 -o page.html            canaries in the running lab
    vlab report FILE --from web1 --to db1 -o page.html       a lab is built for it
    vlab report --flow 'src web1 dst db1' -o page.html       what guests say to each other, both directions
    vlab report --pcap *.pcapng --token c0ffee00... -o page.html     files alone; FILE says where they were captured
    vlab report --evidence DIR -o page.html                  an evidence folder alone

    Exit 1: something is not as predicted, or the evidence was changed.
    """
    asked = Asked(sender, receiver, flow, token, captures, evidence, count, seconds, look)
    file, captures = _checked(asked, files, lab, matrix, output)
    if evidence is not None:
        told = _of_evidence(evidence)
    elif captures:
        told = _of_captures(file, captures, asked)
    else:
        told = _of_lab(file, lab, asked, matrix is not False)
    _finish(told, output)


def _checked(asked: Asked, files: tuple[Path, ...], lab: str | None, matrix: bool | None,
             output: Path) -> tuple[Path | None, tuple[Path, ...]]:  # fmt: skip
    """(topology FILE, captures). What cannot be done is told before the work, not after it."""
    if (asked.sender is None) != (asked.receiver is None):
        raise UsageError("--from and --to, or neither of them")
    if asked.flow is not None and asked.token is not None:
        raise UsageError("--flow or --token, not both")
    if len(asked.sources) > 1:
        raise UsageError(f"{' and '.join(asked.sources)}: a page is about one of them")
    alone = asked.evidence is not None or bool(asked.captures)
    if alone and (lab is not None or matrix):
        raise UsageError(f"{asked.sources[0]} needs no lab: there is no --lab and no --matrix of it")
    if asked.evidence is not None and files:
        raise UsageError("--evidence has its topology in it: no FILE")
    if not output.parent.is_dir():
        raise SystemRefused(f"{output.parent}: no such directory")
    return topology_and_captures(files, asked.captures)


def _of_lab(file: Path | None, lab: str | None, asked: Asked, matrix: bool) -> Told:
    from lab.answers.verify import verify
    from lab.report.page import Page
    from lab.report.picture import picture

    with opened(file, lab) as client:
        told = _followed(client, asked) if asked.sources else None
        with progress_bar() as progress:
            checked = verify(client, None, progress) if matrix else None
        page = Page(f"Where is my data? {client.name}", picture(client.topology), told, checked,
                    tuple(client.ask("drops")), tuple(_facts(client)))  # fmt: skip
    return Told(page, (told is None or told.agrees) and (checked is None or checked.ok))


def _followed(client: Any, asked: Asked) -> Any:
    from lab.answers.follow import follow
    from lab.answers.probes import probe
    from lab.answers.where import where
    from lab.report.follow import Followed

    if asked.sender is not None and asked.receiver is not None:
        ends = client.place(asked.sender), client.place(asked.receiver)
        answer = where(client, probe(*ends, asked.count, 1000.0, **asked.look))
        return Followed(f"{answer.sender} -> {answer.receiver}", answer.sent, (answer,))
    wanted = wanted_in(asked.flow, asked.token, client.places)
    return follow(client, wanted, asked.seconds, None, lambda: click.echo("watching", err=True))


def _of_captures(file: Path | None, captures: tuple[Path, ...], asked: Asked) -> Told:
    from lab.answers.offline import follow_files
    from lab.client import places_of
    from lab.report.page import Page
    from lab.report.picture import picture
    from lab.report.strangers import picture_of
    from lab.topology import read_topology_file

    topology = read_topology_file(file) if file else None
    wanted = wanted_in(asked.flow, asked.token, places_of(topology) if topology else {})
    told, whole = follow_files(captures, wanted, topology)
    drawn = picture(topology) if topology is not None else picture_of(told)
    facts = (("files", ", ".join(map(str, captures))), ("topology", str(file or "none: places are those of the files")))
    return Told(Page(f"Where is my data? {told.wanted}", drawn, told, facts=facts), True, whole)


def _of_evidence(directory: Path) -> Told:
    from lab.answers.kept import read_evidence
    from lab.report.page import Page
    from lab.report.picture import picture

    kept = read_evidence(directory)
    wrong = kept.checked.wrong
    warning = f"This evidence was changed after it was made: {'; '.join(wrong)}." if wrong else ""
    facts = [
        ("evidence", f"{directory}, {kept.checked.files} files, made {kept.checked.made}"),
        ("manifest's SHA-256", kept.checked.manifest),
        *((name, str(value)) for part in ("lab", "versions") for name, value in kept.about[part].items()),
        ("frames captured, lost", "{frames}, {lost}".format(**{"frames": "?", "lost": "?", **kept.about["capture"]})),
    ]
    name = kept.about["lab"].get("name", directory.name)
    page = Page(f"Where is my data? {name}", picture(kept.topology), kept.followed, facts=tuple(facts), warning=warning)
    return Told(page, kept.followed.agrees and not wrong)


def _finish(told: Told, output: Path) -> None:
    from lab.report.page import render
    from traffic.frames import layers

    write(output, render(told.page, layers))
    click.echo(f"{output} is written", err=True)
    if told.page.warning:
        click.echo(f"vlab: {told.page.warning}", err=True)
    if not told.agrees:
        raise SystemExit(DIFFERS)
    check_whole(told.whole)


def _facts(client: Any) -> list[tuple[str, str]]:
    from lab.answers.evidence import about

    known = about(client)
    told = [(name, str(value)) for name, value in known["lab"].items()]
    return [*told, *((name, str(value)) for name, value in known["versions"].items())]
