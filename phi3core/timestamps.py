"""MLflow's times, in milliseconds since 1970, as datetimes in UTC and back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_ms(milliseconds: float) -> datetime:
    """The time in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_ms(when: datetime) -> int:
    """Milliseconds since 1970, what is below one cut off; of what `from_ms` gave, the same again."""
    return (when - _EPOCH) // timedelta(milliseconds=1)


def now_ms() -> int:
    """Milliseconds since 1970, now."""
    return time.time_ns() // 1_000_000
