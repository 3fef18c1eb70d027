"""Values as OpenAI and vLLM take them, and completions of several prompts, whose answers come in their order."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from phi3core.engine.interface import Options
from tests.support.choir import Choir
from tests.support.fakes import FakeEngine
from tests.support.serving import CHAT, HELLO, client_of, http, serving, streamed, wait_loaded


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("Once", ["Once"]),
        (["Once"], ["Once"]),
        (["Once", "Twice"], ["Once", "Twice"]),
        ([1, 2, 3], [(1, 2, 3)]),
        ([[1, 2], [3]], [(1, 2), (3,)]),
    ],
)
def test_a_prompt_may_be_one_or_several_of_text_or_of_tokens(
    choir_url: str, choir: Choir, prompt: Any, asked: list[Any]
) -> None:
    answer = http.post(f"{choir_url}/v1/completions", json={"prompt": prompt})

    assert answer.status_code == 200, answer.text
    assert choir.prompts == asked
    assert [choice["text"] for choice in answer.json()["choices"]] == ["0Madrid is it."] * len(asked)
    assert answer.json()["usage"]["prompt_tokens"] == sum(len(one) for one in asked)


def test_the_answers_to_several_prompts_are_numbered_in_their_order(choir_client: openai.OpenAI, choir: Choir) -> None:
    answer = choir_client.completions.create(model="fake/1", prompt=["a", "bcd"], n=2, logprobs=1)

    assert [(choice.index, choice.text[0]) for choice in answer.choices] == [(0, "0"), (1, "1"), (2, "0"), (3, "1")]
    assert all(choice.logprobs and choice.logprobs.tokens for choice in answer.choices)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 20)


def test_several_prompts_are_streamed_one_after_the_other(choir_url: str) -> None:
    body = {"prompt": ["a", "bcd"], "n": 2, "stream_options": {"include_usage": True}}
    *chunks, last = streamed(choir_url, "completions", body)

    texts = ["", "", "", ""]
    for chunk in chunks:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == ["0Madrid is it.", "1Madrid is it."] * 2
    assert [c["choices"][0]["index"] for c in chunks] == sorted(c["choices"][0]["index"] for c in chunks)
    assert last["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize(
    "prompt", [[], [[]], [""], ["a", ""], [1, "a"], [[1], "a"], [True], [1.5], {}, None, ["a"] * 2049]
)
def test_a_list_that_is_no_list_of_prompts_is_refused(choir_url: str, choir: Choir, prompt: Any) -> None:
    answer = http.post(f"{choir_url}/v1/completions", json={"prompt": prompt})

    assert answer.status_code == 400, answer.text
    assert choir.asked == []


def test_further_prompts_wait_for_their_turn_where_nothing_more_may_wait() -> None:
    engine = FakeEngine()
    with serving(lambda: engine, parallel=1, queue=0) as url:
        wait_loaded(url)
        answer = client_of(url).completions.create(model="fake/1", prompt=["a", "b", "c"])

    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert engine.prompts == ["a", "b", "c"]


# ---------------------------------------------------------------- values

_TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
_PART = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
_SAID = {"role": "assistant", "content": "", "reasoning_content": "", "tool_calls": []}


@pytest.mark.parametrize(
    "saying_nothing",
    [
        {"tools": [], "tool_choice": "none", "parallel_tool_calls": True},
        {"tools": _TOOLS, "tool_choice": "none"},
        {"functions": [{"name": "look"}], "function_call": "none"},
        {"logit_bias": {}, "user": "ada", "metadata": {"a": "b"}, "store": False, "service_tier": "auto"},
        {"seed": -1, "top_k": -1, "min_p": 0, "stop": []},
        {"reasoning_effort": "none", "verbosity": "medium", "prompt_cache_retention": "24h"},
        {"messages": [{"role": "user", "name": "ada", "content": [_PART]}]},
        {"messages": [*HELLO, _SAID, *HELLO]},
    ],
)
def test_what_says_nothing_is_accepted(choir_url: str, saying_nothing: dict[str, Any]) -> None:
    answer = http.post(f"{choir_url}/v1/chat/completions", json={**CHAT, **saying_nothing})

    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.json()


def test_values_as_openai_and_vllm_have_them_reach_the_engine(choir_url: str, choir: Choir) -> None:
    body = {"top_p": 0, "top_k": -1, "min_p": 0.2, "seed": 1_764_313_200_000, "stop": [*"abcdefghijklmnop"]}

    answer = http.post(f"{choir_url}/v1/chat/completions", json={**CHAT, **body})

    assert answer.status_code == 200, answer.text
    assert choir.asked == [Options(50, top_p=0, top_k=-1, min_p=0.2, seed=body["seed"], stop=tuple(body["stop"]))]
