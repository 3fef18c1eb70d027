"""Conversations: the list and what can be done with it, files in and out, and replays."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.shared import escape, ui
from phi3core.chat import history, import_export, live_conversations, markdown_export, replay, search
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import delete_conversation, load_conversation
from phi3core.chat.replay import DiffPiece
from phi3core.chat.search import SearchResult, search_conversations
from phi3core.errors import NotFound, StoreDown
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.traces import feedback
from phi3core.traces.turn import Turn
from phi3core.traces.votes import Score
from tests.app.conftest import Open, Register, links, said
from tests.app.servers import FakePool, HeldEngine
from tests.support import fakes

WORDS = ("The", " capital", " is", " Madrid", ".")
NASTY = "And **Rome**? ![x](https://evil.example/?q=1) :material/home: <b>"


def talk(
    settings: Settings, *said: tuple[str, str], ref: str = "phi3/1", ago: float = 0, title: str = "", **options: Any
) -> str:
    """A saved conversation that is no longer live, and its id. ago: minutes since its last turn."""
    made = Conversation(settings, FakePool(), user="ada")  # type: ignore[arg-type]
    now, turns, parent = time.time_ns() // 1_000_000 - int(ago * 60_000), list[Turn](), ""
    for at, (question, answer) in enumerate(said):
        turn = Turn(question, ref, answer=answer, state="done", parent=parent, user="ada", when=now + at, seed=3)
        turn.completion_tokens, turn.tokens_per_second, turn.asked_ref = len(answer.split()), 120.0, ref
        turn.options = options
        turns.append(turn)
        parent = turn.id
    made._title = title
    made.adopt(turns)
    assert history.flush(settings)
    return made.id


def rows(at: AppTest) -> list[str]:
    """The titles in the list, top to bottom, as a reader sees them."""
    return [shown(link.label) for link in at.page_link if link.page == "chat" and "c=" in link.proto.query_string]


def shown(markdown: str) -> str:
    """Escaped Markdown as it is drawn."""
    return re.sub(r"\\(.)", r"\1", markdown).replace("\u2060", "").replace("\u00a0", " ")


def key(id: str) -> str:
    return f"conversations_pick_{id}"


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

    def stub(settings: Settings, text: str, limit: int, waiting: bool, seconds: float) -> SearchResult:
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

    def down(settings: Settings, text: str, limit: int, pending_only: bool = False, *_: float) -> SearchResult:
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
    assert "3 changes wait on this machine to be saved in MLflow. The MLflow store at" in at.warning[0].value


def test_with_tracing_off_the_page_says_that_nothing_is_saved(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHI3_TRACING", "off")
    at = open_page("conversations")
    assert not at.exception
    assert "Conversations are not saved" in at.warning[0].value


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
    assert "The title is empty" in at.error[0].value
    assert rows(at) == ["One"]


def test_a_deletion_says_what_goes_and_happens_only_when_confirmed(open_page: Open, settings: Settings) -> None:
    id = talk(settings, ("One", "Two"), ("Three", "Four"))
    talk(settings, ("Kept", "Yes"))
    at = open_page("conversations")
    at.menu_button(key=f"conversations_menu_{id}").click("Delete").run()
    assert "**One**, 2 turns" in said(at)
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
    at.checkbox(key=key(ids[0])).check()
    at.checkbox(key=key(ids[2])).check().run()
    assert at.checkbox(key="conversations_all").label == "2 selected"
    at.button(key="conversations_delete").click().run()
    at.button(key="conversations_delete").click()
    at.button(key="share_delete_confirm").click().run()
    assert rows(at) == ["Talk 1"]


def test_all_are_ticked_and_unticked_together(open_page: Open, settings: Settings) -> None:
    ids = [talk(settings, (f"Talk {n}", "x")) for n in range(2)]
    at = open_page("conversations")
    at.checkbox(key="conversations_all").check().run()
    assert all(at.checkbox(key=key(id)).value for id in ids)
    at.checkbox(key="conversations_all").uncheck().run()
    assert not any(at.checkbox(key=key(id)).value for id in ids)
    assert not at.download_button


# ---------------------------------------------------------------- files


def test_the_ticked_ones_are_exported_and_what_has_no_answer_is_counted(open_page: Open, settings: Settings) -> None:
    ids = [talk(settings, ("One", "1")), talk(settings, ("Two", "")), talk(settings, ("Three", "3"))]
    at = open_page("conversations")
    for id in ids[:2]:
        at.checkbox(key=key(id)).check()
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
    at.checkbox(key=key(id)).check().run()
    monkeypatch.setattr(live_conversations, "load_conversation", down)
    at.button(key="conversations_export").click().run()
    assert at.error[0].value == "The MLflow store does not answer."
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
    assert "talks.jsonl, line 2" in at.error[0].value
    assert "Nothing of this file was kept" in at.error[0].value
    assert search_conversations(settings).conversations == []


def test_of_two_files_the_good_one_is_kept_and_the_other_is_told(open_page: Open, settings: Settings) -> None:
    at = imported(open_page("conversations"), ("a.jsonl", line("One", "1")), ("b.json", "{"))
    assert "1 conversation imported" in said(at)
    assert "b.json, line 1" in at.error[0].value


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
    assert "notes.md is no conversation that was exported here" in at.error[0].value
    assert [summary.title for summary in search_conversations(settings).conversations] == ["My talk", "My talk"]


# ---------------------------------------------------------------- replay


@pytest.fixture
def engine(servers: FakePool) -> fakes.FakeEngine:
    engine = fakes.FakeEngine(WORDS)
    servers.engines = lambda ref: engine
    return engine


def replayed(at: AppTest, id: str, version: str = "") -> AppTest:
    """Start a replay through its dialog."""
    at.menu_button(key=f"conversations_menu_{id}").click("Replay").run()
    if version:
        at.selectbox(key=f"replay_version_{id}_phi3").set_value(version)
    at.menu_button(key=f"conversations_menu_{id}").click("Replay")
    return at.button(key="replay_start").click().run()


def ended(at: AppTest) -> AppTest:
    """Look again until the replay has ended, as a browser does by itself."""
    found = replay.find_replay(at.query_params["replay"])
    assert found is not None
    fakes.until(lambda: found.state != "running")
    return at.run()


def test_a_replay_is_shown_beside_what_was_recorded(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    engine.pause = 0.01  # a speed takes time to measure
    register()
    register()
    id = talk(settings, ("Capital?", "The capital is Madrid."), ("Again?", "The town is Rome."))
    at = ended(replayed(open_page("conversations"), id, version="phi3/2"))
    assert not at.exception
    assert not at.error
    assert "1 of 2 answers are the same" in said(at)
    columns = [shown(element.value) for element in at.markdown]
    assert "The :red-background[town] is :red-background[Rome]." in columns
    assert "The :green-background[capital] is :green-background[Madrid]." in columns
    figures = [shown(caption.value) for caption in at.caption if "tokens/s" in caption.value]
    assert any(figure.startswith("Recorded · phi3/1 · ") for figure in figures)
    assert any(figure.startswith("Replayed · phi3/2 · 5 tokens") for figure in figures)
    assert at.get("plotly_chart")


def test_what_a_replayed_question_was_asked_without_is_told(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    id = talk(settings, ("Capital?", "The town is Madrid."), top_k=3)
    engine.supports = frozenset({"max_tokens"})
    at = ended(replayed(open_page("conversations"), id))
    assert not at.error
    assert "Asked without top_k, which this model does not take." in shown(said(at))


def test_the_same_version_is_offered_first(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    id = talk(settings, ("Capital?", "The capital is Madrid."))
    at = open_page("conversations")
    at.menu_button(key=f"conversations_menu_{id}").click("Replay").run()
    box = at.selectbox(key=f"replay_version_{id}_phi3")
    assert box.value == "phi3/1"
    assert any(option.endswith("as recorded") for option in box.options)
    at = ended(replayed(open_page("conversations"), id))
    assert "The answer is the same, to the letter." in said(at)


def test_a_replay_is_found_again_by_its_address_after_a_restart(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    id = talk(settings, ("Capital?", "The town is Madrid."))
    at = ended(replayed(open_page("conversations"), id))
    made = at.query_params["replay"]
    assert history.flush(settings)
    live_conversations._live.clear()
    replay._live.clear()
    at = open_page("conversations", replay=made)
    assert not at.exception
    assert "The answer is different." in said(at)
    assert "The :red-background[town] is Madrid." in [shown(element.value) for element in at.markdown]


def test_a_running_replay_shows_how_far_it_is_and_can_be_stopped(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    register()
    held = HeldEngine(WORDS, hold_at=2)
    servers.engines = lambda ref: held
    id = talk(settings, ("Capital?", "The capital is Madrid."), ("Again?", "No."))
    at = replayed(open_page("conversations"), id)
    assert fakes.until(held.holding.is_set)
    at.run()
    assert "Asking question 1 of 2" in str(at.get("progress")[0].proto)
    at.button(key="replay_stop").click().run()
    at = ended(at)
    assert not at.exception
    assert re.search(r"Stopped after \d of 2 questions", said(at))


def test_a_replay_that_fails_says_why(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    register()
    broken = fakes.FakeEngine(WORDS)
    broken.fail_at = 1
    servers.engines = lambda ref: broken
    id = talk(settings, ("Capital?", "The capital is Madrid."))
    at = ended(replayed(open_page("conversations"), id))
    assert not at.exception
    assert at.error
    assert "failed" in str([badge.value for badge in at.markdown])


def vote_of(at: AppTest) -> Any:
    """The choice below the only pair of answers that differ."""
    (control,) = (found for found in at.button_group if str(found.key).startswith("replay_vote_"))
    return control


def test_a_vote_on_two_answers_is_kept_found_again_and_can_be_changed_and_taken_back(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    id = talk(settings, ("Capital?", "The town is Madrid."), ("Again?", "The capital is Madrid."))
    at = ended(replayed(open_page("conversations"), id, version="phi3/2"))
    one, two = (reader.get_version(settings, f"phi3/{number}") for number in (1, 2))
    assert [shown(option) for option in vote_of(at).options] == [
        "Recorded · phi3/1",
        "As good as each other",
        "Replayed · phi3/2",
    ]
    assert vote_of(at).value is None

    at = vote_of(at).set_value("new").run()
    assert not at.exception
    assert history.flush(settings)
    assert feedback.read_reviews(settings, two).against(one) == Score(won=1)
    again = open_page("conversations", replay=at.query_params["replay"])
    assert vote_of(again).value == "new"

    vote_of(again).set_value("tie").run()
    assert history.flush(settings)
    assert feedback.read_reviews(settings, one).against(two) == Score(ties=1)
    vote_of(at).set_value(None).run()
    assert history.flush(settings)
    assert feedback.read_reviews(settings, one).against(two) == Score()


def test_there_is_nothing_to_vote_on_between_answers_of_one_version(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    id = talk(settings, ("Capital?", "The town is Madrid."))
    at = ended(replayed(open_page("conversations"), id))
    assert "The answer is different." in said(at)
    assert not at.button_group


def test_a_viewer_sees_the_choice_and_cannot_make_it(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    settings.secrets.write_text('[roles]\ndefault = "viewer"\n')
    id = talk(settings, ("Capital?", "The town is Madrid."))
    target = reader.get_version(settings, "phi3/2")
    again = replay.start(load_conversation(settings, ui.servers(), id), target)
    fakes.until(lambda: again.state != "running")
    at = open_page("conversations", replay=again.conversation.id)
    assert vote_of(at).proto.disabled
    assert "Voting needs the role reviewer." in vote_of(at).proto.help


@pytest.mark.parametrize("id", ["nothing", "0" * 32, "a'b\"<script>"])
def test_an_address_that_leads_nowhere_is_one_sentence(open_page: Open, settings: Settings, id: str) -> None:
    at = open_page("conversations", replay=id)
    assert not at.exception
    assert len(at.error) == 1


def test_a_conversation_that_repeats_none_says_so(open_page: Open, settings: Settings) -> None:
    id = talk(settings, ("One", "Two"))
    assert "repeats no other one" in open_page("conversations", replay=id).error[0].value


def test_a_replay_of_a_deleted_conversation_says_so(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    id = talk(settings, ("Capital?", "The capital is Madrid."))
    made = ended(replayed(open_page("conversations"), id)).query_params["replay"]
    replay._live.clear()
    delete_conversation(settings, id)
    at = open_page("conversations", replay=made)
    assert "was deleted" in at.error[0].value


# ---------------------------------------------------------------- letter by letter


@pytest.mark.parametrize(
    "text",
    [NASTY, "# no heading", "1. no list", "- no list", "a_b_ `c` ~~d~~ | e |", "$x$ and $5", ":red[no colour]", "a\\b"],
)
def test_literal_text_is_no_markup(text: str) -> None:
    escaped = escape.literal(text)
    assert shown(escaped) == text
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped)
    assert not re.search(r"[!-/:-@\[-`{-~]", bare)


def test_differences_leave_no_gap_between_changed_words() -> None:
    pieces = [
        DiffPiece("old", "big"),
        DiffPiece("new", "small"),
        DiffPiece("same", " "),
        DiffPiece("old", "dog"),
        DiffPiece("new", "cat"),
    ]
    assert escape.differences(pieces, "old") == ":red-background[big dog]"
    assert escape.differences(pieces, "new") == ":green-background[small cat]"


def test_a_difference_in_line_breaks_is_seen() -> None:
    pieces = [DiffPiece("same", "a"), DiffPiece("old", "\n"), DiffPiece("new", " "), DiffPiece("same", "b")]
    assert escape.differences(pieces, "old") == "a:red-background[↵]  \nb"
    assert escape.differences(pieces, "new") == "a:green-background[\u00a0]b"


def test_a_bracket_in_a_difference_does_not_end_it() -> None:
    assert escape.differences([DiffPiece("new", "](x)")], "new") == r":green-background[\]\(x\)]"
