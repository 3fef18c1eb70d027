"""What a person does with an answer: asks otherwise, goes back and forth, has it as JSON, says what is bad about it."""

from __future__ import annotations

import json

import mlflow
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import App, until
from tests.e2e.pages import answer, ask, figures, messages, open_page, settled, shorten

pytestmark = [pytest.mark.browser, pytest.mark.model]

REF = "phi3-embedded/2"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Madrid", "Rome"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}


def below(page: Page, key: str, at: int = -1) -> Locator:
    """A button below an answer or a question, by what its key begins with; at: of which one."""
    return page.locator(f'[class*="st-key-{key}"]').nth(at).get_by_role("button")


def edit(page: Page, at: int, text: str) -> None:
    """Write the message otherwise, send it again and wait for its answer."""
    below(page, "turn_edit_open_", at).click()
    box = page.locator('[class*="st-key-turn_edit_"]').get_by_role("textbox")
    expect(box).to_be_focused()
    expect(box).to_be_in_viewport()
    box.fill(text)
    box.press("Control+Enter")
    settled(page)
    page.locator(".st-key-turn_edit_send").get_by_role("button").click()
    expect(messages(page)).to_have_count(2 * at + 2)  # those below the old wording are gone
    expect(messages(page).last.get_by_role("button", name="Stop")).to_have_count(0)
    expect(figures(page)).to_be_visible()
    settled(page)


def said(page: Page) -> list[str]:
    """The questions on the page."""
    settled(page)
    return [text.inner_text() for text in messages(page).get_by_test_id("stText").all()]


def test_both_wordings_of_a_message_stay_and_a_reload_shows_the_one_that_was_chosen(page: Page, app: App) -> None:
    open_page(page, app, f"chat?ref={REF}")
    shorten(page, 8)
    ask(page, "The capital of Spain?")
    ask(page, "And of Italy?")
    before = answer(page).inner_text()

    edit(page, 0, "The capital of Peru?")
    assert said(page) == ["The capital of Peru?"]
    expect(messages(page).first).to_contain_text("2/2")

    below(page, "turn_-1_").click()
    expect(messages(page).first).to_contain_text("1/2")
    expect(messages(page)).to_have_count(4)
    page.reload()
    expect(messages(page)).to_have_count(4)
    assert said(page) == ["The capital of Spain?", "And of Italy?"]
    assert answer(page).inner_text() == before

    below(page, "turn_1_", 0).click()
    expect(messages(page).first).to_contain_text("2/2")
    page.reload()
    expect(messages(page).first).to_contain_text("2/2")
    assert said(page) == ["The capital of Peru?"]


def test_an_answer_is_made_anew_beside_the_old_one_and_a_branch_leaves_both_alone(page: Page, app: App) -> None:
    open_page(page, app, f"chat?ref={REF}")
    shorten(page, 8)
    ask(page, "The capital of Spain?")
    page.get_by_role("button", name="Regenerate").click()
    expect(messages(page).first).to_contain_text("2/2")
    expect(figures(page)).to_be_visible()
    settled(page)
    address, second = page.url, answer(page).inner_text()

    below(page, "turn_branch_").click()
    expect(page).not_to_have_url(address)
    assert said(page) == ["The capital of Spain?"]
    assert answer(page).inner_text() == second
    ask(page, "And of Italy?")

    page.goto(address)
    expect(messages(page).first).to_contain_text("2/2")
    expect(messages(page)).to_have_count(2)


def test_an_answer_in_json_follows_its_schema(page: Page, app: App) -> None:
    open_page(page, app, f"chat?ref={REF}")
    page.get_by_test_id("stButtonGroup").get_by_text("JSON", exact=True).click()
    settled(page)
    page.get_by_role("button", name="Schema").click()
    box = page.get_by_label("JSON schema")
    box.fill(json.dumps(SCHEMA))
    box.press("Control+Enter")
    expect(page.get_by_text("A schema with 2 properties.")).to_be_visible()
    page.keyboard.press("Escape")
    ask(page, "Where is it warm in winter?")
    found = json.loads(messages(page).last.get_by_test_id("stCode").first.inner_text())
    assert found["city"] in ("Madrid", "Rome")
    assert isinstance(found["warm"], bool)


def test_a_thumb_with_its_comment_is_there_after_a_reload_and_in_mlflow(page: Page, app: App) -> None:
    open_page(page, app, f"chat?ref={REF}")
    shorten(page, 8)
    ask(page, "The capital of Spain?")
    page.get_by_role("radio", name="Thumbs down").click()
    settled(page)
    below(page, "turn_why_").click()
    page.get_by_label("Comment").fill("It is *not* Lisbon.")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(messages(page).last.get_by_text("It is *not* Lisbon.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Comment")).to_have_count(0)

    page.reload()
    expect(messages(page).last.get_by_text("It is *not* Lisbon.")).to_be_visible()
    (thumb,) = until(lambda: assessments(app, page.url.rpartition("c=")[2]))
    assert (thumb.name, thumb.value, thumb.rationale) == ("thumb", False, "It is *not* Lisbon.")


def assessments(app: App, conversation: str) -> list[mlflow.entities.Assessment]:
    """What stands at the conversation's traces with a comment, as MLflow tells everybody."""
    store = mlflow.MlflowClient(app.settings.tracking_uri)
    home = store.get_experiment_by_name("phi3-conversations")
    assert home is not None
    traces = store.search_traces([home.experiment_id], f"metadata.`mlflow.trace.session` = '{conversation}'")
    found = [a for trace in traces for a in trace.info.assessments or [] if getattr(a, "valid", True) is not False]
    return [assessment for assessment in found if assessment.rationale]
