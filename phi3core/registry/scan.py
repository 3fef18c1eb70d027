"""Reads all models and versions of a store in small parts, with a rest after each: pages run in the same process.

Keeps the source runs from one scan to the next, because a run rarely changes once it has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from phi3core.clock import Clock
from phi3core.errors import Phi3Error, StoreDown
from phi3core.settings import Settings
from phi3core.store.client import find_abilities, mlflow_client, search_pages, translate_errors

from . import reader
from .models import Places, Run, places_from_mlflow, version_from_mlflow
from .search import IndexEntry, index_entry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_FIRST_PAGE, _PAGE = 100, 500  # versions asked for at once: at first, and at most
_LATEST = 20  # versions that were changed last
_RUNS_INTERVAL = 600.0  # seconds after which all runs are read again

_Part = TypeVar("_Part")
Models = dict[str, tuple[IndexEntry, ...]]
"""By model name, its versions, newest first."""


class ScanStopped(Exception):
    """The event that stops a scanner was set during a scan."""


class Scanner:
    """Scans one store. One scan at a time."""

    def __init__(self, settings: Settings, clock: Clock, stop: threading.Event) -> None:
        self._settings, self._clock, self._stop = settings, clock, stop
        self._runs: dict[str, Run] = {}
        self._runs_read_at: float | None = None
        self._newest = 0  # when the store changed a version last, in its own milliseconds
        self._tells_latest = True

    def scan(self, changed: set[str], cpu_share: Callable[[], float], before_runs: bool) -> Iterator[Models]:
        """Everything there is; twice, the first time without metrics, with `before_runs`: runs take the longest.

        Args:
            changed: models whose runs are read again.
            cpu_share: asked after each part: how much of the time the scan may work, 1.0 for all of it.

        Raises:
            StoreError: the store could not be read.
            ScanStopped: the scanner was stopped.
        """
        settings, able = self._settings, find_abilities(self._settings)
        places: dict[str, Places] = {}
        for models in self._paced(_pages(settings, "search_registered_models"), cpu_share):
            places |= {model.name: places_from_mlflow(model, able.aliases) for model in models}
        found: list[ModelVersion] = []
        for page in self._paced(_pages(settings, "search_model_versions"), cpu_share):
            found += page
        self._newest = max((version.last_updated_timestamp or 0 for version in found), default=0)
        if before_runs:
            yield self._entries(found, places, able.stages, cpu_share)
        self._read_runs({version.run_id: version.name in changed for version in found if version.run_id}, cpu_share)
        yield self._entries(found, places, able.stages, cpu_share)

    def changed_models(self) -> list[str]:
        """The models of which a version was registered or changed since the last call or scan. Raises StoreError.

        Always empty where the store cannot order versions by their change.
        """
        times = self._latest_changes() if self._tells_latest else {}
        changed = [name for name, when in times.items() if when > self._newest]
        self._newest = max(self._newest, *times.values(), 0)
        return changed

    def _latest_changes(self) -> dict[str, int]:
        """By model name, when its version was changed last, in the store's milliseconds."""
        try:
            with translate_errors(self._settings):
                latest = mlflow_client(self._settings).search_model_versions(
                    max_results=_LATEST, order_by=["last_updated_timestamp DESC"]
                )
        except StoreDown:
            raise
        except Phi3Error:  # Unity Catalog has no order
            self._tells_latest = False
            return {}
        return {version.name: version.last_updated_timestamp or 0 for version in reversed(latest)}

    def _entries(
        self,
        found: list[ModelVersion],
        places: dict[str, Places],
        stages: bool,
        cpu_share: Callable[[], float],
    ) -> Models:
        models: dict[str, list[IndexEntry]] = {name: [] for name in places}
        for start in self._paced(iter(range(0, len(found), _PAGE)), cpu_share):
            for version in found[start : start + _PAGE]:
                run = self._runs.get(version.run_id or "", Run())
                known = places.get(version.name) or Places({}, {})
                entry = index_entry(version_from_mlflow(version, known, run, stages))
                models.setdefault(version.name, []).append(entry)
        newest_first = {name: sorted(some, key=lambda entry: -entry.version.version) for name, some in models.items()}
        return {name: tuple(some) for name, some in newest_first.items()}

    def _read_runs(self, wanted: dict[str, bool], cpu_share: Callable[[], float]) -> None:
        """Read the runs that are wanted and not kept. wanted: by run id, whether it must be read again."""
        now = self._clock.now()
        if self._runs_read_at is None or now - self._runs_read_at > _RUNS_INTERVAL:
            self._runs, self._runs_read_at = {}, now
        self._runs = {run_id: run for run_id, run in self._runs.items() if wanted.get(run_id) is False}
        missing = wanted.keys() - self._runs.keys()
        for runs in self._paced(reader.get_runs_in_batches(self._settings, missing), cpu_share):
            self._runs |= runs

    def _paced(self, parts: Iterator[_Part], cpu_share: Callable[[], float]) -> Iterator[_Part]:
        """The parts, with a rest after each that makes its work no more than the share."""
        while True:
            if self._stop.is_set():
                raise ScanStopped
            began = time.thread_time()
            try:
                part = next(parts)
            except StopIteration:
                return
            yield part
            if (share := cpu_share()) < 1:
                # Not by the clock: it is the processor's time that is paid back.
                self._stop.wait((time.thread_time() - began) * (1 / share - 1))


def _pages(settings: Settings, call: str) -> Iterator[Any]:
    return search_pages(
        settings, lambda **page: getattr(mlflow_client(settings), call)(**page), min(_FIRST_PAGE, _PAGE), _PAGE
    )
