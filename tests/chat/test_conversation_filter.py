"""Conversations found by version, person, rating, date and origin, and those that somebody has pinned."""

from __future__ import annotations

import pytest

from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.chat.conversation_filter import ConversationFilter
from phi3core.chat.live_conversations import rename_conversation
from phi3core.chat.search import search_conversations
from phi3core.errors import Forbidden
from phi3core.settings import Settings
from phi3core.traces.turn import Origin
from tests.support.saved_turns import Store, ended_turn, keep, new_id

ADA, BOB = Person("ada", "reviewer"), Person("Bob", "viewer")


def found(settings: Settings, text: str = "", **wanted: object) -> str:
    """The titles, newest first."""
    listed = search_conversations(settings, text, wanted=ConversationFilter(**wanted)).conversations  # type: ignore[arg-type]
    return " ".join(summary.title for summary in listed)


def test_a_list_is_of_what_one_of_its_turns_is(settings: Settings) -> None:
    id = new_id()
    first = ended_turn("A", when=1_000, ref="phi3/1", thumb=True)
    keep(settings, first, id)
    keep(settings, ended_turn("more", parent=first.id, when=5_000, ref="phi3/2", user="bob"), id)
    keep(settings, ended_turn("B", "It is Madrid.", when=2_000, ref="phi3/10", thumb=False, user="Bob"))
    keep(settings, ended_turn("C", when=3_000, ref="endpoint:far", user="o'hara"), origin=Origin("replay", id, ""))
    assert found(settings) == "A C B"
    assert found(settings, ref="phi3/1") == "A"
    assert found(settings, ref="phi3") == "A B"
    assert found(settings, ref="endpoint:far") == "C"
    assert found(settings, user="BOB") == "A B"
    assert found(settings, user="o'hara") == "C"
    assert found(settings, rating="up") == "A"
    assert found(settings, rating="down") == "B"
    assert found(settings, rating="none") == "A C"
    assert found(settings, since=3_000) == "A C"
    assert found(settings, since=2_000, until=3_000) == "B"
    assert found(settings, origin="replay") == "C"
    assert found(settings, origin="new") == "A B"
    assert found(settings, ref="phi3/1", user="bob") == ""  # of one and the same turn
    assert found(settings, "madrid", rating="down") == "B"
    assert found(settings, "madrid", rating="up") == ""
    assert found(settings, "a", rating="up") == "A"  # by its title


def test_what_waits_for_the_store_is_found_by_the_same(settings: Settings, store: Store) -> None:
    sent = ended_turn("Sent", when=1_000)
    id = keep(settings, sent)
    store.away = True
    history.save(settings, new_id(), ended_turn("Waits", when=2_000, ref="phi3/2", user="bob"), [])
    sent.thumb = True
    history.rate(settings, id, sent, ADA)
    assert found(settings, user="bob") == "Waits"
    assert found(settings, ref="phi3/1") == "Sent"
    assert found(settings, rating="up") == "Sent"
    assert found(settings, rating="none") == "Waits"


def test_a_pin_is_one_persons_and_lasts_until_it_is_taken_off(settings: Settings) -> None:
    id = keep(settings, ended_turn("Old", when=1_000))
    keep(settings, ended_turn("New", when=2_000))
    history.pin(settings, id, True, BOB)
    assert found(settings, pinned_by="bob") == "Old"  # at once
    assert history.flush(settings)
    assert found(settings, pinned_by="BOB") == "Old"
    assert found(settings, pinned_by="ada") == ""
    (kept,) = [summary for summary in search_conversations(settings).conversations if summary.id == id]
    assert (kept.pinned_by("bob"), kept.pinned_by("ada")) == (True, False)
    rename_conversation(settings, id, "Renamed", Person("ada", "viewer"))
    history.pin(settings, id, False, BOB)
    assert found(settings, pinned_by="bob") == ""
    assert history.flush(settings)
    assert found(settings, pinned_by="bob") == ""
    assert found(settings, "renamed") == "Renamed"


def test_who_may_not_read_may_not_pin(settings: Settings) -> None:
    with pytest.raises(Forbidden, match="needs the role viewer"):
        history.pin(settings, new_id(), True, Person("eve", "none"))
