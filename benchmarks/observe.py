"""Finding and decoding canaries in capture files, beside tshark doing the same on the same files in the same run; and
how long `vlab where` takes for a pair in a running lab of 100 VMs.

    .venv/bin/python benchmarks/observe.py [--frames 1000000] [--points 20] [--no-lab] [--json]

One frame of ten is a canary, tagged; the others are of the same size and carry something else. The answer of both is
compared: point, time, VLAN, MACs, token and number of every canary.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PAIRS = 5
Sight = tuple[str, int, int, str, str, str, int]
"""Interface, ns, VLAN, source, destination, token, number."""


def capture(path: Path, name: str, frames: int, token: bytes, rng: random.Random) -> None:
    """A pcapng file of one interface, as dumpcap writes it."""
    from lab.frame import Frame, Tag
    from traffic.canary import ETHERTYPE, canary_payload

    src, dst = "00:50:56:00:00:01", "00:50:56:00:00:02"
    with path.open("wb") as out:
        out.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
        label = name.encode().ljust(12, b"\0")
        options = struct.pack("<HH", 2, len(name)) + label + struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)
        size = 20 + len(options)
        out.write(struct.pack("<IIHHI", 1, size, 1, 0, 0) + options + struct.pack("<I", size))
        other = Frame(src, dst, (Tag(10),), 0x0800, rng.randbytes(110)).to_bytes()
        for n in range(frames):
            raw = other
            if n % 10 == 0:
                raw = Frame(src, dst, (Tag(10),), ETHERTYPE, canary_payload(token, n, 110)).to_bytes()
            at = 1_795_865_737_000_000_000 + n * 1000
            length = 32 + (len(raw) + 3 & ~3)
            head = struct.pack("<7I", 6, length, 0, at >> 32, at & 0xFFFFFFFF, len(raw), len(raw))
            out.write(head + raw + bytes(-len(raw) % 4) + struct.pack("<I", length))


def ours(files: list[Path]) -> Iterator[Sight]:
    from lab.frame import Frame
    from lab.observe.pcapng import CaptureFile
    from traffic.canary import MAGIC, find_canaries

    for path in files:
        with CaptureFile(path) as file:
            for packet in file.find(MAGIC):
                frame = Frame.parse(packet.data)
                for _, token, seq in find_canaries(packet.data):
                    vlan = frame.vlans[0].vid
                    yield packet.interface, packet.time_ns, vlan, frame.src, frame.dst, token.hex(), seq


def tsharks(files: list[Path]) -> Iterator[Sight]:
    fields = ("frame.interface_name", "frame.time_epoch", "vlan.id", "eth.src", "eth.dst", "data.data")
    for path in files:
        argv = ["tshark", "-r", str(path), "-Y", 'frame contains "VLABCNRY"', "-T", "fields"]
        argv += [word for field in fields for word in ("-e", field)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            name, at, vlan, src, dst, data = line.split("\t")
            seconds, _, part = at.partition(".")
            body = bytes.fromhex(data.replace(":", ""))
            at_ns = int(seconds) * 10**9 + int(part.ljust(9, "0"))
            yield name, at_ns, int(vlan), src, dst, body[8:24].hex(), int.from_bytes(body[24:28], "big")


IN_A_PROCESS = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from benchmarks.observe import ours
begin = time.monotonic()
count = sum(1 for _ in ours([Path(p) for p in sys.argv[2:]]))
print(json.dumps([time.monotonic() - begin, count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def files_side_by_side(frames: int, points: int) -> dict[str, object]:
    rng = random.Random(7)
    token = rng.randbytes(16)
    with tempfile.TemporaryDirectory(prefix="vlab-") as directory:
        files = [Path(directory) / f"point{n}.pcapng" for n in range(points)]
        for n, path in enumerate(files):
            capture(path, f"vmnic{n}", frames // points, token, rng)
        argv = [sys.executable, "-c", IN_A_PROCESS, str(ROOT), *map(str, files)]
        said = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
        seconds, found, peak = json.loads(said.stdout)
        begin = time.monotonic()
        theirs = list(tsharks(files))
        tshark_seconds = time.monotonic() - begin
        same = list(ours(files)) == theirs
        size = sum(path.stat().st_size for path in files)
    return {
        "frames": frames,
        "points": points,
        "megabytes": size / 1e6,
        "canaries": found,
        "seconds": seconds,
        "tshark_seconds": tshark_seconds,
        "times_as_fast": tshark_seconds / seconds,
        "same_answer": same,
        "peak_megabytes": peak,
    }


def where_in_a_lab() -> dict[str, object]:
    """Best and worst of some pairs, each a `vlab where` of its own process against the lab that is up."""
    from lab import launch
    from topologies.generate import generate

    with tempfile.TemporaryDirectory(prefix="vlab-") as directory:
        file = Path(directory) / "hundred.yaml"
        file.write_text(generate(4, 25, 10, 2))
        with launch(file, name=f"benchmark-{os.getpid()}") as lab:
            times = [timed(lab.name, f"vm1-{n}", f"vm{n % 4 + 1}-{n + 10}") for n in range(1, PAIRS + 1)]
    return {"where_vms": 100, "where_best_seconds": min(times), "where_worst_seconds": max(times)}


def timed(lab: str, sender: str, receiver: str) -> float:
    argv = [sys.executable, "-m", "lab.cli", "where", "--lab", lab, "--from", sender, "--to", receiver, "--json"]
    begin = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{sender} to {receiver}: exit {done.returncode}: {done.stderr}")
    return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(",")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--no-lab", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = files_side_by_side(args.frames, args.points)
    if not args.no_lab:
        figures |= where_in_a_lab()
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"  {name:20} {value:,.2f}" if isinstance(value, float) else f"  {name:20} {value}")
    if not figures["same_answer"]:
        sys.exit("the answers differ")


if __name__ == "__main__":
    main()
