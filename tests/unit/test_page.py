"""The picture and the page: whole and self-contained by their text, usable in a real browser."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from answered import answer, both_ways, topology_named
from browsing import opened, page, page_of, step

from lab.client import places_of
from lab.report.page import MANY, Page, render
from lab.report.picture import picture, svg
from lab.report.verify import Report
from traffic.frames import layers

ROOT = Path(__file__).resolve().parents[2]
NARROWEST = 120
"""No pSwitch is drawn narrower (px)."""


@pytest.mark.parametrize("file", sorted(path.stem for path in (ROOT / "topologies").glob("*.yaml")))
def test_a_picture_has_every_place_where_a_hop_can_be(file: str) -> None:
    topology = topology_named(file)
    drawn = picture(topology)
    ElementTree.fromstring(svg(topology))
    ends = {(p.node, p.interface) for p in places_of(topology).values()}
    ends |= {(host.name, pnic) for host in topology.hosts.values() for pnic in host.pnics}
    ends |= {(pnic.switch, pnic.far_port) for host in topology.hosts.values() for pnic in host.pnics.values()}
    ends |= {(part.host, port.name) for part in topology.host_switches.values() for port in part.ports}
    assert len(ends) > 10
    assert ends <= drawn.anchors.keys()
    assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in drawn.anchors.values())


@pytest.mark.parametrize("file", ["l2-stretch-vxlan", "l2-stretch-trunk", "where-is-my-data", "pvnic-chassis"])
def test_no_cable_of_a_machine_passes_behind_a_pswitch(file: str) -> None:
    topology = topology_named(file)
    drawn = picture(topology)
    middles = {name: drawn.anchors[name, name] for name in topology.physical_switches}
    tried = 0
    for machine in topology.machines.values():
        (x, top), (_, bottom) = drawn.anchors[machine.name, "eth0"], drawn.anchors[machine.switch, machine.name]
        assert top < bottom
        tried += 1
        behind = [name for name, (at, y) in middles.items() if top < y < bottom and abs(x - at) < NARROWEST / 2]
        assert not behind, machine.name
    assert tried


def test_no_two_guests_are_drawn_in_one_place() -> None:
    drawn = picture(topology_named("where-is-my-data"))
    spots = [spot for (node, name), spot in drawn.anchors.items() if name.startswith("eth") or node.endswith("-vmk")]
    assert len(spots) == len(set(spots)) > 10


def test_a_page_loads_nothing_and_what_was_in_a_frame_is_no_markup() -> None:
    topology = topology_named("where-is-my-data")
    text = page(topology, answer(topology, "web1.eth0", "web2.eth0"))
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert "url(" not in text
    assert text.count("</script>") == 2
    assert "&lt;6&gt;" in text


@pytest.mark.parametrize(("senders", "small"), [(MANY, False), (MANY + 1, True)])
def test_a_matrix_of_many_is_printed_small(senders: int, small: bool) -> None:
    names = tuple(f"vm{n}.eth0" for n in range(senders))
    told = Page("t", picture(topology_named("teaming")), None, Report(0, 0, (), (), 0, 1.0, names, frozenset()))
    assert ('class="matrix many"' in render(told, layers)) is small


def test_a_picture_escapes_names() -> None:
    topology = topology_named("where-is-my-data")
    assert "Where &amp; why" in page(topology)


def press(browser: Any, *keys: str) -> None:
    browser.find_element("tag name", "body").send_keys(*keys)


def test_a_page_in_a_browser_steps_by_click_and_by_key(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    topology = topology_named("where-is-my-data")
    opened(browser, tmp_path, page(topology, answer(topology, "web1.eth0", "web2.eth0")))
    rows = browser.find_elements("css selector", "#hops tbody tr")
    assert step(browser) == f"hop {len(rows)} of {len(rows)}"
    press(browser, Keys.HOME)
    assert step(browser) == f"hop 1 of {len(rows)}"
    press(browser, Keys.ARROW_RIGHT)
    browser.find_element("id", "next").click()
    assert step(browser) == f"hop 3 of {len(rows)}"
    rows[4].click()
    assert rows[4].get_attribute("aria-selected") == "true"
    assert "Ethernet" in browser.find_element("id", "frame").text
    rows[5].send_keys(Keys.ENTER)
    assert step(browser) == f"hop 6 of {len(rows)}"
    assert len(browser.find_elements("css selector", "#trail circle.dot")) >= 3
    assert browser.get_log("browser") == []


def test_a_page_plays_and_pauses_and_shows_another_trail(browser: Any, tmp_path: Path) -> None:
    topology = topology_named("where-is-my-data")
    opened(browser, tmp_path, page(topology, answer(topology, "web1.eth0", "web2.eth0")))
    play = browser.find_element("id", "play")
    press(browser, " ")
    assert (play.text, step(browser)[:6]) == ("Pause", "hop 1 ")
    deadline = time.monotonic() + 5
    while step(browser).startswith("hop 1 ") and time.monotonic() < deadline:
        pass
    assert step(browser).startswith("hop 2 ")
    play.click()
    assert play.text == "Play"
    options = browser.find_elements("css selector", "#which option")
    options[-1].click()
    assert step(browser).startswith("hop 1 ")
    assert "drop" in options[-1].text


def test_each_way_of_a_flow_is_drawn_and_can_be_picked(browser: Any, tmp_path: Path) -> None:
    topology = topology_named("where-is-my-data")
    opened(browser, tmp_path, page_of(topology, both_ways(topology, "web1.eth0", "web2.eth0")))
    rows = browser.find_elements("css selector", "#ways tbody tr")
    assert len(browser.find_elements("css selector", "#courses polyline")) == len(rows) == 7
    assert "1 of 2 frames" in rows[-1].text
    rows[-1].find_element("tag name", "button").click()
    assert [row.get_attribute("aria-current") for row in rows] == ["false"] * 6 + ["true"]
    assert step(browser) == "hop 5 of 5"
    browser.find_element("id", "others").click()
    assert not browser.find_element("id", "courses").is_displayed()


def test_the_table_of_hops_is_one_stop_of_the_tab_key_and_arrows_move_in_it(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    topology = topology_named("where-is-my-data")
    opened(browser, tmp_path, page(topology, answer(topology, "web1.eth0", "web2.eth0")))
    rows = browser.find_elements("css selector", "#hops tbody tr")
    assert [row.get_attribute("tabindex") for row in rows] == ["-1"] * (len(rows) - 1) + ["0"]
    rows[-1].send_keys(Keys.ARROW_UP)
    browser.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert step(browser) == f"hop {len(rows) - 2} of {len(rows)}"
    assert browser.switch_to.active_element == rows[-3]


def displayed(browser: Any, *selectors: str) -> list[bool]:
    found = (browser.find_element("css selector", selector) for selector in selectors)
    return [element.value_of_css_property("display") != "none" for element in found]


@contextmanager
def on_paper(browser: Any) -> Iterator[None]:
    """For a reader whose screen is dark."""
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
    yield
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_on_paper_every_way_is_there_and_no_button(browser: Any, tmp_path: Path) -> None:
    topology = topology_named("where-is-my-data")
    opened(browser, tmp_path, page_of(topology, both_ways(topology, "web1.eth0", "web2.eth0")))
    assert displayed(browser, ".paper", ".bar") == [False, True]
    with on_paper(browser):
        assert displayed(browser, ".paper", ".bar") == [True, False]
        assert not browser.find_element("id", "hops").is_displayed()
        assert len(browser.find_elements("css selector", ".paper table")) == 7


BROKEN = """const lines = (cell) => { const r = document.createRange(); r.selectNodeContents(cell);
  return new Set([...r.getClientRects()].map((box) => Math.round(box.top))).size; };
