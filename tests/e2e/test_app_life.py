"""The app's own life: cold links, a second start, and an end that leaves nothing behind."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from phi3core.registry import reader
from tests.e2e.conftest import App, end, gone, launch, until
from tests.e2e.pages import figures, open_page, say
from tests.support.proxy import proxy

pytestmark = [pytest.mark.browser, pytest.mark.model]


def family(app: App) -> list[psutil.Process]:
    launcher = psutil.Process(app.launcher.pid)
    return [launcher, *launcher.children(recursive=True)]


@pytest.mark.parametrize(("path", "title"), [("registry", "Registry"), ("build", "Build"), ("chat", "Message")])
def test_a_cold_deep_link_opens_its_page_and_ctrl_c_ends_everything(
    page: Page, app: App, home: Path, cache: Path, path: str, title: str
) -> None:
    """The first request that a fresh app server ever gets is for a page of its own."""
    before = [version.ref for version in reader.list_versions(app.settings, "phi3-embedded")]
    cold = launch(home, cache)
    worked = sum(sum(process.cpu_times()[:2]) for process in (psutil.Process(cold.launcher.pid), cold.server()))
    try:
        assert worked < 30, f"a start with everything prepared took {worked:.0f} s of a processor"  # 5 s on an idle one
        assert "Building" not in cold.output()
        assert [version.ref for version in reader.list_versions(app.settings, "phi3-embedded")] == before
        page.goto(f"{cold.url}/{path}")
        if path == "chat":
            expect(page.get_by_test_id("stChatInput")).to_be_visible()
            say(page, "Hello")
            expect(figures(page)).to_be_visible()
        else:
            expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        expect(page.get_by_text("Page not found")).to_have_count(0)
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page).to_have_url(re.compile(f"/{path}"))
        # Launcher, app server and a spare model server; on the chat page one that serves too.
        count = 4 if path == "chat" else 3
        members = until(
            lambda: (found := family(cold)) and len(found) == count and found, told=lambda: str(family(cold))
        )
        assert cold.interrupt() == 0, cold.output()
        until(lambda: all(gone(member) for member in members))
        assert "Traceback" not in cold.output()
        assert "Stopping" in cold.output()
    finally:
        end(cold)


def test_a_page_goes_on_by_itself_when_its_store_comes_back(
    chromium: Browser, http_server: str, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "home").mkdir()
    with proxy(http_server, broken=503) as front:
        away = launch(tmp_path / "home", cache, store=front.url)
        try:
            page = chromium.new_page()
            for path in ("", "registry", "conversations"):
                page.goto(f"{away.url}/{path}")
                expect(page.get_by_test_id("stAlert").first).to_contain_text("MLflow store")
            page.goto(away.url)
            expect(page.get_by_text("goes on by itself")).to_be_visible()
            front.broken = 0
            expect(page.get_by_text("goes on by itself")).to_be_hidden()
            expect(page.get_by_role("heading", name="Recent builds")).to_be_visible()
            assert page.get_by_test_id("stAlert").count() == 0
            page.close()
        finally:
            end(away)


def test_a_killed_app_server_leaves_no_model_server_behind(page: Page, home: Path, cache: Path, app: App) -> None:
    other = launch(home, cache)
    try:
        open_page(page, other, "chat")
        say(page, "Hello")
        expect(figures(page)).to_be_visible()
        until(lambda: len(other.model_servers()) == 1)  # the spare gets its name once it runs
        servers = until(lambda: (found := other.server().children()) and len(found) == 2 and found)  # one is a spare
        other.server().kill()
        until(lambda: all(gone(server) for server in servers))
        assert until(lambda: other.launcher.poll() is not None and other.launcher.returncode) == 1
        assert "ended unexpectedly" in other.output()
        assert "Traceback" not in other.output()
    finally:
        end(other)


def test_a_killed_launcher_leaves_nothing_behind(home: Path, cache: Path, app: App) -> None:
    other = launch(home, cache)
    try:
        members = until(lambda: (found := family(other)) and len(found) == 3 and found)
        other.launcher.kill()
        until(lambda: all(gone(member) for member in members))
    finally:
        end(other)
