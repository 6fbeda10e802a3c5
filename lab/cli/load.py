"""load: real TCP and UDP flows between nodes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from lab.cli.output import lab_option, say_json, table
from lab.errors import SystemRefused

COLUMNS = ("flow", "protocol", "asked", "received", "emulated", "lost")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@lab_option
@click.option("--seconds", type=click.FloatRange(0.5, 3600), help="How long; the scenario's own time unless said.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def load(file: Path, lab: str | None, seconds: float | None, as_json: bool) -> None:
    """Run the TCP and UDP flows of a scenario FILE in a running lab, all at once.

    \b
    seconds: 10
    flows:
      - {from: web1, to: db1}                                 # TCP, as fast as it goes
      - {from: esx1.vmk1, to: esx2.vmk1, streams: 4}
      - {from: web2, to: gw, protocol: udp, rate: 2G, size: 1400}

    Rates are nominal, as in the topology file, and of payload. Ctrl-C ends every flow.
    """
    from dataclasses import replace

    from lab.answers.load import as_json as document
    from lab.answers.load import read_scenario, rows, run_load
    from lab.client import find_lab

    scenario = read_scenario(file)
    if seconds is not None:
        flows = tuple(flow.model_copy(update={"seconds": None}) for flow in scenario.flows)
        scenario = replace(scenario, seconds=seconds, flows=flows)
    client = find_lab(lab)
    scale = client.topology.speed_scale
    longest = max(flow.seconds or scenario.seconds for flow in scenario.flows)
    with _live(longest, scale) as progress:
        outcomes = run_load(client, scenario, progress)
    if as_json:
        say_json(document(outcomes, scale))
    else:
        table(COLUMNS, rows(outcomes, scale))
    failed = [outcome.flow.label for outcome in outcomes if outcome.why]
    if failed:
        raise SystemRefused(f"{len(failed)} of {len(outcomes)} flows failed: {', '.join(failed)}")


@contextmanager
def _live(seconds: float, scale: float) -> Iterator[Callable[[float, Mapping[str, float]], None]]:
    """A bar for the time and a line for each flow's present rate, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress

    from lab.answers.load import rate_text

    with Progress(console=Console(stderr=True), transient=True) as bar:
        whole = bar.add_task("load", total=seconds)
        lines: dict[str, object] = {}

        def show(elapsed: float, now: Mapping[str, float]) -> None:
            bar.update(whole, completed=min(elapsed, seconds))
            for label, rate in now.items():
                if label not in lines:
                    lines[label] = bar.add_task(label, total=None)
                bar.update(lines[label], description=f"{label}: {rate_text(rate / scale)}")  # type: ignore[arg-type]

        yield show
