"""The probabilities of tokens, as chat and completions tell them."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.support.choir import Choir
from tests.support.serving import CHAT, HELLO, http


def test_a_chat_tells_its_tokens_with_their_probabilities(choir_client: openai.OpenAI, choir: Choir) -> None:
    answer = choir_client.chat.completions.create(model="fake/1", messages=HELLO, logprobs=True, top_logprobs=2)

    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [token.token for token in logprobs.content] == ["0", "Madrid", " is", " it", "."]
    second = logprobs.content[1]
    assert (second.logprob, second.bytes) == (-0.25, list(b"Madrid"))
    assert [(top.token, top.logprob) for top in second.top_logprobs] == [("Madrid", -0.25), ("MADRID", -2.0)]
    assert choir.asked[0].logprobs == 2


def test_a_part_of_a_letter_is_told_without_bytes_that_are_not_its_own(
    choir_client: openai.OpenAI, choir: Choir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choir, "words", ("\ufffd", "é"))

    answer = choir_client.chat.completions.create(model="fake/1", messages=HELLO, logprobs=True)

    assert answer.choices[0].logprobs is not None
    assert [token.bytes for token in answer.choices[0].logprobs.content or []] == [[0x30], None, [0xC3, 0xA9]]


def test_a_chat_without_alternatives_tells_the_probabilities_all_the_same(
    choir_client: openai.OpenAI, choir: Choir
) -> None:
    answer = choir_client.chat.completions.create(model="fake/1", messages=HELLO, logprobs=True)

    assert answer.choices[0].logprobs is not None
    assert [token.top_logprobs for token in answer.choices[0].logprobs.content or []] == [[]] * 5
    assert choir.asked[0].logprobs == 0


def test_a_chat_that_was_not_asked_for_probabilities_tells_none(choir_client: openai.OpenAI, choir: Choir) -> None:
    answer = choir_client.chat.completions.create(model="fake/1", messages=HELLO, logprobs=False)

    assert answer.choices[0].logprobs is None
    assert choir.asked[0].logprobs is None


def test_a_streamed_chat_tells_probabilities_chunk_by_chunk(choir_client: openai.OpenAI) -> None:
    stream = choir_client.chat.completions.create(
        model="fake/1", messages=HELLO, logprobs=True, top_logprobs=1, stream=True
    )

    told = [chunk.choices[0] for chunk in stream if chunk.choices[0].delta.content]

    assert len(told) == 5
    for choice in told:
        assert choice.logprobs is not None
        assert [token.token for token in choice.logprobs.content or []] == [choice.delta.content]


def test_a_completion_tells_probabilities_in_its_own_shape(choir_client: openai.OpenAI) -> None:
    answer = choir_client.completions.create(model="fake/1", prompt="Once", logprobs=2)

    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["0", "Madrid", " is", " it", "."]
    assert logprobs.token_logprobs == [-0.25] * 5
    assert logprobs.text_offset == [0, 1, 7, 10, 13]
    assert logprobs.top_logprobs is not None
    assert logprobs.top_logprobs[2] == {" is": -0.25, " IS": -2.0}


def test_the_offsets_of_a_streamed_completion_go_on_from_chunk_to_chunk(choir_client: openai.OpenAI) -> None:
    offsets = []
    for chunk in choir_client.completions.create(model="fake/1", prompt="Once", logprobs=0, stream=True):
        if chunk.choices[0].logprobs:
            offsets += chunk.choices[0].logprobs.text_offset or []

    assert offsets == [0, 1, 7, 10, 13]


@pytest.mark.parametrize(
    ("change", "param"),
    [({"top_logprobs": 3}, "top_logprobs"), ({"logprobs": False, "top_logprobs": 0}, "top_logprobs")],
)
def test_alternatives_without_probabilities_are_refused(choir_url: str, change: dict[str, Any], param: str) -> None:
    answer = http.post(f"{choir_url}/v1/chat/completions", json={**CHAT, **change})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_more_alternatives_than_openai_tells_are_refused(choir_url: str) -> None:
    body = {**CHAT, "logprobs": True, "top_logprobs": 21}

    answer = http.post(f"{choir_url}/v1/chat/completions", json=body)

    assert answer.status_code == 400
    assert "top_logprobs must be between 0 and 20" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ("completions", {"prompt": "Hi", "logprobs": 21}, "logprobs"),
    ],
)
def test_too_many_alternatives_are_refused_by_the_name_that_the_request_gave_them(
    choir_url: str, path: str, body: dict[str, Any], name: str
) -> None:
    error = http.post(f"{choir_url}/v1/{path}", json=body).json()["error"]

    assert (error["param"], error["message"]) == (name, f"{name} must be between 0 and 20.")
