"""Which records count where something rests on them: a decision, a policy, the way back.

Anybody who may write runs can make one that looks like a record. With a key, a record counts that was sealed with it; a
plain seal counts where it stands in the chain that the model's first keyed record goes on from. A run's start proves
nothing, because whoever makes one chooses it. What is told as damage is in chain.py.
"""

from __future__ import annotations

from functools import cache

from phi3core import tags
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors

from . import seal as seals
from . import search
from .model import Record, of_run

_OLDEST = 50  # records of which one is the first that is what it says: some may be made up
_MODELS = 1000  # whose records of the time before the key are remembered

_known: dict[tuple[str, str, str, str], frozenset[str]] = {}  # by store, key, model, and the model's first keyed record


class Trust:
    """Judges records for one look: what it takes is read once, and only where a record calls for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._oldest = cache(self._read_oldest)
        self._before = cache(self._read_before)

    def counts(self, record: Record) -> bool:
        """Whether a record is what it was written as, by this app."""
        if not record.intact:
            return False
        if not record.seal:
            return self._before_seals(record)
        if seals.keyed(record.seal) or not self._settings.record_key:
            return True
        if self._oldest(record.model, seals.KEYED):
            return record.seal in self._before(record.model)
        # The model has no keyed record yet, but the key may have been there.
        return _older(record, self._oldest("", seals.KEYED))

    def _before_seals(self, record: Record) -> bool:
        """Promotions were recorded before there were seals, and nothing else was."""
        return record.action == "promote" and _older(record, self._oldest(record.model, ""))

    def _read_oldest(self, model: str, seal: str) -> list[Record]:
        """The oldest records, of a model or of all, whose seal begins like this and holds; the oldest first."""
        filters = [f"tags.\"{tags.SEAL}\" LIKE '{seal}%'"]
        if model:
            filters.append(f'tags."{tags.MODEL_NAME}" = {search.quoted(model)}')
        home = experiment_id(self._settings, tags.PROMOTIONS)
        with translate_errors(self._settings):
            runs = mlflow_client(self._settings).search_runs(
                [home], " AND ".join(filters), max_results=_OLDEST, order_by=["attributes.start_time ASC"]
            )
        found = [of_run(run, self._settings.record_key) for run in runs]
        return [record for record in found if record.intact or record.unproven]

    def _read_before(self, model: str) -> frozenset[str]:
        """The plain seals that the chain of a model's keyed records goes on from. They never change."""
        first = self._oldest(model, seals.KEYED)
        key = (self._settings.tracking_uri, self._settings.record_key, model, first[0].id)
        if key not in _known:
            while len(_known) >= _MODELS:
                del _known[next(iter(_known))]
            _known[key] = _chained(first, search.of_model(self._settings, model))
        return _known[key]


def _chained(first: list[Record], whole: list[Record]) -> frozenset[str]:
    plain = {r.seal: r.previous for r in whole if r.seal and r.intact and not seals.keyed(r.seal)}
    found: set[str] = set()
    for record in first:
        seal = record.previous
        while seal in plain and seal not in found:
            found.add(seal)
            seal = plain[seal]
    return frozenset(found)


def _older(record: Record, oldest: list[Record]) -> bool:
    return not oldest or record.started < oldest[0].started
