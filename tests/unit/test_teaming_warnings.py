"""What `check` warns of in teaming: each warning with a twin that is one word away and not warned of."""

from __future__ import annotations

import pytest

from lab.topology import read_topology, warnings

LAB = """\
name: lab
release: "6.7"
knobs: {KNOBS}
physical_switches: {tor1: {stp: true}, tor2: {stp: true}}
cables: [{ends: [tor1, tor2]}]
hosts:
  esx1:
    uplinks:
      vmnic0: {switch: V0}
      vmnic1: {switch: V1}
      vmnic2: {switch: V2}
    standard_switches:
      vSwitch0: {uplinks: [ON_VSS], port_groups: {old: {vlan: 10, teaming: {OLD}}}}
distributed_switches:
  dvs0:
    uplinks: {esx1: [ON_DVS]}
    lags: {LAGS}
    port_groups:
      web: {WEB}
vms:
  web1: {host: esx1, networks: [web]}
  web2: {host: esx1, networks: [web]}
  old1: {host: esx1, networks: [old]}
"""
USUAL = {
    "V0": "tor1", "V1": "tor1", "V2": "tor2", "ON_VSS": "", "ON_DVS": "vmnic0, vmnic1, vmnic2", "OLD": "", "LAGS": "",
    "WEB": "vlan: 10", "KNOBS": "",
}  # fmt: skip


def told(**parts: str) -> list[str]:
    text = LAB
    for name, value in {**USUAL, **parts}.items():
        text = text.replace(f"{{{name}}}", f"{{{value}}}").replace(f"[{name}]", f"[{value}]")
        text = text.replace(f"switch: {name}}}", f"switch: {value}}}")
    return list(warnings(read_topology(text, "f")))


def team(words: str, vlan: str = "10") -> str:
    return f"vlan: {vlan}, teaming: {{{words}}}"


ON_1, ON_2 = "tor1, channel: 1", "tor1, channel: 2"
LACP, PASSIVE = "tor1, channel: 1, lacp: active", "tor1, channel: 1, lacp: passive"
TWO = {"ON_DVS": "vmnic0, vmnic1", "ON_VSS": "vmnic2"}
IP_HASH = {**TWO, "WEB": team("policy: loadbalance_ip")}
UNANSWERED = "nobody answers its LACPDUs there, and what comes in is dropped (LACP-6)"
FLAPS = "MACs flap at the pSwitches, and what is sent to them is lost or flooded (TEAM-IPH-6, TEAM-IPH-7)"


def needs(facing: str) -> list[str]:
    return [f"dvs0/web at esx1: IP hash needs one static channel, and {facing}: {FLAPS}"]


@pytest.mark.parametrize(
    ("parts", "warned"),
    [
        (IP_HASH, needs("vmnic0, vmnic1 face no channel of tor1")),
        ({**IP_HASH, "V0": ON_1, "V1": ON_1}, []),
        ({**IP_HASH, "V0": ON_1}, needs("vmnic0 faces static channel 1 of tor1, vmnic1 faces no channel of tor1")),
        ({**IP_HASH, "V0": ON_1, "V1": ON_2},
         needs("vmnic0 faces static channel 1 of tor1, vmnic1 faces static channel 2 of tor1")),
        ({**IP_HASH, "V0": ON_1, "V1": "tor2, channel: 1"},
         needs("vmnic0 faces static channel 1 of tor1, vmnic1 faces static channel 1 of tor2")),
        ({**IP_HASH, "V0": ON_1, "V1": "tor1, channel: 2, lacp: active"}, [
            *needs("vmnic0 faces static channel 1 of tor1, vmnic1 faces LACP channel 2 of tor1"),
            f"tor1 channel 2: LACP, but esx1:vmnic1 is no LAG member: {UNANSWERED}"]),
        ({**TWO, "WEB": team("policy: loadbalance_ip, active: [uplink1]")}, []),
        ({**TWO, "WEB": team("policy: loadbalance_srcid")}, []),
    ],
)  # fmt: skip
def test_team_iph_6_ip_hash_without_one_static_channel_is_warned_of(parts: dict[str, str], warned: list[str]) -> None:
    assert told(**parts) == warned