return [...document.querySelectorAll(arguments[0])].filter((cell) => !cell.textContent.includes(" ") && lines(cell) > 1)
  .map((cell) => cell.textContent);"""
"""Single words that stand on more than one line."""


def test_on_paper_no_figure_and_no_word_of_the_hops_is_broken(browser: Any, tmp_path: Path) -> None:
    topology = topology_named("where-is-my-data")
    opened(browser, tmp_path, page_of(topology, both_ways(topology, "web1.eth0", "web2.eth0")))
    wide = browser.get_window_size()
    browser.set_window_size(700, 900)  # an A4 page between its margins
    with on_paper(browser):
        cells = browser.execute_script("return document.querySelectorAll('.paper td').length")
        broken = browser.execute_script(BROKEN, ".paper td:not(:nth-child(5)), th:not(.side):not(.top)")
    browser.set_window_size(wide["width"], wide["height"])
    assert cells > 100
    assert broken == []


def test_on_paper_all_is_dark_on_white(browser: Any, tmp_path: Path) -> None:
    topology = topology_named("where-is-my-data")
    opened(browser, tmp_path, page(topology, answer(topology, "web1.eth0", "web2.eth0")))
    with on_paper(browser):
        body, text = (browser.find_element("css selector", name) for name in ("body", ".pic text"))
        assert body.value_of_css_property("background-color") == "rgba(255, 255, 255, 1)"
        assert text.value_of_css_property("fill") == "rgb(0, 0, 0)"
    assert base64.b64decode(browser.print_page()).startswith(b"%PDF")


def test_the_matrix_can_be_read_without_colour(browser: Any, tmp_path: Path) -> None:
    topology = topology_named("where-is-my-data")
    opened(browser, tmp_path, page(topology, answer(topology, "web1.eth0", "web2.eth0")))
    cells = {c.get_attribute("title"): c.text for c in browser.find_elements("css selector", ".matrix td[title]")}
    assert cells["web1.eth0 to web2.eth0"] == "●"
    assert cells["web1.eth0 to db1.eth0"] == "!"
    assert cells["db1.eth0 to web1.eth0"] == "·"
