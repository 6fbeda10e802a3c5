"""Frames from a description, from a file of hex, from a capture file. Scapy builds the protocols."""

from __future__ import annotations

import importlib
import ipaddress
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.frame import Frame, Tag
from traffic.hexfile import read_hex

__all__ = ["KINDS", "MIN_SIZE", "FrameSpec", "build", "check", "read_hex", "read_pcap"]

KINDS = ("raw", "arp", "icmp", "udp", "tcp")
MIN_SIZE = 60
"""Bytes of the shortest Ethernet frame without tags and without its checksum."""

_IPV4, _IPV6, _ARP, _EXPERIMENTAL = 0x0800, 0x86DD, 0x0806, 0x88B5
_ETHERNET = 1
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What to build. MACs are colon text, tags outermost first; IP addresses are needed by all kinds but `raw`.

    `ethertype` is for `raw` (0x88B5 when not given); the other kinds have their own.
    `arp` asks who has `dst_ip`; `icmp` is an echo request; both IP versions are told by the addresses.
    The frame is filled up with zeros to `min_size` bytes, tags not counted.
    """

    src: str
    dst: str
    vlans: tuple[Tag, ...] = ()
    kind: str = "raw"
    src_ip: str | None = None
    dst_ip: str | None = None
    src_port: int = 40000
    dst_port: int = 9
    ethertype: int | None = None
    payload: bytes = b""
    min_size: int = MIN_SIZE


def build(spec: FrameSpec) -> bytes:
    """The frame's bytes, without frame checksum. Raises UsageError for what cannot be put in a frame."""
    check(spec)
    if spec.kind == "raw":
        ethertype, body = _EXPERIMENTAL if spec.ethertype is None else spec.ethertype, spec.payload
    else:
        ethertype, body = _body(spec)
    body = body.ljust(spec.min_size - 14, b"\0")
    return Frame(spec.src.lower(), spec.dst.lower(), spec.vlans, ethertype, body).to_bytes()


def check(spec: FrameSpec) -> None:
    """Raises UsageError for what `build` cannot put in a frame; without scapy, which takes 0.2 s to import."""
    if spec.kind not in KINDS:
        raise UsageError(f"no frame of kind {spec.kind!r} (one of {', '.join(KINDS)})")
    _check_header(spec)
    if spec.kind != "raw" and _ip_version(spec) == 6 and spec.kind == "arp":
        raise UsageError("ARP asks for IPv4 addresses")


def _check_header(spec: FrameSpec) -> None:
    for mac in (spec.src, spec.dst):
        if not _MAC.fullmatch(mac.lower()):
            raise UsageError(f"{mac!r} is not a MAC address")
    for tag in spec.vlans:
        if not (0 <= tag.vid <= 4095 and 0 <= tag.pcp <= 7 and 0x600 <= tag.tpid <= 0xFFFF):
            raise UsageError(f"no such 802.1Q tag: VLAN {tag.vid}, priority {tag.pcp}, TPID {tag.tpid:#x}")
    if not all(0 <= port <= 65535 for port in (spec.src_port, spec.dst_port)):
        raise UsageError(f"ports are 0 to 65535, not {spec.src_port} and {spec.dst_port}")
    if spec.ethertype is not None and not 0 <= spec.ethertype <= 0xFFFF:
        raise UsageError(f"an ethertype is 0 to 0xffff, not {spec.ethertype:#x}")


def _body(spec: FrameSpec) -> tuple[int, bytes]:
    """(ethertype, what follows it) of the kinds that scapy builds."""
    version = _ip_version(spec)
    if spec.kind == "arp":
        layers = _scapy("l2")
        asked = layers.ARP(op=1, hwsrc=spec.src, psrc=spec.src_ip, hwdst="00:00:00:00:00:00", pdst=spec.dst_ip)
        return _ARP, bytes(asked) + spec.payload
    inet = _scapy("inet")
    upper = _icmp(version) if spec.kind == "icmp" else _ports(spec, inet)
    if version == 4:
        return _IPV4, bytes(inet.IP(src=spec.src_ip, dst=spec.dst_ip) / upper / spec.payload)
    return _IPV6, bytes(_scapy("inet6").IPv6(src=spec.src_ip, dst=spec.dst_ip) / upper / spec.payload)


