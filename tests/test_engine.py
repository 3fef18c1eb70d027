from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3core import registry
from phi3core.engine import Done, Engine, Options, open_artifact, open_weights, until_stop
from phi3core.errors import BadInput, SourceError

from .conftest import MODEL, Built

HELLO = [{"role": "user", "content": "Hello"}]
GREEDY = Options(max_tokens=16, temperature=0)


def never() -> bool:
    return False


def answer(loaded: Engine, prompt: str, options: Options) -> tuple[str, Done]:
    *pieces, done = loaded.stream(prompt, options, never)
    assert isinstance(done, Done)
    return "".join(str(piece) for piece in pieces), done


# ---------------------------------------------------------------- options


def test_an_option_that_is_none_keeps_its_default() -> None:
    assert Options(max_tokens=7).but(max_tokens=None, top_p=0.5) == Options(max_tokens=7, top_p=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_k", 0),
        ("repetition_penalty", 0),
        ("repetition_penalty", 2.5),
        ("stop", ("",)),
        ("stop", ("a", "b", "c", "d", "e")),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"^{name} must be "):
        Options().but(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("temperature", 0), ("temperature", 2), ("top_p", 1), ("stop", ())])
def test_an_option_at_its_limit_is_accepted(name: str, value: object) -> None:
    assert getattr(Options().but(**{name: value}), name) == value


# ---------------------------------------------------------------- stop sequences


def passed(pieces: list[str], *stops: str) -> tuple[list[str], bool]:
    """What until_stop lets through, and whether a stop sequence ended it."""
    out: list[str] = []

    def drain() -> Iterator[str]:
        nonlocal ended
        ended = yield from until_stop(iter(pieces), stops)

    ended = False
    out.extend(drain())
    return out, ended


def test_text_without_a_stop_sequence_passes_piece_by_piece() -> None:
    assert passed(["a", "b", "c"]) == (["a", "b", "c"], False)


def test_a_stop_sequence_is_cut_off_with_all_that_follows() -> None:
    out, ended = passed(["one two ", "STOP three"], "STOP")

    assert ("".join(out), ended) == ("one two ", True)


def test_a_stop_sequence_over_several_pieces_is_found() -> None:
    out, ended = passed(["one S", "TO", "P two"], "STOP")

    assert ("".join(out), ended) == ("one ", True)


def test_what_only_looked_like_a_stop_sequence_comes_out_at_the_end() -> None:
    out, ended = passed(["one S", "TO"], "STOP")

    assert ("".join(out), ended) == ("one STO", False)


def test_the_earliest_of_several_stop_sequences_counts() -> None:
    out, ended = passed(["one two three"], "three", "two")

    assert ("".join(out), ended) == ("one ", True)


# ---------------------------------------------------------------- both engines, on a tiny random model


@pytest.fixture(scope="module", params=["transformers", "onnx"])
def tiny_engine(request: pytest.FixtureRequest, tiny_once: Path, tiny_onnx: Path) -> Engine:
    return open_weights(tiny_once if request.param == "transformers" else tiny_onnx, request.param)


def test_a_prompt_is_rendered_with_the_models_own_template(tiny_engine: Engine) -> None:
    assert tiny_engine.render(HELLO) == "<|user|>\nHello<|end|>\n<|assistant|>\n"


def test_a_system_message_is_rendered_too(tiny_engine: Engine) -> None:
    assert tiny_engine.render([{"role": "system", "content": "Be brief."}, *HELLO]).startswith("<|system|>\nBe brief.")


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": " \n"}]])
def test_nothing_to_answer_is_refused(tiny_engine: Engine, messages: list[dict[str, str]]) -> None:
    with pytest.raises(BadInput, match="is empty"):
        tiny_engine.render(messages)


def test_max_tokens_is_respected(tiny_engine: Engine) -> None:
    _, done = answer(tiny_engine, "Hello", GREEDY.but(max_tokens=5))

    assert done == Done("length", 5, 5)


