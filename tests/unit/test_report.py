"""Pages of what was followed, of capture files and of evidence folders: nothing here needs a lab."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from answered import ROOT, answer, both_ways, evidence_of, topology_named

from lab.answers.kept import read_evidence
from lab.cli.main import run
from lab.errors import UsageError
from lab.frame import Hop, Point
from lab.report.document import followed_of
from lab.report.follow import Followed, as_json
from lab.report.picture import picture
from lab.report.strangers import picture_of
from lab.report.ways import anchor_of, ways_of
from lab.report.where import as_json as answer_json

TOPOLOGY = topology_named("where-is-my-data")
FLOW = both_ways(TOPOLOGY, "web1.eth0", "web2.eth0")


def trails_on(page: Path) -> list[dict[str, list[dict[str, object]]]]:
    """What the page's script draws with."""
    data = page.read_text().partition('id="data">')[2].partition("</script>")[0]
    return list(json.loads(data)["trails"])


# -- documents


def test_an_answers_document_is_read_as_it_was_written() -> None:
    said = answer_json(answer(TOPOLOGY, "web1.eth0", "web2.eth0"))
    (again,) = followed_of(json.loads(json.dumps(said))).answers
    assert {**answer_json(again), "three_way": 0} == {**said, "three_way": 0}


def test_a_document_of_a_flow_is_read_with_every_direction() -> None:
    said = as_json(FLOW)
    again = as_json(followed_of(said))
    assert again["followed"] == "flow src web1.eth0 dst web2.eth0"
    assert [a["trails"] for a in again["answers"]] == [a["trails"] for a in said["answers"]]
    assert len(again["answers"]) == 2


WHOLE = answer_json(answer(TOPOLOGY, "web1.eth0", "web2.eth0"))
BROKEN = [
    pytest.param({}, id="empty"),
    pytest.param({**WHOLE, "schema": 2}, id="another schema"),
    pytest.param({**WHOLE, "trails": [{"count": 1, "hops": []}]}, id="no hops"),
    pytest.param({**WHOLE, "exposure": []}, id="exposure is a list"),
    pytest.param({**WHOLE, "predicted": [{**WHOLE["predicted"][0], "point": "Nowhere"}]}, id="no such point"),
]


