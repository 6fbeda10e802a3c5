"""The lab as a Mininet network: the only door to mininet.

Nodes, switches and links are Mininet's own objects, and `cmd` works on each. What differs: a node's shell starts only
when it is asked for, veth pairs are made in bulk by netlink, and every box starts an Open vSwitch of its own.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Node, Switch

from lab.errors import SystemRefused, UsageError
from lab.plan.names import linux_name
from lab.plan.types import Bridge, Interface, NodeKind, Plan
from lab.plan.types import Node as PlannedNode
from lab.realise import netlink, qdiscs
from lab.realise.difference import BridgeChange, Move, change_of, set_columns, shape
from lab.realise.longwire import LongWire, keep_carriers, wire_class
from lab.realise.ovs import OpenVSwitch, make_template
from lab.realise.run import MS_BIND, mount, new_network_namespace, spawn

# Mininet replaces the class of every logger made after its import.
logging.setLoggerClass(logging.Logger)
# Mininet would raise limits of the whole machine and look for leftovers; the lab touches nothing outside itself.
Mininet.inited = True

Progress = Callable[[str, int, int], None]
AGAIN = "start the lab again with the file changed (vlab down, vlab up)"


class _InNamespace:
    """A Mininet node that lives in a namespace which is there already, and starts its shell on first use."""

    name: str
    shell: Any

    def startShell(self, *_mnexec_options: str) -> None:
        return None

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[Any]:
        return spawn(cmd, self.params["namespace"], **params)  # type: ignore[attr-defined]

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        if not self.shell:
            self.inNamespace = False
            super().startShell()  # type: ignore[misc]
            self.inNamespace = True
        return super().cmd(*args, **kwargs)  # type: ignore[misc]


class Guest(_InNamespace, Node):  # type: ignore[misc]
    """A VM, a host's vmkernel or a machine."""


class Box(_InNamespace, Switch):  # type: ignore[misc]
    """An ESX host or a physical switch with its own Open vSwitch."""

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, **params)
        self.ovs = OpenVSwitch(params["namespace"], params["directory"], params["datapath"])

    def start(self, _controllers: object) -> None:
        self.ovs.configure(self.params["bridges"])

    def stop(self, deleteIntfs: bool = False) -> None:
        self.ovs.stop()
        super().stop(deleteIntfs)


class Port(Intf):  # type: ignore[misc]
    """An interface that netlink has configured already."""

    def config(self, **_params: Any) -> dict[str, Any]:
        return {}


class Wire(Link):  # type: ignore[misc]
    """A veth pair that netlink has made already."""

    @classmethod
    def makeIntfPair(cls, *_args: Any, **_kwargs: Any) -> None:
        return None