def test_an_answer_ends_where_the_context_does(tiny_engine: Engine) -> None:
    assert tiny_engine.context_length == 128

    _, done = answer(tiny_engine, "x" * 120, GREEDY.but(max_tokens=500))

    assert (done.prompt_tokens, done.finish_reason) == (120, "length")
    assert done.completion_tokens <= 8


@pytest.mark.parametrize("length", [128, 129, 500])
def test_a_prompt_that_fills_the_context_is_refused(tiny_engine: Engine, length: int) -> None:
    with pytest.raises(BadInput, match="the model's context holds 128"):
        answer(tiny_engine, "x" * length, GREEDY)
    with pytest.raises(BadInput, match="the model's context holds 128"):
        tiny_engine.check("x" * length)


def test_an_empty_prompt_is_refused(tiny_engine: Engine) -> None:
    with pytest.raises(BadInput, match="The prompt is empty"):
        answer(tiny_engine, "", GREEDY)
    with pytest.raises(BadInput, match="The prompt is empty"):
        tiny_engine.check("")


def test_a_checked_prompt_is_as_long_as_the_answer_says(tiny_engine: Engine) -> None:
    prompt = tiny_engine.render(HELLO)

    assert tiny_engine.check(prompt) == answer(tiny_engine, prompt, GREEDY)[1].prompt_tokens


def test_a_greedy_answer_is_always_the_same(tiny_engine: Engine) -> None:
    assert answer(tiny_engine, "Hello", GREEDY) == answer(tiny_engine, "Hello", GREEDY)


def test_a_seed_gives_the_same_answer_again_and_another_seed_another(tiny_engine: Engine) -> None:
    hot = Options(max_tokens=40, temperature=2, top_p=1, top_k=200)

    texts = [answer(tiny_engine, "Hello", hot.but(seed=seed))[0] for seed in (1, 1, 2)]

    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_an_answer_stops_when_nobody_wants_more(tiny_engine: Engine) -> None:
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 6

    *_, done = tiny_engine.stream("Hello", Options(max_tokens=100, temperature=0), stopped)

    assert isinstance(done, Done)
    assert done.finish_reason == "stop"
    assert done.completion_tokens <= 8


def test_an_answer_that_is_closed_early_frees_the_engine_for_the_next(tiny_engine: Engine) -> None:
    stream = tiny_engine.stream("Hello", Options(max_tokens=100, temperature=2, seed=1, top_k=200), never)
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]

    assert answer(tiny_engine, "Hello", GREEDY)[1].prompt_tokens == 5


@pytest.mark.parametrize("kind", ["transformers", "onnx"])
def test_weights_that_cant_be_loaded_are_told_in_a_sentence(
    kind: str, tiny_once: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_once if kind == "transformers" else tiny_onnx, tmp_path / "damaged")
    weights = folder / ("model.safetensors" if kind == "transformers" else "model.onnx.data")
    weights.write_bytes(weights.read_bytes()[:-1000])

    with pytest.raises(SourceError, match="The model can't be loaded: .* damaged or incomplete") as caught:
        open_weights(folder, kind)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["transformers", "onnx"])
def test_a_folder_without_weights_is_told_in_a_sentence(kind: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="The model can't be loaded"):
        open_weights(tmp_path, kind)


def test_a_model_without_a_chat_template_asks_for_a_prompt_instead(tiny: Path) -> None:
    (tiny / "chat_template.jinja").unlink()

    with pytest.raises(BadInput, match="no chat template"):
        open_weights(tiny, "transformers").render(HELLO)


def test_messages_that_the_template_refuses_are_told(tiny: Path) -> None:
    (tiny / "chat_template.jinja").write_text("{{ raise_exception('System role not supported') }}")

    with pytest.raises(BadInput, match="does not accept these messages: System role not supported"):
        open_weights(tiny, "transformers").render(HELLO)


# ---------------------------------------------------------------- artifacts


