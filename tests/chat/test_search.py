"""Conversations listed and searched."""

from __future__ import annotations

import pytest

from phi3core import tags
from phi3core.chat import history
from phi3core.chat.search import search_conversations
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.timestamps import now_ms
from phi3core.traces import trace_search
from tests.support import fakes
from tests.support.saved_turns import Store, ended_turn, keep, new_id


def test_the_list_is_newest_first_with_titles_counts_and_who_spoke_last(settings: Settings) -> None:
    now = now_ms()
    old, new = new_id(), new_id()
    first = ended_turn("The older one", when=now)
    keep(settings, first, old)
    keep(settings, ended_turn("The newer one", when=now + 10, ref="phi3/2", user="bob"), new)
    assert [(s.id, s.title, s.turns, s.ref, s.user) for s in search_conversations(settings).conversations] == [
        (new, "The newer one", 1, "phi3/2", "bob"),
        (old, "The older one", 1, "phi3/1", "ada"),
    ]
    keep(settings, ended_turn("And on", parent=first.id, when=now + 20, ref="phi3/3"), old)
    assert [(s.id, s.title, s.turns, s.ref, s.when) for s in search_conversations(settings).conversations] == [
        (old, "The older one", 2, "phi3/3", now + 20),
        (new, "The newer one", 1, "phi3/2", now + 10),
    ]
    assert [s.id for s in search_conversations(settings, limit=1).conversations] == [old]


def test_a_list_of_many_takes_few_calls_of_the_store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3core.chat import search

    for number in range(12):
        first = ended_turn(f"Question {number}", when=1000 * number + 1)
        id = new_id()
        history.save(settings, id, first, [])
        for turn in range(3):
            history.save(settings, id, ended_turn("more", parent=first.id, when=1000 * number + turn + 2), [])
    assert history.flush(settings, 60)
    counting = fakes.CountingClient(mlflow_client(settings))
    monkeypatch.setattr(trace_search, "mlflow_client", lambda settings: counting)
    assert [s.turns for s in search_conversations(settings).conversations] == [4] * 12
    assert sum(counting.calls.values()) == 1
    # As if they were too many to look at all of them: the newest are found first, then their traces.
    monkeypatch.setattr(search, "_PAGE", 8)
    counting.calls.clear()
    assert [(s.title, s.turns) for s in search_conversations(settings, limit=1).conversations] == [("Question 11", 4)]
    assert sum(counting.calls.values()) == 2


def test_a_search_goes_on_until_it_has_found_enough(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3core.chat import search

    old = keep(settings, ended_turn("About Spain", when=1_000))
    talkative, first = new_id(), ended_turn("And Portugal?", when=2_000)
    history.save(settings, talkative, first, [])
    for number in range(11):
        more = ended_turn("Spain again", parent=first.id, when=2_001 + number)
        history.save(settings, talkative, more, [])
    for number in range(6):
        titled = new_id()
        history.save(settings, titled, ended_turn("Hello", when=500 + number), [], title=f"Spain {number}")
    assert history.flush(settings, 60)
    for page in ("_PAGE", "_READ"):
        monkeypatch.setattr(search, page, 2)

    found = search.search_conversations(settings, "spain", limit=2)
    assert ([summary.id for summary in found.conversations], found.since) == ([talkative, old], 0)
    assert len(search.search_conversations(settings, "spain").conversations) == 8
    assert [summary.id for summary in search.search_conversations(settings, limit=2).conversations] == [talkative, old]


def test_a_look_that_runs_out_of_time_says_how_far_it_came(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3core.chat import search

    ids = [keep(settings, ended_turn("Spain", when=1_000 * number)) for number in range(1, 7)]
    for page in ("_PAGE", "_READ"):
        monkeypatch.setattr(search, page, 2)

    for text in ("", "spain"):
        found = search.search_conversations(settings, text, seconds=0)
        assert ([summary.id for summary in found.conversations], found.since) == ([ids[5], ids[4]], 5_000)
        assert (
            search.search_conversations(settings, text, limit=1, seconds=0).since == 0
        )  # it found all that was wanted
        assert search.search_conversations(settings, text, seconds=60).since == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("madrid", True),
        ("CAPITAL of", True),
        ("größe", True),
        ("GRÖSSE", True),
        ("日本", True),
        ('say "hi"', True),
        ("it's", True),
        ("a\\b", True),
        ("50%", True),
        ("50_", False),
        ("two\nlines", True),
        ("lisbon", False),
        ("finish_reason", False),  # a name of a field
        ("assistant", False),
        ("be terse", False),  # the system prompt is none of it
        ("phi3/1", False),
    ],
)
def test_a_search_finds_questions_and_answers_in_any_case_and_nothing_else(
    settings: Settings, text: str, found: bool
) -> None:
    question = 'What is the capital of Spain, in Größe, 日本? say "hi", it\'s a\\b and 50% two\nlines'
    id = keep(settings, ended_turn(question, "Madrid.", system="be terse"))
    keep(settings, ended_turn("Something else", "Entirely."))
    assert [summary.id for summary in search_conversations(settings, text).conversations] == ([id] if found else [])


def test_a_search_finds_titles_and_what_waits_for_the_store(settings: Settings, store: Store) -> None:
    id = keep(settings, ended_turn("One", "1"))
    history.rename(settings, id, "Ärger über Spain")
    assert history.flush(settings)
    assert [summary.id for summary in search_conversations(settings, "ärger").conversations] == [id]
    store.away = True
    other = new_id()
    history.save(settings, other, ended_turn("Waiting", "for Spain"), [])
    assert {summary.id for summary in search_conversations(settings, "spain").conversations} == {id, other}
    # A turn that waits and does not match changes nothing of what is found; the counts are of the whole.
    history.save(settings, id, ended_turn("Two", "2"), [])
    assert [s.turns for s in search_conversations(settings, "ärger").conversations] == [2]
    assert {summary.id for summary in search_conversations(settings, "waiting").conversations} == {other}


def test_foreign_traces_in_the_experiment_do_no_harm(settings: Settings) -> None:
    import mlflow

    id = keep(settings, ended_turn("Ours"))
    home = experiment_id(settings, tags.CONVERSATIONS)
    for metadata in ({}, {"mlflow.trace.session": "not-hex"}, {"mlflow.trace.session": id}):
        mlflow.start_span_no_context("theirs", experiment_id=home, metadata=metadata).end(outputs="x")
    mlflow.flush_trace_async_logging()
    assert [turn.question for turn in history.read(settings, id).turns] == ["Ours"]
    for text in ("", "ours"):
        assert [(summary.id, summary.turns) for summary in search_conversations(settings, text).conversations] == [
            (id, 1)
        ]
