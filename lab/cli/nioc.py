"""nioc: what Network I/O Control gives to whom, measured beside what it should give."""

from __future__ import annotations

import click

from lab.cli.output import lab_option, say_json, table
from lab.errors import CannotTell, UsageError


@click.command()
@lab_option
@click.option("--seconds", type=click.FloatRange(0.5, 600), default=3.0, show_default=True, help="How long to measure.")
@click.option("--all", "every", is_flag=True, help="Show pNICs without traffic too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def nioc(lab: str | None, seconds: float, every: bool, as_json: bool) -> None:
    """For each pNIC under Network I/O Control and each traffic type: shares, reservation, limit, what it should get of
    the present load, what it got. For each pool of one's own (version 3): its quota, and how much of it is taken.

    Exit code 1 when one is more than 3 % of the link off; 6 when there was too little load to tell, or the machine was
    too busy.
    """
    from lab.client import find_lab
    from lab.report import nioc as report

    client = find_lab(lab)
    topology = client.topology
    if not any(dvs.network_io_control for dvs in topology.distributed_switches.values()):
        raise UsageError("no distributed switch of this lab has Network I/O Control (network_io_control: {})")
    measured = client.ask("queues", seconds=seconds)
    judged = report.judge(topology, measured)
    scale = topology.speed_scale
    if as_json:
        say_json(report.as_json(judged, measured, topology))
    else:
        for one in judged:
            if every or one.verdict is not report.Verdict.IDLE:
                speed = f"{one.capacity / scale / 1e9:g}G nominal, {one.capacity / 1e6:g}M emulated"
                click.echo(f"{one.host}:{one.pnic}, {speed}: {one.verdict}")
                table(report.COLUMNS, report.rows(one, scale))
        if pools := report.pool_rows(topology):
            table(report.POOL_COLUMNS, pools)
    code = report.exit_code(judged)
    if code == CannotTell.exit_code:
        idle = f"{measured['idle']:.0%} of this machine was idle"
        loaded = [one for one in judged if one.verdict is not report.Verdict.IDLE]
        raise CannotTell(f"could not tell: {idle}" if loaded else "no pNIC has any traffic (vlab load FILE)")
    raise SystemExit(code)
