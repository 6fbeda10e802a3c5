"""How closely Network I/O Control and shaping keep to what they should: 12 mixes of shares, limits and reservations of
2 to 6 traffic types, TCP and UDP, at one emulated rate after the other until a class is more than 3 % of the link off.

    benchmarks/bandwidth.py [RATE_IN_MBIT...]

What each type offers is known here, and what it should get follows from that alone; what it got is counted at its class
of the pNIC and, as a second opinion, by the receivers.
"""

from __future__ import annotations

import math
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import RunningLab, launch
from lab.client import LabClient
from lab.nioc import Sender, rates
from lab.realise.run import wait_until
from lab.report.nioc import BUSY_IDLE
from traffic.load import Outcome

RATES = (100, 150, 200, 300)
"""Mbit/s."""
NOMINAL = 10e9
TOLERANCE = 0.03
SECONDS, WARM_SECONDS, WINDOW_SECONDS = 5.5, 1.0, 2.5
UDP_SIZE = 1400
OF_FRAME = {"udp": (UDP_SIZE + 42) / UDP_SIZE, "tcp": 1514 / 1448}
TYPES = ("faultTolerance", "iSCSI", "vmotion", "nfs", "management")
SERVICES = ("ft_logging", "iscsi", "vmotion", "nfs", "management")
VM = "virtualMachine"
ALL = math.inf


@dataclass(frozen=True)
class Want:
    """`offered` as part of the link; infinite: TCP as fast as it goes. `limit` and `reserved` as parts too."""

    shares: int = 50
    offered: float = ALL
    protocol: str = "tcp"
    limit: float = ALL
    reserved: float = 0.0


@dataclass(frozen=True)
class Mix:
    name: str
    wants: Mapping[str, Want]
    other_pnic: float = 0.0
    streams: int = field(default=2)


def flood(shares: int = 50, part: float = 0.8) -> Want:
    return Want(shares, part, "udp")


MIXES = (
    Mix("two alike", {"vmotion": Want(), "nfs": Want()}),
    Mix("40/40/20", {"faultTolerance": Want(100), "iSCSI": Want(100), "nfs": Want(50)}),
    Mix("NIOC-2", {"faultTolerance": Want(100), "iSCSI": Want(100), **{t: Want() for t in TYPES[2:]}, VM: Want()}),
    Mix("1 to 4", {"vmotion": Want(25), VM: Want(100)}),
    Mix("TCP against a flood", {"vmotion": Want(50), VM: flood(100)}),
    Mix("floods alone", {"vmotion": flood(25), "nfs": flood(50), VM: flood(100)}),
    Mix("one leaves some", {"vmotion": Want(100, 0.1, "udp"), "nfs": Want(50), VM: Want(100)}),
    Mix("limit", {"vmotion": Want(100, limit=0.2), "nfs": Want(50), VM: Want(50)}),
    Mix("reservation", {"nfs": Want(50, reserved=0.5), VM: Want(50)}),
    Mix("reservation and limit", {"nfs": Want(50, reserved=0.3), "vmotion": Want(100, limit=0.15), VM: flood(50)}),
    Mix("no contention", {"nfs": Want(50, 0.2, "udp"), "vmotion": Want(50, 0.3, "udp"), VM: Want(50, 0.1, "udp")}),
    Mix("another pNIC flooded", {"nfs": Want(50), VM: Want(100)}, other_pnic=1.5),
)


def topology(rate: float) -> str:
    vmks = "".join(
        f"      vmk{n}: {{port_group: g{n}, services: [{s}], ip: 10.0.{n}.1/24}}\n" for n, s in enumerate(SERVICES)
    )
    groups = "".join(f"      g{n}: {{vlan: {n + 1}}}\n" for n in range(len(TYPES)))
    machines = "".join(f"  m{n}: {{switch: tor1, access: {n + 1}, ip: 10.0.{n}.2/24}}\n" for n in range(len(TYPES)))
    return f"""\
name: bandwidth
release: "6.7"
speed_scale: {rate / NOMINAL}
physical_switches: {{tor1: {{}}}}
hosts:
  esx1:
    uplinks: {{vmnic0: {{switch: tor1}}, vmnic1: {{switch: tor1}}}}
    vmkernel:
{vmks}
distributed_switches:
  dvs0:
    uplinks: {{esx1: [vmnic0, vmnic1]}}
    teaming: {{policy: failover_explicit, active: [uplink1]}}
    network_io_control: {{version: 3}}
    port_groups:
{groups}
      web: {{vlan: 20}}
      other: {{vlan: 21, teaming: {{active: [uplink2]}}}}
      shaped: {{vlan: 22, shaping: {{ingress: {{average: 1G, peak: 5G, burst: 500MB}}}}}}
vms:
  web1: {{host: esx1, networks: [web], ip: 10.0.20.1/24}}
  other1: {{host: esx1, networks: [other], ip: 10.0.21.1/24}}
  shaped1: {{host: esx1, networks: [shaped], ip: 10.0.22.1/24}}
machines:
{machines}
  web: {{switch: tor1, access: 20, ip: 10.0.20.2/24}}
  other: {{switch: tor1, access: 21, ip: 10.0.21.2/24}}
  shaped: {{switch: tor1, access: 22, ip: 10.0.22.2/24}}
"""


def ends(kind: str) -> tuple[str, str]:
    return ("web1", "web") if kind == VM else (f"esx1.vmk{TYPES.index(kind)}", f"m{TYPES.index(kind)}")


