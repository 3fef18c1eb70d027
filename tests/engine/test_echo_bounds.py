"""What a request with echo may take of what others need: sequences, memory, time, and of a model's two readings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from phi3core.engine import echo as scoring
from phi3core.engine.echo import in_turn
from phi3core.engine.interface import Done, Options, Piece
from phi3core.engine.kv_cache import SequenceCache, Tokens
from phi3core.engine.tokens import TokenEngine
from phi3core.errors import BadInput
from tests.support.asking import never
from tests.support.fake_runtime import FakeRuntime, FakeSequence, ask, letters
from tests.support.sequences import FakeSequence as Unread
from tests.support.sequences import some_tokens

ECHO = Options(max_tokens=0, temperature=0, logprobs=1, echo=True)


def test_eight_requests_at_once_have_sequences_enough_and_keep_none() -> None:
    engine = TokenEngine(FakeRuntime("loose", rows=16, slots=64), Options(), budget=10**6)
    asked = [engine.echo([letters(40, seed=n * 16 + at) for at in range(16)], ECHO, never) for n in range(8)]
    held = []

    def counted(request: Any) -> Any:
        for item in request:
            held.append(len(engine._cache._running))
            yield item
        return 0

    ended = [item for item in in_turn([counted(request) for request in asked]) if isinstance(item, Done)]

    assert len(ended) == 8
    assert 16 < max(held) <= 64
    assert engine._cache.used_bytes == 0


def test_a_request_that_finds_no_sequence_keeps_none_of_those_that_it_had_found() -> None:
    runtime, made = FakeRuntime("loose", rows=16, slots=64), list[FakeSequence]()
    engine = TokenEngine(runtime, Options(), budget=10**6)

    def row(capacity: int) -> FakeSequence:
        if len(made) == 3:
            raise RuntimeError("There are 64 sequences already.")
        made.append(FakeSequence(runtime, capacity))
        return made[-1]

    runtime.row = row  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="64 sequences"):
        list(engine.echo([letters(40, seed=n) for n in range(16)], ECHO, never))

    assert engine._cache._running == []


def test_nothing_fits_where_every_sequence_is_in_use() -> None:
    cache = SequenceCache(Unread, 1, 100, 10**6, 1, lambda: 10**9, slots=2)
    first, _ = cache.acquire(some_tokens(10), 10)
    cache.acquire(some_tokens(10, 5), 10)
    assert not cache.fits(10)

    cache.release(first)

    assert cache.fits(10)


def test_many_prompts_are_encoded_step_by_step_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, encoded = FakeRuntime("loose"), list[str]()
    plain: Callable[[str], Tokens] = runtime.encode
    monkeypatch.setattr(runtime, "encode", lambda text: encoded.append(text) or plain(text))
    prompts = [letters(1900, seed=n) for n in range(12)]
    running = TokenEngine(runtime, Options(), budget=10**6).echo([*prompts], ECHO, never)

    assert next(running) is None
    assert 0 < len(encoded) < 8

    assert list(running)[-1] == Done(12 * 1900, 0)
    assert len(encoded) == 12


def test_an_answer_that_would_pass_the_length_that_divides_is_refused() -> None:
    engine = TokenEngine(FakeRuntime("loose", divide=100), Options(), budget=10**6)

    assert engine.check(letters(90), ECHO.but(max_tokens=11)) == 101  # its last token is not read
    with pytest.raises(BadInput, match="at most 100 tokens, the prompt and its answer together"):
        engine.check(letters(90), ECHO.but(max_tokens=12))


def test_where_pieces_matter_a_prompt_is_cut_as_without_echo_however_large_the_vocabulary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scoring, "_BYTES", 4 * 96 * 10)
    options = Options(max_tokens=8, temperature=0)
    expected = ask(TokenEngine(FakeRuntime("strict"), Options(), budget=10**6), letters(150), options).texts[0]

    engine = TokenEngine(FakeRuntime("strict"), Options(), budget=10**6)
    told = engine.echo([letters(150)], options.but(echo=True), never)

    assert "".join(item.text for item in told if isinstance(item, Piece)) == letters(150) + expected
