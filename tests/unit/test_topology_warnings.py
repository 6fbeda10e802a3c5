"""What `check` warns of: each warning with a twin that is not warned of."""

from __future__ import annotations

import pytest
from topology_slots import (
    ERSPAN,
    PAIRED,
    PVLANS,
    Parts,
    lab,
    session,
)

from lab.topology import warnings

LEARNING = "MAC learning, but forged transmits are rejected: nothing is to learn (SEC-18)"
NOWHERE = "dvs0: session m copies nothing: no destination is on a source's host (MIR-1)"


@pytest.mark.parametrize(
    ("parts", "warned"),
    [
        pytest.param({"db": "vlan: 20, mac_learning: {}"}, True, id="rejected by the release"),
        pytest.param({"db": "vlan: 20, mac_learning: {}", "dvs": "security: {forged_transmits: accept}"}, False,
                     id="accepted by the switch"),
        pytest.param({"db": "vlan: 20, mac_learning: {}, security: {forged_transmits: accept}"}, False,
                     id="accepted by the port group"),
        pytest.param({"db": "vlan: 20, mac_learning: {}, security: {forged_transmits: reject}",
                      "dvs": "security: {forged_transmits: accept}"}, True, id="rejected by the port group"),
        pytest.param({"db": "vlan: 20, security: {forged_transmits: reject}"}, False, id="no MAC learning"),
    ],
)  # fmt: skip
def test_sec_18_mac_learning_that_has_nothing_to_learn_is_warned_of(parts: Parts, warned: bool) -> None:
    assert warnings(lab(**parts)) == ((f"dvs0/db: {LEARNING}",) if warned else ())


@pytest.mark.parametrize(("group", "port", "warned"), [("", "accept", False), ("accept", "reject", True)])
def test_sec_18_a_port_s_own_policy_decides_whether_it_has_something_to_learn(
    group: str, port: str, warned: bool
) -> None:
    policy = f", security: {{forged_transmits: {group}}}" if group else ""
    alone = f"host: esx1, networks: [{{port_group: db, security: {{forged_transmits: {port}}}}}]"
    told = warnings(lab(db=f"vlan: 20, mac_learning: {{}}{policy}", web1=alone))
    assert bool(told) is warned and all(LEARNING in line for line in told)


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [web3]}", True),
        ("type: dvPortMirror, from: {received: [esx1.vmk0]}, to: {ports: [web3]}", True),
        ("type: dvPortMirror, from: {transmitted: [web3]}, to: {ports: [web1, web2]}", True),
        ("type: dvPortMirror, from: {transmitted: [web1]}, to: {ports: [web2]}", False),
        ("type: dvPortMirror, from: {transmitted: [web1], received: [web1]}, to: {ports: [web2, web3]}", False),
        ("type: remoteMirrorSource, from: {transmitted: [web3]}, to: {uplinks: [uplink1]}, vlan: 9", False),
        ("type: remoteMirrorDest, from: {vlans: [9]}, to: {ports: [web3]}", False),
        (ERSPAN, False),
    ],
)
def test_mir_1_a_session_whose_copies_never_leave_the_source_s_host_is_warned_of(text: str, warned: bool) -> None:
    assert warnings(lab(**session(text))) == ((NOWHERE,) if warned else ())


def missing(*vlans: int, pnics: tuple[str, ...] = ("vmnic1", "vmnic2")) -> tuple[str, ...]:
    words = "is not in the trunk's list, frames are lost (VLAN-13)"
    return tuple(f"dvs0/db: VLAN {vlan} {words} at esx1:{pnic}" for pnic in pnics for vlan in vlans)


NATIVE = tuple(
    f"dvs0/db: VLAN 101 is the trunk's native VLAN, so traffic goes one way only (VLAN-12) at esx1:{pnic}"
    for pnic in ("vmnic1", "vmnic2")
)


@pytest.mark.parametrize(
    ("pvlan", "trunk", "warned"),
    [
        (101, "[10, 100, 101]", ()),
        (101, "[10, 100]", missing(101)),
        (101, "[10, 101]", missing(100)),
        (101, "[10]", missing(101, 100)),
        (102, "[10, 100, 102]", ()),
        (102, "[10, 100, 101]", missing(102)),
        (102, "[10, 102]", missing(100)),
        (101, "[10, 100, 101], native: 101", NATIVE),
        (100, "[10, 100-103]", ()),
        (100, "[10, 101-103]", missing(100)),
    ],
)
def test_pvl_8_a_trunk_that_lacks_an_id_of_the_private_vlan_is_warned_of(
    pvlan: int, trunk: str, warned: tuple[str, ...]
) -> None:
    topology = lab(dvs=PVLANS, db=f"pvlan: {pvlan}", vmnic1=f", trunk: {trunk}", vmnic2=f", trunk: {trunk}")
    assert warnings(topology) == warned


def test_every_warning_is_told_in_one_go_and_once() -> None:
    topology = lab(
        dvs=f"{PAIRED['dvs'].replace('web2', 'web3')}\n    {PVLANS}",
        db="pvlan: 101, mac_learning: {}", vmnic2=", trunk: [10]", web1="host: esx1, networks: [web, db, db]",
    )  # fmt: skip
    cut_off = ", unlike vmnic1: that cuts off web1.eth2 now, web1.eth1 after a failover to it (ATK-15)"
    lost = (f"{line}{cut_off}" for line in missing(101, 100, pnics=("vmnic2",)))
    assert warnings(topology) == (*lost, f"dvs0/db: {LEARNING}", NOWHERE)
