"""A clock that a test sets forward, for what would otherwise wait."""

from __future__ import annotations

import threading

from phi3core.clock import Clock


class ManualClock(Clock):
    """Stands still until `advance`. What waits with it looks again and again whether its time has come."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now
        self.waits = 0  # how many wait for the time now

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def sleep(self, seconds: float) -> None:
        self.wait(threading.Event(), seconds)

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        if seconds is None:
            return event.wait()
        until = self._now + seconds
        self.waits += 1
        try:
            pause = 0.001
            while self._now < until and not event.wait(pause):
                pause = min(pause * 1.5, 0.02)  # a thread that a test left behind must take no time
        finally:
            self.waits -= 1
        return event.is_set()
