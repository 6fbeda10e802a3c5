"""A physical switch as OpenFlow rows (docs/switching.md).

     0 PSwitchRcv -> 10 VLAN in (-> 15 private VLAN) (-> 20 port security -> 22 -> 23)
    -> 30 source lookup -> 31 refreshing (-> 32 learning) -> 40 lookup -> 45 learned port, or 50 flood
    (-> 60 port channel (-> 61 to 66 hash) -> 67 out by a member)

Inside, a frame has no outer tag: reg0 is its VLAN, reg1 its 802.1p priority, reg5 the port that its destination is
learned on, reg6 the one that its source is (0: on none). The CAM is table 35, what port security has tied to ports
table 21; `learn()` fills both. A PVLAN-aware switch learns in the primary VLAN, which is reg4 there. A port channel is
one port to learning and lookup, numbered from 0x8000; where a switch has one, reg15 is the port, or channel, that the
frame came in by, and reg5 and reg6 may be channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lab.frame import BPDU_MACS, CDP_MAC, LACP_ETHERTYPE, LLDP_MAC, LOOP_ETHERTYPE, DropReason
from lab.model import (
    ALL_VLANS,
    VLAN_MAX,
    PhysicalPort,
    PhysicalSwitch,
    PvlanKind,
    PvlanMap,
    Ranges,
    Topology,
)
from lab.plan import arping, modules, stretching
from lab.plan.clients import domain
from lab.plan.hashing import Tables, channel_hash, choose
from lab.plan.hashing import rows_of as hash_rows
from lab.plan.names import box_mac
from lab.plan.pswitch_ports import SwitchPort, channels_of, port_of
from lab.plan.stretching import Members
from lab.plan.tables import GROUP, KEEP_PRIORITY, POP_TAG, PUSH_TAG, drop
from lab.plan.types import CHANNELS_FROM, Row
from lab.plan.vlans import ANY_TAG, PRIORITY_TAGGED, RESERVED, UNTAGGED, register_matches, tag_matches
from lab.state import State

RECEIVE, VLAN_IN, PRIVATE, SECURITY, SECURED, OWNER, LIMIT = 0, 10, 15, 20, 21, 22, 23
SOURCE, LEARN, NEW, PROBE, LEARNED, LOOKUP, KNOWN, FLOOD = 30, 31, 32, 33, 35, 40, 45, 50
CHANNEL, LEAVE = 60, 67
HASHING = Tables(hash=61, xor=62, step=63, modulo=64, divide=65, spread=66)
TABLE_NAMES = {
    RECEIVE: "PSwitchRcv",
    VLAN_IN: "VLAN in",
    PRIVATE: "private VLAN",
    SECURITY: "port security",
    SECURED: "secured MACs",
    OWNER: "port that has secured it",
    LIMIT: "port security limit",
    SOURCE: "source lookup",
    LEARN: "refreshing",
    NEW: "learning",
    PROBE: "without room",
    LEARNED: "learned MACs",
    LOOKUP: "lookup",
    arping.KNOWN: "ARP of other sites",
    arping.ANSWER: "ARP answered",
    KNOWN: "learned port",
    FLOOD: "flood",
    CHANNEL: "port channel",
    **HASHING.names,
    LEAVE: "out by a member",
}
AGEING = 300
"""Seconds until an entry of the CAM that no frame refreshed is forgotten."""

_COOKIE_LEARNED = 0x1EA << 32
_COOKIE_SECURED = 0x5EC << 32
_GROUP_SOURCE = "dl_src=01:00:00:00:00:00/01:00:00:00:00:00"
_DST, _SRC, _KEPT = "NXM_OF_ETH_DST[]", "NXM_OF_ETH_SRC[]", "OXM_OF_PKT_REG4[0..47]"


def rows_of(
    switch: PhysicalSwitch, ports: Mapping[int, tuple[str, PhysicalPort]], edges: frozenset[str], state: State
) -> tuple[Row, ...]:
    """`ports`: OpenFlow number -> (label, configuration); `edges`: labels of those to hosts and machines."""
    all_ports = [port_of(switch, number, *named, edges, state) for number, named in ports.items()]
    channels = channels_of(all_ports)
    rows = [row for port in all_ports for row in (*_receive(switch, port, channels), *_vlan_in(switch, port))]
    rows += _private(switch)
    rows += _security(switch, all_ports)
    ends = [port for port in all_ports if port.config.channel is None] + channels
    rows += _learning(switch, ends, channels)
    rows += _lookup()
    live = [end for end in ends if end.live]
    for end in live:
        rows += _known(end, switch.pvlans)
    rows += _flood(live)
    rows += stretching.rows_of(live, _blocks(live), _outputs, KNOWN, FLOOD)
    rows += arping.rows_of(live, box_mac(switch.name), LOOKUP, LEARNED, KNOWN, FLOOD)
    rows += _channels_out(switch, [channel for channel in channels if channel.live])
    return tuple(sorted(rows, key=lambda r: (r.table, -r.priority, r.match)))


def edges_of(topology: Topology, switch: str) -> frozenset[str]:
    """Labels of the pSwitch's ports to hosts, machines and a chassis' modules: not those to other pSwitches."""
    pnics = (pnic for host in topology.hosts.values() for pnic in host.pnics.values())
    machines = topology.machines.values()
    return frozenset(
        {p.far_port for p in pnics if p.switch == switch}
        | {m.name for m in machines if m.switch == switch}
        | {c.port_at(switch) for c in topology.cables if c.uplink and c.ends[1] == switch}
    )


def columns_of(switch: PhysicalSwitch, number: int, edge: bool) -> tuple[tuple[str, str], ...]:
    """The OVSDB Port columns of the port with this OpenFlow number. VLANs are the rows' work."""
    if not switch.stp:
        return ()
    return (("other_config:rstp-port-num", str(number)), ("other_config:rstp-port-admin-edge", str(edge).lower()))


