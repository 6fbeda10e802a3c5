"""A running lab as another process sees it: questions to its daemon, and the model to understand the answers with."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from re import fullmatch
from typing import Any

from lab.errors import UsageError
from lab.model import Machine, Nic, Topology
from lab.plan import compile_plan
from lab.plan.types import Plan
from lab.realise import sandbox
from lab.state import State
from lab.state_json import from_json
from lab.teaming import initial_state
from lab.topology.edit import Edition, first_edition


@dataclass(frozen=True)
class Place:
    """A network interface that can send and receive: a vNIC, a vmknic or a machine's eth0. `label` names it."""

    label: str
    node: str
    interface: str
    mac: str
    address: str


def place_of(end: Nic | Machine) -> Place:
    if isinstance(end, Machine):
        return Place(end.name, end.name, "eth0", end.mac, end.address)
    return Place(end.label, end.node, end.name, end.mac, end.address)


def places_of(topology: Topology) -> dict[str, Place]:
    """Every interface that can send, by label, in file order: vNICs, vmknics, machines."""
    ends: tuple[Nic | Machine, ...] = (*topology.vnics, *topology.vmknics, *topology.machines.values())
    return {place.label: place for place in map(place_of, ends)}


def resolve(name: str, places: Mapping[str, Place]) -> Place:
    """`web1` (its first vNIC), `web1.eth1`, `esx1.vmk0`, `esx1-vmk.vmk0`, `gw`, or the address or MAC of one of them.
    Raises UsageError."""
    for candidate in (name, f"{name}.eth0", name.replace("-vmk.", ".")):
        if candidate in places:
            return places[candidate]
    if is_address(name):
        return _addressed(name, places)
    known = [label.removesuffix(".eth0") for label in places]
    raise UsageError(f"no VM, vmknic or machine {name!r}{nearest(name, known)}")


def is_address(text: str) -> bool:
    """An IP address or a MAC; a name may be all digits and dots, but is no address then."""
    try:
        ip_address(text)
    except ValueError:
        return fullmatch(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", text) is not None
    return True


def _addressed(text: str, places: Mapping[str, Place]) -> Place:
    wanted = text.lower().replace("-", ":")
    for place in places.values():
        if wanted in (place.address.split("/")[0].lower(), place.mac):
            return place
    raise UsageError(
        f"nobody in this lab was given the address {text}: name who is to get it (--dst-mac sends elsewhere)"
    )


def nearest(name: str, known: Sequence[str]) -> str:
    """` (did you mean X?)`, or what there is when nothing is near."""
    close = get_close_matches(name, known, 1, 0.5)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (there is {', '.join(known[:12])}{', ...' if len(known) > 12 else ''})" if known else ""


class LabClient:
    """A connection to the daemon of the lab in state directory `directory`. Raises UsageError when it is gone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            self.facts: dict[str, Any] = json.loads((directory / "lab.json").read_text())
            self._connect()
        except OSError as error:
            raise UsageError(f"lab {directory.name} is not up any more") from error
        self._asking = threading.Lock()
        self._reading = threading.Lock()
        self._edition: Edition | None = None
        self._version = 0
        self._plan: tuple[Edition, Plan] | None = None
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid: int = struct.unpack("3i", credentials)[0]

    def _connect(self) -> None:
        self._socket = _connect(self.directory / "socket")
        self._lines = self._socket.makefile("r", encoding="utf-8")

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @property
    def topology(self) -> Topology:
        """As it is now, with every change that `set` has made."""
        return self._present.topology

    @property
    def plan(self) -> Plan:
        """Nodes, cables and ports; rows are those of the initial state."""
        present = self._present
        if self._plan is None or self._plan[0] is not present:
            self._plan = present, compile_plan(present.topology, initial_state(present.topology))
        return self._plan[1]

    @property
    def _present(self) -> Edition:
        edits = self.ask("edits", after=self._version)
        with self._reading:
            if self._edition is None:
                self._edition = first_edition(self.facts["text"], self.facts["file"])
            if edits and edits[0][0] == self._version:
                for number, change in groupby(edits, itemgetter(0)):
                    self._edition = self._edition.with_edits((tuple(path), value) for _, path, value in change)
                    self._version = number + 1
            return self._edition

    def ask(self, verb: str, **words: Any) -> Any:
        """One question, one answer. Raises the daemon's own error, UsageError when the lab has ended."""
        request = json.dumps({"verb": verb, **words}) + "\n"
        with self._asking:
            try:
                self._socket.sendall(request.encode())
                line = self._lines.readline()
            except OSError:
                line = ""
            except BaseException:  # Ctrl-C: the answer that is under way belongs to nobody, and must not meet the next
                self.close()
                with suppress(OSError):
                    self._connect()
                raise
        if not line:
            raise UsageError(f"lab {self.name} has ended")
        said = json.loads(line)
        if "error" in said:
            raise sandbox.error_from(said)
        return said["result"]

    def state(self) -> State:
        """The lab's State now: links, teaming, what guests do, and what the switches have learned."""
        return from_json(self.ask("state"))

    def set(self, what: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Change policies of the running lab; see `lab.topology.edit`. Raises UsageError with every mistake."""
        done: dict[str, Any] = self.ask("set", what=what, settings=settings)
        return done

    @property
    def places(self) -> Mapping[str, Place]:
        """Every interface that can send, by label, in file order: vNICs, vmknics, machines."""
        return places_of(self.topology)

    def place(self, name: str) -> Place:
        """See `resolve`."""
        return resolve(name, self.places)

    def entry(self, node: str) -> list[str]:
        """Command-line start that enters a node's namespace. Raises UsageError for an unknown node."""
        planned = self.plan.node_named.get(node)
        if planned is None:
            raise UsageError(f"no node {node!r} in lab {self.name}{nearest(node, [n.name for n in self.plan.nodes])}")
        return sandbox.entry(self.pid, Path(self.facts["run"]) / "netns" / planned.id)

    def end(self) -> None:
        """Take the lab down; everything of it is gone on return."""
        self.close()
        sandbox.kill(self.directory, self.pid)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def _connect(path: Path) -> socket.socket:
    """A path over the 107 bytes that a Unix socket's address holds is reached through its directory's descriptor."""
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(f"/proc/self/fd/{handle}/{path.name}")
    except OSError:
        client.close()
        raise
    finally:
        os.close(handle)
    return client


def find_lab(name: str | None) -> LabClient:
    """The living lab `name`, or the only one. Raises UsageError."""
    labs = {json.loads((d / "lab.json").read_text())["name"]: d for d in sandbox.living()}
    if name is None:
        if len(labs) == 1:
            return LabClient(next(iter(labs.values())))
        raise UsageError(
            "no lab is up (vlab up FILE)" if not labs else f"several labs are up: --lab {' | '.join(labs)}"
        )
    if name not in labs:
        raise UsageError(f"no lab named {name!r} is up{nearest(name, sorted(labs))}")
    return LabClient(labs[name])
