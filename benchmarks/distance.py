"""How far a stretch is: asked and measured, by netem and by the userspace wire.

`python benchmarks/distance.py [DELAY:JITTER:LOSS ...]` prints one JSON document: a list of ways, times in milliseconds.
`held` instead of ways: what another port of a switch loses while many frames of it are under way. `rate`: twice as much
is sent as a stretch may carry; how fast it comes, how much of it, and how late at most.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab import RunningLab, launch
from lab.errors import SystemRefused
from lab.realise.run import wait_until

WAYS = ("1ms:0ms:0", "5ms:0ms:0", "20ms:0ms:0", "20ms:5ms:0.01", "20ms:5ms:0.1", "20ms:5ms:0.2")
FRAMES, PER_SECOND = 1000, 400
HELD, ASIDE = 1500, 300
"""Frames under way on a long stretch, and beside them to another port of the same switch."""


RATE, SIZE, CROWD = 10_000_000, 1500, 2000
"""Bits a second of a stretch that is asked to carry twice that (its file says a hundred times as much: a lab scales
speeds), bytes of a frame, how many."""


@contextmanager
def stretched(by: str, delay: str, jitter: str, loss: str, rate: str = "") -> Iterator[RunningLab]:
    os.environ["VLAB_DISTANCE"] = by
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "distance.yaml"
        file.write_text(f"""
name: netem-bench-{by}
sites: {{a: {{}}, b: {{}}}}
physical_switches: {{sa: {{site: a}}, sb: {{site: b}}}}
stretch: {{dci: {{switches: [sa, sb], vlans: [10], delay: {delay}, jitter: {jitter}, loss: {loss}{rate}}}}}
machines: {{m1: {{switch: sa, access: 10}}, m2: {{switch: sb, access: 10}}, m3: {{switch: sa, access: 10}}}}
""")
        with launch(file) as lab:
            yield lab


def measure(by: str, way: str) -> dict[str, object]:
    with stretched(by, *way.split(":")) as lab:
        (wire,) = lab.client.ask("status")["wires"]
        with lab.capture("sa:sb", "sb:sa") as seen:
            lab.send("m1", dst_mac="broadcast", kind="raw", count=FRAMES, rate=PER_SECOND)
        frames: dict[str, list[tuple[bytes, int]]] = {"sb": [], "sa": []}
        mac = bytes.fromhex(lab.vm("m1").mac.replace(":", ""))
        for packet in seen.packets:
            if packet.data[6:12] == mac:
                frames[packet.interface].append((packet.data, packet.time_ns))
        sent, came = dict(frames["sb"]), dict(frames["sa"])
    order = [sent[data] for data, _ in frames["sa"]]
    late = sorted((at - sent[data]) / 1e6 for data, at in came.items())
    return {
        "asked": way, "by": wire["by"], "alive": wire["alive"], "frames": len(sent),
        "median": round(statistics.median(late), 3), "p5": round(late[len(late) // 20], 3),
        "p95": round(late[len(late) * 19 // 20], 3), "lost": round(1 - len(came) / len(sent), 4),
        "in_order": order == sorted(order),
    }  # fmt: skip


def limited(by: str) -> dict[str, object]:
    with (
        stretched(by, "5ms", "0ms", "0", f", rate: {RATE // 10_000_000}G") as lab,
        lab.capture("sa:sb", "sb:sa") as seen,
    ):
        mac = bytes.fromhex(lab.vm("m1").mac.replace(":", ""))
        sent = {"kind": "raw", "size": SIZE, "count": CROWD, "rate": 2 * RATE / (8 * SIZE)}
        lab.send("m1", dst_mac="broadcast", **sent)
        came = 0
        while came != (came := received(lab, "m2")):
            threading.Event().wait(0.3)
    went = {p.data: p.time_ns for p in seen.packets if p.interface == "sb" and p.data[6:12] == mac}
    there = [(p.time_ns, p.data) for p in seen.packets if p.interface == "sa" and p.data[6:12] == mac]
    times = sorted(at for at, _ in there)
    return {
        "by": by, "asked": RATE, "frames": len(went), "came": len(there),
        "rate": round((len(times) - 1) * 8e9 * (SIZE + 4) / (times[-1] - times[0])),
        "latest": round(max(at - went[data] for at, data in there) / 1e6, 1),
    }  # fmt: skip


def received(lab: RunningLab, machine: str) -> int:
    """Frames, by the kernel's own count."""
    (said,) = (line for line in lab.exec(machine, "cat", "/proc/net/dev").stdout.splitlines() if "eth0:" in line)
    return int(said.split(":")[1].split()[1])


def held(by: str) -> dict[str, object]:
    """What another port of the sending switch loses while many frames are under way for 2 s."""
    with stretched(by, "2s", "0ms", "0") as lab:
        for machine in ("m2", "m3"):
            lab.send(machine, dst_mac="broadcast", kind="raw")
        wait_until(lambda: lab.vm("m2").mac in str(lab.client.state().mac_tables["sa"]), "m2 at the other site", 60)
        before = {machine: received(lab, machine) for machine in ("m2", "m3")}
        burst = {"kind": "raw", "size": 1514, "count": HELD, "rate": HELD // 2}
        far = threading.Thread(target=lambda: lab.send("m1", "m2", **burst))
        far.start()
        lab.send("m2", "m3", kind="raw", count=1)
        lab.send("m1", "m3", kind="raw", count=ASIDE, rate=ASIDE // 2)
        far.join()
        with suppress(SystemRefused):
            wait_until(lambda: received(lab, "m2") - before["m2"] >= HELD, "all frames", 8)
        return {"by": by, "far": received(lab, "m2") - before["m2"], "aside": received(lab, "m3") - before["m3"]}


def main() -> None:
    kinds = os.environ.get("VLAB_DISTANCE", "netem wire").split()
    ways = sys.argv[1:] or WAYS
    other = {"held": held, "rate": limited}.get(ways[0])
    print(json.dumps([other(by) for by in kinds] if other else [measure(by, w) for w in ways for by in kinds]))


if __name__ == "__main__":
    main()
