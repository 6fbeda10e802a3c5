"""send, capture, predict, verify: questions with frames."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lab.cli.output import lab_option, progress_bar, say_json, unlike_any_other
from lab.errors import CannotTell, UsageError

DIFFERS = 1


class TagType(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.5
    """`10`, `0` for a priority tag, `10p5` with priority 5, `10@88a8` with another TPID."""

    name = "vid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from lab.frame import Tag

        if isinstance(value, Tag):
            return value
        text, _, tpid = str(value).partition("@")
        vid, _, pcp = text.partition("p")
        try:
            tag = Tag(int(vid), int(pcp or 0), int(tpid or "8100", 16))
        except ValueError:
            self.fail(f"{value!r} is no tag: VID, VIDpPRIORITY or VID@TPID", param, ctx)
        if not (0 <= tag.vid <= 4095 and 0 <= tag.pcp <= 7 and tag.tpid in (0x8100, 0x88A8)):
            self.fail(f"{value!r}: VID 0 to 4095, priority 0 to 7, TPID 8100 or 88a8", param, ctx)
        return tag


def frame_options(command: Any) -> Any:
    """The options that say what a frame looks like."""
    for option in reversed(
        (
            click.option("--vlan", "vlans", multiple=True, type=TagType(),
                         help="A tag; repeat for double tags, outermost first."),
            click.option("--src-mac", help="Source MAC; the sender's own unless said."),
            click.option("--dst-mac", help="Destination MAC; the receiver's unless said; `broadcast`."),
            click.option("--kind", type=click.Choice(["auto", "udp", "tcp", "arp", "raw"]), default="auto",
                         show_default=True, help="What the frame carries; auto: UDP between addresses, else raw."),
            click.option("--size", type=click.IntRange(60, 9000), help="Bytes of the frame without its tags."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def watch_options(command: Any) -> Any:
    """How long to watch, or the files in which it stands already."""
    seconds = click.option(
        "--seconds",
        type=click.FloatRange(min=0, min_open=True),
        default=5.0,
        show_default=True,
        help="How long to watch for --flow or --token; Ctrl-C ends it too.",
    )
    captures = click.option(
        "--pcap",
        "captures",
        multiple=True,
        type=click.Path(path_type=Path),
        help="What is in capture files, without a lab: --pcap *.pcapng.",
    )
    return seconds(captures(command))


def check_whole(whole: bool) -> None:
    """Raises CannotTell when a capture file breaks off, or has not all of its frames whole."""
    if not whole:
        raise CannotTell("a capture is not whole: what is not in it may have been on the wire all the same")


@contextmanager
def opened(file: Path | None, lab: str | None) -> Iterator[Any]:
    """The running lab, or one for FILE that is gone afterwards."""
    from lab.client import find_lab
    from lab.lifetime import launched

    if file is not None and lab is not None:
        raise UsageError("FILE or --lab, not both")
    if file is None:
        client = find_lab(lab)
        yield client
        client.close()
        return
    with (
        progress_bar() as progress,
        launched(file, name=f"{file.stem[:20]}-{unlike_any_other()}", progress=progress) as client,
    ):
        yield client


@click.command()
@lab_option
@click.option("--from", "sender", required=True, help="web1, web1.eth1, esx1.vmk0, gw.")
@click.option("--to", "receiver", help="Gives the destination's MAC and address; broadcast unless said.")
@frame_options
@click.option("--count", default=1, type=click.IntRange(1), show_default=True)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Frames a second; as fast as it goes unless said."
)
@click.option(
    "--pcap", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Replay the frames of a capture."
)
@click.option("--hex", "hex_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Send frames given as hexadecimal text.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def send(lab: str | None, sender: str, receiver: str | None, count: int, rate: float | None, pcap: Path | None,
         hex_file: Path | None, as_json: bool, **look: Any) -> None:  # fmt: skip
    """Send frames from a VM, a vmknic or a machine."""
    from lab.answers.probes import frames_to_send
    from lab.client import find_lab

    client = find_lab(lab)
    place = client.place(sender)
    target = client.place(receiver) if receiver else None
    job = frames_to_send(place, target, pcap, hex_file, **look)
    (sent,) = client.ask(
        "send", jobs=[{**job, "node": place.node, "interface": place.interface, "count": count, "rate": rate}]
    )
    speed = sent["sent"] / sent["seconds"] if sent["seconds"] else 0.0
    if as_json:
        say_json(
            {
                "schema": 1,
                "from": place.label,
                "sent": sent["sent"],
                "seconds": sent["seconds"],
                "frames_per_second": speed,
            }
        )
    else:
        click.echo(f"sent {sent['sent']} frames from {place.label} in {sent['seconds']:.3f} s ({speed:,.0f} frames/s)")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "sender", required=True, help="web1, web1.eth1, esx1.vmk0, gw.")
@click.option("--to", "receiver", required=True)
@frame_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def predict(file: Path, sender: str, receiver: str, as_json: bool, **look: Any) -> None:
    """Where would a frame go, and who could see it? Nothing is started.

    Every trail is printed, with the ids of the statements (docs/fidelity.md) that decide its steps.
    """
    from lab.answers.probes import probe
    from lab.client import places_of, resolve
    from lab.frame import Frame
    from lab.predict import predict as foretell
    from lab.predict.exposure import Flow, could_see
    from lab.predict.groups import tree_with_groups, way_with_groups
    from lab.report.exposure import could_see_json, could_see_lines
    from lab.report.where import hops_json, trail_lines
    from lab.teaming import initial_state
    from lab.topology import read_topology_file

    topology = read_topology_file(file)
    places = places_of(topology)
    question = probe(resolve(sender, places), resolve(receiver, places), 1, None, **look)
    state, frame = initial_state(topology), Frame.parse(question.frame)
    said = foretell(topology, state, question.sender.label, frame)
    could = could_see(topology, state, Flow(question.sender.label, question.receiver.label, frame))
    if as_json:
        delivered = question.receiver.label in said.receivers
        say_json({"schema": 1, "from": question.sender.label, "to": question.receiver.label,
                  "disposition": "delivered" if delivered else "dropped",
                  "predicted": hops_json(tree_with_groups(topology, said.hops)),
                  "exposure": {"could_see": could_see_json(could)}})  # fmt: skip
        return
    for trail in said.trails():
        for line in trail_lines(way_with_groups(topology, trail)):
            click.echo(line)
        click.echo("")
    for line in could_see_lines(could):
        click.echo(line)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@lab_option
@click.option("-d", "--directory", type=click.Path(path_type=Path, file_okay=False), help="Keep the pcapng files here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def verify(file: Path | None, lab: str | None, directory: Path | None, as_json: bool) -> None:
    """The isolation matrix: every vNIC to every other.

    What is seen is compared with the prediction and with the file's `expect:`.

    Exit 1: something differs or an expectation is broken. Exit 6: the evidence is not good enough.
    """
    from lab.answers.verify import verify as ask
    from lab.report.verify import as_json as document
    from lab.report.verify import as_text

    with opened(file, lab) as client, progress_bar() as progress:
        report = ask(client, directory, progress)
    if as_json:
        say_json(document(report))
    else:
        click.echo(as_text(report))
    if not report.ok:
        raise SystemExit(DIFFERS)


@click.command()
@lab_option
@click.argument("points", nargs=-1)
@click.option("-w", "--write", "target", required=True, help="A pcapng file, or - for stdout (| wireshark -k -i -).")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many frames.")
def capture(lab: str | None, points: tuple[str, ...], target: str, seconds: float | None, count: int | None) -> None:
    """Capture at POINTs until told to stop (Ctrl-C).

    A POINT is `esx1`, `web1`, `esx1:vmnic1`, `UplinkSnd:esx1:vmnic1`, `VnicRx:web2`.

    Without POINT: every wire of every host and pSwitch. `capturing` on stderr says that it has begun.
    """
    from lab.answers.capture import Limits, capture_to
    from lab.client import find_lab

    client = find_lab(lab)
    lost = capture_to(client, points, target, Limits(seconds, count), lambda: click.echo("capturing", err=True))
    sys.stdout.flush()
    if lost:
        raise CannotTell(f"the capture lost {lost} frames")