def columns_of_bridge(switch: PhysicalSwitch) -> tuple[tuple[str, str], ...]:
    """The OVSDB Bridge columns. The CAM has as many entries as its table holds rows: new ones are refused then, and
    known ones still move. The address makes the same root of the spanning tree every time."""
    room = (f"flow_tables:{LEARNED}", str(switch.mac_table))
    if not switch.stp:
        return (room, ("rstp_enable", "false"))
    return (room, ("rstp_enable", "true"), ("other_config:rstp-address", f'"{box_mac(switch.name)}"'))


# -- in


def _receive(switch: PhysicalSwitch, port: SwitchPort, channels: Iterable[SwitchPort]) -> Iterator[Row]:
    reason, why = port.shut or (None, "")
    if port.config.lacp and reason in (None, DropReason.PSWITCH_CHANNEL):
        match = f"{port.here},dl_type={LACP_ETHERTYPE:#06x}"
        yield drop(RECEIVE, 500, match, DropReason.LACPDU, "LACP-3", port.number)
    if reason is not None:
        yield drop(RECEIVE, 400, port.here, reason, why, port.number)
        return
    for mac in BPDU_MACS if switch.bpdu_guard and port.edge else ():
        yield drop(RECEIVE, 300, f"{port.here},dl_dst={mac}", DropReason.PSWITCH_BPDU_GUARD, "ATK-8", port.number)
    if switch.stp:  # its spanning tree takes them, whatever the rows say
        yield drop(
            RECEIVE, 250, f"{port.here},dl_dst={BPDU_MACS[0]}", DropReason.PSWITCH_DISCOVERY, "BPDU", port.number
        )
    for mac, spoken in ((CDP_MAC, switch.cdp), (LLDP_MAC, switch.lldp)):
        if spoken:
            yield drop(RECEIVE, 200, f"{port.here},dl_dst={mac}", DropReason.PSWITCH_DISCOVERY, "MIR-13", port.number)
    if port.edge and switch.module is not None and switch.module.loop_protection:
        match = f"{port.here},dl_type={LOOP_ETHERTYPE:#06x}"
        yield drop(RECEIVE, 150, match, DropReason.PSWITCH_DISCOVERY, "PVN-8", port.number)
    came_by = next((channel.number for channel in channels if port.number in channel.members), port.number)
    kept = f"set_field:{came_by:#x}->reg15," if channels else ""
    yield Row(RECEIVE, 100, port.here, f"{kept}goto_table:{VLAN_IN}")


