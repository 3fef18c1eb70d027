"""Where a conversation passes a model's sliding window, or the length that divides its two sets of rotary factors.

Phi-3-mini-4k has the one, Phi-3 128k and Phi-3.5 have the other. Measured against transformers reading all at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from phi3core.build import convert
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import parse_source
from phi3core.engine.interface import Options
from phi3core.engine.kv_cache import Sequence
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.tokens import TokenEngine
from phi3core.engine.weights import open_weights
from tests.support import tiny

WINDOW, DIVIDE, LENGTH = 24, 32, 100
_FACTORS = {
    "rope_type": "longrope",
    "type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": DIVIDE,
    "short_factor": [1 + number / 10 for number in range(8)],
    "long_factor": [2 + number / 2 for number in range(8)],
}
CHANGES: dict[str, dict[str, Any]] = {
    "sliding window": {"sliding_window": WINDOW},
    "two sets of factors": {"rope_parameters": _FACTORS, "original_max_position_embeddings": DIVIDE},
}
TOKENS = np.random.default_rng(1).integers(7, 250, LENGTH).astype(np.int32)


@pytest.fixture(scope="module", params=CHANGES)
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.make(tmp_path_factory.mktemp("long") / "model")
    config = json.loads((folder / "config.json").read_text()) | CHANGES[request.param]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module", params=["transformers", "onnx"])
def runtime(request: pytest.FixtureRequest, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "transformers":
        from phi3core.engine.transformers import TransformersRuntime

        return TransformersRuntime(weights, weights, "float32")
    work = tmp_path_factory.mktemp("converted")
    fetched = fetch_weights(parse_source(str(weights)), work, lambda *_: None)
    made = OnnxRuntime(convert.convert_to_onnx(fetched, "fp32", work, work / "log", lambda *_: None))
    made.divide = DIVIDE if "rope_parameters" in json.loads((weights / "config.json").read_text()) else 0
    return made


@pytest.fixture(scope="module")
def whole(weights: Path) -> Callable[[int], np.ndarray[Any, Any]]:
    """The logits after so many tokens, read at once and without any cache."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(weights).eval().float()

    def read(length: int) -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            ids = torch.as_tensor(TOKENS[:length], dtype=torch.long)[None]
            return np.asarray(model(input_ids=ids, use_cache=False).logits[0, -1])

    return read


def test_what_is_read_in_pieces_token_by_token_and_rewound_is_what_is_read_at_once(
    runtime: Any, whole: Callable[[int], np.ndarray[Any, Any]]
) -> None:
    sequence: Sequence = runtime.sequence(128)

    def same(length: int) -> None:
        assert_allclose(sequence.logits(), whole(length), atol=1e-5)

    for begin, end in ((0, 20), (20, 31)):
        sequence.append(TOKENS[begin:end])
        same(end)
    for at in range(31, 40):  # past both
        sequence.append_one(int(TOKENS[at]))
        same(at + 1)
    sequence.append(TOKENS[40:])
    same(LENGTH)
    sequence.rewind(60)  # what has slid out of the window by now is in it again
    sequence.append(TOKENS[60:70])
    same(70)
    sequence.rewind(25)  # back to the short factors
    sequence.append(TOKENS[25:30])
    same(30)
    sequence.append(TOKENS[30:50])
    same(50)


@pytest.mark.parametrize(
    "lengths",
    [
        (20, 60, DIVIDE, 10),  # the third passes it with its next token
        (20, 60, 60, 10),  # bringing the short ones together changes the order of the long ones
        (20, 60, 60, 10, 60),
    ],
)
def test_sequences_on_both_sides_of_the_divide_are_computed_together_as_alone(
    runtime: Any, lengths: tuple[int, ...]
) -> None:
    """The factors are chosen for a whole step: the short sequence would get the long one's."""
    rows: list[Sequence] = [runtime.sequence(128) for _ in lengths]
    texts = [TOKENS[at : at + length + 1] for at, length in enumerate(lengths)]

    def after(row: Sequence, text: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        row.append(text[:-1])
        row.append_one(int(text[-1]))
        return row.logits()

    alone = [after(row, text) for row, text in zip(rows, texts, strict=True)]
    for row, text in zip(rows, texts, strict=True):
        row.rewind(0)
        row.append(text[:-1])
    for row, text in zip(rows, texts, strict=True):
        row.append_one(int(text[-1]))

    for row, expected in zip(rows, alone, strict=True):
        assert np.array_equal(row.logits(), expected)


def test_a_conversation_goes_on_past_both(weights: Path) -> None:
    engine = open_weights(weights, "transformers", precision="float32")
    assert isinstance(engine, TokenEngine)
    cold = open_weights(weights, "transformers", precision="float32")
    asked = Options(max_tokens=20, temperature=0)
    for prompt in ("a" * 20, "a" * 20 + "b" * 30, "a" * 20 + "b" * 60, "a" * 20 + "c" * 8):
        warm = [item for item in engine.stream(prompt, asked, lambda: False) if item is not None]
        again = [item for item in cold.stream(prompt, asked, lambda: False) if item is not None]
        assert warm[:-1] == again[:-1]


def test_the_length_that_divides_is_the_one_that_onnxruntime_genai_goes_by(tiny_onnx: Path, tmp_path: Path) -> None:
    assert OnnxRuntime(tiny_onnx).divide == 0
    long = tmp_path / "long"
    long.mkdir()
    for file in tiny_onnx.iterdir():
        (long / file.name).symlink_to(file)
    config = json.loads((long / "genai_config.json").read_text())
    config["model"]["context_length"] = 131_072
    (long / "genai_config.json").unlink()
    (long / "genai_config.json").write_text(json.dumps(config))
    assert OnnxRuntime(long).divide == 4096