def _ports(spec: FrameSpec, inet: Any) -> Any:
    layer = inet.UDP if spec.kind == "udp" else inet.TCP
    return layer(sport=spec.src_port, dport=spec.dst_port)


def _icmp(version: int) -> Any:
    if version == 4:
        return _scapy("inet").ICMP()
    return _scapy("inet6").ICMPv6EchoRequest()


def _ip_version(spec: FrameSpec) -> int:
    versions = set()
    for text in (spec.src_ip, spec.dst_ip):
        try:
            versions.add(ipaddress.ip_address(text or "").version)
        except ValueError:
            raise UsageError(f"a frame of kind {spec.kind} needs two IP addresses, not {text or 'none'}") from None
    if len(versions) > 1:
        raise UsageError(f"{spec.src_ip} and {spec.dst_ip} are not of one IP version")
    return versions.pop()


def _scapy(name: str) -> Any:
    """One scapy module, imported when first needed (0.3 s) and without remarks on the machine's routes."""
    for noisy in ("scapy.runtime", "scapy.loading"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    places = {"utils": "scapy.utils", "erspan": "scapy.contrib.erspan"}
    where = places.get(name, f"scapy.layers.{name}")
    return importlib.import_module(where)


def read_pcap(path: Path) -> list[bytes]:
    """The frames of a pcap or pcapng file, in order. Raises UsageError: not such a file, not Ethernet, cut frames."""
    utils = _scapy("utils")
    frames: list[bytes] = []
    try:
        with utils.RawPcapReader(str(path)) as reader:
            for raw, about in reader:
                _check_packet(path, len(frames) + 1, raw, about, getattr(reader, "linktype", None))
                frames.append(bytes(raw))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UsageError:
        raise
    except Exception as error:  # scapy raises struct.error, KeyError and its own on bytes that are no capture
        raise UsageError(f"{path}: not a readable pcap or pcapng file ({error})") from None
    if not frames:
        raise UsageError(f"{path}: no frames in it")
    return frames


def _check_packet(path: Path, number: int, raw: bytes, about: Any, linktype: int | None) -> None:
    link = getattr(about, "linktype", None) or linktype
    whole = getattr(about, "wirelen", None) or len(raw)
    if link != _ETHERNET:
        raise UsageError(f"{path}: packet {number} is not Ethernet (link type {link})")
    if len(raw) < whole:
        raise UsageError(f"{path}: packet {number} was captured cut short ({len(raw)} of {whole} bytes)")
    if len(raw) < 14:
        raise UsageError(f"{path}: packet {number} has {len(raw)} bytes, an Ethernet header has 14")


Layer = tuple[str, tuple[tuple[str, str], ...]]
"""A protocol's name, and its fields as text."""


def layers(raw: bytes) -> tuple[Layer, ...]:
    """A frame decoded layer by layer, for a reader. What cannot be decoded comes last, in hexadecimal."""
    for name in ("inet", "inet6", "vxlan", "erspan"):
        _scapy(name)
    packet = _scapy("l2").Ether(raw)
    found: list[Layer] = []
    while packet is not None and packet.name != "NoPayload":
        if packet.name in ("Raw", "Padding"):
            found.append((packet.name, (("bytes", bytes(packet).hex(" ")), *_canary_fields(bytes(packet)))))
        else:
            known = ((f.name, packet.fields.get(f.name, packet.getfieldval(f.name))) for f in packet.fields_desc)
            found.append((packet.name, tuple((name, _field(packet, name, value)) for name, value in known)))
        packet = packet.payload
    return tuple(found)


def _field(packet: Any, name: str, value: Any) -> str:
    try:
        return str(packet.get_field(name).i2repr(packet, value))
    except Exception:  # scapy's own words for odd values are many
        return repr(value)


def _canary_fields(data: bytes) -> tuple[tuple[str, str], ...]:
    at = data.find(b"VLABCNRY")
    if at < 0:
        return ()
    return ("canary", data[at + 8 : at + 24].hex()), ("number", str(int.from_bytes(data[at + 24 : at + 28], "big")))
