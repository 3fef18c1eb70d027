"""Versions compared in a real browser: three clicks to a blind vote, and nothing on the wire that tells whose it is."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, WebSocket, expect

from phi3core.registry import reader
from phi3core.traces import feedback
from tests.e2e.conftest import App, until
from tests.e2e.pages import open_page, settled

pytestmark = [pytest.mark.browser, pytest.mark.model]

MODEL = "phi3-embedded"
NAMES = (MODEL, "onnx", "transformers", "tokens/s")


def listen(page: Page) -> list[bytes]:
    """Every message that the page's WebSockets bring, from now on."""
    messages: list[bytes] = []

    def note(payload: bytes | str) -> None:
        messages.append(payload.encode() if isinstance(payload, str) else payload)

    def hear(socket: WebSocket) -> None:
        socket.on("framereceived", note)

    page.on("websocket", hear)
    return messages


def count_votes(app: App) -> int:
    """How many votes somebody's answer has won."""
    return sum(feedback.read_reviews(app.settings, v).votes_won for v in reader.list_versions(app.settings, MODEL))


def told(messages: list[bytes], page: Page) -> list[str]:
    """The names that came over the wire, stand in the page, or in its address."""
    everything = b"\n".join([*messages, page.content().encode(), page.url.encode()]).lower()
    return [name for name in NAMES if name.encode() in everything]


def test_from_home_to_a_blind_vote_in_three_clicks_and_nothing_tells_whose_answer_it_is(page: Page, app: App) -> None:
    messages, before = listen(page), count_votes(app)
    open_page(page, app, "")
    page.get_by_role("button", name="Compare them").click()
    expect(page.get_by_test_id("stMultiSelect")).to_be_visible()
    page.get_by_text("Parameters", exact=True).click()
    page.get_by_label("Longest answer, in tokens").fill("8")
    page.get_by_label("Longest answer, in tokens").press("Enter")
    settled(page)
    assert MODEL in told(messages, page), "this test could not fail"

    del messages[:]
    page.get_by_role("button", name="Explain in three sentences").click()
    page.wait_for_url(re.compile(r"/compare\?c=[0-9a-f]{32}$"))
    started = len(messages)
    expect(page.get_by_role("button", name="1 is better")).to_be_visible()
    settled(page)
    answers = page.locator('[class*="st-key-compare_answer_"]')
    assert all(len(text) > 10 for text in answers.all_inner_texts())
    assert told(messages[started:], page) == []

    reader_page = page.context.new_page()  # the address, opened anew: all that it is sent, from the first message on
    brought = listen(reader_page)
    reader_page.goto(page.url)
    expect(reader_page.get_by_role("button", name="1 is better")).to_be_visible()
    assert len(brought) > 3
    assert told(brought, reader_page) == []
    reader_page.close()

    page.keyboard.press("2")
    expect(page.get_by_text("Your vote: 2 is better.")).to_be_visible()
    expect(answers.nth(0)).to_contain_text(re.compile(rf"{MODEL}/\d · .*first token.*of memory"))
    until(lambda: count_votes(app) == before + 1)


@pytest.mark.parametrize("context", [{"viewport": {"width": 390, "height": 844}, "has_touch": True}], indirect=True)
def test_on_a_phone_answers_stand_below_each_other_and_a_thumb_votes(page: Page, app: App) -> None:
    open_page(page, app, f"compare?with={MODEL}/1&with={MODEL}/2")
    page.get_by_text("Parameters", exact=True).click()
    page.get_by_label("Longest answer, in tokens").fill("8")
    page.get_by_label("Longest answer, in tokens").press("Enter")
    settled(page)
    page.get_by_role("button", name="List three differences").tap()
    better = page.get_by_role("button", name="1 is better")
    expect(better).to_be_visible()
    settled(page)
    first, second = (page.locator(f".st-key-compare_answer_0_{at}").bounding_box() for at in (0, 1))
    assert first
    assert second
    assert second["y"] >= first["y"] + first["height"]
    assert first["width"] > 300
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"it is {wide} pixels too wide"
    for name in ("1 is better", "2 is better", "As good", "Both bad"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box
        assert box["height"] >= 36
        assert box["y"] + box["height"] <= 844, f"{name} is not on the screen"
    better.tap()
    expect(page.get_by_text("Your vote: 1 is better.")).to_be_visible()
