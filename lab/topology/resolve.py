"""What the names in a topology file mean: spec -> model, defaults filled in, all mistakes collected."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from lab.errors import Mistake
from lab.model import DistributedSwitch, Knobs, Topology
from lab.topology import chassis
from lab.topology.addressing import addresses_beside
from lab.topology.distributed import check_exporters
from lab.topology.expectations import expectations
from lab.topology.gateways import check_gateways
from lab.topology.guests import Adapters, PortGroups, machines
from lab.topology.mirrors import sessions
from lab.topology.names import ONLY_SITE, check_names
from lab.topology.physical import cables, check_channels, physical_switches
from lab.topology.pvlans import pvlan_maps
from lab.topology.reading import Reading
from lab.topology.releases import since
from lab.topology.room import check_ports
from lab.topology.stretch import check_loops, stretch_cables, stretches_of
from lab.topology.switches import check_uplinks_used_once, distributed_switches, hosts

ENCRYPTED_VMOTION = "6.5"
ENCRYPTED_FT = "8.0"
"""The release whose documents have it; the first one that had it is not verified."""


def resolve(reading: Reading, source: str) -> tuple[Topology, list[Mistake]]:
    """The topology, of use only when there is no mistake."""
    spec = reading.spec
    check_names(reading)
    addresses = addresses_beside(reading)
    pvlans = pvlan_maps(reading)
    found = hosts(reading, addresses)
    check_channels(reading, found)
    chassis.check_blades(reading, found)
    shared = distributed_switches(reading, pvlans)
    check_uplinks_used_once(reading)
    groups = PortGroups(reading, found, shared)
    adapters = Adapters(reading, addresses, groups, shared)
    others = machines(reading, addresses)
    check_gateways(reading, adapters.vmknics, others.values())
    check_ports(reading, found, adapters.by_label.values())
    joined = cables(reading)
    stretches = stretches_of(reading)
    check_loops(reading, joined, stretches)
    topology = Topology(
        name=spec.name,
        release=spec.release,
        speed_scale=spec.speed_scale,
        speedup=spec.clock.speedup,
        knobs=_knobs(reading),
        sites=tuple(spec.sites) or (ONLY_SITE,),
        physical_switches=MappingProxyType({**physical_switches(reading, pvlans), **chassis.modules_of(reading)}),
        cables=(*joined, *stretch_cables(stretches, joined), *chassis.uplinks(reading)),
        stretches=stretches,
        hosts=MappingProxyType(found),
        distributed_switches=MappingProxyType(
            {name: _watched(reading, switch, adapters) for name, switch in shared.items()}
        ),
        vms=MappingProxyType(adapters.vms),
        vmknics=adapters.vmknics,
        machines=MappingProxyType(others),
        expect=tuple(expectations(reading, groups)),
        source=source,
    )
    return topology, reading.mistakes


def _knobs(reading: Reading) -> Knobs:
    given = reading.spec.knobs
    bpdu, encrypt = given.block_guest_bpdu, given.vmotion_encrypt
    if encrypt not in (None, "off") and not since(reading.spec.release, ENCRYPTED_VMOTION):
        what = f"{reading.spec.release} has no encrypted vMotion"
        reading.wrong(("knobs", "vmotion_encrypt"), what, f"it came with {ENCRYPTED_VMOTION}")
    ft = given.ft_encrypt
    if ft not in (None, "off") and not since(reading.spec.release, ENCRYPTED_FT):
        what = f"{reading.spec.release} has no encrypted FT logging"
        reading.wrong(("knobs", "ft_encrypt"), what, f"it is documented for {ENCRYPTED_FT}")
    return Knobs(
        block_guest_bpdu=since(reading.spec.release, "8.0") if bpdu is None else bool(bpdu),
        reverse_path=bool(given.reverse_path),
        est_guest_tag=given.est_guest_tag,
        prio_tag=given.prio_tag,
        reverse_path_promisc=bool(given.reverse_path_promisc),
        forged_compare=given.forged_compare,
        iphash=given.iphash,
        beacon_ethertype=given.beacon_ethertype,
        pvnic_rx_cap=given.pvnic_rx_cap == "on",
        nfc_ssl=given.nfc_ssl,
        hbr_encrypt=given.hbr_encrypt,
        ft_encrypt=ft or ("opportunistic" if since(reading.spec.release, ENCRYPTED_FT) else "off"),
        vmotion_encrypt=encrypt or ("opportunistic" if since(reading.spec.release, ENCRYPTED_VMOTION) else "off"),
    )


def _watched(reading: Reading, switch: DistributedSwitch, adapters: Adapters) -> DistributedSwitch:
    """With its mirroring sessions, which name ports."""
    check_exporters(reading, switch, adapters.on_distributed(switch.name).values())
    return replace(switch, mirrors=tuple(sessions(reading, switch.name, adapters)))
