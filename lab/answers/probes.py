"""From what a user says about a frame to its bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.answers.where import Probe
from lab.client import Place
from lab.errors import UsageError
from lab.frame import BROADCAST, Tag
from traffic.canary import PAYLOAD_SIZE, canary_payload, new_token, seq_offset
from traffic.frames import FrameSpec, build, check, read_hex, read_pcap

DISCARD = 9
RAW_ETHERTYPE = 0x88B5
HEADERS = 62
"""Ethernet, IPv6 and UDP: what of a frame's size is left for data at least."""


def _mac(text: str | None, default: str) -> str:
    if text is None:
        return default
    if text == "broadcast":
        return BROADCAST
    parts = text.replace("-", ":").lower().split(":")
    if len(parts) != 6 or any(len(p) != 2 or set(p) - set("0123456789abcdef") for p in parts):
        raise UsageError(f"{text!r} is no MAC address")
    return ":".join(parts)


def _spec(sender: Place, receiver: Place | None, payload: bytes, vlans: tuple[Tag, ...], src_mac: str | None,
          dst_mac: str | None, kind: str, size: int | None) -> FrameSpec:  # fmt: skip
    here, there = sender.address.split("/")[0], receiver.address.split("/")[0] if receiver else ""
    both = bool(here and there) and (":" in here) == (":" in there)
    if kind == "auto":
        kind = "udp" if both else "raw"
    if kind in ("udp", "tcp", "arp") and not both:
        raise UsageError(f"--kind {kind} needs an IP address at both ends; --kind raw does not")
    return FrameSpec(
        src=_mac(src_mac, sender.mac),
        dst=_mac(dst_mac, receiver.mac if receiver else BROADCAST),
        vlans=tuple(vlans),
        kind=kind,
        src_ip=here or None,
        dst_ip=there or None,
        src_port=40000,
        dst_port=DISCARD,
        ethertype=RAW_ETHERTYPE,
        payload=payload,
        min_size=size or 60,
    )


def probe(sender: Place, receiver: Place, count: int, rate: float | None, *, vlans: tuple[Tag, ...] = (),
          src_mac: str | None = None, dst_mac: str | None = None, kind: str = "auto",
          size: int | None = None) -> Probe:  # fmt: skip
    """A canary question. Raises UsageError for what cannot be built."""
    token = new_token()
    payload = canary_payload(token, 0, max(PAYLOAD_SIZE, (size or 0) - HEADERS))
    spec = _spec(sender, receiver, payload, vlans, src_mac, dst_mac, kind, size)
    check(spec)
    return Probe(sender, receiver, spec, token, count, rate)


def frames_to_send(
    place: Place, target: Place | None, pcap: Path | None, hex_file: Path | None, **look: Any
) -> dict[str, Any]:
    """A `send` job without its place: frames as hex, and where the canary's number stands in a single one."""
    if pcap and hex_file:
        raise UsageError("--pcap or --hex, not both")
    if pcap or hex_file:
        frames = read_pcap(pcap) if pcap else read_hex(hex_file.read_text() if hex_file else "")
        if not frames:
            raise UsageError(f"{pcap or hex_file} has no frames")
        return {"frames": [frame.hex() for frame in frames]}
    spec = _spec(place, target, canary_payload(new_token(), 0), look.pop("vlans"), **look)
    frame = build(spec)
    return {"frames": [frame.hex()], "seq_at": seq_offset(frame)}
