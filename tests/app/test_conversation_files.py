"""Conversations: files in and out."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.conversations import conversation_list
from phi3core.chat import import_export, markdown_export
from phi3core.chat.live_conversations import load_conversation
from phi3core.chat.search import search_conversations
from phi3core.errors import StoreDown
from phi3core.settings import Settings
from tests.app.conftest import Open, said
from tests.app.servers import FakePool
from tests.app.talks import rows, shown, talk, tick


def test_the_ticked_ones_are_exported_and_what_has_no_answer_is_counted(open_page: Open, settings: Settings) -> None:
    ids = [talk(settings, ("One", "1")), talk(settings, ("Two", "")), talk(settings, ("Three", "3"))]
    at = open_page("conversations")
    for id in ids[:2]:
        at.checkbox(key=tick(id)).check()
    at.run()
    at.button(key="conversations_export").click().run()
    assert not at.exception
    assert at.download_button(key="conversations_download").label == "Download 1 conversation"
    assert "1 conversation without any answer left out" in said(at)


def test_an_export_that_fails_says_why(open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise StoreDown("The MLflow store does not answer.")

    id = talk(settings, ("One", "1"))
    at = open_page("conversations")
    at.checkbox(key=tick(id)).check().run()
    monkeypatch.setattr(conversation_list, "load_conversation", down)
    at.button(key="conversations_export").click().run()
    assert shown(at.error[0].value) == "The MLflow store does not answer."
    assert not at.download_button


def imported(at: AppTest, *files: tuple[str, str]) -> AppTest:
    """Through the dialog, held open by its own button."""
    at.button(key="conversations_import").click().run()
    at.session_state["conversations_imports"] = 0  # pressing the button again asks for a fresh uploader
    at.file_uploader[0].set_value([(name, text.encode(), "application/json") for name, text in files])
    at.button(key="conversations_import").click().run()
    at.session_state["conversations_imports"] = 0
    at.button(key="conversations_import").click()
    return at.button(key="conversations_import_now").click().run()


def line(question: str, answer: str) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}) + "\n"


def test_a_file_of_two_lines_makes_two_conversations_with_links(open_page: Open, settings: Settings) -> None:
    at = imported(open_page("conversations"), ("talks.jsonl", line("One", "1") + line("Two", "2")))
    assert not at.exception
    assert not at.error
    assert "2 conversations imported" in said(at)
    assert sorted(rows(at)) == ["One", "One", "Two", "Two"]  # at the top, and in the list
    assert {summary.title for summary in search_conversations(settings).conversations} == {"One", "Two"}


def test_a_wrong_line_is_named_and_nothing_is_kept(open_page: Open, settings: Settings) -> None:
    at = imported(open_page("conversations"), ("talks.jsonl", line("One", "1") + '{"messages": [{"role": "bot"}]}'))
    assert "talks.jsonl, line 2" in shown(at.error[0].value)
    assert "Nothing of this file was kept" in shown(at.error[0].value)
    assert search_conversations(settings).conversations == []


def test_of_two_files_the_good_one_is_kept_and_the_other_is_told(open_page: Open, settings: Settings) -> None:
    at = imported(open_page("conversations"), ("a.jsonl", line("One", "1")), ("b.json", "{"))
    assert "1 conversation imported" in said(at)
    assert "b.json, line 1" in shown(at.error[0].value)


def test_what_was_exported_comes_back_whole(open_page: Open, settings: Settings, servers: FakePool) -> None:
    id = talk(settings, ("One", "Two"), ("Three", "Four"), title="My talk")
    text = import_export.to_json(load_conversation(settings, servers, id))  # type: ignore[arg-type]
    at = imported(open_page("conversations"), ("talk.json", text))
    assert not at.error
    titles = [summary.title for summary in search_conversations(settings).conversations]
    assert titles == ["My talk", "My talk"]


def test_markdown_that_was_exported_comes_back_and_other_markdown_is_told(
    open_page: Open, settings: Settings, servers: FakePool
) -> None:
    id = talk(settings, ("One", "## Two"), title="My talk")
    text = markdown_export.to_markdown(load_conversation(settings, servers, id))  # type: ignore[arg-type]
    at = imported(open_page("conversations"), ("talk.md", text), ("notes.md", "# Notes"))
    assert "1 conversation imported" in said(at)
    assert "notes.md is no conversation that was exported here" in shown(at.error[0].value)
    assert [summary.title for summary in search_conversations(settings).conversations] == ["My talk", "My talk"]
