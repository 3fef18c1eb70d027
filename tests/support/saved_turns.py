"""What tests of kept conversations have in common: turns that have ended, and a store that can be away."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from phi3core.chat import history, live_conversations, replay
from phi3core.errors import StoreDown, StoreError
from phi3core.settings import Settings
from phi3core.timestamps import now_ms
from phi3core.traces import outbox, sender, thumbs, trace_search, turn_trace
from phi3core.traces.turn import Turn
from tests.support.fakes import until


@pytest.fixture(autouse=True)
def no_live_conversations() -> Iterator[None]:
    """What is in memory of a conversation is not for the next test."""
    yield
    live_conversations._live.clear()
    replay._live.clear()


@pytest.fixture(autouse=True)
def no_senders_stay() -> Iterator[None]:
    """A sender whose store is down would go on trying through the tests that follow."""
    yield
    for home, running in list(sender._senders.items()):
        shutil.rmtree(home / "outbox", ignore_errors=True)
        running.wake(now=True)
        until(lambda running=running: not running.running)
        del sender._senders[home]
    outbox._memory.clear()


def new_id() -> str:
    return uuid.uuid4().hex


def ended_turn(question: str = "Hello", answer: str = "Hi.", parent: str = "", when: int = 0, **more: Any) -> Turn:
    """A turn that has ended."""
    defaults: dict[str, Any] = {"ref": "phi3/1", "user": "ada", "state": "done", "finish_reason": "stop"}
    when = when or now_ms()
    return Turn(**{**defaults, "question": question, "answer": answer, "parent": parent, "when": when, **more})


def keep(settings: Settings, turn: Turn, id: str = "", **more: Any) -> str:
    """Save a turn and have it sent; the id of its conversation."""
    id = id or new_id()
    history.save(settings, id, turn, [{"role": "user", "content": turn.question}], **more)
    assert history.flush(settings, 60), history.sending_error(settings)
    return id


def traces_of(settings: Settings, id: str) -> list[Any]:
    return list(trace_search.search_traces(settings, trace_search.session_filter(id)))


class Store:
    """The store as the sender sees it: it can be away, refuse a kind of event, and counts what it is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.refused = ""
        self.sent: list[str] = []
        self._turn, self._rating = turn_trace.send_turn, thumbs.send_rating
        monkeypatch.setattr(turn_trace, "send_turn", self._send_turn)
        monkeypatch.setattr(thumbs, "send_rating", self._send_rating)

    def _send_turn(self, settings: Settings, event: dict[str, Any], again: bool) -> None:
        self._check(event["turn"]["question"])
        self._turn(settings, event, again)
        self.sent.append(event["turn"]["question"])

    def _send_rating(self, settings: Settings, event: dict[str, Any]) -> None:
        self._check("")
        self._rating(settings, event)

    def _check(self, question: str) -> None:
        if self.away:
            raise StoreDown("The MLflow store does not answer.")
        if self.refused and self.refused in question:
            raise StoreError("MLflow could not do this.")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)