def test_a_folder_without_a_model_file_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no logged model"):
        open_artifact(tmp_path)


@pytest.mark.parametrize("text", ["{ broken", "", "[]", "flavors: {}", "metadata: {phi3: {wrapper: other}}"])
def test_a_model_of_somebody_else_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "MLmodel").write_text(text)

    with pytest.raises(SourceError):
        open_artifact(tmp_path)


@pytest.fixture
def onnx_engine(built: Built) -> Engine:
    return _open(built, 2)


def _open(built: Built, number: int) -> Engine:
    folder = registry.local_folder(built.settings, registry.resolve(built.settings, f"{MODEL}/{number}"))
    assert folder
    return open_artifact(folder)


LONG = (
    "You are a patient teacher. Explain to a child of ten, in a few short sentences and without difficult words, why "
    "the sky is blue in the day, red in the evening and black at night, and what the moon has to do with the tides of "
    "the sea. Then ask the child one question about what you have just told, and wait for the answer."
)


@pytest.mark.model
@pytest.mark.parametrize("question", ["What is the capital of Spain?", LONG], ids=["short", "longer than a piece"])
def test_the_engine_and_the_logged_onnx_model_give_the_same_answer(
    built: Built, onnx_engine: Engine, question: str
) -> None:
    import mlflow

    prompt = onnx_engine.render([{"role": "user", "content": question}])

    ours, done = answer(onnx_engine, prompt, onnx_engine.options.but(temperature=0, max_tokens=40))
    logged = mlflow.pyfunc.load_model(built.onnx).predict(
        {"prompt": prompt}, params={"temperature": 0.0, "max_tokens": 40}
    )

    assert (done.prompt_tokens > engine_piece()) == (question == LONG)
    assert ours == logged[0]


@pytest.mark.model
def test_a_last_piece_of_one_token_does_not_change_the_answer(built: Built, onnx_engine: Engine) -> None:
    import mlflow

    prompt = "Once" + " sea" * engine_piece()
    assert onnx_engine.check(prompt) == engine_piece() + 1

    ours, _ = answer(onnx_engine, prompt, onnx_engine.options.but(temperature=0, max_tokens=40))

    params = {"temperature": 0.0, "max_tokens": 40}
    assert ours == mlflow.pyfunc.load_model(built.onnx).predict({"prompt": prompt}, params=params)[0]


@pytest.mark.model
def test_the_engine_and_the_logged_pipeline_give_the_same_answer(built: Built) -> None:
    import mlflow

    loaded = _open(built, 1)
    messages = [{"role": "user", "content": "What is the capital of Spain?"}]

    ours, done = answer(loaded, loaded.render(messages), loaded.options.but(temperature=0, max_tokens=24))
    # MLflow passes 0 on to transformers, which refuses it; as cold as this, sampling is greedy too.
    logged = mlflow.pyfunc.load_model(built.transformers).predict(
        {"messages": messages, "temperature": 1e-4, "max_tokens": 24}
    )

    assert logged[0]["choices"][0]["message"]["content"].strip() == ours.strip()
    assert logged[0]["usage"]["prompt_tokens"] == done.prompt_tokens


@pytest.mark.model
def test_a_version_is_opened_with_the_options_it_was_logged_with(built: Built) -> None:
    expected = Options(max_tokens=300, temperature=0.2, top_p=0.9, top_k=50, repetition_penalty=1.1)

    assert {_open(built, number).options for number in (1, 2, 3)} == {expected}


def engine_piece() -> int:
    from phi3core.engine import onnx

    return onnx._PIECE


@pytest.mark.parametrize("seed", [-1, 2**31, 10**30])
def test_a_seed_that_no_engine_takes_is_refused(seed: int) -> None:
    with pytest.raises(BadInput, match="seed must be between 0 and 2,147,483,647"):
        Options().but(seed=seed)


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_a_seed_at_the_edge_is_taken(seed: int) -> None:
    assert Options().but(seed=seed).seed == seed
