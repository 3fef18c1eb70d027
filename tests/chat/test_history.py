"""Conversations in the store: renamed, rated, deleted, and all of it over HTTP."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from phi3core import tags
from phi3core.chat import history
from phi3core.chat.live_conversations import rename_conversation
from phi3core.chat.search import search_conversations
from phi3core.engine.interface import Token
from phi3core.errors import BadInput, NotFound, StoreDown
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces import trace_search
from tests.store.test_http import remote  # noqa: F401  (a fixture)
from tests.support.fakes import until
from tests.support.saved_turns import Store, ended_turn, keep, new_id, traces_of


def test_another_beginning_does_not_change_the_title(settings: Settings) -> None:
    id = keep(settings, ended_turn("First", when=1000))
    keep(settings, ended_turn("First, edited", when=2000), id)
    assert search_conversations(settings).conversations[0].title == "First"
    history.rename(settings, id, "  Mine\nnow ")
    assert search_conversations(settings).conversations[0].title == "Mine now"
    assert history.flush(settings)
    assert search_conversations(settings).conversations[0].title == history.read(settings, id).title == "Mine now"
    with pytest.raises(BadInput, match="title is empty"):
        history.rename(settings, id, " \x00 ")


def test_a_conversation_is_renamed_without_being_read_even_while_the_store_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = keep(settings, ended_turn("First"))
    with monkeypatch.context() as patch:

        def down(*_: Any, **__: Any) -> Any:
            raise StoreDown("The MLflow store does not answer.")

        patch.setattr(trace_search, "search_traces", down)
        rename_conversation(settings, id, "  Another\nname ")
        until(lambda: history.sending_error(settings))
        assert history.count_pending(settings) == 1
    with pytest.raises(BadInput, match="title is empty"):
        rename_conversation(settings, id, " ")
    with pytest.raises(BadInput, match="not a conversation's address"):
        rename_conversation(settings, "' OR 1=1", "Named")
    assert search_conversations(settings).conversations[0].title == history.read(settings, id).title == "Another name"
    assert history.flush(settings)
    assert search_conversations(settings).conversations[0].title == history.read(settings, id).title == "Another name"


# ---------------------------------------------------------------- rating, deleting


def thumbs_of(settings: Settings, id: str) -> list[tuple[Any, ...]]:
    (trace,) = traces_of(settings, id)
    found = sorted(trace.info.assessments, key=lambda assessment: assessment.create_time_ms)
    return [(a.name, a.value, a.rationale, a.source.source_type, a.source.source_id, a.valid) for a in found]


def test_a_thumb_is_an_assessment_and_a_later_one_overrides_it(settings: Settings) -> None:
    turn = ended_turn()
    id = keep(settings, turn)
    turn.thumb, turn.comment, turn.rated_by = True, "Right.", "bob"
    for _ in range(2):  # the second changes nothing
        history.rate(settings, id, turn)
    assert history.flush(settings)
    assert thumbs_of(settings, id) == [("thumb", True, "Right.", "HUMAN", "bob", True)]
    turn.thumb, turn.comment = False, ""
    history.rate(settings, id, turn)
    assert (history.read(settings, id).turns[0].thumb) is False  # even before it is sent
    assert history.flush(settings)
    assert thumbs_of(settings, id) == [
        ("thumb", True, "Right.", "HUMAN", "bob", False),
        ("thumb", False, None, "HUMAN", "bob", True),
    ]
    assert list(history.read(settings, id).turns) == [turn]
    turn.thumb = None
    history.rate(settings, id, turn)
    assert history.flush(settings)
    assert thumbs_of(settings, id) == []
    assert history.read(settings, id).turns[0].thumb is None


def test_a_turn_that_comes_with_a_thumb_is_saved_with_it(settings: Settings) -> None:
    turn = ended_turn(thumb=False, comment="Wrong.", rated_by="bob")
    id = keep(settings, turn)
    assert list(history.read(settings, id).turns) == [turn]


def test_a_deleted_conversation_is_gone_with_all_its_traces(settings: Settings) -> None:
    id, other = keep(settings, ended_turn("Gone")), keep(settings, ended_turn("Stays"))
    for number in range(3):
        keep(settings, ended_turn(f"Gone {number}"), id)
    history.delete(settings, id)
    assert [summary.id for summary in search_conversations(settings).conversations] == [other]  # at once
    with pytest.raises(NotFound):
        history.read(settings, id)
    assert history.flush(settings)
    assert traces_of(settings, id) == []
    assert [summary.id for summary in search_conversations(settings).conversations] == [other]


def test_what_was_never_sent_is_deleted_without_being_sent(settings: Settings, store: Store) -> None:
    store.away = True
    id = new_id()
    turn = ended_turn("Secret")
    history.save(settings, id, turn, [])
    history.rate(settings, id, dataclasses.replace(turn, thumb=True))
    history.delete(settings, id)
    assert "Secret" not in "".join(path.read_text() for path in settings.outbox.glob("*.json"))
    store.away = False
    assert history.flush(settings)
    assert store.sent == []
    assert search_conversations(settings).conversations == []


def test_rating_what_was_deleted_is_given_up(settings: Settings) -> None:
    turn = ended_turn(thumb=True)
    id = keep(settings, ended_turn("Stays"))
    history.rate(settings, id, turn)
    history.rename(settings, new_id(), "Nobody")
    assert history.flush(settings)
    assert history.count_pending(settings) == 0


def test_a_deleted_experiment_is_told_and_nothing_is_lost(settings: Settings) -> None:
    home = experiment_id(settings, tags.CONVERSATIONS)
    mlflow_client(settings).delete_experiment(home)
    id = new_id()
    history.save(settings, id, ended_turn(), [])
    until(lambda: history.sending_error(settings))
    assert "Restore it" in history.sending_error(settings)
    mlflow_client(settings).restore_experiment(home)
    assert history.flush(settings)
    assert len(traces_of(settings, id)) == 1


# ---------------------------------------------------------------- over HTTP


def test_a_tracking_server_keeps_conversations_as_a_local_store_does(remote: Settings) -> None:  # noqa: F811
    turn = ended_turn(
        "Größe?\x00", "1 m \ud800", tokens=[Token("1", -1.0, (("1", -1.0),))], options={"temperature": 0.5}
    )
    id = keep(remote, turn)
    turn.thumb = True
    history.rate(remote, id, turn)
    turn.thumb, turn.comment, turn.rated_by = False, "No.", "bob"
    history.rate(remote, id, turn)
    history.rename(remote, id, "Über")
    assert history.flush(remote), history.sending_error(remote)
    (found,) = history.read(remote, id).turns
    assert found == dataclasses.replace(turn, answer="1 m \ufffd")
    assert len(thumbs_of(remote, id)) == 2
    for text in ("", "GRÖSSE", "über"):
        assert [(s.id, s.title, s.turns) for s in search_conversations(remote, text).conversations] == [(id, "Über", 1)]
    history.delete(remote, id)
    assert history.flush(remote)
    assert traces_of(remote, id) == []
