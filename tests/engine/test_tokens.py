"""Generating on a runtime, and that a kept sequence never changes an answer.

The runtime here is a fake whose logits depend on exactly how the tokens were read, as those of the real ones do:
whoever reads a prompt in other pieces gets another answer.
"""

from __future__ import annotations

import itertools
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest

from phi3core.engine.interface import Done, End, Messages, Options, Piece, Token
from phi3core.engine.kv_cache import Tokens
from phi3core.engine.prefill import grain_of, piece_for, pieces
from phi3core.engine.tokens import Cut, TokenEngine
from phi3core.errors import BadInput, ContextFull

EOS = 95


class FakeSequence:
    """Remembers each token with the mark that its reading left: alone, or where in a piece of what length.

    `loose` kernels read every piece of two or more tokens the same; `strict` ones round by the piece.
    """

    def __init__(self, runtime: FakeRuntime, capacity: int) -> None:
        self._runtime, self._capacity = runtime, capacity
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


@dataclass
class FakeRuntime:
    """Every printable letter is a token; DEL ends an answer."""

    kernels: Literal["loose", "strict"] = "strict"
    piece: int = 64
    context_length: int = 2000
    vocabulary: int = 96
    eos: frozenset[int] = frozenset({EOS})
    token_bytes: int = 1
    eos_logit: float = -100.0
    fail: bool = False
    pace: float = 0.0  # seconds a token
    log: list[int] = field(default_factory=list)

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

    def sequence(self, capacity: int) -> FakeSequence:
        return FakeSequence(self, capacity)

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


@pytest.fixture(params=["loose", "strict"])
def runtime(request: pytest.FixtureRequest) -> FakeRuntime:
    return FakeRuntime(request.param)


@pytest.fixture
def engine(runtime: FakeRuntime) -> TokenEngine:
    return TokenEngine(runtime, Options(), budget=100_000)


# ---------------------------------------------------------------- reading a prompt


@pytest.mark.parametrize("loose", [True, False])
@pytest.mark.parametrize("size", [8, 16, 64])
def test_pieces_follow_each_other_and_none_is_a_single_token(size: int, loose: bool) -> None:
    grain = 1 if loose else size
    for start in range(200):
        for end in range(start + 2, 200):
            cuts = list(pieces(start, end, size, grain))
            assert (cuts[0][0], cuts[-1][1]) == (start, end)
            assert all(before[1] == after[0] for before, after in pairwise(cuts))
            assert all(2 <= last - first <= size + 2 for first, last in cuts), (start, end, cuts)


def test_pieces_are_cut_at_fixed_places_wherever_reading_begins_if_it_matters() -> None:
    assert list(pieces(0, 200, 64, 64)) == [(0, 64), (64, 128), (128, 192), (192, 200)]
    assert list(pieces(128, 200, 64, 64)) == [(128, 192), (192, 200)]
    assert list(pieces(100, 200, 64, 64)) == [(100, 128), (128, 192), (192, 200)]


def test_where_it_does_not_matter_a_short_question_is_one_piece() -> None:
    assert list(pieces(100, 160, 64, 1)) == [(100, 160)]
    assert list(pieces(100, 200, 64, 1)) == [(100, 164), (164, 200)]


def test_nothing_to_read_is_no_piece() -> None:
    assert list(pieces(5, 5, 64, 64)) == []


@pytest.mark.parametrize(
    ("length", "read"),
    [
        (1, [1]),
        (2, [1, 1]),
        (3, [2, 1]),
        (64, [63, 1]),
        (65, [64, 1]),
        (66, [65, 1]),
        (129, [64, 64, 1]),
        (130, [64, 65, 1]),
        (131, [64, 64, 2, 1]),
    ],
)
def test_a_prompt_is_read_in_pieces_and_its_last_token_alone(length: int, read: list[int]) -> None:
    runtime = FakeRuntime()
    engine = TokenEngine(runtime, Options())
    runtime.log.clear()

    assert ask(engine, letters(length), SAMPLED.but(max_tokens=1)).prompt_tokens == length

    assert runtime.log == read


