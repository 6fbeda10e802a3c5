"""One host's part of a vSwitch as OpenFlow rows, in pktcap-uw's order of points (docs/switching.md).

     0 PortInput -> 10 forged transmits -> 15 guest BPDU -> 20 VLAN in -> 22 MAC learning -> 25 mirroring in
    -> 28 promiscuous copies -> 30 dispatch (-> 35 learned MACs -> 36 learned or flooded)
    -> 40 teaming (-> 41 to 46 hash) -> 60 VLAN out (uplink)
    -> 50 reverse teaming (-> 51 by hash) -> 52 MAC changes -> 55 mirroring out -> 60 VLAN out (client port)

Inside, a frame has no outer tag: reg0 is its VLAN (0: untagged), reg1 its 802.1p priority, reg2 is 1 when it came
in on an uplink, reg5 the port it is to leave by. No row learns, except where a port has MAC learning, and none floods:
the switch knows its own ports. Every drop is a row of its own whose cookie names the reason and the statement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lab.frame import BPDU_MACS, BROADCAST, CDP_MAC, LACP_ETHERTYPE, LLDP_MAC, DropReason
from lab.model import HostSwitch, Knobs, Netflow, PvlanMap, Tagging
from lab.plan import hashing, learning, mirroring, netflow
from lab.plan.clients import Client, allowed_source, blocks_of, client_number, clients_of, kept_apart
from lab.plan.hashing import Recipe
from lab.plan.tables import (
    ADAPTER,
    BPDU,
    DISPATCH,
    FORGED,
    GROUP,
    HASHING,
    KEEP_PRIORITY,
    LEARN,
    LEARNED_OUT,
    MIRROR_IN,
    MIRROR_OUT,
    POP_TAG,
    PORT_INPUT,
    PROMISCUOUS,
    PUSH_TAG,
    REVERSE,
    REVERSE_HASHED,
    TABLE_NAMES,
    TEAMING,
    UNICAST,
    VLAN_IN,
    VLAN_OUT,
    copies,
    drop,
)
from lab.plan.types import Row
from lab.plan.vlans import ANY_TAG, PRIORITY_TAGGED, UNTAGGED, register_matches, tag_matches
from lab.state import State

__all__ = ["TABLE_NAMES", "client_number", "rows_of"]


def rows_of(part: HostSwitch, state: State, knobs: Knobs, exported: Netflow | None = None) -> tuple[Row, ...]:
    """Every row of the bridge, in table and priority order. `exported`: the switch's NetFlow, where it is on here."""
    clients = clients_of(part, state, knobs)
    connected = [client for client in clients if client.connected]
    hashed = [client for client in clients if client.recipe and len(client.team) > 1]
    recipes = {r: n for n, r in enumerate(sorted({c.recipe for c in hashed if c.recipe}), start=1)}
    uplinks = range(1, len(part.uplinks) + 1)
    rows: list[Row] = []
    for number, name in enumerate(part.uplinks, start=1):
        rows += _uplink_input(number, knobs)
        rows += _lag_member(number, name, part, state)
        rows += _tagged_out(number)
    for client in clients:
        rows += _client_input(client, knobs)
        rows += _client_vlan_in(client, knobs)
        rows += _client_teaming(part, client, recipes)
        rows += _client_out(client, uplinks, knobs)
        rows += _client_vlan_out(client)
        rows += [] if client.refused else netflow.rows_of(exported, client.port)
    rows += _guest_bpdu(knobs.block_guest_bpdu)
    rows += hashing.rows_of(recipes, (len(client.team) for client in hashed), HASHING)
    rows += learning.rows_of(clients, connected, part.pvlans)
    rows += mirroring.rows_of(part, clients, state)
    rows += _promiscuous(connected)
    rows += _unicast_dispatch(connected, part.pvlans)
    rows += _other_vlans(connected)
    rows += _group_dispatch(connected)
    rows += _dispatch_misses(any(client.port.mac_learning for client in connected))
    return tuple(sorted(rows, key=lambda r: (r.table, -r.priority, r.match)))


# -- in


def _uplink_input(number: int, knobs: Knobs) -> Iterator[Row]:
    here = f"in_port={number}"
    for mac in (CDP_MAC, LLDP_MAC):
        yield drop(PORT_INPUT, 110, f"{here},dl_dst={mac}", DropReason.DISCOVERY, "MIR-13", number)
    beacon = f"{here},dl_type={knobs.beacon_ethertype:#06x}"
    yield drop(PORT_INPUT, 105, beacon, DropReason.BEACON, "BCN-10", number)
    yield Row(PORT_INPUT, 100, here, f"set_field:1->reg2,goto_table:{VLAN_IN}", "uplink")
    untagged = f"set_field:0->reg0,goto_table:{MIRROR_IN}"
    yield Row(VLAN_IN, 100, f"{here},{UNTAGGED}", untagged, "VLAN-1")
    yield Row(VLAN_IN, 100, f"{here},{PRIORITY_TAGGED}", f"{KEEP_PRIORITY},pop_vlan,{untagged}", "VLAN-14")
    yield Row(VLAN_IN, 50, f"{here},{ANY_TAG}", f"{POP_TAG},goto_table:{MIRROR_IN}", "VLAN-4")


