"""Mistakes that once hung the reader, raised something else, or were told twice: one test for each."""

from __future__ import annotations

import pytest

from lab.errors import Mistake, TopologyError
from lab.topology import read_topology, warnings
from lab.units import Duration, Size

ONE = "name: a\nphysical_switches: {t: {}}\n"


def told(text: str) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        read_topology(text, "f")
    return [f"{m.line}:{m.column} {m.path}: {m.what}" for m in caught.value.mistakes]


@pytest.mark.parametrize("name", ["''", ".x", "a:b", "10.0.0.1/24/1", "[key]"])
def test_a_network_that_is_no_name_is_told(name: str) -> None:
    (found,) = told(f'name: a\nhosts: {{e: {{}}}}\nvms: {{v: {{host: e, networks: ["{name}"]}}}}\n')
    assert found.startswith("3:31 vms.v.networks[0].port_group: ")


def test_a_port_group_is_found_by_its_switch_and_name() -> None:
    text = (
        ONE + "hosts: {e: {uplinks: {vmnic0: {switch: t}}, standard_switches: {s: {port_groups: {g: {}}}}}}\n"
        "distributed_switches: {d: {uplinks: {e: [vmnic0]}, port_groups: {g: {}}}}\n"
        "vms: {v: {host: e, networks: [d/g, {port_group: s/g}]}}\nexpect: [{isolate: [d/g, s/g]}]\n"
    )
    assert [n.switch for n in read_topology(text, "f").vnics] == ["d", "s"]


@pytest.mark.parametrize("text", ['"[key]": 1\n', 'sites: {a: {"[key]": 1}}\n'])
def test_a_key_called_key_in_brackets_is_unknown(text: str) -> None:
    assert any(found.endswith("unknown key '[key]'") for found in told("name: a\n" + text))


def test_a_rate_of_400_digits_is_refused() -> None:
    text = f"{ONE}hosts: {{e: {{uplinks: {{vmnic0: {{switch: t, speed: {'9' * 400}G}}}}}}}}\n"
    assert len(told(text)) == 1


def test_a_standard_switch_may_bear_the_name_of_another_host_s_distributed_one() -> None:
    text = (
        ONE + "hosts:\n  e1: {uplinks: {vmnic0: {switch: t, native: 1}}}\n"
        "  e2: {standard_switches: {S: {port_groups: {g: {vlan: 5}}}}}\n"
        "distributed_switches: {S: {uplinks: {e1: [vmnic0]}, port_groups: {g: {vlan: 9}}}}\n"
        "vms: {v: {host: e2, networks: [g]}}\n"
    )
    topology = read_topology(text, "f")
    assert topology.host_switches["e2", "S"].ports[0].vlan.vlan == 5
    assert warnings(topology) == ()


@pytest.mark.parametrize(
    "text",
    [
        ONE + "machines: {m: {switch: t, access: }}\n",
        ONE + "machines: {m: {switch: t, access: 1, ip: }}\n",
        ONE + "machines: {m: {switch: t, trunk: }}\n",
    ],
)
def test_a_key_without_a_value_is_a_mistake(text: str) -> None:
    assert len(told(text)) == 1


@pytest.mark.parametrize("text", ["speed_scale: true", 'speed_scale: "0.5"', 'clock: {speedup: "5"}'])
def test_a_number_is_no_text_and_no_truth(text: str) -> None:
    assert "must be a number" in told(f"name: a\n{text}\n")[0]


def test_a_mistake_is_one_printable_line() -> None:
    assert Mistake(1, 1, "a\n\x1b[2J", "b").text("f").isprintable()


def test_a_lone_surrogate_is_no_yaml() -> None:
    assert len(told("name: \ud800\n")) == 1


@pytest.mark.parametrize("kind", ["reach", "isolate"])
def test_an_expectation_that_is_too_short_is_told_once(kind: str) -> None:
    assert told(f"name: a\nexpect: [{{{kind}: [a]}}]\n") == [
        f"2:{13 + len(kind)} expect[0].{kind}: needs at least 2, has 1"
    ]


def test_a_vmknic_that_is_wrong_is_still_a_known_name() -> None:
    text = (
        ONE
        + "hosts: {e: {vmkernel: {vmk0: {}}}}\nmachines: {m: {switch: t, access: 1}}\nexpect: [{reach: [e.vmk0, m]}]\n"
    )
    assert told(text) == ["3:30 hosts.e.vmkernel.vmk0: 'port_group' is missing"]


@pytest.mark.parametrize("unit", [Size, Duration])
def test_only_a_rate_is_per_second(unit: type[Size | Duration]) -> None:
    with pytest.raises(ValueError):
        unit.parse("5/s")