def _vlan_in(switch: PhysicalSwitch, port: SwitchPort) -> Iterator[Row]:
    here, number, config = port.here, port.number, port.config
    unknown = "PVN-10" if switch.module else "VLAN-13"
    yield from modules.standby(here, number, port.waits, VLAN_IN)
    onward = f"goto_table:{PRIVATE if switch.pvlans else SECURITY if switch.port_security else SOURCE}"
    if config.untagged is None:
        for match in (UNTAGGED, PRIORITY_TAGGED):
            yield drop(VLAN_IN, 100, f"{here},{match}", DropReason.PSWITCH_NO_NATIVE, "VLAN-16", number)
    else:
        enter = f"set_field:{config.untagged:#x}->reg0,{onward}"
        why = f"VLAN {config.untagged}"
        yield Row(VLAN_IN, 100, f"{here},{UNTAGGED}", enter, why)
        yield Row(VLAN_IN, 100, f"{here},{PRIORITY_TAGGED}", f"{KEEP_PRIORITY},pop_vlan,{enter}", why)
    if config.access is not None:
        yield drop(VLAN_IN, 10, here, DropReason.PSWITCH_ACCESS_TAGGED, "VLAN-16", number)
        return
    yield drop(VLAN_IN, 60, f"{here},{RESERVED}", DropReason.PSWITCH_VLAN, unknown, number)
    native = () if config.native is None else ((config.native, config.native),)
    for match in [ANY_TAG] if config.trunk == ALL_VLANS else sorted({*tag_matches((*config.trunk, *native))}):
        yield Row(VLAN_IN, 50, f"{here},{match}", f"{POP_TAG},{onward}", "VLAN-16")
    yield drop(VLAN_IN, 10, here, DropReason.PSWITCH_VLAN, unknown, number)


def _private(switch: PhysicalSwitch) -> Iterator[Row]:
    """The primary VLAN, in which a PVLAN-aware switch learns and looks up."""
    onward = f"goto_table:{SECURITY if switch.port_security else SOURCE}"
    for vlan, entry in switch.pvlans.items():
        if vlan != entry.primary:
            yield Row(PRIVATE, 50, f"reg0={vlan:#x}", f"set_field:{entry.primary:#x}->reg4,{onward}", str(entry))
    if switch.pvlans:
        yield Row(PRIVATE, 0, "", f"move:NXM_NX_REG0[]->NXM_NX_REG4[],{onward}")


def _vlan_register(switch: PhysicalSwitch) -> str:
    """Where the VLAN is in which the switch learns."""
    return "NXM_NX_REG4[]" if switch.pvlans else "NXM_NX_REG0[]"


def _security(switch: PhysicalSwitch, ports: Iterable[SwitchPort]) -> Iterator[Row]:
    if switch.port_security is None:
        return
    onward = f"goto_table:{SOURCE}"
    yield Row(SECURITY, 100, _GROUP_SOURCE, onward, "no source of one adapter")
    yield Row(SECURITY, 0, "", onward, "to another pSwitch")
    for port in ports:
        here, number = port.here, port.number
        if not port.edge or port.shut:
            continue
        learn = (
            f"learn(table={SECURED},priority=50,cookie={_COOKIE_SECURED | number:#x},limit={switch.port_security},"
            f"result_dst=NXM_NX_REG3[0],{_vlan_register(switch)},{_SRC},load:{number:#x}->NXM_NX_REG6[])"
        )
        yield Row(SECURITY, 50, here, f"resubmit(,{SECURED}),goto_table:{OWNER}")
        yield Row(OWNER, 100, f"{here},reg6={number:#x}", onward, "its own MAC")
        yield Row(OWNER, 50, f"{here},reg6=0", f"{learn},goto_table:{LIMIT}")
        yield drop(OWNER, 10, here, DropReason.PSWITCH_PORT_SECURITY, "another port's MAC", number)
        yield drop(LIMIT, 50, f"{here},reg3=0", DropReason.PSWITCH_PORT_SECURITY, "one MAC too many", number)
        yield Row(LIMIT, 10, here, onward)


