"""Chat: raw prompts, answers in JSON, token probabilities."""

from __future__ import annotations

import json

import pytest

from pages.components.chat import token_view
from phi3core.engine.interface import Token
from tests.app.chatting import WORDS, ask, live, put_into_box, settled
from tests.app.conftest import Open, Register, said
from tests.app.servers import FakePool, TellingEngine
from tests.support import fakes


def test_the_two_ways_to_the_saved_prompts_have_names_of_their_own(open_page: Open, register: Register) -> None:
    register()
    at = open_page("chat")
    labels = {at.button(key=f"prompts_open_{key}").label for key in ("chat_system", "chat_insert")}
    assert labels == {"Saved system prompts", "Prompts"}


def test_a_raw_prompt_is_sent_as_it_is_and_counted(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "Hello")
    at.segmented_control(key="chat_mode").set_value("Raw prompt").run()
    assert not at.chat_input
    at.button(key="chat_raw_template").click().run()
    assert at.text_area(key="chat_raw").value == "<user>Hello"
    at.text_area(key="chat_raw").set_value("<user>Bye<assistant>Well,").run()
    assert "25 tokens" in said(at)
    settled(at.button(key="chat_raw_send").click().run())
    assert engine.prompts[-1] == "<user>Bye<assistant>Well,"
    assert live(at).path[-1].raw
    assert at.text_area(key="chat_raw").value == ""
    assert "<user>Bye<assistant>Well," in [code.value for code in at.chat_message[2].code]


@pytest.mark.parametrize("answer", ['[{"label": "good", "score": 0.9}]', "[see below]", "{not json}", "7"])
def test_an_answer_that_is_data_is_shown_as_code_and_other_text_as_text(
    open_page: Open, register: Register, engine: fakes.FakeEngine, answer: str
) -> None:
    engine.words = (answer,)
    register()
    at = ask(open_page("chat"), "How is it?")
    codes = [code.value for code in at.chat_message[1].code]
    if "label" in answer:
        assert json.loads(codes[0]) == json.loads(answer)
    else:
        assert codes == []


def test_an_answer_in_json_follows_the_schema_and_is_shown_as_code(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.words = ('{"city":', '"Madrid"}')
    register()
    at = open_page("chat")
    at.segmented_control(key="chat_mode").set_value("JSON").run()
    at.button(key="chat_schema_example").click().run()
    assert "2 properties" in said(at)
    ask(at, "Where?")
    assert json.loads(engine.asked[-1].json_schema or "")["required"] == ["city", "population"]
    assert at.chat_message[1].code[0].value == '{\n  "city": "Madrid"\n}'


def test_a_schema_that_is_none_is_told_and_the_message_stays(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    at.segmented_control(key="chat_mode").set_value("JSON").run()
    at.text_area(key="chat_schema").set_value("{").run()
    assert "no JSON" in at.error[0].value
    at.chat_input(key="chat_input").set_value("Where?").run()
    assert not engine.prompts
    at.run()
    assert put_into_box(at) == "Where?"


def test_token_probabilities_are_asked_for_and_shown_when_they_are_wanted(
    open_page: Open, register: Register, servers: FakePool
) -> None:
    engine = TellingEngine(WORDS)
    servers.engines = lambda ref: engine
    register()
    at = open_page("chat")
    at.toggle(key="chat_logprobs_phi3/1").set_value(True)
    ask(at, "Hello")
    turn = live(at).path[0]
    assert engine.asked[-1].logprobs == 5
    assert [token.text for token in turn.tokens] == list(WORDS)
    assert "perplexity" not in said(at)
    at.button(key=f"turn_probabilities_{turn.id}").click().run()
    assert not at.exception
    assert "mean probability 75% · perplexity 1.33" in said(at)
    assert "Green: sure" in said(at)
    hover = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][0]["customdata"]
    assert hover[0] == "<b>The</b> 75.0%<br>&lt;b&gt;other&lt;/b&gt; 20.0%"  # Plotly reads HTML: it is written out


def test_tokens_are_laid_out_in_rows_and_a_line_break_ends_one() -> None:
    tokens = [Token(text, -0.1) for text in ("abc", "d\n", "e" * 99, "f")]
    assert token_view.places(tokens, width=10) == [(0, 0, 4), (0, 4, 3), (1, 0, 10), (2, 0, 2)]


def test_an_impossible_token_makes_the_perplexity_large_and_not_infinite() -> None:
    probability, perplexity = token_view.mean([Token("a", -9999.0)])
    assert 0 < probability < 1e-8
    assert 1e8 < perplexity < 1e10
