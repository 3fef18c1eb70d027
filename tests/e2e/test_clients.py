"""Other programs: the official OpenAI client at the app's own port, beside people on the pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from playwright.sync_api import Page, expect

from phi3core.promotion.promote import set_alias
from tests.e2e.conftest import App, gone, until
from tests.e2e.pages import LONG, answer, figures, messages, open_page, say, shorten, watch_it_grow

pytestmark = [pytest.mark.browser, pytest.mark.model]

MODEL = "phi3-embedded"
STORY: list[Any] = [{"role": "user", "content": LONG}]


@pytest.fixture
def client(app: App) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{app.url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def champion(app: App) -> str:
    set_alias(app.settings, f"{MODEL}/2", "champion")
    return f"{MODEL}@champion"


def tell(client: openai.OpenAI, model: str, tokens: int) -> Iterator[str]:
    """The pieces of a story, as they come."""
    for chunk in client.chat.completions.create(model=model, messages=STORY, max_tokens=tokens, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


def test_a_client_streams_from_an_alias_whose_version_nobody_has_open(
    app: App, client: openai.OpenAI, champion: str
) -> None:
    for server in app.model_servers(f"{MODEL}/2"):
        server.kill()
        until(lambda server=server: gone(server))
    assert champion in [model.id for model in client.models.list()]

    pieces = list(tell(client, champion, 40))

    assert len(pieces) > 10
    assert "".join(pieces).strip()
    assert len(app.model_servers(f"{MODEL}/2")) == 1


def test_a_killed_model_server_ends_one_answer_and_nothing_else(
    page: Page, app: App, client: openai.OpenAI, champion: str
) -> None:
    """Its client is told; an answer of another version goes on, and the next question is answered."""
    open_page(page, app, f"chat?ref={MODEL}/1")
    shorten(page, 48)  # many seconds of this slower runtime
    say(page, LONG)
    watch_it_grow(page)
    pieces = tell(client, champion, 1500)
    next(pieces)
    (victim,) = app.model_servers(f"{MODEL}/2")

    victim.kill()
    with pytest.raises(openai.APIError, match="died in mid-answer"):
        list(pieces)

    assert len(watch_it_grow(page)) == 2, "the other answer stood still"
    expect(figures(page)).to_be_visible()
    expect(page.get_by_test_id("stAlert").filter(has_text="died")).to_have_count(0)
    expect(messages(page)).to_have_count(2)
    assert answer(page).inner_text()
    assert list(tell(client, champion, 5))
    (again,) = app.model_servers(f"{MODEL}/2")
    assert again.pid != victim.pid
