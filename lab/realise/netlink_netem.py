"""One end of a long way in the kernel: what comes in at an interface leaves by another, through netem.

`python -m lab.realise.netlink_netem`, in a namespace of one's own, ends with 0 where the kernel can do that.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_NEWQDISC, RTM_NEWTFILTER

from lab.errors import SystemRefused
from lab.plan.distance import Distance, distance
from lab.plan.types import Interface, Way
from lab.realise import netlink
from lab.realise.netlink_tc import attribute, request, selector
from lab.realise.run import inside, passing_namespace

_AT_ROOT, _AT_INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_HANDLE, _INGRESS = 0x10000, 0xFFFF0000
_ETH_P_ALL = 0x0003
_PUT = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
_SHOT, _PIPE, _STOLEN = 2, 3, 4
_EGRESS_REDIRECT = 1
_U32_ACTIONS, _U32_SELECTOR = 7, 5
_NETEM_RATE, _NETEM_RATE64, _NETEM_LATENCY64, _NETEM_JITTER64 = 6, 8, 10, 11
_TICK_NS = 64
_MOST = 0xFFFFFFFF


def put(namespace: int, source: str, target: str, wanted: Distance) -> None:
    """Every frame that comes in at `source` goes out of `target` after this distance, whatever its address, and the
    namespace's own stack never sees it. Raises SystemRefused, also when the kernel has something else than asked."""
    try:
        with inside(namespace), IPRoute() as ip:
            a, b = socket.if_nametoindex(source), socket.if_nametoindex(target)
            netem = request(RTM_NEWQDISC, _PUT, b, _HANDLE, _AT_ROOT, "netem", _netem(wanted))
            ingress = request(RTM_NEWQDISC, _PUT, a, _INGRESS, _AT_INGRESS, "ingress")
            everything = 1 << 16 | socket.htons(_ETH_P_ALL)
            way = request(RTM_NEWTFILTER, _PUT, a, 0, _INGRESS, "u32", _redirect(b, wanted), everything)
            list(ip.nlm_request_batch([netem, ingress, way]))
            found = _found(ip, b)
    except (NetlinkError, OSError) as error:
        raise SystemRefused(f"netem at {target}: {error.args[-1]}") from error
    asked = (wanted.delay // _TICK_NS, wanted.jitter // _TICK_NS, wanted.limit, wanted.loss)
    if found != asked:
        raise SystemRefused(f"netem at {target}: the kernel has {found} where {asked} was asked for")


def stands(namespace: int, interface: str) -> bool:
    """Whether there is netem at this interface."""
    with inside(namespace), IPRoute() as ip:
        return _found(ip, socket.if_nametoindex(interface)) is not None


def why_not() -> str | None:
    """What this kernel lacks for it; None when it has all. Tried, in a namespace that is gone afterwards."""
    a, b = (Interface(name, name, f"02:00:00:00:00:0{n}", 1500) for n, name in enumerate(("try0", "try1")))
    try:
        with passing_namespace() as namespace:
            netlink.create_cables([((namespace, a), (namespace, b))])
            put(namespace, a.name, b.name, distance(Way(0.001, 0.001, 0.01, 1_000_000)))
    except SystemRefused as error:
        return str(error)
    return None


def _found(ip: IPRoute, index: int) -> tuple[int, int, int, int] | None:
    """(delay, jitter) in ticks, limit, loss."""
    for qdisc in ip.get_qdiscs(index=index):
        if qdisc["handle"] == _HANDLE and qdisc.get_attr("TCA_KIND") == "netem":
            said: Any = qdisc.get_attr("TCA_OPTIONS")
            return said["delay"], said["jitter"], said["limit"], said["loss"]
    return None


def _netem(wanted: Distance) -> bytes:
    ticks = (wanted.delay // _TICK_NS, wanted.jitter // _TICK_NS)
    head = struct.pack("=IIIIII", ticks[0], wanted.limit, wanted.loss, 0, 0, ticks[1])
    return b"".join((
        head,
        attribute(_NETEM_LATENCY64, struct.pack("=q", wanted.delay)),
        attribute(_NETEM_JITTER64, struct.pack("=q", wanted.jitter)),
        attribute(_NETEM_RATE, struct.pack("=IiIi", min(wanted.rate, _MOST), 0, 0, 0)),
        attribute(_NETEM_RATE64, struct.pack("=Q", wanted.rate)),
    ))  # fmt: skip


def _redirect(index: int, wanted: Distance) -> bytes:
    mirred = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, index)
    actions = [_action("mirred", attribute(2, mirred))]
    if wanted.burst:
        actions.insert(0, _action("police", _police(wanted)))
    numbered = b"".join(attribute(number, action) for number, action in enumerate(actions, start=1))
    return attribute(_U32_SELECTOR, selector([(0, 0, 0)])) + attribute(_U32_ACTIONS, numbered)


def _action(kind: str, options: bytes) -> bytes:
    return attribute(1, kind.encode() + b"\0") + attribute(2, options)


def _police(wanted: Distance) -> bytes:
    """What would have to wait too long for its turn goes no further. The kernel insists on a table that it does not
    use any more."""
    burst = min(wanted.burst * 1_000_000_000 // (wanted.rate * _TICK_NS), _MOST)
    rate = struct.pack("=BBHhHI", 3, 1, 0, 0, 0, min(wanted.rate, _MOST))
    bucket = struct.pack("=IiIII", 0, _SHOT, 0, burst, 0xFFFF) + rate + bytes(12) + struct.pack("=iiI", 0, 0, 0)
    options = attribute(1, bucket) + attribute(2, bytes(1024)) + attribute(5, struct.pack("=I", _PIPE))
    return options + (attribute(8, struct.pack("=Q", wanted.rate)) if wanted.rate > _MOST else b"")


if __name__ == "__main__":
    sys.exit(why_not())
