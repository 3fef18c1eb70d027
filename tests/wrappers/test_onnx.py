"""The ONNX wrapper's logged model with the signature prompt, through pyfunc."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Built
from tests.wrappers.requests import CHATML, GREEDY, PROMPT

pytestmark = pytest.mark.model


def test_one_prompt_gives_one_string(onnx: Any) -> None:
    answers = onnx.predict({"prompt": PROMPT})

    assert len(answers) == 1
    assert isinstance(answers[0], str)
    assert answers[0].strip()


def test_a_list_of_prompts_gives_a_string_for_each(onnx: Any) -> None:
    alone = [onnx.predict({"prompt": prompt}, params=GREEDY)[0] for prompt in (CHATML, "One, two,")]

    assert "Madrid" in alone[0]
    assert onnx.predict({"prompt": [CHATML, "One, two,"]}, params=GREEDY) == alone


def test_a_table_of_prompts_gives_a_string_for_each_row(onnx: Any) -> None:
    import pandas

    prompts = ["One, two,", CHATML, "One, two,"]

    answers = onnx.predict(pandas.DataFrame({"prompt": prompts}), params=GREEDY)

    assert len(answers) == 3
    assert answers[0] == answers[2] != answers[1]


def test_parameters_of_a_call_win_over_the_logged_ones(onnx: Any) -> None:
    short = onnx.predict({"prompt": CHATML}, params={"temperature": 0.0, "max_tokens": 2})[0]
    longer = onnx.predict({"prompt": CHATML}, params={"temperature": 0.0, "max_tokens": 8})[0]

    assert longer.startswith(short)
    assert len(longer) > len(short)


def test_a_stop_sequence_ends_the_answer_before_it(onnx: Any) -> None:
    whole = onnx.predict({"prompt": CHATML}, params=GREEDY)[0]
    assert "Madrid" in whole

    stopped = onnx.predict({"prompt": CHATML}, params={**GREEDY, "stop": ["Madrid"]})[0]

    assert stopped == whole[: whole.index("Madrid")]


def test_the_same_seed_gives_the_same_answer(onnx: Any) -> None:
    hot = {"temperature": 1.5, "max_tokens": 20, "seed": 7}

    first, second, other = (onnx.predict({"prompt": CHATML}, params={**hot, "seed": seed})[0] for seed in (7, 7, 8))

    assert first == second != other


def test_a_streamed_answer_is_the_whole_one_in_pieces(onnx: Any) -> None:
    pieces = list(onnx.predict_stream({"prompt": CHATML}, params=GREEDY))

    assert len(pieces) > 3
    assert "".join(pieces) == onnx.predict({"prompt": CHATML}, params=GREEDY)[0]


def test_streaming_several_prompts_at_once_is_refused(onnx: Any) -> None:
    with pytest.raises(Exception, match="one request at a time; this call holds 2"):
        list(onnx.predict_stream({"prompt": ["a", "b"]}))


@pytest.mark.parametrize(("prompt", "told"), [("", "The prompt is empty"), ("word " * 9000, "context holds 8192")])
def test_a_prompt_that_cant_be_answered_is_refused(onnx: Any, prompt: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        onnx.predict({"prompt": prompt})


def test_the_signature_is_prompt_to_string_with_its_parameters(built: Built) -> None:
    import mlflow

    signature = mlflow.models.get_model_info(built.onnx).signature

    assert signature.inputs.to_dict() == [{"type": "string", "name": "prompt", "required": True}]
    assert signature.outputs.to_dict() == [{"type": "string", "required": True}]
    assert {param["name"]: param["default"] for param in signature.params.to_dict()} == {
        "max_tokens": 300,
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 50,
        "min_p": 0.0,
        "repetition_penalty": 1.1,
        "seed": -1,
        "stop": [],
    }
