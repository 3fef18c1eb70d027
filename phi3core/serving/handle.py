"""One version that is served by a child process, seen from the parent: what it does, how it fares, why it ended.

Which versions have one, and when it ends, is decided in pool.py.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3core.clock import SYSTEM, Clock
from phi3core.errors import ServerError
from phi3core.registry.models import Version

from . import disk, memory
from .order import memory_limit
from .spawn import Child

# A page that asks every second must not make the child answer it every time.
_FRESH = 1.0  # seconds that a health check is good for
_SILENT = 3.0  # seconds without an answer after which the status tells it
_LOG_LINES = 5  # lines of its log that a failure tells


@dataclass(frozen=True)
class Status:
    """state: ``starting``, ``loading``, ``ready``, ``busy`` (it answers) or ``failed``; reason says why it failed.

    detail: words for the state, such as ``2.3 of 7.2 GB``; may be empty. seconds: since it was opened.
    """

    state: str
    seconds: float
    reason: str = ""
    detail: str = ""

    @property
    def open(self) -> bool:
        """Whether it takes requests."""
        return self.state in ("ready", "busy")


class ModelServer:
    """One child process serving one version.

    size: bytes of the version's files, 0 where unknown. memory_needed: bytes of memory that it is estimated to take.
    restart_reason: what became of the process before this one, where the pool started this one in its place.
    """

    def __init__(
        self,
        version: Version,
        child: Child,
        order: dict[str, Any],
        log: Path,
        size: int,
        memory_needed: int,
        restart_reason: str = "",
        clock: Clock = SYSTEM,
    ) -> None:
        self.version, self.ref, self.key, self.log = version, version.ref, child.key, log
        self.size, self.memory_needed, self.restart_reason = size, memory_needed, restart_reason
        self._clock = clock
        self.started_at = self.used_at = clock.now()
        self.ready = self.closed = False
        self.folder, self.runs_code, self._approved_at = Path(), False, 0.0
        self.asked_at = 0.0  # of the last health check
        self._disk_at = -math.inf  # when the disk that it takes was last measured
        self._child, self._order, self._ordered = child, order, False
        self._log_start = log.stat().st_size if log.is_file() else 0
        self._health: dict[str, Any] = {}
        self._answered_at = self._answered_asked_at = 0.0  # the last answer to a health check, and when it was asked
        self._silent_since: float | None = None
        self._effort = (0.0, 0)
        self._error = ""
        self._holders = 0
        self._lock = threading.Lock()

    def load(self, folder: Path, code: bool = False) -> None:
        """Have it load the version from its files; until then it waits, and is downloading for all who ask.

        code: it may run the code that is in them.
        """
        self.folder, self.runs_code = folder, code
        self.note_approval()
        order = {**self._order, "artifact": str(folder), "log": str(self.log), "code": code}
        if order["cell"]:
            order["cell"] = {**order["cell"], "memory": memory_limit(folder, code)}
        self._child.send(order)
        self._ordered = True

    def note_approval(self) -> None:
        """Its code may run, as of now."""
        self._approved_at = self._clock.now()

    @property
    def seconds_approved(self) -> float:
        """Time since it was last found that its code may run."""
        return self._clock.now() - self._approved_at

    @property
    def url(self) -> str:
        """The base URL, without /v1. Raises ServerError before the port is known."""
        if self._child.port is None:
            raise ServerError(f"The model server for {self.ref} has not started yet. Try again in a moment.")
        return f"http://127.0.0.1:{self._child.port}"

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def memory(self) -> int:
        """Resident bytes now."""
        return self._child.rss()

    @property
    def memory_taken(self) -> int:
        """Bytes that ending it gives back: what it has, or will have once it is loaded."""
        return self.memory if self.ready else max(self.memory, self.memory_needed)

    def disk_excess(self, limit: int, age: float) -> str:
        """Whether it takes too much of the disk, as a sentence without its end; empty while it does not.

        Args:
            limit: bytes.
            age: seconds for which it is not measured again.
        """
        if self._clock.now() - self._disk_at < age:
            return ""
        self._disk_at = self._clock.now()
        taken = self._child.disk_used()
        if math.isinf(taken):
            return f"It had more than {disk.NAMES:,} files, or some that can't be counted"
        return f"It had written more than {memory.format_size(limit)} to the disk" if taken > limit else ""

    @property
    def active_requests(self) -> int:
        """Answers that it writes or that wait for their turn, at the last health check."""
        return int(self._health.get("running", 0)) + int(self._health.get("waiting", 0))

    def alive(self) -> bool:
        return self._child.alive()

    def mark_used(self) -> None:
        """Begin its idle time anew."""
        self.used_at = self._clock.now()

    @contextlib.contextmanager
    def hold(self) -> Iterator[ModelServer]:
        """Meanwhile it is stopped neither for being idle nor for its memory."""
        with self._lock:
            self._holders += 1
        self.mark_used()
        try:
            yield self
        finally:
            with self._lock:
                self._holders -= 1
            self.mark_used()

    @property
    def held(self) -> bool:
        return self._holders > 0

    def status(self) -> Status:
        """What it does. Asks the process, unless that was done within the last second."""
        if not self.ready or self._clock.now() - self._answered_at > _FRESH:
            self.check_health(1)
        seconds = self._clock.now() - self.started_at
        if reason := self.failure():
            return Status("failed", seconds, reason)
        if self._child.port is None:
            return Status("starting", seconds)
        silent = self.seconds_silent
        if silent > _SILENT:
            detail = f"no sign of life for {silent:.0f} s"
        elif not self.ready:
            detail = self._loading_detail()
        else:
            detail = self._ready_detail()
        state = "loading" if not self.ready else "busy" if self.active_requests else "ready"
        return Status(state, seconds, detail=detail)

    def wait_ready(self, timeout: float = 600) -> None:
        """Block until the model has loaded. Raises ServerError when it fails or takes longer (seconds)."""
        deadline = self._clock.now() + timeout
        while not (status := self.status()).open:
            if status.state == "failed":
                raise ServerError(f"The model server for {self.ref} could not start. {status.reason}")
            if self._clock.now() > deadline:
                raise ServerError(f"{self.ref} has not loaded after {timeout:.0f} s. Its log is {self.log}.")
            self._clock.sleep(0.05)

    def check_health(self, timeout: float) -> None:
        """Ask the process how it is, and keep its answer, or that there was none within so many seconds."""
        if self._error or not self._ordered or not self.alive():
            return
        self.asked_at = asked_at = self._clock.now()
        health = self._child.health(timeout)
        if health is None:
            self._note_silence(asked_at)
            return
        with self._lock:
            if asked_at < self._answered_asked_at:
                return  # a check that was begun later was answered sooner
            self._answered_asked_at, self._answered_at = asked_at, self._clock.now()
            self._health, self._silent_since = health, None
        ready = health["status"] == "ready"
        if self.active_requests or ready > self.ready:  # what waited for it to load is about to ask
            self.mark_used()
        self.ready = ready
        if health["status"] == "failed":
            self._fail(str(health.get("error") or "It does not say why."))

    def _note_silence(self, asked_at: float) -> None:
        # Libraries may hold the interpreter while they load gigabytes: that is no silence as long as it gets on.
        effort = self._child.effort()
        if not self.ready and effort != self._effort:
            self._silent_since, self._effort = self._clock.now(), effort
        elif self._silent_since is None:
            self._silent_since = asked_at

    @property
    def seconds_silent(self) -> float:
        """Time without an answer (while loading: without any activity either); 0 when the last check had one."""
        return self._clock.now() - self._silent_since if self._silent_since is not None else 0.0

    def failure(self) -> str:
        """Why it serves no more; empty while it does."""
        if not self._error and not self.alive():
            self._fail(self._exit_reason())
        return self._error

    def end(self, reason: str = "It was closed.", patience: float = 2.0) -> None:
        """End the process, which is killed where it has not ended by itself within so many seconds.

        The reason is what `status` says from now on, unless it had failed before.
        """
        if not self.failure():
            self._fail(reason)
        self._child.end(patience)

    def request_exit(self) -> None:
        """Tell the process to end, without waiting for it."""
        self._child.request_exit()

    def close(self) -> None:
        """End the process for good: the pool does not start it again by itself."""
        self.closed = True
        self.end()

    def _fail(self, reason: str) -> None:
        with self._lock:
            self._error = self._error or reason

    def _loading_detail(self) -> str:
        if not self._ordered:
            return "downloading" + (f" {memory.format_size(self.size)}" if self.size else "")
        grown = max(0, self._child.rss() - self._child.base)
        return memory.format_size(min(grown, self.size), self.size) if self.size else ""

    def _ready_detail(self) -> str:
        running, waiting = int(self._health.get("running", 0)), int(self._health.get("waiting", 0))
        if running or waiting:
            return f"{running} {'answer' if running == 1 else 'answers'}" + (f", {waiting} waiting" if waiting else "")
        return f"started again: {self.restart_reason}" if self.restart_reason else ""

    def _exit_reason(self) -> str:
        code = self._child.exit_code
        how = f"was killed (signal {-code})" if code and code < 0 else f"ended (exit status {code})"
        if not self.ready:
            how += " while the model was loading"
        reason = f"Its process {how}."
        if code == -9 and not self.ready:
            reason += f" Most likely memory ran out: the model needs about {memory.format_size(self.memory_needed)}."
        last = _log_tail(self.log, self._log_start)
        return f"{reason} Its last words: {last}" if last else reason


def _log_tail(log: Path, start: int) -> str:
    """The last few lines that were written to a log from an offset (bytes) on."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line.rstrip()[:300] for line in lines if line.strip()][-_LOG_LINES:])
