"""Chat pipelines that somebody else logged with mlflow.transformers, of other architectures than Phi-3's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phi3core.engine.interface import Done, End, Engine, Piece
from phi3core.engine.loader import open_artifact
from phi3core.engine.pyfunc import PyfuncEngine
from phi3core.engine.tokens import TokenEngine
from phi3core.errors import Forbidden, SourceError

Logged = Any  # makes a folder


@pytest.fixture(scope="module")
def logged(tiny_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """Saves a tiny random GPT-2 as a chat pipeline."""

    def save(**arguments: Any) -> Path:
        import mlflow.transformers
        import torch
        import transformers
        from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

        torch.manual_seed(1)
        shape = {"n_positions": 128, "n_embd": 64, "n_layer": 2, "n_head": 4}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=288, **shape, bos_token_id=1, eos_token_id=None))
        pipeline = transformers.pipeline(
            "text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained(tiny_once)
        )
        folder = tmp_path_factory.mktemp("gpt2") / "m"
        mlflow.transformers.save_model(
            pipeline, folder, task="llm/v1/chat", pip_requirements=["mlflow"], **arguments
        )  # fmt: skip
        return folder

    return save


@pytest.fixture
def gpt2(logged: Logged) -> Path:
    return logged()  # type: ignore[no-any-return]


def answer(engine: Engine, **options: Any) -> tuple[str, str, Done]:
    prompt = engine.prepare([{"role": "user", "content": "Hello"}])
    items = list(engine.stream(prompt, engine.options.but(**{"max_tokens": 6, **options}), lambda: False))
    (end,) = [item for item in items if isinstance(item, End)]
    assert isinstance(items[-1], Done)
    return "".join(item.text for item in items if isinstance(item, Piece)), end.finish_reason, items[-1]


def as_pickle(folder: Path) -> Path:
    """Its weights as torch.save writes them."""
    import torch
    from safetensors.torch import load_file

    weights = folder / "model" / "model.safetensors"
    torch.save(load_file(weights), folder / "model" / "pytorch_model.bin")
    weights.unlink()
    return folder


def test_a_gpt2_is_streamed_by_our_runtime(gpt2: Path) -> None:
    engine = open_artifact(gpt2)

    text, reason, done = answer(engine, temperature=0.0)

    assert isinstance(engine, TokenEngine)
    assert (engine.context_length, engine._runtime.token_bytes) == (128, 2 * 2 * 64 * 4)
    assert (reason, done.completion_tokens) == ("length", 6)
    assert answer(engine, temperature=0.0)[0] == text


def test_without_an_end_of_its_own_the_tokenizers_ends_the_answer(gpt2: Path) -> None:
    engine = open_artifact(gpt2)

    assert isinstance(engine, TokenEngine)
    assert engine._runtime.eos == {2}


def test_a_head_may_be_larger_than_its_share_of_the_layer(tmp_path: Path, tiny: Path) -> None:
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from phi3core.engine.transformers import TransformersRuntime

    config = Qwen3Config(
        vocab_size=288, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=128,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "m")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "m")

    assert TransformersRuntime(tmp_path / "m", tmp_path / "m", "float32").token_bytes == 2 * 2 * (2 * 32) * 4


def test_a_model_without_a_last_position_has_its_tokenizers_context(tmp_path: Path, tiny: Path) -> None:
    from transformers import AutoTokenizer, BloomConfig, BloomForCausalLM

    from phi3core.engine.transformers import TransformersRuntime

    config = BloomConfig(vocab_size=288, hidden_size=64, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2)
    BloomForCausalLM(config).save_pretrained(tmp_path / "m")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "m")

    assert TransformersRuntime(tmp_path / "m", tmp_path / "m", "float32").context_length == 128


def test_the_options_are_the_models_own(logged: Logged, gpt2: Path) -> None:
    own = {"do_sample": True, "temperature": 0.6, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}
    (gpt2 / "model" / "generation_config.json").write_text(json.dumps({**own, "max_new_tokens": 9, "bos_token_id": 1}))

    options = open_artifact(gpt2).options

    assert (options.temperature, options.top_p, options.top_k) == (0.6, 0.8, 20)
    assert (options.repetition_penalty, options.max_tokens) == (1.1, 9)


def test_what_it_was_logged_with_comes_before_its_generation_config(logged: Logged) -> None:
    folder = logged(model_config={"max_new_tokens": 7, "temperature": 0.3, "do_sample": True})
    (folder / "model" / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "top_p": 0.8}))

    options = open_artifact(folder).options

    assert (options.max_tokens, options.temperature, options.top_p) == (7, 0.3, 0.8)


def test_a_model_that_does_not_sample_takes_the_likeliest_token(gpt2: Path) -> None:
    (gpt2 / "model" / "generation_config.json").write_text(json.dumps({"do_sample": False, "temperature": 0.9}))

    assert open_artifact(gpt2).options.temperature == 0


def test_what_a_model_does_not_tell_is_as_in_its_pipeline(gpt2: Path) -> None:
    options = open_artifact(gpt2).options

    assert (options.temperature, options.top_p, options.top_k, options.max_tokens) == (0.7, 1.0, 50, 256)


@pytest.mark.parametrize("text", ["{ broken", '{"temperature": "hot", "top_k": null, "top_p": 0, "stop": 3}'])
def test_odd_options_of_its_own_do_not_keep_a_model_from_opening(gpt2: Path, text: str) -> None:
    (gpt2 / "model" / "generation_config.json").write_text(text)

    assert open_artifact(gpt2).options.temperature == 0.7


def test_a_model_that_our_runtime_cant_take_is_driven_by_mlflow(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AttributeError("'MambaConfig' object has no attribute 'num_attention_heads'")

    monkeypatch.setattr("phi3core.engine.transformers.TransformersRuntime.__init__", refuse)

    with pytest.raises(Forbidden, match="no admin has trusted"):
        open_artifact(gpt2)
    engine = open_artifact(gpt2, code=True)

    assert isinstance(engine, PyfuncEngine)
    assert answer(engine)[2].completion_tokens == 6


def test_damaged_weights_are_told_in_a_sentence(gpt2: Path) -> None:
    weights = gpt2 / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])

    with pytest.raises(SourceError, match="The model can't be loaded") as caught:
        open_artifact(gpt2, code=True)

    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused_until_they_are_trusted(gpt2: Path) -> None:
    as_pickle(gpt2)

    with pytest.raises(SourceError, match="PHI3_TRUST_PICKLES"):
        open_artifact(gpt2, code=True)

    engine = open_artifact(gpt2, trusted=True, code=True)
    assert answer(engine)[2].completion_tokens == 6


def test_a_pickle_beside_safe_weights_is_not_read_and_needs_no_trust(gpt2: Path) -> None:
    (gpt2 / "model" / "training_args.bin").write_bytes(b"\x80\x04}.")

    assert isinstance(open_artifact(gpt2), TokenEngine)
