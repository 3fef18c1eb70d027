"""The shapes in which MLflow models answer."""

from __future__ import annotations

from phi3core.engine.interface import Options, Piece
from phi3core.engine.pyfunc_output import AnswerReader
from tests.support.asking_pyfunc import Opener


def test_every_shape_of_a_whole_answer_is_read() -> None:
    import numpy as np
    import pandas as pd

    completion = {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "length"}]}
    parts = [{"type": "reasoning", "summary": [{"text": "hm"}]}, {"type": "text", "text": "hi"}]
    for answer in (
        "hi",
        ["hi"],
        np.array(["hi"]),
        pd.Series(["hi"]),
        pd.DataFrame({"answer": ["hi"]}),
        {"predictions": ["hi"]},
        {"predictions": "hi"},
        {"predictions": [{"generated_text": "hi", "score": 0.1}]},
        completion,
        [completion],
        {"choices": [{"text": "hi"}]},
        {"choices": [{"message": {"content": parts}}]},
        {"messages": [{"role": "assistant", "content": "hi", "id": "1"}]},
        {"output": [{"type": "message", "id": "1", "content": [{"type": "output_text", "text": "hi"}]}]},
    ):
        assert AnswerReader().read(answer) == "hi", answer


def test_a_reason_of_the_models_own_means_that_it_was_done() -> None:
    for said, reason in (("eos_token", "stop"), ("length", "length"), ("content_filter", "content_filter")):
        reader = AnswerReader()
        reader.read({"choices": [{"message": {"content": "x"}, "finish_reason": said}]})
        assert reader.finish_reason == reason


def test_plain_options_are_all_passed_on(opened: Opener) -> None:
    engine = opened("chat")
    prompt = engine.prepare([{"role": "user", "content": "x"}])

    items = list(engine.stream(prompt, Options(top_k=3), lambda: False))

    assert "'top_k': 3" in "".join(item.text for item in items if isinstance(item, Piece))
