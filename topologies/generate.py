"""Topologies of any size, for measuring: `python topologies/generate.py --hosts 10 --vms-per-host 10 > big.yaml`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

FIRST_VLAN = 100


def generate(hosts: int, vms_per_host: int, vlans: int, uplinks: int) -> str:
    """The text of a topology file: hosts with `uplinks` pNICs each, on two top-of-rack switches in turn, one
    distributed switch, VMs spread over the VLANs. The same numbers give the same text. Raises ValueError."""
    if not (1 <= hosts <= 999 and 0 <= vms_per_host <= 1000 and 1 <= vlans <= 2000 and 1 <= uplinks <= 32):
        raise ValueError("hosts 1-999, VMs a host 0-1000, VLANs 1-2000, uplinks 1-32")
    return "\n".join(_lines(hosts, vms_per_host, vlans, uplinks)) + "\n"


def _lines(hosts: int, vms_per_host: int, vlans: int, uplinks: int) -> Iterator[str]:
    trunk = f"{FIRST_VLAN}-{FIRST_VLAN + vlans - 1}"
    yield f"# {hosts} hosts of {vms_per_host} VMs, {vlans} VLANs, {uplinks} uplinks a host; made by generate.py"
    yield "name: generated"
    yield 'release: "5.0"'
    yield "physical_switches: {tor1: {}, tor2: {}}"
    yield "cables:"
    yield f"  - {{ends: [tor1, tor2], trunk: [{trunk}]}}"
    yield "hosts:"
    for host in range(1, hosts + 1):
        yield f"  esx{host}:"
        yield "    uplinks:"
        for n in range(uplinks):
            yield f"      vmnic{n}: {{switch: tor{n % 2 + 1}, trunk: [{trunk}]}}"
    names = ", ".join(f"vmnic{n}" for n in range(uplinks))
    yield "distributed_switches:"
    yield "  dvs0:"
    yield f"    uplinks: {{{', '.join(f'esx{host}: [{names}]' for host in range(1, hosts + 1))}}}"
    yield "    port_groups:"
    for n in range(vlans):
        yield f"      vlan{FIRST_VLAN + n}: {{vlan: {FIRST_VLAN + n}}}"
    yield "vms:" if vms_per_host else "vms: {}"
    for host in range(1, hosts + 1):
        for n in range(1, vms_per_host + 1):
            yield f"  vm{host}-{n}: {{host: esx{host}, networks: [vlan{FIRST_VLAN + (n - 1) % vlans}]}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    for option, default in (("hosts", 10), ("vms-per-host", 10), ("vlans", 10), ("uplinks", 2)):
        parser.add_argument(f"--{option}", type=int, default=default)
    args = parser.parse_args()
    try:
        print(generate(args.hosts, args.vms_per_host, args.vlans, args.uplinks), end="")
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
