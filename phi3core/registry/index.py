"""All versions of all models in memory, so that thousands can be searched by what the store has no filter for.

A thread reads the store again and again, a few hundred versions at a time with a rest after each, so that pages in the
same process hardly notice. What this process changes itself is read at once (notify_change). While the store is away
the last good copy is kept, and says how old it is.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from phi3core.errors import NotFound, Phi3Error, StoreDown
from phi3core.settings import Settings
from phi3core.store.client import find_abilities, mlflow_client, on_registry_change, search_pages, translate_errors

from . import reader
from .models import Run, Version, aliases_from_mlflow, version_from_mlflow
from .search import (
    FilterOptions,
    IndexEntry,
    SearchResult,
    collect_filter_options,
    filter_entries,
    index_entry,
    sort_versions,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

INTERVAL = 30.0
"""Seconds from the end of one reading to the start of the next, where a reading is short."""
_AGAIN = 3.0  # after a failure
_LATEST_INTERVAL, _LATEST_COUNT = 5.0, 20
_ANSWERS = 50
_RUNS_EVERY = 600.0
_FEW, _PAGE = 100, 500  # versions asked for at once: at first, and at most
_SHARE = 0.3  # of the time, the most that the thread may work: pages run in the same process

_FIRST_SHARE = 0.6  # while there is nothing to search in yet

_Part = TypeVar("_Part")
_Models = dict[str, tuple[IndexEntry, ...]]


@dataclass(frozen=True)
class _Copy:
    models: _Models = field(default_factory=dict)
    at: float | None = None
    answers: dict[tuple[object, ...], list[Version]] = field(default_factory=dict)
    """What was asked of this copy: a page is drawn again at every press of a button."""

    @property
    def entries(self) -> Iterator[IndexEntry]:
        return (entry for listed in self.models.values() for entry in listed)

    @cached_property
    def filter_options(self) -> FilterOptions:
        return collect_filter_options(self.models, self.entries)


class Index:
    """The copy of one store. Safe to ask from any thread; nothing it answers waits for the store."""

    def __init__(self, settings: Settings, interval: float = INTERVAL) -> None:
        self._settings, self._interval = settings, interval
        self._copy, self._error = _Copy(), ""
        self._lock, self._reading, self._waiting = threading.Lock(), threading.Lock(), 0
        # Since the reading that is going on has begun; None for a model that is gone.
        self._patches: dict[str, tuple[IndexEntry, ...] | None] = {}
        self._stop, self._wake = threading.Event(), threading.Event()
        self._glances, self._newest = True, 0  # newest: when the store changed a version last, as it says
        self._runs: dict[str, Run] = {}
        self._runs_read = -_RUNS_EVERY
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether the store has been read once."""
        return self._copy.at is not None

    @property
    def age(self) -> timedelta | None:
        """How long ago the copy was read."""
        return None if self._copy.at is None else timedelta(seconds=time.monotonic() - self._copy.at)

    @property
    def error(self) -> str:
        """Why the copy is not newer; empty when all is well."""
        return self._error

    @property
    def filter_options(self) -> FilterOptions:
        return self._copy.filter_options

    @property
    def models_without_versions(self) -> list[str]:
        """The registered models that have no version."""
        return [name for name, listed in self._copy.models.items() if not listed]

    @property
    def total(self) -> int:
        """How many versions there are."""
        return sum(len(listed) for listed in self._copy.models.values())

    def start(self) -> None:
        """Keep the copy fresh in the background, until `stop`."""
        if self._thread is None:
            on_registry_change(self._changed)
            self._thread = threading.Thread(target=self._keep, name="registry index", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    def refresh_soon(self) -> None:
        """Read the store now rather than when it is due."""
        self._wake.set()

    def search(
        self,
        text: str = "",
        *,
        model: str = "",
        stage: str = "",
        alias: str = "",
        wrapper: str = "",
        source: str = "",
        tag: str = "",
        owner: str = "",
        sort: str = "created",
        descending: bool = True,
        page: int = 1,
        per_page: int = 50,
    ) -> SearchResult:
        """Versions that meet all that is given, sorted; versions without what is sorted by come last.

        text: words that must all occur in the name, number, description, tags, aliases or owner. source: a part of the
        source's tag. tag: a name, or “name=value”. sort: name, version, stage, size, created, owner or a metric's
        name. page: from 1; one that is past the last gives the last. Raises BadInput for a sort that nothing has.
        """
        copy, error = self._copy, self._error
        asked = (text, model, stage, alias, wrapper, source, tag, owner, sort, descending)
        if (hits := copy.answers.get(asked)) is None:
            entries = copy.models.get(model, ()) if model else copy.entries
            hits = filter_entries(entries, text, stage, alias, wrapper, source, tag, owner)
            hits = sort_versions(hits, sort, descending, copy.filter_options.metrics)
            if len(copy.answers) < _ANSWERS:
                copy.answers[asked] = hits
        pages = max(1, -(-len(hits) // per_page))
        page = min(max(page, 1), pages)
        age = None if copy.at is None else timedelta(seconds=time.monotonic() - copy.at)
        return SearchResult(tuple(hits[(page - 1) * per_page : page * per_page]), len(hits), page, pages, age, error)

    # ------------------------------------------------------------ keeping it fresh

    def refresh(self, politely: bool = False) -> None:
        """Read the whole store, one reading at a time. Raises StoreError.

        politely: with rests, that others in this process may work; none while somebody waits for the reading.
        """
        asked = time.monotonic()
        with self._lock:
            self._waiting += 1
        with self._reading:
            with self._lock:
                self._waiting -= 1
            if self._copy.at is not None and self._copy.at >= asked:
                return  # another one has begun and ended meanwhile
            started = time.monotonic()
            with self._lock:
                changed = set(self._patches)
                self._patches.clear()
            for read in self._read(politely, changed):
                with self._lock:
                    models = read | self._patches  # what this process changed in the meantime is newer
                    self._copy = _Copy(_sorted(models), started)
                    self._error = ""

    def refresh_model(self, name: str) -> None:
        """Read one model again. Raises StoreError."""
        try:
            entries = tuple(index_entry(version) for version in reader.list_versions(self._settings, name))
        except NotFound:
            entries = None
        with self._lock:
            self._patches[name] = entries
            self._copy = _Copy(_sorted({**self._copy.models, name: entries}), self._copy.at)

    def _changed(self, settings: Settings, name: str) -> None:
        if settings.tracking_uri == self._settings.tracking_uri and not self._stop.is_set():
            try:
                self.refresh_model(name)
            except Phi3Error:
                self.refresh_soon()  # the change itself was made, and the next reading will see it

    def _keep(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                self.refresh(politely=True)
                _spare_the_collector()
                rest = max(self._interval, 3 * (time.monotonic() - started))
                self._glance_until(time.monotonic() + rest)
                continue
            except _Stopped:
                return
            except Phi3Error as error:
                self._error, rest = str(error), min(_AGAIN, self._interval)
            except Exception as error:  # a thread that ended would leave an old copy without a word
                self._error, rest = f"The registry could not be read: {error!r}.", self._interval
            self._wake.wait(rest)
            self._wake.clear()

    def _glance_until(self, end: float) -> None:
        """Until the next reading is due, read what somebody else has changed of versions, or registered, just now.

        The store tells it at the price of one short call. What it does not tell (aliases, tags) waits for the reading.
        """
        while not self._wake.wait(min(_LATEST_INTERVAL, max(end - time.monotonic(), 0))) and time.monotonic() < end:
            stamps = self._latest() if self._glances else {}
            for name, stamp in stamps.items():
                if stamp > self._newest:
                    self.refresh_model(name)
            self._newest = max(self._newest, *stamps.values(), 0)
        self._wake.clear()

    def _latest(self) -> dict[str, int]:
        """The models of the versions that were changed last, and when."""
        try:
            with translate_errors(self._settings):
                latest = mlflow_client(self._settings).search_model_versions(
                    max_results=_LATEST_COUNT, order_by=["last_updated_timestamp DESC"]
                )
        except StoreDown:
            raise
        except Phi3Error:  # Unity Catalog knows no order
            self._glances = False
            return {}
        return {version.name: version.last_updated_timestamp or 0 for version in reversed(latest)}

    def _read(self, politely: bool, changed: set[str]) -> Iterator[_Models]:
        """All entries by model; the very first time without metrics too, which take the longest to read."""
        settings, able = self._settings, find_abilities(self._settings)
        numbers: dict[str, dict[str, int]] = {}
        for models in self._paced(_pages(settings, "search_registered_models"), politely):
            numbers |= {model.name: aliases_from_mlflow(model, able.aliases) for model in models}
        found: list[ModelVersion] = []
        for page in self._paced(_pages(settings, "search_model_versions"), politely):
            found += page
        self._newest = max((version.last_updated_timestamp or 0 for version in found), default=0)
        if not self.ready:
            yield self._entries(found, numbers, able.stages, politely)
        wanted = {version.run_id: version.name in changed for version in found if version.run_id}
        self._read_runs(wanted, politely)
        yield self._entries(found, numbers, able.stages, politely)

    def _entries(
        self, found: list[ModelVersion], numbers: dict[str, dict[str, int]], stages: bool, politely: bool
    ) -> _Models:
        read: dict[str, list[IndexEntry]] = {name: [] for name in numbers}
        for start in self._paced(iter(range(0, len(found), _PAGE)), politely):
            for version in found[start : start + _PAGE]:
                run = self._runs.get(version.run_id or "", Run())
                ours = version_from_mlflow(version, numbers.get(version.name, {}), run, stages)
                read.setdefault(version.name, []).append(index_entry(ours))
        newest_first = {name: sorted(listed, key=lambda entry: -entry.version.version) for name, listed in read.items()}
        return {name: tuple(listed) for name, listed in newest_first.items()}

    def _read_runs(self, wanted: dict[str, bool], politely: bool) -> None:
        """By run id, whether it must be read again. A run rarely changes once it has ended: all are, now and then."""
        if time.monotonic() - self._runs_read > _RUNS_EVERY:
            self._runs, self._runs_read = {}, time.monotonic()
        self._runs = {run_id: run for run_id, run in self._runs.items() if wanted.get(run_id) is False}
        for runs in self._paced(
            reader.get_runs_in_batches(self._settings, wanted.keys() - self._runs.keys()), politely
        ):
            self._runs |= runs

    def _paced(self, parts: Iterator[_Part], politely: bool) -> Iterator[_Part]:
        """The parts, with a rest after each that makes its work no more than the share."""
        while True:
            if self._stop.is_set():
                raise _Stopped
            began = time.thread_time()
            try:
                part = next(parts)
            except StopIteration:
                return
            yield part
            if politely and not self._waiting:
                share = _SHARE if self.ready else _FIRST_SHARE
                self._stop.wait((time.thread_time() - began) * (1 / share - 1))


def _sorted(models: Mapping[str, tuple[IndexEntry, ...] | None]) -> _Models:
    """By name, without those that are gone."""
    return {name: entries for name, entries in sorted(models.items()) if entries is not None}


def _spare_the_collector() -> None:
    """Have the copy left out when garbage is looked for: Streamlit does that after every run of a page.

    With 10,000 versions in memory each took 170 ms, in which this process did nothing else. Once after each reading all
    is looked through, so that nothing is kept for good.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class _Stopped(Exception):
    pass


@cache
def get_index(settings: Settings) -> Index:
    """This process's index of the store. The app server starts it; elsewhere it is empty until `refresh`."""
    return Index(settings)


def _pages(settings: Settings, call: str) -> Iterator[Any]:
    return search_pages(
        settings, lambda **page: getattr(mlflow_client(settings), call)(**page), min(_FEW, _PAGE), _PAGE
    )
