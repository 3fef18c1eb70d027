"""Chat: a conversation and its address: reloads, links, coming back."""

from __future__ import annotations

import pytest

from phi3core.chat import live_conversations
from phi3core.promotion.promote import promote
from phi3core.settings import Settings
from tests.app.chatting import answers, ask, follow_link, live, settled
from tests.app.conftest import HeldAnswer, Open, Register
from tests.app.servers import FakePool
from tests.app.talks import shown
from tests.support import fakes

# ---------------------------------------------------------------- conversations


def test_a_reload_brings_the_conversation_back(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "One")
    ask(at, "Two")
    shown, address = answers(at), at.query_params["c"]
    assert answers(open_page("chat", c=address)) == shown == ["One", "The capital is Madrid.", "Two", shown[3]]
    live_conversations._live[address].settle()
    live_conversations._live.clear()  # as after a restart of the app
    assert answers(open_page("chat", c=address)) == shown


def test_the_answer_that_was_selected_is_in_the_address_for_a_reload_a_link_and_back(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "One")
    engine.words = ("Another",)
    at.button(key="chat_again").click().run()
    settled(at)
    talk = live(at)
    first, second = talk.siblings(talk.path[0])
    assert "turn" not in at.query_params  # the latest answer needs none
    latest = at.query_params
    at.button(key=f"turn_-1_{second.id}").click().run()
    assert at.query_params["turn"] == first.id
    talk.settle()
    live_conversations._live.clear()  # as after a restart of the app
    again = open_page("chat", c=talk.id, turn=first.id)
    assert answers(again) == ["One", "The capital is Madrid."]
    assert any(f"turn={first.id}" in code.value for code in again.code)  # the link that is offered
    again.query_params = dict(latest)  # as the browser's Back does
    assert answers(again.run()) == ["One", "Another"]
    assert answers(open_page("chat", c=talk.id, turn="gone")) == ["One", "Another"]


def test_a_page_opened_in_mid_answer_follows_it_to_its_end(open_page: Open, held: HeldAnswer) -> None:
    at = open_page("chat", c=held.talk.id)
    assert answers(at) == ["Hello", "The capital"]
    held.engine.go.set()
    settled(at)
    assert answers(at) == ["Hello", "The capital is Madrid."]
    assert not at.chat_input(key="chat_input").disabled


@pytest.mark.parametrize(
    ("address", "sentence"), [("nonsense", "not a conversation's address"), ("0" * 32, "not in the store")]
)
def test_an_unknown_conversation_gets_a_sentence_and_a_fresh_start(
    open_page: Open, register: Register, engine: fakes.FakeEngine, address: str, sentence: str
) -> None:
    register()
    at = open_page("chat", c=address)
    assert not at.exception
    assert sentence in shown(at.warning[0].value)
    assert "c" not in at.query_params
    assert answers(ask(at, "Hello")) == ["Hello", "The capital is Madrid."]


def test_a_new_conversation_starts_empty_and_the_old_one_stays_at_its_address(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    assert at.button(key="chat_new").disabled
    ask(at, "One")
    old = at.query_params["c"]
    at.button(key="chat_new").click().run()
    assert not at.chat_message
    assert "c" not in at.query_params
    ask(at, "Fresh")
    assert at.query_params["c"] != old
    assert engine.prompts[-1] == "<user>Fresh"
    assert answers(open_page("chat", c=old)) == ["One", "The capital is Madrid."]


def test_an_address_is_left_without_a_conversation_until_something_was_sent(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    assert "c" not in at.query_params
    assert "c" not in at.run().query_params
    assert "c" in ask(at, "Hello").query_params


def test_coming_back_from_another_page_finds_the_visits_last_conversation(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "One")
    address = at.query_params["c"]
    follow_link(at, "home")
    assert not at.chat_message
    follow_link(at, "chat")
    assert answers(at) == ["One", "The capital is Madrid."]
    assert at.query_params["c"] == address
    ask(at, "Two")
    assert engine.prompts[-1] == "<user>One<assistant>The capital is Madrid.<user>Two"


def test_coming_back_after_new_conversation_does_not_bring_the_old_one(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "One")
    at.button(key="chat_new").click().run()
    follow_link(at, "home")
    follow_link(at, "chat")
    assert not at.chat_message
    assert "c" not in at.query_params


# ---------------------------------------------------------------- links, again


def test_the_same_link_followed_again_from_another_page_opens_its_version_again(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    promote(settings, "phi3/2", "Production")
    at = open_page("chat", ref="phi3/1")
    assert at.selectbox(key="chat_ref").value == "phi3/1"
    follow_link(at, "registry")
    follow_link(at, "chat", ref="phi3/1")
    assert at.selectbox(key="chat_ref").value == "phi3/1"
    ask(at, "Hello")
    assert servers.opened == ["phi3/1"]


@pytest.mark.parametrize(
    ("written", "chosen"),
    [
        ("phi3@production", "phi3/Production"),
        ("phi3@Production", "phi3/Production"),
        ("phi3/production", "phi3/Production"),
        ("phi3@staging", "phi3/Staging"),
        ("phi3/03", "phi3/3"),
        ("models:/phi3@production", "phi3/Production"),
        ("models:/phi3/3", "phi3/3"),
    ],
)
def test_a_link_may_write_a_reference_in_any_of_its_ways(
    open_page: Open, register: Register, settings: Settings, written: str, chosen: str
) -> None:
    for _ in range(4):
        register()
    promote(settings, "phi3/1", "Production")
    promote(settings, "phi3/2", "Staging")
    at = open_page("chat", ref=written)
    assert not at.exception
    assert not at.warning
    assert at.selectbox(key="chat_ref").value == chosen
    assert at.query_params["ref"] == chosen
