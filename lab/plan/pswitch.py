"""A physical switch: Open vSwitch's learning `NORMAL` behind rows for the VLAN of what comes in."""

from __future__ import annotations

from collections.abc import Iterator

from lab.frame import DropReason
from lab.model import ALL_VLANS, PhysicalPort
from lab.plan.types import Row
from lab.plan.vlans import ANY_TAG, PRIORITY_TAGGED, RESERVED, UNTAGGED, tag_matches


def rows_of(ports: dict[int, PhysicalPort]) -> tuple[Row, ...]:
    """`ports` by OpenFlow number."""
    rows = [row for number, port in ports.items() for row in _ingress(number, port)]
    return tuple(sorted(rows, key=lambda r: (r.table, -r.priority, r.match)))


def columns_of(port: PhysicalPort) -> tuple[tuple[str, str], ...]:
    """The OVSDB Port columns that make it an access port or a trunk.

    An access port is a trunk of its one VLAN, untagged: Open vSwitch's own access mode sends no frame there that has
    a second tag, which a real switch does, and then drops single-tagged ones with it (they share a datapath flow).
    """
    if port.access is not None:
        vlan = str(port.access)
        return (("vlan_mode", "native-untagged"), ("tag", vlan), ("trunks", vlan))
    listed = sorted({v for low, high in port.trunk for v in range(low, high + 1)})
    trunks = () if port.trunk == ALL_VLANS else (("trunks", f"[{','.join(map(str, listed))}]"),)
    if port.native is None:
        return (("vlan_mode", "trunk"), *trunks)
    return (("vlan_mode", "native-untagged"), ("tag", str(port.native)), *trunks)


def _ingress(number: int, port: PhysicalPort) -> Iterator[Row]:
    here = f"in_port={number}"
    for match in (UNTAGGED, PRIORITY_TAGGED):
        if port.untagged is None:
            yield Row(0, 100, f"{here},{match}", "drop", "no native VLAN", DropReason.PSWITCH_NO_NATIVE, number)
        else:
            yield Row(0, 100, f"{here},{match}", "NORMAL", f"VLAN {port.untagged}")
    if port.access is not None:
        yield Row(0, 10, here, "drop", "access port", DropReason.PSWITCH_ACCESS_TAGGED, number)
        return
    yield Row(0, 60, f"{here},{RESERVED}", "drop", "reserved VLAN 4095", DropReason.PSWITCH_VLAN, number)
    native = () if port.native is None else ((port.native, port.native),)
    for match in [ANY_TAG] if port.trunk == ALL_VLANS else sorted({*tag_matches((*port.trunk, *native))}):
        yield Row(0, 50, f"{here},{match}", "NORMAL", "VLAN-16")
    yield Row(0, 10, here, "drop", "VLAN-13", DropReason.PSWITCH_VLAN, number)
