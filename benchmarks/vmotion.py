"""How long is a VM out of reach when it moves, and what does a long wire do to frames?

python benchmarks/vmotion.py [MOVES]      50 moves to and fro of a guest with 64 MB, a TCP connection open all the time
Prints medians, worst cases and what was lost; then delays asked and measured at 1,000 frames/s, and throughput of a
trunk and of VXLAN side by side.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.frame import Frame
from lab.running import RunningLab, launch

MOVES = 50
MEMORY_PAGES = 16384
HOSTS = "".join(
    f"""
  esx{n}:
    uplinks: {{vmnic0: {{switch: tor1}}, vmnic1: {{switch: tor1}}}}
    standard_switches: {{vSwitch0: {{uplinks: [vmnic0], port_groups: {{vMotion: {{vlan: 6}}}}}}}}
    vmkernel: {{vmk1: {{port_group: vMotion, services: [vmotion]}}}}"""
    for n in (1, 2)
)
MOVING = f"""
name: bench-vmotion
physical_switches: {{tor1: {{}}}}
hosts:{HOSTS}
distributed_switches:
  dvs0: {{uplinks: {{esx1: [vmnic1], esx2: [vmnic1]}}, port_groups: {{web: {{vlan: 10}}}}}}
vms:
  web1: {{host: esx1, networks: [web], memory: 64MB}}
machines:
  gw: {{switch: tor1, access: 10}}
"""
ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], 7777))
print("listening", flush=True)
end, _ = server.accept()
while data := end.recv(100):
    end.sendall(data)
"""
TALK = """
import socket, sys
end = socket.create_connection((sys.argv[1], 7777), 20)
for line in sys.stdin:
    end.sendall(line.encode())
    print(end.recv(100).decode(), end="", flush=True)
"""


@contextmanager
def lab_of(text: str) -> Iterator[RunningLab]:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "bench.yaml"
        file.write_text(text)
        with launch(file) as lab:
            yield lab


def started(lab: RunningLab, node: str, code: str, address: str) -> subprocess.Popen[str]:
    argv = [*lab.client.entry(node), sys.executable, "-c", code, address]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(child: subprocess.Popen[str], line: str = "") -> str:
    assert child.stdin is not None and child.stdout is not None
    if line:
        child.stdin.write(line + "\n")
        child.stdin.flush()
    return child.stdout.readline().strip()


def moves(count: int) -> None:
    with lab_of(MOVING) as lab:
        address = lab.vm("gw").address
        lab.client.ask("guest_write", vm="web1", token="ab" * 16, pages=MEMORY_PAGES)
        echo = started(lab, "gw", ECHO, address)
        assert said(echo) == "listening"
        talk, gaps, lost, stunned, seconds, broken = started(lab, "web1", TALK, address), [], [], [], [], 0
        for n in range(count):
            done = lab.vmotion("web1", ("esx2", "esx1")[n % 2], watch=False).done
            broken += said(talk, f"line {n}") != f"line {n}"
            gaps.append(done["reach"]["gap_ms"])
            lost.append(done["reach"]["missing"])
            stunned.append(done["stunned_ms"])
            seconds.append(done["seconds"])
        for child in (talk, echo):
            child.kill()
            child.wait()
    print(f"vMotion, {count} moves of 64 MB that are all in use")
    for name, values, unit in (
        ("out of reach", gaps, "ms"), ("frames lost of 1,000/s", lost, ""), ("stunned", stunned, "ms"),
        ("whole", seconds, "s"),
    ):  # fmt: skip
        print(f"  {name}: median {statistics.median(values):.1f} {unit}, worst {max(values):.1f} {unit}")
    print(f"  TCP connections lost: {broken}")


def stretched(kind: str, delay: str = "") -> str:
    way = f", delay: {delay}" if delay else ""
    return f"""
name: bench-{kind}
sites: {{a: {{}}, b: {{}}}}
physical_switches: {{sa: {{site: a}}, sb: {{site: b}}}}
stretch: {{dci: {{kind: {kind}, switches: [sa, sb], vlans: [10]{way}}}}}
machines: {{m1: {{switch: sa, access: 10}}, m2: {{switch: sb, access: 10}}}}
"""


def delays() -> None:
    print("userspace wire, 3,000 frames at 1,000/s, one way: asked, median, p99 (ms)")
    for asked in ("1ms", "5ms", "20ms", "75ms"):
        with lab_of(stretched("trunk", asked)) as lab:
            lab.send("m2", dst_mac="broadcast", kind="raw")
            with lab.capture("sa:sb", "sb:sa") as seen:
                lab.send("m1", "m2", kind="raw", count=3000, rate=1000)
            mac = lab.vm("m1").mac
            times = {
                port: [p.time_ns for p in seen.packets if p.interface == port and Frame.parse(p.data).src == mac]
                for port in ("sb", "sa")
            }
        late = sorted((b - a) / 1e6 for a, b in zip(times["sb"], times["sa"], strict=True))
        print(f"  {asked:>5} {statistics.median(late):8.3f} {late[len(late) * 99 // 100]:8.3f}")


def throughput() -> None:
    print("TCP between two sites without a distance (iperf3, 3 s)")
    for kind in ("trunk", "vxlan"):
        with lab_of(stretched(kind)) as lab:
            server = subprocess.Popen([*lab.client.entry("m2"), "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
            address = lab.vm("m2").address
            said = lab.exec("m1", "sh", "-c", f"sleep 0.5; iperf3 -c {address} -t 3 -f m | grep receiver", check=False)
            server.kill()
            server.wait()
        print(f"  {kind}: {' '.join(said.stdout.split()[4:8]) or said.stderr.strip() or 'iperf3 said nothing'}")


if __name__ == "__main__":
    moves(int(sys.argv[1]) if len(sys.argv) > 1 else MOVES)
    delays()
    throughput()
