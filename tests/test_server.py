"""The model server as its clients see it: the official openai client, and raw requests for what it never sends."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from phi3core import registry
from phi3core.engine import Engine, open_artifact
from phi3core.errors import BadInput, Conflict, SourceError
from phi3core.serving.server import bind

from .conftest import MODEL, Built
from .fakes import FakeEngine, until
from .serving import client_of, serving, wait_loaded

HELLO: list[Any] = [{"role": "user", "content": "Where?"}]
CHAT = {"messages": HELLO}


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


# ---------------------------------------------------------------- the protocol


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


def test_health_says_ready(url: str) -> None:
    health = httpx.get(f"{url}/health").json()

    assert (health["status"], health["model"], health["error"]) == ("ready", "fake/1", None)


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


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": None}, 400, "messages"),
        ({"messages": "hello"}, 400, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "The last message is empty"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "The last message is empty"),
        ({"messages": [{"role": "user", "content": "x" * 500}]}, 400, "context holds 200"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "reads text only"),
        ({"temperature": 3}, 400, "temperature must be between 0 and 2"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "max_tokens must be at least 1"),
        ({"max_tokens": -1}, 400, "max_tokens must be at least 1"),
        ({"top_p": 0}, 400, "top_p must be"),
        ({"stop": [""]}, 400, "stop must be"),
        ({"n": 2}, 400, "does not support n=2"),
        ({"logprobs": True}, 400, "does not support logprobs"),
        ({"tools": [{"type": "function"}]}, 400, "does not support tools"),
        ({"response_format": {"type": "json_object"}}, 400, "does not support response_format"),
        ({"unheard_of": 1}, 400, "does not support unheard_of=1"),
        ({"model": "other/1"}, 404, "The model “other/1” is not served here; this server has fake/1"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_request_that_cant_be_met_is_refused_with_a_sentence(
    url: str, engine: FakeEngine, change: dict[str, Any], status: int, told: str, stream: bool
) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": stream, **change})

    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert told in error["message"]
    assert error["type"] == "invalid_request_error"
    assert engine.said == 0


@pytest.mark.parametrize("body", [b"{ broken", b"", b"[]", b'"text"', b"null", b"\xff\xfe"])
def test_a_body_that_is_no_request_is_refused(url: str, body: bytes) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("prompt", "told"), [("", "The prompt is empty"), ("x" * 500, "context holds 200"), (["a"], "")]
)
def test_a_prompt_that_cant_be_completed_is_refused(url: str, prompt: Any, told: str) -> None:
    answer = httpx.post(f"{url}/v1/completions", json={"prompt": prompt})

    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_a_full_context_has_openais_code(url: str) -> None:
    answer = httpx.post(f"{url}/v1/completions", json={"prompt": "x" * 500})

    assert answer.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/completions", 405)])
def test_an_address_that_is_not_there_gets_an_error_as_openai_writes_it(
    url: str, method: str, path: str, status: int
) -> None:
    answer = httpx.request(method, f"{url}{path}")

    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_engine_that_breaks_before_the_first_word_gives_a_500(url: str, engine: FakeEngine) -> None:
    engine.fail_at = 0

    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT)

    assert answer.status_code == 500
    assert "the runtime broke" in answer.json()["error"]["message"]


def test_an_engine_that_breaks_in_mid_answer_says_so_in_the_stream(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.fail_at = 2
    chunks = client.chat.completions.create(model="fake/1", messages=HELLO, stream=True)

    heard = [next(chunks).choices[0].delta.content for _ in range(3)]

    assert heard == ["", "Madrid", " is"]
    with pytest.raises(openai.APIError, match="failed in mid-answer: the runtime broke"):
        next(chunks)


def test_after_an_answer_that_broke_off_the_next_one_works(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.fail_at = 2
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="fake/1", messages=HELLO, stream=True))
    engine.fail_at = None

    assert client.chat.completions.create(model="fake/1", messages=HELLO).choices[0].message.content == "Madrid is it."


# ---------------------------------------------------------------- loading


def test_while_the_model_loads_the_server_says_so() -> None:
    go = threading.Event()

    def load() -> Engine:
        go.wait(20)
        return FakeEngine()

    with serving(load) as url:
        assert httpx.get(f"{url}/health").json()["status"] == "loading"
        answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "still loading" in answer.json()["error"]["message"]
        go.set()
        wait_loaded(url)
        assert httpx.post(f"{url}/v1/chat/completions", json=CHAT).status_code == 200


@pytest.mark.parametrize("error", [SourceError("The model can't be loaded: damaged."), RuntimeError("damaged")])
def test_a_model_that_cant_be_loaded_is_told_with_its_reason(error: Exception) -> None:
    def load() -> Engine:
        raise error

    with serving(load) as url:
        wait_loaded(url)
        health = httpx.get(f"{url}/health").json()
        answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT)

    assert health["status"] == "failed"
    assert "The model can't be loaded" in health["error"]
    assert answer.status_code == 503
    assert "damaged" in answer.json()["error"]["message"]


# ---------------------------------------------------------------- hanging up


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_hanging_up_stops_the_answer(engine: FakeEngine, url: str, stream: bool) -> None:
    engine.words, engine.pause = tuple(f"word{number} " for number in range(1000)), 0.02
    engine.context_length = 10_000
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    body = json.dumps({**CHAT, "stream": stream, "max_tokens": 1000})
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    until(lambda: engine.said >= 3)

    assert connection.sock
    connection.sock.close()
    said = engine.said

    assert engine.ended.wait(10)
    # A whole answer looks for its reader at every eighth piece only.
    assert engine.said - said <= (4 if stream else 12)


def test_the_next_request_does_not_wait_for_one_that_hung_up(engine: FakeEngine, url: str) -> None:
    engine.words, engine.pause = tuple("abcdefghij" * 50), 0.02
    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**CHAT, "stream": True, "max_tokens": 500}) as answer:
        next(answer.iter_lines())

    answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "max_tokens": 2}, timeout=5)

    assert answer.json()["choices"][0]["message"]["content"] == "ab"


def test_the_server_answers_health_while_it_generates(engine: FakeEngine, url: str) -> None:
    engine.words, engine.pause = tuple("abcdefghij" * 10), 0.02
    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        next(answer.iter_lines())
        assert httpx.get(f"{url}/health", timeout=1).json()["status"] == "ready"


def test_two_requests_at_once_are_both_answered(engine: FakeEngine, client: openai.OpenAI) -> None:
    engine.pause = 0.02
    answers: list[str | None] = []

    def ask() -> None:
        answers.append(client.chat.completions.create(model="fake/1", messages=HELLO).choices[0].message.content)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert answers == ["Madrid is it."] * 3


# ---------------------------------------------------------------- the guard


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_a_host_that_is_not_this_machine_is_refused(url: str, host: str) -> None:
    for path in ("/health", "/v1/models"):
        answer = httpx.get(f"{url}{path}", headers={"Host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_host")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "[::1]:8501", "LOCALHOST:1"])
def test_the_names_of_this_machine_are_accepted(url: str, host: str) -> None:
    assert httpx.get(f"{url}/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://evil.example:8501", "null", "http://127.0.0.1.evil.io"]
)
def test_a_web_page_of_another_origin_is_refused(url: str, engine: FakeEngine, origin: str) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, headers={"Origin": origin})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_origin")
    assert engine.prompts == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_that_any_web_page_may_send_is_refused(url: str, engine: FakeEngine, kind: str) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", content=json.dumps(CHAT), headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "not_json")
    assert engine.prompts == []


def test_json_with_a_charset_is_json(url: str) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}

    assert httpx.post(f"{url}/v1/chat/completions", content=json.dumps(CHAT), headers=headers).status_code == 200


def test_without_the_key_only_health_answers(engine: FakeEngine) -> None:
    with serving(lambda: engine, key="secret") as url:
        wait_loaded(url)
        for wrong in ("none", "secre", "secret2", "sécret".encode().decode("latin-1")):
            headers = {"Authorization": f"Bearer {wrong}".encode()}
            answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert httpx.get(f"{url}/v1/models").status_code == 401
        with pytest.raises(openai.AuthenticationError):
            client_of(url, "wrong").models.list()
        assert client_of(url, "secret").chat.completions.create(model="fake/1", messages=HELLO).usage
        assert engine.prompts == ["<user>Where?"]


def test_beyond_loopback_any_host_is_served(engine: FakeEngine) -> None:
    with serving(lambda: engine, key="secret", local=False) as url:
        answer = httpx.get(f"{url}/v1/models", headers={"Host": "model.example", "Authorization": "Bearer secret"})

    assert answer.status_code == 200


# ---------------------------------------------------------------- the address


def test_a_port_in_use_is_told() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"Port {port} is in use"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 70000), ("127.0.0.1", -1), ("nowhere.invalid", 0), ("192.0.2.1", 0)]
)
def test_an_address_that_is_none_is_refused(host: str, port: int) -> None:
    with pytest.raises(BadInput, match="Can't listen on"):
        bind(host, port)


# ---------------------------------------------------------------- the real model


@pytest.mark.model
@pytest.mark.parametrize("number", [1, 2, 3], ids=["transformers", "onnx", "onnx chat"])
def test_the_openai_client_talks_to_a_real_version(built: Built, number: int) -> None:
    folder = registry.local_folder(built.settings, registry.resolve(built.settings, f"{MODEL}/{number}"))
    assert folder
    question: list[Any] = [{"role": "user", "content": "What is the capital of Spain?"}]
    options: dict[str, Any] = {"model": f"{MODEL}/{number}", "max_tokens": 12, "temperature": 0}

    with serving(lambda: open_artifact(folder), (f"{MODEL}/{number}",)) as url:
        wait_loaded(url)
        client = client_of(url)
        whole = client.chat.completions.create(messages=question, **options)
        streamed = list(client.chat.completions.create(messages=question, stream=True, **options))
        completed = client.completions.create(prompt="One, two, three,", **options)
        with pytest.raises(openai.BadRequestError, match="context holds 8,192"):
            client.completions.create(prompt="word " * 9000, **options)

    text = whole.choices[0].message.content
    assert text
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == text
    assert len(streamed) > 5
    assert whole.usage
    assert 0 < whole.usage.completion_tokens <= 12
    assert "four" in completed.choices[0].text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
def test_there_are_no_pages_that_load_scripts_from_the_internet(url: str, path: str) -> None:
    assert httpx.get(f"{url}{path}").status_code == 404


@pytest.mark.parametrize("seed", [-1, 2**31, 10**30])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_seed_out_of_range_is_refused_with_a_sentence(url: str, engine: FakeEngine, seed: int, stream: bool) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "seed": seed, "stream": stream})

    assert answer.status_code == 400, answer.text
    assert "seed must be between 0 and 2,147,483,647" in answer.json()["error"]["message"]
    assert engine.asked == []
