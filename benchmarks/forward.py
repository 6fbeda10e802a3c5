"""How many frames a second the rows of a pSwitch and of a vSwitch forward, beside Open vSwitch's own NORMAL.

    .venv/bin/python benchmarks/forward.py [--frames 10000] [--rounds 5] [--json]

In one lab and in turns: the switch runs with its rows, then with NORMAL on the same ports. Each time it is stopped,
frames are put into its queue, and it is let go: what counts is the time until the last one has left it, so neither the
sender nor a receiver can be what is slow. The best of the rounds stands.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lab import RunningLab

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TOPOLOGY = """
name: forward
release: "5.0"
physical_switches: {tor1: {}}
hosts:
  esx1: {uplinks: {vmnic0: {switch: tor1, trunk: [10]}}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic0]}
    port_groups: {web: {vlan: 10}}
vms:
  web1: {host: esx1, networks: [web]}
  web2: {host: esx1, networks: [web]}
machines:
  m1: {switch: tor1, access: 10}
  m2: {switch: tor1, access: 10}
  t1: {switch: tor1, trunk: [10]}
  t2: {switch: tor1, trunk: [10]}
"""


class Through(NamedTuple):
    """A way through one switch: its box, sender and receiver, the tags of what is sent."""

    box: str
    ends: tuple[str, str]
    vlans: tuple[int, ...] = ()


PATHS = {
    "pSwitch, access to access": Through("tor1", ("m1", "m2")),
    "pSwitch, trunk to trunk": Through("tor1", ("t1", "t2"), (10,)),
    "vSwitch, vNIC to vNIC": Through("esx1", ("web1", "web2")),
}

# In the sender's namespace. The switch's main thread does all forwarding of the userspace datapath.
IN_THE_LAB = """
import ctypes, json, os, signal, socket, sys, time
frame, count, control, interface, far = bytes.fromhex(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
def switch():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0")
        except OSError:
            continue
        if words[0].endswith(b"ovs-vswitchd") and f"--unixctl={control}".encode() in words:
            return int(pid)
pid = switch()
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind((interface, 0))
with open(far) as there:
    assert ctypes.CDLL(None).setns(there.fileno(), 0x40000000) == 0
def arrived():
    with open("/proc/thread-self/net/dev") as lines:
        return next(int(line.split()[2]) for line in lines if line.strip().startswith("eth0:"))
def burst(frames):
    before = arrived()
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(frames):
            out.send(frame)
    finally:
        begin = time.perf_counter()
        os.kill(pid, signal.SIGCONT)
    while (got := arrived() - before) < frames and time.perf_counter() - begin < 10:
        pass
    return got / (time.perf_counter() - begin), got
burst(100)
rate, got = burst(count)
print(json.dumps([rate, got]))
"""


NORMAL = ["delete", "add table=0,priority=0,actions=NORMAL"]


def measure(lab: RunningLab, path: str, frames: int) -> float:
    """Frames a second through the one switch between two places, as its rows are now."""
    from lab.frame import Frame, Tag

    sender, receiver = (lab.client.place(name) for name in PATHS[path].ends)
    tags = tuple(map(Tag, PATHS[path].vlans))
    box = lab.client.plan.node_named[PATHS[path].box].id
    run = Path(lab.client.facts["run"])
    lab.send(receiver.label, sender.label, vlans=tags, kind="raw")  # a switch that learns must know it
    frame = Frame(sender.mac, receiver.mac, tags, payload=bytes(46)).to_bytes().hex()
    control, far = run / "ovs" / box / "vswitchd.ctl", run / "netns" / receiver.node
    words = (sys.executable, "-c", IN_THE_LAB, frame, str(frames), str(control), sender.interface, str(far))
    rate, arrived = json.loads(lab.exec(sender.node, *words).stdout)
    if arrived != frames:
        raise SystemExit(f"{path}: {arrived} of {frames} frames arrived; fewer --frames?")
    return float(rate)


def rates(lab: RunningLab, path: str, frames: int, rounds: int) -> dict[str, float]:
    """The best of all rounds, with the rows and with NORMAL."""
    bridge = lab.client.plan.bridges_of(PATHS[path].box)[0]
    ways = {"rows": ["delete", *(f"add {row.text()}" for row in bridge.rows)], "normal": NORMAL}
    best = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for way, change in ways.items():
            lab.client.ask("mutate", box=bridge.node, switch=bridge.label, change="\n".join(change))
            best[way] = max(best[way], measure(lab, path, frames))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000, help="in one burst; they must fit into a switch's queue")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    from lab import launch

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "forward.yaml"
        file.write_text(TOPOLOGY)
        with launch(file, name=f"benchmark-{os.getpid()}") as lab:
            found = {path: rates(lab, path, args.frames, args.rounds) for path in PATHS}
    figures = {path: {**rate, "ratio": rate["rows"] / rate["normal"]} for path, rate in found.items()}
    if args.json:
        print(json.dumps(figures))
        return
    for path, figure in figures.items():
        print(
            f"  {path:28} rows {figure['rows']:9,.0f} frames/s, NORMAL {figure['normal']:9,.0f}: {figure['ratio']:.2f}"
        )


if __name__ == "__main__":
    main()
