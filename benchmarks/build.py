"""How long a lab takes to come up and go down, beside Mininet's own way and a raw netlink build, in one run.

    .venv/bin/python benchmarks/build.py [--hosts 10 --vms-per-host 10 --vlans 10 --uplinks 2] [--runs 3] [--json]

All three build as many nodes and links; the raw build is pyroute2 alone: namespaces, veth pairs, addresses, links up.
Mininet runs inside a private namespace with an Open vSwitch of its own
(OVSBridge, userspace datapath). Each figure is the best of the runs; ratios are of figures from this run only.
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

SANDBOX = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
if os.geteuid() != 0:
    SANDBOX += ["--user", "--map-root-user"]

MININET = """
import sys, time, json
from mininet.net import Mininet
from mininet.node import OVSBridge
from mininet.log import setLogLevel
setLogLevel("error")
Mininet.inited = True
nodes, boxes, links = json.load(sys.stdin)
started = time.monotonic()
net = Mininet(controller=None, build=False)
for name in nodes:
    net.addHost(name)
for name in boxes:
    net.addSwitch(name, cls=OVSBridge, datapath="user")
for a, b in links:
    net.addLink(a, b)
net.build()
for switch in net.switches:
    switch.start([])
up = time.monotonic() - started
started = time.monotonic()
net.stop()
print(json.dumps([up, time.monotonic() - started]))
"""

RAW = """
import ctypes, json, os, subprocess, sys, time
from pathlib import Path
from pyroute2 import IPRoute
nodes, boxes, links = json.load(sys.stdin)
place, libc = Path(sys.argv[2]), ctypes.CDLL(None)
subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
started = time.monotonic()
home = os.open("/proc/self/ns/net", os.O_RDONLY)
at = {}
for name in [*nodes, *boxes]:
    libc.unshare(0x40000000)
    (place / name).touch()
    libc.mount(b"/proc/thread-self/ns/net", bytes(place / name), b"", 0x1000, None)
    at[name] = os.open(place / name, os.O_RDONLY)
    libc.setns(home, 0x40000000)
with IPRoute() as ip:
    for n, (a, b) in enumerate(links):
        peer = {"ifname": f"i{n}b", "index": 2 * n + 11, "net_ns_fd": at[b]}
        ip.link("add", kind="veth", ifname=f"i{n}a", index=2 * n + 10, net_ns_fd=at[a], peer=peer)
for name, namespace in at.items():
    libc.setns(namespace, 0x40000000)
    with IPRoute() as ip:
        for link in ip.get_links():
            ip.link("set", index=link["index"], state="up")
            if name in nodes and link["index"] > 1:
                ip.addr("add", index=link["index"], address=f"10.0.{link['index'] >> 8}.{link['index'] & 255}",
                        prefixlen=24)
    libc.setns(home, 0x40000000)
print(json.dumps([time.monotonic() - started, 0]))
"""

OVS_FOR_MININET = """
set -e
export OVS_RUNDIR=/var/run/openvswitch OVS_DBDIR=$1 OVS_LOGDIR=$1
mkdir -p /var/run/openvswitch
mount -t tmpfs none /var/run/openvswitch
ovsdb-tool create $1/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server $1/conf.db --remote=punix:/var/run/openvswitch/db.sock --detach --pidfile -vconsole:off
ovs-vswitchd unix:/var/run/openvswitch/db.sock --enable-dummy=system --detach --pidfile -vconsole:off
exec "$2" -c "$3"
"""


def shape(plan: object) -> str:
    """Nodes, boxes and links of a plan under names that Mininet can make interfaces from."""
    names = {node.name: f"{'s' if node.is_box else 'h'}{i}" for i, node in enumerate(plan.nodes)}  # type: ignore[attr-defined]
    guests = [names[n.name] for n in plan.nodes if not n.is_box]  # type: ignore[attr-defined]
    boxes = [names[n.name] for n in plan.nodes if n.is_box]  # type: ignore[attr-defined]
    links = [(names[c.a[0]], names[c.b[0]]) for c in plan.cables]  # type: ignore[attr-defined]
    return json.dumps([guests, boxes, links])


def run_mininet(text: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as place:
        argv = [*SANDBOX, "bash", "-c", OVS_FOR_MININET, "ovs", place, "/usr/bin/python3", MININET]
        done = subprocess.run(argv, input=text, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"mininet: {done.stderr.strip().splitlines()[-1] if done.stderr else done.returncode}")
    up, down = json.loads(done.stdout.splitlines()[-1])
    return up, down


def run_raw(text: str) -> float:
    with tempfile.TemporaryDirectory() as place:
        argv = [*SANDBOX, sys.executable, "-c", RAW, str(ROOT), place]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)[0])


def run_lab(file: Path) -> tuple[float, float]:
    """From the call to a lab that answers (reading the file, starting Python), and from `end` to nothing left."""
    from lab.lifetime import bring_up

    started = time.monotonic()
    box, client = bring_up(file, name=f"benchmark-{os.getpid()}")
    up = time.monotonic() - started
    client.close()
    started = time.monotonic()
    box.end()
    return up, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, default in (("hosts", 10), ("vms-per-host", 10), ("vlans", 10), ("uplinks", 2), ("runs", 3)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    from lab.plan import compile_plan
    from lab.state import initial_state
    from lab.topology import read_topology
    from topologies.generate import generate

    text = generate(args.hosts, args.vms_per_host, args.vlans, args.uplinks)
    topology = read_topology(text, "generated")
    plan = compile_plan(topology, initial_state(topology))
    asked = shape(plan)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "generated.yaml"
        file.write_text(text)
        rounds = [(run_lab(file), run_mininet(asked), run_raw(asked)) for _ in range(args.runs)]
    up = min(r[0][0] for r in rounds)
    down = max(r[0][1] for r in rounds)
    theirs = min(r[1][0] for r in rounds)
    figures = {
        "nodes": len(plan.nodes),
        "cables": len(plan.cables),
        "lab_up_s": up,
        "lab_down_s_worst": down,
        "mininet_up_s": theirs,
        "mininet_down_s": min(r[1][1] for r in rounds),
        "raw_netlink_s": min(r[2] for r in rounds),
    }
    figures["lab_up_to_mininet"] = up / theirs
    figures["lab_up_to_raw"] = up / figures["raw_netlink_s"]
    if args.json:
        print(json.dumps(figures))
        return
    print(f"{figures['nodes']} nodes, {figures['cables']} cables, best of {args.runs}")
    print(f"  up:   vswitchlab {up:.2f} s, mininet {theirs:.2f} s, raw netlink {figures['raw_netlink_s']:.2f} s")
    print(f"        = {figures['lab_up_to_mininet']:.2f} of mininet, {figures['lab_up_to_raw']:.1f} times raw netlink")
    print(f"  down: vswitchlab {down:.3f} s at worst, mininet {figures['mininet_down_s']:.2f} s")


if __name__ == "__main__":
    main()
