"""Both runtimes on a tiny random model: what an engine promises holds for each."""

from __future__ import annotations

import json
import random
import shutil
import threading
from pathlib import Path

import pytest

from phi3core.engine.interface import Engine, Options
from phi3core.engine.tokens import TokenEngine
from phi3core.engine.weights import open_weights
from phi3core.errors import BadInput, SourceError
from tests.support import tiny
from tests.support.asking import (
    GREEDY,
    HELLO,
    ask,
    fresh,
    never,
    rendered,
)


@pytest.fixture(scope="module", params=["transformers", "onnx"])
def tiny_engine(request: pytest.FixtureRequest, tiny_once: Path, tiny_onnx: Path) -> Engine:
    return open_weights(tiny_once if request.param == "transformers" else tiny_onnx, request.param)


def test_a_prompt_is_rendered_with_the_models_own_template(tiny_engine: Engine) -> None:
    assert tiny_engine.prepare(HELLO) == "<|user|>\nHello<|end|>\n<|assistant|>\n"


def test_a_system_message_is_rendered_too(tiny_engine: Engine) -> None:
    prompt = rendered(tiny_engine, [{"role": "system", "content": "Be brief."}, *HELLO])

    assert prompt.startswith("<|system|>\nBe brief.")


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": " \n"}]])
def test_nothing_to_answer_is_refused(tiny_engine: Engine, messages: list[dict[str, str]]) -> None:
    with pytest.raises(BadInput, match="is empty"):
        tiny_engine.prepare(messages)


def test_max_tokens_is_respected(tiny_engine: Engine) -> None:
    answer = ask(tiny_engine, "Hello", GREEDY.but(max_tokens=5))

    assert (answer.reasons, answer.prompt_tokens, answer.completion_tokens) == (["length"], 5, 5)


def test_an_answer_ends_where_the_context_does(tiny_engine: Engine) -> None:
    assert tiny_engine.context_length == 128

    answer = ask(tiny_engine, "x" * 120, GREEDY.but(max_tokens=500))

    assert (answer.prompt_tokens, answer.reasons) == (120, ["length"])
    assert answer.completion_tokens <= 8


@pytest.mark.parametrize("length", [128, 129, 500])
def test_a_prompt_that_fills_the_context_is_refused(tiny_engine: Engine, length: int) -> None:
    with pytest.raises(BadInput, match="the model's context holds 128"):
        ask(tiny_engine, "x" * length, GREEDY)
    with pytest.raises(BadInput, match="the model's context holds 128"):
        tiny_engine.check("x" * length, GREEDY)


def test_an_empty_prompt_is_refused(tiny_engine: Engine) -> None:
    with pytest.raises(BadInput, match="The prompt is empty"):
        ask(tiny_engine, "", GREEDY)
    with pytest.raises(BadInput, match="The prompt is empty"):
        tiny_engine.check("", GREEDY)


def test_a_counted_prompt_is_as_long_as_the_answer_says(tiny_engine: Engine) -> None:
    prompt = rendered(tiny_engine, HELLO)

    assert tiny_engine.count(prompt) == ask(tiny_engine, prompt, GREEDY).prompt_tokens


def test_a_prompt_that_is_too_long_is_counted_all_the_same(tiny_engine: Engine) -> None:
    assert tiny_engine.count("x" * 5000) == 5000


def test_a_check_tells_the_memory_that_the_answer_takes(tiny_engine: Engine) -> None:
    assert tiny_engine.check("x" * 50, GREEDY) == 66
    assert tiny_engine.check("x" * 120, GREEDY) == 128


def test_a_greedy_answer_is_always_the_same(tiny_engine: Engine) -> None:
    assert ask(tiny_engine, "Hello", GREEDY) == ask(tiny_engine, "Hello", GREEDY)


def test_a_seed_gives_the_same_answer_again_and_another_seed_another(tiny_engine: Engine) -> None:
    hot = Options(max_tokens=40, temperature=2, top_p=1, top_k=200)

    texts = [ask(tiny_engine, "Hello", hot.but(seed=seed)).text for seed in (1, 1, 2)]

    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_an_answer_stops_when_nobody_wants_more(tiny_engine: Engine) -> None:
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 6

    answer = ask(tiny_engine, "Hello", Options(max_tokens=100, temperature=0), stopped)

    assert answer.reasons == ["stop"]
    assert answer.completion_tokens <= 8


def test_an_answer_that_is_closed_early_frees_the_engine_for_the_next(tiny_engine: Engine) -> None:
    stream = tiny_engine.stream("Hello", Options(max_tokens=100, temperature=2, seed=1, top_k=200), never)
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]

    assert ask(tiny_engine, "Hello", GREEDY).prompt_tokens == 5