def without_hash(n: int, facing: str) -> list[str]:
    what = f"it hashes what is sent to a port over {n} members, and the port takes only what comes by its uplink"
    return [f"dvs0/web at esx1: {facing}, without IP hash: {what}; about {n - 1} of {n} flows fail (TEAM-IPH-8)"]


IN_CHANNEL = {"V0": ON_1, "V1": ON_1, "V2": ON_1}


@pytest.mark.parametrize(
    ("parts", "warned"),
    [
        (IN_CHANNEL, without_hash(3, "vmnic0, vmnic1, vmnic2 face static channel 1 of tor1")),
        ({**IN_CHANNEL, "V2": "tor2"}, without_hash(2, "vmnic0, vmnic1 face static channel 1 of tor1")),
        ({**IN_CHANNEL, "WEB": team("policy: failover_explicit, active: [uplink2], standby: []")},
         without_hash(3, "vmnic1 faces static channel 1 of tor1")),
        ({**IN_CHANNEL, "WEB": team("policy: loadbalance_srcmac")},
         without_hash(3, "vmnic0, vmnic1, vmnic2 face static channel 1 of tor1")),
        ({**IN_CHANNEL, "KNOBS": "reverse_path: 0"}, []),
        ({"V0": ON_1}, []),
        ({**IN_CHANNEL, "WEB": team("policy: loadbalance_ip")}, []),
        ({**IN_CHANNEL, "WEB": team("policy: loadbalance_ip, active: [uplink1, uplink2]")},
         ["dvs0/web at esx1: vmnic2 faces static channel 1 of tor1 too, and the port group does not use it: what the "
          "pSwitch sends there is dropped (TEAM-IPH-8)"]),
    ],
)  # fmt: skip
def test_team_iph_8_a_channel_without_ip_hash_is_warned_of(parts: dict[str, str], warned: list[str]) -> None:
    assert told(**parts) == warned


@pytest.mark.parametrize(
    ("standby", "warned"),
    [
        ("standby: [uplink3]",
         ["dvs0/web at esx1: IP hash is not supported with standby uplinks (vmnic2): a channel sends by all of its "
          "members, and what comes in by a standby one is dropped (TEAM-IPH-9)"]),
        ("active: [uplink1, uplink2, uplink3]", []),
    ],
)  # fmt: skip
def test_team_iph_9_standby_uplinks_with_ip_hash_are_warned_of(standby: str, warned: list[str]) -> None:
    assert told(**IN_CHANNEL, WEB=team(f"policy: loadbalance_ip, {standby}")) == warned


UNHEARD = "beacon probing is not supported with IP hash: no member of a channel hears another, as if all were cut off"
SHOTGUN = "lost beacons leave open which one is cut off, and every frame leaves on both (BCN-7)"
BEACONS = [
    ({"WEB": team("detection: beacon")}, []),
    ({"WEB": team("detection: beacon, active: [uplink2, uplink3]")},
     [f"beacon probing with two uplinks (vmnic1, vmnic2): {SHOTGUN}"]),
    ({"WEB": team("detection: beacon, active: [uplink2], standby: [uplink3]")},
     [f"beacon probing with two uplinks (vmnic1, vmnic2): {SHOTGUN}"]),
    ({"WEB": team("detection: link, active: [uplink2, uplink3]")}, []),
    ({"WEB": team("detection: beacon, active: [uplink3]")},
     ["beacon probing with one uplink (vmnic2) tells nothing: it hears nobody (BCN-7)"]),
    ({"WEB": team("detection: beacon"), "V2": "tor1"},
     ["beacon probing with every uplink on tor1: a cut behind it is not seen (BCN-8)"]),
    ({"WEB": team("detection: beacon", "[10, 20]")},
     ["beacon probing is not supported with guest tagging (VGT): a cut of a VLAN that only guests use is not seen "
      "(BCN-9)"]),
    ({"WEB": team("detection: link", "[10, 20]")}, []),
    ({**IN_CHANNEL, "WEB": team("detection: beacon, policy: loadbalance_ip")}, [f"{UNHEARD} (TEAM-IPH-9)"]),
    ({**IN_CHANNEL, "WEB": team("detection: link, policy: loadbalance_ip")}, []),
    ({"V0": LACP, "V1": LACP, "ON_DVS": "vmnic2", "LAGS": "lag1: {uplinks: {esx1: [vmnic0, vmnic1]}}",
      "WEB": team("detection: beacon, active: [lag1]")},
     ["beacon probing is not supported with LAG lag1: LACP watches its members, beacons say nothing of them (LACP-5)"]),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "warned"), BEACONS)
