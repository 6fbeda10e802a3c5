"""Pages for tests, and what a browser makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.model import Topology
from lab.report.follow import Followed
from lab.report.page import Page, render
from lab.report.picture import picture
from lab.report.verify import Difference, Report
from lab.report.where import Answer
from traffic.frames import layers


def page(topology: Topology, *answers: Answer) -> str:
    return page_of(topology, Followed("what", 3, answers))


def page_of(topology: Topology, told: Followed) -> str:
    wrong = Difference("web1.eth0", "db1.eth0", "esx1:db1.eth0", "unicast", "f", (), 0, 1)
    names = tuple(nic.label for nic in topology.vnics)
    matrix = Report(12, 11, (wrong,), (), 99, 1.0, names, frozenset({("web1.eth0", "web2.eth0")}))
    return render(Page("Where & why", picture(topology), told, matrix, (), (("kernel", "<6>"),)), layers)


def opened(browser: Any, tmp_path: Path, text: str) -> Any:
    file = tmp_path / "report.html"
    file.write_text(text)
    browser.get(file.as_uri())
    assert browser.execute_script("return document.body.dataset.ready") == "yes"
    assert browser.get_log("browser") == []
    return browser


def step(browser: Any) -> str:
    return str(browser.find_element("id", "step").text).partition(":")[0]
