"""The port group that decided about a frame, hop by hop."""

from __future__ import annotations

from test_exposure import edition

from lab.client import places_of
from lab.frame import Frame, Hop, Point
from lab.predict import predict
from lab.predict.groups import tree_with_groups, way_with_groups
from lab.report.document import followed_of
from lab.report.where import decided_by, hops_json
from lab.teaming import initial_state


def foretold(sender: str, to: str) -> tuple[Hop, ...]:
    topology = edition("where-is-my-data").topology
    places = places_of(topology)
    said = predict(topology, initial_state(topology), sender, Frame(places[sender].mac, places[to].mac))
    return tree_with_groups(topology, said.hops)


def test_the_port_group_is_named_at_its_ports_and_where_its_teaming_chose_the_uplink() -> None:
    hops = foretold("web1.eth0", "web2.eth0")
    named = {(h.box, h.point): h.port_group for h in hops if h.port_group}
    assert named == {
        ("esx1", Point.PORT_INPUT): "dvs0/web",
        ("esx1", Point.UPLINK_SND): "dvs0/web",
        ("esx2", Point.VNIC_OUT): "dvs0/web",
        ("esx2", Point.DROP): "dvs0/web",  # the other uplink's copy, at the port of web2
    }


def test_a_drop_at_a_port_names_the_group_that_does_not_take_it() -> None:
    ends = {hop.interface: hop.port_group for hop in foretold("web1.eth0", "db1.eth0") if hop.reason}
    assert ends == {"db1.eth0": "dvs0/db", "vmnic2": "", "vmnic3": ""}


def test_a_vmknic_s_port_group_is_of_a_standard_switch() -> None:
    hops = foretold("esx1.vmk2", "nas")
    assert {h.port_group for h in hops if h.point in (Point.PORT_INPUT, Point.UPLINK_SND)} == {"vSwitch0/Storage"}


def test_one_way_of_several_knows_its_own_hops_only() -> None:
    topology = edition("where-is-my-data").topology
    way = [hop._replace(parent=99, port_group="") for hop in foretold("web1.eth0", "web2.eth0")[:3]]
    assert [h.port_group for h in way_with_groups(topology, way)] == ["", "dvs0/web", "dvs0/web"]


def test_text_and_json_say_the_group_and_the_policy() -> None:
    hops = foretold("web1.eth0", "web2.eth0")
    (sent,) = (hop for hop in hops if hop.point is Point.UPLINK_SND)
    assert list(decided_by(sent, hops[0]))[-1] == "loadbalance_srcid of dvs0/web"
    assert [hop["port_group"] for hop in hops_json(hops)][:3] == [None, "dvs0/web", "dvs0/web"]
    assert "dvs0/web" not in list(decided_by(sent._replace(point=Point.DISPATCH), hops[0]))


def test_an_answer_that_is_read_again_has_its_groups() -> None:
    trail = {"count": 1, "hops": hops_json(foretold("web1.eth0", "web2.eth0")[:3])}
    again = followed_of({"schema": 1, "followed": "x", "frames": 1, "answers": [], "trails": [trail], "notes": []})
    assert [hop.port_group for hop in again.trails[0].hops] == ["", "dvs0/web", "dvs0/web"]
