"""Kept or not, a prompt gets the same answer."""

from __future__ import annotations

import random
from typing import Literal

import pytest

from phi3core.engine.interface import Options, Piece
from phi3core.engine.tokens import TokenEngine
from tests.support.fake_runtime import SAMPLED, FakeRuntime, ask, cold, letters, never, read_ahead

# ---------------------------------------------------------------- kept and not kept: the same answer

LENGTHS = [1, 2, 3, 10, 63, 64, 65, 66, 67, 127, 128, 129, 130, 131, 200]
MORE = [1, 2, 3, 50, 63, 64, 65, 66, 128]


@pytest.mark.parametrize("length", LENGTHS)
def test_the_same_request_again_gets_the_same_answer(engine: TokenEngine, length: int) -> None:
    options = SAMPLED.but(logprobs=2)
    prompt = letters(length)

    answers = [ask(engine, prompt, options) for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    assert answers[0].cached == 0
    assert length <= 2 or answers[2].cached == length - 1


@pytest.mark.parametrize("length", LENGTHS)
def test_the_next_turn_gets_the_answer_of_a_fresh_engine(runtime: FakeRuntime, length: int) -> None:
    for more in MORE:
        engine, prompt = TokenEngine(runtime, Options(), budget=100_000), letters(length)
        longer = prompt + ask(engine, prompt).texts[0] + letters(more, 2)

        assert ask(engine, longer) == cold(engine, longer), more


@pytest.mark.parametrize("length", LENGTHS)
def test_a_prompt_that_only_goes_on_gets_the_answer_of_a_fresh_engine(runtime: FakeRuntime, length: int) -> None:
    for more in MORE:
        engine, longer = TokenEngine(runtime, Options(), budget=100_000), letters(length) + letters(more, 2)
        ask(engine, letters(length))

        assert ask(engine, longer) == cold(engine, longer), more


@pytest.mark.parametrize("length", LENGTHS)
def test_a_shorter_prompt_gets_the_answer_of_a_fresh_engine(engine: TokenEngine, length: int) -> None:
    ask(engine, letters(220))

    assert ask(engine, letters(220)[:length]) == cold(engine, letters(220)[:length])


@pytest.mark.parametrize("at", [1, 2, 50, 63, 64, 65, 66, 100, 128, 129])
def test_an_edit_of_an_earlier_message_gets_the_answer_of_a_fresh_engine(engine: TokenEngine, at: int) -> None:
    prompt = letters(200)
    ask(engine, prompt)
    edited = prompt[:at] + letters(90, 3)

    assert ask(engine, edited) == cold(engine, edited)


def test_a_regenerated_answer_with_another_seed_is_that_of_a_fresh_engine(engine: TokenEngine) -> None:
    prompt = letters(100)
    ask(engine, prompt)

    again = ask(engine, prompt, SAMPLED.but(seed=6))

    assert again == cold(engine, prompt, SAMPLED.but(seed=6))
    assert again.cached == 99


def test_a_conversation_goes_on_after_several_answers_at_once(engine: TokenEngine) -> None:
    first = ask(engine, letters(100), SAMPLED.but(n=3))
    longer = letters(100) + first.texts[1] + letters(30, 2)

    assert ask(engine, longer) == cold(engine, longer)


class Stop:
    """stopped() that comes true at the nth look."""

    def __init__(self, at: int) -> None:
        self.at, self.looks = at, 0

    def __call__(self) -> bool:
        self.looks += 1
        return self.looks > self.at


@pytest.mark.parametrize("length", [100, 129, 130, 260])
def test_after_an_interrupted_answer_the_same_prompt_gets_the_same_answer(runtime: FakeRuntime, length: int) -> None:
    for at in range(12):
        engine, prompt = TokenEngine(runtime, Options(), budget=100_000), letters(length)
        ask(engine, prompt, SAMPLED, Stop(at))

        assert ask(engine, prompt) == cold(engine, prompt), at


@pytest.mark.parametrize("shorter", [63, 64, 65, 127, 128, 129, 192])
def test_after_an_interrupted_prompt_a_part_of_it_gets_the_answer_of_a_fresh_engine(
    runtime: FakeRuntime, shorter: int
) -> None:
    for at in range(6):
        engine, prompt = TokenEngine(runtime, Options(), budget=100_000), letters(300)
        ask(engine, prompt, SAMPLED, Stop(at))

        assert ask(engine, prompt[:shorter]) == cold(engine, prompt[:shorter]), at


@pytest.mark.parametrize("steps", range(8))
def test_after_a_stream_was_closed_the_same_prompt_gets_the_same_answer(engine: TokenEngine, steps: int) -> None:
    prompt = letters(200)
    stream = engine.stream(prompt, SAMPLED, never)
    for _ in range(steps):
        next(stream)
    stream.close()  # type: ignore[attr-defined]

    again = ask(engine, prompt)

    assert again == cold(engine, prompt)
    assert engine._cache.used_bytes == 1024


def test_an_interrupted_answer_says_so_and_ends(engine: TokenEngine) -> None:
    answer = ask(engine, "Hello", SAMPLED.but(n=2, max_tokens=100), Stop(8))

    assert answer.reasons == ["stop", "stop"]
    assert answer.completion_tokens < 10


def test_a_runtime_that_breaks_leaves_nothing_behind(engine: TokenEngine, runtime: FakeRuntime) -> None:
    ask(engine, "Hello")
    runtime.fail = True
    with pytest.raises(RuntimeError, match="the runtime broke"):
        ask(engine, "Hello")
    runtime.fail = False

    again = ask(engine, "Hello")

    assert again == cold(engine, "Hello")
    assert again.cached == 0


def test_two_answers_that_are_written_at_once_do_not_mix(engine: TokenEngine) -> None:
    prompts = [letters(150), letters(150) + letters(20, 2), letters(150), letters(30, 3)]
    ask(engine, prompts[0])
    streams = [engine.stream(prompt, SAMPLED.but(max_tokens=20), never) for prompt in prompts]
    texts = [""] * len(streams)
    going = set(range(len(streams)))

    while going:
        for index in sorted(going):
            item = next(streams[index], StopIteration)
            if item is StopIteration:
                going.discard(index)
            elif isinstance(item, Piece):
                texts[index] += item.text

    assert texts == [cold(engine, prompt, SAMPLED.but(max_tokens=20)).texts[0] for prompt in prompts]


def test_a_conversation_that_outgrows_its_sequence_gets_the_answer_of_a_fresh_engine(engine: TokenEngine) -> None:
    prompt = letters(500)
    ask(engine, prompt)
    longer = prompt + letters(900, 2)

    assert ask(engine, longer) == cold(engine, longer)


def test_two_conversations_in_turns_both_keep_what_they_read(engine: TokenEngine) -> None:
    """They share a system prompt; one does not take the other's sequence."""
    system = letters(128)
    mine, yours = system + letters(200, 2), system + letters(200, 3)
    for prompt in (mine, yours):
        ask(engine, prompt)

    cached = [ask(engine, prompt + letters(40, 4)).cached for prompt in (mine, yours)]

    assert min(cached) >= 320


# ---------------------------------------------------------------- any conversation at all


@pytest.mark.parametrize("piece", [8, 64])
@pytest.mark.parametrize("kernels", ["loose", "strict"])
@pytest.mark.parametrize("seed", range(8))
def test_whatever_was_asked_before_the_answer_is_that_of_a_fresh_engine(
    seed: int, kernels: Literal["loose", "strict"], piece: int
) -> None:
    """Conversations that go on, are edited, cut short, interrupted and asked again, in a budget that is too small."""
    chance = random.Random(seed)
    engine = TokenEngine(FakeRuntime(kernels, piece), Options(), budget=chance.choice([300, 1500, 5000]))
    prompts = [letters(chance.choice([1, 2, 3, 40, 65, 129]), 0)]
    for step in range(60):
        prompt = chance.choice(prompts)
        match chance.randrange(6):
            case 0:  # another conversation, with the same beginning or none
                prompt = prompts[0][: chance.randrange(130)] + letters(chance.randrange(1, 140), step)
            case 1:  # an edit
                prompt = prompt[: chance.randrange(len(prompt))] + letters(chance.randrange(1, 90), step)
            case 2:  # a piece of it
                prompt = prompt[: chance.randrange(len(prompt)) + 1]
            case 3 | 4:  # the next turn
                prompt = prompt[-400:] + letters(chance.choice([1, 2, 3, 17, 64, 65, 130]), step)
        options = SAMPLED.but(max_tokens=chance.randrange(1, 12), seed=step, n=chance.choice([1, 1, 1, 2]))
        if chance.random() < 0.3:
            ask(engine, prompt, options, Stop(chance.randrange(8)))
        if chance.random() < 0.8:
            answer = ask(engine, prompt, options)
            assert answer == cold(engine, prompt, options), (step, len(prompt), answer.cached)
            prompts.append(prompt + answer.texts[0])
        if chance.random() < 0.5:
            read_ahead(engine, prompts[-1], chance.randrange(4))
        held = engine._cache._idle  # what alone is larger than the budget is held alone
        assert engine._cache.used_bytes <= engine._cache.budget or len(held) == 1


def test_what_another_conversation_has_read_of_the_same_beginning_is_copied_and_not_read_again() -> None:
    runtime = FakeRuntime("loose", slots=8)
    engine = TokenEngine(runtime, Options(), budget=100_000)
    system = letters(90)
    ask(engine, system + letters(200, 2))
    runtime.log.clear()
    prompt = system + letters(40, 3)

    answer = ask(engine, prompt)

    assert answer.cached == 90
    assert runtime.log[:2] == [39, 1]
    assert answer == cold(engine, prompt)
    assert ask(engine, system + letters(200, 2)).cached == 289  # the other's is as it was


def test_a_running_answers_prompt_is_copied_too_and_nothing_is_read_twice() -> None:
    runtime = FakeRuntime("loose", slots=8)
    engine = TokenEngine(runtime, Options(), budget=100_000)
    prompt = letters(150)
    first = engine.stream(prompt, SAMPLED, never)
    while not isinstance(next(first), Piece):
        pass
    runtime.log.clear()

    answer = ask(engine, prompt, SAMPLED.but(seed=6))

    assert answer.cached == 149
    assert set(runtime.log) == {1}
    assert answer == cold(engine, prompt, SAMPLED.but(seed=6))


def test_a_copy_of_a_prompt_that_is_still_read_goes_on_from_where_it_is() -> None:
    runtime = FakeRuntime("loose", slots=8)
    engine = TokenEngine(runtime, Options(), budget=100_000)
    prompt = letters(300)
    reading = engine.stream(prompt, SAMPLED, never)
    assert next(reading) is None

    answer = ask(engine, prompt)

    assert 0 < answer.cached < 299
    assert answer == cold(engine, prompt)


def test_of_conversations_with_a_long_system_prompt_none_loses_what_it_has_read_to_another() -> None:
    engine = TokenEngine(FakeRuntime("loose", slots=8), Options(), budget=100_000)
    system = letters(300)
    prompts = [system + letters(30, seed) for seed in (2, 3, 4)]
    cached = [ask(engine, prompt).cached for prompt in prompts]

    assert cached[0] == 0
    assert min(cached[1:]) >= len(system)
    for prompt in prompts:
        turn = prompt + letters(60, 5)
        assert ask(engine, turn).cached == len(prompt) - 1
        assert len(engine._cache._idle) == 3
