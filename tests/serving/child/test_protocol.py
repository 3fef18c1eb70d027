"""OpenAI's protocol as its own client speaks it, and every answer held against the types of its package."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pydantic
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as CompletionParams

from phi3core.engine.interface import Done, End, Options, Piece, Prompt, Token
from tests.support.fakes import FakeEngine
from tests.support.serving import client_of, serving, wait_loaded

HELLO: list[Any] = [{"role": "user", "content": "Where?"}]
CHAT = {"messages": HELLO}


class Choir(FakeEngine):
    """Gives as many answers as asked for, each numbered, with probabilities, and has kept five tokens."""

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        self.asked.append(options)
        self.prompts.append(prompt)
        for index in range(options.n):
            words = (str(index), *self.words)[: options.max_tokens]
            for word in words:
                told = (_token(word, options.logprobs),) if options.logprobs is not None else ()
                yield Piece(word, index, told)
            yield End("length" if index else "stop", index)
        yield Done(len(prompt), options.n * len(words), 5)


def _token(word: str, top: int) -> Token:
    return Token(word, -0.25, ((word, -0.25), (word.upper(), -2.0), (word * 2, -3.0))[:top])


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def url(engine: FakeEngine) -> Iterator[str]:
    with serving(lambda: engine, ("fake/1", "fake@champion")) as address:
        wait_loaded(address)
        yield address


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return client_of(url)


@pytest.fixture(scope="module")
def choir_and_url() -> Iterator[tuple[Choir, str]]:
    choir = Choir()
    with serving(lambda: choir) as address:
        wait_loaded(address)
        yield choir, address


@pytest.fixture
def choir(choir_and_url: tuple[Choir, str]) -> Choir:
    choir_and_url[0].asked.clear()
    choir_and_url[0].prompts.clear()
    return choir_and_url[0]


@pytest.fixture
def choir_url(choir_and_url: tuple[Choir, str]) -> str:
    return choir_and_url[1]


@pytest.fixture
def choir_client(choir_url: str) -> openai.OpenAI:
    return client_of(choir_url)


# ---------------------------------------------------------------- answers, whole and streamed


def test_a_chat_is_answered(client: openai.OpenAI, engine: FakeEngine) -> None:
    answer = client.chat.completions.create(model="fake/1", messages=HELLO)

    assert answer.choices[0].message.content == "Madrid is it."
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (12, 4, 16)
    assert (answer.model, answer.object) == ("fake/1", "chat.completion")
    assert engine.prompts == ["<user>Where?"]


def test_a_chat_is_streamed_word_by_word(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="fake/1", messages=HELLO, stream=True))

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Madrid", " is", " it", ".", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 5 + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_the_usage_when_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="fake/1", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )

    *_, last = stream

    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (12, 4)


def test_a_completion_takes_the_prompt_as_it_is(client: openai.OpenAI, engine: FakeEngine) -> None:
    answer = client.completions.create(model="fake/1", prompt="Once upon")

    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Madrid is it.", "stop")
    assert answer.object == "text_completion"
    assert engine.prompts == ["Once upon"]


def test_a_completion_is_streamed_too(client: openai.OpenAI) -> None:
    chunks = list(client.completions.create(model="fake/1", prompt="Once upon", stream=True))

    assert "".join(chunk.choices[0].text for chunk in chunks) == "Madrid is it."
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_is_made_of_server_sent_events_and_ends_with_done(url: str) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True})

    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"


def test_an_answer_cut_by_its_limit_says_length(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake/1", messages=HELLO, max_tokens=2)

    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Madrid is", "length")


def test_options_reach_the_engine_under_openais_names(client: openai.OpenAI, engine: FakeEngine) -> None:
    client.chat.completions.create(
        model="fake/1",
        messages=HELLO,
        max_completion_tokens=3,
        temperature=0,
        top_p=0.5,
        seed=7,
        stop="END",
        extra_body={"top_k": 5, "repetition_penalty": 1.3},
    )

    (asked,) = engine.asked
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.seed, asked.stop) == (3, 0, 0.5, 7, ("END",))
    assert (asked.top_k, asked.repetition_penalty) == (5, 1.3)


def test_options_left_out_are_the_models_own(client: openai.OpenAI, engine: FakeEngine) -> None:
    client.chat.completions.create(model="fake/1", messages=HELLO, stop=None)

    assert engine.asked == [engine.options]


def test_a_message_may_come_in_parts(client: openai.OpenAI, engine: FakeEngine) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "ere?"}]}]

    client.chat.completions.create(model="fake/1", messages=parts)

    assert engine.prompts == ["<user>Where?"]


def test_what_has_no_effect_anyway_is_accepted(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="fake/1", messages=HELLO, n=1, presence_penalty=0, user="ada", logprobs=False, tools=[]
    )

    assert answer.choices[0].message.content == "Madrid is it."


def test_the_models_are_listed_under_all_their_names(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["fake/1", "fake@champion"]


def test_a_model_answers_under_its_other_name(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="fake@champion", messages=HELLO).model == "fake/1"


def test_the_rendered_prompt_and_the_options_can_be_looked_at(url: str) -> None:
    rendered = httpx.post(f"{url}/apply-template", json=CHAT).json()
    props = httpx.get(f"{url}/props").json()

    assert rendered["prompt"] == "<user>Where?"
    assert props["n_ctx"] == 200
    assert props["default_generation_settings"]["max_tokens"] == 50


def test_text_in_any_script_survives(engine: FakeEngine, client: openai.OpenAI) -> None:
    engine.words = ("¡Qué", " 😀", " 東京\n\n", "data: x")

    chunks = client.chat.completions.create(model="fake/1", messages=HELLO, stream=True)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "¡Qué 😀 東京\n\ndata: x"


def test_the_openai_clients_own_stream_helper_puts_the_answer_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="fake/1", messages=HELLO) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        whole = stream.get_final_completion()

    assert "".join(deltas) == whole.choices[0].message.content == "Madrid is it."
    assert whole.choices[0].finish_reason == "stop"


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
        ({"role": "user", "content": "Hi", "name": "ada"}, "messages[0].name"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", "tone": "low"}]}, "messages[0].content[0].tone"),
    ],
)
def test_what_a_message_holds_beside_its_text_is_refused_by_name(
    choir_url: str, choir: Choir, message: dict[str, Any], named: str
) -> None:
    answer = httpx.post(f"{choir_url}/v1/chat/completions", json={"messages": [message, *HELLO]})

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
    answer = httpx.post(f"{choir_url}/v1/chat/completions", json={**CHAT, **change})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, named)


def test_messages_are_measured_and_rendered_under_the_same_rules(choir_url: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hi", "name": "ada"}]}

    for path in ("/tokenize", "/apply-template"):
        answer = httpx.post(choir_url + path, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages[0].name")


# ---------------------------------------------------------------- counts that nobody knows


class Uncounted(Choir):
    """Tells no counts, as many a model of somebody else."""

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        for item in super().stream(prompt, options, stopped):
            yield Done(0, 0, counted=False) if isinstance(item, Done) else item


def test_counts_that_nobody_knows_are_not_told() -> None:
    with serving(Uncounted) as url:
        wait_loaded(url)
        client = client_of(url)
        asked: Any = {"stream": True, "stream_options": {"include_usage": True}}

        assert client.chat.completions.create(model="fake/1", messages=HELLO).usage is None
        assert client.completions.create(model="fake/1", prompt="Once").usage is None
        chunks = [*client.chat.completions.create(model="fake/1", messages=HELLO, **asked)]

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


# ---------------------------------------------------------------- several answers


def test_several_answers_come_as_several_choices(choir_client: openai.OpenAI) -> None:
    answer = choir_client.chat.completions.create(model="fake/1", messages=HELLO, n=3)

    assert [choice.message.content for choice in answer.choices] == [f"{index}Madrid is it." for index in range(3)]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "length", "length"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 15


def test_several_answers_are_streamed_under_their_indices(choir_client: openai.OpenAI) -> None:
    texts, roles, reasons = ["", ""], [None, None], [None, None]  # type: Any, Any, Any
    for chunk in choir_client.chat.completions.create(model="fake/1", messages=HELLO, n=2, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        roles[choice.index] = roles[choice.index] or choice.delta.role
        reasons[choice.index] = choice.finish_reason or reasons[choice.index]

    assert texts == ["0Madrid is it.", "1Madrid is it."]
    assert roles == ["assistant", "assistant"]
    assert reasons == ["stop", "length"]


def test_several_completions_come_whole_and_streamed(choir_client: openai.OpenAI) -> None:
    whole = choir_client.completions.create(model="fake/1", prompt="Once", n=2)
    texts = ["", ""]
    for chunk in choir_client.completions.create(model="fake/1", prompt="Once", n=2, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text

    assert [choice.text for choice in whole.choices] == texts == ["0Madrid is it.", "1Madrid is it."]


# ---------------------------------------------------------------- probabilities


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
    answer = httpx.post(f"{choir_url}/v1/chat/completions", json={**CHAT, **change})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_more_alternatives_than_openai_tells_are_refused(choir_url: str) -> None:
    body = {**CHAT, "logprobs": True, "top_logprobs": 21}

    answer = httpx.post(f"{choir_url}/v1/chat/completions", json=body)

    assert answer.status_code == 400
    assert "top_logprobs must be between 0 and 20" in answer.json()["error"]["message"]


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
    answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "response_format": form})

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
    answer = httpx.post(f"{choir_url}/v1/chat/completions", json={**CHAT, "stream_options": {"include_usage": True}})

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
        ("echo", True),
        ("suffix", "the end"),
        ("min_p", 0.1),
        ("unheard_of", 1),
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_what_this_server_cant_do_is_refused_by_name(
    choir_url: str, choir: Choir, path: str, name: str, value: Any
) -> None:
    body = CHAT if path == "chat/completions" else {"prompt": "Once"}

    answer = httpx.post(f"{choir_url}/v1/{path}", json={**body, name: value})

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
            answer = httpx.post(f"{choir_url}/v1/{path}", json={**body, name: {"odd": "value"}})
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
        answer = httpx.post(f"{choir_url}/v1/{path}", json={**body, name: None})
        if answer.status_code != 200:
            refused[name] = answer.text

    assert refused == {}


# ---------------------------------------------------------------- held against OpenAI's own types


def streamed(url: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks of a stream as they are written."""
    answer = httpx.post(f"{url}/v1/{path}", json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


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
    answer = httpx.post(f"{choir_url}/v1/chat/completions", json={**CHAT, **extra})

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

    conforms(Completion, httpx.post(f"{choir_url}/v1/completions", json=body).json())
    for chunk in chunks:
        # OpenAI's own chunks hold null until the last one, against what its types say.
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        conforms(Completion, chunk)
