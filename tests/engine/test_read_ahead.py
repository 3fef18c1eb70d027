"""What is read ahead of the next turn changes no answer."""

from __future__ import annotations

import pytest

from phi3core.engine.interface import Options
from phi3core.engine.kv_cache import Tokens
from phi3core.engine.tokens import TokenEngine
from tests.support.fake_runtime import SAMPLED, FakeRuntime, FakeSequence, ask, cold, letters, read_ahead


def test_what_was_read_ahead_needs_no_reading_when_the_next_turn_brings_it() -> None:
    engine = TokenEngine(FakeRuntime("loose"), Options(), budget=100_000)
    prompt = letters(300)
    told = prompt + ask(engine, prompt).texts[0] + letters(30, 2)
    read_ahead(engine, told)

    turn = told + letters(20, 3)
    answer = ask(engine, turn)

    assert answer.cached == len(told)
    assert answer == cold(engine, turn)


def test_a_conversation_outgrows_its_sequence_while_nobody_waits() -> None:
    engine = TokenEngine(FakeRuntime("loose", context_length=4096), Options(), budget=100_000)
    ask(engine, letters(300))
    (kept,) = engine._cache._idle
    told = letters(300) + letters(kept.capacity - 300 - SAMPLED.max_tokens - 10, 2)
    read_ahead(engine, told)

    assert ask(engine, told + letters(20, 3)).cached == len(told)


def test_after_reading_ahead_the_same_question_is_still_answered_at_once() -> None:
    engine = TokenEngine(FakeRuntime("loose"), Options(), budget=100_000)
    prompt = letters(100)
    first = ask(engine, prompt)
    read_ahead(engine, prompt + letters(400, 2))  # an answer much longer than its question

    again = ask(engine, prompt)

    assert again.cached == len(prompt) - 1
    assert again == first


def test_reading_ahead_that_is_broken_off_keeps_what_was_read() -> None:
    engine = TokenEngine(FakeRuntime("loose"), Options(), budget=100_000)
    prompt, told = letters(300), letters(300) + letters(400, 2)
    ask(engine, prompt)
    read_ahead(engine, told, steps=2)

    answer = ask(engine, told)

    assert 364 <= answer.cached < len(told) - 1
    assert answer == cold(engine, told)


def test_where_kernels_round_by_the_piece_nothing_is_read_ahead() -> None:
    """The prompt that was answered would lose its own reading, and the same question again would be read anew."""
    runtime = FakeRuntime("strict")
    engine = TokenEngine(runtime, Options(), budget=100_000)
    ask(engine, letters(300))
    before = list(runtime.log)
    read_ahead(engine, letters(300) + letters(400, 2))

    assert runtime.log == before


def test_a_runtime_that_breaks_while_it_reads_ahead_leaves_nothing_behind() -> None:
    engine = TokenEngine(FakeRuntime("loose", context_length=400), Options(), budget=100_000)
    prompt = letters(300)
    ask(engine, prompt)

    class Broken(FakeSequence):
        def append(self, tokens: Tokens) -> None:
            raise RuntimeError("the runtime broke")

    (kept,) = engine._cache._idle
    kept.sequence.__class__ = Broken  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="the runtime broke"):
        read_ahead(engine, prompt + letters(40, 2))

    assert engine._cache.used_bytes == 0
    assert ask(engine, prompt) == cold(engine, prompt)


def test_what_would_fill_the_context_is_not_read_ahead() -> None:
    runtime = FakeRuntime("loose", context_length=300)
    engine = TokenEngine(runtime, Options(), budget=100_000)
    before = list(runtime.log)
    read_ahead(engine, letters(300))

    assert runtime.log == before
