"""How many tagged frames a second one vNIC sends, beside scapy's sendp and a raw socket in C speed's reach, in one run.

    .venv/bin/python benchmarks/send.py [--seconds 2] [--json]

Everything runs in a lab's own VM (topologies/trunk-vgt.yaml, vgt1). The raw limit is a Python loop around send() of one
unchanging frame on the same interface: what the injector adds is the canary's number and the pacing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

IN_THE_VM = """
import json, socket, sys, time
sys.path.insert(0, sys.argv[1])
seconds, frame = float(sys.argv[2]), bytes.fromhex(sys.argv[3])
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
raw.bind(("eth0", 0))
begin, count = time.monotonic(), 0
while time.monotonic() - begin < seconds:
    for _ in range(1000):
        try:
            raw.send(frame)
            count += 1
        except OSError:
            pass
bare = count / (time.monotonic() - begin)
from traffic.inject import open_injector
with open_injector("eth0") as injector:
    sent = injector.send(frame, int(bare * seconds), seq_at=int(sys.argv[4]))
from scapy.all import Ether, Raw, conf, sendp
conf.verb = 0
packet = Ether(frame)
begin = time.monotonic()
sendp(packet, iface="eth0", count=2000, verbose=0)
print(json.dumps([bare, sent.rate, 2000 / (time.monotonic() - begin)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    from lab import launch
    from lab.frame import Tag
    from traffic.canary import canary_frame, new_token, seq_offset

    with launch(ROOT / "topologies/trunk-vgt.yaml", name=f"benchmark-{os.getpid()}") as lab:
        vm = lab.vm("vgt1")
        frame = canary_frame(vm.mac, "00:50:56:3f:ff:ff", new_token(), 0, (Tag(30),))
        words = (sys.executable, "-c", IN_THE_VM, str(ROOT), str(args.seconds), frame.hex(), str(seq_offset(frame)))
        said = vm.exec(*words, timeout=120)
        started = time.monotonic()
        through = lab.send("vgt1", None, count=int(200_000 * args.seconds), vlans=(30,), kind="raw")
        whole = through.count / (time.monotonic() - started)
    bare, injected, scapys = json.loads(said.stdout.splitlines()[-1])
    figures = {
        "raw_socket_per_s": bare,
        "injector_per_s": injected,
        "vlab_send_per_s": whole,
        "scapy_sendp_per_s": scapys,
        "injector_to_raw": injected / bare,
        "vlab_send_to_sendp": whole / scapys,
    }
    if args.json:
        print(json.dumps(figures))
        return
    print(f"  raw socket         {bare:10,.0f} frames/s")
    print(f"  traffic.inject     {injected:10,.0f} frames/s = {figures['injector_to_raw']:.2f} of the raw socket")
    print(f"  vlab send          {whole:10,.0f} frames/s, the request included")
    print(
        f"  scapy sendp        {scapys:10,.0f} frames/s; vlab send is {figures['vlab_send_to_sendp']:.0f} times as fast"
    )


if __name__ == "__main__":
    main()
