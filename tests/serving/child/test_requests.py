"""What requests may hold: messages, the form of the answer, options; what is not supported is refused by its name."""

from __future__ import annotations

import json
import typing
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as CompletionParams

from tests.support.choir import Choir
from tests.support.fakes import FakeEngine
from tests.support.serving import CHAT, HELLO, http, streamed

# ---------------------------------------------------------------- what a message holds beside its text


def test_an_answer_can_be_sent_back_as_the_client_gave_it(client: openai.OpenAI, engine: FakeEngine) -> None:
    messages = [*HELLO]
    first = client.chat.completions.create(model="fake/1", messages=messages)
    messages.append(first.choices[0].message)
    messages.append({"role": "user", "content": "And?"})

    client.chat.completions.create(model="fake/1", messages=messages)
    messages[1] = first.choices[0].message.model_dump()
    client.chat.completions.create(model="fake/1", messages=messages)

    assert engine.prompts[1] == engine.prompts[2] == "<user>Where?<assistant>Madrid is it.<user>And?"


@pytest.mark.parametrize(
    "beside",
    [
        {"refusal": None, "annotations": [], "tool_calls": None, "function_call": None, "audio": None},
        {"tool_calls": []},
        {"name": "ada", "reasoning_content": "", "refusal": ""},
        {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.com"}}]},
    ],
)
def test_what_says_nothing_to_a_model_may_stand_beside_a_message(
    client: openai.OpenAI, engine: FakeEngine, beside: dict[str, Any]
) -> None:
    said: Any = [*HELLO, {"role": "assistant", "content": "There.", **beside}, {"role": "user", "content": "Sure?"}]

    client.chat.completions.create(model="fake/1", messages=said)

    assert engine.prompts == ["<user>Where?<assistant>There.<user>Sure?"]


_CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [_CALL]}, "messages[0].tool_calls"),
        ({"role": "assistant", "content": None, "function_call": {"name": "look"}}, "messages[0].function_call"),
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, "messages[0].audio"),
        ({"role": "assistant", "content": None, "refusal": "I won't."}, "messages[0].refusal"),
        ({"role": "user", "content": "Hi", "weight": 2}, "messages[0].weight"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", "tone": "low"}]}, "messages[0].content[0].tone"),
    ],
)
def test_what_a_message_holds_beside_its_text_is_refused_by_name(
    choir_url: str, choir: Choir, message: dict[str, Any], named: str
) -> None:
    answer = http.post(f"{choir_url}/v1/chat/completions", json={"messages": [message, *HELLO]})

    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": f"This server does not support {named}: leave it out.",
        "type": "invalid_request_error",
        "param": named,
        "code": "unsupported_parameter",
    }
    assert choir.asked == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stream": True, "stream_options": {"every": 5}}, "stream_options.every"),
        ({"response_format": {"type": "json_object", "grammar": "x"}}, "response_format.grammar"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "regex": "x"}}},
            "response_format.json_schema.regex",
        ),
    ],
)
def test_what_is_not_known_deeper_in_a_request_is_refused_by_name(
    choir_url: str, change: dict[str, Any], named: str
) -> None:
    answer = http.post(f"{choir_url}/v1/chat/completions", json={**CHAT, **change})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, named)


def test_messages_are_measured_and_rendered_under_the_same_rules(choir_url: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hi", "weight": 2}]}

    for path in ("/tokenize", "/apply-template"):
        answer = http.post(choir_url + path, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages[0].weight")


# ---------------------------------------------------------------- the form of the answer

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}, SCHEMA),
    ],
)
def test_the_form_that_is_asked_for_reaches_the_engine(
    client: openai.OpenAI, engine: FakeEngine, form: Any, schema: dict[str, Any] | None
) -> None:
    client.chat.completions.create(model="fake/1", messages=HELLO, response_format=form)

    asked = engine.asked[0].json_schema
    assert (json.loads(asked) if asked else None) == schema


def test_the_openai_client_reads_an_answer_into_a_class(client: openai.OpenAI, engine: FakeEngine) -> None:
    class Place(pydantic.BaseModel):
        city: str

    engine.words = ('{"city"', ': "Madrid"}')

    answer = client.chat.completions.parse(model="fake/1", messages=HELLO, response_format=Place)

    assert answer.choices[0].message.parsed == Place(city="Madrid")
    assert engine.asked[0].json_schema is not None
    assert json.loads(engine.asked[0].json_schema)["properties"]["city"]["type"] == "string"


