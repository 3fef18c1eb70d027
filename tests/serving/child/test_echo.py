"""Completions that begin with their prompt, and tell the probabilities of its tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.weights import open_weights
from phi3core.serving.child import app
from phi3core.serving.child.responses import AnswerFormat
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


def test_what_would_take_too_much_memory_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MOST_ECHOED", 30)

    answer = http.post(f"{url}/v1/completions", json={**ASKED, "prompt": PROMPTS, "max_tokens": 1})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
    assert "at most 30 tokens" in answer.json()["error"]["message"]
    assert len(completed(url, prompt=PROMPTS[:1], max_tokens=1)["choices"]) == 1


def test_the_alternatives_of_each_token_count_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MOST_ECHOED", 13 * 6)
    assert completed(url, prompt=PROMPTS[0], max_tokens=1, logprobs=5)["choices"]

    answer = http.post(f"{url}/v1/completions", json={**ASKED, "prompt": PROMPTS[0], "max_tokens": 1, "logprobs": 6})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
    assert "at most 78 tokens, prompts and answers, each with its 6 alternatives" in answer.json()["error"]["message"]


def test_while_a_long_answer_is_written_down_others_are_answered(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, done, whole = threading.Event(), threading.Event(), AnswerFormat.whole

    def slowly(*told: Any) -> dict[str, Any]:
        begun.set()
        assert done.wait(20)
        return whole(*told)

    monkeypatch.setattr(AnswerFormat, "whole", slowly)
    with ThreadPoolExecutor(1) as sender:
        sent = sender.submit(completed, url, prompt="Hello", max_tokens=0)
        assert begun.wait(20)
        try:
            assert http.get(f"{url}/v1/models", timeout=5).status_code == 200
        finally:
            done.set()
        assert sent.result()["choices"][0]["text"] == "Hello"


# ---------------------------------------------------------------- EleutherAI's harness


def asked_by_the_harness() -> list[dict[str, Any]]:
    """What lm-eval 0.4.13 sent for two items of HellaSwag and two of GSM8K, made up and short."""
    recorded = Path(__file__).parents[2] / "fixtures" / "lm_eval_requests.jsonl"
    return [json.loads(line) for line in recorded.read_text().splitlines()]


def judged(choice: dict[str, Any], ctxlen: int) -> tuple[float, bool]:
    """As lm-eval's `parse_logprobs` does it: the sum over the ending, and whether it is what the model would say."""
    told = choice["logprobs"]["token_logprobs"][ctxlen:-1]
    tops = choice["logprobs"]["top_logprobs"][ctxlen:-1]
    return sum(told), all(own == max(top.values()) for own, top in zip(told, tops, strict=True))


def test_the_harnesss_requests_are_answered_as_it_reads_them(url: str) -> None:
    likelihoods, *chats = asked_by_the_harness()

    answer = http.post(url + likelihoods["path"], json={**likelihoods["body"], "model": "fake/1"}, timeout=60)

    assert answer.status_code == 200, answer.text
    choices = sorted(answer.json()["choices"], key=lambda choice: int(choice["index"]))
    for choice, ctxlen, prompt in zip(choices, likelihoods["ctxlens"], likelihoods["body"]["prompt"], strict=True):
        total, _ = judged(choice, ctxlen)
        alone = completed(url, prompt=prompt, max_tokens=0)["choices"][0]["logprobs"]["token_logprobs"]
        assert len(choice["logprobs"]["token_logprobs"]) == len(prompt) + 1
        assert total == pytest.approx(sum(alone[ctxlen:]), abs=1e-4)
    for chat in chats:
        answered = http.post(url + chat["path"], json={**chat["body"], "model": "fake/1", "max_tokens": 4}, timeout=60)
        assert isinstance(answered.json()["choices"][0]["message"]["content"], str)


def test_an_ending_that_the_model_would_write_is_greedy(url: str, tiny_onnx: Path) -> None:
    """The harness tests it by equality of the numbers."""
    prompt = list(range(30, 50))
    runtime = OnnxRuntime(tiny_onnx)
    row = runtime.row(64)
    row.append(np.array(prompt, np.int32))
    likeliest = int(row.logits().argmax())

    for token, greedy in ((likeliest, True), (likeliest + 1, False)):
        choice = completed(url, prompt=[[*prompt, token, 40]], max_tokens=1)["choices"][0]
        choice["logprobs"] = {name: [*told[:21], None] for name, told in choice["logprobs"].items()}
        assert judged(choice, len(prompt))[1] is greedy


def test_the_empty_key_that_it_sends_without_one_is_no_key(url: str) -> None:
    assert {one["authorization"] for one in asked_by_the_harness()} == {"Bearer"}

    answer = http.post(
        f"{url}/v1/completions", json={**ASKED, "prompt": [[9, 10]]}, headers={"Authorization": "Bearer"}
    )

    assert answer.status_code == 200
