"""/v1/responses as OpenAI's own client sees it: text in, text out, whole and as events."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.support import children
from tests.support.gateway import passing_on
from tests.support.serving import client_of, http


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[children.Engine]:
    """The engines that were opened, the newest last."""
    opened: list[children.Engine] = []
    load = children.load

    def recorded(folder: Path) -> children.Engine:
        opened.append(load(folder))
        return opened[-1]

    monkeypatch.setattr(children, "load", recorded)
    return opened


@pytest.fixture
def engine(client: openai.OpenAI, engines: list[children.Engine], named: Callable[..., Version]) -> children.Engine:
    """That of demo/1, which has answered once already."""
    named("demo")
    client.responses.create(model="demo/1", input="Warm up", store=False)
    return engines[-1]


# ---------------------------------------------------------------- whole


def test_a_question_is_answered(client: openai.OpenAI, named: Callable[..., Version]) -> None:
    named("demo")

    answer = client.responses.create(model="models:/demo/1", input="Where?")

    assert (answer.status, answer.output_text, answer.model) == ("completed", " 0 1 2", "demo/1")
    assert answer.id.startswith("resp_")
    assert [(item.type, item.id) for item in answer.output] == [("message", answer.id.replace("resp_", "msg_"))]
    assert answer.error is None
    assert answer.usage is not None
    assert (answer.usage.output_tokens, answer.usage.input_tokens_details.cached_tokens) == (3, 0)
    assert answer.usage.total_tokens == answer.usage.input_tokens + 3


def test_the_model_reads_instructions_and_messages(client: openai.OpenAI, engine: children.Engine) -> None:
    parts = [{"type": "input_text", "text": "And "}, {"type": "input_text", "text": "now?"}]
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Here."}]}
    messages: Any = [{"role": "user", "content": "Where?"}, said, {"role": "user", "content": parts}]

    client.responses.create(model="demo/1", instructions="Be brief.", input=messages)

    assert engine.prompts[-1] == "<system>Be brief.<user>Where?<assistant>Here.<user>And now?"


def test_options_reach_the_model(client: openai.OpenAI, engine: children.Engine) -> None:
    client.responses.create(
        model="demo/1", input="Where?", temperature=0.5, top_p=0.7, max_output_tokens=20, extra_body={"seed": 7}
    )

    asked = engine.asked[-1]
    assert (asked.temperature, asked.top_p, asked.max_tokens, asked.seed) == (0.5, 0.7, 20, 7)


def test_an_answer_that_ran_into_its_limit_is_incomplete(client: openai.OpenAI, engine: children.Engine) -> None:
    answer = client.responses.create(model="demo/1", input="Where?", max_output_tokens=2)

    assert (answer.status, answer.output_text) == ("incomplete", " 0 1")
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_the_form_of_the_text_is_the_models_schema(client: openai.OpenAI, engine: children.Engine) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    strict: Any = {"type": "json_schema", "name": "place", "schema": schema, "strict": True}
    forms: list[tuple[Any, Any]] = [(strict, schema), ({"type": "json_object"}, {"type": "object"})]
    for form, expected in forms:
        answer = client.responses.create(model="demo/1", input="Where?", text={"format": form})

        assert json.loads(engine.asked[-1].json_schema or "null") == expected
        assert answer.text is not None
        assert answer.text.format is not None
        assert answer.text.format.type == form["type"]
    client.responses.create(model="demo/1", input="Where?", text={"format": {"type": "text"}})
    assert engine.asked[-1].json_schema is None


# ---------------------------------------------------------------- streamed


def test_a_stream_has_openais_events_in_order(client: openai.OpenAI, named: Callable[..., Version]) -> None:
    named("demo")

    events = [*client.responses.create(model="demo/1", input="Where?", stream=True)]

    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * sum(event.type == "response.output_text.delta" for event in events),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == " 0 1 2"
    last = events[-1]
    assert last.type == "response.completed"
    assert (last.response.output_text, last.response.status) == (" 0 1 2", "completed")
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 3


def test_the_clients_own_stream_gathers_the_response(client: openai.OpenAI, named: Callable[..., Version]) -> None:
    named("demo")

    with client.responses.stream(model="demo/1", input="Where?") as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()

    assert kinds[-1] == "response.completed"
    assert (answer.output_text, answer.status) == (" 0 1 2", "completed")
    limited = client.responses.create(model="demo/1", input="Where?", max_output_tokens=2, stream=True)
    assert [event.type for event in limited][-1] == "response.incomplete"


def test_probabilities_come_with_the_text(url: str, named: Callable[..., Version]) -> None:
    named("demo")
    body = {"model": "demo/1", "input": "Where?", "include": ["message.output_text.logprobs"], "top_logprobs": 2}

    answer = http.post(f"{url}/v1/responses", json=body).json()

    assert isinstance(answer["output"][0]["content"][0]["logprobs"], list)
    assert answer["top_logprobs"] == 2


# ---------------------------------------------------------------- what can't be


@pytest.mark.parametrize(
    ("change", "param", "told"),
    [
        ({"tools": [{"type": "function", "name": "f"}]}, "tools", "does not support tools="),
        ({"tool_choice": "required"}, "tool_choice", "does not support tool_choice="),
        ({"background": True}, "background", "does not support background=true"),
        ({"truncation": "auto"}, "truncation", "does not support truncation="),
        ({"reasoning": {"effort": "high"}}, "reasoning", "does not support reasoning="),
        ({"conversation": "conv_1"}, "conversation", "does not support conversation="),
        ({"include": ["file_search_call.results"]}, "include", "does not support include="),
        ({"unheard_of": 1}, "unheard_of", "does not support unheard_of=1"),
        ({"input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]}, "input[0]", "messages only"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]", "text only"),
        ({"input": [{"role": "user"}]}, "input[0].content", "must be a text"),
        ({"input": 3}, "input", "input must be a text or a list of messages"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "needs a schema"),
        ({"text": {"verbosity": "high"}}, "text.verbosity", "verbosity"),
        ({"max_output_tokens": 0}, "max_output_tokens", "max_output_tokens must be at least 1."),
        ({"temperature": 9}, "temperature", "temperature must be between 0 and 2."),
        ({"input": ""}, None, "The last message is empty"),
        ({"previous_response_id": "resp_nothing"}, "previous_response_id", "There is no “resp_nothing” of yours"),
    ],
)
def test_what_no_model_here_can_do_is_refused_by_name(
    url: str, named: Callable[..., Version], change: dict[str, Any], param: str | None, told: str
) -> None:
    named("demo")

    for stream in (False, True):
        answer = http.post(f"{url}/v1/responses", json={"model": "demo/1", "input": "Hi", "stream": stream, **change})

        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, param), error
        assert told in error["message"]


@pytest.mark.parametrize(
    "neutral",
    [
        {"tools": [], "reasoning": {"effort": None}, "truncation": "disabled", "user": "u", "background": False},
        {"tools": [{"type": "function", "name": "look", "parameters": {}}], "tool_choice": "none"},
        {"tools": None, "tool_choice": None, "text": {"format": None}, "reasoning": None, "metadata": None},
    ],
)
def test_what_asks_for_nothing_is_accepted(
    client: openai.OpenAI, named: Callable[..., Version], neutral: dict[str, Any]
) -> None:
    named("demo")

    assert client.responses.create(model="demo/1", input="Where?", extra_body=neutral).status == "completed"


def test_a_model_that_breaks_in_mid_answer_fails_the_response(client: openai.OpenAI, engine: children.Engine) -> None:
    engine.fail_at = 1

    events = [*client.responses.create(model="demo/1", input="Where?", stream=True)]

    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "the runtime broke" in last.response.error.message
    assert last.response.output_text == " 0"
    with pytest.raises(openai.InternalServerError, match="the runtime broke"):
        client.with_options(max_retries=0).responses.create(model="demo/1", input="Where?")


def test_a_response_that_comes_when_the_app_ends_fails_and_says_so(
    settings: Settings, pool: Any, named: Callable[..., Version]
) -> None:
    named("slow", words=1000, pause=0.02)
    with passing_on(settings, pool) as (url, gateway):
        stream = client_of(url).responses.create(model="slow/1", input="Where?", stream=True)
        next(stream)

        gateway.hang_up()

        last = [*stream][-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.message == "The app is stopping."


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_the_model_does_not_take_is_left_out_and_told(
    url: str, named: Callable[..., Version], stream: bool
) -> None:
    named("plain", supports=[])
    body = {"model": "plain/1", "input": "Hi", "store": False, "max_output_tokens": 9, "temperature": 0}

    answer = http.post(f"{url}/v1/responses", json={**body, "stream": stream})

    made = json.loads(answer.text.rstrip().rpartition("data: ")[2])["response"] if stream else answer.json()
    assert made["status"] == "completed"
    assert made["warnings"] == ["Asked without max_output_tokens and temperature, which this model does not take."]
    assert answer.headers["x-left-out"] == "max_output_tokens, temperature"
