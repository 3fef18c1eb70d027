"""Answers and requests held against the types of OpenAI's own client."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.support.serving import CHAT, http, streamed


def conforms(kind: type[pydantic.BaseModel], data: dict[str, Any]) -> None:
    """Every required field is there, of its very type, and none is there that OpenAI does not know."""
    assert unknown(kind.model_validate(data, strict=True)) == []


def unknown(model: Any, where: str = "") -> list[str]:
    if isinstance(model, list):
        return [name for item in model for name in unknown(item, where)]
    if not isinstance(model, pydantic.BaseModel):
        return []
    own = [f"{where}.{name}" for name in model.model_extra or {}]
    return own + [name for field in type(model).model_fields for name in unknown(getattr(model, field), field)]


BODIES: list[dict[str, Any]] = [
    {},
    {"n": 2},
    {"logprobs": True},
    {"logprobs": True, "top_logprobs": 3, "n": 2},
    {"max_tokens": 1},
    {"response_format": {"type": "json_object"}},
]


@pytest.mark.parametrize("extra", BODIES, ids=str)
def test_a_chat_completion_is_what_openais_types_say(choir_url: str, extra: dict[str, Any]) -> None:
    answer = http.post(f"{choir_url}/v1/chat/completions", json={**CHAT, **extra})

    conforms(ChatCompletion, answer.json())


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("extra", BODIES, ids=str)
def test_every_chunk_of_a_chat_is_what_openais_types_say(choir_url: str, extra: dict[str, Any], usage: bool) -> None:
    body = {**CHAT, **extra, "stream_options": {"include_usage": usage}}

    chunks = streamed(choir_url, "chat/completions", body)

    for chunk in chunks:
        conforms(ChatCompletionChunk, chunk)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


@pytest.mark.parametrize("extra", [{}, {"n": 2}, {"logprobs": 0}, {"logprobs": 3, "n": 2}, {"max_tokens": 1}], ids=str)
def test_a_completion_and_its_chunks_are_what_openais_types_say(choir_url: str, extra: dict[str, Any]) -> None:
    body = {"prompt": "Once", **extra}
    chunks = streamed(choir_url, "completions", {**body, "stream_options": {"include_usage": True}})

    conforms(Completion, http.post(f"{choir_url}/v1/completions", json=body).json())
    for chunk in chunks:
        # OpenAI's own chunks hold null until the last one, against what its types say.
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        conforms(Completion, chunk)
