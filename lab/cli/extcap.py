"""extcap: Wireshark's list of interfaces has every capture point of every running lab."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from lab.errors import LabError, MachineLacks, SystemRefused, UsageError

PREFIX = "vlab"
_DLT = "dlt {number=1}{name=EN10MB}{display=Ethernet}"
_SCRIPT = """\
#!/bin/sh
# Wireshark asks for the link type and the options of every interface when it starts: they are always the same.
case "$*" in
*--extcap-dlts*) echo "{dlt}"; exit ;;
*--extcap-config*) exit ;;
esac
exec {python} -m lab.cli extcap "$@"
"""
_IGNORED = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command(context_settings=_IGNORED)
@click.option("--install", is_flag=True, help="Tell Wireshark of this program, in its folder for such.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --install: another folder, for WIRESHARK_EXTCAP_DIR.",
)
@click.option("--extcap-interfaces", "list_points", is_flag=True, help="Wireshark asks: which interfaces?")
@click.option("--extcap-dlts", "list_links", is_flag=True, help="Wireshark asks: which link types?")
@click.option("--extcap-config", "list_options", is_flag=True, help="Wireshark asks: which options?")
@click.option("--extcap-interface", "interface", help="Which one: vlab:LAB:POINT.")
@click.option("--capture", is_flag=True, help="Wireshark says: capture.")
@click.option("--fifo", type=click.Path(path_type=Path), help="Where to.")
def extcap(install: bool, folder: Path | None, list_points: bool, list_links: bool, list_options: bool,
           interface: str | None, capture: bool, fifo: Path | None) -> None:  # fmt: skip
    """Wireshark's external capture interface: `vlab extcap --install` once, then look at Wireshark's interfaces."""
    if install:
        click.echo(f"{_install(folder)} is written; restart Wireshark, or see tshark -D")
    elif list_points:
        click.echo("extcap {version=1.0}{help=vswitchlab}")
        for value, display in _points():
            click.echo(f"interface {{value={value}}}{{display={display}}}")
    elif list_links:
        click.echo(_DLT)
    elif capture:
        _capture(interface or "", fifo)
    elif not list_options:  # there are none
        raise UsageError("vlab extcap is for Wireshark; vlab extcap --install tells it so")


def _install(folder: Path | None) -> Path:
    """The script in Wireshark's folder for such programs. Raises MachineLacks, SystemRefused."""
    script = (folder or _wiresharks_folder()).resolve() / PREFIX
    try:
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(_SCRIPT.format(dlt=_DLT, python=shlex.quote(sys.executable)))
        script.chmod(0o755)
    except OSError as error:
        hint = "--folder DIR, and WIRESHARK_EXTCAP_DIR=DIR for Wireshark, does without it"
        raise SystemRefused(f"{script}: {error.strerror} ({hint})") from error
    return script


def _wiresharks_folder() -> Path:
    """The user's own where Wireshark has one (from 4.2), else everybody's."""
    try:
        said = subprocess.run(["tshark", "-G", "folders"], capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise MachineLacks("tshark is not installed (Debian package tshark)") from error
    folders = {name.strip(): place.strip() for name, _, place in (line.partition(":") for line in said.splitlines())}
    place = folders.get("Personal Extcap path") or folders.get("Extcap path")
    if not place:
        raise SystemRefused("tshark -G folders does not say where such programs belong: --folder DIR")
    return Path(place)


def _points() -> Iterator[tuple[str, str]]:
    """(value, words) of every node and every wire of every lab that is up."""
    from lab.client import LabClient
    from lab.observe.sightings import PointMap
    from lab.realise import sandbox

    for directory in sandbox.living():
        try:
            client = LabClient(directory)
            places = PointMap.of(client.plan).places
        except LabError:  # it ended since
            continue
        for node in dict.fromkeys(node for node, _ in places):
            yield f"{PREFIX}:{client.name}:{node}", f"{client.name} {node}: all its wires"
        for (node, label), (_, _, _, inward, outward) in places.items():
            yield f"{PREFIX}:{client.name}:{node}:{label}", f"{client.name} {node} {label} ({inward}, {outward})"
        client.close()


def _capture(interface: str, fifo: Path | None) -> None:
    """Until Wireshark says stop, or closes its end."""
    from lab.answers.capture import Limits, capture_to
    from lab.client import find_lab

    prefix, _, rest = interface.partition(":")
    lab, _, point = rest.partition(":")
    if prefix != PREFIX or not point or fifo is None:
        raise UsageError(f"no interface {interface!r}: vlab extcap --extcap-interfaces lists them")
    client = find_lab(lab)
    try:
        stream = os.open(fifo, os.O_WRONLY)
    except OSError as error:
        raise SystemRefused(f"{fifo}: {error.strerror}") from error
    os.dup2(stream, sys.stdout.fileno())
    try:
        capture_to(client, (point,), "-", Limits(), lambda: None)
    except BrokenPipeError:  # Wireshark has all that it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
