"""Conversations, as a person keeps them: found, named, taken elsewhere and back, repeated, deleted."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from phi3core.chat import history
from phi3core.chat.conversation import Conversation
from phi3core.serving.pool import pool
from phi3core.traces.turn import Turn
from tests.e2e.conftest import PATIENCE, App
from tests.e2e.pages import open_page, settled

pytestmark = [pytest.mark.browser, pytest.mark.model]

MODEL = "phi3-embedded"
NASTY = "What about **Rome** ![x](http://evil.example/?q=1) and :material/home: for $5 and $6?"


def talk(app: App, *said: tuple[str, str]) -> str:
    """A conversation in the app's store, as if somebody had had it yesterday, and its id."""
    made = Conversation(app.settings, pool(app.settings), user="ada")
    turns, parent, now = list[Turn](), "", time.time_ns() // 1_000_000 - 86_400_000
    for at, (question, answer) in enumerate(said):
        options = {"temperature": 0.0, "max_tokens": 24}
        turn = Turn(question, f"{MODEL}/2", answer=answer, state="done", parent=parent, options=options, user="ada")
        turn.when, turn.seed, turn.tokens_per_second, turn.completion_tokens = now + at, 7, 100.0, 9
        turns.append(turn)
        parent = turn.id
    made.adopt(turns)
    assert history.flush(app.settings, PATIENCE)
    return made.id


def row(page: Page, id: str) -> Locator:
    return page.locator(f".st-key-conversation_{id}")


def search(page: Page, text: str) -> None:
    box = page.get_by_placeholder("Search titles, questions and answers")
    box.fill(text)
    box.press("Enter")
    expect(page.get_by_text(re.compile(f"with “{re.escape(text)}”$"))).to_be_visible()
    settled(page)


def menu(page: Page, id: str, action: str) -> Locator:
    """Choose from a row's menu, and return the dialog that opens."""
    settled(page)
    row(page, id).get_by_test_id("stMenuButton").get_by_role("button").click()
    page.get_by_role("menuitem", name=action).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def bring(page: Page, file: Path) -> Locator:
    """Import a file, and return the dialog."""
    dialog = page.get_by_role("dialog")
    expect(dialog).to_have_count(0)  # the one of an earlier look is gone
    page.get_by_role("button", name="Import").click()
    settled(page)
    button, chooser = dialog.get_by_role("button", name="Import").last, dialog.locator("input[type=file]")
    for _ in range(3):  # a dialog that is being drawn again loses what it was given by a hand this fast
        expect(chooser).to_have_count(1)
        chooser.set_input_files(file)
        with contextlib.suppress(AssertionError):
            expect(button).to_be_enabled(timeout=5_000)
            break
    button.click()
    return dialog


def replay(page: Page, id: str) -> None:
    """Repeat a conversation with the version that answered it, to the end."""
    menu(page, id, "Replay").get_by_role("button", name="Start").click()
    expect(page).to_have_url(re.compile(r"/conversations\?replay=[0-9a-f]{32}$"))
    summary = page.get_by_test_id("stAlert").filter(has_text=re.compile("(is|are) (the same|different)"))
    expect(summary).to_be_visible()


def test_a_conversation_is_found_named_exported_imported_and_deleted(page: Page, app: App, tmp_path: Path) -> None:
    id = talk(app, ("The capital of Spain?", "It is Madrid-on-Manzanares."), (NASTY, "A city."))
    other = talk(app, ("Something else?", "Yes."))
    open_page(page, app, "conversations")
    expect(row(page, other)).to_be_visible()
    search(page, "madrid-on-manz")
    expect(row(page, id)).to_be_visible()
    expect(row(page, other)).to_have_count(0)

    dialog = menu(page, id, "Rename")
    dialog.get_by_role("textbox", name="Title").fill("Capitals of *Europe*")
    dialog.get_by_role("button", name="Rename").click()
    expect(row(page, id).get_by_role("link")).to_have_text("Capitals of *Europe*")

    row(page, id).locator("label").first.click()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("button", name="Download 1 conversation").click()
    page.keyboard.press("Escape")
    (line,) = download.value.path().read_text().splitlines()
    assert [message["content"] for message in json.loads(line)["messages"]][-2:] == [NASTY, "A city."]

    file = tmp_path / "talks.jsonl"
    file.write_text(f"{line}\n{line[:-5]}\n")
    dialog = bring(page, file)
    expect(dialog.get_by_test_id("stAlert")).to_contain_text("talks.jsonl, line 2")
    page.keyboard.press("Escape")
    file.write_text(line)
    bring(page, file)
    expect(page.get_by_text("1 conversation imported")).to_be_visible()

    dialog = menu(page, id, "Delete")
    expect(dialog).to_contain_text("Capitals of *Europe* · 2 turns")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("1 conversation deleted.")).to_be_visible()
    search(page, "Manzanares")
    expect(row(page, id)).to_have_count(0)
    expect(page.get_by_test_id("stCheckbox")).to_have_count(2)  # the imported one, and the one that takes all


def test_a_replay_runs_in_the_background_and_is_found_again_by_its_address(page: Page, app: App) -> None:
    id = talk(app, ("The capital of Spain is the city of", "Made-up-ville, of course."), (NASTY, "A city."))
    open_page(page, app, "conversations")
    search(page, "made-up-ville")
    replay(page, id)
    changed = page.locator(".st-key-replay_pair_1 .stMarkdownColoredBackground")
    expect(changed.first).to_be_visible()
    expect(page.get_by_test_id("stPlotlyChart")).to_be_visible()
    # Shown letter by letter; what would make it more than letters is parted by a sign without a width.
    assert NASTY in page.locator(".st-key-replay_pair_2").inner_text().replace("\u2060", "")
    said = page.locator(".st-key-replay_pair_1").inner_text()

    page.reload()
    settled(page)
    expect(page.locator(".st-key-replay_pair_1")).to_be_visible()
    assert page.locator(".st-key-replay_pair_1").inner_text() == said


def test_what_a_version_really_said_it_says_again(page: Page, app: App) -> None:
    id = talk(app, ("The capital of Peru is the city of", "Invented-by-the-sea."))
    open_page(page, app, "conversations")
    search(page, "capital of Peru")
    replay(page, id)
    made = page.url.rpartition("=")[2]
    page.get_by_role("button", name="All conversations").click()
    expect(page).to_have_url(f"{app.url}/conversations")
    expect(row(page, made)).to_contain_text("replay")
    replay(page, made)
    expect(page.get_by_text("The answer is the same, to the letter.")).to_be_visible()
    page.go_back()
    expect(row(page, made)).to_be_visible()


@pytest.mark.parametrize("context", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_the_list_fits_a_phone(page: Page, app: App) -> None:
    id = talk(app, ("A question that goes on and on, far beyond what a narrow screen can hold on a line", "Yes."))
    open_page(page, app, "conversations")
    expect(row(page, id)).to_be_visible()
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"it is {wide} pixels too wide"
    menu_button = row(page, id).get_by_test_id("stMenuButton").bounding_box()
    assert menu_button
    assert menu_button["x"] + menu_button["width"] <= 390
    title = row(page, id).get_by_role("link").locator("p")
    cut = title.evaluate("e => [e.scrollWidth > e.clientWidth, getComputedStyle(e).textOverflow]")
    assert cut == [True, "ellipsis"]