def test_between_the_pieces_of_a_prompt_others_get_their_turn(engine: TokenEngine) -> None:
    items = list(engine.stream(letters(300), SAMPLED, never))

    assert items[:6] == [None] * 6  # its memory, and five pieces
    assert isinstance(items[6], Piece)


@pytest.mark.parametrize(("kernels", "read"), [("loose", [8, 8, 8, 8, 7, 1]), ("strict", [39, 1])])
def test_a_slow_machine_reads_in_smaller_pieces_unless_the_answer_depends_on_them(
    kernels: Literal["loose", "strict"], read: list[int]
) -> None:
    runtime = FakeRuntime(kernels)
    engine = TokenEngine(runtime, Options())
    runtime.pace = 0.02
    ask(engine, letters(20), SAMPLED.but(max_tokens=1))
    runtime.log.clear()

    answer = ask(engine, letters(40, seed=2), SAMPLED.but(max_tokens=1))

    assert runtime.log == read
    runtime.pace = 0.0
    assert answer == cold(engine, letters(40, seed=2), SAMPLED.but(max_tokens=1))


def test_kernels_that_round_by_the_piece_are_found_out() -> None:
    assert grain_of(FakeRuntime("loose")) == 1
    assert grain_of(FakeRuntime("strict")) == 64
    assert grain_of(FakeRuntime("strict", piece=16)) == 16


@pytest.mark.parametrize(("size", "piece"), [(0, 64), (90_000_000, 64), (2_700_000_000, 16), (10**11, 8)])
def test_the_larger_the_weights_the_smaller_the_pieces(size: int, piece: int) -> None:
    assert piece_for(size) == piece


# ---------------------------------------------------------------- answers


def test_an_answer_ends_at_its_limit(engine: TokenEngine) -> None:
    answer = ask(engine, "Hello", SAMPLED.but(max_tokens=7))

    assert (len(answer.texts[0]), answer.reasons) == (7, ["length"])
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached) == (5, 7, 0)


def test_an_answer_ends_when_the_model_says_so(engine: TokenEngine, runtime: FakeRuntime) -> None:
    runtime.eos_logit = 100

    answer = ask(engine, "Hello")

    assert (answer.texts, answer.reasons, answer.completion_tokens) == ([""], ["stop"], 1)


def test_an_answer_ends_where_the_context_does(runtime: FakeRuntime) -> None:
    runtime.context_length = 100
    engine = TokenEngine(runtime, Options())

    answer = ask(engine, letters(96), SAMPLED.but(max_tokens=50))

    assert (len(answer.texts[0]), answer.reasons) == (4, ["length"])


@pytest.mark.parametrize("length", [100, 101, 500])
def test_a_prompt_that_fills_the_context_is_refused(runtime: FakeRuntime, length: int) -> None:
    runtime.context_length = 100
    engine = TokenEngine(runtime, Options())

    with pytest.raises(ContextFull, match=f"has {length} tokens and the model's context holds 100"):
        engine.check(letters(length), SAMPLED)
    with pytest.raises(ContextFull):
        ask(engine, letters(length))
    assert engine.count(letters(length)) == length


def test_an_empty_prompt_is_refused(engine: TokenEngine) -> None:
    with pytest.raises(BadInput, match="The prompt is empty"):
        engine.check("", SAMPLED)


def test_messages_are_no_prompt(engine: TokenEngine) -> None:
    with pytest.raises(BadInput, match="takes a rendered prompt"):
        engine.check([{"role": "user", "content": "Hello"}], SAMPLED)


def test_the_memory_that_an_answer_needs_is_told(runtime: FakeRuntime) -> None:
    runtime.context_length = 100
    engine = TokenEngine(runtime, Options())

    assert engine.check(letters(60), SAMPLED.but(max_tokens=10)) == 70
    assert engine.check(letters(60), SAMPLED.but(max_tokens=500)) == 100


