"""Links, addresses and carrier by netlink: the only door to pyroute2."""

from __future__ import annotations

import array
import fcntl
import select
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import ndmsg

from lab.errors import SystemRefused
from lab.plan.types import Interface
from lab.realise.run import inside

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_RTMGRP_LINK = 1
_FIRST_INDEX = 10
_IFF_UP = 1
_IFF_LOWER_UP = 0x10000


def create_cables(pairs: Iterable[tuple[tuple[int, Interface], tuple[int, Interface]]]) -> None:
    """veth pairs, each end born in its own namespace: ((namespace fd, interface), (namespace fd, interface))."""
    # Every interface gets an index of its own: when both ends of a veth bear the same one, the kernel takes the link
    # for a plain device and may report a lost carrier a whole second late.
    index = count(_FIRST_INDEX)
    with IPRoute() as ip:
        for (here, a), (there, b) in pairs:
            peer = {"ifname": b.name, "index": next(index), "net_ns_fd": there, "address": b.mac, "mtu": b.mtu}
            try:
                ip.link(
                    "add",
                    kind="veth",
                    ifname=a.name,
                    index=next(index),
                    net_ns_fd=here,
                    address=a.mac,
                    mtu=a.mtu,
                    peer=peer,
                )
            except NetlinkError as error:
                raise SystemRefused(f"cable {a.label} -- {b.label}: {error.args[-1]}") from error


def create_tunnels(namespace: int, interfaces: Sequence[Interface]) -> None:
    """Those of the interfaces that are tunnels; what they go by is there. Nobody asks for the other end's MAC: a box
    answers no ARP. Raises SystemRefused."""
    tunnels = [(interface, interface.tunnel) for interface in interfaces if interface.tunnel]
    if not tunnels:
        return
    try:
        with inside(namespace), IPRoute() as ip:
            for interface, tunnel in tunnels:
                underlay = socket.if_nametoindex(tunnel.underlay)
                ip.link(
                    "add", kind="vxlan", ifname=interface.name, address=interface.mac, mtu=interface.mtu,
                    vxlan_id=tunnel.vni, vxlan_link=underlay, vxlan_local=tunnel.local, vxlan_group=tunnel.remote,
                    vxlan_port=tunnel.port, vxlan_learning=0, vxlan_udp_csum=0,
                )  # fmt: skip
                ip.link("set", index=underlay, state="up")
    except (NetlinkError, OSError) as error:
        raise SystemRefused(f"a VXLAN interface: {error}") from error
    tell_tunnels(namespace, interfaces)


def tell_tunnels(namespace: int, interfaces: Iterable[Interface]) -> None:
    """The MACs of the other ends, which the kernel forgets when an interface is switched off. Raises SystemRefused."""
    tunnels = [interface.tunnel for interface in interfaces if interface.tunnel]
    permanent = ndmsg.states["permanent"]
    try:
        with inside(namespace), IPRoute() as ip:
            for tunnel in tunnels:
                underlay = socket.if_nametoindex(tunnel.underlay)
                ip.neigh("replace", dst=tunnel.remote, lladdr=tunnel.remote_mac, ifindex=underlay, state=permanent)
    except (NetlinkError, OSError) as error:
        raise SystemRefused(f"a VXLAN interface: {error}") from error


def configure(namespace: int, interfaces: Sequence[Interface], guest: bool) -> None:
    """Addresses on, links up. A guest computes checksums itself: its frames must be right as bytes on the wire."""
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        if any(interface.addresses for interface in interfaces):
            _add_addresses(interfaces)
        # One ioctl each: a hundred nodes in netlink messages would take a fifth of a second longer.
        for name in ("lo", *(interface.name for interface in interfaces if interface.up)):
            _switch_on(handle, name)
        if guest:
            for interface in interfaces:
                _checksum_in_software(handle, interface.name)


def _add_addresses(interfaces: Sequence[Interface]) -> None:
    with IPRoute() as ip:
        for interface in interfaces:
            for cidr in interface.addresses:
                address, length = cidr.split("/")
                index = socket.if_nametoindex(interface.name)
                ip.addr("add", index=index, address=address, prefixlen=int(length))


def set_gateway(namespace: int, gateway: str) -> None:
    """The default route. Raises SystemRefused."""
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    try:
        with inside(namespace), IPRoute() as ip:
            ip.route("add", dst="default", gateway=gateway, family=family)
    except NetlinkError as error:
        raise SystemRefused(f"the default gateway {gateway}: {error.args[-1]}") from error