@pytest.mark.parametrize("length", [1, 2, 3, 64, 65, 66, 100])
def test_kept_or_not_the_tiny_models_answer_is_the_same_to_the_last_bit(tiny_engine: Engine, length: int) -> None:
    """Asked before: the same, its beginning, and another with the same beginning."""
    options = Options(max_tokens=8, temperature=1, seed=3, logprobs=5)
    text = "".join(random.Random(1).choices("abcdefgh", k=120))
    prompt = text[:length]
    cold = ask(fresh(tiny_engine), prompt, options)

    for before in (prompt, text[: length // 2 + 1], text[: length - 1] + "xyz", text[:115]):
        warm = fresh(tiny_engine)
        ask(warm, before, options)
        assert ask(warm, prompt, options) == cold, before


def test_several_answers_are_those_of_the_following_seeds(tiny_engine: Engine) -> None:
    options = Options(max_tokens=8, temperature=1, seed=3)

    texts = ask(tiny_engine, "Hello", options.but(n=3)).texts

    assert texts == [ask(tiny_engine, "Hello", options.but(seed=seed)).text for seed in (3, 4, 5)]


def test_a_token_of_half_a_letter_comes_with_the_rest_of_it(tiny_engine: Engine) -> None:
    """Every byte is a token here: what is told is whole letters."""
    schema = json.dumps({"const": "¡Qué 東京 😀!"}, ensure_ascii=False)

    answer = ask(tiny_engine, "Hello", Options(max_tokens=60, json_schema=schema))

    assert json.loads(answer.text) == "¡Qué 東京 😀!"


def test_a_special_token_is_told_under_its_name(tiny_engine: Engine) -> None:
    assert isinstance(tiny_engine, TokenEngine)

    assert [tiny_engine._runtime.text_of(token) for token in (2, 4, 6)] == ["<|endoftext|>", "<|user|>", "<|end|>"]


@pytest.mark.parametrize("kind", ["transformers", "onnx"])
def test_the_tokens_of_an_answer_keep_their_spaces_with_phi3s_kind_of_tokenizer(
    kind: str, tiny_once: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_once if kind == "transformers" else tiny_onnx, tmp_path / "llama")
    engine = open_weights(tiny.give_llama_tokenizer(folder), kind)
    options = Options(max_tokens=60, temperature=0, logprobs=3, json_schema=json.dumps({"const": "a Hello world"}))

    answer = ask(engine, "Hello", options)

    assert answer.text.strip() == '"a Hello world"'
    assert "".join(token.text for token in answer.tokens[0]) == answer.text
    assert isinstance(engine, TokenEngine)
    assert [engine._runtime.text_of(token) for token in (2, 260, 261, 262)] == ["<|end|>", " Hello", " world", "ing"]


def test_tokens_can_be_counted_from_other_threads_while_an_answer_is_written(tiny_engine: Engine) -> None:
    over, failed = threading.Event(), []

    def count() -> None:
        while not over.is_set():
            try:
                assert tiny_engine.count("x" * 90) == 90
                tiny_engine.check("x" * 90, GREEDY)
                tiny_engine.prepare(HELLO)
            except Exception as error:
                failed.append(error)
                return

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    texts = {ask(tiny_engine, "Hello", GREEDY.but(max_tokens=60)).text for _ in range(5)}
    over.set()
    for thread in threads:
        thread.join(20)

    assert failed == []
    assert len(texts) == 1


def test_a_version_that_our_wrappers_made_answers_no_invocations(tiny_engine: Engine) -> None:
    with pytest.raises(BadInput, match="answers chat and completions"):
        tiny_engine.predict({"inputs": {"prompt": "Hello"}})


@pytest.mark.parametrize("kind", ["transformers", "onnx"])
def test_weights_that_cant_be_loaded_are_told_in_a_sentence(
    kind: str, tiny_once: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_once if kind == "transformers" else tiny_onnx, tmp_path / "damaged")
    weights = folder / ("model.safetensors" if kind == "transformers" else "model.onnx.data")
    weights.write_bytes(weights.read_bytes()[:-1000])

    with pytest.raises(SourceError, match="The model can't be loaded. .* is damaged: it should have") as caught:
        open_weights(folder, kind)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["transformers", "onnx"])
def test_a_folder_without_weights_is_told_in_a_sentence(kind: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="The model can't be loaded"):
        open_weights(tmp_path, kind)


def test_a_model_without_a_chat_template_takes_one_text_as_it_is(tiny: Path) -> None:
    (tiny / "chat_template.jinja").unlink()
    engine = open_weights(tiny, "transformers")

    assert engine.chat == "prompt"
    assert engine.prepare(HELLO) == "Hello"
    with pytest.raises(BadInput, match="takes one text and no conversation"):
        engine.prepare([*HELLO, *HELLO])


def test_messages_that_the_template_refuses_are_told(tiny: Path) -> None:
    (tiny / "chat_template.jinja").write_text("{{ raise_exception('System role not supported') }}")

    with pytest.raises(BadInput, match="does not accept these messages: System role not supported"):
        open_weights(tiny, "transformers").prepare(HELLO)
