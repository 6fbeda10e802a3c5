"""Teaming that the pSwitch, or another half of the policy, makes fail: what `check` says before the wire shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.model import ClientPort, HostSwitch, Lag, Pnic, Tagging, Topology
from lab.topology.listing import shortened

IP_HASH = "loadbalance_ip"
HASHED = ("loadbalance_srcmac", IP_HASH)

Said = tuple[str, str]
"""What happens, and the statements that say so."""
Channels = Mapping[tuple[str, int], Sequence[Pnic]]
"""(pSwitch, number of the port channel) -> its members, in file order."""


@dataclass(frozen=True)
class Team:
    """The uplinks of one port group on one host, and the ports there (one at least) that share them."""

    part: HostSwitch
    group: str
    ports: tuple[ClientPort, ...]
    active: tuple[Pnic, ...]
    standby: tuple[Pnic, ...]

    @property
    def label(self) -> str:
        return f"{self.part.name}/{self.group}"

    @property
    def any_port(self) -> ClientPort:
        return self.ports[0]

    @property
    def pnics(self) -> tuple[Pnic, ...]:
        return (*self.active, *self.standby)


def teams(topology: Topology, part: HostSwitch) -> Iterator[Team]:
    """Those of the port groups that this host's ports use, in the order of the ports."""
    groups: dict[str, list[ClientPort]] = {}
    for port in part.ports:
        groups.setdefault(port.nic.port_group, []).append(port)
    pnics = topology.hosts[part.host].pnics
    for name, ports in groups.items():
        active, standby = (tuple(pnics[u] for u in names) for names in (ports[0].active, ports[0].standby))
        yield Team(part, name, tuple(ports), active, standby)


def cut_off(team: Team, lacking: Pnic, carrying: Sequence[Pnic]) -> str:
    """The end of a warning of a VLAN that `lacking` does not carry; empty when no other uplink of the team does."""
    if not carrying:
        return ""
    sides: dict[bool, list[ClientPort]] = {True: [], False: []}
    for port in team.ports:
        sides[_sends_there_at_first(port, lacking.name)].append(port)
    now, later = sides[True], sides[False]
    whose = [f"{'some frames of ' if _is_spread(team.any_port) else ''}{_names(now)} now"] if now else []
    whose += [f"{_names(later)} after a failover to it"] if later else []
    return f", unlike {_listed(carrying)}: that cuts off {', '.join(whose)} (ATK-15)"


def _names(ports: Iterable[ClientPort]) -> str:
    return shortened(port.nic.label for port in ports)


def _is_spread(port: ClientPort) -> bool:
    return port.lag is not None or port.policy in HASHED


def _sends_there_at_first(port: ClientPort, uplink: str) -> bool:
    """While every link is up."""
    first = port.active or port.standby
    if _is_spread(port):
        return uplink in first
    return uplink == first[0 if port.policy == "failover_explicit" else (port.number - 1) % len(first)]


def teaming(topology: Topology) -> Iterator[str]:
    """One line for each port group, LAG or channel and what is wrong with it; hosts that are alike share the line."""
    channels = _channels(topology)
    hosts: dict[tuple[str, Said], list[str]] = {}
    for part in topology.host_switches.values():
        for team in teams(topology, part):
            for said in (*_hashes(team, channels, topology.knobs.reverse_path), *_beacons(team)):
                hosts.setdefault((team.label, said), []).append(part.host)
        for lag in part.lags:
            members = [topology.hosts[part.host].pnics[pnic] for pnic in lag.uplinks[part.host]]
            for said in _lag(lag, members):
                hosts.setdefault((f"{part.name} LAG {lag.name}", said), []).append(part.host)
    for (label, (what, statements)), where in hosts.items():
        yield f"{label} at {shortened(where)}: {what} ({statements})"
    for (switch, number), faced in channels.items():
        for what, statements in _channel(topology, faced):
            yield f"{switch} channel {number}: {what} ({statements})"


def _channels(topology: Topology) -> Channels:
    found: dict[tuple[str, int], list[Pnic]] = {}
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            if pnic.port.channel is not None:
                found.setdefault((pnic.switch, pnic.port.channel), []).append(pnic)
    return found


def _static(pnic: Pnic) -> bool:
    return pnic.port.channel is not None and pnic.port.lacp is None


def _listed(pnics: Iterable[Pnic]) -> str:
    return shortened(pnic.name for pnic in pnics)


def _facing(pnics: Iterable[Pnic]) -> str:
    """`vmnic1, vmnic2 face no channel of tor1`."""
    by_channel: dict[str, list[Pnic]] = {}
    for pnic in pnics:
        kind = "no channel" if pnic.port.channel is None else f"static channel {pnic.port.channel}"
        kind = f"LACP channel {pnic.port.channel}" if pnic.port.lacp else kind
        by_channel.setdefault(f"{kind} of {pnic.switch}", []).append(pnic)
    listed = ((_listed(found), "faces" if len(found) == 1 else "face", what) for what, found in by_channel.items())
    return ", ".join(" ".join(words) for words in listed)


# -- port groups


