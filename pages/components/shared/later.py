"""Asking for what may take a while without holding up the page: what is not known yet is there at the next look."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from concurrent.futures import wait as until_done
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import streamlit as st

from phi3core.errors import Phi3Error

T = TypeVar("T")
_KEPT = 2000


class _Asked:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.answer: Future[Any] = Future()
        self.begun, self.ended = time.monotonic(), 0.0
        # A daemon: nobody who leaves waits for a server that does not answer.
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            found = work()
        except BaseException as error:
            self.ended = time.monotonic()
            self.answer.set_exception(error)
        else:
            self.ended = time.monotonic()
            self.answer.set_result(found)


class _Table:
    """What was asked, by key; the oldest are dropped."""

    def __init__(self) -> None:
        self.asked: OrderedDict[Hashable, _Asked] = OrderedDict()
        self.known: OrderedDict[Hashable, Any] = OrderedDict()
        self.lock = threading.Lock()

    def ask(self, key: Hashable, work: Callable[[], Any], fresh: float) -> _Asked:
        with self.lock:
            asked = self.asked.get(key)
            failed = asked is not None and asked.ended and asked.answer.exception() is not None
            if asked is None or (asked.ended and time.monotonic() - asked.ended > (1.0 if failed else fresh)):
                asked = self.asked[key] = _Asked(work)
            while len(self.asked) > _KEPT:
                self.known.pop(self.asked.popitem(last=False)[0], None)
            return asked


@st.cache_resource
def _table() -> _Table:
    return _Table()


def ask(key: Hashable, work: Callable[[], T], fresh: float = float("inf"), wait: float = 0.2) -> T | None:
    """What work() gives, asked in the background once for a key and again when older than `fresh` seconds.

    Waits at most `wait` seconds. Until the answer is there, the one before; None where there is none, as after one of
    our errors, which is tried again after a second.
    """
    table = _table()
    asked = table.ask(key, work, fresh)
    try:
        table.known[key] = asked.answer.result(timeout=wait)
    except (NotYet, Phi3Error):
        return table.known.get(key)  # type: ignore[no-any-return]
    return table.known[key]  # type: ignore[no-any-return]


def begin(work: Callable[[], T]) -> Future[T]:
    """Start something that runs as long as it takes."""
    return _Asked(work).answer


@dataclass(frozen=True)
class State(Generic[T]):
    """What is known of something that was asked for. value: the latest; None where there is none yet.

    error: our sentence where the last try failed. busy: it is being asked for at this moment.
    """

    value: T | None
    error: str
    busy: bool


def state(key: Hashable, work: Callable[[], T], fresh: float = float("inf"), wait: float = 0.2) -> State[T]:
    """As `ask`, and says too whether it failed and whether it is under way. Raises what is no error of ours."""
    table = _table()
    asked = table.ask(key, work, fresh)
    error = ""
    try:
        table.known[key] = asked.answer.result(timeout=wait)
    except Phi3Error as failed:
        error = str(failed)
    except NotYet:
        pass
    return State(table.known.get(key), error, not asked.answer.done())


def known(key: Hashable) -> State[Any] | None:
    """What is known from before, without asking anew; None where nothing is."""
    table = _table()
    return State(table.known[key], "", False) if key in table.known else None


def kept(key: Hashable, words: str, work: Callable[[], T], fresh: float = float("inf")) -> T:
    """What work() gave, at most `fresh` seconds ago; else it is waited for, with a spinner once it takes a moment.

    A click elsewhere ends the wait, and what was asked for is there at the next look. Raises what work() raises.
    """
    asked = _table().ask(key, work, fresh)
    until_done([asked.answer], 0.2)
    if not asked.answer.done():
        with st.spinner(words):
            beat = st.empty()
            while not asked.answer.done():
                until_done([asked.answer], 0.2)
                beat.empty()  # Streamlit lets go of a script only where it draws
    return asked.answer.result()  # type: ignore[no-any-return]


def drop(key: Hashable) -> None:
    """Have it asked for anew the next time, because it was changed; what is known stays until then."""
    with _table().lock:
        _table().asked.pop(key, None)
