"""The requests of all models that have not ended, with what followed on each, kept in memory between looks.

A list that is open asks every few seconds, and the requests of all time would be too many to read. So a look reads what
was opened since the last one. Everything is read again now and then, while nobody waits for it: for what was edited or
deleted meanwhile, and for machines whose clocks are late. What a request is now follows from its records and the files
(requests.py).
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

DECISIONS = ("approve", "reject")
"""What follows on a request and does not end it."""

_WHOLE = 600.0  # seconds after which everything is read again
_CLOCKS = timedelta(seconds=120)  # how far the clocks of two machines may be apart until then
_STORES = 20


@dataclass(frozen=True)
class Pending:
    """asked: the requests that have not ended, newest first. steps: what followed on each, by its id.

    ended: requests that have, and would be read again. since: from when on records are read next. whole: when
    everything was read last.
    """

    asked: tuple[Record, ...]
    steps: Mapping[str, tuple[Record, ...]]
    ended: frozenset[str]
    since: datetime
    whole: float


_known: dict[tuple[str, str], Pending] = {}  # by store and key
_reading: set[tuple[str, str]] = set()  # those of which everything is being read again
_lock = threading.Lock()


def look(settings: Settings) -> Pending:
    """As they are now. Raises StoreDown."""
    key = (settings.tracking_uri, settings.record_key)
    known = _known.get(key)
    if known is None:
        return _keep(key, None, _whole(settings))
    if time.monotonic() - known.whole > _WHOLE and key not in _reading:
        _reading.add(key)
        threading.Thread(target=_read_again, args=(settings, key), daemon=True).start()
    begun = now()
    found = list(search.every(settings, since=known.since))
    found += _closed_since(settings, known, {record.id for record in found})
    return _keep(key, known, _merged(known, found, Trust(settings), begun))


def _whole(settings: Settings) -> Pending:
    begun = now()
    nothing = Pending((), {}, frozenset(), begun, time.monotonic())
    found = [*search.every(settings, action="request"), *search.every(settings, request="*")]
    return _merged(nothing, found, Trust(settings), begun)


def _read_again(settings: Settings, key: tuple[str, str]) -> None:
    try:
        with contextlib.suppress(Phi3Error):  # what is known stays, and it is tried again
            found = _whole(settings)
            _keep(key, _known.get(key), found)
    finally:
        _reading.discard(key)


def _keep(key: tuple[str, str], before: Pending | None, found: Pending) -> Pending:
    """before: what it was made from. Where that is not known any more, somebody else knows better."""
    with _lock:
        if _known.get(key) is before:
            while len(_known) >= _STORES and key not in _known:
                del _known[next(iter(_known))]
            _known[key] = found
    return found


def counts(step: Record, request: Record, trust: Trust) -> bool:
    """Whether a record is a step of the request's: done, neither edited nor made up, and about the same thing."""
    same = (step.model, step.version, step.new) == (request.model, request.version, request.new)
    return same and "done" in (step.status, step.written) and trust.counts(step)


def _closed_since(settings: Settings, known: Pending, read: set[str]) -> Iterator[Record]:
    """What was under way at the last look, as it is now: it may have been opened long ago."""
    for record in (step for steps in known.steps.values() for step in steps):
        if record.status == "open" and record.id not in read:
            try:
                yield search.again(settings, record)
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
        if any(s.action not in DECISIONS and counts(s, request, trust) for s in steps.get(id, {}).values())
    }
    left = sorted((r for id, r in asked.items() if id not in ended), key=lambda r: r.started, reverse=True)
    return Pending(
        tuple(left), {r.id: tuple(steps.get(r.id, {}).values()) for r in left}, frozenset(ended | known.ended & seen),
        begun - _CLOCKS, known.whole,
    )  # fmt: skip