def test_bcn_7_to_9_beacons_that_tell_little_are_warned_of(parts: dict[str, str], warned: list[str]) -> None:
    assert told(**parts) == [f"dvs0/web at esx1: {line}" for line in warned]


FAST = "tor1, channel: 1, lacp: active, speed: 1G"
LONE = "no member comes up (LACP-2)"
LAGS = [
    (LACP, LACP, "", []),
    (LACP, LACP, "mode: passive", []),
    (PASSIVE, PASSIVE, "", []),
    (PASSIVE, PASSIVE, "mode: passive",
     ["both it and what it faces are passive: nobody begins, and no member comes up (vmnic0, vmnic1 face LACP channel "
      "1 of tor1) (LACP-2)"]),
    ("tor1", "tor1", "",
     [f"vmnic0, vmnic1 face no channel of tor1: links are up, nobody answers its LACPDUs, and {LONE}"]),
    (ON_1, ON_1, "",
     [f"vmnic0, vmnic1 face static channel 1 of tor1: links are up, nobody answers its LACPDUs, and {LONE}"]),
    (LACP, "tor2, channel: 1, lacp: active", "",
     ["vmnic0 faces LACP channel 1 of tor1, vmnic1 faces LACP channel 1 of tor2, not one LACP channel of one pSwitch: "
      "not every member comes up (LACP-2)"]),
    (LACP, "tor1", "",
     ["vmnic0 faces LACP channel 1 of tor1, vmnic1 faces no channel of tor1, not one LACP channel of one pSwitch: "
      "not every member comes up (LACP-2)"]),
    (FAST, FAST, "", []),
    (LACP, FAST, "",
     ["members of different speeds (vmnic0 10G, vmnic1 1G): physical switches aggregate equal ones only; here all "
      "come up, and the hash knows no speeds (LACP-4)"]),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "mode", "warned"), LAGS)
def test_lacp_2_a_lag_that_does_not_come_up_is_warned_of(one: str, other: str, mode: str, warned: list[str]) -> None:
    lag = ", ".join(filter(None, ["uplinks: {esx1: [vmnic0, vmnic1]}", mode]))
    found = told(V0=one, V1=other, ON_DVS="vmnic2", LAGS=f"lag1: {{{lag}}}", WEB=team("active: [lag1]"))
    assert found == [f"dvs0 LAG lag1 at esx1: {line}" for line in warned]


IN_LAG = {"V1": LACP, "V2": LACP, "ON_DVS": "", "LAGS": "lag1: {uplinks: {esx1: [vmnic1, vmnic2]}}",
          "WEB": team("active: [lag1]"), "ON_VSS": "vmnic0"}  # fmt: skip
SHARED = "tor1 channel 1: it faces esx1 vSwitch0, esx1 dvs0"


@pytest.mark.parametrize(
    ("parts", "warned"),
    [
        (IN_LAG, []),
        ({"ON_VSS": "vmnic0, vmnic1", "ON_DVS": "vmnic2", "V0": LACP, "V1": LACP},
         [f"tor1 channel 1: LACP, but esx1:vmnic0, esx1:vmnic1 are no LAG members: {UNANSWERED}"]),
        ({"ON_VSS": "vmnic0, vmnic1", "ON_DVS": "vmnic2", "V0": ON_1, "V1": ON_1, "OLD": "policy: loadbalance_ip"}, []),
        ({**IN_LAG, "V0": LACP},
         [f"tor1 channel 1: LACP, but esx1:vmnic0 is no LAG member: {UNANSWERED}",
          f"{SHARED} LAG lag1, and is one port: one of them comes up, the others stay suspended (LACP-6)"]),
        ({"ON_VSS": "vmnic0", "ON_DVS": "vmnic1", "V0": ON_1, "V1": ON_1, "V2": "tor1", "OLD": "policy: loadbalance_ip",
          "WEB": team("policy: loadbalance_ip")},
         ["esx1:vmnic2 is no switch's uplink",
          f"{SHARED}, and is one port: what is sent to one may go to another (TEAM-IPH-6)"]),
    ],
)  # fmt: skip
def test_lacp_6_a_channel_that_faces_what_is_no_lag_is_warned_of(parts: dict[str, str], warned: list[str]) -> None:
    assert sorted(told(**parts)) == sorted(warned)


