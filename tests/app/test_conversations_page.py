"""Conversations: the list, and what is done with those in it."""

from __future__ import annotations

import pytest

from phi3core.chat import history, search
from phi3core.chat.search import SearchResult, search_conversations
from phi3core.errors import NotFound, StoreDown
from phi3core.settings import Settings
from tests.app.conftest import Open, links, said
from tests.app.talks import NASTY, rows, shown, talk, tick

# ---------------------------------------------------------------- the list


def test_without_conversations_the_page_says_what_to_do(open_page: Open) -> None:
    at = open_page("conversations")
    assert not at.exception
    assert "There are no conversations yet" in said(at)
    assert links(at) == {"Talk to a version": "chat"}


def test_the_newest_conversation_comes_first_with_all_that_is_known_of_it(open_page: Open, settings: Settings) -> None:
    old = talk(settings, ("What is old?", "This."), ref="phi3/2", ago=200)
    talk(settings, ("What is new?", "That."), ("And more?", "No."), ago=5)
    at = open_page("conversations")
    assert not at.exception
    assert rows(at) == ["What is new?", "What is old?"]
    facts = [shown(caption.value).strip() for caption in at.caption if "turn" in caption.value]
    assert facts == ["phi3/1 · 2 turns · 5 minutes ago · ada", "phi3/2 · 1 turn · 3 hours ago · ada"]
    assert f"chat?c={old}" in links(at).values()


def test_a_title_is_shown_letter_by_letter(open_page: Open, settings: Settings) -> None:
    talk(settings, (NASTY, "x"))
    at = open_page("conversations")
    assert rows(at) == [NASTY]
    label = next(link.label for link in at.page_link if "Rome" in link.label)
    assert "![" not in label
    assert "**" not in label
    assert ":material/home:" not in label


@pytest.mark.parametrize("text", ["MADRID", "capital of spain", "sights"])
def test_a_search_finds_titles_questions_and_answers(open_page: Open, settings: Settings, text: str) -> None:
    talk(settings, ("The capital of Spain?", "It is Madrid."), title="Sights")
    talk(settings, ("Something else?", "Yes."))
    at = open_page("conversations")
    at.text_input(key="conversations_search").set_value(text).run()
    assert rows(at) == ["Sights"]
    assert f"1 conversation with “{text}”" in said(at)


def test_a_search_without_a_hit_says_so(open_page: Open, settings: Settings) -> None:
    talk(settings, ("One", "Two"))
    at = open_page("conversations")
    at.text_input(key="conversations_search").set_value("three").run()
    assert rows(at) == []
    assert "No conversation holds “three”" in said(at)


