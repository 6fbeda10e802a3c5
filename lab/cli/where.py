"""where: the question that the lab exists for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lab.cli.output import lab_option, say_json
from lab.cli.traffic import DIFFERS, check_whole, frame_options, opened, watch_options
from lab.errors import CannotTell, UsageError


@dataclass(frozen=True)
class Output:
    """How an answer is handed over."""

    as_json: bool
    baseline: Path | None
    directory: Path | None
    evidence: Path | None = None


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]", type=click.Path(path_type=Path))
@lab_option
@click.option("--from", "sender", help="web1, web1.eth1, esx1.vmk0, gw.")
@click.option("--to", "receiver")
@frame_options
@click.option("--count", default=3, type=click.IntRange(1, 10000), show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=1000.0, show_default=True)
@click.option("--flow", help="Follow what is sent by others: 'src web1 dst db1 port 3306', or a capture filter.")
@click.option("--token", help="Follow whatever carries these bytes (hexadecimal).")
@click.option("--service", help="Let the vmkernel use a service (vlab service), and follow what it sends.")
@watch_options
@click.option("-d", "--directory", type=click.Path(path_type=Path, file_okay=False), help="Keep the pcapng files here.")
@click.option("--self-test", "testing", is_flag=True, help="Can this lab's captures be believed?")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the answer, its frames and the lab as it was into this new folder (vlab evidence verify).",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An earlier answer (--json): what has changed is told, and makes exit 1.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def where(files: tuple[Path, ...], lab: str | None, sender: str | None, receiver: str | None, flow: str | None,
          token: str | None, service: str | None, seconds: float, captures: tuple[Path, ...], directory: Path | None,
          evidence: Path | None, baseline: Path | None, as_json: bool, testing: bool, **look: Any) -> None:  # fmt: skip
    """Where does a frame go? Send canaries, or follow what others send, and print the trail.

    \b
    vlab where --from web1 --to db1                  canaries in the running lab
    vlab where FILE --from web1 --to db1             a lab is built for the question and taken down after it
    vlab where --flow 'src web1 dst db1 port 3306'   what the guests say to each other
    vlab where --token c0ffee00...                   whatever carries these bytes
    vlab where --service nfs --from esx1 --to nas    what a host's vmkernel sends (vlab service lists them)
    vlab where --pcap *.pcapng --token c0ffee00...   in files alone; FILE says where their interfaces stand
    vlab where --self-test                           can this lab's captures be believed?

    Every wire is captured, so the trail is hop by hop, with who else saw the frame, and who could have. Exit 1: seen
    differs from predicted, or from the --baseline.
    """
    out = Output(as_json, baseline, directory, evidence)
    _check(out, captures)
    if sum(one is not None for one in (flow, token, service)) > 1:
        raise UsageError("--flow, --token or --service, not two of them")
    _check_asked(bool(captures), testing, flow or token, (sender, receiver, baseline))
    if captures:
        file, captures = topology_and_captures(files, captures)
        _offline(file, captures, flow, token, out)
        return
    file, _ = topology_and_captures(files, ())
    if testing:
        _self_test(file, lab, out)
    elif flow is not None or token is not None:
        _live(file, lab, flow, token, seconds, out)
    elif service is not None and sender is not None and receiver is not None:
        _service(file, lab, (service, sender, receiver), out)
    elif sender is None or receiver is None:
        raise UsageError("say --from and --to, or what to follow: --flow, --token, --pcap")
    else:
        _canaries(file, lab, sender, receiver, out, look)


def topology_and_captures(
    files: tuple[Path, ...], captures: tuple[Path, ...]
) -> tuple[Path | None, tuple[Path, ...]]:  # fmt: skip
    """A shell has put the second and later of `--pcap *.pcapng` where the topology FILE stands. Raises UsageError."""
    if not captures and len(files) > 1:
        raise UsageError(f"one topology FILE, not {len(files)} (captures need --pcap)")
    more = tuple(path for path in files if captures and path.suffix not in (".yaml", ".yml"))
    topologies = [path for path in files if path not in more]
    if len(topologies) > 1:
        raise UsageError(f"one topology FILE, not {len(topologies)}")
    return topologies[0] if topologies else None, (*captures, *more)


def wanted_in(flow: str | None, token: str | None, places: Mapping[str, Any]) -> Any:
    """What --flow or --token asks for, the lab's canaries without both. Raises UsageError."""
    from lab.answers.wanted import canaries, flow_wanted, token_wanted

    if flow is not None:
        return flow_wanted(flow, places)
    return token_wanted(token) if token is not None else canaries()


