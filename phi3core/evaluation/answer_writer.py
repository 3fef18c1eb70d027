"""Writing the answers of an evaluation beside the asking: all that have come meanwhile in one call of the store."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING

from phi3core.settings import Settings
from phi3core.traces.turn_trace import write_traces

if TYPE_CHECKING:
    from mlflow.entities import Trace

_MOST = 64  # answers that may wait to be written: so many a killed process loses at most


class AnswerWriter:
    """Writes traces in a thread of its own, so that the next question waits for no store.

    Used as a context manager, whose end waits until all is written, and raises what went wrong in writing.
    """

    def __init__(self, settings: Settings, written: Callable[[int], None]) -> None:
        """written: is called with how many more traces there are now, in the writer's thread."""
        self._settings, self._written = settings, written
        self._waiting: deque[Trace] = deque()
        self._room = threading.BoundedSemaphore(_MOST)
        self._thread = ThreadPoolExecutor(1)
        self._error: BaseException | None = None

    def put(self, trace: Trace) -> None:
        """Have a trace written soon; where too many wait for it, wait. Raises what an earlier writing raised."""
        self._room.acquire()
        self._check()
        self._waiting.append(trace)
        self._thread.submit(self._write_waiting)

    def __enter__(self) -> AnswerWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._thread.shutdown()
        if kind is None:
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _write_waiting(self) -> None:
        together = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not together:
            return  # an earlier call took this one's
        try:
            if self._error is None:
                write_traces(self._settings, together)
                self._written(len(together))
        except BaseException as error:  # raised where the next answer is put, or at the end
            self._error = error
        self._room.release(len(together))
