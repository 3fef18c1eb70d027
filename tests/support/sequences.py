"""Sequences of tokens without a model, for tests of what is kept of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from phi3core.engine.kv_cache import CachedSequence, SequenceCache, Tokens


def some_tokens(length: int, first: int = 1) -> Tokens:
    return (np.arange(length, dtype=np.int32) * 7 + first) % 97


def joined(*parts: Tokens) -> Tokens:
    return np.concatenate(parts).astype(np.int32)


class FakeSequence:
    """Only remembers what it was told to forget."""

    inseparable = 0

    def __init__(self, capacity: int) -> None:
        self.capacity, self.rewinds = capacity, []  # type: int, list[int]

    def append(self, tokens: Tokens) -> None: ...

    def append_one(self, token: int) -> None: ...

    def logits(self) -> np.ndarray[Any, Any]:
        return np.zeros(1, np.float32)

    def rewind(self, length: int) -> None:
        self.rewinds.append(length)


def sequences(budget: int = 1_000_000, grain: int = 1, token_bytes: int = 1, context: int = 8192) -> SequenceCache:
    return SequenceCache(FakeSequence, token_bytes, context, budget, grain, lambda: 10**9)


def read(kept: SequenceCache, tokens: Tokens, answer: int = 10) -> tuple[CachedSequence, int]:
    """Take a sequence, read the whole prompt, give it back."""
    sequence, shared = kept.acquire(tokens, len(tokens) + answer)
    sequence.tokens, sequence.complete = tokens, True
    kept.release(sequence)
    return sequence, shared


def whole(tokens: Tokens) -> CachedSequence:
    return CachedSequence(FakeSequence(1024), 1024, tokens, complete=True)


def broken_off(tokens: Tokens) -> CachedSequence:
    return CachedSequence(FakeSequence(1024), 1024, tokens, complete=False)
