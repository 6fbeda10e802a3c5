"""What a box and a capture cost in memory, beside one bare ovsdb-server and ovs-vswitchd pair's own minimum.

    .venv/bin/python benchmarks/memory.py [--hosts 10 --vms-per-host 10] [--json]

Proportional set size (shared pages split among those who share them), from /proc, of every process of the lab.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def descendants(pid: int) -> list[int]:
    """`pid` and everything below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += descendants(int(child))
    return found


def by_program(pids: list[int]) -> dict[str, list[int]]:
    """Program name -> PSS of each of its processes, in bytes."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for pid in pids:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            (kib,) = re.findall(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        except (OSError, ValueError):
            continue
        sizes[name].append(int(kib) * 1024)
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, default in (("hosts", 10), ("vms-per-host", 10), ("vlans", 10), ("uplinks", 2)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    from lab import launch
    from topologies.generate import generate

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "generated.yaml"
        file.write_text(generate(args.hosts, args.vms_per_host, args.vlans, args.uplinks))
        with launch(file, name=f"benchmark-{os.getpid()}") as lab:
            boxes = sum(node.is_box for node in lab.client.plan.nodes)
            idle = by_program(descendants(lab.client.pid))
            with lab.capture():
                watched = by_program(descendants(lab.client.pid))
    switches = sum(idle["ovs-vswitchd"]) + sum(idle["ovsdb-server"])
    figures = {
        "boxes": boxes,
        "vswitchd_and_ovsdb_mb_per_box": switches / boxes / 2**20,
        "smallest_pair_mb": (min(idle["ovs-vswitchd"]) + min(idle["ovsdb-server"])) / 2**20,
        "daemon_mb": sum(sum(v) for name, v in idle.items() if not name.startswith("ovs")) / 2**20,
        "capture_mb_per_box": sum(watched["dumpcap"]) / max(len(watched["dumpcap"]), 1) / 2**20,
    }
    if args.json:
        print(json.dumps(figures))
        return
    print(f"  {boxes} boxes: {figures['vswitchd_and_ovsdb_mb_per_box']:.1f} MB each (the smallest pair of daemons: "
          f"{figures['smallest_pair_mb']:.1f} MB)")  # fmt: skip
    print(f"  the lab's own Python daemon: {figures['daemon_mb']:.1f} MB")
    print(f"  a capture of all wires adds {figures['capture_mb_per_box']:.1f} MB a box")


if __name__ == "__main__":
    main()
