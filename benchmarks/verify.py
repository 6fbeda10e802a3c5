"""How long the isolation matrix of 100 VMs takes after `up`, and what Mininet's pingAll would need for it, in one run.

    .venv/bin/python benchmarks/verify.py [--hosts 10 --vms-per-host 10 --vlans 10 --uplinks 2] [--json]

Mininet's pingAll waits one second (`ping -W 1`) for each ordered pair that is isolated; its time for one such pair is
measured here, in a private namespace, and multiplied.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

ISOLATED_PING = """
import sys, time
from mininet.net import Mininet
from mininet.log import setLogLevel
setLogLevel("error")
Mininet.inited = True
net = Mininet(controller=None, build=False)
a, b = net.addHost("h1", ip="10.0.0.1/24"), net.addHost("h2", ip="10.0.0.2/24")
net.addLink(a, net.addHost("h3"))
net.addLink(b, net.addHost("h4"))
net.build()
started = time.monotonic()
net.ping([a, b], timeout=1)
print((time.monotonic() - started) / 2)
"""


def isolated_ping() -> float:
    """Seconds that Mininet spends on one ordered pair that cannot talk."""
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    argv += ["--user", "--map-root-user"] if os.geteuid() != 0 else []
    done = subprocess.run([*argv, "/usr/bin/python3", "-c", ISOLATED_PING], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, default in (("hosts", 10), ("vms-per-host", 10), ("vlans", 10), ("uplinks", 2), ("runs", 3)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    from lab import launch
    from topologies.generate import generate

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "generated.yaml"
        file.write_text(generate(args.hosts, args.vms_per_host, args.vlans, args.uplinks))
        reports = []
        for run in range(args.runs):
            with launch(file, name=f"benchmark-{os.getpid()}-{run}") as lab:
                started = time.monotonic()
                report = lab.verify()
                reports.append((time.monotonic() - started, report))
    seconds, report = min(reports, key=lambda pair: pair[0])
    same_vlan = args.vms_per_host // args.vlans * args.hosts if args.vms_per_host >= args.vlans else args.hosts
    isolated = report.pairs - args.hosts * args.vms_per_host * max(same_vlan - 1, 0)
    theirs = isolated_ping()
    figures = {
        "pairs": report.pairs,
        "canaries": report.canaries,
        "agree": report.agree,
        "differ": max(len(r.differ) for _, r in reports),
        "verify_s": seconds,
        "verify_s_all_runs": [round(s, 2) for s, _ in reports],
        "isolated_pairs": isolated,
        "mininet_s_for_one_isolated_pair": theirs,
        "mininet_s_for_all_isolated_pairs": theirs * isolated,
        "ratio": seconds / (theirs * isolated),
    }
    if args.json:
        print(json.dumps(figures))
        return
    print(f"{figures['pairs']} ordered pairs, {figures['canaries']} canaries, {figures['differ']} differences")
    print(f"  vswitchlab {seconds:.1f} s, best of {figures['verify_s_all_runs']}")
    print(
        f"  mininet's pingAll: {theirs:.2f} s for one isolated pair, {theirs * isolated:.0f} s for {isolated} of them"
    )


if __name__ == "__main__":
    main()
