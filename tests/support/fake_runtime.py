"""A runtime without a model: its logits follow from the tokens and from the pieces in which they were read."""

from __future__ import annotations

import itertools
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from phi3core.engine.interface import Done, End, Messages, Options, Piece, Token
from phi3core.engine.kv_cache import Logits, Sequence, Tokens
from phi3core.engine.rotary import DividedSequence
from phi3core.engine.tokens import TokenEngine

EOS = 95


class FakeSequence:
    """Remembers each token with the mark that its reading left: alone, or where in a piece of what length.

    `loose` kernels read every piece of two or more tokens the same; `strict` ones round by the piece.
    """

    inseparable = 0

    def __init__(self, runtime: FakeRuntime, capacity: int) -> None:
        # With slots it grows as it is filled.
        self._runtime, self._capacity = runtime, runtime.context_length if runtime.slots else capacity
        self._state: list[tuple[int, int, int]] = []
        self._fresh = False

    def append(self, tokens: Tokens) -> None:
        assert len(tokens) > 0
        assert len(self._state) + len(tokens) <= self._capacity, "the sequence is full"
        self._runtime.log.append(len(tokens))
        time.sleep(self._runtime.pace * len(tokens))
        loose = self._runtime.kernels == "loose"
        for at, token in enumerate(tokens.tolist()):
            mark = (0, 1) if len(tokens) == 1 else (0, 2) if loose else (at, len(tokens))
            self._state.append((token, *mark))
        self._fresh = True

    def append_one(self, token: int) -> None:
        self.append(np.array([token]))

    def append_all(self, tokens: Tokens) -> Logits:
        """The logits after each token, as they are in a piece of all of them."""
        self.append(tokens)
        whole, found = self._state, []
        for end in range(len(whole) - len(tokens) + 1, len(whole) + 1):
            self._state = whole[:end]
            found.append(self.logits())
        self._state = whole
        return np.array(found)

    def logits(self) -> np.ndarray[Any, Any]:
        assert self._fresh, "logits of nothing, or of what was forgotten"
        if self._runtime.fail:
            raise RuntimeError("the runtime broke")
        state = zlib.crc32(repr(self._state).encode())
        logits = (np.random.default_rng(state).normal(size=self._runtime.vocabulary) * 2).astype(np.float32)
        logits[EOS] = self._runtime.eos_logit
        return logits

    def rewind(self, length: int) -> None:
        assert 0 <= length <= len(self._state)
        self._fresh = self._fresh and length == len(self._state)
        del self._state[length:]

    def fork(self, length: int) -> FakeSequence:
        assert 0 < length <= len(self._state)
        made = FakeSequence(self._runtime, self._capacity)
        made._state = self._state[:length]
        return made


@dataclass
class FakeRuntime:
    """Every printable letter is a token; DEL ends an answer."""

    kernels: Literal["loose", "strict"] = "strict"
    piece: int = 64
    context_length: int = 2000
    vocabulary: int = 96
    eos: frozenset[int] = frozenset({EOS})
    token_bytes: int = 1
    slots: int = 0
    batched: bool = False
    exact: bool = True
    eos_logit: float = -100.0
    fail: bool = False
    pace: float = 0.0  # seconds a token
    templated: bool = True
    rows: int = 1
    divide: int = 0
    log: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # tokens that were read together, with all their logits

    def render(self, messages: Messages) -> str:
        return "".join(f"<{message['role']}>{message['content']}" for message in messages) + "<assistant>"

    def encode(self, text: str) -> Tokens:
        return np.array([ord(letter) - 32 for letter in text], np.int32)

    def text_of(self, token: int) -> str:
        return chr(token + 32)

    def decoder(self) -> Callable[[int], str]:
        return self.text_of

    def tokenizer_json(self) -> str:
        raise NotImplementedError

    def sequence(self, capacity: int) -> Sequence:
        made = FakeSequence(self, capacity)
        return DividedSequence(made, self.divide) if self.divide else made

    def row(self, capacity: int) -> FakeSequence:
        return FakeSequence(self, capacity)

    def read_all(self, pieces: list[tuple[FakeSequence, Tokens]]) -> list[Logits]:
        self.steps.append(sum(len(tokens) for _, tokens in pieces))
        return [row.append_all(tokens) for row, tokens in pieces]

    def copy(self, source: FakeSequence, target: FakeSequence, length: int) -> None:
        target._state = source._state[:length]

    def free(self) -> int:
        return 10**9


def never() -> bool:
    return False


SAMPLED = Options(max_tokens=12, temperature=1, top_p=1, top_k=96, seed=5)


@dataclass
class Answer:
    """What a stream told. cached: how much of the prompt was kept; not compared."""

    texts: list[str]
    reasons: list[str]
    tokens: list[list[Token]]
    prompt_tokens: int
    completion_tokens: int
    cached: int = field(compare=False)


def ask(engine: TokenEngine, prompt: str, options: Options = SAMPLED, stopped: Callable[[], bool] = never) -> Answer:
    texts = ["" for _ in range(options.n)]
    tokens: list[list[Token]] = [[] for _ in range(options.n)]
    reasons = []
    *items, done = engine.stream(prompt, options, stopped)
    assert isinstance(done, Done)
    for item in items:
        if isinstance(item, Piece):
            texts[item.index] += item.text
            tokens[item.index] += item.tokens
        elif isinstance(item, End):
            assert item.index == len(reasons), "answers come one after the other"
            reasons.append(item.finish_reason)
    assert len(reasons) == options.n
    return Answer(texts, reasons, tokens, done.prompt_tokens, done.completion_tokens, done.cached_tokens)


def cold(engine: TokenEngine, prompt: str, options: Options = SAMPLED) -> Answer:
    """The same from an engine that has nothing kept."""
    runtime = engine._runtime
    assert isinstance(runtime, FakeRuntime)
    fresh = FakeRuntime(runtime.kernels, runtime.piece, runtime.context_length, eos_logit=runtime.eos_logit)
    return ask(TokenEngine(fresh, engine.options), prompt, options)


def letters(length: int, seed: int = 1) -> str:
    return "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz ", k=length))


def read_ahead(engine: TokenEngine, prompt: str, steps: int = 1000) -> None:
    """Let the engine read so many pieces of what the next turn begins with."""
    reading = engine.read_ahead(prompt, SAMPLED)
    for _ in itertools.islice(reading, steps):
        pass
    reading.close()
