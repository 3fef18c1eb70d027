"""The conversations beside the chat."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.chat import recent_conversations
from pages.components.shared import reads
from pages.components.shared.ui import person
from phi3core.chat import history
from phi3core.chat.conversation_filter import ConversationFilter
from phi3core.chat.search import SearchResult, search_conversations
from phi3core.errors import StoreDown
from phi3core.settings import Settings
from tests.app.chatting import answers, ask
from tests.app.conftest import Open, Register, said
from tests.app.talks import NASTY, shown, talk
from tests.app.talks import rows as listed_rows
from tests.support import fakes


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_conversations, "_PATIENCE", 10.0)


def rows(at: AppTest) -> list[str]:
    """The titles, top to bottom; the open one with stars around it."""
    return [shown(button.label) for button in at.sidebar.button if str(button.key).startswith("recent_open_")]


def choose(at: AppTest, id: str, action: str) -> AppTest:
    return at.menu_button(key=f"recent_menu_{id}").click(action).run()


def test_the_newest_stand_beside_the_chat_and_one_is_opened_by_its_title(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    old = talk(settings, ("What is old?", "This."), ago=9)
    talk(settings, (NASTY, "That."), ago=5)
    at = open_page("chat")
    assert not at.exception
    assert rows(at) == ["And **Rome**? ![x](https://ev…", "What is old?"]
    at.button(key=f"recent_open_{old}").click().run()
    assert answers(at) == ["What is old?", "This."]
    assert at.query_params["c"] == old
    assert rows(at) == ["And **Rome**? ![x](https://ev…", "**What is old?**"]
    assert "**What is old?**" in [shown(text.value) for text in at.main.markdown]


def test_a_conversation_is_there_from_its_first_question_on(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    assert "What you ask is kept here." in said(at)
    ask(at, "The capital of Spain?")
    assert rows(at) == ["**The capital of Spain?**"]


def test_a_search_beside_the_chat_goes_through_answers_too(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    talk(settings, ("The capital of Spain?", "It is Madrid."))
    talk(settings, ("Something else?", "Yes."))
    at = open_page("chat")
    at.text_input(key="recent_search").set_value("madrid").run()
    assert rows(at) == ["The capital of Spain?"]
    at.text_input(key="recent_search").set_value("lisbon").run()
    assert rows(at) == []
    assert "None holds “lisbon”." in said(at)


def test_a_new_name_is_everywhere_at_once(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    id = talk(settings, ("One", "Two"))
    at = open_page("chat", c=id)
    choose(at, id, "Rename")
    at.text_input(key=f"share_title_{id}").set_value("A better name")
    at.menu_button(key=f"recent_menu_{id}").click("Rename")
    at.button(key="share_rename_confirm").click().run()
    assert not at.exception
    assert rows(at) == ["**A better name**"]
    assert "**A better name**" in [text.value for text in at.main.markdown]
    assert listed_rows(open_page("conversations")) == ["A better name"]
    assert rows(open_page("chat")) == ["A better name"]  # another visit, and not the open one


def test_deleting_one_leaves_the_chat_where_it_is_and_deleting_the_open_one_begins_another(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    other, opened = talk(settings, ("Other", "x"), ago=5), talk(settings, ("Open", "y"))
    at = open_page("chat", c=opened)
    for id in (other, opened):
        assert answers(at) == ["Open", "y"]
        choose(at, id, "Delete")
        at.menu_button(key=f"recent_menu_{id}").click("Delete")
        at.button(key="share_delete_confirm").click().run()
        assert not at.exception
    assert answers(at) == []
    assert rows(at) == []
    assert not at.warning
    assert "c" not in at.query_params


def test_what_is_pinned_stays_at_the_top_for_the_one_who_pinned_it(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    old = talk(settings, ("Old", "x"), ago=90)
    for number in range(9):
        talk(settings, (f"New {number}", "x"), ago=number)
    at = open_page("chat")
    assert rows(at) == [f"New {number}" for number in range(8)]
    history.pin(settings, old, True, person())
    reads.invalidate()
    at.run()
    assert rows(at) == ["Old", *(f"New {number}" for number in range(8))]
    choose(at, old, "Unpin")
    assert rows(at) == [f"New {number}" for number in range(8)]
    wanted = ConversationFilter(pinned_by=person().name)
    assert not search_conversations(settings, wanted=wanted).conversations


def test_a_store_that_is_away_costs_the_list_and_not_the_chat(
    open_page: Open, register: Register, engine: fakes.FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> SearchResult:
        raise StoreDown("The MLflow store does not answer.")

    monkeypatch.setattr(recent_conversations, "search_conversations", down)
    register()
    at = ask(open_page("chat"), "Hello")
    assert answers(at) == ["Hello", "The capital is Madrid."]
    assert "They can't be read while the store does not answer." in said(at)
