"""MACs and IP addresses: those given must be unique, those not given are derived, the same way every time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lab.model import Tagging, VlanPolicy
from lab.topology.nodes import Path, path_text
from lab.topology.reading import Reading
from lab.topology.schema import TopologySpec

VNIC = "00:50:56"
"""VMware's range for addresses set by hand, 00:50:56:00:00:00 to 00:50:56:3f:ff:ff."""
VMKNIC = "00:50:56:60"
PNIC = "00:1b:21"
MACHINE = "00:0c:29"
HOSTS_IN_24 = 254


class Addresses:
    """Hands out what is not taken; `taken` holds what the file gives."""

    def __init__(self, macs: set[str], ips: set[str]) -> None:
        self._macs = set(macs)
        self._ips = set(ips)
        self._mac_counters: dict[str, Iterator[int]] = {}
        self._ip_counters: dict[int, Iterator[int]] = defaultdict(lambda: iter(range(1, HOSTS_IN_24 + 1)))

    def mac(self, prefix: str) -> str:
        """The next free address that begins with `prefix` (3 or 4 octets)."""
        octets = 6 - len(prefix.split(":"))
        limit = 0x3FFFFF if prefix == VNIC else 256**octets - 1
        for number in self._mac_counters.setdefault(prefix, iter(range(1, limit))):
            mac = f"{prefix}:{number.to_bytes(octets, 'big').hex(':')}"
            if mac not in self._macs:
                self._macs.add(mac)
                return mac
        raise ValueError(f"no address is left in {prefix}")

    def ip(self, policy: VlanPolicy) -> str:
        """10.V.V.N/24 in the VLAN of a port group or access port, the primary one of a private VLAN; empty for VGT, and
        when 254 are given out."""
        if policy.tagging is Tagging.VGT:
            return ""
        vlan = policy.pvlan.primary if policy.pvlan else policy.vlan
        for number in self._ip_counters[vlan]:
            ip = f"10.{vlan // 256}.{vlan % 256}.{number}"
            if ip not in self._ips:
                self._ips.add(ip)
                return f"{ip}/24"
        return ""


def addresses_beside(reading: Reading) -> Addresses:
    """What is left beside those that the file gives; tells those given twice."""
    macs: dict[str, Path] = {}
    ips: dict[str, Path] = {}
    for path, mac, ip in _written(reading.spec):
        for known, value, key in ((macs, mac, "mac"), (ips, ip.split("/")[0] if ip else None, "ip")):
            if value is None:
                continue
            place = path if "more_ips" in path[2:] else (*path, key)
            if value in known:
                what = "MAC" if key == "mac" else "address"
                reading.wrong(place, f"{what} {value} is given twice", f"first at {path_text(known[value])}")
            known.setdefault(value, place)
    return Addresses(set(macs), set(ips))


def _written(spec: TopologySpec) -> Iterator[tuple[Path, str | None, str | None]]:
    """Every place that may give a MAC or an address, with what it gives."""
    for host, h in spec.hosts.items():
        for pnic, p in h.uplinks.items():
            yield ("hosts", host, "uplinks", pnic), p.mac, None
        for vmk, k in h.vmkernel.items():
            yield ("hosts", host, "vmkernel", vmk), k.mac, k.ip
    for vm, v in spec.vms.items():
        yield ("vms", vm), None, v.ip
        for n, network in enumerate(v.networks):
            yield ("vms", vm, "networks", n), network.mac, network.ip
    for machine, m in spec.machines.items():
        yield ("machines", machine), m.mac, m.ip
        yield from ((("machines", machine, "more_ips", n), None, more) for n, more in enumerate(m.more_ips))