def test_a_search_that_ran_out_of_time_says_how_far_it_came_and_looks_further(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(settings, ("The capital of Spain?", "It is Madrid."), title="Sights")
    looked, really = list[float](), search.search_conversations

    def stub(settings: Settings, text: str, limit: int, waiting: bool, seconds: float, *_: object) -> SearchResult:
        looked.append(seconds)
        if seconds < 5:
            return SearchResult([], since=1_700_000_000_000)
        return really(settings, text, limit)

    monkeypatch.setattr(search, "search_conversations", stub)
    at = open_page("conversations")
    at.text_input(key="conversations_search").set_value("madrid").run()
    assert "No conversation among the newest, back to 2023-11-14 22:13 UTC holds “madrid”" in said(at)
    at.button(key="conversations_further").click().run()
    assert rows(at) == ["Sights"]
    assert "1 conversation with “madrid”" in said(at)
    assert "among the newest" not in said(at)
    assert not any(button.key == "conversations_further" for button in at.button)
    at.text_input(key="conversations_search").set_value("spain").run()
    assert looked == [2.0, 2.0, 10.0, 2.0]


def test_a_long_list_is_shown_bit_by_bit(open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [search.ConversationSummary(f"{n:032x}", f"Talk {n}", 1000, 1, "phi3/1", "ada") for n in range(70)]
    monkeypatch.setattr(search, "search_conversations", lambda settings, text, limit, *_: SearchResult(listed[:limit]))
    at = open_page("conversations")
    assert len(rows(at)) == 30
    at.button(key="conversations_more").click().run()
    assert len(rows(at)) == 60
    at.button(key="conversations_more").click().run()
    assert len(rows(at)) == 70
    assert "conversations_more" not in [button.key for button in at.button]


def test_a_store_that_is_down_leaves_one_sentence_and_what_waits_for_it(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    at = open_page("conversations")
    assert not at.exception
    (error,) = at.error
    assert "does not answer" in error.value
    assert at.button(key="conversations_retry")

    waiting = search.ConversationSummary("a" * 32, "Kept here", 1000, 1, "phi3/1", "ada", pending=1)

    def down(
        settings: Settings, text: str, limit: int, pending_only: bool = False, *_: object, **__: object
    ) -> SearchResult:
        if not pending_only:
            raise StoreDown("The MLflow store does not answer.")
        return SearchResult([waiting])

    monkeypatch.setattr(search, "search_conversations", down)
    monkeypatch.setattr(history, "sending_error", lambda _: "The MLflow store does not answer.")
    at = open_page("conversations")
    assert rows(at) == ["Kept here"]
    assert "waits for the store" in said(at)


def test_what_waits_for_the_store_is_told_with_the_reason(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "count_pending", lambda _: 3)
    assert "3 changes wait on this machine to be saved in MLflow" in said(open_page("conversations"))
    monkeypatch.setattr(history, "sending_error", lambda _: "The MLflow store at http://x does not answer.")
    at = open_page("conversations")
    assert "3 changes wait on this machine to be saved in MLflow. The MLflow store at" in shown(at.warning[0].value)


def test_with_tracing_off_the_page_says_that_nothing_is_saved(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHI3_TRACING", "off")
    at = open_page("conversations")
    assert not at.exception
    assert "Conversations are not saved" in shown(at.warning[0].value)


# ---------------------------------------------------------------- changing them


def test_a_conversation_is_renamed(open_page: Open, settings: Settings) -> None:
    id = talk(settings, ("One", "Two"))
    at = open_page("conversations")
    at.menu_button(key=f"conversations_menu_{id}").click("Rename").run()
    assert at.text_input(key=f"share_title_{id}").value == "One"
    at.text_input(key=f"share_title_{id}").set_value("A better name")
    at.menu_button(key=f"conversations_menu_{id}").click("Rename")
    at.button(key="share_rename_confirm").click().run()
    assert not at.exception
    assert not at.error
    assert rows(at) == ["A better name"]


def test_an_empty_title_is_refused_in_words(open_page: Open, settings: Settings) -> None:
    id = talk(settings, ("One", "Two"))
    at = open_page("conversations")
    at.menu_button(key=f"conversations_menu_{id}").click("Rename").run()
    at.text_input(key=f"share_title_{id}").set_value("  ")
    at.menu_button(key=f"conversations_menu_{id}").click("Rename")
    at.button(key="share_rename_confirm").click().run()
    assert "The title is empty" in shown(at.error[0].value)
    assert rows(at) == ["One"]


def test_a_deletion_says_what_goes_and_happens_only_when_confirmed(open_page: Open, settings: Settings) -> None:
    id = talk(settings, ("One", "Two"), ("Three", "Four"))
    talk(settings, ("Kept", "Yes"))
    at = open_page("conversations")
    at.menu_button(key=f"conversations_menu_{id}").click("Delete").run()
    assert "**One** · 2 turns" in said(at)
    assert "with all 2 traces in MLflow" in said(at)
    assert len(search_conversations(settings).conversations) == 2
    at.menu_button(key=f"conversations_menu_{id}").click("Delete")
    at.button(key="share_delete_confirm").click().run()
    assert not at.exception
    assert rows(at) == ["Kept"]
    assert shown(at.success[0].value) == "1 conversation deleted."
    assert history.flush(settings)
    with pytest.raises(NotFound):
        history.read(settings, id)


def test_several_are_ticked_and_deleted_at_once(open_page: Open, settings: Settings) -> None:
    ids = [talk(settings, (f"Talk {n}", "x"), ago=n) for n in range(3)]
    at = open_page("conversations")
    at.checkbox(key=tick(ids[0])).check()
    at.checkbox(key=tick(ids[2])).check().run()
    assert at.checkbox(key="conversations_all").label == "2 selected"
    at.button(key="conversations_delete").click().run()
    at.button(key="conversations_delete").click()
    at.button(key="share_delete_confirm").click().run()
    assert rows(at) == ["Talk 1"]


def test_all_are_ticked_and_unticked_together(open_page: Open, settings: Settings) -> None:
    ids = [talk(settings, (f"Talk {n}", "x")) for n in range(2)]
    at = open_page("conversations")
    at.checkbox(key="conversations_all").check().run()
    assert all(at.checkbox(key=tick(id)).value for id in ids)
    at.checkbox(key="conversations_all").uncheck().run()
    assert not any(at.checkbox(key=tick(id)).value for id in ids)
    assert not at.download_button
