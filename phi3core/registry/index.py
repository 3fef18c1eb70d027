"""All versions of all models in memory, so that thousands can be searched by what the store has no filter for.

A thread scans the store again and again, and asks between two scans which versions were changed last. What this
process changes itself is read at once (notify_change). While the store is away the last good snapshot is kept, and
says how old it is.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping
from datetime import timedelta
from functools import cache

from phi3core.clock import SYSTEM, Clock
from phi3core.errors import NotFound, Phi3Error
from phi3core.settings import Settings
from phi3core.store.client import on_registry_change

from . import reader
from .scan import Scanner, ScanStopped
from .search import FilterOptions, IndexEntry, Query, SearchResult, Snapshot, index_entry

INTERVAL = 30.0
"""Seconds from the end of one scan to the start of the next, where a scan is short."""
_RETRY_INTERVAL = 3.0  # after a failure
_LATEST_INTERVAL = 5.0  # between two questions for the versions that were changed last
_CPU_SHARE = 0.3  # of the time, the most that the thread may work: pages run in the same process
_FIRST_CPU_SHARE = 0.6  # while there is nothing to search in yet


class Index:
    """The snapshot of one store. Safe to ask from any thread; no answer waits for the store."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM) -> None:
        self._settings, self._clock = settings, clock
        self._snapshot, self._error = Snapshot(), ""
        self._stop, self._wake = threading.Event(), threading.Event()
        self._scanner = Scanner(settings, clock, self._stop)
        self._lock, self._scanning, self._waiting = threading.Lock(), threading.Lock(), 0
        # Models that were read since the scan in progress began; None for one that was deleted.
        self._patches: dict[str, tuple[IndexEntry, ...] | None] = {}
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether the store has been scanned once."""
        return self._snapshot.read_at is not None

    @property
    def age(self) -> timedelta | None:
        """How long ago the snapshot was read."""
        return self._age_of(self._snapshot)

    @property
    def error(self) -> str:
        """Why the snapshot is not newer, as a sentence; empty when all is well."""
        return self._error

    @property
    def filter_options(self) -> FilterOptions:
        return self._snapshot.filter_options

    @property
    def models_without_versions(self) -> list[str]:
        return [name for name, entries in self._snapshot.models.items() if not entries]

    def start(self) -> None:
        """Keep the snapshot fresh in the background, until `stop`."""
        if self._thread is None:
            on_registry_change(self._on_change)
            self._thread = threading.Thread(target=self._keep_fresh, name="registry index", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread at its next step. Does not wait for it."""
        self._stop.set()
        self._wake.set()

    def refresh_soon(self) -> None:
        """Have the thread scan the store now rather than when it is due."""
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
        """A page of the versions that meet all that is given; `Query` says what each filter means.

        Args:
            page: from 1; one that is past the last gives the last.

        Raises:
            BadInput: no version has what they are to be sorted by.
        """
        snapshot, error = self._snapshot, self._error
        hits = snapshot.find(Query(text, model, stage, alias, wrapper, source, tag, owner, sort, descending))
        pages = max(1, -(-len(hits) // per_page))
        page = min(max(page, 1), pages)
        shown = tuple(hits[(page - 1) * per_page : page * per_page])
        return SearchResult(shown, len(hits), page, pages, self._age_of(snapshot), error)

    # ------------------------------------------------------------ reading the store

    def refresh(self, throttled: bool = False) -> None:
        """Scan the whole store, one scan at a time. Raises StoreError.

        Args:
            throttled: rest between the parts, so that other threads get their turn; no rest while another thread
                waits for the scan.
        """
        asked = self._clock.now()
        with self._lock:
            self._waiting += 1
        with self._scanning:
            with self._lock:
                self._waiting -= 1
            if self._snapshot.read_at is not None and self._snapshot.read_at >= asked:
                return  # another thread's scan has begun and ended meanwhile
            started = self._clock.now()
            with self._lock:
                changed = set(self._patches)
                self._patches.clear()
            share = self._cpu_share if throttled else lambda: 1.0
            for models in self._scanner.scan(changed, share, before_runs=not self.ready):
                with self._lock:
                    # What this process changed since the scan began is newer than what the scan has read.
                    self._snapshot = Snapshot(_sorted({**models, **self._patches}), started)
                    self._error = ""

    def refresh_model(self, name: str) -> None:
        """Read one model again. Raises StoreError."""
        try:
            entries = tuple(index_entry(version) for version in reader.list_versions(self._settings, name))
        except NotFound:
            entries = None
        with self._lock:
            self._patches[name] = entries
            models = _sorted({**self._snapshot.models, name: entries})
            self._snapshot = Snapshot(models, self._snapshot.read_at)

    def _age_of(self, snapshot: Snapshot) -> timedelta | None:
        return None if snapshot.read_at is None else timedelta(seconds=self._clock.now() - snapshot.read_at)

    def _cpu_share(self) -> float:
        if self._waiting:
            return 1.0
        return _CPU_SHARE if self.ready else _FIRST_CPU_SHARE

    def _on_change(self, settings: Settings, name: str) -> None:
        if settings.tracking_uri == self._settings.tracking_uri and not self._stop.is_set():
            try:
                self.refresh_model(name)
            except Phi3Error:
                self.refresh_soon()  # the change itself was made, and the next scan will see it

    def _keep_fresh(self) -> None:
        while not self._stop.is_set():
            started = self._clock.now()
            try:
                self.refresh(throttled=True)
                _freeze_for_garbage_collector()
                self._watch_latest(max(INTERVAL, 3 * (self._clock.now() - started)))
                continue
            except ScanStopped:
                return
            except Phi3Error as error:
                self._error, rest = str(error), _RETRY_INTERVAL
            except Exception as error:  # a thread that ended would leave an old snapshot without saying why
                self._error, rest = f"The registry could not be read: {error!r}.", INTERVAL
            self._clock.wait(self._wake, rest)
            self._wake.clear()

    def _watch_latest(self, seconds: float) -> None:
        """For so long, read the models of which another program has just registered or changed a version.

        The store says which at the price of one short call. It says nothing of aliases and tags: the next scan does.
        """
        end = self._clock.now() + seconds
        while (left := end - self._clock.now()) > 0 and not self._clock.wait(self._wake, min(_LATEST_INTERVAL, left)):
            if self._clock.now() < end:
                for name in self._scanner.changed_models():
                    self.refresh_model(name)
        self._wake.clear()


def _sorted(models: Mapping[str, tuple[IndexEntry, ...] | None]) -> dict[str, tuple[IndexEntry, ...]]:
    """By name, without those that were deleted."""
    return {name: entries for name, entries in sorted(models.items()) if entries is not None}


def _freeze_for_garbage_collector() -> None:
    """Have the snapshot left out of garbage collection, which Streamlit starts after every run of a page.

    With 10,000 versions in memory each took 170 ms, in which this process did nothing else. After each scan everything
    is collected once, so that nothing is kept for good.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@cache
def get_index(settings: Settings) -> Index:
    """This process's index of the store. The app server starts it; elsewhere it is empty until `refresh`."""
    return Index(settings)
