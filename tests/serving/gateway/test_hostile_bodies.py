"""A thousand bodies that no client should send: each is answered or refused at once, and none with a 5xx."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as CompletionParams
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming as ResponseParams

from phi3core.registry.models import Version
from tests.support.made_up import TEXT

HALF = "\ud83d"
CHAT, COMPLETION, RESPONSE = "chat/completions", "completions", "responses"
VALID: dict[str, dict[str, Any]] = {
    CHAT: {"model": "demo/1", "messages": [{"role": "user", "content": "Hi"}]},
    COMPLETION: {"model": "demo/1", "prompt": "Hi"},
    RESPONSE: {"model": "demo/1", "input": "Hi", "store": False},
}
PARAMS = {CHAT: ChatParams, COMPLETION: CompletionParams, RESPONSE: ResponseParams}
NAMES = {
    path: sorted({*typing.get_type_hints(params), "top_k", "min_p", "stream", "\0", HALF} - {"store"})
    for path, params in PARAMS.items()
}
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 0.5, 1e308, float("nan"), float("-inf")),
    *("", "\0", HALF, "x" * 3000, "../../etc/passwd", "demo/1", "demo/\0", "demo@\u202e", "%s%n", "null"),
    *([], {}, [[]], [{}], [None], {"": {}}, {HALF: 1}, ["a"] * 40, [1, 2], [-1], [2**70]),
    *({"type": "json_object"}, {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}, {"include_usage": 1}),
    *([{"role": "user", "content": [{"type": "text"}]}], [{"role": "user", "content": HALF}]),
]
VALUES = (
    st.sampled_from(ODD) | TEXT | st.recursive(st.none() | TEXT | st.floats() | st.integers(), st.lists, max_leaves=3)
)
REQUESTS = st.sampled_from(sorted(VALID)).flatmap(
    lambda path: st.tuples(st.just(path), st.dictionaries(st.sampled_from(NAMES[path]), VALUES, min_size=1, max_size=3))
)
NESTED = "[" * 5000 + "]" * 5000


@pytest.fixture
def ask(url: str, named: Callable[..., Version]) -> Iterator[Callable[[str, bytes], httpx.Response]]:
    named("demo")
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=f"{url}/v1/", headers=headers, timeout=60, verify=False, trust_env=False) as client:
        yield lambda path, body: client.post(path, content=body)


def assert_well_answered(answer: httpx.Response) -> None:
    if answer.status_code == 200:
        ended = answer.text.endswith("data: [DONE]\n\n") or "event: response.completed\n" in answer.text
        assert ended or answer.json().keys() & {"choices", "output"}, answer.text
    else:
        assert answer.status_code in (400, 404), answer.text
        assert answer.json()["error"]["message"]


@settings(max_examples=900)
@given(REQUESTS)
def test_no_request_has_the_server_fail(
    ask: Callable[[str, bytes], httpx.Response], request_: tuple[str, dict[str, Any]]
) -> None:
    path, changes = request_
    assert_well_answered(ask(path, json.dumps(VALID[path] | changes).encode()))


@settings(max_examples=100)
@given(st.sampled_from(sorted(VALID)), st.binary(max_size=30) | st.text('[]{}",:0aeE+-. \ud83d', max_size=30))
@example(CHAT, NESTED)
@example(CHAT, "[" * 100_000)
@example(COMPLETION, '{"model": "demo/1", "prompt": ' + '{"a":' * 990 + "1" + "}" * 990 + "}")
@example(COMPLETION, f'{{"model": "demo/1", "prompt": "a", "stop": {NESTED}}}')
@example(COMPLETION, '{"model": "demo/1", "prompt": "a", "max_tokens": 1' + "0" * 5000 + "}")
@example(COMPLETION, b'\xff\xfe{\x00"\x00m\x00"\x00:\x001\x00}\x00')
def test_no_bytes_have_the_server_fail(
    ask: Callable[[str, bytes], httpx.Response], path: str, body: bytes | str
) -> None:
    answer = ask(path, body.encode(errors="surrogatepass") if isinstance(body, str) else body)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