def _learning(switch: PhysicalSwitch, ends: Iterable[SwitchPort], channels: Sequence[SwitchPort]) -> Iterator[Row]:
    """The CAM is looked up by destination, so for the source's own entry the two change places for a moment.

    Once the tables change, Open vSwitch goes through these rows again for each flow that it forwards by itself. There
    is no frame then, but those of the last half second are still to be counted, and their `learn()` would undo a move.
    So only a frame that is here now learns or moves a MAC: `learn()` into table 33, which has no room, fails for a
    frame (reg7 is 0), and is taken for a success where there is none.
    """
    onward = f"goto_table:{LOOKUP}"
    yield Row(SOURCE, 100, _GROUP_SOURCE, onward, "no source of one adapter")
    swap = f"move:{_DST}->{_KEPT},move:{_SRC}->{_DST},resubmit(,{LEARNED}),move:{_KEPT}->{_DST}"
    yield Row(SOURCE, 50, "", f"{swap},move:NXM_NX_REG5[]->NXM_NX_REG6[],set_field:0->reg5,goto_table:{LEARN}")
    came_by = "NXM_NX_REG15[0..15]" if channels else "NXM_OF_IN_PORT[]"
    for end in ends:
        refreshed = _entry(switch, came_by, "limit=1,")
        match = f"{end.here},reg6={end.number:#x}"
        yield Row(LEARN, 50, match, f"{refreshed},{onward}", "refreshed; never made: there is one")
    probe = f"learn(table={PROBE},priority=1,limit=1,result_dst=NXM_NX_REG7[0],{_SRC})"
    yield Row(LEARN, 10, "", f"{probe},goto_table:{NEW}")
    yield Row(PROBE, 0, "", "drop", "takes the room")
    yield Row(NEW, 50, "reg7=1", onward, "no frame")
    yield Row(NEW, 10, "", f"{_entry(switch, came_by)},{onward}", "ATK-7: new, where the table has room; or moved")


def _entry(switch: PhysicalSwitch, came_by: str, limit: str = "") -> str:
    return (
        f"learn(table={LEARNED},priority=50,hard_timeout={AGEING},cookie={_COOKIE_LEARNED:#x},{limit}"
        f"{_vlan_register(switch)},{_DST}={_SRC},load:{came_by}->NXM_NX_REG5[0..15])"
    )


# -- out


def _lookup() -> Iterator[Row]:
    yield Row(LOOKUP, 100, GROUP, f"goto_table:{FLOOD}", "broadcast, multicast")
    yield Row(LOOKUP, 50, "", f"resubmit(,{LEARNED}),goto_table:{KNOWN}")
    yield Row(KNOWN, 0, "", f"goto_table:{FLOOD}", "unknown, or learned on a port that is down")


def _known(port: SwitchPort, pvlans: PvlanMap) -> Iterator[Row]:
    number = port.number
    out = f"reg5={number:#x}"
    for one in port.inputs:
        yield drop(KNOWN, 200, f"{out},in_port={one}", DropReason.PSWITCH_SAME_PORT, "", one)
    yield from _isolated(port, pvlans)
    trunk = port.config.access is None
    plain = f"goto_table:{CHANNEL}" if port.members else f"output:{number}"
    if port.config.native is not None and trunk:
        yield Row(KNOWN, 100, f"{out},reg0={port.config.native:#x}", plain, "native VLAN")
    leave, why = (f"{PUSH_TAG},{plain}", "trunk") if trunk and not port.members else (plain, "access")
    why = "port channel" if port.members else why
    # A VLAN that the port has left since it was learned there is flooded.
    for vlans in [""] if port.hears == ALL_VLANS else sorted({*register_matches(port.hears)}):
        yield Row(KNOWN, 50, f"{out},{vlans}".rstrip(","), leave, why)


def _isolated(port: SwitchPort, pvlans: PvlanMap) -> Iterator[Row]:
    """Learned there in the primary VLAN, but not to be heard there in the VLAN that the frame is in."""
    heard = {vlan for vlan in pvlans if any(low <= vlan <= high for low, high, _ in port.spans())}
    primaries = {pvlans[vlan].primary for vlan in heard}
    for vlan in sorted(vlan for primary in primaries for vlan in domain(primary, pvlans) - heard):
        kinds = {port.own.kind if port.own else None, pvlans[vlan].kind}
        why = "PVL-3" if len(kinds) == 2 else "PVL-2" if PvlanKind.ISOLATED in kinds else "PVL-4"
        match = f"reg5={port.number:#x},reg0={vlan:#x}"
        yield drop(KNOWN, 150, match, DropReason.PVLAN_ISOLATED, why if port.own else "PVL-8", port.number)


