"""Chat: what changes under a conversation: the store goes away, aliases move, versions are deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import streamlit as st

from pages.components.shared import reads, ui
from phi3core.chat import history
from phi3core.errors import StoreDown
from phi3core.promotion.delete import delete_version
from phi3core.promotion.promote import delete_alias, promote, set_alias
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.app.chatting import answers, ask, live, put_into_box
from tests.app.conftest import Open, Register, said
from tests.app.servers import FakePool
from tests.app.talks import shown
from tests.support import fakes

# ---------------------------------------------------------------- a store that goes away


@pytest.mark.parametrize("seam", ["list_models", "list_versions", "get_version"])
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
        assert shown(at.error[0].value) == "The MLflow store does not answer."
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
    reads.invalidate()
    ask(at, "Two")
    assert live(at).path[-1].ref == "phi3/1"
    assert "is now **phi3/2**; this conversation talks to phi3/1" in shown(said(at))
    at.button(key="chat_follow").click().run()
    assert "is now **phi3/2**" not in shown(said(at))
    ask(at, "Three")
    assert live(at).path[-1].ref == "phi3/2"
    assert "is now" not in shown(said(at))


def test_a_conversation_from_the_list_says_too_that_its_alias_has_moved(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Production")
    talk = live(ask(open_page("chat"), "One"))
    promote(settings, "phi3/2", "Production")
    reads.invalidate()
    at = open_page("chat", c=talk.id)
    assert "is now **phi3/2**; this conversation talks to phi3/1" in shown(said(at))


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
    reads.invalidate()
    at = open_page("chat", c=talk.id)
    assert "phi3@champion is not there (any more): phi3/1 is chosen instead" in shown(at.warning[0].value)
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
    reads.invalidate()
    at = open_page("chat", c=talk.id)
    assert "phi3/1 was deleted: from the next message on, phi3/2 answers" in shown(at.warning[0].value)


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

    for name in ("list_models", "list_versions", "get_version"):
        monkeypatch.setattr(reader, name, down)
    reads.invalidate()
    at.run()
    assert answers(at) == ["One", "The capital is Madrid."]
    assert "This conversation goes on with phi3/1, as it was last known" in shown(at.warning[0].value)
    assert answers(ask(at, "Two")) == ["One", "The capital is Madrid.", "Two", "The capital is Madrid."]
    servers.made.clear()  # nothing can be opened without a store
    at.run()
    assert "does not answer" in shown(at.error[0].value)
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
