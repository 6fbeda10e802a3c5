"""A stream of numbered frames at a steady rate, and who counts them: how long was a guest out of reach?

`python -m traffic.stream send INTERFACE SRC DST RATE` and `... receive INTERFACE SRC`, each in a namespace; `ready` on
stdout when it has begun; it ends with stdin, and says what it sent or got as JSON.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from itertools import pairwise
from typing import Any

from lab.frame import mac_bytes

ETHERTYPE = 0x88B6
"""IEEE's second ethertype for local experiments."""
_HEAD = struct.Struct("!IQ")
_SHORTEST = 60


def send(interface: str, src: str, dst: str, rate: float) -> dict[str, Any]:
    """Until stdin ends. A frame that falls due while the machine is busy goes out late, never twice."""
    head = mac_bytes(dst) + mac_bytes(src) + ETHERTYPE.to_bytes(2, "big")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((interface, 0))
        print("ready", flush=True)
        number, begin = 0, time.monotonic_ns()
        while not select.select([sys.stdin], [], [], max(0.0, begin / 1e9 + number / rate - time.monotonic()))[0]:
            frame = head + _HEAD.pack(number, time.monotonic_ns())
            with suppress(OSError):  # no carrier, no room: a frame that is lost, as every other
                raw.send(frame.ljust(_SHORTEST, b"\0"))
            number += 1
    return {"sent": number}


def receive(interface: str, src: str) -> dict[str, Any]:
    """Until stdin ends: what came, what did not, and when the frames around the longest gap were sent. A line on stdin
    is answered with the time at which the last frame that came was sent (ns, CLOCK_MONOTONIC)."""
    wanted = mac_bytes(src) + ETHERTYPE.to_bytes(2, "big")
    seen: dict[int, int] = {}
    last = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as raw:
        raw.bind((interface, ETHERTYPE))
        print("ready", flush=True)
        while True:
            ready = select.select([raw, sys.stdin], [], [])[0]
            if raw in ready:
                frame = raw.recv(2048)
                if frame[6:14] == wanted:
                    number, sent_ns = _HEAD.unpack_from(frame, 14)
                    last = seen.setdefault(number, sent_ns)
            elif sys.stdin in ready:
                if not sys.stdin.readline():
                    return {"received": len(seen), "next": max(seen, default=-1) + 1, **_longest_gap(seen)}
                print(last, flush=True)


def _longest_gap(seen: dict[int, int]) -> dict[str, Any]:
    """`missing`: frames that did not come between the first and the last that did."""
    numbers = sorted(seen)
    if not numbers:
        return {"missing": 0, "gap_frames": 0, "gap_ms": 0.0}
    gaps = [(after - before - 1, before, after) for before, after in pairwise(numbers)]
    longest, before, after = max(gaps, default=(0, numbers[0], numbers[0]))
    milliseconds = (seen[after] - seen[before]) / 1e6 if longest else 0.0
    return {
        "missing": numbers[-1] - numbers[0] + 1 - len(numbers),
        "gap_frames": longest,
        "gap_ms": round(milliseconds, 3),
    }


if __name__ == "__main__":
    words = sys.argv[2:]
    done = send(words[0], words[1], words[2], float(words[3])) if sys.argv[1] == "send" else receive(*words)
    print(json.dumps(done), flush=True)
