"""How long a VM is out of reach: somebody in its VLAN sends it a frame every millisecond, and the VM counts."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from lab.errors import SystemRefused
from lab.model import Machine, Nic, Tagging, Topology
from lab.realise.net import Network
from lab.realise.run import forget, spawn

RATE = 1000
READY_SECONDS = 20.0
LOOK_SECONDS = 0.005


def peer_of(topology: Topology, vm: str) -> tuple[Nic | Machine, Nic] | None:
    """(who sends, the VM's vNIC): the first vNIC of the VM that somebody can send to untagged; somebody who is neither
    on its present host nor a VM where there is one. None when the VM is alone in its VLANs."""
    for nic in topology.vms[vm].nics:
        others = [other for other in _same_vlan(topology, nic) if other != nic]
        if nic.connected and not nic.blocked and others:
            return min(others, key=lambda other: (isinstance(other, Nic), _host(other) == nic.host)), nic
    return None


def _host(end: Nic | Machine) -> str:
    return end.host if isinstance(end, Nic) else ""


def _same_vlan(topology: Topology, nic: Nic) -> Iterator[Nic | Machine]:
    policy = topology.port_group(nic).vlan
    if policy.tagging in (Tagging.VGT, Tagging.PVLAN):
        return
    yield from (machine for machine in topology.machines.values() if machine.port.access == policy.vlan)
    for other in topology.vnics:
        reachable = other.owner != nic.owner and other.connected and not other.blocked
        if reachable and topology.port_group(other).vlan == policy:
            yield other


class Stream:
    """Runs from its making until `end`. Raises SystemRefused when it does not begin."""

    def __init__(self, network: Network, sender: Nic | Machine, receiver: Nic) -> None:
        self._children: list[subprocess.Popen[str]] = []
        node, interface = (sender.node, sender.name) if isinstance(sender, Nic) else (sender.name, "eth0")
        hears = network.interface_name(receiver.node, receiver.name)
        sends = network.interface_name(node, interface)
        self._start(network, receiver.node, ["receive", hears, sender.mac])
        self._start(network, node, ["send", sends, sender.mac, receiver.mac, str(RATE)])

    def _start(self, network: Network, node: str, words: list[str]) -> None:
        argv = [sys.executable, "-m", "traffic.stream", *words]
        child = spawn(argv, network.namespaces[node], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._children.append(child)
        assert child.stdout is not None
        if not select.select([child.stdout], [], [], READY_SECONDS)[0] or child.stdout.readline() != "ready\n":
            self.end()
            raise SystemRefused(f"the stream of frames at {node} did not begin")

    def wait_reached(self, seconds: float) -> bool:
        """Until the VM has heard a frame that was sent after this was called; False after `seconds`."""
        now, deadline = time.monotonic_ns(), time.monotonic() + seconds
        receiver = self._children[0]
        assert receiver.stdin is not None and receiver.stdout is not None
        while time.monotonic() < deadline:
            receiver.stdin.write("?\n")
            receiver.stdin.flush()
            if int(receiver.stdout.readline() or now) > now:
                return True
            select.select([], [], [], LOOK_SECONDS)
        return False

    def end(self) -> dict[str, Any]:
        """What was sent and what came; `unheard`: frames at the end that did not come. The sender ends first."""
        said: dict[str, Any] = {"rate": RATE}
        for child in reversed(self._children):
            out, _ = child.communicate(timeout=READY_SECONDS)
            forget(child)
            said |= json.loads(out.splitlines()[-1]) if out.strip() else {}
        said["unheard"] = max(0, said.get("sent", 0) - said.pop("next", 0))
        return said
