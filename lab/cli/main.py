"""`vlab`: the verbs, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from typing import Any

import click

from lab.errors import LabBug, LabError, UsageError

VERBS = {
    "check": "lab.cli.files:check",
    "plan": "lab.cli.files:plan",
    "schema": "lab.cli.files:schema",
    "up": "lab.cli.labs:up",
    "down": "lab.cli.labs:down",
    "list": "lab.cli.labs:list_labs",
    "status": "lab.cli.labs:status",
    "exec": "lab.cli.labs:exec_in",
    "shell": "lab.cli.labs:shell",
    "send": "lab.cli.traffic:send",
    "capture": "lab.cli.traffic:capture",
    "where": "lab.cli.where:where",
    "predict": "lab.cli.traffic:predict",
    "verify": "lab.cli.traffic:verify",
    "link": "lab.cli.faults:link",
    "fail": "lab.cli.faults:fail",
    "lbt": "lab.cli.faults:lbt",
    "set": "lab.cli.changes:set_policy",
    "events": "lab.cli.changes:events",
    "top": "lab.cli.top:top",
    "neighbors": "lab.cli.neighbors:neighbors",
    "graph": "lab.cli.picture:graph",
    "report": "lab.cli.report:report",
    "extcap": "lab.cli.extcap:extcap",
    "evidence": "lab.cli.evidence:evidence",
    "nioc": "lab.cli.nioc:nioc",
    "load": "lab.cli.load:load",
    "vmotion": "lab.cli.vmotion:vmotion",
    "ft": "lab.cli.vmotion:ft",
    "guest": "lab.cli.vmotion:guest",
    "service": "lab.cli.service:service",
    "fidelity": "lab.cli.about:fidelity",
    "demo": "lab.cli.demo:demo",
    "doctor": "lab.cli.about:doctor",
    "test": "lab.cli.about:test",
    "sandbox": "lab.cli.labs:sandbox",
}
INTERRUPTED = 130
BROKEN_PIPE = 141


class Verbs(click.Group):
    """A verb's module is imported when the verb is used: `vlab check` must not wait for what `vlab up` needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            close = get_close_matches(args[0], VERBS, 1, 0.5)
            hint = f" (did you mean {close[0]!r}?)" if close else " (vlab --help lists the verbs)"
            raise UsageError(f"no verb {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vswitchlab", prog_name="vlab")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """The network of a virtualised datacentre on this machine: where did my data go, and who could have seen it?"""
    if debug:
        os.environ["VLAB_DEBUG"] = "1"


def main() -> None:
    """Exit codes: docs/commands.md. A traceback is shown only with --debug."""
    sys.exit(run())


def run(args: list[str] | None = None) -> int:
    """Run a verb and give its exit code; errors are told on stderr."""
    out = sys.stdout
    try:
        done = cli.main(args, prog_name="vlab", standalone_mode=False)
        sys.stdout.flush()
        return done if isinstance(done, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:
        if sys.stdout is not out:  # click puts another there when the reader of our output has gone
            return BROKEN_PIPE
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`vlab plan FILE | head`): nothing is wrong; keep Python from saying so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except LabError as error:
        return _told(error)
    except Exception as error:
        return _told(LabBug(f"a bug in vswitchlab: {type(error).__name__}: {error} (--debug shows where)"))


def _told(error: LabError) -> int:
    if os.environ.get("VLAB_DEBUG"):
        traceback.print_exc()
    for line in str(error).splitlines():
        click.echo(line if error.exit_code == 3 else f"vlab: {line}", err=True)
    return error.exit_code
