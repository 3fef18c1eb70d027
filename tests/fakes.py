"""Hand-written stand-ins, each for one seam."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from phi3core.engine import Done, Options, check_messages, check_room
from phi3core.errors import Conflict
from phi3core.settings import Settings
from phi3core.store import client, errors


def register(
    settings: Settings,
    name: str = "phi3",
    source: str = "s3://nowhere/model",
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
) -> int:
    """Register a version without a model behind it, and return its number. Metrics give it a run."""
    store = client(settings)
    with contextlib.suppress(Conflict), errors(settings):
        store.create_registered_model(name)
    run_id = None
    if metrics:
        run_id = store.create_run("0").info.run_id
        for key, value in metrics.items():
            store.log_metric(run_id, key, value)
    return int(store.create_model_version(name, source, run_id, tags=tags or {}).version)


class CountingClient:
    """An MLflow client that counts the calls made of it."""

    def __init__(self, real: Any) -> None:
        self._real, self.calls = real, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return method(*args, **kwargs)

        return counted


class FakeEngine:
    """Answers with the words it was given, one by one; every letter of a prompt is a token."""

    context_length = 200

    def __init__(self, words: tuple[str, ...] = ("Madrid", " is", " it", "."), pause: float = 0.0) -> None:
        self.options = Options(max_tokens=50)
        self.words, self.pause = words, pause
        self.fail_at: int | None = None
        self.asked: list[Options] = []
        self.prompts: list[str] = []
        self.said = 0
        self.ended = threading.Event()

    def render(self, messages: list[dict[str, str]]) -> str:
        check_messages(messages)
        return "".join(f"<{message['role']}>{message['content']}" for message in messages)

    def check(self, prompt: str) -> int:
        check_room(len(prompt), self.context_length)
        return len(prompt)

    def stream(self, prompt: str, options: Options, stopped: Callable[[], bool]) -> Iterator[str | Done]:
        self.asked.append(options)
        self.prompts.append(prompt)
        self.said = 0
        self.ended.clear()
        try:
            for word in self.words[: options.max_tokens]:
                if stopped():
                    break
                if self.said == self.fail_at:
                    raise RuntimeError("the runtime broke")
                time.sleep(self.pause)
                self.said += 1
                yield word
            reason = "stop" if self.said == len(self.words) else "length"
            yield Done(reason, len(prompt), self.said)
        finally:
            self.ended.set()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What the condition gives once it is true; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not true after {seconds:.0f} s"
        time.sleep(0.02)
    return value
