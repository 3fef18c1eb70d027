"""MLflow models that take one text."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from phi3core.engine.pyfunc import PyfuncEngine
from phi3core.errors import BadInput
from tests.support import third_party
from tests.support.asking_pyfunc import TALK, Opener, ask


def test_a_text_model_gets_a_string_whatever_its_column_is_called(opened: Opener) -> None:
    for kind in ("text", "text-whole"):
        engine = opened(kind)

        pieces, reason, _ = ask(engine, "hi there")

        assert engine.chat == "prompt"
        assert "hi there is a str with" in "".join(pieces)
        assert reason == "stop"


def test_a_text_models_parameters_are_its_options_with_its_own_defaults(opened: Opener) -> None:
    engine = opened("text-whole")

    told = "".join(ask(engine, "x", top_k=7, stop=("a",), max_tokens=5)[0])

    assert engine.supports == {"max_tokens", "temperature", "top_k", "stop", "n"}
    assert (engine.options.temperature, engine.options.max_tokens) == (0.5, 64)
    for given in ("'max_new_tokens': 5", "'top_k': 7", "'stop': ['a']", "'temperature': 0.5", "'mood': 'fine'"):
        assert given in told


def test_a_models_own_way_to_say_off_stays_its_own(opened: Opener) -> None:
    assert "'top_k': 0" in "".join(ask(opened("text-whole"), "x")[0])


def test_a_column_without_a_name_takes_a_text(opened: Opener) -> None:
    engine = opened("list")

    assert engine.chat == "prompt"
    assert ask(engine, "louder")[0] == ["LOUDER"]


@pytest.mark.parametrize(("kind", "name"), [("O", None), ("O", "q"), ("U", "q")])
def test_a_tensor_of_text_takes_a_text(tmp_path: Path, kind: str, name: str | None) -> None:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    source = """
        import mlflow, numpy as np
        class Tensor(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                array = model_input["q"] if isinstance(model_input, dict) else model_input
                return np.array([f"{text} {array.shape}" for text in array.ravel()], dtype=object)
        mlflow.models.set_model(Tensor())
    """
    inputs = Schema([TensorSpec(np.dtype(kind), (-1, 1), name)])
    signature = ModelSignature(inputs, Schema([TensorSpec(np.dtype("O"), (-1,))]))
    engine = PyfuncEngine(third_party.save_code(tmp_path / "m", textwrap.dedent(source), signature=signature))

    assert engine.chat == "prompt"
    assert ask(engine, "hi")[0] == ["hi (1, 1)"]


def test_a_text_model_is_chatted_with_whatever_it_answers(opened: Opener) -> None:
    engine = opened("labels")

    pieces, reason, _ = ask(engine, "fine")

    assert engine.chat == "prompt"
    assert pieces == ['{\n  "label": "FINE",\n  "score": 0.75\n}']
    assert reason == "stop"


def test_a_text_classification_pipeline_answers_with_its_label_and_score(tiny_once: Path, tmp_path: Path) -> None:
    import mlflow.transformers
    import transformers
    from transformers import AutoTokenizer, Phi3Config, Phi3ForSequenceClassification

    config = Phi3Config.from_pretrained(tiny_once, num_labels=2)
    pipeline = transformers.pipeline(
        "text-classification", model=Phi3ForSequenceClassification(config),
        tokenizer=AutoTokenizer.from_pretrained(tiny_once),
    )  # fmt: skip
    signature = mlflow.models.infer_signature(["fine"], mlflow.transformers.generate_signature_output(pipeline, "fine"))
    mlflow.transformers.save_model(pipeline, tmp_path / "m", signature=signature, pip_requirements=["mlflow"])
    engine = PyfuncEngine(tmp_path / "m")

    (text,), _, _ = ask(engine, "fine")

    assert engine.chat == "prompt"
    assert json.loads(text).keys() == {"label", "score"}


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("[1.5]", "1.5"),
        ("['a', 'b']", '[\n  "a",\n  "b"\n]'),
        ("[{'x': float('nan')}]", '{\n  "x": null\n}'),
        ("np.array([[0.25, 0.75]])", "[\n  0.25,\n  0.75\n]"),
        ("pd.DataFrame({'é': [True, False]})", '[\n  {\n    "é": true\n  },\n  {\n    "é": false\n  }\n]'),
        ("None", "null"),
    ],
)
def test_an_answer_that_is_no_text_is_told_as_json(tmp_path: Path, output: str, told: str) -> None:
    source = f"""
        import mlflow, numpy as np, pandas as pd
        class Odd(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                return {output}
            def predict_stream(self, context, model_input, params=None):
                yield {output}
        mlflow.models.set_model(Odd())
    """
    arguments = third_party._signature("text-whole")
    for streamable in (False, True):
        folder = tmp_path / f"m{streamable}"
        third_party.save_code(folder, textwrap.dedent(source), streamable=streamable, **arguments)
        if (output, streamable) != ("None", True):  # a chunk of nothing is nothing
            assert "".join(ask(PyfuncEngine(folder), "hi")[0]) == told


def test_a_text_model_refuses_a_conversation(opened: Opener) -> None:
    with pytest.raises(BadInput, match="one text and no conversation"):
        opened("text").prepare(TALK)


def test_a_prompt_for_a_chat_model_is_refused(opened: Opener) -> None:
    engine = opened("chat")

    with pytest.raises(BadInput, match="takes messages"):
        list(engine.stream("Once upon a time", engine.options, lambda: False))
