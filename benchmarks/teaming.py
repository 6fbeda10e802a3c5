"""What teaming costs: frames lost at a failover, the time to a move by load, and the work of that for a datacentre.

    .venv/bin/python benchmarks/teaming.py [--frames 6000] [--rate 2000] [--hosts 50 --vms-per-host 20] [--json]

Failover: two VMs send at this rate while one's uplink loses its carrier, beside the same with no change; at most the
frames of 50 ms are allowed to the VM that moves, none to the one that stays. Overload: two VMs share an uplink with 45
% each; windows are counted from the one in which the load began. Evaluation: CPU of one window over all hosts, beside
that of one host. Frames are counted in captures at their receivers, moves in the lab's events.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab import RunningLab, launch  # noqa: E402
from lab.client import LabClient  # noqa: E402
from lab.realise.run import wait_until  # noqa: E402
from topologies.generate import generate  # noqa: E402

IN_FLIGHT = 0.05
"""Seconds of frames that a failover may lose."""
PERIOD = 30.0
SPEEDUP = 10
TOPOLOGY = f"""
name: teaming
release: "5.5"
clock: {{speedup: {SPEEDUP}}}
physical_switches: {{tor1: {{}}}}
hosts:
  esx1: {{uplinks: {{vmnic0: {{switch: tor1, speed: 1G}}, vmnic1: {{switch: tor1, speed: 1G}}}}}}
distributed_switches:
  dvs0:
    uplinks: {{esx1: [vmnic0, vmnic1]}}
    port_groups:
      pinned: {{vlan: 10}}
      balanced: {{vlan: 10, teaming: {{policy: loadbalance_loadbased}}}}
vms:
  moves: {{host: esx1, networks: [pinned]}}
  stays: {{host: esx1, networks: [pinned]}}
  heavy: {{host: esx1, networks: [balanced]}}
  idle: {{host: esx1, networks: [balanced]}}
  heavier: {{host: esx1, networks: [balanced]}}
machines:
  gw1: {{switch: tor1, access: 10}}
  gw2: {{switch: tor1, access: 10}}