def _lag_member(number: int, name: str, part: HostSwitch, state: State) -> Iterator[Row]:
    if name not in part.lag_members:
        return
    here = f"in_port={number}"
    yield drop(PORT_INPUT, 130, f"{here},dl_type={LACP_ETHERTYPE:#06x}", DropReason.LACPDU, "LACP-3", number)
    if (part.host, name) not in state.lag_members:
        yield drop(PORT_INPUT, 120, here, DropReason.LAG_MEMBER, "LACP-2", number)


def _client_input(client: Client, knobs: Knobs) -> Iterator[Row]:
    number, here, nic = client.number, client.here, client.port.nic
    for refused, reason, why in (
        (not nic.connected, DropReason.DISCONNECTED, "FWD-17"),
        (nic.blocked, DropReason.PORT_BLOCKED, "SEC-19"),
        (client.mirror_only, DropReason.MIRROR_DESTINATION, "MIR-4"),
    ):
        if refused:
            yield drop(PORT_INPUT, 100, here, reason, why, number)
            return
    yield Row(PORT_INPUT, 100, here, f"goto_table:{FORGED}", client.port.name)
    if client.port.security.forged_transmits:
        yield Row(FORGED, 50, here, f"goto_table:{BPDU}", "forged transmits: accept")
        return
    allowed = allowed_source(client, knobs)
    yield Row(FORGED, 100, f"{here},dl_src={allowed}", f"goto_table:{BPDU}", "SEC-8")
    yield drop(FORGED, 50, here, DropReason.FORGED_TRANSMIT, "SEC-7", number)


def _guest_bpdu(blocked: bool) -> Iterator[Row]:
    for mac in BPDU_MACS if blocked else ():
        yield drop(BPDU, 100, f"dl_dst={mac}", DropReason.GUEST_BPDU, "FWD-16")
    yield Row(BPDU, 0, "", f"goto_table:{VLAN_IN}")


def _client_vlan_in(client: Client, knobs: Knobs) -> Iterator[Row]:
    here, number, policy = client.here, client.number, client.port.vlan
    onward = f"goto_table:{LEARN if client.port.mac_learning else MIRROR_IN}"
    enter = f"set_field:{policy.vlan:#x}->reg0,{onward}"
    if policy.carries(policy.vlan):
        yield Row(VLAN_IN, 100, f"{here},{UNTAGGED}", enter, str(policy))
        if knobs.prio_tag == "untag":
            yield Row(VLAN_IN, 100, f"{here},{PRIORITY_TAGGED}", f"{KEEP_PRIORITY},pop_vlan,{enter}", "VLAN-14")
    yield drop(VLAN_IN, 60, f"{here},{PRIORITY_TAGGED}", DropReason.VLAN_MISMATCH, "VLAN-14", number)
    if policy.tagging is Tagging.VGT:
        for match in tag_matches(policy.ranges):
            yield Row(VLAN_IN, 50, f"{here},{match}", f"{POP_TAG},{onward}", "VLAN-8")
    elif policy.tagging is Tagging.EST and knobs.est_guest_tag == "pass":
        yield Row(VLAN_IN, 50, f"{here},{ANY_TAG}", enter, "VLAN-7")
    reason, why = {
        Tagging.VST: (DropReason.DOUBLE_TAG, "VLAN-6"),
        Tagging.PVLAN: (DropReason.DOUBLE_TAG, "PVL-6"),
        Tagging.EST: (DropReason.VLAN_MISMATCH, "VLAN-7"),
        Tagging.VGT: (DropReason.VLAN_MISMATCH, "VLAN-9"),
    }[policy.tagging]
    yield drop(VLAN_IN, 10, here, reason, why, number)


# -- lookup


def _promiscuous(connected: Sequence[Client]) -> Iterator[Row]:
    """Copies of every unicast for promiscuous ports, except for those that lookup delivers it to."""
    for ranges, members in blocks_of([client for client in connected if client.promiscuous]):
        for match in register_matches(ranges):
            everyone = f"{copies(members)},goto_table:{DISPATCH}"
            yield Row(PROMISCUOUS, 50, f"{match},{UNICAST}", everyone, "SEC-2")
            for client in connected:
                if client.mac in {member.mac for member in members if member is not client}:
                    own = f"{match},{client.here},dl_dst={client.mac}"
                    yield Row(PROMISCUOUS, 70, own, everyone, "SEC-2: lookup ends at the sender's own MAC")
            for mac in sorted({client.mac for client in members}):
                others = [client for client in members if client.mac != mac]
                onward = ",".join([*([copies(others)] if others else []), f"goto_table:{DISPATCH}"])
                yield Row(PROMISCUOUS, 60, f"{match},dl_dst={mac}", onward, "SEC-2: it is for one of them")
    yield Row(PROMISCUOUS, 0, "", f"goto_table:{DISPATCH}")


