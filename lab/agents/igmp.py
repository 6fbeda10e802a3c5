"""The IGMP general query that a host sends to a port which has moved (FWD-20), as bytes."""

from __future__ import annotations

import struct

from lab.frame import ALL_SYSTEMS, mac_bytes

QUERIES = 2
"""`Net.IGMPQueries`."""
MAX_RESPONSE_TENTHS = 100
ROBUSTNESS = 2
QUERY_INTERVAL_SECONDS = 125
_ROUTER_ALERT = b"\x94\x04\x00\x00"
_SHORTEST = 60


def general_query(source_mac: str) -> bytes:
    """IGMPv3 (`Net.IGMPVersion`), from 0.0.0.0 as a switch that has no address sends it; padded (FWD-21)."""
    body = struct.pack("!BBH4xBBH", 0x11, MAX_RESPONSE_TENTHS, 0, ROBUSTNESS, QUERY_INTERVAL_SECONDS, 0)
    body = body[:2] + _checksum(body) + body[4:]
    length = 24 + len(body)
    head = struct.pack("!BBHHHBBH4s4s", 0x46, 0xC0, length, 0, 0, 1, 2, 0, b"\0" * 4, b"\xe0\x00\x00\x01")
    head += _ROUTER_ALERT
    head = head[:10] + _checksum(head) + head[12:]
    return (mac_bytes(ALL_SYSTEMS) + mac_bytes(source_mac) + b"\x08\x00" + head + body).ljust(_SHORTEST, b"\0")


def _checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