@pytest.mark.parametrize("said", BROKEN)
def test_what_is_no_whole_answer_is_refused(said: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        followed_of(said)


# -- ways


def test_each_distinct_way_of_each_direction_has_its_count() -> None:
    ways = ways_of(FLOW)
    there, back = [[w for w in ways if w.course == course] for course in (0, 1)]
    assert {w.direction for w in there} == {"web1.eth0 → web2.eth0"}
    assert [(w.direction, w.frames) for w in back] == [("web2.eth0 → web1.eth0", "1 of 2 frames")] * 2
    assert there[0].end == "delivered to web2"
    assert any(w.end.startswith("dropped in") for w in there)
    assert back[1].end.startswith("last seen at")


def test_frames_of_strangers_are_told_apart_by_their_macs() -> None:
    trails = tuple(trail for a in FLOW.answers for trail in a.trails)
    ways = ways_of(Followed("all", 9, (), trails))
    assert {w.course for w in ways} == {0, 1}
    assert all("00:50:56" in w.direction for w in ways)


@pytest.mark.parametrize(
    ("name", "box", "interface", "beside"),
    [
        ("l2-stretch-vxlan", "wan-a", "wan-b.wan", ("wan-a", "wan-b")),
        ("port-mirroring", "esx1", "dvs0.mirror", ("esx1", "dvs0")),
        ("port-mirroring", "esx1", "vmnic0", ("esx1", "vmnic0")),
    ],
)
def test_what_the_picture_does_not_draw_is_beside_what_it_draws(
    name: str, box: str, interface: str, beside: tuple[str, str]
) -> None:
    drawn = picture(topology_named(name))
    hop = Hop(box, box, Point.PSWITCH_SND, "out", interface, (), "", "")
    assert anchor_of(hop, drawn) == drawn.anchors[beside]
    assert anchor_of(hop._replace(interface="nowhere"), drawn) is None


# -- evidence, without a lab


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    evidence_of(FLOW, TOPOLOGY, tmp_path / "case")
    return tmp_path / "case"


def test_an_evidence_folder_is_read_with_its_frames(folder: Path) -> None:
    kept = read_evidence(folder)
    assert kept.checked.wrong == ()
    assert kept.topology == TOPOLOGY or kept.topology.vms.keys() == TOPOLOGY.vms.keys()
    assert [len(a.caught) for a in kept.followed.answers] == [
        sum(h.evidence == "wire" for t in a.trails for h in t.hops) for a in FLOW.answers
    ]


def test_what_was_set_before_the_evidence_was_taken_is_in_its_topology(tmp_path: Path) -> None:
    moved = [[0, ["vms", "web1", "ip"], "10.0.10.77/24"]]
    evidence_of(FLOW, TOPOLOGY, tmp_path / "case", moved)
    assert read_evidence(tmp_path / "case").topology.vms["web1"].nics[0].address == TOPOLOGY.vms["web1"].nics[0].address
    blocked = [[0, ["distributed_switches", "dvs0", "port_groups", "web", "vlan"], 21]]
    evidence_of(FLOW, TOPOLOGY, tmp_path / "other", blocked)
    there = read_evidence(tmp_path / "other").topology
    assert there.port_group(there.vms["web1"].nics[0]).vlan.vlan == 21


def test_a_page_of_an_evidence_folder_has_every_way_and_frame(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run(["report", "--evidence", str(folder), "-o", str(page)]) == 0
    trails = trails_on(page)
    assert len(trails) == len(ways_of(FLOW))
    assert all(hop["frame"] is not None for trail in trails for hop in trail["hops"])
    assert "manifest&#x27;s SHA-256" in page.read_text()
    assert 'role="alert"' not in page.read_text()


def test_a_page_of_changed_evidence_says_so_and_exits_1(folder: Path, tmp_path: Path) -> None:
    (folder / "answer.txt").write_text("all is well")
    page = tmp_path / "page.html"
    assert run(["report", "--evidence", str(folder), "-o", str(page)]) == 1
    assert "changed after it was made: answer.txt has been changed" in page.read_text()


RUINED: list[tuple[str, Callable[[Path], object]]] = [
    ("answer.json", lambda p: p.write_text("{}")),
    ("answer.json", lambda p: p.write_text("[")),
    ("answer.json", lambda p: p.write_bytes(b"\xff\xfe")),
    ("edits.json", lambda p: p.write_text('[[0, ["vms"]]]')),
    ("edits.json", lambda p: p.write_text("{}x")),
    ("about.json", lambda p: p.write_text("[]")),
    ("topology.yaml", lambda p: p.write_text("hosts: 7")),
    ("topology.yaml", lambda p: p.unlink()),
    ("frames.pcapng", lambda p: p.write_bytes(b"no capture, but long enough")),
    ("manifest.json", lambda p: p.unlink()),
]


@pytest.mark.parametrize(("name", "ruin"), RUINED, ids=[f"{n} {i}" for i, (n, _) in enumerate(RUINED)])
def test_ruined_evidence_is_a_usage_error(folder: Path, name: str, ruin: Callable[[Path], object]) -> None:
    ruin(folder / name)
    with pytest.raises(UsageError):
        read_evidence(folder)


# -- files


def test_a_page_of_captures_alone_has_a_box_for_each(folder: Path, tmp_path: Path) -> None:
    page, frames = tmp_path / "page.html", str(folder / "frames.pcapng")
    assert run(["report", "--pcap", frames, "--flow", "ether proto 0x88b5", "-o", str(page)]) == 0
    hops = [hop for trail in trails_on(page) for hop in trail["hops"]]
    assert hops and all(hop["frame"] is not None and hop["x"] is not None for hop in hops)


def test_a_picture_of_strangers_has_a_place_for_each_interface() -> None:
    told = Followed("all", 1, (), FLOW.answers[0].trails[:1])
    drawn = picture_of(told)
    assert {(hop.box, hop.interface) for hop in told.trails[0].hops} == drawn.anchors.keys()
    assert all(0 < x < drawn.width and 0 <= y < drawn.height for x, y in drawn.anchors.values())


def test_a_capture_that_breaks_off_makes_a_page_and_exit_6(folder: Path, tmp_path: Path) -> None:
    cut, page = tmp_path / "cut.pcapng", tmp_path / "page.html"
    cut.write_bytes((folder / "frames.pcapng").read_bytes()[:-30])
    assert run(["report", "--pcap", str(cut), "--flow", "ether proto 0x88b5", "-o", str(page)]) == 6
    assert "breaks off at byte" in page.read_text()


FILE = str(ROOT / "topologies/where-is-my-data.yaml")
REFUSED = [
    ["--from", "web1"],
    ["--from", "web1", "--to", "web2", "--flow", "icmp"],
    ["--flow", "icmp", "--token", "c0ffee00"],
    ["--pcap", "a.pcapng", "--from", "web1", "--to", "web2"],
    ["--pcap", "a.pcapng", "--lab", "x"],
    ["--pcap", "a.pcapng", "--matrix"],
    [FILE, FILE],
    ["--evidence", ".", FILE],
    ["--evidence", ".", "--matrix"],
    ["--evidence", "."],
    ["--evidence", "nowhere"],
]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_what_no_page_can_be_about_is_exit_2(words: list[str], tmp_path: Path) -> None:
    assert run(["report", *words, "-o", str(tmp_path / "page.html")]) == 2
    assert not (tmp_path / "page.html").exists()
