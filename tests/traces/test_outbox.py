"""What waits for the store: safe on disk, sent in the background, through kills and refusals."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from typing import Any

import pytest

from phi3core import tags
from phi3core.chat import history
from phi3core.chat.events import send_event
from phi3core.chat.search import search_conversations
from phi3core.errors import NotFound, StoreDown
from phi3core.settings import Settings
from phi3core.store.client import experiment_id
from phi3core.traces import outbox_files, sender, trace_search, turn_trace
from tests.support.clock import ManualClock
from tests.support.fakes import until
from tests.support.saved_turns import Store, ended_turn, keep, new_id, traces_of


def test_a_turn_is_safe_on_disk_and_seen_while_the_store_is_away(settings: Settings, store: Store) -> None:
    store.away = True
    id, first = new_id(), ended_turn("One")
    second = ended_turn("Two", parent=first.id, when=first.when + 1)
    for turn in (first, second):
        history.save(settings, id, turn, [])
    until(lambda: history.sending_error(settings))
    assert history.count_pending(settings) == 2
    assert "does not answer" in history.sending_error(settings)
    assert len(list(settings.outbox.glob("*.json"))) == 2
    assert list(history.read(settings, id).turns) == [first, second]
    (summary,) = search_conversations(settings).conversations
    assert (summary.turns, summary.pending, summary.title) == (2, 2, "One")
    assert list(search_conversations(settings, pending_only=True).conversations) == [summary]

    store.away = False
    assert history.flush(settings)
    assert store.sent == ["One", "Two"]
    assert history.count_pending(settings) == 0
    assert history.sending_error(settings) == ""
    assert list(history.read(settings, id).turns) == [first, second]
    (summary,) = search_conversations(settings).conversations
    assert (summary.turns, summary.pending) == (2, 0)


@pytest.fixture
def clock(settings: Settings) -> ManualClock:
    """The clock by which the outbox of this test pauses."""
    clock = ManualClock()
    sender.get_sender(settings, send_event, clock)
    return clock


def test_a_store_that_comes_back_is_sent_to_without_a_request(
    settings: Settings, store: Store, clock: ManualClock
) -> None:
    store.away = True
    id = new_id()
    history.save(settings, id, ended_turn(), [])
    until(lambda: history.sending_error(settings) and clock.waits)
    store.away = False
    assert history.count_pending(settings) == 1
    clock.advance(1)
    until(lambda: not history.count_pending(settings))
    assert len(traces_of(settings, id)) == 1


def test_the_pause_after_a_failure_doubles_up_to_a_minute_and_begins_anew(
    settings: Settings, store: Store, clock: ManualClock
) -> None:
    sending = sender.get_sender(settings, send_event)
    store.away = True
    history.save(settings, new_id(), ended_turn(), [])
    for failures, pause in enumerate((1, 2, 4, 8, 16, 32, 60, 60), start=1):
        until(lambda failures=failures: (sending.failures, clock.waits) == (failures, 1))
        clock.advance(pause - 0.5)
        history.save(settings, new_id(), ended_turn(), [], sync=False)  # that there is more ends no pause
        time.sleep(0.01)
        assert sending.failures == failures
        clock.advance(0.5)
    until(lambda: (sending.failures, clock.waits) == (9, 1))
    store.away = False
    assert history.flush(settings, 60)
    until(lambda: not sending.running)

    store.away = True
    history.save(settings, new_id(), ended_turn(), [])
    until(lambda: (sending.failures, clock.waits) == (10, 1))
    store.away = False
    clock.advance(1)
    until(lambda: not history.count_pending(settings))


def test_a_whole_conversation_can_be_read_when_even_reading_fails(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(settings, ended_turn("In the store"))
    store.away = True
    id = new_id()
    history.save(settings, id, ended_turn("Only here"), [])

    def down(*_: Any, **__: Any) -> Any:
        raise StoreDown("The MLflow store does not answer.")

    monkeypatch.setattr(trace_search, "search_traces", down)
    assert history.read(settings, id).turns[0].question == "Only here"
    assert [summary.id for summary in search_conversations(settings, pending_only=True).conversations] == [id]
    with pytest.raises(StoreDown):
        history.read(settings, kept)
    with pytest.raises(StoreDown):
        search_conversations(settings)


def test_one_turn_that_the_store_refuses_does_not_hold_up_the_others(settings: Settings, store: Store) -> None:
    store.refused = "poison"
    id, other = new_id(), new_id()
    poison = ended_turn("poison")
    history.save(settings, id, poison, [])
    history.rate(settings, id, dataclasses.replace(poison, thumb=True))
    history.save(settings, id, ended_turn("Next", parent=poison.id), [])
    history.save(settings, other, ended_turn("Other"), [])
    until(lambda: store.sent == ["Next", "Other"])
    until(lambda: history.sending_error(settings))
    until(lambda: history.count_pending(settings) == 2)  # the turn, and what builds on it
    store.refused = ""
    assert history.flush(settings)
    assert history.read(settings, id).turns[0].thumb is True


def test_a_flush_does_not_end_with_the_failure_of_an_attempt_that_was_under_way(
    settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def slow(*event: Any) -> None:
        if under_way.is_set():
            send_event(*event)
            return
        under_way.set()
        assert go_on.wait(20)
        raise StoreDown("The MLflow store does not answer.")

    monkeypatch.setattr(sender.get_sender(settings, send_event), "_send", slow)
    history.save(settings, new_id(), ended_turn(), [])
    assert under_way.wait(20)
    threading.Timer(0.05, go_on.set).start()
    assert history.flush(settings, 60)


def test_a_file_that_is_no_event_is_put_aside(settings: Settings) -> None:
    (settings.outbox / "00000000000000000001-000000-1.json").write_text("{half")
    (settings.outbox / "00000000000000000002-000000-1.json").write_text("[1]")
    id = keep(settings, ended_turn())
    assert len(traces_of(settings, id)) == 1
    assert len(list(settings.outbox.glob("*.damaged"))) == 2
    assert history.count_pending(settings) == 0


def test_a_crash_between_sending_and_forgetting_shows_the_turn_once(settings: Settings, store: Store) -> None:
    id, turn = new_id(), ended_turn()
    history.save(settings, id, turn, [])
    assert history.flush(settings)
    event = {"kind": "turn", "conversation": id, "turn": turn.plain(), "messages": [], "origin": None, "title": "Hello"}
    history.rename(settings, id, "Renamed")
    assert history.flush(settings)
    (settings.outbox / "00000000000000000001-000000-1.json").write_text(json.dumps(event))

    assert list(history.read(settings, id).turns) == [turn]  # both are there at this moment
    assert search_conversations(settings).conversations[0].turns == 1
    assert history.flush(settings)
    assert len(traces_of(settings, id)) == 1
    assert history.read(settings, id).title == "Renamed"  # it was not written over


def test_a_crash_in_the_middle_of_sending_is_made_whole(settings: Settings) -> None:
    id, turn = new_id(), ended_turn()
    event = {"kind": "turn", "conversation": id, "turn": turn.plain(), "messages": [], "origin": None, "title": "Hello"}
    home = experiment_id(settings, tags.CONVERSATIONS)
    info = turn_trace.make_info(turn, home, {trace_search.SESSION: id}, {tags.TITLE: "Hello"})
    trace_search.tracing_client(settings).start_trace(info)  # and the span never came
    (settings.outbox / "00000000000000000001-000000-1.json").write_text(json.dumps(event))
    assert history.flush(settings)
    assert list(history.read(settings, id).turns) == [turn]
    assert len(traces_of(settings, id)) == 1


def test_a_disk_that_is_full_leaves_no_half_files(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outbox_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        history.save(settings, new_id(), ended_turn(), [])
    assert list(settings.outbox.iterdir()) == []


def test_with_tracing_off_nothing_is_written_and_everything_works_in_memory(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = dataclasses.replace(settings, tracing=False)
    id, turn = new_id(), ended_turn("In memory")
    before = sorted(path for path in settings.home.rglob("*") if path.is_file())
    history.save(off, id, turn, [])
    turn.thumb = True
    history.rate(off, id, turn)
    history.rename(off, id, "Named")
    assert history.read(off, id).turns[0].thumb is True
    assert [(summary.title, summary.turns, summary.pending) for summary in search_conversations(off).conversations] == [
        ("Named", 1, 0)
    ]
    assert [summary.id for summary in search_conversations(off, "memory").conversations] == [id]
    assert search_conversations(off, "elsewhere").conversations == []
    assert history.flush(off)
    history.delete(off, id)
    assert search_conversations(off).conversations == []
    with pytest.raises(NotFound):
        history.read(off, id)
    assert store.sent == []
    assert sorted(path for path in settings.home.rglob("*") if path.is_file()) == before
