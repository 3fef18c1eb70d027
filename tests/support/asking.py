"""Asking an engine, and the conversations that tests ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from phi3core.engine import prefill
from phi3core.engine.interface import Done, End, Engine, Options, Piece, Token
from phi3core.engine.tokens import TokenEngine
from phi3core.registry import artifacts, reader
from tests.conftest import MODEL, Built

HELLO = [{"role": "user", "content": "Hello"}]
GREEDY = Options(max_tokens=16, temperature=0)
SYSTEM = {"role": "system", "content": "You are a patient teacher who answers in one or two short sentences."}
QUESTION = {"role": "user", "content": "What is the capital of Spain?"}
LONG = (
    "You are a patient teacher. Explain to a child of ten, in a few short sentences and without difficult words, why "
    "the sky is blue in the day, red in the evening and black at night, and what the moon has to do with the tides of "
    "the sea. Then ask the child one question about what you have just told, and wait for the answer."
)
SAMPLED = Options(max_tokens=8, temperature=0.8, repetition_penalty=1.1, seed=7, logprobs=5)


def never() -> bool:
    return False


def pytorch_model(engine: Engine) -> Any:
    """The model on PyTorch that an engine asks."""
    from phi3core.engine.transformers import TransformersRuntime  # imports PyTorch

    assert isinstance(engine, TokenEngine)
    assert isinstance(engine._runtime, TransformersRuntime)
    return engine._runtime.model


def keep_layers(model: Any, count: int) -> None:
    """Leave only the first layers of loaded weights."""
    model.model.layers = model.model.layers[:count]
    model.config.num_hidden_layers = count


@dataclass
class Answer:
    """What a stream told. cached_tokens is not compared."""

    texts: list[str]
    reasons: list[str]
    tokens: list[list[Token]]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = field(compare=False)

    @property
    def text(self) -> str:
        return self.texts[0]


def ask(engine: Engine, prompt: str, options: Options, stopped: Callable[[], bool] = never) -> Answer:
    *items, done = engine.stream(prompt, options, stopped)
    assert isinstance(done, Done)
    texts = ["" for _ in range(options.n)]
    tokens: list[list[Token]] = [[] for _ in range(options.n)]
    for item in items:
        if isinstance(item, Piece):
            texts[item.index] += item.text
            tokens[item.index] += item.tokens
    reasons = [item.finish_reason for item in items if isinstance(item, End)]
    return Answer(texts, reasons, tokens, done.prompt_tokens, done.completion_tokens, done.cached_tokens)


def rendered(engine: Engine, messages: list[dict[str, str]]) -> str:
    prompt = engine.prepare(messages)
    assert isinstance(prompt, str)
    return prompt


def fresh(engine: Engine) -> TokenEngine:
    """The same weights with nothing kept. How finely the machine reads them is found out once: it takes a second."""
    assert isinstance(engine, TokenEngine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefill, "grain_of", lambda _: engine._reader.grain)
        return TokenEngine(engine._runtime, engine.options)


def conversation(engine: Engine, *texts: str) -> str:
    """The prompt of a conversation that begins with the system message: the user's and the model's texts in turn."""
    roles = ["user", "assistant"] * len(texts)
    return rendered(
        engine, [SYSTEM, *({"role": role, "content": text} for role, text in zip(roles, texts, strict=False))]
    )


def folder_of(built: Built, number: int) -> Path:
    folder = artifacts.local_folder(built.settings, reader.get_version(built.settings, f"{MODEL}/{number}"))
    assert folder
    return folder