ONLY_10, BOTH = "tor1, trunk: [10]", "tor1, trunk: [10, 20]"
LOST = "dvs0/web: VLAN 20 is not in the trunk's list, frames are lost (VLAN-13) at esx1:"
SIDES = [
    ("", BOTH, BOTH, []),
    ("", ONLY_10, ONLY_10, [f"{LOST}vmnic0", f"{LOST}vmnic1"]),
    ("", BOTH, ONLY_10,
     [f"{LOST}vmnic1, unlike vmnic0: that cuts off web2.eth0 now, web1.eth0 after a failover to it"]),
    ("policy: failover_explicit", BOTH, ONLY_10,
     [f"{LOST}vmnic1, unlike vmnic0: that cuts off web1.eth0, web2.eth0 after a failover to it"]),
    ("policy: failover_explicit", ONLY_10, BOTH,
     [f"{LOST}vmnic0, unlike vmnic1: that cuts off web1.eth0, web2.eth0 now"]),
    ("active: [uplink1], standby: [uplink2]", BOTH, ONLY_10,
     [f"{LOST}vmnic1, unlike vmnic0: that cuts off web1.eth0, web2.eth0 after a failover to it"]),
    ("policy: loadbalance_srcmac", BOTH, ONLY_10,
     [f"{LOST}vmnic1, unlike vmnic0: that cuts off some frames of web1.eth0, web2.eth0 now"]),
    ("active: [uplink1]", BOTH, ONLY_10, []),
]  # fmt: skip


@pytest.mark.parametrize(("words", "one", "other", "warned"), SIDES)
def test_vlan_13_atk_15_a_vlan_that_one_uplink_lacks_cuts_off_whom_it_says(
    words: str, one: str, other: str, warned: list[str]
) -> None:
    whole = [f"{line} (ATK-15)" if "unlike" in line else line for line in warned]
    assert told(**TWO, V0=one, V1=other, WEB=team(words, "20"), OLD="active: []") == whole


@pytest.mark.parametrize(
    ("one", "other", "warned"),
    [
        (ONLY_10, ONLY_10, []),
        ("tor1", "tor1", []),
        ("tor1, trunk: [10, 20-29, 31]", ONLY_10,
         ["dvs0/web: VLAN 20-29, 31 of its guests does not get through (VLAN-13) at esx1:vmnic1, unlike vmnic0: that "
          "cuts off web2.eth0 now, web1.eth0 after a failover to it (ATK-15)"]),
        ("tor1, trunk: [10, 50]", ONLY_10, []),
    ],
)  # fmt: skip
def test_vlan_13_a_guest_s_vlan_that_one_uplink_lacks_is_warned_of(one: str, other: str, warned: list[str]) -> None:
    assert told(**TWO, V0=one, V1=other, WEB="vlan: [0-40]", OLD="active: []") == warned


def test_hosts_that_are_alike_share_a_line() -> None:
    text = LAB.replace("V0", "tor1").replace("V1", "tor2").replace("V2", "tor1").replace("{KNOBS}", "{}")
    text = text.replace("{LAGS}", "{}").replace("[ON_VSS]", "[vmnic2]").replace("{OLD}", "{}")
    second = "  esx2:\n    uplinks: {vmnic0: {switch: tor1}, vmnic1: {switch: tor2}}\n"
    text = text.replace("distributed_switches:", f"{second}distributed_switches:")
    text = text.replace("{esx1: [ON_DVS]}", "{esx1: [vmnic0, vmnic1], esx2: [vmnic0, vmnic1]}")
    text = text.replace("web2: {host: esx1", "web2: {host: esx2").replace("{WEB}", f"{{{team('detection: beacon')}}}")
    (line,) = warnings(read_topology(text, "f"))
    assert line.startswith("dvs0/web at esx1, esx2: beacon probing with two uplinks (vmnic0, vmnic1)")
