"""Every text reaches a model whole: NUL, which ends a text in C, other controls, and what no vocabulary has.

The ONNX runtime is held to what transformers reads of the same text with the same tokenizer.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from phi3core.engine.genai_tokenizer import GenaiTokenizer
from phi3core.engine.guidance import Guidance
from phi3core.engine.stop_filter import StopFilter
from phi3core.engine.tokens import TokenEngine
from phi3core.engine.weights import open_weights
from tests.conftest import Built
from tests.support import tiny
from tests.support.asking import folder_of
from tests.support.made_up import TEXT

Readings = Callable[[str], tuple[list[int], list[int]]]


@pytest.fixture(scope="module")
def tokenizer(tiny_onnx: Path) -> GenaiTokenizer:
    return GenaiTokenizer(tiny_onnx)


def readings_of(folder: Path) -> Readings:
    """How both libraries read a text with the tokenizer of a folder."""
    ours, theirs = GenaiTokenizer(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lambda text: (ours.encode(text).tolist(), theirs.encode(text, add_special_tokens=False).ids)


@pytest.fixture(scope="module")
def tiny_readings(tiny_onnx: Path) -> Readings:
    return readings_of(tiny_onnx)


@given(TEXT, TEXT)
@example("one", "\0two")
@example("\0", "\x01\0\x01")
def test_what_is_appended_to_a_text_never_shortens_what_is_read(tiny_readings: Readings, text: str, more: str) -> None:
    ours, theirs = tiny_readings(text + more)

    assert ours == theirs
    assert ours[: len(text.encode())] == tiny_readings(text)[0]  # a byte is a token here
    assert len(ours) == len((text + more).encode())


@pytest.fixture(scope="module")
def real_readings(built_once: Built) -> Readings:
    (config,) = folder_of(built_once, 2).rglob("genai_config.json")
    return readings_of(config.parent)


@pytest.mark.model
@given(TEXT)
@example("Page one\0 of the report")
@example("\x04")
@example("<|im_end|>\0<|im_start|>")
def test_the_embedded_models_vocabulary_reads_every_text_as_transformers_does(
    real_readings: Readings, text: str
) -> None:
    ours, theirs = real_readings(text)

    assert abs(len(ours) - len(theirs)) <= 1  # a pair that can be joined in two ways
    assert all(number >= 0 for number in ours)
    assert ours.count(190) == text.count("\0") == theirs.count(190)


def test_a_vocabulary_of_phi_3s_kind_has_a_token_for_nul_too(tiny_onnx: Path, tmp_path: Path) -> None:
    tiny.give_llama_tokenizer(tmp_path)
    (tmp_path / "genai_config.json").write_text((tiny_onnx / "genai_config.json").read_text())

    ours = GenaiTokenizer(tmp_path).encode("Hello\0 \x01world\0").tolist()

    assert [number - 3 for number in ours if 3 <= number < 6] == [0, 1, 0]


@given(st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXT}), min_size=1))
@example([{"role": "user", "content": "a\0b"}, {"role": "user", "content": "\\u0000\0"}])
def test_a_template_passes_every_text_on(
    tokenizer: GenaiTokenizer, transformers_tokenizer: Any, messages: list[dict[str, str]]
) -> None:
    rendered = tokenizer.render(messages)

    assert rendered == transformers_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@pytest.fixture(scope="module")
def transformers_tokenizer(tiny_once: Path) -> Any:
    from transformers import AutoTokenizer  # takes seconds: not in each process of the tests

    return AutoTokenizer.from_pretrained(tiny_once)


@given(TEXT)
def test_what_was_read_is_written_again(tokenizer: GenaiTokenizer, text: str) -> None:
    tokens, decode = tokenizer.encode(text), tokenizer.decoder()

    assert "".join(decode(int(token)) for token in tokens) == text


# ---------------------------------------------------------------- an answer


@pytest.fixture(scope="module", params=["transformers", "onnx"])
def engine(request: pytest.FixtureRequest, tiny_once: Path, tiny_onnx: Path) -> TokenEngine:
    opened = open_weights(tiny_once if request.param == "transformers" else tiny_onnx, request.param)
    assert isinstance(opened, TokenEngine)
    return opened


def test_a_conversation_is_read_beyond_a_nul(engine: TokenEngine) -> None:
    said = ("one\0two", "Yes.", "What?")
    messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), said, strict=True)]

    prompt = engine.prepare(messages)

    assert isinstance(prompt, str)
    assert "one\0two" in prompt
    assert prompt.endswith("What?<|end|>\n<|assistant|>\n")
    for tag in tiny.TAGS:
        prompt = prompt.replace(tag, "#")  # which is a token, as every byte is
    assert engine.count(engine.prepare(messages)) == len(prompt)


def test_a_nul_that_the_model_writes_is_told_and_may_end_its_answer(engine: TokenEngine) -> None:
    nul = int(engine._encode("\0")[0])
    until = StopFilter(("\0",))

    assert engine._runtime.text_of(nul) == engine._runtime.decoder()(nul) == "\0"
    assert (until.push("a" + engine._runtime.decoder()(nul)), until.found) == ("a", True)


def test_a_schema_with_a_nul_is_followed(tiny_onnx: Path, tokenizer: GenaiTokenizer) -> None:
    vocabulary = json.loads((tiny_onnx / "genai_config.json").read_text())["model"]["vocab_size"]
    guidance = Guidance((tiny_onnx / "tokenizer.json").read_text(), vocabulary, 2)
    constraint = guidance.follow(json.dumps({"const": "a\0b"}))

    written = json.dumps("a\0b")
    for token in tokenizer.encode(written).tolist():
        logits = np.zeros(vocabulary, np.float32)
        constraint.apply(logits)
        assert np.flatnonzero(np.isfinite(logits)).tolist() == [token]
        constraint.take(token)
