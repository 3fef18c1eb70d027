"""Reading for pages: waited for with a spinner, or shown as last known while a newer reading is under way.

`read` waits, and a click elsewhere ends the wait. `latest` hardly waits, and says how old its value is. Both share one
bounded table between all sessions of the process, by the function and its arguments; `wait_for` shares nothing.
`invalidate` makes every reading out of date: what changes something calls it.

The functions run in threads of their own: they must not draw, and get what they need as arguments.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import streamlit as st

from phi3core.errors import Phi3Error
from phi3core.registry.models import Version

T = TypeVar("T")
_MOST = 500  # readings that are kept; those that were asked for the longest time ago go first
_MOMENT = 0.2  # seconds without a spinner, and between two chances for Streamlit to end the script
_RETRY = 1.0  # seconds from a failure in the background to the next try


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What is known of something that is read in the background.

    value: the latest that was read; None where there is none yet. age: seconds since then. error: a sentence where the
    last try failed, else "". pending: whether it is being read at this moment.
    """

    value: T | None
    age: float | None
    error: str
    pending: bool


def wait_for(label: str, function: Callable[..., T], *arguments: object) -> T:
    """What a function gives now. After a moment a spinner with the label shows. Raises what the function raises."""
    return _await(label, start(function, *arguments))


def read(
    label: str,
    function: Callable[..., T],
    *arguments: object,
    max_age: float,
    key: Hashable | None = None,
    stop: str = "",
    on_stop: Callable[[], None] | None = None,
) -> T:
    """As `wait_for`, where it was not read within the last `max_age` seconds; with 0 it is read anew.

    key: what stands for the function and its arguments, which must be hashable without one. stop: the key of a button
    that ends the wait, for what may take long; on_stop: what it calls, without which the reading goes on, and serves
    whoever asks next.
    """
    entry = _table().entry(key, function, arguments, max_age)
    found: T = _await(label, entry.newest.future, stop, on_stop)
    return found


def latest(
    function: Callable[..., T],
    *arguments: object,
    max_age: float = math.inf,
    patience: float = _MOMENT,
    key: Hashable | None = None,
) -> Reading[T]:
    """What is known. Where that is older than `max_age` seconds, it is read anew in the background.

    patience: seconds to wait for the newer reading. One of our errors is told in the result, others are raised.
    """
    entry = _table().entry(key, function, arguments, max_age, retry=_RETRY)
    wait([entry.newest.future], patience)
    return entry.reading()


def invalidate() -> None:
    """Have everything read anew the next time, because something was changed. Until then `latest` tells what it was."""
    _table().invalidate()


def start(function: Callable[..., T], *arguments: object) -> Future[T]:
    """Run a function in the background for as long as it takes. The end of the app does not wait for it."""
    future: Future[T] = Future()
    threading.Thread(target=_run, args=(future, function, arguments), daemon=True).start()
    return future


def _run(future: Future[T], function: Callable[..., T], arguments: tuple[object, ...]) -> None:
    try:
        future.set_result(function(*arguments))
    except BaseException as error:  # raised again where the result is asked for
        future.set_exception(error)


def _await(label: str, future: Future[T], stop: str = "", on_stop: Callable[[], None] | None = None) -> T:
    # There, slow or not: a live part that still runs from the draw before would write over what has moved.
    beat = st.empty()
    wait([future], _MOMENT)
    if not future.done():
        with st.spinner(label, show_time=bool(stop)):
            way_out = st.empty()
            if stop:  # pressed, it draws the page anew, as every button does
                way_out.button("Stop", icon=":material/stop_circle:", key=stop, on_click=on_stop)
            while not future.done():
                wait([future], _MOMENT)
                beat.empty()  # Streamlit lets go of a script only where it draws
            way_out.empty()
    return future.result()


class _Task:
    """One call of a function. generation: the table's when it began."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[object, ...], generation: int) -> None:
        self.generation, self.ended = generation, math.inf
        self.future: Future[Any] = start(self._timed, function, arguments)

    def _timed(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> Any:
        try:
            return function(*arguments)
        finally:
            self.ended = time.monotonic()

    @property
    def failure(self) -> BaseException | None:
        return self.future.exception() if self.future.done() else None

    @property
    def succeeded(self) -> bool:
        return self.future.done() and self.failure is None

    @property
    def age(self) -> float:
        return time.monotonic() - self.ended


@dataclass(frozen=True)
class _Entry:
    """The newest call, and the last one before it that succeeded."""

    newest: _Task
    before: _Task | None

    @property
    def good(self) -> _Task | None:
        return self.newest if self.newest.succeeded else self.before

    def reading(self) -> Reading[Any]:
        pending, failure, good = not self.newest.future.done(), self.newest.failure, self.good
        if failure is not None and not isinstance(failure, Phi3Error):
            raise failure
        value, age = (good.future.result(), good.age) if good else (None, None)
        return Reading(value, age, str(failure or ""), pending)


class _Table:
    """The readings of this process. A change begins a new generation, which uses no reading of an older one."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._generation = 0

    def entry(
        self,
        key: Hashable | None,
        function: Callable[..., Any],
        arguments: tuple[object, ...],
        max_age: float,
        retry: float = 0.0,
    ) -> _Entry:
        """What is there already, or one whose call has just begun. retry: seconds for which a failure stands."""
        key = (function, *map(_identity, arguments)) if key is None else key
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or not self._usable(entry.newest, max_age, retry):
                task = _Task(function, arguments, self._generation)
                entry = self._entries[key] = _Entry(task, entry.good if entry else None)
            self._entries.move_to_end(key)
            while len(self._entries) > _MOST:
                self._entries.popitem(last=False)
            return entry

    def _usable(self, task: _Task, max_age: float, retry: float) -> bool:
        if task.generation != self._generation:
            return False
        if not task.future.done():
            return max_age > 0
        return task.age < (retry if task.failure else max_age)

    def invalidate(self) -> None:
        with self._lock:
            self._generation += 1


def _identity(argument: object) -> Hashable:
    """A version by its reference and source: one deleted and made again under the same number is another one."""
    if isinstance(argument, Version):
        return argument.ref, argument.source
    return argument


@st.cache_resource
def _table() -> _Table:
    return _Table()