@pytest.mark.parametrize(
    "form", [{"type": "yaml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 3}}, "json"]
)
def test_a_form_that_is_none_is_refused_by_its_name(url: str, engine: FakeEngine, form: Any) -> None:
    answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "response_format": form})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("response_format")
    assert engine.asked == []


# ---------------------------------------------------------------- other options


def test_penalties_reach_the_engine(client: openai.OpenAI, engine: FakeEngine) -> None:
    client.chat.completions.create(model="fake/1", messages=HELLO, presence_penalty=-1.5, frequency_penalty=0.5)

    assert (engine.asked[0].presence_penalty, engine.asked[0].frequency_penalty) == (-1.5, 0.5)


def test_max_completion_tokens_wins_over_the_older_word(client: openai.OpenAI, engine: FakeEngine) -> None:
    client.chat.completions.create(model="fake/1", messages=HELLO, max_tokens=30, max_completion_tokens=3)

    assert engine.asked[0].max_tokens == 3


def test_a_developer_message_is_a_system_message(client: openai.OpenAI, engine: FakeEngine) -> None:
    messages: list[Any] = [{"role": "developer", "content": "Be brief."}, *HELLO]

    client.chat.completions.create(model="fake/1", messages=messages)

    assert engine.prompts == ["<system>Be brief.<user>Where?"]


def test_the_usage_tells_how_much_was_kept(choir_client: openai.OpenAI) -> None:
    answer = choir_client.chat.completions.create(model="fake/1", messages=HELLO)

    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 5


def test_every_chunk_but_the_last_has_a_usage_of_null_when_it_is_asked_for(choir_url: str) -> None:
    *chunks, last = streamed(choir_url, "chat/completions", {**CHAT, "stream_options": {"include_usage": True}})

    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 5
    assert last["choices"] == []


def test_no_chunk_has_a_usage_when_it_is_not_asked_for(choir_url: str) -> None:
    assert not any("usage" in chunk for chunk in streamed(choir_url, "chat/completions", CHAT))


def test_stream_options_without_a_stream_are_refused(choir_url: str) -> None:
    answer = http.post(f"{choir_url}/v1/chat/completions", json={**CHAT, "stream_options": {"include_usage": True}})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream_options")


# ---------------------------------------------------------------- nothing is ignored


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "look"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "look"}]),
        ("logit_bias", {"50256": -100}),
        ("modalities", ["audio"]),
        ("audio", {"voice": "alloy"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("reasoning_effort", "high"),
        ("web_search_options", {}),
        ("best_of", 3),
        ("suffix", "the end"),
        ("tool_choice", {"type": "function", "function": {"name": "look"}}),
        ("unheard_of", 1),
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_what_this_server_cant_do_is_refused_by_name(
    choir_url: str, choir: Choir, path: str, name: str, value: Any
) -> None:
    body = CHAT if path == "chat/completions" else {"prompt": "Once"}

    answer = http.post(f"{choir_url}/v1/{path}", json={**body, name: value})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (name, "unsupported_parameter", "invalid_request_error")
    assert name in error["message"]
    assert choir.asked == []


def test_every_parameter_that_openai_has_is_either_known_or_refused_by_its_name(choir_url: str) -> None:
    """A value that no parameter of that name takes shows whether anybody looked at it."""
    looked_at = {}
    for path, params, body in (
        ("chat/completions", ChatParams, CHAT),
        ("completions", CompletionParams, {"prompt": "Once"}),
    ):
        for name in typing.get_type_hints(params):
            answer = http.post(f"{choir_url}/v1/{path}", json={**body, name: {"odd": "value"}})
            looked_at[path, name] = answer.status_code == 400
            if answer.status_code == 400:
                assert answer.json()["error"]["param"].split(".")[0] == name

    harmless = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
    assert {name for (_, name), seen in looked_at.items() if not seen} <= harmless


@pytest.mark.parametrize(
    ("path", "params", "body"),
    [("chat/completions", ChatParams, CHAT), ("completions", CompletionParams, {"prompt": "Once"})],
)
def test_what_may_be_null_at_openai_may_be_null_here(
    choir_url: str, path: str, params: Any, body: dict[str, Any]
) -> None:
    hints = typing.get_type_hints(params)
    nullable = [name for name, hint in hints.items() if type(None) in typing.get_args(hint) and name != "prompt"]
    assert {"temperature", "stop", "stream"} <= set(nullable)

    refused = {}
    for name in nullable:
        answer = http.post(f"{choir_url}/v1/{path}", json={**body, name: None})
        if answer.status_code != 200:
            refused[name] = answer.text

    assert refused == {}
