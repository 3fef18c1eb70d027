"""A real browser on pages that are full of a stranger's text: nothing of it is fetched, run, linked or badged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from phi3core import tags
from tests.conftest import home_of_its_own
from tests.e2e.conftest import App, end, launch
from tests.e2e.pages import open_page, settled
from tests.support.fakes import register
from tests.support.stranger import MARK, NAME, ONE, OTHER, TWO, write_everything

pytestmark = pytest.mark.browser

VIEWS = {
    "home": "",
    "a conversation": f"chat?c={ONE}",
    "a replay": f"conversations?replay={TWO}",
    "a version": "registry?" + urlencode({"model": NAME, "version": 2}),
    "the requests": f"promotions?view=requests&model={OTHER}",
}


@pytest.fixture(scope="module")
def strange(cache: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app over a store that a stranger has filled; no model is built."""
    folder = tmp_path_factory.mktemp("strange")
    with home_of_its_own(folder / "home", cache, empty_store) as settings:
        write_everything(settings, folder)
        (folder / "demo").mkdir()
        (folder / "demo" / "MLmodel").write_text("flavors: {python_function: {}}\nmetadata: {phi3: {wrapper: onnx}}\n")
        for _ in range(2):  # as of the demo, which is not built then
            register(
                settings,
                tags.DEMO_MODEL,
                (folder / "demo").as_uri(),
                {tags.WRAPPER: "onnx", tags.SOURCE: "embedded"},
            )
    app = launch(folder / "home", cache)
    yield app
    end(app)


def test_a_browser_obeys_nothing_of_a_stranger_s_text(page: Page, strange: App) -> None:
    """That no other machine was asked for anything is looked at when the page closes (`context`)."""
    for view, path in VIEWS.items():
        open_page(page, strange, path)
        settled(page)
        expect(page.get_by_text(MARK).first).to_be_visible()
        for obeyed in (f'[src*="{MARK}"]', f'a[href*="{MARK}"]', f'[style*="{MARK}"]', "img[onerror]"):
            links = page.locator(obeyed).all()
            words = [link.inner_text() for link in links]
            assert [said for said in words if not said.startswith("image: ")] == [], (view, obeyed)
        expect(page.locator(".stMarkdownBadge", has_text=re.compile(f"^{MARK}$"))).to_have_count(0)
        assert page.evaluate("window.obeyed") is None, view
