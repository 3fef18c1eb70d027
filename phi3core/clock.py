"""Time that passes, and waiting for it: handed to what waits, so that a test need not.

Times of the day are in `timestamps`.
"""

from __future__ import annotations

import threading
import time


class Clock:
    """The computer's monotonic clock. A test hands in another with the same methods (tests/support/clock.py)."""

    def now(self) -> float:
        """Seconds since an arbitrary moment; they never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        """Wait until the event is set, at most so many seconds (None: for ever). Returns whether it is set."""
        return event.wait(seconds)


SYSTEM = Clock()
