"""Headless Chromium for one test, and what it complained of.

    with Browser() as browser:
        browser.open("http://127.0.0.1:8000/")
        browser.until("#state", "live")        # the text of an element, awaited
        browser.element("#name").send_keys("Ada")
        self.assertEqual(browser.complaints(), [])

Nothing is waited for by sleeping: `until` and `wait` look again and again until a deadline,
and then say what there was instead. `browser.driver` is the Selenium driver itself.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 20.0  # seconds, for whatever a page should come to show
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: CI runs as root. The rest keeps it from calling home.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """One Chromium with a profile of its own, thrown away at the end. width, height: pixels."""

    def __init__(self, width: int = 1000, height: int = 800, dark: bool = False) -> None:
        program = next(filter(None, map(shutil.which, BROWSERS)), None)
        driver = shutil.which("chromedriver")
        if program is None or driver is None:
            raise RuntimeError(
                "no Chromium with chromedriver is installed; on Debian: "
                "apt-get install chromium chromium-driver"
            )
        self._profile = tempfile.TemporaryDirectory(prefix="pyliteflux-browser-")
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in (*FLAGS, f"--user-data-dir={self._profile.name}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # Given by name: Selenium would go and look for one otherwise.
        self.driver: Any = webdriver.Chrome(options, Service(driver))
        self.resize(width, height, dark)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.driver.quit()
        self._profile.cleanup()

    def resize(self, width: int, height: int = 800, dark: bool = False) -> None:
        """Show the page on a screen of this size, in light or dark colours."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.driver.get(url)

    def element(self, selector: str) -> WebElement:
        """Return the first element that a CSS selector finds, once there is one."""
        return self.wait(
            lambda: next(iter(self.elements(selector)), None), f"there is a {selector}"
        )

    def elements(self, selector: str) -> list[WebElement]:
        """Return all that a CSS selector finds now."""
        found: list[WebElement] = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found

    def text(self, selector: str) -> str:
        """Return the text shown by the elements that a selector finds, in lines."""
        return "\n".join(element.text for element in self.elements(selector))

    def until(self, selector: str, text: str) -> None:
        """Wait until the elements that a selector finds show a text."""
        try:
            self.wait(lambda: text in self.text(selector), "")
        except AssertionError:
            raise AssertionError(
                f"{selector} never showed {text!r} but {self.text(selector)!r}"
            ) from None

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what a condition yields once that is true."""
        waiting = WebDriverWait(
            self.driver, PATIENCE, 0.05, ignored_exceptions=[StaleElementReferenceException]
        )
        try:
            return waiting.until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"it never came to this: {what}") from None

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    @property
    def overflows(self) -> bool:
        """True where the page is wider than the screen."""
        return bool(self.run("return document.documentElement.scrollWidth > window.innerWidth"))

    def complaints(self) -> list[str]:
        """Return the errors of the console since the last call."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(self, path: str | Path) -> None:
        """Save what the page looks like, as PNG."""
        self.driver.save_screenshot(str(path))
