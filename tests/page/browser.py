"""A Chromium without a window, as a person has it: in light or dark, of some width."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.page.tools import AXE

#: names that Chromium goes by
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: seconds that a page may take to become what is waited for
PATIENCE = 30
#: the tallest picture, pixels
_TALLEST = 1500


def missing(*, axe: bool = True) -> str:
    """What is not there, "" where all is that a browser needs, and with `axe` all that tests need."""
    if importlib.util.find_spec("selenium") is None:
        return "no selenium here: `make test-page` has an environment of its own"
    if not (_chromium() and shutil.which("chromedriver")):
        return "no Chromium here: install chromium and chromium-driver"
    return "" if AXE.exists() or not axe else "no axe-core here: `make test-page` brings it"


def _chromium() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """One window."""

    def __init__(self, driver: Any, width: int) -> None:
        self.driver = driver
        self._width = width

    def open(self, address: str) -> None:
        self.driver.get(address)

    def find(self, selector: str) -> Any:
        """An element, waited for."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, PATIENCE).until(lambda d: d.find_element(By.CSS_SELECTOR, selector))

    def wait_for(self, text: str) -> None:
        """Until the page shows a text."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, PATIENCE).until(lambda _: text in self.run("return document.body.innerText"), text)

    def wait_live(self) -> None:
        """Until its stream is open, and has told all that it had to tell."""
        self.find('#live[data-state="on"]')

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def complaints(self) -> list[str]:
        """What the browser has refused or could not do."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def violations(self) -> list[str]:
        """What axe-core finds that keeps somebody from using the page."""
        self.run(AXE.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0];axe.run().then(r => done(r.violations), e => done([{id: String(e), nodes: []}]))"
        )
        return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"] or [{"html": ""}]]

    def picture(self, file: Path) -> None:
        """All of the page above its footer."""
        height = min(int(self.run("return document.querySelector('footer').getBoundingClientRect().top")), _TALLEST)
        self._size(height)
        self.driver.save_screenshot(str(file))

    def _size(self, height: int) -> None:
        told = {"width": self._width, "height": height, "deviceScaleFactor": 1, "mobile": self._width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", told)


@contextmanager
def browser(*, dark: bool = False, width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """A window that lives as long as the block."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = _chromium()
    # in a container there is no room in /dev/shm, and root has no sandbox; what is opened here is our own
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
        found = Browser(driver, width)
        found._size(height)
        yield found
    finally:
        driver.quit()
