"""One request a line, one answer a line, both JSON, over the lab's Unix socket; a thread for each connection."""

from __future__ import annotations

import json
import os
import resource
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.agents.policy import PolicyEditor
from lab.agents.present import Present
from lab.daemon.agents import Agents
from lab.daemon.verbs import Verbs
from lab.errors import LabBug, LabError, MachineLacks, SystemRefused, UsageError
from lab.plan import compile_plan
from lab.realise.datapath import kernel_has_datapath
from lab.realise.net import Network, Progress
from lab.realise.run import mount, reap_orphans
from lab.teaming import initial_state
from lab.topology.edit import first_edition

REAP_SECONDS = 1.0
FILES_OF_A_NODE = 4
"""Open at once: its namespace, its multicast filter, a socket to send from, one to swallow what it gets."""
FILES_AT_LEAST = 1024


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    answer: Callable[[dict[str, Any]], Any]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        for line in self.rfile:
            try:
                said: dict[str, Any] = {"result": self.server.answer(json.loads(line))}
            except LabError as error:
                said = {"error": type(error).__name__, "text": str(error)}
            except OSError as error:
                said = {"error": SystemRefused.__name__, "text": str(error)}
            except Exception as error:  # an answer goes out whatever went wrong; the trace goes to the log
                said = {"error": LabBug.__name__, "text": f"{type(error).__name__}: {error}"}
                with suppress(OSError):
                    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))
            try:
                self.wfile.write(json.dumps(said).encode() + b"\n")
            except BrokenPipeError:
                return


class Daemon:
    """A lab that is up. Building it raises what the machine lacks or the system refuses."""

    def __init__(self, spec: dict[str, Any], progress: Progress) -> None:
        directory = Path(spec["directory"])
        edition = first_edition(spec["text"], spec["source"])
        self.topology = edition.topology
        state = initial_state(self.topology)
        plan = compile_plan(self.topology, state)
        _allow_open_files(FILES_OF_A_NODE * len(plan.nodes) + FILES_AT_LEAST)
        inner = directory / "run"
        inner.mkdir()
        mount("tmpfs", inner, "tmpfs")
        self.network = Network(plan, inner, _datapath(spec["datapath"]), spec["distance"], progress)
        self.network.build()
        self.present = Present(self.topology, state, self.network)
        self.agents = Agents(self.present)
        self.verbs = Verbs(self.present, self.agents, PolicyEditor(self.present, self.agents.watch, edition))
        self._server = _listen(directory / "socket")
        self._server.answer = self._answer
        self._describe(directory, spec)

    def _describe(self, directory: Path, spec: dict[str, Any]) -> None:
        facts = {
            "name": spec["name"],
            "file": spec["source"],
            "text": spec["text"],
            "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "hosts": len(self.topology.hosts),
            "vms": len(self.topology.vms),
            "datapath": self.network.datapath,
            "run": str(directory / "run"),
        }
        partial = directory / "lab.json.new"
        partial.write_text(json.dumps(facts))
        partial.rename(directory / "lab.json")

    def serve(self) -> None:
        self.agents.start()
        threading.Thread(target=_reap, daemon=True).start()
        self._server.serve_forever()

    def _answer(self, request: dict[str, Any]) -> Any:
        verb = getattr(self.verbs, "do_" + str(request.pop("verb", "")), None)
        if verb is None:
            raise UsageError("the lab's daemon does not know that verb (is it of another version?)")
        return verb(**request)


def _allow_open_files(wanted: int) -> None:
    """As many as this lab needs, as far as the system lets an ordinary process have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _listen(path: Path) -> _Server:
    """A path over the 107 bytes that a Unix socket's address holds is bound through its directory's descriptor."""
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        return _Server(f"/proc/self/fd/{handle}/{path.name}", _Handler)
    finally:
        os.close(handle)


def _datapath(wanted: str) -> str:
    if wanted == "kernel" and not kernel_has_datapath():
        raise MachineLacks("this kernel has no openvswitch module loaded (modprobe openvswitch); use --datapath user")
    return wanted


def _reap() -> None:
    while True:
        threading.Event().wait(REAP_SECONDS)
        reap_orphans()
