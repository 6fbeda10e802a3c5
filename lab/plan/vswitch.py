"""One host's part of a vSwitch as OpenFlow rows, in pktcap-uw's order of points.

    0 PortInput -> 10 forged transmits -> 15 guest BPDU -> 20 VLAN in -> 30 dispatch
      -> 40 teaming -> 60 VLAN out (uplink)      -> 50 reverse teaming -> 60 VLAN out (client port)

Inside, a frame has no outer tag: reg0 is its VLAN (0: untagged), reg1 its 802.1p priority, reg2 is 1 when it came
in on an uplink, reg5 the port it is to leave by. No row learns and none floods: the switch knows its own ports.
Every drop is a row of its own whose cookie names the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from lab.frame import DropReason
from lab.model import ClientPort, HostSwitch, Knobs, Ranges, Tagging, VlanPolicy
from lab.plan.types import Row
from lab.plan.vlans import ANY_TAG, PRIORITY_TAGGED, UNTAGGED, register_matches, tag_matches
from lab.state import State

PORT_INPUT, FORGED, BPDU, VLAN_IN, DISPATCH, TEAMING, REVERSE, VLAN_OUT = 0, 10, 15, 20, 30, 40, 50, 60
TABLE_NAMES = {
    PORT_INPUT: "PortInput",
    FORGED: "forged transmits",
    BPDU: "guest BPDU",
    VLAN_IN: "VLAN in",
    DISPATCH: "EtherswitchDispath",
    TEAMING: "teaming",
    REVERSE: "reverse teaming",
    VLAN_OUT: "VLAN out",
}
FIRST_CLIENT = 100
GROUP = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
BPDU_MACS = ("01:80:c2:00:00:00", "01:00:0c:cc:cc:cd")
KEEP_PRIORITY = "move:NXM_OF_VLAN_TCI[13..15]->NXM_NX_REG1[0..2]"
POP_TAG = f"move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11],{KEEP_PRIORITY},pop_vlan"
PUSH_TAG = (
    "push_vlan:0x8100,move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11],move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]"
)


def client_number(port: ClientPort) -> int:
    """The OpenFlow port of a vNIC or vmknic; uplinks are 1, 2, ... in the switch's order."""
    return FIRST_CLIENT + port.number - 1


def policy_ranges(policy: VlanPolicy) -> Ranges:
    return policy.ranges if policy.tagging is Tagging.VGT else ((policy.vlan, policy.vlan),)


def rows_of(part: HostSwitch, state: State, knobs: Knobs) -> tuple[Row, ...]:
    """Every row of the bridge, in table and priority order."""
    uplinks = {name: n for n, name in enumerate(part.uplinks, start=1)}
    rows: list[Row] = []
    for number in uplinks.values():
        rows += _uplink_input(number)
    for port in part.ports:
        rows += _client_input(port)
        rows += _client_vlan_in(port, knobs)
        rows += _client_dispatch(port)
        rows += _client_teaming(part, port, state, uplinks)
        rows += _client_reverse(part, port, state, uplinks, knobs.reverse_path)
        rows += _client_vlan_out(port)
    rows += _guest_bpdu(knobs.block_guest_bpdu)
    rows += _group_dispatch(part)
    rows += _dispatch_misses()
    for number in uplinks.values():
        rows += _tagged_out(number)
    return tuple(sorted(rows, key=lambda r: (r.table, -r.priority, r.match)))


def _drop(table: int, priority: int, match: str, reason: DropReason, why: str, port: int = 0) -> Row:
    return Row(table, priority, match, "drop", why, reason, port)


def _uplink_input(number: int) -> Iterator[Row]:
    here = f"in_port={number}"
    yield Row(PORT_INPUT, 100, here, f"set_field:1->reg2,goto_table:{VLAN_IN}", "uplink")
    untagged = f"set_field:0->reg0,goto_table:{DISPATCH}"
    yield Row(VLAN_IN, 100, f"{here},{UNTAGGED}", untagged, "VLAN-1")
    yield Row(VLAN_IN, 100, f"{here},{PRIORITY_TAGGED}", f"{KEEP_PRIORITY},pop_vlan,{untagged}", "VLAN-14")
    yield Row(VLAN_IN, 50, f"{here},{ANY_TAG}", f"{POP_TAG},goto_table:{DISPATCH}", "VLAN-4")


def _client_input(port: ClientPort) -> Iterator[Row]:
    number, here = client_number(port), f"in_port={client_number(port)}"
    if not port.nic.connected:
        yield _drop(PORT_INPUT, 100, here, DropReason.DISCONNECTED, "FWD-17", number)
        return
    if port.nic.blocked:
        yield _drop(PORT_INPUT, 100, here, DropReason.PORT_BLOCKED, "SEC-19", number)
        return
    yield Row(PORT_INPUT, 100, here, f"goto_table:{FORGED}", port.name)
    if port.security.forged_transmits:
        yield Row(FORGED, 50, here, f"goto_table:{BPDU}", "forged transmits: accept")
        return
    yield Row(FORGED, 100, f"{here},dl_src={port.nic.mac}", f"goto_table:{BPDU}", "SEC-7")
    yield _drop(FORGED, 50, here, DropReason.FORGED_TRANSMIT, "SEC-7", number)


def _guest_bpdu(blocked: bool) -> Iterator[Row]:
    for mac in BPDU_MACS if blocked else ():
        yield _drop(BPDU, 100, f"dl_dst={mac}", DropReason.GUEST_BPDU, "FWD-16")
    yield Row(BPDU, 0, "", f"goto_table:{VLAN_IN}")


