"""Chat: the sidebar with the system prompt and the options."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.chat import server_state
from phi3core.build.spec import MAX_TOKENS
from phi3core.chat import live_conversations
from tests.app.chatting import answers, ask, settled
from tests.app.conftest import Open, Register
from tests.support import fakes


def test_a_version_whose_defaults_are_out_of_range_is_talked_to_within_it(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register(max_tokens=10_000_000, repetition_penalty=5, top_p=0.0001, temperature=9)
    at = open_page("chat")
    assert not at.exception
    assert not at.error
    assert at.number_input(key="chat_max_tokens_phi3/1").value == MAX_TOKENS
    assert at.slider(key="chat_repetition_penalty_phi3/1").value == 2.0
    assert at.slider(key="chat_top_p_phi3/1").value == pytest.approx(0.01)
    assert at.slider(key="chat_temperature_phi3/1").value == 2.0
    assert answers(ask(at, "Hello")) == ["Hello", "The capital is Madrid."]


@pytest.mark.parametrize(
    ("state", "label"), [("done", "Regenerate"), ("stopped", "Ask again"), ("failed", "Try again")]
)
def test_asking_again_takes_the_sidebar_as_it_is_now(
    open_page: Open, register: Register, engine: fakes.FakeEngine, state: str, label: str
) -> None:
    register()
    at = open_page("chat")
    at.text_area(key="chat_system").set_value("Old.")
    at.slider(key="chat_temperature_phi3/1").set_value(0.1)
    ask(at, "Hello")
    live_conversations._live[at.query_params["c"]].path[-1].state = state  # type: ignore[assignment]
    at.run()
    at.text_area(key="chat_system").set_value("New.")
    at.slider(key="chat_temperature_phi3/1").set_value(1.5)
    at.number_input(key="chat_seed_phi3/1").set_value(7)
    again = at.button(key="chat_again")
    assert again.label == label
    settled(again.click().run())
    assert not at.exception
    assert answers(at) == ["Hello", "The capital is Madrid."]
    assert (engine.asked[-1].temperature, engine.asked[-1].seed) == (1.5, 7)
    assert engine.prompts == ["<system>Old.<user>Hello", "<system>New.<user>Hello"]


def test_what_is_pressed_is_done_where_the_server_comes_to_be_known_in_the_same_run(
    open_page: Open, register: Register, engine: fakes.FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    at = open_page("chat")
    ask(at, "Hello")
    unknown = iter([True])
    monkeypatch.setattr(server_state, "_unsettled", lambda *_: next(unknown, False))
    settled(at.button(key="chat_again").click().run())
    assert not at.exception
    assert len(engine.asked) == 2


@pytest.fixture
def reloaded(open_page: Open, register: Register, engine: fakes.FakeEngine) -> AppTest:
    """A fresh visit to a conversation that was had with a sidebar of its own, after a restart of the app."""
    register()
    at = open_page("chat")
    ask(at, "One")
    at.text_area(key="chat_system").set_value("Be brief.")
    at.slider(key="chat_temperature_phi3/1").set_value(0.9)
    at.slider(key="chat_top_p_phi3/1").set_value(0.5)
    at.number_input(key="chat_max_tokens_phi3/1").set_value(40)
    at.slider(key="chat_repetition_penalty_phi3/1").set_value(1.3)
    at.number_input(key="chat_seed_phi3/1").set_value(7)
    at.session_state["chat_stop_phi3/1"] = ["END", "a, b"]
    ask(at, "Two")
    address = at.query_params["c"]
    live_conversations._live[address].settle()
    live_conversations._live.clear()
    return open_page("chat", ref="phi3/1", c=address)


def test_a_reload_has_the_last_turns_system_prompt_and_options_in_the_sidebar(
    reloaded: AppTest, engine: fakes.FakeEngine
) -> None:
    for _ in range(2):
        assert reloaded.text_area(key="chat_system").value == "Be brief."
        assert reloaded.slider(key="chat_temperature_phi3/1").value == pytest.approx(0.9)
        assert reloaded.slider(key="chat_top_p_phi3/1").value == pytest.approx(0.5)
        assert reloaded.number_input(key="chat_max_tokens_phi3/1").value == 40
        assert reloaded.slider(key="chat_repetition_penalty_phi3/1").value == pytest.approx(1.3)
        reloaded.run()  # and they stay when the page runs again
    ask(reloaded, "Three")
    asked = engine.asked[-1]
    assert (asked.temperature, asked.top_p, asked.max_tokens) == (0.9, 0.5, 40)
    assert asked.repetition_penalty == pytest.approx(1.3)
    assert engine.prompts[-1].startswith("<system>Be brief.<user>One")


def test_a_reload_has_the_last_turns_seed_and_stop_sequences_in_the_sidebar(
    reloaded: AppTest, engine: fakes.FakeEngine
) -> None:
    assert reloaded.number_input(key="chat_seed_phi3/1").value == 7
    assert reloaded.multiselect(key="chat_stop_phi3/1").value == ["END", "a, b"]
    ask(reloaded, "Three")
    assert (engine.asked[-1].seed, engine.asked[-1].stop) == (7, ("END", "a, b"))
