"""Completions that begin with their prompt, and tell the probabilities of its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from phi3core.engine.weights import open_weights
from tests.support.serving import client_of, http, serving, wait_loaded

ASKED = {"temperature": 0, "logprobs": 1, "seed": 1234, "echo": True}
PROMPTS = [list(range(20, 32)), list(range(20, 40)), [9, 10]]


@pytest.fixture(scope="module")
def url(tiny_onnx: Path) -> Iterator[str]:
    with serving(lambda: open_weights(tiny_onnx, "onnx")) as address:
        wait_loaded(address)
        yield address


def completed(url: str, **body: Any) -> dict[str, Any]:
    answer = http.post(f"{url}/v1/completions", json={**ASKED, **body}, timeout=30)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_several_prompts_of_tokens_are_told_with_the_first_of_each_null(url: str, max_tokens: int) -> None:
    body = completed(url, prompt=PROMPTS, max_tokens=max_tokens)

    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    for choice, prompt in zip(body["choices"], PROMPTS, strict=True):
        told = choice["logprobs"]
        assert {len(told[name]) for name in told} == {len(prompt) + max_tokens}
        assert (told["token_logprobs"][0], told["top_logprobs"][0]) == (None, None)
        for own, top in zip(told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True):
            assert own <= max(top.values()) < 0
    assert body["usage"]["prompt_tokens"] == 34
    assert body["usage"]["completion_tokens"] == 3 * max_tokens


def test_one_prompt_may_be_a_list_of_tokens_or_a_text(url: str) -> None:
    text = "Hello"
    alone = completed(url, prompt=text, max_tokens=0)["choices"][0]
    ids = http.post(f"{url}/v1/completions", json={**ASKED, "prompt": [41] * 5, "max_tokens": 0}).json()["choices"][0]

    assert alone["text"] == text
    assert alone["logprobs"]["text_offset"] == [0, 1, 2, 3, 4]
    assert len(ids["logprobs"]["tokens"]) == 5


def test_an_answer_of_no_tokens_is_for_echo_alone(url: str) -> None:
    answer = http.post(f"{url}/v1/completions", json={"prompt": "Hello", "max_tokens": 0})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "max_tokens")


def test_the_official_client_reads_it_streamed_too(url: str) -> None:
    client: openai.OpenAI = client_of(url)

    chunks = list(client.completions.create(model="", prompt="Hello", max_tokens=2, echo=True, logprobs=0, stream=True))

    assert chunks[0].choices[0].text == "Hello"
    logprobs = chunks[0].choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert len(logprobs.token_logprobs) == 5
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")


def test_a_token_that_the_model_does_not_have_is_refused(url: str) -> None:
    answer = http.post(f"{url}/v1/completions", json={**ASKED, "prompt": [[1, 2], [3, 99999]], "max_tokens": 1})

    assert answer.status_code == 400
    assert "There is no token 99999" in answer.json()["error"]["message"]