def test_without_a_seed_every_answer_is_another(engine: TokenEngine) -> None:
    options = Options(max_tokens=12, temperature=1, top_p=1, top_k=96)

    assert len({ask(engine, "Hello", options).texts[0] for _ in range(5)}) == 5


def test_a_stop_sequence_ends_the_answer_before_it(engine: TokenEngine) -> None:
    whole = ask(engine, "Hello").texts[0]

    answer = ask(engine, "Hello", SAMPLED.but(stop=(whole[5:8], "never seen")))

    assert (answer.texts, answer.reasons) == ([whole[:5]], ["stop"])
    assert answer.completion_tokens == 8


def test_what_looked_like_a_stop_sequence_is_told_at_the_end(engine: TokenEngine) -> None:
    whole = ask(engine, "Hello").texts[0]

    answer = ask(engine, "Hello", SAMPLED.but(stop=(whole[-2:] + "§",)))

    assert (answer.texts, answer.reasons) == ([whole], ["length"])


# ---------------------------------------------------------------- several answers


def test_several_answers_are_those_of_the_following_seeds(engine: TokenEngine) -> None:
    answer = ask(engine, letters(80), SAMPLED.but(n=3))

    alone = [cold(engine, letters(80), SAMPLED.but(seed=5 + index)).texts[0] for index in range(3)]
    assert answer.texts == alone
    assert answer.completion_tokens == 3 * 12


def test_several_greedy_answers_are_the_same(engine: TokenEngine) -> None:
    texts = ask(engine, "Hello", SAMPLED.but(n=4, temperature=0)).texts

    assert len(set(texts)) == 1


def test_the_prompt_of_several_answers_is_read_once(engine: TokenEngine, runtime: FakeRuntime) -> None:
    runtime.log.clear()

    ask(engine, letters(129), SAMPLED.but(n=2, max_tokens=3))

    assert runtime.log == [64, 64, 1, 1, 1, 1, 1, 1]


def test_each_of_several_answers_stops_for_itself(engine: TokenEngine) -> None:
    first, second = ask(engine, "Hello", SAMPLED.but(n=2)).texts
    stop = first[3:6]
    assert stop not in second

    answer = ask(engine, "Hello", SAMPLED.but(n=2, stop=(stop,)))

    assert answer.texts == [first[:3], second]
    assert answer.reasons == ["stop", "length"]


def test_penalties_of_one_answer_do_not_reach_into_the_next(engine: TokenEngine) -> None:
    options = SAMPLED.but(frequency_penalty=2, presence_penalty=2, repetition_penalty=1.5)

    texts = ask(engine, "Hello", options.but(n=2)).texts

    assert texts == [ask(engine, "Hello", options.but(seed=seed)).texts[0] for seed in (5, 6)]


# ---------------------------------------------------------------- probabilities


def test_each_token_comes_with_its_probability_and_alternatives(engine: TokenEngine) -> None:
    answer = ask(engine, "Hello", SAMPLED.but(logprobs=3, temperature=0))

    (tokens,) = answer.tokens
    assert "".join(token.text for token in tokens) == answer.texts[0]
    for token in tokens:
        assert len(token.top) == 3
        assert token.top[0] == (token.text, token.logprob)
        assert token.top[0][1] > token.top[1][1] > token.top[2][1]


def test_probabilities_are_the_models_own_whatever_the_options(engine: TokenEngine) -> None:
    cool = ask(engine, "Hello", SAMPLED.but(logprobs=5, temperature=0.2))
    penalised = ask(engine, "Hello", SAMPLED.but(logprobs=5, repetition_penalty=2, frequency_penalty=2, top_k=3))

    assert cool.tokens[0][0].top == penalised.tokens[0][0].top


