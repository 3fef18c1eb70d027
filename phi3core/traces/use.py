"""How much versions are used: their newest answers, counted by day."""

from __future__ import annotations

from collections import Counter
from datetime import date

from phi3core import tags
from phi3core.settings import Settings
from phi3core.timestamps import from_ms

from . import trace_search
from .evidence import is_evidence


def count_answers(settings: Settings, most: int = 1000) -> dict[tuple[date, str], int]:
    """How often each version answered on each day (UTC), by day and reference.

    Args:
        most: of the newest answers; a call of the store for every 500.

    Raises:
        StoreDown: the store does not answer.
    """
    found: Counter[tuple[date, str]] = Counter()
    for info in trace_search.search_infos(settings, "", "DESC", most):
        if is_evidence(info) and (ref := info.tags.get(tags.VERSION, "")):
            found[from_ms(info.request_time).date(), ref] += 1
    return dict(found)
