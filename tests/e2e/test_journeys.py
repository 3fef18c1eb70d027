"""What people come for, on the real embedded model, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from phi3core import tags
from phi3core.build import jobs
from phi3core.registry import reader
from tests.e2e.conftest import App
from tests.e2e.pages import LONG, answer, figures, messages, open_page, say, settled, shorten, watch_it_grow

pytestmark = [pytest.mark.browser, pytest.mark.model]

MODEL = "phi3-embedded"


# What its beginning has in common with what another conversation has read is not read again.
FIGURES = rf"{MODEL}/2 · [\d.]+ tokens/s · first token [\d,]+ ms · \d+(?: \(\d+ cached\))? \+ \d+"

# ---------------------------------------------------------------- a fresh app


def test_a_fresh_app_answers_from_the_onnx_version_without_touching_anything(page: Page, app: App) -> None:
    open_page(page, app, "chat")
    expect(page.get_by_text(f"{MODEL}/2", exact=True).first).to_be_visible()
    expect(page.get_by_text("is not Phi-3")).to_be_visible()
    say(page, "What is the capital of Spain?")
    expect(figures(page)).to_be_visible()
    expect(answer(page)).to_contain_text(re.compile(r"\w{3}"))  # what it says is drawn by lot
    expect(figures(page)).to_contain_text(re.compile(FIGURES))
    page.locator('[class*="st-key-turn_sent_"]').last.get_by_role("button").click()
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text("<|im_start|>user")
    assert len(app.model_servers(f"{MODEL}/2")) == 1


def test_the_registry_shows_both_versions(page: Page, app: App) -> None:
    open_page(page, app, "registry")
    table = page.get_by_test_id("stDataFrame")
    expect(table).to_be_visible()
    cells = table.locator("[role=gridcell]")  # drawn on a canvas; these are its text for screen readers
    for number in (1, 2):
        expect(cells.filter(has_text=re.compile(f"^{MODEL}/{number}$"))).to_have_count(1)
    assert {v.version: v.wrapper for v in reader.list_versions(app.settings, MODEL) if v.version < 3} == {
        1: "transformers",
        2: "onnx",
    }


@pytest.mark.parametrize("context", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
@pytest.mark.parametrize("path", ["home", "chat", "registry", "build"])
def test_every_page_fits_a_phone(page: Page, app: App, path: str) -> None:
    open_page(page, app, path)
    settled(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{path} is {wide} pixels too wide"
    if path == "chat":
        say(page, "Hello")
        expect(figures(page)).to_be_visible()


# ---------------------------------------------------------------- a conversation


def test_a_reload_keeps_the_conversation(page: Page, app: App) -> None:
    open_page(page, app, "chat")
    say(page, "What is the capital of Italy?")
    expect(figures(page)).to_be_visible()
    said = answer(page).inner_text()
    page.reload()
    expect(messages(page)).to_have_count(2)
    expect(messages(page).first).to_contain_text("What is the capital of Italy?")
    assert answer(page).inner_text() == said


def test_a_reload_in_mid_answer_goes_on_with_it_to_its_end(page: Page, app: App) -> None:
    open_page(page, app, "chat")
    say(page, LONG)
    watch_it_grow(page)
    before = answer(page).inner_text()
    page.reload()
    assert len(watch_it_grow(page)) == 2, "the answer stood still after the reload"
    expect(figures(page)).to_be_visible()
    assert len(answer(page).inner_text()) > len(before)
    assert answer(page).inner_text().startswith(before.strip()[:30])
    expect(messages(page)).to_have_count(2)
    expect(page.get_by_test_id("stChatInputTextArea")).to_be_enabled()


def test_stop_ends_the_answer_and_keeps_the_text_so_far(page: Page, app: App) -> None:
    open_page(page, app, "chat")
    say(page, LONG)
    watch_it_grow(page)
    before = answer(page).inner_text()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(messages(page).last.get_by_text("Stopped.")).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    kept = answer(page).inner_text()
    assert kept.startswith(before[:30])
    page.reload()  # it is kept, and it really has stopped
    expect(messages(page).last.get_by_text("Stopped.")).to_be_visible()
    assert answer(page).inner_text() == kept
    say(page, "What is the capital of Spain?")
    expect(messages(page)).to_have_count(4)
    expect(figures(page)).to_be_visible()


def test_a_model_server_killed_in_mid_answer_is_told_and_try_again_answers(page: Page, app: App) -> None:
    open_page(page, app, "chat")
    say(page, LONG)
    watch_it_grow(page)
    before = answer(page).inner_text()
    (victim,) = app.model_servers(f"{MODEL}/2")
    victim.kill()
    expect(page.get_by_test_id("stAlert").filter(has_text="died in mid-answer")).to_be_visible()
    expect(answer(page)).to_contain_text(before[:30])
    page.get_by_role("button", name="Try again").click()
    expect(figures(page)).to_be_visible()
    expect(page.get_by_test_id("stAlert").filter(has_text="died")).to_have_count(0)
    expect(messages(page)).to_have_count(2)
    assert victim.pid not in [server.pid for server in app.model_servers()]


# ---------------------------------------------------------------- an image never leaves


def test_what_a_person_writes_is_shown_as_written_and_never_makes_the_browser_fetch_an_image(
    page: Page, app: App, trap: tuple[str, list[str]]
) -> None:
    address, asked = trap
    forms = [
        f"![plain]({address}/inline?q=secret)",
        f"![reference][ref]\n\n[ref]: {address}/reference",
        f"[![linked]({address}/linked)](http://localhost/)",
        f"![a [b] c]({address}/nested)",
        f"` ![tick]({address}/tick)",
        f'<img src="{address}/html">',
        f"<!--\n```\n-->\n![x]({address}/fence)",
        f"$$\\includegraphics{{{address}/formula}}$$",
    ]
    open_page(page, app, "chat")
    shorten(page, 5)
    say(page, "\n\n".join(forms))
    expect(figures(page)).to_be_visible()
    expect(messages(page).first.get_by_test_id("stText")).to_contain_text(f"![plain]({address}/inline?q=secret)")
    expect(messages(page).first.locator("img, a")).to_have_count(0)
    page.wait_for_load_state("networkidle")
    assert asked == []


# ---------------------------------------------------------------- builds


def test_cancel_ends_a_build_and_nothing_is_registered(page: Page, app: App) -> None:
    open_page(page, app, "build")
    page.get_by_test_id("stRadio").get_by_text("Transformers", exact=True).click()
    name = page.get_by_label("Registered model", exact=True)
    name.fill("not-wanted")
    name.press("Enter")
    settled(page)
    page.get_by_role("button", name="Build", exact=True).click()
    card = page.locator('[class*="st-key-build_"]').filter(has_text="not-wanted").filter(has_text="Try it out")
    card.get_by_role("button", name="Cancel").click()
    expect(card.get_by_text("· cancelled").first).to_be_visible()
    expect(card.get_by_role("button", name="Cancel")).to_have_count(0)
    (job,) = [job for job in jobs.list_recent(app.settings) if job.spec.name == "not-wanted"]
    assert job.status == "KILLED"
    assert "not-wanted" not in [model.name for model in reader.list_models(app.settings)]
    assert app.builds() == []


def test_a_build_that_fails_shows_its_reason(page: Page, app: App, tmp_path: Path) -> None:
    (tmp_path / "no-model").mkdir()
    open_page(page, app, "build")
    page.get_by_test_id("stRadio").get_by_text("Folder", exact=True).click()
    folder = page.get_by_label("Folder", exact=True).and_(page.get_by_role("textbox"))
    folder.fill(str(tmp_path / "no-model"))
    folder.press("Enter")
    settled(page)
    page.get_by_role("button", name="Build", exact=True).click()
    reason = page.get_by_test_id("stAlert").filter(has_text=str(tmp_path / "no-model"))
    expect(reason).to_be_visible()
    card = page.locator('[class*="st-key-build_"]').filter(has=reason)
    expect(card.get_by_text("Traceback")).to_have_count(0)
    assert "no-model" not in [model.name for model in reader.list_models(app.settings)]


# ---------------------------------------------------------------- the main journey; it moves Production, so it is last


def test_from_a_build_to_production_to_an_answer_on_one_way(page: Page, app: App) -> None:
    before = [version.version for version in reader.list_versions(app.settings, MODEL)]
    number = max(before) + 1

    open_page(page, app, "build")
    page.get_by_text("Options", exact=True).click()
    page.get_by_text("messages → chat completion").click()
    page.get_by_role("button", name="Build", exact=True).click()
    card = page.locator('[class*="st-key-build_"]').filter(has=page.get_by_role("button", name="Cancel"))
    for step in ("Get the weights", "Convert to ONNX", "Try it out", "Log the model", "Register the version"):
        expect(card.get_by_text(step)).to_be_visible()
    page.get_by_role("link", name="Home").click()  # the build goes on without its page
    expect(page.get_by_text("running, started")).to_be_visible()
    page.get_by_role("link", name="Build", exact=True).click()
    link = page.get_by_role("link", name=f"{MODEL}/{number}", exact=True)
    expect(link).to_be_visible()
    link.click()

    expect(page.get_by_role("heading", name=f"{MODEL}/{number}", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(rf"/registry\?.*version={number}"))
    page.get_by_role("button", name="Move to a stage").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{MODEL}/Production and @production mean {MODEL}/{number} from then on")
    dialog.get_by_label("Reason").fill("It answered best.")
    dialog.get_by_label("Reason").press("Enter")
    dialog.get_by_role("button", name="Move to Production").click()
    expect(page.get_by_text(f"{MODEL}/{number} is now in Production.")).to_be_visible()
    expect(dialog).to_have_count(0)

    page.get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", name="In Production")).to_be_visible()
    expect(page.get_by_text(f"{MODEL}/{number}", exact=True).first).to_be_visible()

    page.get_by_role("link", name="Chat").first.click()
    expect(page.get_by_text("Production").first).to_be_visible()
    say(page, LONG)
    assert len(watch_it_grow(page)) == 2, "the answer came in one piece"
    expect(figures(page)).to_be_visible()
    expect(figures(page)).to_contain_text(f"{MODEL}/{number} ·")
    expect(page).to_have_url(re.compile(r"ref=phi3-embedded(%2F|/)Production&c="))

    made = reader.get_version(app.settings, f"{MODEL}/Production")
    assert (made.version, made.stage, made.wrapper) == (number, "Production", "onnx")
    assert made.tags[tags.SIGNATURE] == "chat"
    assert [v.version for v in reader.list_versions(app.settings, MODEL) if v.stage == "Production"] == [number]
