"""The official client at the embedded model."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from phi3core.engine.loader import open_artifact
from phi3core.registry import artifacts, reader
from tests.conftest import MODEL, Built
from tests.support.serving import client_of, http, serving, wait_loaded


@pytest.mark.model
@pytest.mark.parametrize("number", [1, 2, 3], ids=["transformers", "onnx", "onnx chat"])
def test_the_openai_client_talks_to_a_real_version(built: Built, number: int) -> None:
    folder = artifacts.local_folder(built.settings, reader.get_version(built.settings, f"{MODEL}/{number}"))
    assert folder
    question: list[Any] = [{"role": "user", "content": "What is the capital of Spain?"}]
    options: dict[str, Any] = {"model": f"{MODEL}/{number}", "max_tokens": 12, "temperature": 0}

    with serving(lambda: open_artifact(folder), (f"{MODEL}/{number}",)) as url:
        wait_loaded(url)
        client = client_of(url)
        whole = client.chat.completions.create(messages=question, **options)
        streamed = list(client.chat.completions.create(messages=question, stream=True, **options))
        completed = client.completions.create(prompt="One, two, three,", **options)
        with pytest.raises(openai.BadRequestError, match="context holds 8,192"):
            client.completions.create(prompt="word " * 9000, **options)

    text = whole.choices[0].message.content
    assert text
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == text
    assert len(streamed) > 5
    assert whole.usage
    assert 0 < whole.usage.completion_tokens <= 12
    assert "four" in completed.choices[0].text


@pytest.mark.model
def test_a_real_version_does_all_that_the_protocol_has(built: Built) -> None:
    folder = artifacts.local_folder(built.settings, reader.get_version(built.settings, f"{MODEL}/2"))
    assert folder
    asked: list[Any] = [
        {"role": "developer", "content": "You are a patient teacher who answers in one or two short sentences. " * 5},
        {"role": "user", "content": "What is the capital of Spain?"},
    ]
    schema = {"type": "object", "properties": {"city": {"enum": ["Madrid", "Paris"]}}, "required": ["city"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}

    with serving(lambda: open_artifact(folder)) as url:
        wait_loaded(url)
        create = client_of(url).chat.completions.create
        options: dict[str, Any] = {"model": "fake/1", "messages": asked, "max_completion_tokens": 20, "seed": 4}
        first = create(**options, n=2, temperature=0.9, logprobs=True, top_logprobs=3)
        again = create(**options, n=2, temperature=0.9, logprobs=True, top_logprobs=3)
        told = create(**options, response_format=form, presence_penalty=0.5, frequency_penalty=0.5)
        counted = http.post(f"{url}/tokenize", json={"messages": asked}).json()

    assert [choice.message for choice in first.choices] == [choice.message for choice in again.choices]
    assert [choice.logprobs for choice in first.choices] == [choice.logprobs for choice in again.choices]
    assert first.choices[0].message.content != first.choices[1].message.content
    assert first.usage is not None
    assert again.usage is not None
    assert first.usage.prompt_tokens_details is not None
    assert again.usage.prompt_tokens_details is not None
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens - 1
    assert json.loads(told.choices[0].message.content or "")["city"] in ("Madrid", "Paris")
    assert counted["count"] == first.usage.prompt_tokens
