"""`launch()`: a lab for the length of a `with` block."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.client import LabClient
from lab.errors import UsageError
from lab.realise import sandbox
from lab.realise.sandbox import Progress, Sandbox

DATAPATHS = ("user", "kernel")
DISTANCES = ("auto", "netem", "wire")


def _silent(_step: str, _done: int, _of: int) -> None:
    return None


def bring_up(
    source: Path | str, name: str | None = None, datapath: str = "auto", progress: Progress = _silent,
    distance: str = "auto",
) -> tuple[Sandbox, LabClient]:  # fmt: skip
    """Start a lab from a topology file; it ends with this process unless the sandbox is detached.

    `datapath` is `user`, `kernel` or `auto`: what the environment's VLAB_DATAPATH says, else `user`.
    `distance` is `netem`, `wire` or `auto`: what VLAB_DISTANCE says, else `netem` where the kernel has it.
    Raises TopologyError, UsageError (the name is taken), MachineLacks, SystemRefused; then nothing is left behind.
    """
    from lab.topology import read_topology, read_topology_text

    text = read_topology_text(Path(source))
    topology = read_topology(text, str(source))
    spec: dict[str, Any] = {"name": name or topology.name, "text": text, "source": str(source)}
    spec["datapath"] = datapath_named(datapath)
    spec["distance"] = distance_named(distance)
    if not spec["name"].strip() or "/" in spec["name"] or spec["name"].startswith("."):
        raise UsageError(f"{spec['name']!r} is no name for a lab")
    box = sandbox.start(spec, progress)
    try:
        return box, LabClient(box.claim.directory)
    except BaseException:
        box.end()
        raise


def datapath_named(wanted: str) -> str:
    """`user` or `kernel`; `auto` is what VLAB_DATAPATH says, else `user`. Raises UsageError for what is neither."""
    return _named("datapath", wanted, "VLAB_DATAPATH", DATAPATHS)


def distance_named(wanted: str) -> str:
    """`auto`, `netem` or `wire`; `auto` is what VLAB_DISTANCE says. Raises UsageError for what is none of them."""
    return _named("distance", wanted, "VLAB_DISTANCE", DISTANCES)


def _named(what: str, wanted: str, variable: str, known: Sequence[str]) -> str:
    """What is said goes before the environment; `auto` in neither is the first of `known`."""
    named = os.environ.get(variable) or known[0] if wanted == "auto" else wanted
    if named not in known:
        raise UsageError(f"{named!r} is no {what}: {variable} may be {' or '.join(known)}")
    return named


@contextmanager
def launched(
    source: Path | str, name: str | None = None, datapath: str = "auto", progress: Progress = _silent
) -> Iterator[LabClient]:
    """A lab that is gone at the end of the block, whatever happens in it, `kill -9` of this process included."""
    box, client = bring_up(source, name, datapath, progress)
    try:
        yield client
    finally:
        client.close()
        box.end()
