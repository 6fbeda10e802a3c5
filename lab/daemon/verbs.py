"""What the daemon can be asked. Each `do_` method takes and returns what JSON can hold."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lab.agents.counted import Counted
from lab.agents.events import Moment
from lab.agents.ft import FaultTolerance
from lab.agents.memory import Memories
from lab.agents.migration import Migrator
from lab.agents.policy import PolicyEditor
from lab.agents.present import Present
from lab.agents.services import Services
from lab.agents.sites import Sites
from lab.agents.supervised import kill
from lab.daemon.agents import Agents
from lab.daemon.captures import Captures
from lab.daemon.queues import measure
from lab.daemon.tables import with_real_tables
from lab.errors import SystemRefused, UsageError
from lab.model import PortKey, Vm
from lab.plan.types import Bridge, reason_of_cookie
from lab.realise.run import inside
from lab.state import State
from lab.state_json import to_json
from traffic.inject import Injector, open_injector


class Verbs:
    """The running lab's answers. Names in requests are the model's."""

    def __init__(self, present: Present, agents: Agents, policy: PolicyEditor) -> None:
        self._present = present
        self._network = present.network
        self._agents = agents
        self._watch = agents.watch
        self._policy = policy
        self._captures = Captures(present.network)
        self._memories = Memories(present.network)
        self._counted = Counted(present.network)
        self._migrator = Migrator(present, agents.watch, policy, self._captures, self._memories, self._counted)
        self._services = Services(present.network)
        self._sites = Sites(present, agents.watch.links)
        self._ft = FaultTolerance(present, self._memories, self._migrator.take_over)
        self._injectors: dict[tuple[str, str], tuple[Injector, threading.Lock]] = {}
        self._sinks: dict[tuple[str, int], socket.socket] = {}
        self._sending = threading.Lock()

    def do_status(self) -> dict[str, Any]:
        """Links, teaming, guests and health now."""
        self._watch.catch_up()
        state = self._present.state
        ended = {box: self._network.ovs(box).dead() for box in self._boxes()}
        return {
            "links_down": _names(state.links_down),
            "err_disabled": {f"{box}:{port}": why for (box, port), why in self._watch.links.err_disabled.items()},
            "discarding": _names(state.discarding),
            "blocked": _names(state.blocked),
            "deaf": _names(state.deaf),
            "failed": sorted(self._watch.links.failed),
            "beacons_lost": _names(state.beacons_lost),
            "shotgun": _names(state.beacons_unsure),
            "unstable": _names(state.unstable),
            "lacp_silent": _names(self._agents.lacp.silent()),
            "sends_on": [[box, port, list(state.sends_on((box, port)))] for box, port in state.uplink_of],
            "uplink_of": [[box, port, uplink] for (box, port), uplink in state.uplink_of.items()],
            "macs": {f"{box}:{port}": mac for (box, port), mac in state.macs.items()},
            "promiscuous": _names(state.promiscuous),
            "wires": [wire.facts() for wire in self._network.wires],
            "copies_lost": self._agents.mirrors.lost(),
            "ended": {box: name for box, name in ended.items() if name},
            "captures": self._captures.running(),
        }

    def do_state(self) -> dict[str, Any]:
        """The State as data, with what the switches have really learned."""
        self._watch.catch_up()
        now = self._present.now
        return to_json(with_real_tables(self._network, now.topology, now.state))

    def do_set(self, what: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Change policies: `port-group web`, {"security.promiscuous": "accept"}; None takes a setting away."""
        done = self._policy.set(what, settings)
        changes = [asdict(change) for change in done.changes]
        return {
            "version": done.version,
            "changes": changes,
            "queues": list(done.queues),
            "warnings": list(done.warnings),
        }

    def do_queues(self, seconds: float) -> dict[str, Any]:
        """What the classes of pNICs under Network I/O Control send in so many seconds."""
        return measure(self._network, seconds)

    def do_edits(self, after: int = 0) -> list[tuple[int, Sequence[str | int], Any]]:
        """What has been put into the topology's document, with the number of its change, from change `after` on."""
        changes = enumerate(self._policy.changes(after), start=after)
        return [(number, path, value) for number, change in changes for path, value in change]

    def do_vmotion(self, vm: str, host: str) -> dict[str, Any]:
        """Move a VM to another host while it runs."""
        if self._ft.protects(vm):
            raise UsageError(f"vMotion of {vm} is refused: FT protects it (vlab ft {vm} off)")
        return asdict(self._migrator.vmotion(vm, host))

    def do_ft_on(self, vm: str, host: str) -> dict[str, Any]:
        """Keep a secondary of this VM on that host."""
        return self._ft.on(self._present.topology, vm, host)

    def do_ft_off(self, vm: str) -> dict[str, Any]:
        return self._ft.off(vm)

    def do_ft(self) -> list[dict[str, Any]]:
        """Which VMs have a secondary, and what went there so far."""
        return self._ft.facts()

    def do_service(self, name: str, sender: str, receiver: str, token: str, blocks: int) -> dict[str, Any]:
        """Let a vmkernel use a service; its data carries the token (hex, 16 bytes)."""
        return self._services.run(self._present.topology, name, sender, receiver, bytes.fromhex(token), blocks)

    def do_guest_write(self, vm: str, token: str, page: int = 0, pages: int = 1) -> dict[str, Any]:
        """Let a VM write a token (hex, 16 bytes) into pages of its memory."""
        return self._memories.write(self._vm(vm), bytes.fromhex(token), page, pages)

    def do_guest_tokens(self, vm: str) -> list[str]:
        """Tokens (hex) that this VM has written into its memory."""
        return self._memories.tokens(vm)

    def do_guest_churn(self, vm: str, rate: float) -> dict[str, Any]:
        """Let a VM change so many pages of its memory a second, from now on."""
        return self._memories.started(self._vm(vm)).ask("churn", rate)

    def do_guest_find(self, vm: str, token: str) -> dict[str, Any]:
        """Pages of a VM's memory that hold these bytes (hex)."""
        return self._memories.started(self._vm(vm)).ask("find", token)

    def _vm(self, name: str) -> Vm:
        found = self._present.topology.vms.get(name)
        if found is None:
            raise UsageError(f"no VM {name!r}")
        return found

    def do_link(self, box: str, port: str, up: bool) -> dict[str, Any]:
        """Pull or plug the cable in this port: the far end goes down, so this end loses carrier."""
        far = self._watch.links.far_end((box, port))
        if far is None:
            raise UsageError(f"no cable in {box}:{port}")
        if up and (box, port) in self._present.state.blocked:
            self.do_block(box, port, False)
        if up and (box, port) in self._present.state.deaf:
            self._sites.deafen([(box, port)], False)
        self._watch.links.set_link(far, (box, port), up)
        return self.do_status()

    def do_block(self, box: str, port: str, on: bool) -> dict[str, Any]:
        """A pSwitch port forwards nothing while its carrier stays (TEAM-F-1)."""
        key = (box, port)
        if box not in self._present.topology.physical_switches or self._watch.links.far_end(key) is None:
            raise UsageError(f"{box}:{port} is no port of a pSwitch: only those can be blocked")

        def after(now: Moment) -> State:
            blocked = now.state.blocked | {key} if on else now.state.blocked - {key}
            return replace(now.state, blocked=blocked)

        self._present.observe(after)
        self._network.settle_changes()
        return self.do_status()

    def do_fail(self, box: str, failed: bool) -> dict[str, Any]:
        """A host or pSwitch loses carrier everywhere, or comes back."""
        self._watch.links.fail(box, failed)
        taken = self._ft.failed([box]) if failed else []
        return {**self.do_status(), "taken_over": taken}

    def do_fail_site(self, site: str, failed: bool) -> dict[str, Any]:
        """All hosts and pSwitches of a site are lost, or come back."""
        boxes = self._sites.fail(site, failed)
        taken = self._ft.failed(boxes) if failed else []
        return {**self.do_status(), "boxes": boxes, "taken_over": taken}

    def do_cut(self, stretch: str, up: bool, site: str | None = None, one_way: str | None = None) -> dict[str, Any]:
        """The ways of a stretch go down or come back; see `lab.agents.sites.Sites.cut`."""
        ports = self._sites.cut(stretch, up, site, one_way)
        return {**self.do_status(), "ports": ports}

    def do_deafen(self, box: str, port: str) -> dict[str, Any]:
        """A pSwitch port takes nothing in while its carrier stays."""
        self._sites.deafen([(box, port)], True)
        return self.do_status()

    def do_lbt(self, threshold: float | None = None, period: float | None = None) -> dict[str, Any]:
        """Load-Based Teaming's last windows; `threshold` (part of 1) and `period` (nominal seconds) change it."""
        if threshold is not None or period is not None:
            self._agents.lbt.adjust(threshold, period)
        return self._agents.lbt.report()

    def do_kill_agent(self, name: str) -> bool:
        """End an agent's thread, which is started again. For tests."""
        return kill(name)

    def do_events(self, after: int = 0, seconds: float = 0) -> list[dict[str, object]]:
        """What hosts tell of, from event number `after` on; waits so long for the first."""
        self._watch.catch_up()
        return self._present.events(after, seconds)

    def do_counters(self, hosts: Sequence[str] = ()) -> dict[str, Any]:
        """What the ports and pNICs of these hosts (none named: of all) have counted, by the model's names, at which
        moment (monotonic, ns); and the State now, without what the switches have learned."""
        known = self._present.topology.hosts
        unknown = [host for host in hosts if host not in known]
        if unknown:
            raise UsageError(f"no host {unknown[0]!r} (there is {', '.join(known) or 'none'})")
        self._watch.catch_up()
        return {"hosts": self._counted.of(hosts or known), "state": to_json(self._present.state)}

    def do_neighbors(self) -> list[dict[str, Any]]:
        """Who hears whom by CDP or LLDP now."""
        return self._agents.discovery.neighbors()

    def do_send(self, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Inject frames at guests' own interfaces, job after job.

        A job: node, interface, frames (hex), and count, rate (frames/s), seq_at, first_seq for a single repeated frame.
        """
        return [self._send(**job) for job in jobs]

    def _send(
        self, node: str, interface: str, frames: Sequence[str], count: int = 1, rate: float | None = None,
        seq_at: int | None = None, first_seq: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        injector, sending = self._injector(node, interface)
        with sending:
            if len(frames) == 1:
                sent = injector.send(bytes.fromhex(frames[0]), count, rate=rate, seq_at=seq_at, first_seq=first_seq)
            else:
                sent = injector.send_many([bytes.fromhex(frame) for frame in frames] * count, rate=rate)
        return {"sent": sent.count, "seconds": sent.seconds}

    def _injector(self, node: str, interface: str) -> tuple[Injector, threading.Lock]:
        """With the lock of whoever sends by it: frames of one interface leave job after job."""
        key = (node, interface)
        with self._sending:
            if key not in self._injectors:
                with inside(self._network.namespaces[node]):
                    made = open_injector(self._network.interface_name(node, interface))
                self._injectors[key] = made, threading.Lock()
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
        rows = []
        for cookie, frames in self._network.ovs(bridge.node).drop_counters(bridge.name).items():
            named = reason_of_cookie(cookie)
            if named and frames:
                place = {"box": bridge.node, "switch": bridge.label, "port": bridge.label_of(named.port)}
                rows.append({**place, "reason": named.reason.value, "statement": named.statement, "frames": frames})
        return rows

    def do_settle(self) -> None:
        """Return when no switch forwards any frame by rows that it had before."""
        self._network.settle(self._boxes())

    def do_mutate(self, box: str, switch: str, change: str) -> None:
        """Break a switch on purpose: one line as `ovs-ofctl add-flows` reads it. For tests of the tests."""
        bridge = next(b for b in self._network.plan.bridges_of(box) if b.label == switch)
        self._network.ovs(box).mutate(bridge.name, change)

    def do_capture_start(
        self, targets: Sequence[Sequence[Any]], directory: str, snaplen: int = 0, count: int = 0,
        spread: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """targets: [node, [interface labels]]; one pcapng a node below `directory`; returns when all are capturing.

        What is captured went by the rows of now: an adapter, a link or a policy may just have changed them."""
        with suppress(SystemRefused):  # a switch that has ended, which `status` says
            self._network.settle_changes()
        return self._captures.start([(n, tuple(i)) for n, i in targets], Path(directory), snaplen, count, spread)

    def do_capture_wait(self, number: int, needles: Sequence[Sequence[Any]], seconds: float) -> bool:
        """True once each needle [node, hex, count] is in that node's file; False after `seconds`."""
        return self._captures.wait_for(number, [(n, bytes.fromhex(h), int(c)) for n, h, c in needles], seconds)

    def do_capture_alive(self, number: int) -> bool:
        return self._captures.alive(number)

    def do_capture_settle(self, number: int, seconds: float = 10.0, needle: str | None = None) -> bool:
        """Wait until all that was on the wires is in the files: everything, or what has these bytes (hex) in it."""
        return self._captures.settle(number, seconds, bytes.fromhex(needle) if needle else None)

    def do_sink(self, node: str, port: int = 9) -> None:
        """Let a guest swallow UDP to `port`, so that its stack does not send the data back in an ICMP error."""
        if (node, port) in self._sinks:
            return
        with inside(self._network.namespaces[node]):
            sink = socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
            sink.bind(("", port))
        self._sinks[node, port] = sink

    def do_capture_stop(self, number: int, at_once: bool = False) -> dict[str, Any]:
        """Nodes with what dumpcap received and dropped, and their files. `at_once`: nobody keeps the files, and they
        have settled."""
        return self._captures.stop(number, at_once)

    def _boxes(self) -> list[str]:
        return [node.name for node in self._network.plan.nodes if node.is_box]


def _names(ports: Iterable[PortKey]) -> list[str]:
    return sorted(f"{box}:{port}" for box, port in ports)
