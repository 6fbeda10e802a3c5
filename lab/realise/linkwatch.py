"""Links of many namespaces through two netlink sockets: events from all of them on one, questions on the other.

Every namespace gets an ID in the sandbox's own (RTM_NEWNSID); a socket that listens to all IDs is told which namespace
an event is from. So a thousand guests cost one descriptor, and no thread has to enter a namespace to look at a link.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from lab.errors import SystemRefused
from lab.frame import mac_text

_SOL_NETLINK = 270
_LISTEN_ALL_NSID = 8
_SO_RCVBUFFORCE = 33
_RTMGRP_LINK = 1
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWNSID, _RTM_GETNSID = 16, 18, 88, 90
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_NETNSA_NSID, _NETNSA_FD = 1, 3
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_EXT_MASK, _IFLA_PROMISCUITY = 1, 3, 29, 30
_IFLA_TARGET_NETNSID, _IFLA_ALLMULTI = 46, 61
_IFLA_STATS64, _IFLA_CARRIER_DOWN_COUNT = 23, 48
_STATS64 = struct.Struct("=8Q")
_SKIP_STATISTICS = 8
_IFF_UP, _IFF_ALLMULTI, _IFF_LOWER_UP = 1, 0x200, 0x10000
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=I")
_SIGNED = struct.Struct("=i")
_ROOM = 1 << 16
EVENTS_ROOM = 8 << 20
"""Bytes of events that may wait. What does not fit is no loss: then every namespace is looked at."""


@dataclass(frozen=True, slots=True)
class Link:
    """`promiscuous` and `all_multicast` count packet sockets that asked for it (tcpdump) as well as the flags;
    `losses`: how often it has lost its carrier."""

    name: str
    mac: str
    up: bool
    carrier: bool
    promiscuous: bool
    all_multicast: bool
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """Of an interface since it was made."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int


class LinkQuery:
    """Asks how the links of several namespaces are. Not for several threads at once."""

    def __init__(self, namespaces: Mapping[str, int]) -> None:
        """`namespaces` are file descriptors by node. Raises SystemRefused."""
        self._asking = _netlink_socket(0)
        self._asked = 0
        self._ids = {node: self._number(fd) for node, fd in namespaces.items()}

    def links(self, node: str) -> dict[str, Link]:
        """Every link of a node, by Linux's name."""
        body = _LINK.pack(0, 0, 0, 0, 0) + self._target(node)
        return {link.name: link for link in map(_link, self._ask(_RTM_GETLINK, _DUMP, body))}

    def link(self, node: str, name: str) -> Link | None:
        """One link; None when there is none of that name (any more)."""
        body = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + self._target(node)
        try:
            return next(map(_link, self._ask(_RTM_GETLINK, 0, body)))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def counters(self, node: str) -> dict[str, Counters]:
        """Of every link of a node, by Linux's name."""
        body = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_TARGET_NETNSID, _SIGNED.pack(self._ids[node]))
        found = {}
        for content in self._ask(_RTM_GETLINK, _DUMP, body):
            said = _attributes(content[_LINK.size :])
            rx, tx, rx_bytes, tx_bytes, _, _, rx_dropped, tx_dropped = _STATS64.unpack_from(said[_IFLA_STATS64])
            name = said[_IFLA_IFNAME].rstrip(b"\0").decode(errors="replace")
            found[name] = Counters(rx, tx, rx_bytes, tx_bytes, rx_dropped, tx_dropped)
        return found

    def _target(self, node: str) -> bytes:
        target = _attribute(_IFLA_TARGET_NETNSID, _SIGNED.pack(self._ids[node]))
        return target + _attribute(_IFLA_EXT_MASK, _NUMBER.pack(_SKIP_STATISTICS))

    def _number(self, namespace: int) -> int:
        """The namespace's ID; it may have one already, the kernel gives them out for cables too."""
        family, which = b"\0" * 4, _attribute(_NETNSA_FD, _NUMBER.pack(namespace))
        with suppress(FileExistsError):
            list(self._ask(_RTM_NEWNSID, _ACK, family + _attribute(_NETNSA_NSID, _SIGNED.pack(-1)) + which))
        (said,) = self._ask(_RTM_GETNSID, 0, family + which)
        return int(_SIGNED.unpack(_attributes(said[len(family) :])[_NETNSA_NSID])[0])

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        """The bodies of the answers. Raises OSError as the kernel says."""
        self._asked += 1
        head = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, self._asked, 0)
        self._asking.send(head + body)
        more = True
        while more:
            data, at = self._asking.recv(_ROOM), 0
            while at < len(data):
                length, said, _, number, _ = _HEADER.unpack_from(data, at)
                content = data[at + _HEADER.size : at + length]
                at += (length + 3) & ~3
                if number != self._asked:
                    continue  # the end of an answer that nobody read to its end
                more = bool(flags & _DUMP) and said not in (_NLMSG_DONE, _NLMSG_ERROR)
                if said == _NLMSG_ERROR and (code := -_SIGNED.unpack_from(content)[0]):
                    raise OSError(code, os.strerror(code))
                if said not in (_NLMSG_DONE, _NLMSG_ERROR):
                    yield content


class LinkWatch(LinkQuery):
    """Tells in which of several namespaces a link changed, too. `wait` is for any thread."""

    def __init__(self, namespaces: Mapping[str, int]) -> None:
        super().__init__(namespaces)
        self._nodes = {number: node for node, number in self._ids.items()}
        self._events = _netlink_socket(_RTMGRP_LINK)
        self._events.setblocking(False)
        self._events.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        with suppress(OSError):  # without the right to it the usual room has to do
            self._events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, EVENTS_ROOM)
        self._poll = select.poll()
        self._poll.register(self._events, select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Until there is an event, or for so long; takes none."""
        self._poll.poll(seconds * 1000)

    def changed(self) -> set[str]:
        """Nodes with link events since this was last asked; all of them when events were lost."""
        found: set[str] = set()
        while True:
            try:
                _, ancillary, _, _ = self._events.recvmsg(_ROOM, socket.CMSG_SPACE(_SIGNED.size))
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found.update(self._ids)
                continue
            for level, kind, data in ancillary:
                node = self._nodes.get(_SIGNED.unpack_from(data)[0]) if kind == _LISTEN_ALL_NSID else None
                if level == _SOL_NETLINK and node is not None:
                    found.add(node)


def _netlink_socket(groups: int) -> socket.socket:
    try:
        handle = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        handle.bind((0, groups))
    except OSError as error:
        raise SystemRefused(f"a netlink socket: {error.strerror}") from error
    return handle


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += (max(length, _ATTRIBUTE.size) + 3) & ~3
    return found


def _link(content: bytes) -> Link:
    _, _, _, flags, _ = _LINK.unpack_from(content)
    said = _attributes(content[_LINK.size :])
    # Kernels before 5.18 do not count who asked for every multicast; there the flag has to do.
    all_multicast = any(said.get(_IFLA_ALLMULTI, b"")) or bool(flags & _IFF_ALLMULTI)
    return Link(
        name=said[_IFLA_IFNAME].rstrip(b"\0").decode(errors="replace"),
        mac=mac_text(said.get(_IFLA_ADDRESS, b"")),
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        promiscuous=any(said.get(_IFLA_PROMISCUITY, b"")),
        all_multicast=all_multicast,
        losses=_NUMBER.unpack(said[_IFLA_CARRIER_DOWN_COUNT])[0] if _IFLA_CARRIER_DOWN_COUNT in said else 0,
    )
