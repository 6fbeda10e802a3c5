"""Can what a frame carries be read by whoever has a copy of it?"""

from __future__ import annotations

from lab.frame import Frame

_MACSEC, _IPV4, _IPV6 = 0x88E5, 0x0800, 0x86DD
_TCP, _UDP, _ESP = 6, 17, 50
_HTTPS = (443).to_bytes(2, "big")
_TLS_TYPES = frozenset((20, 21, 22, 23, 24))


def in_clear(frame: Frame) -> bool:
    """False for MACsec, IPsec ESP and TLS or DTLS records; everything else is taken to be readable."""
    return frame.ethertype != _MACSEC and not _hidden_in_ip(frame)


def _hidden_in_ip(frame: Frame) -> bool:
    data = frame.payload
    if frame.ethertype == _IPV4 and len(data) >= 20:
        protocol, at = data[9], (data[0] & 0xF) * 4
    elif frame.ethertype == _IPV6 and len(data) >= 40:
        protocol, at = data[6], 40
    else:
        return False
    if protocol == _ESP:
        return True
    if protocol == _TCP and len(data) > at + 12:
        if _HTTPS in (data[at : at + 2], data[at + 2 : at + 4]):
            return True  # the middle of a record has no header of its own
        return _is_tls(data[at + (data[at + 12] >> 4) * 4 :])
    return protocol == _UDP and _is_dtls(data[at + 8 :])


def _is_tls(data: bytes) -> bool:
    """A record's header: type, version 3.0 to 3.4. A handshake shows names, and no data."""
    return len(data) >= 5 and data[0] in _TLS_TYPES and data[1] == 3 and data[2] <= 4


def _is_dtls(data: bytes) -> bool:
    return len(data) >= 13 and data[0] in _TLS_TYPES and data[1] == 0xFE and data[2] in (0xFF, 0xFD, 0xFC)
