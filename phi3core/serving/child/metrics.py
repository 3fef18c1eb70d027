"""What a model server has done, for Prometheus: answers, how long they took, tokens; no word of what was said."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from phi3core.engine.interface import Done, Piece
from phi3core.errors import Busy

from .answers import Answers
from .worker import Item, Worker

_VERSION = ("version",)
_FIRST = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60)
_BETWEEN = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 5)


class Metrics:
    """The counts of one model server since it started. version: its reference, on every one of them."""

    def __init__(self, version: str, worker: Worker) -> None:
        self._registry = CollectorRegistry()

        def gauge(name: str, told: str, value: Callable[[], float]) -> None:
            Gauge(name, told, _VERSION, registry=self._registry).labels(version).set_function(value)

        self._answers = Counter(
            "phi3_answers", "Requests for answers, by how they ended; refused: the queue was full.",
            ("version", "outcome"), registry=self._registry,
        )  # fmt: skip
        for outcome in ("done", "cancelled", "failed", "refused"):
            self._answers.labels(version, outcome)
        self._first = Histogram(
            "phi3_first_token_seconds", "From a request to the first token of its answer.", _VERSION,
            buckets=_FIRST, registry=self._registry,
        ).labels(version)  # fmt: skip
        self._between = Histogram(
            "phi3_token_interval_seconds", "Between one token of an answer and the next.", _VERSION,
            buckets=_BETWEEN, registry=self._registry,
        ).labels(version)  # fmt: skip
        tokens = Counter("phi3_tokens", "Tokens read and written.", ("version", "kind"), registry=self._registry)
        self._prompt, self._cached, self._written = (
            tokens.labels(version, kind) for kind in ("prompt", "cached_prompt", "answer")
        )
        gauge("phi3_answers_running", "Answers that are being written.", lambda: worker.running)
        gauge("phi3_answers_waiting", "Requests that wait for their turn.", lambda: worker.waiting)
        self._version = version

    def watch(self, ask: Callable[[], Answers]) -> WatchedAnswers:
        """Ask for answers, and count what becomes of them. Raises what asking raises."""
        try:
            return WatchedAnswers(self, ask())
        except Busy:
            self.count("refused")
            raise

    def count(self, outcome: str) -> None:
        self._answers.labels(self._version, outcome).inc()

    def saw_first(self, seconds: float) -> None:
        self._first.observe(seconds)

    def saw_tokens(self, count: int, seconds: float) -> None:
        """So many tokens have come, in so many seconds since the last one."""
        for _ in range(count):
            self._between.observe(seconds / count)

    def saw_done(self, done: Done) -> None:
        self._prompt.inc(max(0, done.prompt_tokens - done.cached_tokens))  # what a model tells may not add up
        self._cached.inc(done.cached_tokens)
        self._written.inc(done.completion_tokens)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)


class WatchedAnswers:
    """Answers that are counted as they pass."""

    def __init__(self, metrics: Metrics, answers: Answers) -> None:
        self._metrics, self._answers = metrics, answers
        self._at, self._begun, self._ended = time.perf_counter(), False, False

    def __aiter__(self) -> WatchedAnswers:
        return self

    async def __anext__(self) -> list[Item]:
        try:
            items = await anext(self._answers)
        except StopAsyncIteration:
            raise
        except Exception:
            self._end("failed")
            raise
        if count := sum(isinstance(item, Piece) for item in items):
            now = time.perf_counter()
            if self._begun:
                self._metrics.saw_tokens(count, now - self._at)
            else:
                self._metrics.saw_first(now - self._at)
            self._at, self._begun = now, True
        if isinstance(items[-1], Done):
            self._metrics.saw_done(items[-1])
            self._end("done")
        return items

    async def aclose(self) -> None:
        self._end("cancelled")
        await self._answers.aclose()

    def _end(self, outcome: str) -> None:
        if not self._ended:
            self._ended = True
            self._metrics.count(outcome)
