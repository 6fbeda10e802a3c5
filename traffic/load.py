"""Real TCP and UDP flows between nodes, several at once: one iperf3 server and client for each.

Rates are in bits/s of payload, as they are on the emulated wires.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from lab.errors import MachineLacks, SystemRefused

FIRST_PORT = 5201
START_SECONDS = 10.0
"""A server that does not listen by then is taken for dead."""
GRACE_SECONDS = 15.0
"""A client may take so much longer than its flow: connecting, the last data, the results."""
SETTLE_SECONDS = 3.0
"""For a server's last words, once its client has ended."""
CONNECT_MS = 3000
_INTERVAL = re.compile(
    r"\[ *(?P<stream>\d+|SUM)\] +(?P<begin>[\d.]+)-(?P<end>[\d.]+) +sec +[\d.]+ \w+ +(?P<rate>[\d.]+) Kbits/sec"
    r"(?: +[\d.]+ ms +(?P<lost>\d+)/(?P<sent>\d+))?.*?(?P<final>receiver)?$"
)

Enter = Callable[[str], Sequence[str]]
"""A node's name -> the start of a command line that runs the rest in it."""
Progress = Callable[[float, Mapping[str, float]], None]
"""Is told the seconds since the start, and label -> rate that has just been received."""


@dataclass(frozen=True)
class Flow:
    """`rate` None: as fast as it goes; `size`: bytes of payload in a UDP datagram; `streams` share the rate."""

    label: str
    sender: str
    source: str
    receiver: str
    destination: str
    protocol: str = "tcp"
    rate: float | None = None
    streams: int = 1
    size: int | None = None
    port: int = FIRST_PORT
    seconds: float = 10.0


@dataclass(frozen=True)
class Outcome:
    """`received` in bits/s over the whole flow; `lost` of `datagrams` for UDP; `retransmits` for TCP; `why` it failed,
    empty when it did not. `each` are the rates of the seconds."""

    flow: Flow
    received: float = 0.0
    lost: int | None = None
    datagrams: int | None = None
    retransmits: int | None = None
    why: str = ""
    each: tuple[float, ...] = ()


class _Child:
    """iperf3 in a node. It and what entered the node for it are one process group, which ends with the block."""

    def __init__(self, argv: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except FileNotFoundError as error:
            raise MachineLacks(f"{argv[0]} is not installed") from error
        assert self.process.stdout is not None and self.process.stderr is not None
        self.out, self.err = self.process.stdout.fileno(), self.process.stderr.fileno()
        self._said = {self.out: b"", self.err: b""}
        self.open = {self.out, self.err}

    def read(self, seconds: float) -> None:
        """Take what it says within this time."""
        for pipe in select.select(list(self.open), [], [], max(seconds, 0))[0] if self.open else ():
            data = os.read(pipe, 65536)
            self._said[pipe] += data
            if not data:
                self.open.discard(pipe)

    @property
    def ended(self) -> bool:
        return not self.open

    def text(self) -> str:
        return self._said[self.out].decode(errors="replace")

    def last_words(self) -> str:
        said = (self._said[self.err].decode(errors="replace").strip() or self.text().strip()).splitlines()
        return said[-1] if said else "it said nothing"

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@dataclass
class _Heard:
    """What a server has said so far."""

    rates: list[float] = field(default_factory=list)
    final: float | None = None
    lost: int | None = None
    datagrams: int | None = None


def run(flows: Sequence[Flow], enter: Enter, progress: Progress = lambda *_: None) -> list[Outcome]:
    """All flows at once; returns when the last has ended. Raises MachineLacks without iperf3, SystemRefused."""
    with ExitStack() as stack:
        servers = [_started(stack, [*enter(f.receiver), *server(f)]) for f in flows]
        for flow, child in zip(flows, servers, strict=True):
            _wait_listening(flow, child)
        clients = [_started(stack, [*enter(f.sender), *client(f)]) for f in flows]
        _watch(flows, servers, clients, progress)
        return [_outcome(*parts) for parts in zip(flows, clients, servers, strict=True)]


def _started(stack: ExitStack, argv: Sequence[str]) -> _Child:
    child = _Child(argv)
    stack.callback(child.end)
    return child


def server(flow: Flow) -> list[str]:
    return ["iperf3", "-s", "-1", "-p", str(flow.port), "-B", flow.destination, "-i", "1", "-f", "k", "--forceflush"]


def client(flow: Flow) -> list[str]:
    words = ["iperf3", "-c", flow.destination, "-B", flow.source, "-p", str(flow.port), "-t", f"{flow.seconds:g}"]
    words += ["-J", "-P", str(flow.streams), "--connect-timeout", str(CONNECT_MS)]
    each = int(flow.rate / flow.streams) if flow.rate is not None else 0
    if flow.protocol == "udp":
        return [*words, "-u", "-b", str(each), *(["-l", str(flow.size)] if flow.size else [])]
    return [*words, *(["-b", str(each)] if each else [])]


def _wait_listening(flow: Flow, child: _Child) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "listening" not in child.text():
        if child.ended or time.monotonic() > deadline:
            if "No such file" in child.last_words():
                raise MachineLacks("iperf3 is not installed (Debian package iperf3)")
            raise SystemRefused(f"{flow.label}: no server at {flow.receiver}: {child.last_words()}")
        child.read(0.1)


def _watch(
    flows: Sequence[Flow], servers: Sequence[_Child], clients: Sequence[_Child], progress: Progress
) -> None:  # fmt: skip
    """Until every client has ended, and every server whose client did not fail."""
    begun = time.monotonic()
    deadline = begun + max((f.seconds for f in flows), default=0) + GRACE_SECONDS
    everybody = (*servers, *clients)
    while time.monotonic() < deadline and not all(c.ended for c in clients):
        ready = {pipe for child in everybody for pipe in child.open}
        select.select(list(ready), [], [], 0.2)
        for child in everybody:
            child.read(0)
        heard = [_heard(child.text(), flow.streams) for flow, child in zip(flows, servers, strict=True)]
        now = {f.label: h.rates[-1] for f, h in zip(flows, heard, strict=True) if h.rates}
        progress(time.monotonic() - begun, now)
    last = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < last and not all(s.ended for s in servers):
        for child in servers:
            child.read(0.05)


def _heard(text: str, streams: int) -> _Heard:
    heard = _Heard()
    for line in text.splitlines():
        _take(heard, line, streams)
    return heard


def _take(heard: _Heard, line: str, streams: int) -> None:
    found = _INTERVAL.match(line.strip())
    if not found or (streams > 1) != (found["stream"] == "SUM"):
        return
    rate = float(found["rate"]) * 1000
    if found["final"]:
        heard.final = rate
        if found["sent"]:
            heard.lost, heard.datagrams = int(found["lost"]), int(found["sent"])
    elif float(found["end"]) - float(found["begin"]) > 0.5:
        heard.rates.append(rate)


def _outcome(flow: Flow, sending: _Child, receiving: _Child) -> Outcome:
    heard = _heard(receiving.text(), flow.streams)
    each = tuple(heard.rates)
    if not sending.ended:
        return Outcome(flow, why="it did not end", each=each)
    try:
        said = json.loads(sending.text())
    except ValueError:
        said = {"error": sending.last_words()}
    if "error" in said or heard.final is None:
        return Outcome(flow, why=str(said.get("error", "the server said nothing")), each=each)
    again = said["end"].get("sum_sent", {}).get("retransmits") if flow.protocol == "tcp" else None
    return Outcome(flow, heard.final, heard.lost, heard.datagrams, again, each=each)
