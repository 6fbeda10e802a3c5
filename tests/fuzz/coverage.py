"""What drawn cases have met, counted; several workers' counts add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.frame import DropReason, Frame
from lab.model import PvlanKind, Topology
from lab.predict import Prediction
from lab.state import State

from .strategies import Case
from .teaming import CHANNEL_HASHES

NOT_A_SWITCHS = frozenset({DropReason.LINK_DOWN, DropReason.UNUSED_PNIC})
NOT_YET = frozenset(
    {
        DropReason.SHAPER_QUEUE,
        DropReason.NIOC_QUEUE,
        DropReason.DVFILTER,
        DropReason.DVFILTER_CLOSED,
        DropReason.MTU,
    }
)
REASONS = frozenset(DropReason) - NOT_A_SWITCHS - NOT_YET
STATEMENTS = frozenset(
    [f"FWD-{n}" for n in (1, 2, 4, 5, 6, 7, 10, 11, 15, 16, 17, 19)]
    + [f"VLAN-{n}" for n in (1, 2, 3, 4, 6, 7, 8, 9, 11, 13, 14, 16)]
    + [f"PVL-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 10)]
    + [f"SEC-{n}" for n in (2, 4, 5, 7, 8, 9, 10, 13, 15, 16, 19)]
    + [f"MIR-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 13)]
    + ["TEAM-PID-1", "TEAM-MAC-1", "TEAM-MAC-2", "TEAM-IPH-1", "TEAM-IPH-5", "TEAM-EXP-1", "TEAM-EXP-2"]
    + ["TEAM-F-1", "TEAM-F-7", "LBT-1", "BCN-7", "BCN-10", "LACP-2", "LACP-3", "LACP-4", "LACP-6", "FWD-12", "ATK-8"]
    + ["L2S-2", "PVN-6", "PVN-7", "PVN-10"]
)
FEATURES = frozenset(
    [f"knob {name}" for name in ("block_guest_bpdu", "reverse_path=0", "est_guest_tag=pass", "prio_tag=drop")]
    + ["knob reverse_path_promisc", "knob forged_compare=vmx", "knob iphash=lastoctet"]
    + [f"channel hash {name}" for name in CHANNEL_HASHES]
    + ["LAG"]
    + ["module mapped", "module tunnelled"]
    + [f"stretch {kind}" for kind in ("trunk", "otv", "vpls", "vxlan")]
    + ["detection beacon", "placed by LBT", "port channel static", "port channel LACP"]
    + [f"policy {name}" for name in ("EST", "VST", "VGT", "PVLAN")]
    + [f"private VLAN {kind}" for kind in PvlanKind]
    + [f"session {name}" for name in ("dvPortMirror", "remoteMirrorSource", "remoteMirrorDest")]
    + ["session encapsulatedRemoteMirrorSource", "session mixedDestMirror"]
    + ["session strip", "session normal traffic", "session truncated", "session sampled"]
    + [f"MAC learning {how}" for how in ("drop", "allow", "flooding", "no flooding")]
    + [f"pSwitch {how}" for how in ("mac_table", "port_security", "bpdu_guard", "stp", "pvlan_aware", "cdp", "lldp")]
    + ["pSwitches in a loop", "standard switch", "distributed switch", "several hosts", "machine on a trunk"]
    + [f"guest {what}" for what in ("another MAC", "promiscuous", "groups", "all groups", "link down")]
    + ["learned by MAC learning", "learned by a pSwitch", "secured by a pSwitch", "pSwitch table full"]
    + ["frame untagged", "frame tagged", "frame double-tagged", "frame with priority", "frame from a group"]
)
LEAST = 5
"""Frames that must have met each of them."""


class Tally:
    """Counts of cases, of switches that were asked, and of what the cases met, by kind."""

    def __init__(self) -> None:
        self.cases = self.asked = self.storms = 0
        self.met: dict[str, Counter[str]] = {"reason": Counter(), "statement": Counter(), "feature": Counter()}

    def add(self, features: Iterable[str], prediction: Prediction, asked: int) -> None:
        self.cases += 1
        self.asked += asked
        self.met["reason"].update({str(hop.reason) for hop in prediction.drops})
        self.met["statement"].update(set(prediction.statements))
        self.met["feature"].update(features)

    def missing(self) -> list[str]:
        wanted = {"reason": {str(r) for r in REASONS}, "statement": STATEMENTS, "feature": FEATURES}
        return sorted(
            f"{kind} {name}: {self.met[kind][name]} times"
            for kind, names in wanted.items()
            for name in names
            if self.met[kind][name] < LEAST
        )

    def table(self) -> str:
        lines = [f"{self.cases} frames, {self.asked} times a switch was asked, {self.storms} storms left out"]
        for kind, counts in self.met.items():
            lines += [f"  {times:6} {kind} {name}" for name, times in sorted(counts.items())]
        return "\n".join(lines)

    # -- several processes

    def write(self, file: Path) -> None:
        said = {"counts": [self.cases, self.asked, self.storms], "met": self.met}
        partial = file.with_suffix(".new")
        partial.write_text(json.dumps(said))
        partial.rename(file)

    def read(self, file: Path) -> None:
        said = json.loads(file.read_text())
        cases, asked, storms = said["counts"]
        self.cases, self.asked, self.storms = self.cases + cases, self.asked + asked, self.storms + storms
        for kind, counts in said["met"].items():
            self.met[kind].update(counts)


def features_of(case: Case) -> frozenset[str]:
    """What the case's topology and state have."""
    return frozenset(
        [*_of_knobs(case.topology), *_of_hosts(case.topology), *_of_wires(case.topology), *_of_guests(case.state)]
    )


