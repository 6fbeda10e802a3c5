"""What a change of policy costs: to read and compile it in a large datacentre, and to frames that it does not concern.

    .venv/bin/python benchmarks/policy.py [--hosts 200 --vms-per-host 50] [--frames 50000] [--json]

Read and compile: one port group of a generated topology gets other security, in this process; beside the first reading
and compiling of the whole. Frames: in a running lab a port group's policy changes again and again while another's VMs
exchange frames; beside the same frames with no change. Both go by the receiver's own adapter.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab import RunningLab, launch  # noqa: E402
from lab.client import LabClient  # noqa: E402
from lab.plan import compile_plan  # noqa: E402
from lab.teaming import initial_state  # noqa: E402
from lab.topology.edit import edits_of, first_edition  # noqa: E402
from topologies.generate import generate  # noqa: E402

RATE = 5000.0
TOPOLOGY = """
name: policy
release: "6.7"
physical_switches: {tor1: {}}
hosts:
  esx1: {uplinks: {vmnic0: {switch: tor1, trunk: [10, 20]}}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [vmnic0]}
    port_groups: {web: {vlan: 10}, db: {vlan: 20}}
vms:
  web1: {host: esx1, networks: [web]}
  web2: {host: esx1, networks: [web]}
  db1: {host: esx1, networks: [db]}
  db2: {host: esx1, networks: [db]}
"""


def compiling(text: str) -> dict[str, float]:
    """Seconds to read and compile the whole, and one change of it; the peak of this process in MB."""
    begin = time.perf_counter()
    edition = first_edition(text, "generated.yaml")
    read = time.perf_counter()
    state = initial_state(edition.topology)
    plan = compile_plan(edition.topology, state)
    compiled = time.perf_counter()
    group = next(iter(edition.topology.distributed_switches["dvs0"].port_groups))
    settings = {"security.forged_transmits": "reject", "security.mac_changes": "reject"}
    changing = time.perf_counter()
    changed = edition.with_edits(edits_of(edition, f"port-group {group}", settings))
    reread = time.perf_counter()
    after = compile_plan(changed.topology, state)
    done = time.perf_counter()
    assert sum(a.rows != b.rows for a, b in zip(plan.bridges, after.bridges, strict=True))
    return {
        "vnics": len(edition.topology.vnics),
        "read": read - begin,
        "compile": compiled - read,
        "change_read": reread - changing,
        "change_compile": done - reread,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def received(lab: RunningLab, node: str) -> int:
    lines = lab.exec(node, "cat", "/proc/net/dev").stdout.splitlines()
    return int(next(line.split()[2] for line in lines if line.strip().startswith("eth0:")))


def lost(lab: RunningLab, frames: int, changing: bool) -> tuple[int, list[float]]:
    """Frames from web1 to web2 that did not arrive, and the seconds of each change of db that was made meanwhile."""
    took: list[float] = []
    before = received(lab, "web2")
    how = {"count": frames, "rate": RATE, "kind": "raw"}
    sending = threading.Thread(target=lab.send, args=("web1", "web2"), kwargs=how)
    sending.start()
    editor = LabClient(lab.client.directory)
    while changing and sending.is_alive():
        begin = time.perf_counter()
        editor.set("port-group db", {"security.forged_transmits": ("accept", "reject")[len(took) % 2]})
        took.append(time.perf_counter() - begin)
    editor.close()
    sending.join()
    deadline = time.monotonic() + 5
    while (arrived := received(lab, "web2") - before) < frames and time.monotonic() < deadline:
        time.sleep(0.05)
    return frames - arrived, took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for option, default in (("hosts", 200), ("vms-per-host", 50), ("frames", 50_000)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    figures = compiling(generate(args.hosts, args.vms_per_host, 10, 2))
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "policy.yaml"
        file.write_text(TOPOLOGY)
        with launch(file, name=f"benchmark-{os.getpid()}") as lab:
            for vm in ("web1", "web2", "web1"):
                lab.send(vm, dst_mac="broadcast", kind="raw")
            figures["lost_without"], _ = lost(lab, args.frames, changing=False)
            figures["lost_with"], took = lost(lab, args.frames, changing=True)
    figures |= {"frames": args.frames, "changes": len(took), "median_change": statistics.median(took)}
    if args.json:
        print(json.dumps(figures))
        return
    print(
        "  {vnics:,} vNICs: first read {read:.2f} s and compile {compile:.2f} s; one port group changed: read "
        "{change_read:.2f} s and compile {change_compile:.2f} s; {megabytes:.0f} MB\n"
        "  {frames:,} frames at 5,000/s: {lost_without} lost with no change, {lost_with} with {changes} changes of "
        "another port group, each in {median_change:.2f} s (median)".format(**figures)
    )


if __name__ == "__main__":
    main()
