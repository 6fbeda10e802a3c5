"""One folder for one answer: the frames, the answer, the lab as it was, and a manifest that tells any later change."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lab.answers.campaign import place_of_hop
from lab.client import LabClient
from lab.errors import SystemRefused, UsageError
from lab.frame import Hop
from lab.observe.pcapng_write import Noted, write_pcapng
from lab.plan.render import render
from lab.report.where import Caught
from lab.state import State
from lab.state_json import to_json

MANIFEST = "manifest.json"
_PROGRAMS = (("ovs-vswitchd", "--version"), ("dumpcap", "--version"))
_PACKAGES = ("vswitchlab", "mininet", "pyroute2", "scapy")


@dataclass(frozen=True)
class Exhibit:
    """An answer as it was printed, and the frames that it is about."""

    document: Mapping[str, Any]
    text: str
    caught: Sequence[Caught]


def free_directory(path: Path) -> None:
    """Raises UsageError when there is something: evidence is never written over."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is there already: evidence is never written over")


def write_evidence(directory: Path, client: LabClient, state: State, exhibit: Exhibit) -> str:
    """`state`: as it was before the first frame. Gives the SHA-256 of the manifest.

    Raises UsageError, SystemRefused.
    """
    free_directory(directory)
    texts = {
        "answer.json": _json(exhibit.document),
        "answer.txt": exhibit.text + "\n",
        "topology.yaml": str(client.facts["text"]),
        "edits.json": _json(client.ask("edits")),
        "state.json": _json(to_json(state)),
        "plan.txt": render(client.plan),
        "about.json": _json(about(client, exhibit.caught)),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (directory / name).write_text(text)
        write_pcapng(directory / "frames.pcapng", f"evidence of vswitchlab, lab {client.name}", _noted(exhibit.caught))
        files = {path.name: _digest(path) for path in sorted(directory.iterdir())}
        (directory / MANIFEST).write_text(_json({"schema": 1, "made": _now(), "files": files}))
    except OSError as error:
        raise SystemRefused(f"{directory}: {error.strerror}") from error
    return str(_digest(directory / MANIFEST)["sha256"])


def _noted(caught: Sequence[Caught]) -> list[Noted]:
    return [Noted(_place(c.hop), c.hop.time_ns or 0, c.data, comment_of(c)) for c in caught]


def _place(hop: Hop) -> str:
    """`esx1:vmnic0`, `web1:eth0`: whose interface it is, and its name."""
    box, node, interface, own = place_of_hop(hop)
    return f"{node if own else box}:{interface}"


def comment_of(caught: Caught) -> str:
    """`esx1 UplinkSnd vmnic0, VLAN 10, hop 5, frame 1, decided by FWD-4 VLAN-3`."""
    hop = caught.hop
    said = [f"{hop.box} {hop.point} {hop.interface}"]
    if hop.vlans:
        said.append(f"VLAN {'/'.join(map(str, hop.vlans))}")
    if hop.encapsulation:
        said.append(f"in {hop.encapsulation}")
    said += [f"hop {caught.number}", f"frame {caught.seq + 1}"]
    if hop.statements:
        said.append(f"decided by {' '.join(hop.statements)}")
    return ", ".join(said)


def about(client: LabClient, caught: Sequence[Caught] = ()) -> dict[str, Any]:
    """Versions, and what is known of the capture and its clock. No frame is lost: then there is no answer."""
    first = min((c.hop.time_ns or 0 for c in caught), default=0)
    at = datetime.fromtimestamp(first / 1e9, UTC).isoformat() if first else None
    shown = ("name", "file", "since", "datapath")
    return {
        "lab": {key: client.facts[key] for key in shown},
        "versions": {**_versions(), "python": platform.python_version(), "kernel": platform.release()},
        "capture": {"frames": len(caught), "lost": 0, "lost_in_switches": 0},
        "clock": {"source": "CLOCK_REALTIME of one machine", "unit": "ns", "first_sighting": at, "first_ns": first},
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    for argv in _PROGRAMS:
        try:
            said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        except (OSError, subprocess.CalledProcessError):
            continue
        found[argv[0]] = said[0].strip() if said else ""
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _digest(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


# -- later


@dataclass(frozen=True)
class Checked:
    """`wrong`: what is not as the manifest says, one line each."""

    files: int
    manifest: str
    made: str
    wrong: tuple[str, ...]


def verify_evidence(directory: Path) -> Checked:
    """Raises UsageError for what is no evidence folder."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        files, made = dict(manifest["files"]), str(manifest["made"])
        said = {name: str(about["sha256"]) for name, about in files.items()}
    except FileNotFoundError:
        raise UsageError(f"{directory} is no evidence folder: it has no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{directory / MANIFEST} cannot be read: {error}") from None
    there = {path.name for path in directory.iterdir()} - {MANIFEST}
    wrong = [f"{name} is missing" for name in sorted(said.keys() - there)]
    wrong += [f"{name} is not in the manifest" for name in sorted(there - said.keys())]
    for name in sorted(there & said.keys()):
        path = directory / name
        if not path.is_file() or _digest(path)["sha256"] != said[name]:
            wrong.append(f"{name} has been changed")
    return Checked(len(said), str(_digest(directory / MANIFEST)["sha256"]), made, tuple(wrong))
