"""For tests of pure code: the limits that they do not have, and the browser that pages are opened in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long a drawn case takes depends on what else the machine does, and is nobody's mistake.
settings.register_profile("vswitchlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vswitchlab")

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--window-size=1300,900")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (setup.cfg, extra test)")
    if not (BROWSER and DRIVER):
        lacking = "chromium and chromium-driver are not installed (Debian packages)"
        (pytest.fail if os.environ.get("VLAB_REQUIRE") else pytest.skip)(lacking)
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()