def _flood(live: Iterable[SwitchPort]) -> Iterator[Row]:
    """Open vSwitch never sends a frame back to the port that it came from."""
    live = list(live)
    blocks = _blocks(live)
    inputs = {end.number: end.inputs for end in live}
    size = {members: sum(high - low + 1 for low, high in ranges) for members, ranges in blocks.items()}
    # Where every VLAN has a port, the widest block needs no matches: it is what the others leave.
    widest = max(blocks, key=size.__getitem__) if sum(size.values()) == VLAN_MAX else None
    for members, ranges in blocks.items():
        if members == widest:
            yield from _flood_to(members, inputs, "", 30)
        else:
            for match in register_matches(ranges):
                yield from _flood_to(members, inputs, match, 50)
    yield drop(FLOOD, 0, "", DropReason.PSWITCH_NO_RECEIVER, "")


def _outputs(members: Members) -> str:
    channels = [number for number, _ in members if number >= CHANNELS_FROM]
    hashed = [f"clone(set_field:{number:#x}->reg5,resubmit(,{CHANNEL}))" for number in channels]
    plain = [f"output:{number}" for number, tagged in members if not tagged and number not in channels]
    tagged = [f"output:{number}" for number, tagged in members if tagged and number not in channels]
    return ",".join([*hashed, *plain, *([PUSH_TAG] if tagged else []), *tagged])


def _flood_to(members: Members, inputs: Mapping[int, tuple[int, ...]], match: str, priority: int) -> Iterator[Row]:
    yield Row(FLOOD, priority, match, _outputs(members), "VLAN-16")
    if len(members) == 1:
        for only in inputs[members[0][0]]:
            alone = f"in_port={only},{match}".rstrip(",")
            yield drop(FLOOD, priority + 10, alone, DropReason.PSWITCH_NO_RECEIVER, "its only port", only)


def _channels_out(switch: PhysicalSwitch, live: Sequence[SwitchPort]) -> Iterator[Row]:
    """A frame for a channel (reg5) leaves by one member (reg6), and not if it came in by one."""
    recipe = channel_hash(switch.channel_hash)
    recipes = {recipe: 1}
    counts = [len(channel.forwarding) for channel in live if len(channel.forwarding) > 1]
    for channel in live:
        number, members = channel.number, channel.forwarding
        out = f"reg5={number:#x}"
        yield Row(CHANNEL, 200, f"{out},reg15={number:#x}", "drop", "never back into the channel")
        if len(members) == 1:
            yield Row(CHANNEL, 100, out, f"set_field:{members[0]}->reg6,goto_table:{LEAVE}", "its only member")
        else:
            yield Row(CHANNEL, 100, out, choose(recipe, recipes, len(members), 0, HASHING), switch.channel_hash)
            for place, member in enumerate(members):
                chosen = f"set_field:{member}->reg6,goto_table:{LEAVE}"
                yield Row(HASHING.spread, 50, f"{out},reg10={place}", chosen, f"member {place}")
        leave = "output:NXM_NX_REG6[]"
        if channel.config.access is not None:
            yield Row(LEAVE, 50, out, leave, "access")
            continue
        if channel.config.native is not None:
            yield Row(LEAVE, 100, f"{out},reg0={channel.config.native:#x}", leave, "native VLAN")
        yield Row(LEAVE, 50, out, f"{PUSH_TAG},{leave}", "trunk")
    if counts:
        yield from hash_rows(recipes, counts, HASHING)


def _blocks(ports: Iterable[SwitchPort]) -> dict[Members, Ranges]:
    """Those that hear them -> VLAN ranges; ranges that nobody hears are left out."""
    spans = [(low, high + 1, (port.number, tagged)) for port in ports for low, high, tagged in port.spans()]
    cuts = sorted({edge for low, after, _ in spans for edge in (low, after)})
    at = {edge: index for index, edge in enumerate(cuts)}
    members: list[list[tuple[int, bool]]] = [[] for _ in cuts]
    for low, after, member in spans:
        for heard in members[at[low] : at[after]]:
            if member not in heard[-1:]:  # ranges of one port may overlap
                heard.append(member)
    same: dict[Members, list[tuple[int, int]]] = {}
    for low, after, heard in zip(cuts, cuts[1:], members, strict=False):
        if heard:
            same.setdefault(tuple(heard), []).append((low, after - 1))
    return {key: tuple(ranges) for key, ranges in same.items()}
