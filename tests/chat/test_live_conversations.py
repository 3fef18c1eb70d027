"""Conversations in memory: found, renamed and deleted while their answers come."""

from __future__ import annotations

import pytest

from phi3core.chat import history
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import (
    add_conversation,
    delete_conversation,
    load_conversation,
    rename_conversation,
)
from phi3core.chat.search import search_conversations
from phi3core.errors import BadInput, NotFound
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.app.servers import FakePool, HeldEngine
from tests.chat.asking import WORDS, ended
from tests.support import fakes


def test_the_live_conversation_is_found_with_its_running_answer(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool = FakePool(lambda ref: held)
    talk = add_conversation(Conversation(settings, pool))  # type: ignore[arg-type]
    turn = talk.ask(version, "Hello").turn
    fakes.until(lambda: turn.answer)
    found = load_conversation(settings, pool, talk.id)  # type: ignore[arg-type]
    assert found is talk
    assert found.current is turn
    with pytest.raises(BadInput, match="still coming"):
        found.branch(turn)
    with pytest.raises(BadInput, match="still coming"):
        found.rate(turn, True)
    held.go.set()
    assert found.live is not None
    assert ended(found.live) is found.path[-1]
    assert found.path[-1].answer == "The capital is Madrid."
    assert found.current is None
    pool.close()


def test_a_live_conversation_that_is_renamed_by_its_id_has_the_title_at_once_and_keeps_it(
    settings: Settings, pool: FakePool, version: Version
) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool.engines = lambda ref: held
    talk = add_conversation(Conversation(settings, pool))  # type: ignore[arg-type]
    live = talk.ask(version, "Hello")
    fakes.until(lambda: live.turn.answer)
    rename_conversation(settings, talk.id, " Named\nnow ")
    assert talk.title == "Named now"
    assert history.flush(settings)  # nothing of it is in the store yet
    held.go.set()
    ended(live)
    talk.settle()
    assert search_conversations(settings).conversations[0].title == "Named now"


def test_an_address_that_is_none_and_one_that_is_unknown_each_get_a_sentence(
    settings: Settings, pool: FakePool
) -> None:
    with pytest.raises(BadInput, match="not a conversation's address"):
        load_conversation(settings, pool, "' OR 1=1")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="not in the store"):
        load_conversation(settings, pool, "0" * 32)  # type: ignore[arg-type]


def test_deleting_a_conversation_stops_its_answer_and_what_still_comes_is_not_saved(
    settings: Settings, version: Version
) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool = FakePool(lambda ref: held)
    talk = add_conversation(Conversation(settings, pool))  # type: ignore[arg-type]
    live = talk.ask(version, "Hello")
    fakes.until(lambda: live.turn.answer)
    delete_conversation(settings, talk.id)
    held.go.set()
    assert ended(live).state == "stopped"
    talk.settle()
    with pytest.raises(NotFound):
        load_conversation(settings, pool, talk.id)  # type: ignore[arg-type]
    assert list(settings.outbox.iterdir()) == []
    pool.close()


def test_a_turn_that_cannot_be_saved_still_stands_and_says_so(
    settings: Settings, talk: Conversation, version: Version
) -> None:
    settings.outbox.rmdir()
    settings.outbox.write_text("no folder")
    turn = ended(talk.ask(version, "Hello"))
    assert (turn.state, turn.answer) == ("done", "The capital is Madrid.")
    assert "could not be saved: " in turn.error
