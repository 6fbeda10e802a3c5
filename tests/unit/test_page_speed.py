"""How fast a page is drawn: run when the other tests have ended."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from answered import answer, topology_named
from browsing import opened, page, step


def test_a_page_of_a_thousand_hops_is_drawn_in_two_seconds(browser: Any, tmp_path: Path) -> None:
    topology = topology_named("where-is-my-data")
    text = page(topology, answer(topology, "web1.eth0", "web2.eth0", longer=1000))
    took = []
    for _ in range(3):  # the best of them: a busy machine is no slow page
        begin = time.monotonic()
        opened(browser, tmp_path, text)
        assert step(browser) == "hop 1000 of 1000"
        took.append(time.monotonic() - begin)
        if took[-1] < 2.0:
            break
    assert min(took) < 2.0