def test_asking_for_probabilities_does_not_change_the_answer(engine: TokenEngine) -> None:
    options = SAMPLED.but(repetition_penalty=1.3)

    assert ask(engine, "Hello", options.but(logprobs=2)).texts == ask(engine, "Hello", options).texts


def test_without_alternatives_the_tokens_are_told_all_the_same(engine: TokenEngine) -> None:
    (tokens,) = ask(engine, "Hello", SAMPLED.but(logprobs=0)).tokens

    assert len(tokens) == 12
    assert {token.top for token in tokens} == {()}


def test_no_token_is_lost_while_text_is_held_back(engine: TokenEngine) -> None:
    whole = ask(engine, "Hello").texts[0]
    options = SAMPLED.but(logprobs=0, stop=(whole[3:6] + "§", whole[-3:] + "§"))

    answer = ask(engine, "Hello", options)

    assert "".join(token.text for token in answer.tokens[0]) == answer.texts[0] == whole


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
    assert engine._kept.bytes == 1024


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


# ---------------------------------------------------------------- reading ahead


def ahead(engine: TokenEngine, prompt: str, steps: int = 1000) -> None:
    """Let the engine read so many pieces of what the next turn begins with."""
    reading = engine.read_ahead(prompt, SAMPLED)
    for _ in itertools.islice(reading, steps):
        pass
    reading.close()


def test_what_was_read_ahead_needs_no_reading_when_the_next_turn_brings_it() -> None:
    engine = TokenEngine(FakeRuntime("loose"), Options(), budget=100_000)
    prompt = letters(300)
    told = prompt + ask(engine, prompt).texts[0] + letters(30, 2)
    ahead(engine, told)

    turn = told + letters(20, 3)
    answer = ask(engine, turn)

    assert answer.cached == len(told)
    assert answer == cold(engine, turn)


def test_a_conversation_outgrows_its_sequence_while_nobody_waits() -> None:
    engine = TokenEngine(FakeRuntime("loose", context_length=4096), Options(), budget=100_000)
    ask(engine, letters(300))
    (kept,) = engine._kept._idle
    told = letters(300) + letters(kept.capacity - 300 - SAMPLED.max_tokens - 10, 2)
    ahead(engine, told)

    assert ask(engine, told + letters(20, 3)).cached == len(told)


def test_after_reading_ahead_the_same_question_is_still_answered_at_once() -> None:
    engine = TokenEngine(FakeRuntime("loose"), Options(), budget=100_000)
    prompt = letters(100)
    first = ask(engine, prompt)
    ahead(engine, prompt + letters(400, 2))  # an answer much longer than its question

    again = ask(engine, prompt)

    assert again.cached == len(prompt) - 1
    assert again == first


def test_reading_ahead_that_is_broken_off_keeps_what_was_read() -> None:
    engine = TokenEngine(FakeRuntime("loose"), Options(), budget=100_000)
    prompt, told = letters(300), letters(300) + letters(400, 2)
    ask(engine, prompt)
    ahead(engine, told, steps=2)

    answer = ask(engine, told)

    assert 364 <= answer.cached < len(told) - 1
    assert answer == cold(engine, told)


def test_where_kernels_round_by_the_piece_nothing_is_read_ahead() -> None:
    """The prompt that was answered would lose its own reading, and the same question again would be read anew."""
    runtime = FakeRuntime("strict")
    engine = TokenEngine(runtime, Options(), budget=100_000)
    ask(engine, letters(300))
    before = list(runtime.log)
    ahead(engine, letters(300) + letters(400, 2))

    assert runtime.log == before


def test_a_runtime_that_breaks_while_it_reads_ahead_leaves_nothing_behind() -> None:
    engine = TokenEngine(FakeRuntime("loose", context_length=400), Options(), budget=100_000)
    prompt = letters(300)
    ask(engine, prompt)

    class Broken(FakeSequence):
        def append(self, tokens: Tokens) -> None:
            raise RuntimeError("the runtime broke")

    (kept,) = engine._kept._idle
    kept.sequence.__class__ = Broken  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="the runtime broke"):
        ahead(engine, prompt + letters(40, 2))

    assert engine._kept.bytes == 0
    assert ask(engine, prompt) == cold(engine, prompt)


