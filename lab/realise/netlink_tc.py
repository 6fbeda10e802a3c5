"""Queueing disciplines by netlink: put an interface's token bucket or HTB tree in place, change it without dropping
frames of classes that stay, and read back what the kernel has."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTM_DELQDISC,
    RTM_DELTCLASS,
    RTM_DELTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTCLASS,
    RTM_NEWTFILTER,
)
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from lab.errors import SystemRefused
from lab.plan.queues import Bucket, Class, Match, Queue, Tree
from lab.realise.run import inside

_AT_ROOT = 0xFFFFFFFF
_HANDLE = 0x10000
_LEAF = 0x1000
"""Class 1:N has its queue under the handle 0x1000 + N."""
_ETH_P_ALL, _ETH_P_8021Q = 0x0003, 0x8100
_ETHERNET = 1
_TICKS_PER_SECOND = 15_625_000
"""The kernel counts queueing time in units of 64 ns."""
_MOST_TICKS = 0xFFFFFFFF
_TAGGED, _PLAIN = -12, -8
"""Where the source MAC is, counted from where the kernel has the network header: behind the tag when it is inline."""
_PUT = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
_TAKE = NLM_F_REQUEST | NLM_F_ACK
_TOGETHER = 64
"""Messages in one go."""
_PREFERENCES = (10, 20)
"""Of filters: the new ones go to the other one of the two before the old ones are taken away."""

_Word = tuple[int, int, int]
"""(value, mask, offset from the network header) of 32 bits."""


@dataclass(frozen=True)
class Counted:
    """What a class, or a whole bucket, has sent (bytes, frames), has dropped (frames), and has waiting (frames)."""

    bytes: int
    frames: int
    dropped: int
    waiting: int


class _Raw(tcmsg):  # type: ignore[misc]
    """Options are bytes: pyroute2 encodes neither negative offsets of u32 nor the peak rate of tbf."""

    nla_map = (("TCA_UNSPEC", "none"), ("TCA_KIND", "asciiz"), ("TCA_OPTIONS", "cdata"))


def apply(namespace: int, interface: str, old: Queue | None, new: Queue | None, unsure: bool = False) -> None:
    """Turn what `interface` has, which is `old`, into `new` and read it back. Frames of classes that stay are not
    dropped, as long as what nothing matches stays where it was. `unsure`: nobody knows what is there; it goes first.

    Raises SystemRefused, also when the kernel has something else than what it was told.
    """
    with inside(namespace), IPRoute() as ip:
        device = _Device(ip, interface)
        try:
            if unsure:
                device.clear()
            device.change(old, new)
            device.check(new)
        except NetlinkError as error:
            raise SystemRefused(f"queues of {interface}: {error.args[-1]}") from error


def count(namespace: int, interface: str, queue: Queue) -> Mapping[int, Counted]:
    """By minor number of the class; a bucket has the number 0."""
    with inside(namespace), IPRoute() as ip:
        return _Device(ip, interface).counters(queue)


class _Device:
    def __init__(self, ip: IPRoute, interface: str) -> None:
        self._ip = ip
        self._name = interface
        try:
            self._index = socket.if_nametoindex(interface)
        except OSError as error:
            raise SystemRefused(f"no interface {interface}") from error

    # -- telling the kernel

    def clear(self) -> None:
        if any(q["handle"] == _HANDLE for q in self._ip.get_qdiscs(index=self._index)):
            self._send(request(RTM_DELQDISC, _TAKE, self._index, _HANDLE, _AT_ROOT))

    def change(self, old: Queue | None, new: Queue | None) -> None:
        if old is not None and not _alike(old, new):
            self._send(request(RTM_DELQDISC, _TAKE, self._index, _HANDLE, _AT_ROOT))
            old = None
        if isinstance(new, Bucket):
            self._send(*_bucket(self._index, new))
        elif isinstance(new, Tree):
            self._send(*_tree(self._index, old if isinstance(old, Tree) else None, new))
            if not isinstance(old, Tree) or old.matches != new.matches:
                self._send(*_filters(self._index, self._preferences(), new.matches))
            self._send(*_gone(self._index, old if isinstance(old, Tree) else None, new))

    def _preferences(self) -> set[int]:
        """Of the filters that are there."""
        return {f["info"] >> 16 for f in self._ip.get_filters(index=self._index, parent=_HANDLE)}

    def _send(self, *messages: tcmsg) -> None:
        for begin in range(0, len(messages), _TOGETHER):
            list(self._ip.nlm_request_batch(list(messages[begin : begin + _TOGETHER])))

    # -- asking it

    def check(self, wanted: Queue | None) -> None:
        """Raises SystemRefused for the first difference."""
        qdiscs = {q["handle"]: q for q in self._ip.get_qdiscs(index=self._index)}
        if isinstance(wanted, Bucket):
            self._compare("rate, peak", _rates_of(qdiscs.get(_HANDLE)), (wanted.rate // 8, wanted.peak // 8))
            self._compare("queue", _limit_of(qdiscs.get(_LEAF << 16)), wanted.packets)
        elif isinstance(wanted, Tree):
            there = {c["handle"] & 0xFFFF: c for c in self._classes()}
            self._compare("classes", sorted(there), sorted(c.minor for c in wanted.classes))
            for c in wanted.classes:
                self._compare(c.label, _parameters(there[c.minor]), (c.rate // 8, c.ceil // 8, c.quantum))
                if c.packets:
                    self._compare(f"{c.label} queue", _limit_of(qdiscs.get((_LEAF + c.minor) << 16)), c.packets)

    def _compare(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise SystemRefused(f"queues of {self._name}: {what}: the kernel has {found} where {wanted} was asked for")

    def _classes(self) -> list[Any]:
        return list(self._ip.get_classes(index=self._index))

    def counters(self, queue: Queue) -> Mapping[int, Counted]:
        if isinstance(queue, Bucket):
            (found,) = (q for q in self._ip.get_qdiscs(index=self._index) if q["handle"] == _HANDLE)
            return {0: _counted(found)}
        return {c["handle"] & 0xFFFF: _counted(c) for c in self._classes()}


def _alike(old: Queue, new: Queue | None) -> bool:
    """One can become the other class by class."""
    return type(old) is type(new) and getattr(old, "default", 0) == getattr(new, "default", 0)


def _counted(message: Any) -> Counted:
    stats = message.get_attr("TCA_STATS2")
    basic, queue = stats.get_attr("TCA_STATS_BASIC"), stats.get_attr("TCA_STATS_QUEUE")
    return Counted(basic["bytes"], basic["packets"], queue["drops"], queue["qlen"])


def _rates_of(qdisc: Any) -> tuple[int, int] | None:
    parameters = qdisc and qdisc.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
    return parameters and (parameters["rate"], parameters["peak"])


def _limit_of(qdisc: Any) -> int | None:
    return qdisc and int(qdisc.get_attr("TCA_OPTIONS")["limit"])


def _parameters(found: Any) -> tuple[int, int, int]:
    """(rate, ceil) in bytes a second, quantum."""
    options = found.get_attr("TCA_OPTIONS")
    said = options.get_attr("TCA_HTB_PARMS")
    rate = options.get_attr("TCA_HTB_RATE64") or said["rate"]
    return rate, options.get_attr("TCA_HTB_CEIL64") or said["ceil"], said["quantum"]


# -- messages


def request(
    kind: int, flags: int, index: int, handle: int, parent: int, name: str = "", options: bytes = b"", info: int = 0
) -> tcmsg:
    message = _Raw()
    message["index"], message["handle"], message["parent"], message["info"] = index, handle, parent, info
    message["header"]["type"], message["header"]["flags"] = kind, flags
    if name:
        message["attrs"] = [("TCA_KIND", name), ("TCA_OPTIONS", options)]
    return message


def attribute(number: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), number) + content + bytes(-len(content) % 4)


def _rate_spec(bits: int) -> bytes:
    return struct.pack("=BBHhHI", 0, _ETHERNET if bits else 0, 0, 0, 0, min(bits // 8, 0xFFFFFFFF))


def _ticks(size: int, bits: int) -> int:
    """How long `size` bytes take at this rate."""
    return min(-(-size * 8 * _TICKS_PER_SECOND // bits), _MOST_TICKS)


def _pfifo(index: int, handle: int, parent: int, packets: int) -> tcmsg:
    return request(RTM_NEWQDISC, _PUT, index, handle << 16, parent, "pfifo", struct.pack("=I", packets))


def _bucket(index: int, bucket: Bucket) -> Iterator[tcmsg]:
    """tbf: the kernel derives what it holds from the time that it takes at the rate."""
    at_once = _ticks(bucket.at_once, bucket.peak) if bucket.peak else 0
    rates = _rate_spec(bucket.rate) + _rate_spec(bucket.peak)
    # The kernel makes a queue of so many bytes at first, and takes the number for one of frames when it is changed.
    parameters = rates + struct.pack("=III", bucket.packets, _ticks(bucket.burst, bucket.rate), at_once)
    yield request(RTM_NEWQDISC, _PUT, index, _HANDLE, _AT_ROOT, "tbf", attribute(1, parameters))
    yield _pfifo(index, _LEAF, _HANDLE + 1, bucket.packets)


def _tree(index: int, old: Tree | None, new: Tree) -> Iterator[tcmsg]:
    before = {c.minor: c for c in old.classes} if old else {}
    if old is None:
        start = struct.pack("=IIIII", 3, 10, new.default, 0, 0)
        yield request(RTM_NEWQDISC, _PUT, index, _HANDLE, _AT_ROOT, "htb", attribute(2, start))
    for c in new.classes:
        if before.get(c.minor) != c:
            yield from _class(index, before.get(c.minor), c)


def _gone(index: int, old: Tree | None, new: Tree) -> Iterator[tcmsg]:
    """Classes below others first."""
    before = {c.minor for c in old.classes} if old else set()
    for minor in sorted(before - {c.minor for c in new.classes}, reverse=True):
        yield request(RTM_DELTCLASS, _TAKE, index, _HANDLE + minor, _HANDLE)


def _class(index: int, old: Class | None, new: Class) -> Iterator[tcmsg]:
    rates = _rate_spec(new.rate) + _rate_spec(new.ceil)
    buffers = (_ticks(new.burst, new.rate), _ticks(new.burst, new.ceil))
    options = attribute(1, rates + struct.pack("=IIIII", *buffers, new.quantum, 0, 0))
    for number, bits in ((6, new.rate), (7, new.ceil)):
        if bits // 8 > 0xFFFFFFFF:
            options += attribute(number, struct.pack("=Q", bits // 8))
    parent = _HANDLE + new.parent
    yield request(RTM_NEWTCLASS, _PUT, index, _HANDLE + new.minor, parent, "htb", options)
    if new.packets and (old is None or old.packets != new.packets):
        yield _pfifo(index, _LEAF + new.minor, _HANDLE + new.minor, new.packets)


def _filters(index: int, present: Iterable[int], matches: Iterable[Match]) -> Iterator[tcmsg]:
    """The new ones before the old ones go; a preference has one protocol, and tagged frames come first."""
    there = sorted(set(present))
    now = next(p for p in _PREFERENCES if p not in there)
    for match in matches:
        for step, protocol, words in _words(match):
            options = attribute(1, struct.pack("=I", _HANDLE + match.target)) + attribute(5, selector(words))
            info = (now + step) << 16 | socket.htons(protocol)
            yield request(RTM_NEWTFILTER, _TAKE | NLM_F_CREATE, index, 0, _HANDLE, "u32", options, info)
    for preference in there:
        yield request(RTM_DELTFILTER, _TAKE, index, 0, _HANDLE, info=preference << 16)


def selector(words: Iterable[_Word]) -> bytes:
    keys = [struct.pack(">II", mask, value) + struct.pack("=ii", offset, 0) for value, mask, offset in words]
    return struct.pack("=BBBxHHhhI", 1, 0, len(keys), 0, 0, 0, 0, 0) + b"".join(keys)


def _words(match: Match) -> Iterator[tuple[int, int, tuple[_Word, ...]]]:
    """(step of the preference, protocol, what is looked for). A tag that the kernel keeps beside the frame leaves the
    bytes as those of an untagged one, under the tag's protocol."""
    if match.ethertype:
        kind = (match.ethertype, 0xFFFF, -4)
        yield 0, _ETH_P_8021Q, (kind,)
        yield 0, _ETH_P_8021Q, ((_ETH_P_8021Q, 0xFFFF, -4), (match.ethertype, 0xFFFF, 0))
        yield 1, _ETH_P_ALL, (kind,)
        return
    for port in _port_words(match.port):
        yield 0, _ETH_P_8021Q, (*_mac_words(match.mac, _TAGGED), *port)
        yield 0, _ETH_P_8021Q, (*_mac_words(match.mac, _PLAIN), *port)
        yield 1, _ETH_P_ALL, (*_mac_words(match.mac, _PLAIN), *port)


def _mac_words(mac: str, at: int) -> tuple[_Word, _Word]:
    octets = bytes.fromhex(mac.replace(":", ""))
    return (
        (int.from_bytes(octets[:4]), 0xFFFFFFFF, at),
        (int.from_bytes(octets[4:]) << 16, 0xFFFF0000, at + 4),
    )


def _port_words(port: int) -> tuple[tuple[_Word, ...], ...]:
    """TCP or UDP to or from this port, in IPv4 without options."""
    if not port:
        return ((),)
    plain = (0x45000000, 0xFF000000, 0)
    return (plain, (port, 0xFFFF, 20)), (plain, (port << 16, 0xFFFF0000, 20))
