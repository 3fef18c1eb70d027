"""Hand-written stand-ins, each for one seam."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from phi3core.engine.interface import (
    ALL_OPTIONS,
    Done,
    End,
    Messages,
    Options,
    Piece,
    Prompt,
    check_messages,
    check_room,
)
from phi3core.errors import Conflict
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors


def register(
    settings: Settings,
    name: str = "phi3",
    source: str = "s3://nowhere/model",
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
) -> int:
    """Register a version without a model behind it, and return its number. Metrics give it a run."""
    store = mlflow_client(settings)
    with contextlib.suppress(Conflict), translate_errors(settings):
        store.create_registered_model(name)
    run_id = None
    if metrics:
        run_id = store.create_run("0").info.run_id
        for key, value in metrics.items():
            store.log_metric(run_id, key, value)
    return int(store.create_model_version(name, source, run_id, tags=tags or {}).version)


def elsewhere(settings: Settings, home: Path) -> Settings:
    """The same store, from another machine: it shares no lock."""
    (home / "locks").mkdir(parents=True, exist_ok=True)
    return replace(settings, home=home)


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


def only_for(settings: Settings, counting: CountingClient) -> Callable[[Settings], Any]:
    """What stands for `mlflow_client`: what another test has left running asks its own store, and is not counted."""
    return lambda asked: counting if asked == settings else mlflow_client(asked)


class FakeEngine:
    """Answers with the words it was given, one by one; every letter of a prompt is a token."""

    chat: Literal["template", "messages", "prompt", "none"] = "template"
    context_length = 200
    supports = ALL_OPTIONS
    batched, exact = False, True
    signature: dict[str, Any] | None = None

    def __init__(self, words: tuple[str, ...] = ("Madrid", " is", " it", "."), pause: float = 0.0) -> None:
        self.options = Options(max_tokens=50)
        self.words, self.pause = words, pause
        self.fail_at: int | None = None
        self.asked: list[Options] = []
        self.prompts: list[Prompt] = []
        self.read: list[Prompt] = []
        self.said = 0
        self.ended = threading.Event()

    def prepare(self, messages: Messages) -> Prompt:
        check_messages(messages)
        return "".join(f"<{message['role']}>{message['content']}" for message in messages)

    def count(self, prompt: Prompt) -> int | None:
        return len(prompt)

    def check(self, prompt: Prompt, options: Options) -> int:
        check_room(len(prompt), self.context_length)
        return len(prompt) + options.max_tokens

    def fits(self, tokens: int) -> bool:
        return True

    def read_ahead(self, prompt: Prompt, options: Options) -> Generator[None, None, None]:
        self.read.append(prompt)
        yield

    def predict(self, body: dict[str, Any]) -> Any:
        return {"predictions": [body]}

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
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
                yield Piece(word)
            yield End("stop" if self.said == len(self.words) else "length")
            yield Done(len(prompt), self.said)
        finally:
            self.ended.set()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What the condition gives once it is true; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not true after {seconds:.0f} s"
        time.sleep(0.02)
    return value


def sign(folder: Path, column: str) -> None:
    """Give the model in a folder a signature with one text input of this name."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    signature = ModelSignature(Schema([ColSpec(DataType.string, column)]), Schema([ColSpec(DataType.string)]))
    Model(flavors={"python_function": {}}, signature=signature).save(str(folder / "MLmodel"))
