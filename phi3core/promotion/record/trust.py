"""Which records count where something rests on them: a decision, a policy, the way back.

A person who may write runs can create one that looks like a record. With a key, a record counts that was sealed with
it; a plain seal counts where it stands in the chain that the model's first keyed record continues. A run's start
proves nothing, because its author chooses it. What is reported as damage is in seal.py.
"""

from __future__ import annotations

from functools import cache

from phi3core import tags
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors

from . import seal, search
from .model import Record

_OLDEST = 50  # records of which one is the first that is what it says: some may be made up
_MODELS = 1000  # whose plainly sealed records are remembered

_plain_seals: dict[tuple[str, str, str, str], frozenset[str]] = {}  # by store, key, model and first keyed record


class Trust:
    """Judges records during one action: what it takes is read once, and only where a record calls for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._oldest_keyed = cache(self._read_oldest_keyed)

    def counts(self, record: Record) -> bool:
        """Whether a record is what this app wrote."""
        if not record.intact:
            return False
        if seal.keyed(record.seal) or not self._settings.record_key:
            return True
        if oldest := self._oldest_keyed(record.model):
            return record.seal in self._before_key(record.model, oldest)
        # The model has no keyed record yet, but the key may have been there.
        oldest = self._oldest_keyed("")
        return not oldest or record.started < oldest[0].started

    def _read_oldest_keyed(self, model: str) -> list[Record]:
        """The oldest records that are sealed with a key, of a model or ("") of all; the oldest first."""
        filters = [f"tags.\"{tags.SEAL}\" LIKE '{seal.KEYED}%'"]
        if model:
            filters.append(f'tags."{tags.MODEL_NAME}" = {search.quoted(model)}')
        home = experiment_id(self._settings, tags.PROMOTIONS)
        with translate_errors(self._settings):
            runs = mlflow_client(self._settings).search_runs(
                [home], " AND ".join(filters), max_results=_OLDEST, order_by=["attributes.start_time ASC"]
            )
        found = [search.of_run(run, self._settings.record_key) for run in runs]
        return [record for record in found if record.intact]

    def _before_key(self, model: str, oldest: list[Record]) -> frozenset[str]:
        """The plain seals that the chain of a model's keyed records continues. They never change."""
        key = (self._settings.tracking_uri, self._settings.record_key, model, oldest[0].id)
        if key not in _plain_seals:
            while len(_plain_seals) >= _MODELS:
                del _plain_seals[next(iter(_plain_seals))]
            _plain_seals[key] = _chained(oldest, search.of_model(self._settings, model))
        return _plain_seals[key]


def _chained(keyed: list[Record], records: list[Record]) -> frozenset[str]:
    plain = {r.seal: r.previous for r in records if r.intact and not seal.keyed(r.seal)}
    found: set[str] = set()
    for record in keyed:
        previous = record.previous
        while previous in plain and previous not in found:
            found.add(previous)
            previous = plain[previous]
    return frozenset(found)