def _unicast_dispatch(connected: Sequence[Client], pvlans: PvlanMap) -> Iterator[Row]:
    owners: dict[str, list[Client]] = defaultdict(list)
    for client in connected:
        owners[client.mac].append(client)
        yield drop(DISPATCH, 200, f"{client.here},dl_dst={client.mac}", DropReason.OWN_PORT, "FWD-1", client.number)
    for mac, ports in owners.items():
        for ranges, members in blocks_of(ports):
            for match in register_matches(ranges):
                yield Row(DISPATCH, 100, f"{match},dl_dst={mac}", _deliver(members), "FWD-1")
        yield from _isolated(mac, ports, pvlans)


def _other_vlans(connected: Sequence[Client]) -> Iterator[Row]:
    """From an uplink, in a VLAN that no owner of the MAC accepts: it ends at the first, unless the MAC is learned."""
    first = {client.mac: client for client in reversed(connected)}
    table, priority = (LEARNED_OUT, 60) if any(client.port.mac_learning for client in connected) else (DISPATCH, 50)
    for mac, client in first.items():
        why = {Tagging.EST: "VLAN-2", Tagging.VGT: "VLAN-9"}.get(client.port.vlan.tagging, "VLAN-4")
        yield drop(table, priority, f"reg2=1,dl_dst={mac}", DropReason.VLAN_MISMATCH, why, client.number)


def _deliver(members: Sequence[Client]) -> str:
    if len(members) == 1:
        return f"set_field:{members[0].number}->reg5,goto_table:{REVERSE}"
    return copies(members)


def _isolated(mac: str, owners: Sequence[Client], pvlans: PvlanMap) -> Iterator[Row]:
    """In the owner's private VLAN, but not to be heard by it."""
    told: set[int] = set()
    for client in owners:
        for vlan, why in kept_apart(client, pvlans):
            if vlan not in told:
                told.add(vlan)
                match = f"reg0={vlan:#x},dl_dst={mac}"
                yield drop(DISPATCH, 70, f"reg2=1,{match}", DropReason.PVLAN_ISOLATED, "PVL-7", client.number)
                yield drop(DISPATCH, 60, match, DropReason.PVLAN_ISOLATED, why, client.number)


def _group_dispatch(connected: Sequence[Client]) -> Iterator[Row]:
    """Broadcast to every port of the VLAN, multicast to those that asked; table 40 adds a local sender's uplink."""
    yield from _to_group(95, f"dl_dst={BROADCAST}", connected, "FWD-6")
    for group in sorted({group for client in connected for group in client.groups}):
        yield from _to_group(92, f"dl_dst={group}", [c for c in connected if c.wants(group)], "FWD-19")
    yield from _to_group(90, GROUP, [c for c in connected if c.wants("")], "FWD-19")


def _to_group(priority: int, group: str, members: Sequence[Client], why: str) -> Iterator[Row]:
    for ranges, takers in blocks_of(members):
        for match in register_matches(ranges):
            yield Row(DISPATCH, priority, f"{match},{group}", f"{copies(takers)},goto_table:{TEAMING}", why)


def _dispatch_misses(learning_ports: bool) -> Iterator[Row]:
    yield drop(DISPATCH, 85, f"reg2=1,dl_dst={BROADCAST}", DropReason.NO_RECEIVER, "FWD-7")
    yield drop(DISPATCH, 80, f"reg2=1,{GROUP}", DropReason.NO_RECEIVER, "FWD-19")
    if learning_ports:
        yield Row(DISPATCH, 15, UNICAST, f"resubmit(,{learning.LEARNED}),goto_table:{LEARNED_OUT}", "SEC-15")
    else:
        yield drop(DISPATCH, 20, "reg2=1", DropReason.UNKNOWN_UNICAST, "FWD-5")
    yield Row(DISPATCH, 10, "", f"goto_table:{TEAMING}", "FWD-4")
    yield Row(TEAMING, 200, "reg2=1", "drop", "FWD-8: never uplink to uplink")


# -- out


