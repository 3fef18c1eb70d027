"""Children for the pool that are no processes: each does what the test says, at once."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any


class FakeChild:
    """What phi3core.serving.spawn.Child offers. status, error, running and waiting are what its /health answers."""

    _pids = count(100_001)

    def __init__(self, log: Path) -> None:
        self.pid, self.log, self.key = next(self._pids), log, "key"
        self.port: int | None = self.pid - 100_000
        self.base, self.resident, self.cpu_seconds = 0, 0, 0.0
        self.written, self.measured = 0.0, 0  # bytes on the disk, and how often they were asked for
        self.exit_code: int | None = None
        self.order: dict[str, Any] = {}
        self.status, self.error, self.running, self.waiting = "ready", "", 0, 0
        self.responsive = True
        self.checks = 0  # health checks so far
        self.patience: float | None = None  # that it was ended with

    def alive(self) -> bool:
        return self.exit_code is None

    def send(self, order: dict[str, Any]) -> None:
        self.order = order

    def health(self, timeout: float) -> dict[str, Any] | None:
        self.checks += 1
        if not (self.responsive and self.alive() and self.port):
            return None
        return {"status": self.status, "error": self.error, "running": self.running, "waiting": self.waiting}

    def rss(self) -> int:
        return self.resident if self.alive() else 0

    def effort(self) -> tuple[float, int]:
        return self.cpu_seconds, self.rss()

    def disk_used(self) -> float:
        self.measured += 1
        return self.written

    def request_exit(self) -> None:
        if self.responsive and self.alive():
            self.exit_code = 0

    def end(self, patience: float = 2.0) -> None:
        self.patience = patience
        self.request_exit()
        if self.alive():
            self.exit_code = -9

    def kill(self, signal: int = 9) -> None:
        """As if the system had killed it."""
        self.exit_code = -signal

    def load(self) -> None:
        """Have its model loaded."""
        self.status = "ready"


class Children(list[FakeChild]):
    """All that were started. ``Pool(settings, start_child=children.start)``.

    loading: the next ones load until they are told that they have. resident: bytes that each takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loading, self.resident = False, 0

    def start(self, log: Path) -> FakeChild:
        child = FakeChild(log)
        child.status, child.resident = ("loading" if self.loading else "ready"), self.resident
        self.append(child)
        return child

    @property
    def alive(self) -> list[FakeChild]:
        return [child for child in self if child.alive()]
