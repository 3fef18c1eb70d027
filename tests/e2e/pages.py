"""What a person does on the pages, in their words."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import PATIENCE, App

# Answered at length whatever is drawn by lot: 120 tokens and more in each of thirty tries.
LONG = (
    "Write a very long and detailed story about a ship, a storm and a lighthouse keeper. "
    "Describe every day of the voyage."
)


def open_page(page: Page, app: App, path: str) -> None:
    page.goto(f"{app.url}/{path}")
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def settled(page: Page, seconds: float = PATIENCE) -> None:
    """Until no script of the page runs."""
    expect(page.get_by_test_id("stApp")).to_have_attribute(
        "data-test-script-state", "notRunning", timeout=seconds * 1000
    )


def say(page: Page, text: str) -> None:
    box = page.get_by_test_id("stChatInputTextArea")
    expect(box).to_be_enabled()
    box.fill(text)
    box.press("Enter")


def shorten(page: Page, tokens: int) -> None:
    """No answer is longer than that."""
    box = page.get_by_label("Longest answer, in tokens")
    box.fill(str(tokens))
    box.press("Enter")
    settled(page)


def ask(page: Page, text: str, seconds: float = PATIENCE) -> None:
    """Say it and wait until the answer has ended well."""
    count = messages(page).count()
    say(page, text)
    expect(messages(page)).to_have_count(count + 2)
    expect(figures(page)).to_be_visible(timeout=seconds * 1000)
    settled(page)


def messages(page: Page) -> Locator:
    return page.get_by_test_id("stChatMessage")


def answer(page: Page) -> Locator:
    """The text of the newest answer."""
    return messages(page).last.get_by_test_id("stMarkdown").first


def figures(page: Page) -> Locator:
    return messages(page).last.get_by_text(re.compile(r"first token"))


def watch_it_grow(page: Page, lengths: int = 2, seconds: float = PATIENCE) -> list[int]:
    """The different lengths of the newest answer while Stop is offered: proof that it is streamed."""
    seen: list[int] = []
    deadline = time.monotonic() + seconds
    # The first: while one live part replaces another there may be two.
    stop = page.get_by_role("button", name="Stop", exact=True).first
    expect(stop).to_be_visible(timeout=seconds * 1000)
    while len(seen) < lengths:
        assert time.monotonic() < deadline, f"the answer did not grow: {seen}"
        text = answer(page).inner_text() if answer(page).count() else ""
        if not stop.is_visible():
            break
        if text and len(text) not in seen:
            seen.append(len(text))
    return seen