def test_what_would_fill_the_context_is_not_read_ahead() -> None:
    runtime = FakeRuntime("loose", context_length=300)
    engine = TokenEngine(runtime, Options(), budget=100_000)
    before = list(runtime.log)
    ahead(engine, letters(300))

    assert runtime.log == before


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
            ahead(engine, prompts[-1], chance.randrange(4))
        held = engine._kept._idle  # what alone is larger than the budget is held alone
        assert engine._kept.bytes <= engine._kept.budget or len(held) == 1


# ---------------------------------------------------------------- stop sequences


def passed(parts: list[str], *stops: str) -> tuple[list[str], bool]:
    """What comes through of these parts, and whether a stop sequence ended it."""
    cut, out = Cut(stops), []
    for part in parts:
        out.append(cut.push(part))
        if cut.found:
            return out, True
    return [*out, cut.rest()], False


def test_text_without_a_stop_sequence_passes_piece_by_piece() -> None:
    assert passed(["a", "b", "c"]) == (["a", "b", "c", ""], False)


def test_a_stop_sequence_is_cut_off_with_all_that_follows() -> None:
    assert passed(["one two ", "STOP three"], "STOP") == (["one two ", ""], True)


def test_a_stop_sequence_over_several_pieces_is_found() -> None:
    assert passed(["one S", "TO", "P two"], "STOP") == (["one ", "", ""], True)


def test_what_only_looked_like_a_stop_sequence_comes_out_at_the_end() -> None:
    assert passed(["one S", "TO"], "STOP") == (["one ", "", "STO"], False)


def test_what_only_looked_like_a_stop_sequence_comes_out_as_soon_as_it_is_none() -> None:
    assert passed(["one S", "TO", "RM"], "STOP") == (["one ", "", "STORM", ""], False)


def test_the_earliest_of_several_stop_sequences_counts() -> None:
    assert passed(["one two three"], "three", "two") == (["one "], True)


def test_only_what_may_become_a_stop_sequence_is_held_back() -> None:
    assert passed(["a long line of text\n", "\n", "more"], "\n\n\n") == (
        ["a long line of text", "", "\n\nmore", ""],
        False,
    )


def test_a_stop_sequence_that_begins_inside_another_beginning_is_found() -> None:
    assert passed(["aa", "ab"], "aab") == (["", "a"], True)


def test_a_longer_stop_sequence_does_not_hold_back_a_shorter_one() -> None:
    assert passed(["x", "ab", "c"], "abcdef", "b") == (["x", "a"], True)


@pytest.mark.parametrize("seed", range(30))
def test_however_text_comes_in_pieces_the_same_comes_out(seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choices("ab", k=40))
    stops = tuple({"".join(chance.choices("ab", k=chance.randrange(3, 9))) for _ in range(3)})
    at = min((text.index(stop) for stop in stops if stop in text), default=None)
    parts, rest = [], text
    while rest:
        length = chance.randrange(1, 5)
        parts.append(rest[:length])
        rest = rest[length:]

    out, found = passed(parts, *stops)

    assert found == (at is not None)
    if len(set(map(len, parts))) == 1 or not found:
        assert "".join(out) == text[:at]
    else:  # a stop sequence that is complete first may begin later than one that is complete later
        assert text.startswith("".join(out))


def test_a_model_without_an_end_token_follows_no_schema() -> None:
    assert "json_schema" in TokenEngine(FakeRuntime(), Options(), budget=100_000).supports
    assert "json_schema" not in TokenEngine(FakeRuntime(eos=frozenset()), Options(), budget=100_000).supports