def _canaries(
    file: Path | None, lab: str | None, sender: str, receiver: str, out: Output, look: dict[str, Any]
) -> None:
    from lab.answers.probes import probe
    from lab.answers.where import where as ask
    from lab.report.where import as_json as document
    from lab.report.where import as_text

    before = read_answer(out.baseline) if out.baseline else None
    with opened(file, lab) as client:
        question = probe(client.place(sender), client.place(receiver), **look)
        state = client.state() if out.evidence else None
        answer = ask(client, question, out.directory)
        told = document(answer)
        _keep(client, state, out, told, as_text(answer), answer.caught)
    changed = compared(before, told, str(out.baseline)) if before else []
    if out.as_json:
        say_json({**told, "baseline": {"file": str(out.baseline), "changes": changed}} if before else told)
    else:
        click.echo(as_text(answer))
        say_changes(changed, out.baseline)
    if not answer.agrees or changed:
        raise SystemExit(DIFFERS)


def _self_test(file: Path | None, lab: str | None, out: Output) -> None:
    """What cannot be believed is no difference from a prediction: it is exit 6."""
    from lab.answers.selftest import self_test
    from lab.report.selftest import as_json, as_text

    with opened(file, lab) as client:
        checks = self_test(client)
    if out.as_json:
        say_json(as_json(checks))
    else:
        click.echo(as_text(checks))
    if not all(check.ok for check in checks):
        raise CannotTell("the instrument is not to be believed")


def _live(file: Path | None, lab: str | None, flow: str | None, token: str | None, seconds: float, out: Output) -> None:
    from lab.answers.follow import follow
    from lab.report.follow import as_json, as_text

    with opened(file, lab) as client:
        wanted = wanted_in(flow, token, client.places)
        state = client.state() if out.evidence else None
        told = follow(client, wanted, seconds, out.directory, lambda: click.echo("watching", err=True))
        _keep(client, state, out, as_json(told), as_text(told), told.caught)
    _say_followed(told, out)
    if not told.agrees:
        raise SystemExit(DIFFERS)


def _service(file: Path | None, lab: str | None, words: tuple[str, str, str], out: Output) -> None:
    from lab.answers.service import where_service
    from lab.report.follow import as_json, as_text

    if out.baseline:
        raise UsageError("--baseline compares answers about canaries (--from, --to)")
    with opened(file, lab) as client:
        state = client.state() if out.evidence else None
        done, told = where_service(client, *words, out.directory, lambda: None)
        _keep(client, state, out, as_json(told), as_text(told), told.caught)
    for line in done.done["warnings"]:
        click.echo(f"vlab: warning: {line}", err=True)
    _say_followed(told, out)
    if not told.agrees:
        raise SystemExit(DIFFERS)


def _offline(
    file: Path | None, captures: tuple[Path, ...], flow: str | None, token: str | None, out: Output
) -> None:  # fmt: skip
    from lab.answers.offline import follow_files
    from lab.client import places_of
    from lab.topology import read_topology_file

    topology = read_topology_file(file) if file else None
    wanted = wanted_in(flow, token, places_of(topology) if topology else {})
    told, whole = follow_files(captures, wanted, topology)
    _say_followed(told, out)
    check_whole(whole)


def _check(out: Output, captures: tuple[Path, ...]) -> None:
    """What cannot be done is told before a frame is sent."""
    from lab.answers.evidence import free_directory

    if out.evidence and captures:
        raise UsageError("--evidence is of a lab; captures that were given as files are evidence of their own")
    if out.evidence:
        free_directory(out.evidence)


def _check_asked(in_files: bool, testing: bool, followed: str | None, canaries: tuple[Any, ...]) -> None:
    """An option that would be left aside is refused: who compares with a baseline must not get a 0 without it."""
    if any(canaries) and (in_files or testing or followed):
        what = "--pcap" if in_files else "--self-test" if testing else "--flow and --token"
        raise UsageError(f"--from, --to and --baseline are of canaries that are sent; they do not go with {what}")
    if in_files and testing:
        raise UsageError("--self-test is of a lab, --pcap of files")


def _keep(client: Any, state: Any, out: Output, document: dict[str, Any], text: str, caught: Any) -> None:
    from lab.answers.evidence import Exhibit, write_evidence

    if out.evidence:
        digest = write_evidence(out.evidence, client, state, Exhibit(document, text, caught))
        click.echo(f"evidence in {out.evidence}; its manifest has SHA-256 {digest}", err=True)


def _say_followed(told: Any, out: Output) -> None:
    from lab.report.follow import as_json, as_text

    if out.as_json:
        say_json(as_json(told))
    else:
        click.echo(as_text(told))


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