def _hashes(team: Team, channels: Channels, reverse_path: bool) -> Iterator[Said]:
    """IP hash needs one static EtherChannel, and that needs IP hash."""
    if team.any_port.lag is not None:
        return
    if team.any_port.policy != IP_HASH:
        yield from _hashed_by_the_pswitch_only(team, channels) if reverse_path else ()
        return
    facing = {(pnic.switch, pnic.port.channel) for pnic in team.active if _static(pnic)}
    if all(map(_static, team.active)) and len(facing) == 1:
        yield from _left_out(team, channels)
    elif len(team.active) > 1 and not all(pnic.port.lacp for pnic in team.active):  # of which LACP-6 is told
        what = "MACs flap at the pSwitches, and what is sent to them is lost or flooded"
        yield f"IP hash needs one static channel, and {_facing(team.active)}: {what}", "TEAM-IPH-6, TEAM-IPH-7"
    if team.standby:
        what = "a channel sends by all of its members, and what comes in by a standby one is dropped"
        yield f"IP hash is not supported with standby uplinks ({_listed(team.standby)}): {what}", "TEAM-IPH-9"


def _hashed_by_the_pswitch_only(team: Team, channels: Channels) -> Iterator[Said]:
    for key in dict.fromkeys((pnic.switch, pnic.port.channel) for pnic in team.pnics if _static(pnic)):
        members = channels[key[0], key[1] or 0]
        n, here = len(members), [pnic for pnic in team.pnics if pnic in members]
        if n > 1:
            what = (
                f"it hashes what is sent to a port over {n} members, and the port takes only what comes by its uplink"
            )
            yield f"{_facing(here)}, without IP hash: {what}; about {n - 1} of {n} flows fail", "TEAM-IPH-8"


def _left_out(team: Team, channels: Channels) -> Iterator[Said]:
    """Members of the team's channel that could receive for it and do not."""
    (key,) = {(pnic.switch, pnic.port.channel or 0) for pnic in team.active}
    mine = set(team.part.uplinks)
    others = [p for p in channels[key] if p.host == team.part.host and p not in team.pnics and p.name in mine]
    if others:
        what = "and the port group does not use it: what the pSwitch sends there is dropped"
        yield f"{_facing(others)} too, {what}", "TEAM-IPH-8"


def _beacons(team: Team) -> Iterator[Said]:
    if team.any_port.detection != "beacon" or not team.pnics:
        return
    if team.any_port.lag is not None:
        what = "LACP watches its members, beacons say nothing of them"
        yield f"beacon probing is not supported with LAG {team.any_port.lag.name}: {what}", "LACP-5"
        return
    if team.any_port.vlan.tagging is Tagging.VGT:
        what = "a cut of a VLAN that only guests use is not seen"
        yield f"beacon probing is not supported with guest tagging (VGT): {what}", "BCN-9"
    if team.any_port.policy == IP_HASH:
        what = "no member of a channel hears another, as if all were cut off"
        yield f"beacon probing is not supported with IP hash: {what}", "TEAM-IPH-9"
        return
    if len(team.pnics) == 1:
        yield f"beacon probing with one uplink ({_listed(team.pnics)}) tells nothing: it hears nobody", "BCN-7"
        return
    if len(team.pnics) == 2:
        what = "lost beacons leave open which one is cut off, and every frame leaves on both"
        yield f"beacon probing with two uplinks ({_listed(team.pnics)}): {what}", "BCN-7"
    if len({pnic.switch for pnic in team.pnics}) == 1:
        yield f"beacon probing with every uplink on {team.pnics[0].switch}: a cut behind it is not seen", "BCN-8"


# -- LAGs and the channels that they face


def _lag(lag: Lag, members: Sequence[Pnic]) -> Iterator[Said]:
    facing = {(pnic.switch, pnic.port.channel) if pnic.port.lacp else None for pnic in members}
    if facing == {None}:
        yield f"{_facing(members)}: links are up, nobody answers its LACPDUs, and no member comes up", "LACP-2"
    elif len(facing) > 1:
        yield f"{_facing(members)}, not one LACP channel of one pSwitch: not every member comes up", "LACP-2"
    elif lag.mode == "passive" and all(pnic.port.lacp == "passive" for pnic in members):
        yield (
            f"both it and what it faces are passive: nobody begins, and no member comes up ({_facing(members)})",
            "LACP-2",
        )
    if len({pnic.speed for pnic in members}) > 1:
        speeds = ", ".join(f"{pnic.name} {pnic.speed}" for pnic in members)
        what = "physical switches aggregate equal ones only; here all come up, and the hash knows no speeds"
        yield f"members of different speeds ({speeds}): {what}", "LACP-4"


def _channel(topology: Topology, members: Sequence[Pnic]) -> Iterator[Said]:
    """`members` are those of one channel."""
    owners: dict[str, list[Pnic]] = {}
    without: list[Pnic] = []
    for part in topology.host_switches.values():
        for pnic in (pnic for pnic in members if pnic.host == part.host and pnic.name in part.uplinks):
            lag = next((f" LAG {lag.name}" for lag in part.lags if pnic.name in lag.uplinks[part.host]), "")
            owners.setdefault(f"{part.host} {part.name}{lag}", []).append(pnic)
            without += [] if lag else [pnic]
    lacp = bool(members[0].port.lacp)
    if lacp and without:
        faced = shortened(f"{pnic.host}:{pnic.name}" for pnic in without)
        what = "nobody answers its LACPDUs there, and what comes in is dropped"
        yield f"LACP, but {faced} {'is no LAG member' if len(without) == 1 else 'are no LAG members'}: {what}", "LACP-6"
    if len(owners) > 1:
        what = "one of them comes up, the others stay suspended" if lacp else "what is sent to one may go to another"
        yield f"it faces {shortened(owners)}, and is one port: {what}", "LACP-6" if lacp else "TEAM-IPH-6"
