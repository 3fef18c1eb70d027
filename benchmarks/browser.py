"""Pages in Chromium: from a click, or an address, to content that a person can read."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .tables import alternate

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_WAIT, _FILLING = 60_000, 300_000
_REST = 500  # ms after a page has come and before the next click: what comes after its first sight is over


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("PHI3_CHROMIUM")
    if not path:
        raise SystemExit("The pages need Chromium: set PHI3_CHROMIUM to its path.")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


def warm(browser: Browser, app: str, mlflow: str, first_model: str, rounds: int) -> dict[str, float]:
    """Seconds from a click in the menu to the list, of our Registry and of MLflow's Models, both opened before."""
    ours, theirs = browser.new_page(), browser.new_page()
    ours.goto(f"{app}/registry")
    _registry(ours, _FILLING)
    ours.wait_for_timeout(20_000)  # the first reading is not over with it: metrics come last
    theirs.goto(f"{mlflow}/#/models")
    theirs.get_by_text(first_model).first.wait_for(timeout=_WAIT)
    theirs.wait_for_timeout(2000)
    theirs.keyboard.press("Escape")  # it greets a first visitor with a dialog, and has its registry in a second menu
    theirs.get_by_text("Model training", exact=True).click()

    def our_click() -> float:
        ours.get_by_test_id("stSidebarNav").get_by_text("Empty", exact=True).click()
        ours.get_by_text("Nothing here").wait_for(timeout=_WAIT)
        ours.wait_for_timeout(_REST)
        link = ours.get_by_test_id("stSidebarNav").get_by_text("Registry", exact=True)
        started = time.perf_counter()
        link.click()
        _registry(ours)
        return time.perf_counter() - started

    def their_click() -> float:
        theirs.locator('a[href="#/experiments"]').first.click()
        theirs.get_by_text(first_model).first.wait_for(state="detached", timeout=_WAIT)
        theirs.wait_for_timeout(_REST)
        link = theirs.locator('a[href="#/models"]').first
        started = time.perf_counter()
        link.click()
        theirs.get_by_text(first_model).first.wait_for(timeout=_WAIT)
        return time.perf_counter() - started

    return alternate({"ours": our_click, "mlflow": their_click}, rounds)


def cold(browser: Browser, app: str, rounds: int) -> dict[str, float]:
    """Seconds from an address to its content for a browser without a cache, of the Registry and an empty page."""

    def visit(path: str) -> float:
        context = browser.new_context()
        page = context.new_page()
        started = time.perf_counter()
        page.goto(f"{app}/{path}", wait_until="commit")
        if path == "empty":
            page.get_by_text("Nothing here").wait_for(timeout=_WAIT)
        else:
            _registry(page)
        taken = time.perf_counter() - started
        context.close()
        return taken

    return alternate({"registry": lambda: visit("registry"), "empty": lambda: visit("empty")}, rounds)


def _registry(page: Page, wait: float = _WAIT) -> None:
    """Until our list is there: how many there are, and the table, which is painted on a canvas."""
    page.get_by_text(re.compile(r"1–50 of 10,000")).wait_for(timeout=wait)
    page.get_by_test_id("stDataFrame").locator("canvas").first.wait_for(timeout=_WAIT)
