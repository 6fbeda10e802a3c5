"""doctor, fidelity, test: about this machine, about the lab, about its tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from lab.cli.output import say_json
from lab.errors import MachineLacks, UsageError

CLONE = Path(__file__).resolve().parents[2]
WORKERS_PER_PROCESSOR = 3
"""A test of a lab mostly waits: for frames, for switches to settle."""
MEASURING = ("lab/test_nioc.py", "lab/test_shaping.py", "lab/test_chassis_rates.py", "unit/test_page_speed.py")
"""They fill links or look at the clock, and are run when the others have ended."""


def _in_clone(name: str) -> Path:
    path = CLONE / name
    if not path.exists():
        raise UsageError(f"{path} is missing: this verb needs a clone of vswitchlab")
    return path


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def doctor(as_json: bool) -> None:
    """What this machine has and lacks for the lab, and what each lack costs."""
    from lab.realise.doctor import examine

    findings = list(examine())
    broken = [f.name for f in findings if f.required and not f.ok]
    if as_json:
        say_json({"schema": 1, "ok": not broken, "findings": [
            {"name": f.name, "ok": f.ok, "required": f.required, "detail": f.detail,
             "cost": "" if f.ok else f.cost, "mend": "" if f.ok else f.mend} for f in findings]})  # fmt: skip
    else:
        for f in findings:
            mark = click.style("ok", fg="green") if f.ok else click.style("LACKS" if f.required else "no", fg="red")
            click.echo(f"  {mark + ' ' * (6 - len(click.unstyle(mark)))}{f.name}{f'  {f.detail}' if f.detail else ''}")
            if not f.ok:
                click.echo(f"          costs: {f.cost}" + (f"; mend: {f.mend}" if f.mend else ""))
    if broken:
        raise MachineLacks(f"no lab can run here: {', '.join(broken)}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--markdown", is_flag=True, help="The whole table, as docs/fidelity.md has it.")
def fidelity(as_json: bool, markdown: bool) -> None:
    """How many of the statements about vSphere's behaviour the lab shows."""
    import yaml

    from lab.report import fidelity as table

    with _in_clone("docs/statements.yaml").open() as file:
        statements = table.statements_of(yaml.load(file, Loader=yaml.CSafeLoader))
    if as_json:
        say_json(table.as_json(statements))
    else:
        click.echo(table.as_markdown(statements) if markdown else table.as_text(statements), nl=not markdown)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--fast", is_flag=True, help="Leave out what needs namespaces.")
@click.option(
    "--vm", is_flag=True, help="Only `vagrant up` from bare and what is tried in that VM (minutes; tests/vm)."
)
@click.option(
    "--datapath",
    type=click.Choice(["kernel"]),
    help="Only what needs namespaces, on the kernel's datapath: in a kernel of its own where this one has none.",
)
@click.argument("pytest_options", nargs=-1, type=click.UNPROCESSED)
def test(fast: bool, vm: bool, datapath: str | None, pytest_options: tuple[str, ...]) -> None:
    """Every check and test of vswitchlab itself: ruff, mypy, pytest. Further options go to pytest."""
    from lab.realise.datapath import kernel_has_datapath

    if fast + vm + bool(datapath) > 1:
        raise UsageError("--fast, --vm and --datapath are different runs")
    if vm or (datapath and not kernel_has_datapath()):
        _run_steps({"pytest": ["pytest", "-m", "vm", "-s", *_of_another_kernel(vm), *pytest_options]})
    elif datapath:
        os.environ["VLAB_DATAPATH"] = datapath
        _run_steps(_pytest_steps(("lab",), pytest_options))
    else:
        checks = {
            "ruff check": ["ruff", "check", "."],
            "ruff format": ["ruff", "format", "--check", "."],
            "mypy": ["mypy"],
        }
        parts = ("unit", "golden", "fuzz/test_trace.py") if fast else ("unit", "golden", "fuzz", "lab")
        _run_steps(checks | _pytest_steps(parts, pytest_options))


def _of_another_kernel(vm: bool) -> list[str]:
    directory = _in_clone("tests") / "vm"
    own = directory / "test_on_another_kernel.py"
    return [str(directory), f"--ignore={own}"] if vm else [str(own)]


def _pytest_steps(parts: Sequence[str], pytest_options: Sequence[str]) -> dict[str, list[str]]:
    tests = [str(_in_clone("tests") / part) for part in parts]
    measuring = [str(CLONE / "tests" / file) for file in MEASURING if file.partition("/")[0] in parts]
    workers = os.environ.get("VLAB_TEST_WORKERS") or str(WORKERS_PER_PROCESSOR * (os.cpu_count() or 1))
    chosen = pytest_options or [*tests, *(f"--ignore={CLONE / 'tests' / file}" for file in MEASURING)]
    steps = {"pytest": ["pytest", "-n", workers, *chosen]}
    if "lab" in parts and not pytest_options:
        steps["pytest, tests that measure rates"] = ["pytest", "-n", "2", "--dist", "loadfile", *measuring]
    return steps


def _run_steps(steps: Mapping[str, Sequence[str]]) -> None:
    """Each, whatever became of those before it. Raises SystemExit when one failed."""
    failed = []
    for name, argv in steps.items():
        click.echo(f"== {name}", err=True)
        if subprocess.run([sys.executable, "-m", *argv], cwd=CLONE).returncode:
            failed.append(name)
    if failed:
        click.echo(f"FAILED: {', '.join(failed)}", err=True)
        raise SystemExit(1)
