"""Capture at named points into one pcapng file or a stream."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.client import LabClient, nearest
from lab.errors import CannotTell, SystemRefused, UsageError
from lab.frame import Point
from lab.observe.pcapng import merge_pcapng
from lab.observe.sightings import End, PointMap

GRACE_SECONDS = 1.5
"""What was on the wires is in the files by then, however much hosts and pSwitches go on talking."""


def ends_of(client: LabClient, points: Sequence[str]) -> list[tuple[str, list[str]]]:
    """`esx1`, `web1`, `esx1:vmnic1`, `UplinkSnd:esx1:vmnic1`, `VnicRx:web2` -> (node, interface labels).

    No point: every wire of every host and pSwitch. Raises UsageError with the nearest name.
    """
    known = PointMap.of(client.plan)
    chosen: dict[str, dict[str, None]] = defaultdict(dict)
    boxes = [node.name for node in client.plan.nodes if node.is_box and node.interfaces]
    for point in points or boxes:
        for node, label in _ends(known, point):
            chosen[node].setdefault(label, None)
    return [(node, list(labels)) for node, labels in chosen.items()]


def _ends(known: PointMap, point: str) -> list[End]:
    word, _, rest = point.partition(":")
    wanted = Point(word) if word in set(Point) else None
    name = rest if wanted else point
    found = [
        end
        for end, place in known.places.items()
        if name in ("", end[0], f"{end[0]}:{end[1]}", f"{end[0]}.{end[1]}") and wanted in (None, *place[3:])
    ]
    if not found:
        names = [*dict.fromkeys(n for n, _ in known.places), *(f"{n}:{i}" for n, i in known.places), *Point]
        raise UsageError(f"no capture point {point!r}{nearest(point, names)}")
    return found


def _start(
    client: LabClient, points: Sequence[str], targets: list[tuple[str, list[str]]], directory: str, count: int = 0
) -> dict[str, Any]:
    """Raises UsageError when a point that was asked for is on an interface that is switched off."""
    started: dict[str, Any] = client.ask("capture_start", targets=targets, directory=directory, count=count)
    heard = {(node, label) for node, label in started["captured"]}
    deaf = [f"{node}:{label}" for node, labels in targets for label in labels if (node, label) not in heard]
    if not heard or (points and deaf):
        client.ask("capture_stop", number=started["id"])
        raise UsageError(f"nothing can be captured at {', '.join(deaf)}: switched off")
    return started


@contextmanager
def capturing(client: LabClient, points: Sequence[str], target: Path) -> Iterator[None]:
    """While the block runs; the file is whole afterwards. Raises CannotTell when frames were lost."""
    with tempfile.TemporaryDirectory(prefix="vlab-") as place:
        started = _start(client, points, ends_of(client, points), place)
        try:
            yield
            client.ask("capture_settle", number=started["id"], seconds=GRACE_SECONDS)
        finally:
            stats = client.ask("capture_stop", number=started["id"])
        merge_pcapng([Path(path) for path in started["files"].values()], target)
    lost = sum(said["dropped"] for said in stats.values())
    if lost:
        raise CannotTell(f"the capture lost {lost} frames")


@dataclass(frozen=True)
class Limits:
    """When a capture ends by itself: after so many seconds, or after so many frames at one node."""

    seconds: float | None = None
    count: int | None = None


def capture_to(client: LabClient, points: Sequence[str], target: str, limits: Limits, ready: Callable[[], None]) -> int:
    """Until a limit is reached or Ctrl-C. One node can stream to `-`; several are merged into one file at the end.

    Returns how many frames were lost. Raises UsageError, SystemRefused, CannotTell.
    """
    targets = ends_of(client, points)
    if target == "-" and len(targets) > 1:
        names = ", ".join(node for node, _ in targets)
        raise UsageError(f"a stream comes from one node, these points are in {names}: name one, or write a file")
    if target != "-":
        _writable(Path(target))
    with tempfile.TemporaryDirectory(prefix="vlab-") as text:
        place = Path(text)
        stream = _pipe(client, place, targets[0][0]) if target == "-" else None
        started = _start(client, points, targets, text, limits.count or 0)
        # Also where a shell script started this with `&`, and so had SIGINT ignored; and for a plain `kill`.
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.default_int_handler)
        try:
            with suppress(KeyboardInterrupt):
                ready()
                _until_done(client, started["id"], limits, stream)
        finally:
            # Whatever went wrong, what was captured up to then is handed over.
            try:
                stats = client.ask("capture_stop", number=started["id"])
            finally:
                if stream is not None:
                    _copy(stream)
                    os.close(stream)
                else:
                    _deliver([Path(path) for path in started["files"].values()], Path(target))
    return sum(said["dropped"] for said in stats.values())


def _writable(target: Path) -> None:
    """Told before the capture, not after it. Raises SystemRefused."""
    try:
        target.open("wb").close()
    except OSError as error:
        raise SystemRefused(f"{target}: {error.strerror}") from error


def _pipe(client: LabClient, place: Path, node: str) -> int:
    """A named pipe where the node's file would be: the daemon writes it, this process copies it to stdout."""
    path = place / f"{client.plan.node_named[node].id}.pcapng"
    os.mkfifo(path)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _copy(stream: int) -> None:
    """All that is in the pipe now."""
    while True:
        try:
            chunk = os.read(stream, 1 << 20)
        except BlockingIOError:
            return
        if not chunk:
            return
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _until_done(client: LabClient, number: int, limits: Limits, stream: int | None) -> None:
    deadline = time.monotonic() + limits.seconds if limits.seconds else None
    while client.ask("capture_alive", number=number):
        if deadline and time.monotonic() > deadline:
            client.ask("capture_settle", number=number, seconds=GRACE_SECONDS) if stream is None else None
            return
        select.select([stream] if stream is not None else [], [], [], 0.1)
        if stream is not None:
            _copy(stream)


def _deliver(paths: Sequence[Path], target: Path) -> None:
    try:
        if len(paths) == 1:
            shutil.move(paths[0], target)
        else:
            merge_pcapng(paths, target)
    except OSError as error:
        raise SystemRefused(f"{target}: {error.strerror}") from error
