"""Capture filters on frames at hand, by libpcap's own compiler; the only place that calls it."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from lab.errors import MachineLacks, UsageError

_ETHERNET, _SNAPLEN, _ANY_NETMASK = 1, 262144, 0xFFFFFFFF


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


class _Header(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long), ("kept", ctypes.c_uint32),
                ("length", ctypes.c_uint32))  # fmt: skip


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libpcap.so.0.8")
    except OSError as error:
        raise MachineLacks("libpcap is not installed (Debian package libpcap0.8)") from error
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_geterr.restype = ctypes.c_char_p
    library.pcap_geterr.argtypes = [ctypes.c_void_p]
    library.pcap_close.argtypes = [ctypes.c_void_p]
    library.pcap_compile.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32]
    library.pcap_offline_filter.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p]
    return library


class Filter:
    """A filter in libpcap's language (`host 10.0.10.1 and tcp port 3306`). Raises UsageError with its own words."""

    def __init__(self, text: str) -> None:
        self.text = text
        library = _library()
        handle = library.pcap_open_dead(_ETHERNET, _SNAPLEN)
        self._program = _Program()
        try:
            words = text.encode()
            if library.pcap_compile(handle, ctypes.byref(self._program), words, 1, _ANY_NETMASK):
                raise UsageError(f"no filter {text!r}: {library.pcap_geterr(handle).decode(errors='replace')}")
        finally:
            library.pcap_close(handle)

    def matches(self, raw: bytes) -> bool:
        header = _Header(0, 0, len(raw), len(raw))
        said = _library().pcap_offline_filter(ctypes.byref(self._program), ctypes.byref(header), raw)
        return bool(said)