def _switch_on(handle: socket.socket, interface: str) -> None:
    asked = struct.pack("16sH22x", interface.encode(), 0)
    (flags,) = struct.unpack_from("H", fcntl.ioctl(handle, _SIOCGIFFLAGS, asked), 16)
    fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", interface.encode(), flags | _IFF_UP))


def _checksum_in_software(handle: socket.socket, interface: str) -> None:
    request = array.array("B", struct.pack("II", _ETHTOOL_STXCSUM, 0))
    address, _ = request.buffer_info()
    fcntl.ioctl(handle, _SIOCETHTOOL, struct.pack("16sP", interface.encode(), address).ljust(40, b"\0"))


def set_link(namespace: int, interface: str, up: bool) -> None:
    """Raises SystemRefused when there is no such interface."""
    with inside(namespace), IPRoute() as ip:
        found = ip.link_lookup(ifname=interface)
        if not found:
            raise SystemRefused(f"no interface {interface}")
        ip.link("set", index=found[0], state="up" if up else "down")


def move_interface(namespace: int, interface: str, target: int, up: bool) -> None:
    """To another namespace, and with `up` switched on there; its name, MAC and MTU go with it. Raises SystemRefused."""
    try:
        with inside(namespace), IPRoute() as ip:
            (index,) = ip.link_lookup(ifname=interface)
            ip.link("set", index=index, net_ns_fd=target)
        with inside(target), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            if up:
                _switch_on(handle, interface)
    except (NetlinkError, OSError, ValueError) as error:
        raise SystemRefused(f"moving {interface} to another host: {error}") from error


def without_carrier(namespace: int) -> frozenset[str]:
    """Names of the interfaces that are up but have no carrier, or are down."""
    with inside(namespace), IPRoute() as ip:
        return frozenset(link.get("ifname") for link in ip.get_links() if not link["flags"] & _IFF_LOWER_UP)


def switched_on(namespace: int) -> frozenset[str]:
    """Names of the interfaces that are up, with or without carrier: those that can be captured."""
    with inside(namespace), IPRoute() as ip:
        return frozenset(link.get("ifname") for link in ip.get_links() if link["flags"] & _IFF_UP)


class LinkWatch:
    """Tells in which of several namespaces a link changed."""

    def __init__(self, namespaces: Mapping[str, int]) -> None:
        self._sockets: dict[int, tuple[str, socket.socket]] = {}
        self._poll = select.poll()
        for name, namespace in namespaces.items():
            with inside(namespace):
                handle = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
                handle.bind((0, _RTMGRP_LINK))
            self._sockets[handle.fileno()] = (name, handle)
            self._poll.register(handle, select.POLLIN)

    def wait(self, seconds: float) -> set[str]:
        """Names of namespaces with link events since the last call; empty after `seconds` without one."""
        changed = set()
        for fd, _ in self._poll.poll(seconds * 1000):
            name, handle = self._sockets[fd]
            changed.add(name)
            _drain(handle)
        return changed


def _drain(handle: socket.socket) -> None:
    while True:
        try:
            handle.recv(65536)
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: events were lost; the reader looks at the links themselves anyway
            continue


SYSCTLS_BOX = {
    # A box has no stack of its own: it must not answer for others (it still sees every frame that its switch sees).
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv4/conf/all/arp_ignore": "8",
    "net/ipv4/conf/default/arp_ignore": "8",
    "net/ipv4/ip_forward": "0",
}
SYSCTLS_GUEST = {
    # Guests stay silent until somebody uses them: no router solicitation, no duplicate address detection.
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv4/conf/all/arp_evict_nocarrier": "0",
    "net/ipv4/conf/default/arp_evict_nocarrier": "0",
}
SYSCTLS_ROUTER = {
    "net/ipv4/ip_forward": "1",
    # It has one adapter for all its subnets, and must not tell hosts that there is a shorter way past it.
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}
SYSCTLS_VMKERNEL = {
    # Several adapters of one host may be in one subnet (multi-NIC vMotion): each answers for its own address only.
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}


def write_sysctls(namespace: int, settings: Mapping[str, str]) -> None:
    """Keys this kernel does not have are left out: older kernels lack some."""
    with inside(namespace):
        for key, value in settings.items():
            path = Path("/proc/sys") / key
            try:
                path.write_text(value)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SystemRefused(f"{key}: {error.strerror}") from error
