"""The records of requests of all models that have not ended, with their steps, kept in memory between two readings.

A page with the list reads it every few seconds, and the requests of all time would be too many. So each time only the
records opened since the last reading are read. Everything is read again now and then in the background: for records
that were edited or deleted meanwhile, and for machines whose clocks are late. What a request is now follows from its
records and the files (request_status.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from phi3core.errors import NotFound, Phi3Error
from phi3core.promotion.record import search
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.trust import Trust
from phi3core.promotion.record.writer import now
from phi3core.settings import Settings

from .request_status import VERDICTS, counts

_WHOLE = 600.0  # seconds after which everything is read again
_CLOCKS = timedelta(seconds=120)  # how far the clocks of two machines may be apart until then
_STORES = 20


@dataclass(frozen=True)
class Pending:
    """What was read of the requests that have not ended.

    asked: their records, newest first. steps: the records that follow on each, by its id. ended: the ids of requests
    that have ended and would be read again. since: from which time on records are read next. whole: when everything
    was read last, in seconds of the monotonic clock.
    """

    asked: tuple[Record, ...]
    steps: Mapping[str, tuple[Record, ...]]
    ended: frozenset[str]
    since: datetime
    whole: float


_cache: dict[tuple[str, str], Pending] = {}  # by store and key
_refreshing: set[tuple[str, str]] = set()  # those of which everything is being read again
_lock = threading.Lock()


def read(settings: Settings) -> Pending:
    """The pending requests as they are now. Raises StoreDown."""
    key = (settings.tracking_uri, settings.record_key)
    known = _cache.get(key)
    if known is None:
        return _keep(key, None, _whole(settings))
    if time.monotonic() - known.whole > _WHOLE and key not in _refreshing:
        _refreshing.add(key)
        threading.Thread(target=_refresh, args=(settings, key), daemon=True).start()
    begun = now()
    found = list(search.every(settings, since=known.since))
    found += _closed_since(settings, known, {record.id for record in found})
    return _keep(key, known, _merged(known, found, Trust(settings), begun))


def _whole(settings: Settings) -> Pending:
    begun = now()
    nothing = Pending((), {}, frozenset(), begun, time.monotonic())
    found = [*search.every(settings, action="request"), *search.every(settings, request="*")]
    return _merged(nothing, found, Trust(settings), begun)


def _refresh(settings: Settings, key: tuple[str, str]) -> None:
    try:
        with contextlib.suppress(Phi3Error):  # the cached ones stay, and it is tried again
            found = _whole(settings)
            _keep(key, _cache.get(key), found)
    finally:
        _refreshing.discard(key)


def _keep(key: tuple[str, str], before: Pending | None, found: Pending) -> Pending:
    """Cache what was read. Where `before`, which it was made from, was replaced, another thread read later."""
    with _lock:
        if _cache.get(key) is before:
            while len(_cache) >= _STORES and key not in _cache:
                del _cache[next(iter(_cache))]
            _cache[key] = found
    return found


def _closed_since(settings: Settings, known: Pending, read: set[str]) -> Iterator[Record]:
    """The steps that were open at the last reading, as they are now: they may have been opened long ago."""
    for record in (step for steps in known.steps.values() for step in steps):
        if record.status == "open" and record.id not in read:
            try:
                yield search.reread(settings, record)
            except NotFound:  # it was deleted for good, which the next reading of everything sees
                continue


def _merged(known: Pending, found: Iterable[Record], trust: Trust, begun: datetime) -> Pending:
    asked = {record.id: record for record in known.asked}
    steps = {id: {step.id: step for step in of} for id, of in known.steps.items()}
    seen = set()
    for record in found:
        seen.add(record.id)
        if record.action == "request":
            asked.pop(record.id, None)
            if record.version is not None and record.id not in known.ended and trust.counts(record):
                asked[record.id] = record
        elif record.request:
            steps.setdefault(record.request, {})[record.id] = record
    ended = {
        id
        for id, request in asked.items()
        if any(s.action not in VERDICTS and counts(s, request, trust) for s in steps.get(id, {}).values())
    }
    left = sorted((r for id, r in asked.items() if id not in ended), key=lambda r: r.started, reverse=True)
    return Pending(
        tuple(left), {r.id: tuple(steps.get(r.id, {}).values()) for r in left}, frozenset(ended | known.ended & seen),
        begun - _CLOCKS, known.whole,
    )  # fmt: skip
