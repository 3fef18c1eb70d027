"""One version that is served by a child process: what it is doing, how it fares, and why it ended.

Which versions have one, and when it ends, is for pool.py to say.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from phi3core.errors import ServerError
from phi3core.registry.models import Version

from . import memory
from .spawn import Child

# A page that asks every second must not make the child answer it every time.
_FRESH = 1.0  # seconds
_WORDS = 5  # lines of its log that a failure tells


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

    size: bytes of the version's files, 0 where nobody knows. needs: bytes of memory it was guessed to take.
    again: what became of the process before this one, where the pool started this one in its place.
    """

    def __init__(
        self, version: Version, child: Child, order: dict[str, Any], log: Path, size: int, needs: int, again: str = ""
    ) -> None:
        self.version, self.ref, self.key, self.log, self.size, self.needs = (
            version,
            version.ref,
            child.key,
            log,
            size,
            needs,
        )
        self.again = again
        self.started = self.used = time.monotonic()
        self.ready = self.closed = False
        self.asked = 0.0
        self._child, self._order = child, order
        self._log_start = log.stat().st_size if log.is_file() else 0
        self._health: dict[str, Any] = {}
        self._looked = self._answered = 0.0
        self._silent_since: float | None = None
        self._effort = (0.0, 0)
        self._error = ""
        self._held = 0
        self._lock = threading.Lock()
        child.tell({**order, "log": str(log)})

    @property
    def url(self) -> str:
        """The base URL, without /v1. Raises ServerError before the port is known."""
        if self._child.port is None:
            raise ServerError(f"The model server for {self.ref} has not started yet. Try again in a moment.")
        return f"http://127.0.0.1:{self._child.port}"

    @property
    def pid(self) -> int:
        return self._child.process.pid

    @property
    def memory(self) -> int:
        """Resident bytes now."""
        return self._child.rss()

    @property
    def takes(self) -> int:
        """Bytes that ending it gives back: what it has, or will have once it is loaded."""
        return self.memory if self.ready else max(self.memory, self.needs)

    @property
    def working(self) -> int:
        """Answers that it writes or that wait for their turn, when it was last asked."""
        return int(self._health.get("running", 0)) + int(self._health.get("waiting", 0))

    def alive(self) -> bool:
        return self._child.alive()

    def touch(self) -> None:
        """Somebody needs it: it is not idle."""
        self.used = time.monotonic()

    @contextlib.contextmanager
    def hold(self) -> Iterator[ModelServer]:
        """Meanwhile it is stopped neither for being idle nor for its memory."""
        with self._lock:
            self._held += 1
        self.touch()
        try:
            yield self
        finally:
            with self._lock:
                self._held -= 1
            self.touch()

    @property
    def held(self) -> bool:
        return self._held > 0

    def status(self) -> Status:
        """What it does. Asks the process, unless that was done within the last second."""
        if not self.ready or time.monotonic() - self._looked > _FRESH:
            self.look(1)
        seconds = time.monotonic() - self.started
        if reason := self.failure():
            return Status("failed", seconds, reason)
        if self._child.port is None:
            return Status("starting", seconds)
        silent = self.silent
        if silent > 3:
            detail = f"no sign of life for {silent:.0f} s"
        elif not self.ready:
            detail = self._progress()
        else:
            detail = self._doing()
        return Status(("busy" if self.working else "ready") if self.ready else "loading", seconds, detail=detail)

    def wait_ready(self, timeout: float = 600) -> None:
        """Block until the model has loaded. Raises ServerError when it fails or takes longer."""
        deadline = time.monotonic() + timeout
        while not (status := self.status()).open:
            if status.state == "failed":
                raise ServerError(f"The model server for {self.ref} could not start. {status.reason}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.ref} has not loaded after {timeout:.0f} s. Its log is {self.log}.")
            time.sleep(0.05)

    def look(self, timeout: float) -> None:
        """Ask the process how it is, and remember its answer or that there was none."""
        if self._error or not self.alive():
            return
        self.asked = asked = time.monotonic()
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=timeout) as answer:
                health = json.load(answer)
        except (OSError, HTTPException, ValueError, ServerError):  # the last: it has no port yet
            self._miss(asked)
            return
        with self._lock:
            if asked < self._answered:
                return  # somebody asked later, and was answered sooner
            self._answered = asked
            self._health, self._looked, self._silent_since = health, time.monotonic(), None
        ready = health["status"] == "ready"
        if self.working or ready > self.ready:  # whoever waited for it is about to ask
            self.touch()
        self.ready = ready
        if health["status"] == "failed":
            self._fail(str(health.get("error") or "It does not say why."))

    def _miss(self, asked: float) -> None:
        # Libraries may hold the interpreter while they load gigabytes: that is no silence as long as it gets on.
        effort = self._child.effort()
        if not self.ready and effort != self._effort:
            self._silent_since, self._effort = time.monotonic(), effort
        elif self._silent_since is None:
            self._silent_since = asked

    @property
    def silent(self) -> float:
        """Seconds without an answer (while loading: without any activity either); 0 when the last look had one."""
        return time.monotonic() - self._silent_since if self._silent_since is not None else 0.0

    def failure(self) -> str:
        """Why it serves no more; empty while it does."""
        if not self._error and not self.alive():
            self._fail(self._obituary())
        return self._error

    def end(self, reason: str = "It was closed.", patience: float = 2.0) -> None:
        """End the process, which has so many seconds to go by itself.

        The reason is what `status` says from now on, unless it had failed before.
        """
        if not self.failure():
            self._fail(reason)
        self._child.end(patience)

    def hang_up(self) -> None:
        """Tell the process to end without waiting for it."""
        self._child.hang_up()

    def close(self) -> None:
        """End the process for good: the pool does not start it again by itself."""
        self.closed = True
        self.end()

    def _fail(self, reason: str) -> None:
        with self._lock:
            self._error = self._error or reason

    def _progress(self) -> str:
        if not self._order.get("artifact") and not self._child.folder:
            return "downloading" + (f" {memory.format_size(self.size)}" if self.size else "")
        grown = max(0, self._child.rss() - self._child.base)
        return memory.format_size(min(grown, self.size), self.size) if self.size else ""

    def _doing(self) -> str:
        running, waiting = int(self._health.get("running", 0)), int(self._health.get("waiting", 0))
        if running or waiting:
            return f"{running} {'answer' if running == 1 else 'answers'}" + (f", {waiting} waiting" if waiting else "")
        return f"started again: {self.again}" if self.again else ""

    def _obituary(self) -> str:
        code = self._child.process.returncode
        how = f"was killed (signal {-code})" if code and code < 0 else f"ended (exit status {code})"
        if not self.ready:
            how += " while the model was loading"
        said = f"Its process {how}."
        if code == -9 and not self.ready:
            said += f" Most likely memory ran out: the model needs about {memory.format_size(self.needs)}."
        last = _last_words(self.log, self._log_start)
        return f"{said} Its last words: {last}" if last else said


def _last_words(log: Path, start: int) -> str:
    """The last few lines that were written to a log from an offset on."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line.rstrip()[:300] for line in lines if line.strip()][-_WORDS:])