"""
PAIRS = {"moves": "gw1", "stays": "gw2"}


def sending(lab: RunningLab, sender: str, to: str, count: int, rate: float, size: int) -> Thread:
    def send() -> None:
        with closing(LabClient(lab.client.directory)) as own:
            how: dict[str, Any] = {"dst_mac": lab.client.place(to).mac, "kind": "raw", "size": size}
            RunningLab(own).send(sender, count=count, rate=rate, **how)

    thread = Thread(target=send)
    thread.start()
    return thread


def received(lab: RunningLab, node: str) -> int:
    lines = lab.exec(node, "cat", "/proc/net/dev").stdout.splitlines()
    return int(next(line.split()[2] for line in lines if line.strip().startswith("eth0:")))


def lost(lab: RunningLab, frames: int, rate: float, uplink: str | None) -> dict[str, int]:
    """Sender -> frames that did not arrive, while this uplink (None: none) loses its carrier and has it back."""
    for gateway in PAIRS.values():
        lab.send(gateway, dst_mac="broadcast", kind="raw")
    lab.client.ask("settle")
    before = {gateway: received(lab, gateway) for gateway in PAIRS.values()}
    with lab.capture(*PAIRS.values()) as seen:
        threads = [sending(lab, sender, to, frames, rate, 200) for sender, to in PAIRS.items()]
        wait_until(lambda: all(received(lab, g) > n + frames // 10 for g, n in before.items()), "frames", 20)
        if uplink:
            lab.link(f"esx1:{uplink}", up=False)
        for thread in threads:
            thread.join()
    if uplink:
        lab.link(f"esx1:{uplink}", up=True)
    wanted = {(lab.vm(sender).mac, lab.client.place(to).mac): sender for sender, to in PAIRS.items()}
    arrived = Counter(wanted[frame.src, frame.dst] for frame in seen.frames if (frame.src, frame.dst) in wanted)
    return {sender: frames - arrived[sender] for sender in PAIRS}


def events(lab: RunningLab, kind: str) -> list[dict[str, Any]]:
    return [event for event in lab.client.ask("events") if event["event"] == kind]


def overload(lab: RunningLab) -> dict[str, float]:
    """Two ports with 45 % of one uplink each, from the beginning of a window on, for three windows."""
    on = {port: uplink for _, port, uplink in lab.client.ask("status")["uplink_of"]}
    assert on["heavy.eth0"] == on["heavier.eth0"] != on["idle.eth0"]
    speed = 1e9 * lab.client.topology.speed_scale
    rate = speed * 0.45 / 8000
    lab.client.ask("lbt", threshold=0.75, period=PERIOD)
    began = time.time_ns()
    count = round(rate * 3.3 * PERIOD / SPEEDUP)
    threads = [sending(lab, vm, gateway, count, rate, 1000) for vm, gateway in (("heavy", "gw1"), ("heavier", "gw2"))]
    for thread in threads:
        thread.join()
    moves = events(lab, "lbt")
    first = (moves[0]["time_ns"] - began) / 1e9 * SPEEDUP if moves else float("nan")
    return {"windows_to_move": first / PERIOD, "moves_in_three_windows": len(moves), "seconds_to_move": first}


def evaluation(hosts: int, vms: int) -> dict[str, float]:
    """CPU seconds of a window over so many hosts."""
    text = generate(hosts, vms, 10, 2).replace('release: "5.0"', 'release: "5.5"\nclock: {speedup: 10}')
    text = text.replace("    port_groups:", "    teaming: {policy: loadbalance_loadbased}\n    port_groups:")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "many.yaml"
        file.write_text(text)
        begin = time.perf_counter()
        with launch(file, name=f"benchmark-many-{os.getpid()}") as lab:
            built = time.perf_counter() - begin
            wait_until(lambda: len(lab.client.ask("lbt")["windows"]) == hosts, "a window of every host", 60)
            said = lab.client.ask("lbt")
    return {
        "vnics": sum(len(window["ports"]) for window in said["windows"]),
        "hosts": len(said["windows"]),
        "cpu_per_window": said["cpu_seconds"],
        "built_in": built,
    }


def failures(args: argparse.Namespace, figures: Mapping[str, Any]) -> list[str]:
    """What is not as it has to be."""
    checks = {
        "a port on another uplink lost frames": figures["failover"]["stays"] <= figures["baseline"]["stays"],
        "the failed uplink lost more than flies in 50 ms": figures["failover"]["moves"] <= IN_FLIGHT * args.rate,
        "Load-Based Teaming did not move within one window": 0.9 < figures["windows_to_move"] < 1.3,
        "it was not one move": figures["moves_in_three_windows"] == 1,
        "a window took a second of CPU": figures["cpu_per_window"] < 1.0,
    }
    return [what for what, good in checks.items() if not good]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for option, default in (("frames", 6000), ("hosts", 50), ("vms-per-host", 20)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    figures: dict[str, Any] = {"frames": args.frames, "rate": args.rate}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "teaming.yaml"
        file.write_text(TOPOLOGY)
        with launch(file, name=f"benchmark-{os.getpid()}") as lab:
            uplink = lab.client.state().uplink_of["esx1", "moves.eth0"]
            figures["baseline"] = lost(lab, args.frames, args.rate, None)
            figures["failover"] = lost(lab, args.frames, args.rate, uplink)
            figures |= overload(lab)
    figures["one_host_cpu_per_window"] = evaluation(1, args.vms_per_host)["cpu_per_window"]
    figures |= evaluation(args.hosts, args.vms_per_host)
    figures["not_as_it_has_to_be"] = failures(args, figures)
    if args.json:
        print(json.dumps(figures))
    else:
        _tell(figures)
    return 1 if figures["not_as_it_has_to_be"] else 0


def _tell(figures: Mapping[str, Any]) -> None:
    print(
        "  {frames:,} frames at {rate:,.0f}/s from each of two VMs: {baseline[moves]} and {baseline[stays]} lost with "
        "no change; when one's uplink lost its carrier {failover[moves]} of its own, {failover[stays]} of the other's\n"
        "  overload by 90 % of an uplink: first move after {seconds_to_move:.1f} s of the lab's time, "
        "{windows_to_move:.2f} windows of 30 s; {moves_in_three_windows} in three windows\n"
        "  {vnics:,} vNICs on {hosts} hosts: {cpu_per_window:.3f} s of CPU a window, one host "
        "{one_host_cpu_per_window:.4f} s (the lab was up in {built_in:.0f} s)".format(**figures)
    )
    for what in figures["not_as_it_has_to_be"]:
        print(f"  NOT AS IT HAS TO BE: {what}")


if __name__ == "__main__":
    sys.exit(main())
