"""The registry in a real browser: finding a version, its page, comparing two, copying one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from phi3core import tags
from phi3core.registry import reader
from phi3core.store.client import mlflow_client
from tests.e2e.conftest import App, until
from tests.e2e.pages import open_page, settled

pytestmark = [pytest.mark.browser, pytest.mark.model]

MODEL = "phi3-embedded"
_HEADER, _ROW = 34, 34  # pixels


@pytest.fixture
def others(app: App) -> Iterator[list[str]]:
    """Versions of other models to find and to miss; gone after the test."""
    store = mlflow_client(app.settings)
    names = ["a-search-bot", "a-guard"]
    for name in names:
        store.create_registered_model(name)
        for number in (1, 2):
            tag_values = {tags.USER: "bob@example.org", "team": name}
            store.create_model_version(name, f"file:///nowhere/{name}/{number}", tags=tag_values)
    yield names
    for name in names:
        store.delete_registered_model(name)


def cells(page: Page) -> list[str]:
    """The table's texts, as a screen reader has them."""
    table = page.get_by_test_id("stDataFrame").first
    return table.locator("[role=gridcell]").all_inner_texts() if table.count() else []


def listed(page: Page, refs: list[str]) -> None:
    """Until the table holds these versions."""
    until(lambda: [text for text in cells(page) if re.fullmatch(r"[\w-]+/\d+", text)] == refs)


def row_of(page: Page, ref: str) -> int:
    """The place of a version in the table, 0 for the first row."""
    table = page.get_by_test_id("stDataFrame").first
    expect(table.locator("[role=gridcell]").filter(has_text=re.compile(f"^{re.escape(ref)}$"))).to_have_count(1)
    refs = [text for text in cells(page) if re.fullmatch(r"[\w-]+/\d+", text)]
    return refs.index(ref)


def press(page: Page, ref: str, x: int) -> None:
    """Press into a row of the table, x pixels from its left edge: it is drawn on a canvas."""
    at = row_of(page, ref)
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x, box["y"] + _HEADER + _ROW * at + _ROW / 2)


def open_row(page: Page, ref: str) -> None:
    press(page, ref, 90)
    expect(title(page)).to_have_text(ref)
    settled(page)


def tick(page: Page, ref: str) -> None:
    press(page, ref, 16)
    settled(page)


def title(page: Page) -> Locator:
    return page.get_by_role("heading", level=1).first  # what was shown before stays below until the new is drawn


def search(page: Page, text: str) -> None:
    page.get_by_placeholder("Search names").fill(text)
    page.get_by_placeholder("Search names").press("Enter")
    settled(page)


def test_a_version_is_found_opened_and_back_comes_back_to_what_was_found(
    page: Page, app: App, others: list[str]
) -> None:
    open_page(page, app, "registry")
    page.get_by_role("button", name="Refresh").click()
    settled(page)
    search(page, "a-search")
    expect(page).to_have_url(re.compile(r"/registry\?q=a-search"))
    listed(page, ["a-search-bot/2", "a-search-bot/1"])
    open_row(page, "a-search-bot/1")
    expect(page).to_have_url(re.compile(r"model=a-search-bot&version=1"))
    page.get_by_role("tab", name="Files").click()
    expect(page.get_by_text("The files of a-search-bot/1 are gone")).to_be_visible()
    page.reload()
    expect(title(page)).to_have_text("a-search-bot/1")
    expect(page.get_by_role("tab", name="Files")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(title(page)).to_have_text("Registry")
    expect(page.get_by_placeholder("Search names")).to_have_value("a-search")
    listed(page, ["a-search-bot/2", "a-search-bot/1"])


def test_two_ticked_versions_are_compared_and_what_breaks_is_told(page: Page, app: App) -> None:
    open_page(page, app, f"registry?model={MODEL}")
    tick(page, f"{MODEL}/1")
    tick(page, f"{MODEL}/2")
    page.get_by_role("button", name=re.compile("^Compare phi3")).click()
    expect(page).to_have_url(re.compile(r"/registry\?compare=[^&]*&with=[^&]*$"))
    alert = page.get_by_test_id("stAlert")
    expect(alert).to_contain_text("would break on")
    expect(page.get_by_role("heading", name="Signature")).to_be_visible()
    expect(page.get_by_role("heading", name="Chat template")).to_have_count(0)
    page.get_by_text("Everything", exact=True).click()
    expect(page.get_by_role("heading", name="Chat template")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Chat template")).to_be_visible()
    before = [page.get_by_role("combobox").nth(at).input_value() for at in (0, 1)]
    page.get_by_role("button", name="Swap").click()
    expect(page.get_by_role("combobox").nth(0)).to_have_value(before[1])
    page.get_by_role("button", name="Registry", exact=True).click()
    expect(title(page)).to_have_text("Registry")
    expect(page).to_have_url(re.compile(r"/registry$"))


def pressed(page: Page, name: str) -> bool:
    """Press a button that opens a dialog. A page may draw itself anew once, when the store has answered."""
    page.get_by_role("button", name=name).click()
    with contextlib.suppress(AssertionError):
        expect(page.get_by_role("dialog")).to_be_visible(timeout=3_000)
        return True
    return False


def test_a_description_and_a_tag_are_edited(page: Page, app: App) -> None:
    open_page(page, app, f"registry?model={MODEL}&version=1")
    dialog = page.get_by_role("dialog")
    until(lambda: pressed(page, "Edit the description"))
    dialog.get_by_role("textbox", name="Description").fill("Slow, but it was *first*.")
    dialog.get_by_role("textbox", name="Description").press("Control+Enter")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"The description of {MODEL}/1 is saved.")).to_be_visible()
    expect(page.get_by_text("Slow, but it was first.")).to_be_visible()
    assert reader.get_version(app.settings, f"{MODEL}/1").description == "Slow, but it was *first*."


def test_a_copy_is_registered_with_where_it_came_from(page: Page, app: App) -> None:
    open_page(page, app, f"registry?model={MODEL}&version=2")
    page.get_by_role("button", name="More").click()
    page.get_by_text("Copy to …").click()
    dialog = page.get_by_role("dialog")
    name = dialog.get_by_label("Registered model", exact=True)
    name.fill("copied")
    name.press("Enter")
    expect(dialog).to_contain_text("becomes a new version of copied as well")
    dialog.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_text(f"{MODEL}/2 is copied: the copy is copied/1.")).to_be_visible()
    expect(dialog).to_have_count(0)
    open_page(page, app, "registry?model=copied&version=1")
    page.get_by_role("button", name=f"Copied from {MODEL}/2").click()
    expect(title(page)).to_have_text(f"{MODEL}/2")
    page.get_by_role("tab", name="Record").click()
    until(lambda: "copy" in cells(page))
    mlflow_client(app.settings).delete_registered_model("copied")


@pytest.mark.parametrize("context", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_a_versions_page_and_a_comparison_fit_a_phone(page: Page, app: App) -> None:
    tabs = ("Overview", "Signature", "Metrics", "Files", "Record", "Use it")
    paths = [f"registry?model={MODEL}&version=2&tab={tab.replace(' ', '+')}" for tab in tabs]
    for path in [*paths, f"registry?compare={MODEL}/1&with={MODEL}/2", "registry?list=Models"]:
        open_page(page, app, path)
        settled(page)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels too wide"
