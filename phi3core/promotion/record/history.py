"""A model's newest records, read once and then searched in memory; older ones are asked of the store when needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from phi3core.settings import Settings

from . import search
from .model import Record

_RECENT = 50  # records that are read at once
_MANY = 1000  # open records, at most


@dataclass(frozen=True)
class History:
    """A model's records, newest first. whole: there are no others. open: all open ones, however old."""

    model: str
    records: tuple[Record, ...]
    whole: bool
    open: tuple[Record, ...]

    def with_records(self, changed: Iterable[Record]) -> History:
        """The same with other records in place of those with their ids, or beside them."""
        changed = list(changed)
        closed = {record.id for record in changed if record.status != "open"}
        records = tuple(newest_first(changed, self.records))
        return replace(self, records=records, open=tuple(record for record in self.open if record.id not in closed))


def read(settings: Settings, model: str) -> History:
    """A model's newest records, in one call of the store; two where there are older ones."""
    page = search.page(settings, model=model, limit=_RECENT)
    if not page.records and search.experiment_replaced(settings):
        page = search.page(settings, model=model, limit=_RECENT)
    # A record that was left open may be behind any number of others.
    older = search.page(settings, model=model, status="open", limit=_MANY).records if page.next else ()
    still = newest_first((record for record in page.records if record.status == "open"), older)
    return History(model, page.records, page.next is None, tuple(still))


def unread(model: str) -> History:
    """A history of which nothing is read in advance: what is asked for is read from the store."""
    return History(model, (), False, ())


def matching(settings: Settings, history: History, *, limit: int | None = None, **which: Any) -> list[Record]:
    """The newest records of the model that match, out of memory where the history is whole.

    Args:
        limit: at most so many; None for all.
        which: version, action, old, new, replaced, status and request, as `search.page` takes them.
    """
    if history.whole:
        return [record for record in history.records if _matches(record, which)][:limit]
    if limit is None:
        return list(search.every(settings, model=history.model, **which))
    return list(search.page(settings, model=history.model, limit=limit, **which).records)


def reread(settings: Settings, history: History) -> History:
    """The same as it is now, where it is whole; what is asked of any other is read from the store anyway."""
    return read(settings, history.model) if history.whole else history


def _matches(record: Record, which: dict[str, Any]) -> bool:
    return all(
        bool(record.request) if (name, value) == ("request", "*") else getattr(record, name) == value
        for name, value in which.items()
    )


def newest_first(*several: Iterable[Record]) -> list[Record]:
    """Each record once, newest first; as it is in the first collection that has it."""
    unique = {record.id: record for records in reversed(several) for record in records}
    return sorted(unique.values(), key=lambda record: record.started, reverse=True)
