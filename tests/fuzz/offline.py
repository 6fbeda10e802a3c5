"""One Open vSwitch without namespaces, wires or privileges: bridges with dummy ports that wait to be asked.

Every box's switches get a bridge of one pool, and a port keeps its OpenFlow number. A trace of whole frames makes
`learn()` tables learn, as frames would.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab.errors import SystemRefused
from lab.observe.trace import Trace, read_trace
from lab.plan import mirroring
from lab.plan.clients import FIRST_CLIENT
from lab.plan.types import Bridge, Plan
from lab.realise.ovs import SCHEMA, column_words, row_changes
from lab.realise.run import run, wait_until

BRIDGES = 16
NUMBERS = (*range(1, 17), mirroring.MIRROR_PORT, *range(FIRST_CLIENT, FIRST_CLIENT + 20))
_QUIET = ("-vconsole:off", "-vsyslog:off", "-vfile:info")


class Offline:
    """Load a plan, then ask. Everything is below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._env = {**os.environ, **{f"OVS_{kind}DIR": str(directory) for kind in ("RUN", "DB", "LOG", "SYSCONF")}}
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._bridge: dict[tuple[str, str], tuple[str, Bridge]] = {}
        self._asked = 0

    def start(self) -> None:
        run(["ovsdb-tool", "create", str(self.directory / "conf.db"), str(SCHEMA)])
        database = f"unix:{self.directory}/db.sock"
        self._daemon("ovsdb-server", str(self.directory / "conf.db"), f"--remote=p{database}")
        wait_until((self.directory / "db.sock").exists, "ovsdb-server")
        self._daemon("ovs-vswitchd", database, "--enable-dummy")
        run(["ovs-vsctl", f"--db={database}", *_pool()], env=self._env)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(self.directory / "ovs-vswitchd.ctl"))

    def stop(self) -> None:
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait()
        with suppress(AttributeError):
            self._socket.close()

    def _daemon(self, name: str, *words: str) -> None:
        control = f"--unixctl={self.directory}/{name}.ctl"
        argv = [name, *words, control, f"--log-file={self.directory}/{name}.log", *_QUIET]
        self._daemons.append(subprocess.Popen(argv, env=self._env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def load(self, plan: Plan) -> None:
        """The plan's rows, and nothing that was learned before."""
        assert len(plan.bridges) <= BRIDGES
        run(["ovs-vsctl", f"--db=unix:{self.directory}/db.sock", *_limits(plan.bridges)], env=self._env)
        self._bridge = {}
        texts = []
        for number, bridge in enumerate(plan.bridges):
            assert {port.number for port in bridge.ports} <= {*NUMBERS}
            self._bridge.update({(bridge.node, port.label): (f"b{number}", bridge) for port in bridge.ports})
            texts.append("\n".join(["delete", *(row.text() for row in bridge.rows)]))
        self._bundles(texts)
        self._loaded = plan

    def change(self, plan: Plan) -> None:
        """As a running lab does it: rows that stay are not touched, and what was learned is kept."""
        pairs = zip(self._loaded.bridges, plan.bridges, strict=True)
        self._bundles(["\n".join(row_changes(old.rows, new.rows)) for old, new in pairs])
        for number, bridge in enumerate(plan.bridges):
            self._bridge.update({(bridge.node, port.label): (f"b{number}", bridge) for port in bridge.ports})
        self._loaded = plan

    def _bundles(self, texts: Sequence[str]) -> None:
        children = [self._flows(f"b{number}", text) for number, text in enumerate(texts)]
        for child, text in zip(children, texts, strict=True):
            _, said = child.communicate()
            if child.returncode:
                raise SystemRefused(f"{said}\n{text}")

    def _flows(self, bridge: str, text: str) -> subprocess.Popen[str]:
        """One bundle of flow changes, under way."""
        argv = ["ovs-ofctl", "-OOpenFlow14", "--bundle", "add-flows", f"unix:{self.directory}/{bridge}.mgmt", "-"]
        child = subprocess.Popen(
            argv, env=self._env, text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert child.stdin is not None
        child.stdin.write(text)
        child.stdin.flush()
        return child

    def mutate(self, box: str, port: str, change: str) -> None:
        """One line as `ovs-ofctl add-flows` reads it, for the switch that has this port."""
        child = self._flows(self._bridge[box, port][0], change)
        _, said = child.communicate()
        if child.returncode:
            raise SystemRefused(said)

    def bridge(self, box: str, port: str) -> Bridge:
        return self._bridge[box, port][1]

    def trace(self, box: str, port: str, frame: bytes, vlans: tuple[Any, ...]) -> tuple[Trace, str]:
        """What the switch does with these bytes when they come in on this port, and its own words. Outputs bear the
        pool's names, which end with the OpenFlow number."""
        text = self.ask("ofproto/trace", "--names", *self.place(box, port), frame.hex())
        return read_trace(text, vlans), text

    def place(self, box: str, port: str) -> tuple[str, str]:
        """A bridge and one of its ports in the words of `ofproto/trace`."""
        name, bridge = self._bridge[box, port]
        return name, f"in_port={bridge.port(port).number}"

    def ask(self, method: str, *words: str) -> str:
        """A command of ovs-appctl."""
        self._asked += 1
        self._socket.sendall(json.dumps({"id": self._asked, "method": method, "params": words}).encode())
        received = b""
        while True:
            part = self._socket.recv(1 << 16)
            if not part:
                raise SystemRefused(f"ovs-vswitchd ended: {(self.directory / 'ovs-vswitchd.log').read_text()[-500:]}")
            received += part
            if part.endswith(b"}"):
                with suppress(ValueError):
                    said = json.loads(received)
                    break
        if said.get("error"):
            raise SystemRefused(said["error"])
        return str(said["result"])


def _pool() -> Iterator[str]:
    yield from ("--", "set", "Open_vSwitch", ".", "other_config:vlan-limit=1")
    for number in range(BRIDGES):
        bridge = f"b{number}"
        yield from ("--", "add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=dummy", "fail_mode=secure")
        yield from ("protocols=OpenFlow10,OpenFlow13,OpenFlow14", "other_config:disable-in-band=true")
        for port in NUMBERS:
            name = f"{bridge}p{port}"
            yield from ("--", "add-port", bridge, name, "--", "set", "Interface", name, "type=dummy")
            yield f"ofport_request={port}"


def _limits(bridges: Sequence[Bridge]) -> Iterator[str]:
    """How many rows tables may hold; the other columns are of no account to a trace."""
    for number in range(BRIDGES):
        yield from ("--", "clear", "Bridge", f"b{number}", "flow_tables")
    for number, bridge in enumerate(bridges):
        for column, value in bridge.columns:
            if column.startswith("flow_tables:"):
                for word in column_words("Bridge", f"b{number}", column, value):
                    yield word.replace("@table", f"@table{number}_")


@contextmanager
def offline() -> Iterator[Offline]:
    """For the length of a block. The directory's name is short: it is part of socket addresses."""
    directory = Path(tempfile.mkdtemp(prefix="vlab-"))
    switch = Offline(directory)
    try:
        switch.start()
        yield switch
    finally:
        switch.stop()
        shutil.rmtree(directory, ignore_errors=True)
