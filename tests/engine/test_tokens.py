"""What a token engine answers: one answer, several, with the probabilities of their tokens."""

from __future__ import annotations

import pytest

from phi3core.engine.interface import Options, Piece
from phi3core.engine.tokens import TokenEngine
from phi3core.errors import BadInput, ContextFull
from tests.support.fake_runtime import SAMPLED, FakeRuntime, ask, cold, letters, never

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


def test_a_text_that_is_far_too_long_is_refused_by_its_beginning(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.context_length = 100
    engine, read, encode = TokenEngine(runtime, Options()), [], runtime.encode
    monkeypatch.setattr(runtime, "encode", lambda text: read.append(len(text)) or encode(text))

    with pytest.raises(ContextFull, match="has more than 1,600 tokens and the model's context holds 100"):
        engine.check(letters(1_000_000), SAMPLED)
    assert read == [1600]


def test_a_long_text_of_few_tokens_is_none_that_is_too_long(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.context_length = 100
    engine, encode = TokenEngine(runtime, Options()), runtime.encode
    monkeypatch.setattr(engine, "_encode", lambda text: encode(text[:1]))
    monkeypatch.setattr(runtime, "encode", lambda text: encode(text[:1]))

    assert engine.check(" " * 2000, SAMPLED.but(max_tokens=3)) == 4


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


def test_a_prompt_of_token_ids_is_read_as_its_text_is(engine: TokenEngine) -> None:
    text = letters(40)
    ids = tuple(ord(letter) - 32 for letter in text)

    answer = ask(engine, text)

    assert engine.count(ids) == 40
    assert "".join(p.text for p in engine.stream(ids, SAMPLED, never) if isinstance(p, Piece)) == answer.texts[0]


@pytest.mark.parametrize(("ids", "told"), [((5, 96), "no token 96"), ((-1,), "no token -1"), ((), "prompt is empty")])
def test_numbers_that_are_no_tokens_are_refused(engine: TokenEngine, ids: tuple[int, ...], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        engine.check(ids, SAMPLED)


def test_a_seed_of_minus_one_is_drawn_anew(engine: TokenEngine) -> None:
    drawn = {ask(engine, "Hello", SAMPLED.but(seed=-1)).texts[0] for _ in range(3)}

    assert len(drawn) > 1