def _client_vlan_in(port: ClientPort, knobs: Knobs) -> Iterator[Row]:
    here, number = f"in_port={client_number(port)}", client_number(port)
    policy, onward = port.vlan, f"goto_table:{DISPATCH}"
    enter = f"set_field:{policy.vlan:#x}->reg0,{onward}"
    if policy.carries(policy.vlan):
        yield Row(VLAN_IN, 100, f"{here},{UNTAGGED}", enter, str(policy))
        if knobs.prio_tag == "untag":
            yield Row(VLAN_IN, 100, f"{here},{PRIORITY_TAGGED}", f"{KEEP_PRIORITY},pop_vlan,{enter}", "VLAN-14")
    yield _drop(VLAN_IN, 60, f"{here},{PRIORITY_TAGGED}", DropReason.VLAN_MISMATCH, "VLAN-14", number)
    if policy.tagging is Tagging.VGT:
        for match in tag_matches(policy.ranges):
            yield Row(VLAN_IN, 50, f"{here},{match}", f"{POP_TAG},{onward}", "VLAN-8")
    elif policy.tagging is Tagging.EST and knobs.est_guest_tag == "pass":
        yield Row(VLAN_IN, 50, f"{here},{ANY_TAG}", enter, "VLAN-7")
    reason, why = {
        Tagging.VST: (DropReason.DOUBLE_TAG, "VLAN-6"),
        Tagging.EST: (DropReason.VLAN_MISMATCH, "VLAN-7"),
        Tagging.VGT: (DropReason.VLAN_MISMATCH, "VLAN-9"),
    }[policy.tagging]
    yield _drop(VLAN_IN, 10, here, reason, why, number)


def _client_dispatch(port: ClientPort) -> Iterator[Row]:
    number, mac = client_number(port), port.nic.mac
    if not port.nic.connected:
        return
    yield _drop(DISPATCH, 200, f"in_port={number},dl_dst={mac}", DropReason.OWN_PORT, "", number)
    for match in register_matches(policy_ranges(port.vlan)):
        deliver = f"set_field:{number}->reg5,goto_table:{REVERSE}"
        yield Row(DISPATCH, 100, f"{match},dl_dst={mac}", deliver, "FWD-1")
    yield _drop(DISPATCH, 50, f"reg2=1,dl_dst={mac}", DropReason.VLAN_MISMATCH, "VLAN-2", number)


def _group_dispatch(part: HostSwitch) -> Iterator[Row]:
    """Broadcast and multicast: every connected port of the VLAN; table 40 adds the one uplink for a local sender."""
    members = [p for p in part.ports if p.nic.connected]
    cuts = sorted({edge for p in members for low, high in policy_ranges(p.vlan) for edge in (low, high + 1)})
    for low, after in pairwise(cuts):
        copies = [
            f"clone(set_field:{client_number(p)}->reg5,resubmit(,{REVERSE}))" for p in members if p.vlan.carries(low)
        ]
        if copies:
            for match in register_matches(((low, after - 1),)):
                yield Row(DISPATCH, 90, f"{match},{GROUP}", f"{','.join(copies)},goto_table:{TEAMING}", "FWD-6")


def _dispatch_misses() -> Iterator[Row]:
    yield _drop(DISPATCH, 80, f"reg2=1,{GROUP}", DropReason.NO_RECEIVER, "FWD-8")
    yield _drop(DISPATCH, 20, "reg2=1", DropReason.UNKNOWN_UNICAST, "FWD-5")
    yield Row(DISPATCH, 10, "", f"goto_table:{TEAMING}", "FWD-4")
    yield Row(TEAMING, 200, "reg2=1", "drop", "FWD-8: never uplink to uplink")


def _client_teaming(part: HostSwitch, port: ClientPort, state: State, uplinks: Mapping[str, int]) -> Iterator[Row]:
    here, chosen = f"in_port={client_number(port)}", state.uplink_of.get((part.host, port.name))
    if chosen is None:
        yield _drop(TEAMING, 100, here, DropReason.NO_UPLINK, "TEAM-F-7", client_number(port))
    else:
        leave = f"set_field:{uplinks[chosen]}->reg5,goto_table:{VLAN_OUT}"
        yield Row(TEAMING, 100, here, leave, f"TEAM-PID-1: {port.name} on {chosen}")


def _client_reverse(
    part: HostSwitch, port: ClientPort, state: State, uplinks: Mapping[str, int], check: bool
) -> Iterator[Row]:
    number, chosen = client_number(port), state.uplink_of.get((part.host, port.name))
    if port.nic.blocked:
        yield _drop(REVERSE, 200, f"reg5={number:#x}", DropReason.PORT_BLOCKED, "SEC-19", number)
    for name, uplink in uplinks.items():
        if check and name != chosen:
            match = f"reg5={number:#x},in_port={uplink}"
            yield _drop(REVERSE, 100, match, DropReason.REVERSE_PATH, "FWD-11", number)
    yield Row(REVERSE, 50, f"reg5={number:#x}", f"goto_table:{VLAN_OUT}", port.name)


def _client_vlan_out(port: ClientPort) -> Iterator[Row]:
    number = client_number(port)
    if port.vlan.tagging is Tagging.VGT:
        yield from _tagged_out(number)
    else:
        yield Row(VLAN_OUT, 50, f"reg5={number:#x}", f"output:{number}", "VLAN-4")


def _tagged_out(number: int) -> Iterator[Row]:
    yield Row(VLAN_OUT, 100, f"reg5={number:#x},reg0=0", f"output:{number}", "VLAN-1")
    yield Row(VLAN_OUT, 50, f"reg5={number:#x}", f"{PUSH_TAG},output:{number}", "VLAN-3")