def _client_teaming(part: HostSwitch, client: Client, recipes: Mapping[Recipe, int]) -> Iterator[Row]:
    here, team, port = client.here, client.team, client.port
    mark = "" if port.nic.priority is None else f"set_field:{port.nic.priority}->reg1,"
    names = [part.uplinks[number - 1] for number in team]
    if not team:
        yield drop(TEAMING, 100, here, DropReason.NO_UPLINK, "TEAM-F-7", client.number)
    elif len(team) == 1:
        why = {"failover_explicit": "TEAM-EXP-2" if names[0] in port.standby else "TEAM-EXP-1"}
        why |= {"loadbalance_loadbased": "LBT-1", "loadbalance_srcid": "TEAM-PID-1"}
        said = client.recipe.why if client.recipe else why[port.policy]
        leave = f"{mark}set_field:{team[0]}->reg5,goto_table:{VLAN_OUT}"
        yield Row(TEAMING, 100, here, leave, f"{said}: {port.name} on {names[0]}")
    elif client.recipe is None:
        each = ",".join(f"clone({mark}set_field:{number}->reg5,resubmit(,{VLAN_OUT}))" for number in team)
        yield Row(TEAMING, 100, here, each, f"BCN-7: {port.name} on all of {', '.join(names)}")
    else:
        chosen = hashing.choose(client.recipe, recipes, len(team), port.number, HASHING)
        yield Row(TEAMING, 100, here, chosen, f"{client.recipe.why}: {port.name} on one of {', '.join(names)}")
        for place, number in enumerate(team):
            leave = f"{mark}set_field:{number}->reg5,goto_table:{VLAN_OUT}"
            yield Row(HASHING.spread, 50, f"{here},reg10={place}", leave, f"{port.name} on {names[place]}")


def _client_out(client: Client, uplinks: Iterable[int], knobs: Knobs) -> Iterator[Row]:
    number = client.number
    out = f"reg5={number:#x}"
    yield Row(REVERSE, 400, f"{out},{client.here}", "drop", "its own frame")
    if client.port.nic.blocked:
        yield drop(REVERSE, 300, out, DropReason.PORT_BLOCKED, "SEC-19", number)
    elif client.mirror_only:
        yield drop(REVERSE, 250, out, DropReason.MIRROR_DESTINATION, "MIR-4", number)
    if _checks_path(client, knobs):
        yield from _reverse_path(client, uplinks)
    yield Row(REVERSE, 50, out, f"goto_table:{ADAPTER}", client.port.name)
    if client.refused:
        yield drop(ADAPTER, 100, out, DropReason.MAC_CHANGE, "SEC-9", number)
    else:
        yield Row(ADAPTER, 50, out, f"goto_table:{MIRROR_OUT}", client.port.name)


def _reverse_path(client: Client, uplinks: Iterable[int]) -> Iterator[Row]:
    """What came in by an uplink that the port does not send on; by source MAC, one that its destination does not."""
    out, team, number = f"reg5={client.number:#x}", client.team, client.number
    why = "FWD-12" if client.recipe else "FWD-11"
    for uplink in uplinks:
        if uplink not in team:
            yield drop(REVERSE, 120, f"{out},in_port={uplink}", DropReason.REVERSE_PATH, why, number)
    if client.recipe != hashing.SOURCE_MAC or len(team) < 2:
        return
    own = team[int(client.mac[-2:], 16) % len(team)]
    for uplink in team:
        if uplink != own:
            yield drop(REVERSE, 110, f"{out},in_port={uplink},{GROUP}", DropReason.REVERSE_PATH, why, number)
    octet = "set_field:0->reg8,move:NXM_OF_ETH_DST[0..7]->NXM_NX_REG8[0..7]"
    checked = f"{octet},{hashing.divided(len(team), HASHING)},goto_table:{REVERSE_HASHED}"
    yield Row(REVERSE, 100, f"{out},reg2=1,{UNICAST}", checked, "TEAM-MAC-2")
    for place, uplink in enumerate(team):
        match = f"{out},in_port={uplink},reg10={place}"
        yield Row(REVERSE_HASHED, 100, match, f"goto_table:{ADAPTER}", client.port.name)
    yield drop(REVERSE_HASHED, 50, out, DropReason.REVERSE_PATH, why, number)


def _checks_path(client: Client, knobs: Knobs) -> bool:
    return knobs.reverse_path and (knobs.reverse_path_promisc or not client.promiscuous)


def _client_vlan_out(client: Client) -> Iterator[Row]:
    if client.port.vlan.tagging is Tagging.VGT:
        yield from _tagged_out(client.number)
    else:
        yield Row(VLAN_OUT, 50, f"reg5={client.number:#x}", f"output:{client.number}", "VLAN-4")


def _tagged_out(number: int) -> Iterator[Row]:
    yield Row(VLAN_OUT, 100, f"reg5={number:#x},reg0=0", f"output:{number}", "VLAN-1")
    yield Row(VLAN_OUT, 50, f"reg5={number:#x}", f"{PUSH_TAG},output:{number}", "VLAN-3")
