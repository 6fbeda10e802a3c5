"""What a script or a test holds: a running lab with the questions one asks of it. It is a client; nothing here enters
a namespace, so it is safe in threads and in `pytest -n auto`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.answers import capture as capturing
from lab.answers import probes
from lab.answers.load import run_load, scenario_of
from lab.answers.service import service
from lab.answers.verify import verify
from lab.answers.vmotion import vmotion
from lab.answers.where import where
from lab.client import LabClient, Place
from lab.frame import Frame, Tag
from lab.lifetime import launched
from lab.observe.pcapng import CaptureFile, Packet
from lab.report.clear import ClearReport
from lab.report.verify import Report
from lab.report.where import Answer
from lab.topology.edit import settings_of
from traffic.load import Outcome

_ALL = b""


@dataclass(frozen=True)
class Sent:
    """How many frames went out, and in how long (s)."""

    count: int
    seconds: float


class Guest:
    """A VM, a vmknic's node or a machine, by the name of one of its interfaces."""

    def __init__(self, lab: RunningLab, place: Place) -> None:
        self._lab = lab
        self.place = place

    @property
    def mac(self) -> str:
        return self.place.mac

    @property
    def address(self) -> str:
        """Without its prefix length; empty when it has none."""
        return self.place.address.split("/")[0]

    def exec(self, *argv: str, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in it. With `check`, a non-zero exit raises CalledProcessError."""
        return self._lab.exec(self.place.node, *argv, check=check, timeout=timeout)

    def send(self, to: str | None = None, **how: Any) -> Sent:
        return self._lab.send(self.place.label, to, **how)


class Captured:
    """What a capture has in it; frames can be read once its block has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._packets: tuple[Packet, ...] | None = None

    @property
    def packets(self) -> tuple[Packet, ...]:
        """Every frame with its interface and time, in file order."""
        if self._packets is None:
            with CaptureFile(self.path) as file:
                self._packets = tuple(file.find(_ALL))
        return self._packets

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(Frame.parse(packet.data) for packet in self.packets)


class RunningLab:
    """A lab that is up. Names are the model's: `web1`, `web1.eth1`, `esx1.vmk0`, `gw`."""

    def __init__(self, client: LabClient) -> None:
        self.client = client

    @property
    def name(self) -> str:
        return self.client.name

    def vm(self, name: str) -> Guest:
        """Also a vmknic or a machine. Raises UsageError for a name that is not there."""
        return Guest(self, self.client.place(name))

    def exec(
        self, node: str, *argv: str, check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in any node, hosts and pSwitches included."""
        command = [*self.client.entry(node), *argv]
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=timeout)

    def send(
        self, sender: str, to: str | None = None, *, count: int = 1, rate: float | None = None,
        vlans: tuple[int | Tag, ...] = (), src_mac: str | None = None, dst_mac: str | None = None,
        kind: str = "auto", size: int | None = None, pcap: Path | None = None,
    ) -> Sent:  # fmt: skip
        """Send frames at the sender's own interface; `vlans` are the tags, outermost first."""
        place, target = self.client.place(sender), self.client.place(to) if to else None
        look = {"vlans": _tags(vlans), "src_mac": src_mac, "dst_mac": dst_mac, "kind": kind, "size": size}
        job = probes.frames_to_send(place, target, pcap, None, **look)
        where_from = {"node": place.node, "interface": place.interface}
        (sent,) = self.client.ask("send", jobs=[{**job, **where_from, "count": count, "rate": rate}])
        return Sent(sent["sent"], sent["seconds"])

    def load(self, *flows: Mapping[str, Any], seconds: float = 10.0) -> list[Outcome]:
        """Real flows, all at once: `lab.load({"from": "web1", "to": "gw"}, {..., "protocol": "udp", "rate": "2G"})`.

        The keys are those of a scenario file (`vlab load --help`). Raises UsageError for names that are not there,
        TopologyError for keys, MachineLacks without iperf3.
        """
        scenario = scenario_of(json.dumps({"seconds": seconds, "flows": [dict(flow) for flow in flows]}), "flows")
        return run_load(self.client, scenario)

    @contextmanager
    def capture(self, *points: str) -> Iterator[Captured]:
        """Capture while the block runs: `with lab.capture("esx1:vmnic1") as seen: ...`, then `seen.frames`."""
        with tempfile.TemporaryDirectory(prefix="vlab-") as directory:
            target = Path(directory) / "capture.pcapng"
            captured = Captured(target)
            with capturing.capturing(self.client, points, target):
                yield captured
            _ = captured.packets  # read before the file is gone

    def where(
        self, sender: str, to: str, *, count: int = 3, rate: float | None = 1000.0, vlans: tuple[int | Tag, ...] = (),
        src_mac: str | None = None, dst_mac: str | None = None, kind: str = "auto", size: int | None = None,
        directory: Path | None = None,
    ) -> Answer:  # fmt: skip
        """The trail of canaries from one place to another."""
        here, there = self.client.place(sender), self.client.place(to)
        look = {"vlans": _tags(vlans), "src_mac": src_mac, "dst_mac": dst_mac, "kind": kind, "size": size}
        return where(self.client, probes.probe(here, there, count, rate, **look), directory)  # type: ignore[arg-type]

    def verify(self, directory: Path | None = None) -> Report:
        """The isolation matrix and the file's `expect:`."""
        return verify(self.client, directory)

    def set(self, what: str, *changes: str, **settings: Any) -> None:
        """Change policies while the lab runs: `lab.set("port-group web", "security.promiscuous=accept", vlan=20)`.

        `what` is `port-group`, `switch`, `vnic`, `vm`, `physical-switch`, `module`, `pnic` or `machine` with its name,
        or `knobs`. A text is KEY=VALUE as on the command line, a keyword a value as it is; None takes a setting away.
        All of them are one change: on return the switches have it, or, when something raises, nothing of it.
        Raises UsageError with every mistake, SystemRefused.
        """
        self.client.set(what, {**settings_of(changes), **settings})

    def vmotion(self, vm: str, host: str, watch: bool = True) -> ClearReport:
        """Move a running VM; see `lab.answers.vmotion`."""
        return vmotion(self.client, vm, host, watch)

    def service(self, name: str, sender: str, receiver: str, watch: bool = True) -> ClearReport:
        """Let a vmkernel use a service; see `lab.answers.service`."""
        return service(self.client, name, sender, receiver, watch=watch)

    def link(self, port: str, up: bool) -> None:
        """Plug or pull the cable at `esx1:vmnic0`; returns when teaming has answered."""
        box, _, label = port.partition(":")
        self.client.ask("link", box=box, port=label, up=up)


def _tags(vlans: tuple[int | Tag, ...]) -> tuple[Tag, ...]:
    return tuple(tag if isinstance(tag, Tag) else Tag(tag) for tag in vlans)


@contextmanager
def launch(
    source: Path | str, name: str | None = None, datapath: str = "auto",
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Iterator[RunningLab]:  # fmt: skip
    """A lab for the length of a `with` block; it is gone afterwards, whatever happens, `kill -9` included.

    The lab's name must be free: pass one of your own to have the same file up twice.
    Raises TopologyError, UsageError, MachineLacks, SystemRefused.
    """
    with launched(source, name, datapath, progress) as client:
        yield RunningLab(client)
