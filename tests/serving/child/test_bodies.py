"""Bodies that can't be read are refused in one sentence, with what is wrong where: never a 5xx."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from phi3core.serving import body
from phi3core.serving.child import bodies, requests
from tests.support.fakes import FakeEngine
from tests.support.serving import CHAT, http

HALF = "hi \ud83d"
JSON = {"Content-Type": "application/json"}


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi", **fields}]}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("v1/chat/completions", message(content=HALF), "messages[0].content"),
        ("v1/chat/completions", message(content=[{"type": "text", "text": HALF}]), "messages[0].content[0].text"),
        ("v1/chat/completions", message(role=HALF), "messages[0].role"),
        ("v1/chat/completions", message(name=HALF), "messages[0].name"),
        ("v1/chat/completions", {**CHAT, "model": HALF}, "model"),
        ("v1/chat/completions", {**CHAT, "stop": ["a", HALF]}, "stop[1]"),
        ("v1/chat/completions", {**CHAT, "user": HALF}, "user"),
        (
            "v1/chat/completions",
            {**CHAT, "response_format": {"type": "json_schema", "json_schema": {"schema": {"const": HALF}}}},
            "response_format.json_schema.schema.const",
        ),
        ("v1/completions", {"prompt": HALF}, "prompt"),
        ("v1/completions", {"prompt": ["a", HALF]}, "prompt[1]"),
        ("apply-template", message(content=HALF), "messages[0].content"),
        ("tokenize", {"prompt": HALF}, "prompt"),
        ("invocations", {"inputs": [HALF]}, "inputs[0]"),
    ],
)
def test_half_of_a_character_is_refused_with_its_field(
    url: str, engine: FakeEngine, path: str, body: dict[str, Any], field: str
) -> None:
    answer = http.post(f"{url}/{path}", content=json.dumps(body), headers=JSON)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == field
    assert error["message"].startswith(f"{field} is not valid Unicode: it holds half of a character")
    assert engine.asked == []


def test_half_of_a_character_in_a_name_is_refused(url: str) -> None:
    answer = http.post(
        f"{url}/v1/completions", content=json.dumps({"prompt": "a", "logit_bias": {HALF: 1}}), headers=JSON
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("A name in logit_bias is not valid Unicode")


def test_both_halves_are_a_character(url: str, engine: FakeEngine) -> None:
    answer = http.post(f"{url}/v1/completions", content=r'{"prompt": "\ud83d\ude00"}', headers=JSON)

    assert (answer.status_code, engine.prompts) == (200, ["😀"])


@pytest.mark.parametrize("depth", [101, 990, 5000, 100_000])
@pytest.mark.parametrize("path", ["v1/chat/completions", "v1/completions", "tokenize", "invocations"])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_what_is_nested_too_deep_is_refused(url: str, depth: int, path: str, brackets: str) -> None:
    nested = "[" * depth + "]" * depth if brackets == "[]" else '{"a":' * depth + "1" + "}" * depth

    answer = http.post(f"{url}/{path}", content=f'{{"prompt": "a", "metadata": {nested}}}', headers=JSON)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_what_is_nested_as_schemas_are_is_read(url: str, engine: FakeEngine) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(20):
        schema = {"type": "object", "properties": {"inner": schema}}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}

    assert http.post(f"{url}/v1/chat/completions", json={**CHAT, "response_format": form}).status_code == 200
    assert json.loads(engine.asked[0].json_schema or "") == schema


def test_while_long_bodies_are_parsed_others_are_answered(
    url: str, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, done = threading.Event(), threading.Event()

    def parse(text: bytes) -> Any:
        if len(text) >= body.LONG:
            begun.set()
            assert done.wait(20)
        return body.parse_body(text)

    monkeypatch.setattr(bodies, "parse_body", parse)
    long = {**CHAT, "user": "x" * body.LONG}
    with ThreadPoolExecutor(5) as senders:
        sent = [senders.submit(http.post, f"{url}/v1/chat/completions", json=long, timeout=30) for _ in range(5)]
        assert begun.wait(20)
        try:
            answer = http.post(f"{url}/v1/chat/completions", json=CHAT)
        finally:
            done.set()
        assert [answer.status_code, *(other.result().status_code for other in sent)] == [200] * 6


@pytest.mark.parametrize(
    ("path", "sent", "place"),
    [
        ("v1/chat/completions", message(content=5), "messages[0].content"),
        ("v1/chat/completions", message(role="x"), "messages[0].role"),
        ("v1/completions", {"prompt": {"a": 1}}, "prompt"),
        ("v1/completions", {}, "prompt"),
    ],
)
def test_what_is_of_another_form_is_refused_with_its_place(
    url: str, engine: FakeEngine, path: str, sent: dict[str, Any], place: str
) -> None:
    answer = http.post(f"{url}/{path}", json=sent)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, place)
    assert answer.json()["error"]["message"].startswith(f"{place}: ")


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        (requests.CompletionRequest, {"prompt": [*[1] * 5000, 0.5]}),
        (requests.CompletionRequest, {"prompt": [[1, *["a"] * 5000]] * 9}),
        (requests.CompletionRequest, {"prompt": "a", "stop": [5] * 5000}),
        (requests.ChatRequest, {"messages": [{"role": "x"}] * 5000}),
        (requests.ChatRequest, {"messages": [{"role": "user", "content": [{"type": 5}] * 5000}]}),
        (requests.TokenizeRequest, {"messages": [{"role": "x"}] * 5000}),
    ],
)
def test_a_long_list_of_another_form_is_refused_by_its_first_place_alone(
    form: type[BaseModel], sent: dict[str, Any]
) -> None:
    with pytest.raises(RequestValidationError) as refused:
        bodies._read(json.dumps(sent).encode(), form)

    assert len(refused.value.errors()) <= 4  # one for each form that the list may have
    assert not any("input" in error for error in refused.value.errors())
