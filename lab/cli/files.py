"""check, plan, schema: a topology file by itself; no privileges, nothing started."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from lab.cli.output import say_json
from lab.errors import TopologyError

FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Read topology FILEs and tell every mistake in them."""
    from lab.topology import read_topology_file, warnings

    results = []
    for file in files:
        try:
            topology = read_topology_file(file)
        except TopologyError as error:
            wrong = [{"line": m.line, "column": m.column, "path": m.path, "what": m.what, "hint": m.hint}
                     for m in error.mistakes]  # fmt: skip
            results.append({"file": str(file), "ok": False, "mistakes": wrong, "warnings": []})
            click.echo(str(error), err=True)
            continue
        warned = warnings(topology)
        results.append({"file": str(file), "ok": True, "mistakes": [], "warnings": list(warned)})
        for line in warned:
            click.echo(f"{file}: warning: {line}", err=True)
        if not as_json:
            counts = f"{len(topology.hosts)} hosts, {len(topology.vms)} VMs, {len(topology.vnics)} vNICs"
            boxes = Counter("modules" if s.module else "pSwitches" for s in topology.physical_switches.values())
            physical = f"{boxes['pSwitches']} pSwitches" + (f", {boxes['modules']} modules" if boxes["modules"] else "")
            click.echo(f"{file}: {topology.name} (vSphere {topology.release}): {counts}, {physical}")
    if as_json:
        say_json({"schema": 1, "files": results})
    if not all(result["ok"] for result in results):
        raise SystemExit(TopologyError.exit_code)


@click.command()
@FILE
def plan(file: Path) -> None:
    """Print what would be built: namespaces, cables, OpenFlow rows."""
    from lab.plan import compile_plan
    from lab.plan.render import render
    from lab.teaming import initial_state
    from lab.topology import read_topology_file

    topology = read_topology_file(file)
    click.echo(render(compile_plan(topology, initial_state(topology))), nl=False)


@click.command()
def schema() -> None:
    """Print the JSON Schema of topology files, for editors."""
    from lab.topology import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
