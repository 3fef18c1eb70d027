"""How far an evaluation is, in its run, so that every app server of the store sees it and can stop it.

Whoever makes the evaluation writes it every few seconds. What was not written for a while is made by nobody any more:
its process has ended, and it can go on.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from phi3core import tags
from phi3core.errors import Phi3Error
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.timestamps import now_ms

EVERY = 5.0  # seconds between two writings
_SILENT = 60_000  # milliseconds after which nobody makes it: machines' clocks differ, and a store may be slow


@dataclass(frozen=True)
class Progress:
    """done, total: answers and verdicts. host: the machine that makes it. when: milliseconds since 1970.

    by: the person that it is made for at this moment, who may go on with another's.
    """

    done: int
    total: int
    host: str
    by: str
    when: int

    @property
    def fresh(self) -> bool:
        """Whether it was written a moment ago."""
        return abs(now_ms() - self.when) < _SILENT


def progress_of(known: Mapping[str, str]) -> Progress | None:
    """What a run's tags tell; None where they tell nothing: anybody may write to the store."""
    try:
        plain = json.loads(known[tags.PROGRESS])
        done, total, when = (int(plain[name]) for name in ("done", "total", "when"))
        return Progress(done, total, str(plain["host"]), str(plain["by"]), when)
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def ask_to_stop(settings: Settings, run_id: str) -> None:
    """Have the evaluation end, wherever it is made. Raises StoreDown."""
    with translate_errors(settings):
        mlflow_client(settings).set_tag(run_id, tags.STOP, "1")


class Pulse:
    """Writes how far an evaluation is while it is made, and calls `stop` when its run asks for that."""

    def __init__(self, settings: Settings, run_id: str, by: str, stop: Callable[[], None]) -> None:
        self._settings, self._run_id, self._by, self._stop = settings, run_id, by, stop
        self._at = (0, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def report(self, done: int, total: int) -> None:
        """Note how far it is."""
        self._at = done, total

    def __enter__(self) -> Pulse:
        with translate_errors(self._settings):
            mlflow_client(self._settings).set_tag(self._run_id, tags.STOP, "")  # of the time before
        self._write()
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(Phi3Error):  # what went wrong is told by who makes it
            self._write()

    def _beat(self) -> None:
        while not self._ended.wait(EVERY):
            try:
                self._write()
                with translate_errors(self._settings):
                    known = mlflow_client(self._settings).get_run(self._run_id).data.tags
            except Phi3Error:
                continue  # the store is away: the evaluation itself finds that out
            if known.get(tags.STOP):
                self._stop()

    def _write(self) -> None:
        done, total = self._at
        plain = {"done": done, "total": total, "host": socket.gethostname(), "by": self._by, "when": now_ms()}
        with translate_errors(self._settings):
            mlflow_client(self._settings).set_tag(self._run_id, tags.PROGRESS, json.dumps(plain))