def flow(sender: str, receiver: str, want: Want, streams: int) -> dict[str, Any]:
    if want.protocol == "tcp":
        return {"from": sender, "to": receiver, "streams": streams}
    rate = want.offered * NOMINAL / OF_FRAME["udp"]
    return {"from": sender, "to": receiver, "protocol": "udp", "rate": rate, "size": UDP_SIZE}


def should_get(mix: Mix, capacity: float) -> dict[str, float]:
    return rates(
        capacity,
        {
            kind: Sender(w.offered * capacity, w.shares, w.reserved * capacity, w.limit * capacity)
            for kind, w in mix.wants.items()
        },
    )


def configure(lab: RunningLab, mix: Mix) -> None:
    pools: dict[str, Any] = {}
    for kind, want in mix.wants.items():
        pools[kind] = {"shares": want.shares}
        if want.limit < ALL:
            pools[kind]["limit"] = want.limit * NOMINAL
        if want.reserved:
            pools[kind]["reservation"] = want.reserved * NOMINAL
    lab.set("switch dvs0", **{"network_io_control.pools": pools})


@dataclass
class Measured:
    """bits/s of frames by class counters and, over the whole flow, by receivers; the machine's idle part."""

    counted: dict[str, float]
    received: dict[str, float]
    idle: float


def measure(lab: RunningLab, mix: Mix) -> Measured:
    flows = [flow(*ends(kind), want, mix.streams) for kind, want in mix.wants.items()]
    if mix.other_pnic:
        flows.append(flow("other1", "other", flood(50, mix.other_pnic), 1))
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.extend(lab.load(*flows, seconds=SECONDS)))
    client = LabClient(lab.client.directory)
    thread.start()

    def moving() -> bool:
        return any(c["bytes"] for p in client.ask("queues", seconds=0.1)["pnics"] for c in p["classes"])

    wait_until(moving, "traffic")
    client.ask("queues", seconds=WARM_SECONDS)
    answer = client.ask("queues", seconds=WINDOW_SECONDS)
    thread.join()
    client.close()
    (first,) = (p for p in answer["pnics"] if p["pnic"] == "vmnic0")
    counted = {c["label"]: c["bytes"] * 8 / answer["seconds"] for c in first["classes"]}
    received = {
        kind: o.received * OF_FRAME[o.flow.protocol] for kind, o in zip(mix.wants, outcomes, strict=False) if not o.why
    }
    return Measured({kind: counted[kind] for kind in mix.wants}, received, answer["idle"])


def worst_of(found: Mapping[str, float], wanted: Mapping[str, float], capacity: float) -> float:
    return max(abs(found.get(kind, 0.0) - rate) for kind, rate in wanted.items()) / capacity


def run_mixes(lab: RunningLab, capacity: float) -> tuple[float, float]:
    """Prints a line for each mix; the largest deviation as part of the link, and the machine's least idle part."""
    worst, idle = 0.0, 1.0
    for number, mix in enumerate(MIXES, start=1):
        configure(lab, mix)
        wanted, found = should_get(mix, capacity), measure(lab, mix)
        off = worst_of(found.counted, wanted, capacity)
        seen = worst_of(found.received, wanted, capacity)
        worst, idle = max(worst, off), min(idle, found.idle)
        parts = "  ".join(f"{k} {found.counted[k] / 1e6:.1f}/{wanted[k] / 1e6:.1f}" for k in wanted)
        print(
            f"  {number:2} {mix.name:22} off {off:5.1%} (receivers {seen:5.1%}) idle {found.idle:4.0%}  {parts}",
            flush=True,
        )
    return worst, idle


def run_shaping(lab: RunningLab, capacity: float) -> None:
    """1G average, 5G peak, a bonus of 500 MB: gone after 1.05 s."""
    seconds, average, peak = 5.0, 0.1 * capacity, 0.5 * capacity
    (outcome,) = lab.load(flow("shaped1", "shaped", flood(50, 0.8), 1), seconds=seconds)
    bonus = 500 * 1024**2 * 8 * capacity / NOMINAL
    burst = (outcome.received * OF_FRAME["udp"] * seconds - average * seconds) / (peak - average)
    last = outcome.each[-1] * OF_FRAME["udp"]
    wanted = bonus / (peak - average)
    print(f"  shaping: average off {last / average - 1:+.1%}; burst {burst:.2f} s, {burst / wanted - 1:+.1%} off")


def main(words: Sequence[str]) -> None:
    held = 0
    for rate in [int(word) for word in words] or RATES:
        print(f"{rate} Mbit/s emulated ({NOMINAL / 1e9:g}G nominal); got/should get in Mbit/s of frames")
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "bandwidth.yaml"
            file.write_text(topology(rate * 1e6))
            with launch(file, name=f"bandwidth-{rate}") as lab:
                worst, idle = run_mixes(lab, rate * 1e6)
                run_shaping(lab, rate * 1e6)
        print(f"  the worst class is {worst:.1%} of the link off")
        if worst > TOLERANCE:
            busy = (
                f"; {idle:.0%} of this machine was idle at worst: on a quieter one it may" if idle < BUSY_IDLE else ""
            )
            print(f"  {rate} Mbit/s does not hold{busy}")
            break
        held = rate
    print(f"within {TOLERANCE:.0%} of the link up to {held} Mbit/s" if held else "at none of these rates within 3 %")


if __name__ == "__main__":
    main(sys.argv[1:])
