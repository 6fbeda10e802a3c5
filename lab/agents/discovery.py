"""CDP and LLDP: hosts and pSwitches tell who they are, listen, and remember whom they heard (MIR-12)."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lab.frame import CDP_MAC, LLDP_MAC
from lab.model import Discovery, PhysicalPort, PortKey, Topology
from lab.plan.types import Plan
from lab.plan.wiring import pswitch_ports
from lab.realise.net import Network
from lab.realise.packets import PacketSocket
from traffic.discovery import CDP, CDP_TTL, LLDP, LLDP_TTL, Announcement, build, interval_of, parse

MOST_NEIGHBORS = 64
"""Of one port; a guest that makes devices up pushes the oldest out."""
_MAC_OF = {CDP: CDP_MAC, LLDP: LLDP_MAC}


@dataclass(frozen=True)
class Speaker:
    """A port that takes part: the frames it sends, by protocol, and the protocols it listens to."""

    box: str
    port: str
    frames: tuple[tuple[str, bytes], ...]
    listens: tuple[str, ...]


@dataclass(frozen=True)
class Neighbor:
    """Who was heard at a port, and when (monotonic seconds)."""

    box: str
    port: str
    said: Announcement
    heard: float


def speakers(topology: Topology, plan: Plan) -> Iterator[Speaker]:
    """pNICs of switches that listen or advertise, then the ports of pSwitches that speak."""
    for host in topology.hosts.values():
        switches = [(s.discovery, s.uplinks) for s in host.standard_switches.values()]
        switches += [(s.discovery, s.pnics(host.name)) for s in topology.distributed_switches.values()]
        for discovery, uplinks in switches:
            for uplink in uplinks if discovery.listens or discovery.advertises else ():
                yield _of_host(topology, plan, (host.name, uplink), discovery)
    for switch in topology.physical_switches.values():
        protocols = [name for name, spoken in ((CDP, switch.cdp), (LLDP, switch.lldp)) if spoken]
        for port, configured in pswitch_ports(topology, switch.name).items() if protocols else ():
            yield _of_pswitch(plan, (switch.name, port), configured, protocols)


def _of_host(topology: Topology, plan: Plan, key: PortKey, discovery: Discovery) -> Speaker:
    """What a real host says: its name, the pNIC, `VMware ESX`, and that it is a switch."""
    name = f"VMware ESX {topology.release}"
    said = {
        CDP: Announcement(CDP, *key, CDP_TTL, platform="VMware ESX", description=name, capabilities=("switch",)),
        LLDP: Announcement(LLDP, *key, LLDP_TTL, description=name, capabilities=("bridge",)),
    }[discovery.protocol]
    frames = ((said.protocol, build(said, _mac(plan, key), esx=True)),) if discovery.advertises else ()
    return Speaker(*key, frames, (discovery.protocol,) if discovery.listens else ())


def _of_pswitch(plan: Plan, key: PortKey, configured: PhysicalPort, protocols: list[str]) -> Speaker:
    common: dict[str, Any] = {"native_vlan": configured.untagged, "description": "vswitchlab physical switch"}
    said = {
        CDP: Announcement(CDP, *key, CDP_TTL, platform="pSwitch", capabilities=("switch",), **common),
        LLDP: Announcement(LLDP, *key, LLDP_TTL, capabilities=("bridge",), **common),
    }
    mac = _mac(plan, key)
    return Speaker(*key, tuple((name, build(said[name], mac)) for name in protocols), tuple(protocols))


def _mac(plan: Plan, key: PortKey) -> str:
    return plan.node_named[key[0]].interface(key[1]).mac


class DiscoveryAgent:
    """One thread for all ports of the lab. `speedup` makes its clock run faster: intervals and lifetimes shrink."""

    def __init__(self, topology: Topology, network: Network, speedup: float = 1.0) -> None:
        self.network = network
        self.speedup = speedup
        self._changed = threading.Lock()
        self._heard: dict[tuple[str, str, str, str, str], Neighbor] = {}
        self._sockets: dict[PortKey, PacketSocket] = {}
        self._at: dict[int, Speaker] = {}
        self._poll = select.poll()
        self._due: dict[str, float] = {}
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.POLLIN)
        self.update(topology)

    def update(self, topology: Topology) -> None:
        """Take part as this topology says, from now on; what was heard already is kept until it ages out."""
        with self._changed:
            ports = {(s.box, s.port): s for s in speakers(topology, self.network.plan)}
            for key in self._sockets.keys() - ports.keys():
                gone = self._sockets.pop(key)
                self._poll.unregister(gone)
                gone.close()
            for key in ports.keys() - self._sockets.keys():
                box, port = key
                interface = self.network.interface_name(box, port)
                made = PacketSocket(self.network.namespaces[box], interface, tuple(_MAC_OF.values()))
                self._sockets[key] = made
                self._poll.register(made, select.POLLIN)
            self._at = {self._sockets[key].fileno(): speaker for key, speaker in ports.items()}
            self._due = dict.fromkeys(_MAC_OF, time.monotonic())
        os.eventfd_write(self._wake, 1)

    def start(self) -> None:
        threading.Thread(target=self._run, name="discovery", daemon=True).start()

    def _run(self) -> None:
        while True:
            ready = self._poll.poll(max(0.0, min(self._due.values()) - time.monotonic()) * 1000)
            with self._changed:
                for fd, _ in ready:
                    self._listen(fd)
                self._speak(time.monotonic())

    def _speak(self, now: float) -> None:
        for protocol, due in self._due.items():
            if due > now:
                continue
            self._due[protocol] = now + interval_of(protocol) / self.speedup
            for speaker in self._at.values():
                for spoken, frame in speaker.frames:
                    if spoken == protocol:
                        with suppress(OSError):  # a port whose link is down
                            self._sockets[speaker.box, speaker.port].send(frame)

    def _listen(self, fd: int) -> None:
        if fd == self._wake:
            os.eventfd_read(fd)
        speaker = self._at.get(fd)
        if speaker is None:
            return
        heard = self._sockets[speaker.box, speaker.port]
        while (frame := heard.receive()) is not None:
            said = parse(frame)
            if said is not None and said.protocol in speaker.listens:
                self._remember(Neighbor(speaker.box, speaker.port, said, time.monotonic()))

    def _remember(self, found: Neighbor) -> None:
        said = found.said
        key = (found.box, found.port, said.protocol, said.device, said.port)
        self._heard.pop(key, None)
        if said.ttl == 0:  # its way of saying that it leaves
            return
        self._heard[key] = found
        here = [k for k in self._heard if k[:2] == key[:2]]
        for oldest in here[: len(here) - MOST_NEIGHBORS]:
            del self._heard[oldest]

    def neighbors(self) -> list[dict[str, Any]]:
        """Who hears whom now, by port. `age` and `ttl` are seconds of the lab's clock."""
        with self._changed:
            now = time.monotonic()
            self._heard = {
                key: found for key, found in self._heard.items() if (now - found.heard) * self.speedup < found.said.ttl
            }
            found = sorted(self._heard.values(), key=lambda n: (n.box, n.port, n.said.protocol, n.said.device))
            return [_described(n, (now - n.heard) * self.speedup) for n in found]


def _described(neighbor: Neighbor, age: float) -> dict[str, Any]:
    said = neighbor.said
    return {
        "box": neighbor.box,
        "port": neighbor.port,
        "protocol": said.protocol,
        "device": said.device,
        "device_port": said.port,
        "native_vlan": said.native_vlan,
        "platform": said.platform,
        "description": said.description,
        "capabilities": list(said.capabilities),
        "ttl": said.ttl,
        "age": round(age, 1),
    }