class Network:
    """A plan made real inside the sandbox. `directory` is a tmpfs of the sandbox."""

    def __init__(self, plan: Plan, directory: Path, datapath: str, distance: str, progress: Progress) -> None:
        self.plan = plan
        self.directory = directory
        self.datapath = datapath
        self.distance = distance
        self.namespaces: dict[str, int] = {}
        self.queues = qdiscs.Queues(None)
        self.requeued: list[qdiscs.Place] = []
        self.wires: list[LongWire] = []
        self.mininet = Mininet(topo=None, build=False, controller=None, inNamespace=True)
        self._progress = progress
        # By box: how often its rows have changed, and how often they had when it last settled.
        self._changed: dict[str, int] = {}
        self._settled_at: dict[str, int] = {}
        self._never_up = {(n.name, i.label) for n in plan.nodes for i in n.interfaces if not i.up}

    def build(self) -> None:
        """Namespaces, cables, addresses, switches; raises on the first thing that the system refuses."""
        self._make_namespaces()
        template = make_template(self.directory)
        for node in self.plan.nodes:
            self._add(node)
        boxes = list(self.mininet.switches)
        with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
            # Making cables is mostly waiting for the kernel; the switches' daemons start meanwhile.
            launched = [pool.submit(box.ovs.launch, template) for box in boxes]
            self._make_cables()
            for done in launched:
                done.result()
            self._add_links()
            list(pool.map(lambda box: box.ovs.plug_in(box.params["bridges"]), boxes))
            for number, _ in enumerate(pool.map(lambda box: box.start([]), boxes), start=1):
                self._progress("switches", number, len(boxes))
        # Open vSwitch takes away the queues of a port when it is added, and leaves them alone from then on.
        rooms = [room for box in boxes if (room := box.ovs.send_room()) is not None]
        self.queues = qdiscs.Queues(min(rooms, default=None))
        self.queues.change(self.plan.queues, qdiscs.ends_of(self.plan, self.namespaces))

    def _add_links(self) -> None:
        for cable in (cable for cable in self.plan.cables if not cable.tunnelled):
            a, b = cable.a[0], cable.b[0]
            names = [self.plan.node_named[n].interface(i).name for n, i in (cable.a, cable.b)]
            self.mininet.addLink(
                self.mininet[a], self.mininet[b], cls=Wire, intf=Port, intfName1=names[0], intfName2=names[1]
            )

    def _make_namespaces(self) -> None:
        (self.directory / "netns").mkdir()
        for node in self.plan.nodes:
            namespace = new_network_namespace(self.directory / "netns" / node.id)
            self.namespaces[node.name] = namespace
            netlink.write_sysctls(namespace, netlink.SYSCTLS_BOX if node.is_box else netlink.SYSCTLS_GUEST)
            if node.kind is NodeKind.VMKERNEL:
                netlink.write_sysctls(namespace, netlink.SYSCTLS_VMKERNEL)
            if node.forwards:
                netlink.write_sysctls(namespace, netlink.SYSCTLS_ROUTER)
            if any(":" in a for i in node.interfaces for a in i.addresses):
                netlink.write_sysctls(namespace, {"net/ipv6/conf/all/disable_ipv6": "0"})

    def _make_cables(self) -> None:
        def end(of: tuple[str, str]) -> tuple[int, Interface]:
            return self.namespaces[of[0]], self.plan.node_named[of[0]].interface(of[1])

        pairs = []
        far = any(cable.way for cable in self.plan.cables) or self.distance == "netem"
        long_wire = wire_class(self.distance if far else "wire")
        for cable in (cable for cable in self.plan.cables if not cable.tunnelled):
            if cable.way is None:
                pairs.append((end(cable.a), end(cable.b)))
            else:
                wire = long_wire(self.directory / "wires", len(self.wires), cable)
                self.wires.append(wire)
                pairs += [(end(cable.a), wire.ends[0]), (wire.ends[1], end(cable.b))]
        netlink.create_cables(pairs)
        for node in self.plan.nodes:
            netlink.create_tunnels(self.namespaces[node.name], node.interfaces)
        for node in self.plan.nodes:
            netlink.configure(self.namespaces[node.name], node.interfaces, not node.is_box)
            if node.gateway:
                netlink.set_gateway(self.namespaces[node.name], node.gateway)
        for wire in self.wires:
            wire.start()
        keep_carriers(self.wires)
        self._progress("namespaces and cables", 1, 1)

    def _add(self, node: PlannedNode) -> None:
        namespace = self.namespaces[node.name]
        if not node.is_box:
            self.mininet.addHost(node.name, cls=Guest, namespace=namespace, ip=None)
            return
        bridges = self.plan.bridges_of(node.name)
        self.mininet.addSwitch(
            node.name, cls=Box, namespace=namespace, directory=self.directory / "ovs" / node.id,
            datapath=self.datapath, bridges=bridges,
            dpid=bridges[0].dpid if bridges else "0" * 15 + "1",
        )  # fmt: skip

    def ovs(self, box: str) -> OpenVSwitch:
        """The Open vSwitch of a host or pSwitch."""
        node = self.mininet[box]
        if not isinstance(node, Box):
            raise SystemRefused(f"{box} is no switch")
        return node.ovs

    def check_shape(self, plan: Plan) -> None:
        """Raises UsageError for a plan of other boxes, cables or addresses than those that were built."""
        if shape(plan) != shape(self.plan):
            raise UsageError(f"that needs other boxes, cables or addresses: {AGAIN}")

    def replan(self, plan: Plan) -> tuple[BridgeChange, ...]:
        """Go from the present plan to `plan`, which differs in rows, columns and queues only: one bundle for each
        bridge, then the queues.

        Raises SystemRefused when a switch refused; the present plan then has what the others took, so that the next
        one mends the rest.
        """
        pairs = list(zip(self.plan.bridges, plan.bridges, strict=True))
        changing = [pair for pair in pairs if pair[0] != pair[1]]
        done: dict[tuple[str, str], Bridge] = {}
        refused: list[SystemRefused] = []

        def change(pair: tuple[Bridge, Bridge]) -> None:
            old, new = pair
            try:
                self.reprogram(old, new)
                done[new.node, new.name] = new
            except SystemRefused as error:
                refused.append(error)

        with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
            list(pool.map(change, changing))
        bridges = tuple(done.get((old.node, old.name), old) for old, _ in pairs)
        self.plan = replace(plan, bridges=bridges, queues=self.plan.queues)
        if refused:
            raise refused[0]
        self.requeue(plan)
        self.plan = replace(self.plan, queues=plan.queues)
        return tuple(change_of(old, new) for old, new in changing)

    def requeue(self, plan: Plan) -> None:
        """The queues of `plan`, whose interfaces are where it says. Raises SystemRefused."""
        self.requeued = self.queues.change(plan.queues, qdiscs.ends_of(plan, self.namespaces))

    def reprogram(self, old: Bridge, new: Bridge) -> None:
        """One switch goes from the rows and columns of `old` to those of `new`. Raises SystemRefused."""
        ovs = self.ovs(new.node)
        if old.rows != new.rows:
            ovs.apply(new, old.rows, new.rows)
            self._changed[new.node] = self._changed.get(new.node, 0) + 1
        set_columns(ovs, old, new)

    def settle(self, boxes: Iterable[str]) -> None:
        """Until no switch of these boxes forwards any frame by rows that it had before. Takes half a second."""
        before = dict(self._changed)
        with ThreadPoolExecutor() as pool:
            for box in pool.map(self._settled, boxes):
                self._settled_at[box] = before.get(box, 0)

    def _settled(self, box: str) -> str:
        self.ovs(box).settle()
        return box

    def longest_way(self) -> float:
        """Seconds that a frame may be held back between sites, all of the long ways one after another."""
        return sum(wire.cable.way.delay + wire.cable.way.jitter for wire in self.wires if wire.cable.way)

    def settle_changes(self) -> None:
        """The same for the boxes whose rows have changed since they last settled; at once when there is none."""
        due = [box for box, changes in dict(self._changed).items() if self._settled_at.get(box, 0) < changes]
        if due:
            self.settle(due)

    def relink(self, before: Plan) -> None:
        """Links as the present plan has them switched on, where `before` had them otherwise.

        A vNIC that is disconnected stays switched on and loses carrier: its switch's end of the cable goes down.
        """
        ends = {cable.a: cable.b for cable in before.cables} | {cable.b: cable.a for cable in before.cables}
        for old_node, node in zip(before.nodes, self.plan.nodes, strict=True):
            for old, new in zip(old_node.interfaces, node.interfaces, strict=True):
                if old.up != new.up:
                    own = (node.name, new.label)
                    self._switch(own if node.is_box else ends[own], new.up)
                    if new.up and own in self._never_up:
                        self._never_up.remove(own)
                        self._switch(own, True)

    def _switch(self, end: tuple[str, str], up: bool) -> None:
        netlink.set_link(self.namespaces[end[0]], self.interface_name(*end), up)

    def reattach(self, move: Move) -> None:
        """Mininet's view of a cable whose end is in another box now."""
        name = linux_name(move.label)
        port = self.mininet[move.source].nameToIntf.get(name)
        if port is not None:
            port.node.delIntf(port)
            port.node = self.mininet[move.target]
            port.node.addIntf(port, moveIntfFn=lambda *_: None)

    def interface_name(self, node: str, label: str) -> str:
        return self.plan.node_named[node].interface(label).name

    def bridge_with(self, box: str, port: str) -> Bridge:
        """The bridge of `box` that has this port. Raises KeyError."""
        for bridge in self.plan.bridges_of(box):
            if any(p.label == port for p in bridge.ports):
                return bridge
        raise KeyError(port)


__all__ = ["MS_BIND", "Box", "Guest", "Network", "NodeKind", "mount"]
