"""Chat: which version or endpoint is talked to, its address, the sidebar, and what moves meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components.shared import ui
from phi3core.build.spec import MAX_TOKENS
from phi3core.chat import history, live_conversations
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation
from phi3core.errors import StoreDown
from phi3core.promotion.delete import delete_version
from phi3core.promotion.promote import delete_alias, promote, set_alias
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.app.chatting import WORDS, answers, ask, chat_version, live, put_into_box, settled
from tests.app.conftest import Open, Register, links, said
from tests.app.servers import FakePool, HeldEngine
from tests.support import fakes


@pytest.fixture
def engine(servers: FakePool) -> fakes.FakeEngine:
    engine = fakes.FakeEngine(WORDS)
    servers.engines = lambda ref: engine
    return engine


def test_an_empty_registry_leads_to_the_build_page(open_page: Open) -> None:
    at = open_page("chat")
    assert not at.exception
    assert "no version to talk to yet" in said(at)
    assert links(at) == {"Build a version": "build"}
    assert not at.chat_input


# ---------------------------------------------------------------- which version


def test_without_production_the_newest_onnx_version_is_chosen(open_page: Open, register: Register) -> None:
    register(wrapper="onnx")
    register(wrapper="onnx")
    register(wrapper="transformers")
    at = open_page("chat")
    assert at.selectbox(key="chat_ref").value == "phi3/2"
    assert "ref" not in at.query_params  # the page's own choice needs no address, and Back leaves at once


def test_without_an_onnx_version_the_newest_is_chosen(open_page: Open, register: Register) -> None:
    register(wrapper="transformers")
    register(wrapper="transformers")
    assert open_page("chat").selectbox(key="chat_ref").value == "phi3/2"


def test_production_comes_first_and_is_what_answers(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    register("phi3", wrapper="onnx")
    register("phi3", wrapper="onnx")
    promote(settings, "phi3/1", "Production")
    register("newer", wrapper="onnx")
    at = open_page("chat")
    assert at.selectbox(key="chat_model").value == "phi3"
    assert at.selectbox(key="chat_ref").value == "phi3/Production"
    ask(at, "Hello")
    assert servers.opened == ["phi3/1"]
    assert "phi3/1" in at.chat_message[1].caption[0].value


def test_stages_aliases_and_numbers_can_all_be_chosen(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Staging")
    set_alias(settings, "phi3/2", "champion")
    at = open_page("chat")
    labels = at.selectbox(key="chat_ref").options
    assert any(label.startswith("Staging") and label.endswith("/1") for label in labels)
    assert any(label.startswith("@champion") and label.endswith("/2") for label in labels)
    assert sum(label.startswith(("/1 ", "/2 ")) for label in labels) == 2


@pytest.mark.parametrize("ref", ["phi3/1", "phi3@champion", "phi3/Staging"])
def test_a_link_chooses_the_version_it_names(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, engine: fakes.FakeEngine, ref: str
) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Staging")
    set_alias(settings, "phi3/1", "champion")
    at = open_page("chat", ref=ref)
    assert at.selectbox(key="chat_ref").value == ref
    assert not at.warning
    ask(at, "Hello")
    assert servers.opened == ["phi3/1"]


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [
        ("phi3/99", "phi3/99 is not there"),
        ("phi3@nobody", "phi3@nobody is not there"),
        ("phi3/Production", "phi3/Production is not there"),
        ("nothing/1", "There is no registered model “nothing”"),
        ("garbage", "“garbage” names no version"),
    ],
)
def test_a_link_to_what_is_not_there_gets_a_sentence_and_another_version(
    open_page: Open, register: Register, ref: str, sentence: str
) -> None:
    register()
    at = open_page("chat", ref=ref)
    assert not at.exception
    assert sentence in "\n".join(w.value for w in at.warning)
    assert at.selectbox(key="chat_ref").value == "phi3/1"
    assert not at.chat_input(key="chat_input").disabled


@pytest.mark.parametrize("ref", ["new/1", "phi3/2", "phi3@champion"])
def test_a_link_to_what_was_registered_a_moment_ago_finds_it(
    open_page: Open, register: Register, settings: Settings, ref: str
) -> None:
    register()
    open_page("chat")  # reads the registry
    register("new")
    register()
    set_alias(settings, "phi3/2", "champion")
    at = open_page("chat", ref=ref)
    assert not at.warning
    assert at.selectbox(key="chat_ref").value == ref
    assert at.query_params["ref"] == ref


def test_the_first_version_of_all_is_found_as_soon_as_it_is_there(open_page: Open, register: Register) -> None:
    open_page("chat")  # reads the empty registry
    register()
    assert open_page("chat", ref="phi3/1").selectbox(key="chat_ref").value == "phi3/1"


def test_choosing_another_version_keeps_the_conversation_and_asks_that_one(
    open_page: Open, register: Register, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    at = open_page("chat")
    ask(at, "One")
    at.selectbox(key="chat_ref").set_value("phi3/1").run()
    ask(at, "Two")
    assert servers.opened == ["phi3/2", "phi3/1"]
    assert engine.prompts[-1].endswith("<user>One<assistant>The capital is Madrid.<user>Two")


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


def test_a_page_opened_in_mid_answer_follows_it_to_its_end(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    held = HeldEngine(WORDS, hold_at=2)
    servers.engines = lambda ref: held
    register()
    talk = add_conversation(Conversation(settings, servers))  # type: ignore[arg-type]
    turn = talk.ask(chat_version(settings), "Hello").turn
    fakes.until(lambda: turn.answer == "The capital")
    at = open_page("chat", c=talk.id)
    assert answers(at) == ["Hello", "The capital"]
    held.go.set()
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
    assert sentence in at.warning[0].value
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


def go(at: AppTest, page: str, **query: str) -> AppTest:
    """Follow a link inside the app: the same visit, another address."""
    at.query_params = dict(query)
    return at.switch_page(f"pages/{page}_page.py").run()


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
    go(at, "home")
    assert not at.chat_message
    go(at, "chat")
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
    go(at, "home")
    go(at, "chat")
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
    go(at, "registry")
    go(at, "chat", ref="phi3/1")
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


# ---------------------------------------------------------------- the sidebar


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


# ---------------------------------------------------------------- a store that goes away


@pytest.mark.parametrize("seam", ["models", "versions", "resolve"])
def test_a_message_sent_while_the_store_is_down_comes_back_into_its_box(
    open_page: Open,
    register: Register,
    servers: FakePool,
    engine: fakes.FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    seam: str,
) -> None:
    register()
    at = open_page("chat")

    def down(*_: object) -> None:
        raise StoreDown("The MLflow store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(reader, seam, down)
        st.cache_data.clear()
        ask(at, "A long thought")
        assert at.error[0].value == "The MLflow store does not answer."
        retry = next(button for button in at.button if button.label == "Try again")
        retry.click().run()  # still down: nothing is lost by trying
    next(button for button in at.button if button.label == "Try again").click().run()
    assert not at.exception
    assert not at.error
    assert put_into_box(at) == "A long thought"
    assert not at.chat_message
    assert (servers.opened, engine.prompts) == ([], [])
    assert answers(ask(at, "A long thought")) == ["A long thought", "The capital is Madrid."]
    assert engine.prompts == ["<user>A long thought"]
    at.run()
    assert len(at.chat_message) == 2
    assert put_into_box(at) is None  # it was asked: it does not come back once more


# ---------------------------------------------------------------- what moves, and what waits


def test_a_conversation_keeps_its_version_when_production_moves_until_it_is_told_to_follow(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Production")
    at = ask(open_page("chat"), "One")
    promote(settings, "phi3/2", "Production")
    ui.forget()
    ask(at, "Two")
    assert live(at).path[-1].ref == "phi3/1"
    assert "is now **phi3/2**; this conversation talks to phi3/1" in said(at)
    at.button(key="chat_follow").click().run()
    assert "is now **phi3/2**" not in said(at)
    ask(at, "Three")
    assert live(at).path[-1].ref == "phi3/2"
    assert "is now" not in said(at)


def test_a_conversation_from_the_list_says_too_that_its_alias_has_moved(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Production")
    talk = live(ask(open_page("chat"), "One"))
    promote(settings, "phi3/2", "Production")
    ui.forget()
    at = open_page("chat", c=talk.id)
    assert "is now **phi3/2**; this conversation talks to phi3/1" in said(at)


def test_a_conversation_whose_alias_is_gone_goes_on_with_its_version(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    register()
    promote(settings, "phi3/3", "Production")
    set_alias(settings, "phi3/1", "champion")
    talk = live(ask(open_page("chat", ref="phi3@champion"), "One"))
    delete_alias(settings, "phi3", "champion")
    ui.forget()
    at = open_page("chat", c=talk.id)
    assert "phi3@champion is not there (any more): phi3/1 is chosen instead" in at.warning[0].value
    ask(at, "Two")
    assert live(at).path[-1].ref == "phi3/1"


def test_a_conversation_whose_version_was_deleted_says_who_answers_instead(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    set_alias(settings, "phi3/1", "champion")
    talk = live(ask(open_page("chat", ref="phi3@champion"), "One"))
    set_alias(settings, "phi3/2", "champion")
    delete_version(settings, "phi3/1", "no longer needed")
    ui.forget()
    at = open_page("chat", c=talk.id)
    assert "phi3/1 was deleted: from the next message on, phi3/2 answers" in at.warning[0].value


def test_a_conversation_with_an_open_version_goes_on_while_the_store_is_away(
    open_page: Open,
    register: Register,
    servers: FakePool,
    engine: fakes.FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    at = ask(open_page("chat"), "One")

    def down(*_: object, **__: object) -> None:
        raise StoreDown("The MLflow store does not answer.")

    for name in ("models", "versions", "resolve"):
        monkeypatch.setattr(reader, name, down)
    ui.forget()
    at.run()
    assert answers(at) == ["One", "The capital is Madrid."]
    assert "This conversation goes on with phi3/1, as it was last known" in at.warning[0].value
    assert answers(ask(at, "Two")) == ["One", "The capital is Madrid.", "Two", "The capital is Madrid."]
    servers.made.clear()  # nothing can be opened without a store
    at.run()
    assert "does not answer" in at.error[0].value
    assert not at.chat_message


def test_what_the_store_has_not_taken_is_said_quietly(
    open_page: Open, register: Register, engine: fakes.FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    at = open_page("chat")
    assert "for the store" not in said(at)
    monkeypatch.setattr(history, "count_pending", lambda settings: 2)
    monkeypatch.setattr(history, "sending_error", lambda settings: "The store does not answer.")
    at.run()
    assert "2 changes wait for the store" in said(at)
    assert not at.error
    assert not at.warning


def test_with_tracing_off_it_is_said_that_nothing_is_saved(
    open_page: Open,
    register: Register,
    settings: Settings,
    engine: fakes.FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    monkeypatch.setattr(ui, "config", lambda: replace(settings, tracing=False))
    at = ask(open_page("chat"), "Hello")
    assert "this conversation is not saved" in said(at)
    assert answers(at) == ["Hello", "The capital is Madrid."]
