"""What the daemon can be asked. Each `do_` method takes and returns what JSON can hold."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.agents.links import LinkAgent
from lab.daemon.captures import Captures
from lab.errors import UsageError
from lab.frame import DropReason
from lab.model import Topology
from lab.plan.types import Bridge, reason_of_cookie
from lab.realise.net import Network
from lab.realise.run import inside
from traffic.inject import Injector, open_injector


class Verbs:
    """The running lab's answers. Names in requests are the model's."""

    def __init__(self, topology: Topology, network: Network, links: LinkAgent) -> None:
        self._topology = topology
        self._network = network
        self._links = links
        self._captures = Captures(network)
        self._injectors: dict[tuple[str, str], Injector] = {}
        self._sinks: dict[tuple[str, int], socket.socket] = {}
        self._sending = threading.Lock()
        self._far = {cable.a: cable.b for cable in network.plan.cables}
        self._far.update({cable.b: cable.a for cable in network.plan.cables})

    def do_status(self) -> dict[str, Any]:
        """Links, teaming and health now."""
        state = self._links.state
        ended = {box: self._network.ovs(box).dead() for box in self._boxes()}
        return {
            "links_down": sorted(f"{box}:{port}" for box, port in state.links_down),
            "uplink_of": [[box, port, uplink] for (box, port), uplink in state.uplink_of.items()],
            "ended": {box: name for box, name in ended.items() if name},
            "captures": self._captures.running(),
        }

    def do_state(self) -> dict[str, Any]:
        """The State as data, with what the pSwitches have really learned."""
        state = self._links.state
        tables = {s: self._mac_table(s) for s in self._topology.physical_switches}
        return {
            "links_down": [list(key) for key in sorted(state.links_down)],
            "uplink_of": [[*key, uplink] for key, uplink in state.uplink_of.items()],
            "mac_tables": tables,
        }

    def _mac_table(self, switch: str) -> list[tuple[int, str, str]]:
        bridge = self._network.plan.bridges_of(switch)[0]
        labels = {port.number: port.label for port in bridge.ports}
        learned = self._network.ovs(switch).mac_table(bridge.name)
        return [(vlan, mac, labels[port]) for port, vlan, mac in learned if port in labels]

    def do_link(self, box: str, port: str, up: bool) -> dict[str, Any]:
        """Pull or plug the cable in this port: the far end goes down, so this end loses carrier."""
        if (box, port) not in self._far:
            raise UsageError(f"no cable in {box}:{port}")
        self._links.set_link(self._far[box, port], (box, port), up)
        return self.do_status()

    def do_events(self, after: int = 0) -> list[dict[str, object]]:
        """What agents have done, from event number `after` on."""
        return self._links.events[after:]

    def do_send(self, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Inject frames at guests' own interfaces, job after job.

        A job: node, interface, frames (hex), and count, rate (frames/s), seq_at, first_seq for a single repeated frame.
        """
        with self._sending:
            return [self._send(**job) for job in jobs]

    def _send(
        self, node: str, interface: str, frames: Sequence[str], count: int = 1, rate: float | None = None,
        seq_at: int | None = None, first_seq: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        injector = self._injector(node, interface)
        if len(frames) == 1:
            sent = injector.send(bytes.fromhex(frames[0]), count, rate=rate, seq_at=seq_at, first_seq=first_seq)
        else:
            sent = injector.send_many([bytes.fromhex(frame) for frame in frames] * count, rate=rate)
        return {"sent": sent.count, "seconds": sent.seconds}

    def _injector(self, node: str, interface: str) -> Injector:
        key = (node, interface)
        if key not in self._injectors:
            with inside(self._network.namespaces[node]):
                self._injectors[key] = open_injector(self._network.interface_name(node, interface))
        return self._injectors[key]

    def do_trace(self, box: str, port: str, frames: Sequence[str]) -> list[str]:
        """`ofproto/trace` of each frame (hex) as if it had come in on this port of the box."""
        bridge = self._bridge(box, port)
        number = bridge.port(port).number
        ovs = self._network.ovs(box)
        return [ovs.trace(bridge.name, number, bytes.fromhex(frame)) for frame in frames]

    def _bridge(self, box: str, port: str) -> Bridge:
        try:
            return self._network.bridge_with(box, port)
        except KeyError:
            raise UsageError(f"{box} has no switch port {port}") from None

    def do_drops(self) -> list[dict[str, Any]]:
        """Frames dropped so far, by box, switch, port and reason; rows that dropped nothing are left out."""
        return [
            row for box in self._boxes() for bridge in self._network.plan.bridges_of(box) for row in self._drops(bridge)
        ]

    def _drops(self, bridge: Bridge) -> list[dict[str, Any]]:
        labels = {port.number: port.label for port in bridge.ports}
        rows = []
        for cookie, frames in self._network.ovs(bridge.node).drop_counters(bridge.name).items():
            named: tuple[DropReason, int] | None = reason_of_cookie(cookie)
            if named and frames:
                place = {"box": bridge.node, "switch": bridge.label, "port": labels.get(named[1], "")}
                rows.append({**place, "reason": named[0].value, "frames": frames})
        return rows

    def do_mutate(self, box: str, switch: str, change: str) -> None:
        """Break a switch on purpose: one line as `ovs-ofctl add-flows` reads it. For tests of the tests."""
        bridge = next(b for b in self._network.plan.bridges_of(box) if b.label == switch)
        self._network.ovs(box).mutate(bridge.name, change)

    def do_capture_start(
        self, targets: Sequence[Sequence[Any]], directory: str, snaplen: int = 0, count: int = 0
    ) -> dict[str, Any]:
        """targets: [node, [interface labels]]; one pcapng a node below `directory`; returns when all are capturing."""
        return self._captures.start([(n, tuple(i)) for n, i in targets], Path(directory), snaplen, count)

    def do_capture_wait(self, number: int, needles: Sequence[Sequence[Any]], seconds: float) -> bool:
        """True once each needle [node, hex, count] is in that node's file; False after `seconds`."""
        return self._captures.wait_for(number, [(n, bytes.fromhex(h), int(c)) for n, h, c in needles], seconds)

    def do_capture_alive(self, number: int) -> bool:
        return self._captures.alive(number)

    def do_capture_settle(self, number: int, seconds: float = 10.0) -> bool:
        """Wait until all that was on the wires is in the files."""
        return self._captures.settle(number, seconds)

    def do_sink(self, node: str, port: int = 9) -> None:
        """Let a guest swallow UDP to `port`, so that its stack does not send the data back in an ICMP error."""
        if (node, port) in self._sinks:
            return
        with inside(self._network.namespaces[node]):
            sink = socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
            sink.bind(("", port))
        self._sinks[node, port] = sink

    def do_capture_stop(self, number: int) -> dict[str, Any]:
        """Files with what dumpcap received and dropped."""
        return self._captures.stop(number)

    def _boxes(self) -> list[str]:
        return [node.name for node in self._network.plan.nodes if node.is_box]
