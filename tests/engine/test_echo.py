"""What a prompt's own tokens tell of their probabilities, read alone or with others."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from phi3core.engine import genai
from phi3core.engine.interface import Done, End, Engine, Options, Piece, Prompt, Token
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.sampling import log_probabilities
from phi3core.engine.tokens import TokenEngine
from phi3core.engine.weights import open_weights
from phi3core.errors import BadInput
from tests.support.asking import ask, never
from tests.support.fake_runtime import FakeRuntime, letters

ECHO = Options(max_tokens=0, temperature=0, logprobs=1, echo=True)
Told = list[tuple[str, list[Token], str]]


def echo(engine: Engine, prompts: list[Prompt], options: Options = ECHO) -> Told:
    """Text, tokens and how it ended, of each answer."""
    *items, done = engine.echo(prompts, options, never)
    assert isinstance(done, Done)
    assert done.prompt_tokens == sum(engine.count(prompt) or 0 for prompt in prompts)
    texts, tokens, reasons = defaultdict[int, str](str), defaultdict[int, list[Token]](list), dict[int, str]()
    for item in items:
        if isinstance(item, Piece):
            texts[item.index] += item.text
            tokens[item.index] += item.tokens
        elif isinstance(item, End):
            reasons[item.index] = item.finish_reason
    return [(texts[index], tokens[index], reasons[index]) for index in range(len(prompts) * options.n)]


def same(one: list[Token], other: list[Token]) -> bool:
    return repr(one) == repr(other)  # NaN is not equal to itself


@pytest.fixture(scope="module", params=["transformers", "onnx"])
def tiny_engine(request: pytest.FixtureRequest, tiny_once: Path, tiny_onnx: Path) -> TokenEngine:
    engine = open_weights(tiny_once if request.param == "transformers" else tiny_onnx, request.param)
    assert isinstance(engine, TokenEngine)
    return engine


def test_a_prompt_tells_each_token_but_the_first(tiny_engine: TokenEngine) -> None:
    [(text, tokens, reason)] = echo(tiny_engine, ["Hello there"])

    assert (text, reason) == ("Hello there", "length")
    assert "".join(token.text for token in tokens) == "Hello there"
    assert (math.isnan(tokens[0].logprob), tokens[0].top) == (True, ())
    assert all(token.logprob <= token.top[0][1] < 0 for token in tokens[1:])


def test_the_answer_and_its_probabilities_are_those_without_echo(tiny_engine: TokenEngine) -> None:
    options = Options(max_tokens=6, temperature=0, logprobs=2)
    without = ask(tiny_engine, "Hello there", options)

    [(text, tokens, _)] = echo(tiny_engine, ["Hello there"], options.but(echo=True))

    assert text == "Hello there" + without.text
    assert tokens[len("Hello there") :] == without.tokens[0]


def test_what_the_decoder_has_written_has_the_same_probabilities_when_it_is_read(tiny_engine: TokenEngine) -> None:
    """Unrounded weights: read in pieces or token by token differs in the last bits alone."""
    options = Options(max_tokens=20, logprobs=1, json_schema=json.dumps({"const": "Hello world"}))
    answer = ask(tiny_engine, "Say hello: ", options)

    [(_, read, _)] = echo(tiny_engine, ["Say hello: " + answer.text])

    written = [token.logprob for token in answer.tokens[0]]
    assert len(written) == len('"Hello world"')
    assert [token.logprob for token in read[-len(written) :]] == pytest.approx(written, abs=1e-5)


def test_the_transformers_models_numbers_are_those_of_its_own_forward_pass(tiny_once: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    prompt = tuple(int(number) for number in np.random.default_rng(3).integers(7, 250, 100))
    model = AutoModelForCausalLM.from_pretrained(tiny_once, dtype=torch.float32)
    with torch.inference_mode():
        logits = torch.log_softmax(model(torch.tensor([prompt])).logits[0], -1)

    [(_, tokens, _)] = echo(open_weights(tiny_once, "transformers"), [prompt])

    expected = [float(logits[at, token]) for at, token in enumerate(prompt[1:])]
    assert [token.logprob for token in tokens[1:]] == pytest.approx(expected, abs=1e-4)


def test_the_onnx_models_numbers_are_those_of_onnxruntime_genai(tiny_onnx: Path) -> None:
    prompt = np.random.default_rng(3).integers(7, 250, 100).astype(np.int32)
    whole = genai.Generator(genai.Model(tiny_onnx), 128, 288).append_all(prompt[:-1])

    [(_, tokens, _)] = echo(open_weights(tiny_onnx, "onnx"), [tuple(prompt.tolist())])

    expected = [log_probabilities(whole[at], token, 0)[0] for at, token in enumerate(prompt[1:].tolist())]
    assert [token.logprob for token in tokens[1:]] == pytest.approx(expected, abs=1e-5)


def test_prompts_that_are_read_together_tell_what_each_tells_alone(tiny_engine: TokenEngine) -> None:
    begun = tuple(range(10, 60))
    prompts: list[Prompt] = [(*begun, *range(100 + n, 110 + 3 * n)) for n in range(9)]
    prompts += [begun, begun, (7,), (7, 8), begun[:20], tuple(range(90, 95)), (*begun, 3)]
    options = ECHO.but(max_tokens=1)

    together = echo(tiny_engine, prompts, options)

    for told, prompt in zip(together, prompts, strict=True):
        text, tokens, reason = echo(tiny_engine, [prompt], options)[0]
        assert (told[0], told[2]) == (text, reason)
        found, expected = [token.logprob for token in told[1][1:]], [token.logprob for token in tokens[1:]]
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_prompts_of_any_company_are_told_to_the_last_bit_where_pieces_do_not_matter(rows: int) -> None:
    engine = TokenEngine(FakeRuntime("loose", rows=rows), Options(), budget=10**6)
    begun = [letters(40), letters(200, seed=2)]
    prompts: list[Prompt] = [begun[n % 2] + letters(3 + n, seed=n) for n in range(12)]
    prompts += [*begun, begun[0], "a", "ab", "abc", "abd", begun[0][:-1]]

    together = echo(engine, prompts, ECHO.but(max_tokens=3))

    for told, prompt in zip(together, prompts, strict=True):
        alone = echo(TokenEngine(FakeRuntime("loose"), Options(), budget=10**6), [prompt], ECHO.but(max_tokens=3))[0]
        assert (told[0], same(told[1], alone[1]), told[2]) == (alone[0], True, alone[2])


def test_kernels_that_round_by_the_piece_tell_the_same_in_any_company() -> None:
    engine = TokenEngine(FakeRuntime("strict", rows=16), Options(), budget=10**6)
    prompts: list[Prompt] = [letters(150) + letters(20, seed=n) for n in range(4)]

    together = echo(engine, prompts)

    assert all(same(told[1], echo(engine, [prompt])[0][1]) for told, prompt in zip(together, prompts, strict=True))


@pytest.mark.parametrize("rows", [1, 4])
def test_a_beginning_that_prompts_share_is_read_once(rows: int) -> None:
    runtime = FakeRuntime("loose", rows=rows)
    engine = TokenEngine(runtime, Options(), budget=10**6)
    runtime.log.clear()

    echo(engine, [letters(500) + letter + letters(20, seed=n) for n, letter in enumerate("ABCD")])

    # Of each but the first: the last of what is shared, whose logits tell the next, and its own but for the last.
    assert sum(runtime.log) == 520 + 3 * 21


def test_a_step_is_bounded_whatever_is_asked() -> None:
    runtime = FakeRuntime("loose", rows=16)

    echo(TokenEngine(runtime, Options(), budget=10**6), [letters(900, seed=n) for n in range(5)])

    assert max(runtime.steps) <= 256
    assert sum(runtime.steps) == 5 * 899


def test_without_logprobs_no_token_is_told(tiny_engine: TokenEngine) -> None:
    assert echo(tiny_engine, ["Hello"], Options(max_tokens=0, echo=True)) == [("Hello", [], "length")]


def test_several_answers_to_several_prompts_have_their_places(tiny_engine: TokenEngine) -> None:
    options = Options(max_tokens=4, temperature=1, seed=3, echo=True, n=2)

    told = echo(tiny_engine, ["Hello", "Good day"], options)

    for at, prompt in enumerate(["Hello", "Good day"]):
        alone = ask(tiny_engine, prompt, options.but(echo=False)).texts
        assert [text for text, _, _ in told[2 * at : 2 * at + 2]] == [prompt + text for text in alone]


def test_a_request_that_is_given_up_ends_within_a_step_and_holds_no_memory() -> None:
    runtime = FakeRuntime("loose", rows=4)
    engine = TokenEngine(runtime, Options(), budget=10**6)
    running = engine.echo([letters(900, seed=n) for n in range(8)], ECHO, lambda: len(runtime.steps) >= 2)

    assert [item for item in running if item is not None] == [Done(7200, 0)]
    assert len(runtime.steps) == 2
    assert engine._cache.used_bytes == 0


def test_as_many_are_read_together_as_there_is_memory_for() -> None:
    runtime = FakeRuntime("loose", rows=16)
    engine = TokenEngine(runtime, Options(), budget=4096)
    used = []
    for _ in engine.echo([letters(400, seed=n) for n in range(8)], ECHO, never):
        used.append(engine._cache.used_bytes)

    assert 0 < max(used) <= 4096


def test_a_long_prompt_of_a_model_with_two_kinds_of_factors_is_refused() -> None:
    engine = TokenEngine(FakeRuntime("loose", divide=100), Options(), budget=10**6)

    assert engine.check(letters(100), ECHO) == 100
    with pytest.raises(BadInput, match="at most 100 tokens"):
        engine.check(letters(101), ECHO)


def test_a_runtime_that_tells_the_last_token_alone_does_not_support_it() -> None:
    assert "echo" not in TokenEngine(FakeRuntime(rows=0), Options()).supports


def test_onnxruntime_genai_by_itself_tells_the_same(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = echo(open_weights(tiny_onnx, "onnx"), ["Hello there"])[0][1]
    monkeypatch.setattr(OnnxRuntime, "_decoder_of", lambda *_: None)

    engine = open_weights(tiny_onnx, "onnx")

    assert same(echo(engine, ["Hello there"])[0][1], expected)
