"""The ONNX wrapper's logged model with the signature chat, through pyfunc."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Built
from tests.wrappers.requests import QUESTION

pytestmark = pytest.mark.model


def test_the_chat_signature_takes_the_pipelines_requests(chat: Any) -> None:
    response = chat.predict({**QUESTION, "temperature": 0.0, "max_tokens": 12})

    choice = response[0]["choices"][0]
    assert "Madrid" in choice["message"]["content"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("stop", "length")
    usage = response[0]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_chat_that_runs_into_its_limit_says_so(chat: Any) -> None:
    response = chat.predict({**QUESTION, "max_tokens": 1})

    assert response[0]["choices"][0]["finish_reason"] == "length"
    assert response[0]["usage"]["completion_tokens"] == 1


def test_a_streamed_chat_is_the_whole_one_in_chunks(chat: Any) -> None:
    request = {**QUESTION, "temperature": 0.0, "max_tokens": 12}

    chunks = list(chat.predict_stream(request))
    whole = chat.predict(request)[0]

    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_a_chat_stops_at_a_stop_sequence(chat: Any) -> None:
    request = {**QUESTION, "temperature": 0.0, "max_tokens": 12}
    whole = chat.predict(request)[0]["choices"][0]["message"]["content"]

    choice = chat.predict({**request, "stop": ["Madrid"]})[0]["choices"][0]

    assert choice["message"]["content"] == whole[: whole.index("Madrid")]
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("extra", "told"),
    [({"n": 2}, "n > 1"), ({"presence_penalty": 0.5}, "presence_penalty"), ({"frequency_penalty": 1.0}, "frequency")],
)
def test_what_the_chat_cant_do_is_refused_by_name(chat: Any, extra: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        chat.predict({**QUESTION, **extra})


def test_the_chat_signature_takes_every_column_the_pipeline_requires(built: Built) -> None:
    import mlflow

    pipeline, chat = (mlflow.models.get_model_info(uri).signature for uri in (built.transformers, built.chat))

    assert "messages" in chat.inputs.input_names()
    assert set(chat.inputs.required_input_names()) == set(pipeline.inputs.required_input_names())
