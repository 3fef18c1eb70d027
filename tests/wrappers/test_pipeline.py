"""The Transformers wrapper's logged model, through pyfunc."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Built
from tests.wrappers.requests import QUESTION

pytestmark = pytest.mark.model


def test_the_pipeline_answers_the_cookbooks_chat_request(pipeline: Any) -> None:
    response = pipeline.predict({**QUESTION, "max_tokens": 16})

    assert response[0]["choices"][0]["message"]["content"].strip()
    usage = response[0]["usage"]
    assert 0 < usage["completion_tokens"] <= 16
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_pipeline_is_logged_with_its_generation_options(built: Built) -> None:
    import mlflow

    info = mlflow.models.get_model_info(built.transformers)
    config = info.flavors["python_function"]["config"]

    assert {"max_new_tokens": 300, "do_sample": True, "temperature": 0.2, "repetition_penalty": 1.1}.items() <= (
        config.items()
    )
    assert info.metadata["task"] == "llm/v1/chat"
    assert "messages" in {column["name"] for column in info.signature.inputs.to_dict()}
