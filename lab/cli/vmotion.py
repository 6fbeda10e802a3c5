"""vmotion, guest: virtual machines that move, and what they have in memory."""

from __future__ import annotations

import secrets

import click

from lab.cli.output import lab_option, say_json, say_report
from lab.errors import UsageError

TOKEN_SIZE = 16


@click.command()
@lab_option
@click.argument("vm")
@click.argument("host")
@click.option("--no-capture", is_flag=True, help="Do not look for the guest's memory on the wires.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def vmotion(lab: str | None, vm: str, host: str, no_capture: bool, as_json: bool) -> None:
    """Move a running VM to another HOST.

    Its memory is copied between the hosts' vMotion adapters while it runs, then its ports move. It keeps MAC, address
    and open connections. What vSphere would refuse is refused, with every reason.
    """
    from lab.answers.vmotion import vmotion as move
    from lab.client import find_lab
    from lab.report.vmotion import as_text

    report = move(find_lab(lab), vm, host, not no_capture)
    say_report(report, as_text(report), as_json)


@click.command()
@lab_option
@click.argument("vm", required=False)
@click.argument("host", required=False, metavar="[HOST|off]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def ft(lab: str | None, vm: str | None, host: str | None, as_json: bool) -> None:
    """Fault tolerance: keep a secondary of a VM on another HOST; without a VM, what is protected.

    What the primary hears and writes goes over the FT logging adapters. When its host fails (`vlab fail host esx1`) the
    secondary takes over with the same MAC.
    """
    from lab.client import find_lab

    client = find_lab(lab)
    if vm is not None and host is None:
        raise UsageError("say on which host the secondary is to be, or off")
    if vm is not None:
        done = client.ask("ft_off", vm=vm) if host == "off" else client.ask("ft_on", vm=vm, host=host)
        for line in done.get("warnings", ()):
            click.echo(f"vlab: warning: {line}", err=True)
    found = client.ask("ft") if vm is None else [done]
    if as_json:
        say_json({"schema": 1, "protected": found})
        return
    for one in found:
        state = one["broken"] or ("no more" if host == "off" else "protected")
        carried = f"{one['inputs']} frames and {one['pages']} pages sent, {one['bytes']} bytes"
        click.echo(f"{one['vm']}: primary {one['primary']}, secondary {one['secondary']}, {state}; {carried}")
    if not found:
        click.echo("no VM is protected", err=True)


@click.group()
def guest() -> None:
    """What a VM has in its memory."""


@guest.command("write-memory")
@lab_option
@click.argument("vm")
@click.option("--token", help="16 bytes as hex, or up to 16 characters of text; random unless said.")
@click.option("--page", type=click.IntRange(0), default=0, show_default=True, help="The first page (4 KB) to fill.")
@click.option("--pages", type=click.IntRange(1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def write_memory(lab: str | None, vm: str, token: str | None, page: int, pages: int, as_json: bool) -> None:
    """Let a VM fill pages of its memory with a marker that can be found again.

    vMotion copies it, and `vlab vmotion` tells where it was on a wire in clear.
    """
    from lab.client import find_lab

    said = find_lab(lab).ask("guest_write", vm=vm, token=_token(token).hex(), page=page, pages=pages)
    if as_json:
        say_json({"schema": 1, **said})
    else:
        last = f" to {page + pages - 1}" if pages > 1 else ""
        click.echo(f"{vm} has the marker {said['token']} in page {page}{last} of its memory")


@guest.command("find-memory")
@lab_option
@click.argument("vm")
@click.argument("token")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def find_memory(lab: str | None, vm: str, token: str, as_json: bool) -> None:
    """Which pages of a VM's memory hold a TOKEN. Exit 1 when none does."""
    from lab.client import find_lab

    found = find_lab(lab).ask("guest_find", vm=vm, token=_token(token).hex())
    if as_json:
        say_json({"schema": 1, "vm": vm, **found})
    else:
        pages = found["pages"]
        shown = ", ".join(map(str, pages[:12])) + (f" and {len(pages) - 12} more" if len(pages) > 12 else "")
        click.echo(f"{vm}: {'in page ' + shown if pages else 'not in its memory'}")
    if not found["pages"]:
        raise click.exceptions.Exit(1)


@guest.command()
@lab_option
@click.argument("vm")
@click.argument("rate", type=click.FloatRange(0))
def churn(lab: str | None, vm: str, rate: float) -> None:
    """Let a VM change RATE pages of its memory a second; 0 ends it."""
    from lab.client import find_lab

    find_lab(lab).ask("guest_churn", vm=vm, rate=rate)
    click.echo(f"{vm} changes {rate:g} pages a second")


def _token(text: str | None) -> bytes:
    if text is None:
        return secrets.token_bytes(TOKEN_SIZE)
    try:
        raw = bytes.fromhex(text) if len(text) == 2 * TOKEN_SIZE else text.encode()
    except ValueError:
        raw = text.encode()
    if not 0 < len(raw) <= TOKEN_SIZE:
        raise UsageError(f"a token is {2 * TOKEN_SIZE} hexadecimal digits, or text of up to {TOKEN_SIZE} bytes")
    return raw.ljust(TOKEN_SIZE, b"\0")