def features_met(frame: Frame, before: State, after: State, topology: Topology) -> Iterator[str]:
    """What one frame did."""
    yield f"frame {('untagged', 'tagged', 'double-tagged')[len(frame.vlans)]}"
    if any(tag.pcp for tag in frame.vlans):
        yield "frame with priority"
    if int(frame.src[:2], 16) & 1:
        yield "frame from a group"
    if after.learned != before.learned:
        yield "learned by MAC learning"
    if after.mac_tables != before.mac_tables:
        yield "learned by a pSwitch"
    if after.secured != before.secured:
        yield "secured by a pSwitch"
    if any(len(after.mac_tables.get(name, ())) >= s.mac_table for name, s in topology.physical_switches.items()):
        yield "pSwitch table full"


def _of_knobs(topology: Topology) -> Iterator[str]:
    knobs = topology.knobs
    said = {
        "block_guest_bpdu": knobs.block_guest_bpdu,
        "reverse_path=0": not knobs.reverse_path,
        "est_guest_tag=pass": knobs.est_guest_tag == "pass",
        "prio_tag=drop": knobs.prio_tag == "drop",
        "reverse_path_promisc": knobs.reverse_path_promisc,
        "forged_compare=vmx": knobs.forged_compare == "vmx",
        "iphash=lastoctet": knobs.iphash == "lastoctet",
    }
    return (f"knob {name}" for name, holds in said.items() if holds)


def _of_hosts(topology: Topology) -> Iterator[str]:
    if len(topology.hosts) > 1:
        yield "several hosts"
    for part in topology.host_switches.values():
        yield "distributed switch" if part.distributed else "standard switch"
        for port in part.ports:
            yield f"policy {port.vlan.tagging}"
            yield f"detection {port.detection}"
            if port.lag is not None:
                yield "LAG"
            if port.vlan.pvlan:
                yield f"private VLAN {port.vlan.pvlan.kind}"
            if port.mac_learning:
                yield f"MAC learning {'allow' if port.mac_learning.allow else 'drop'}"
                yield f"MAC learning {'flooding' if port.mac_learning.flooding else 'no flooding'}"
        for session in part.mirrors:
            yield f"session {session.kind}"
            shown = {"strip": session.strip, "normal traffic": session.normal_traffic}
            shown |= {"truncated": session.length is not None, "sampled": session.sampling > 1}
            yield from (f"session {name}" for name, holds in shown.items() if holds)


def _of_wires(topology: Topology) -> Iterator[str]:
    yield from (f"stretch {stretch.kind}" for stretch in topology.stretches)
    pswitches = [s for s in topology.physical_switches.values() if s.module is None]
    if sum(1 for cable in topology.cables if cable.uplink is None) >= len(pswitches):
        yield "pSwitches in a loop"
    if any(machine.port.access is None for machine in topology.machines.values()):
        yield "machine on a trunk"
    for s in topology.physical_switches.values():
        if s.module is not None:
            yield f"module {'tunnelled' if s.module.tunnelled else 'mapped'}"
        said = {"mac_table": s.mac_table < 100, "port_security": s.port_security is not None, "stp": s.stp}
        said |= {"bpdu_guard": s.bpdu_guard, "pvlan_aware": bool(s.pvlans), "cdp": s.cdp, "lldp": s.lldp}
        yield from (f"pSwitch {name}" for name, holds in said.items() if holds)
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            if pnic.port.channel is not None:
                yield f"port channel {'LACP' if pnic.port.lacp else 'static'}"
                yield f"channel hash {topology.physical_switches[pnic.switch].channel_hash}"


def _of_guests(state: State) -> Iterator[str]:
    said = {
        "another MAC": state.macs,
        "promiscuous": state.promiscuous,
        "groups": state.groups,
        "all groups": state.all_groups,
        "link down": state.links_down,
    }
    yield from (f"guest {name}" for name, holds in said.items() if holds)
    if state.placed:
        yield "placed by LBT"
