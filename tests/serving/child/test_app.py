"""The model server as its clients see it: the official openai client, and raw requests for what it never sends."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import httpx
import openai
import pytest

from phi3core.engine.interface import Done, End, Engine, Messages, Options, Piece, Prompt
from phi3core.engine.loader import open_artifact
from phi3core.errors import BadInput, Conflict, SourceError
from phi3core.registry import artifacts, reader
from phi3core.serving.child.app import bind_socket
from tests.conftest import MODEL, Built
from tests.support.fakes import FakeEngine, until
from tests.support.serving import client_of, serving, wait_loaded

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
        ({"n": 0}, 400, "n must be between 1 and 8"),
        ({"n": 9}, 400, "n must be between 1 and 8"),
        ({"presence_penalty": -2.5}, 400, "presence_penalty must be between -2 and 2"),
        ({"frequency_penalty": 2.5}, 400, "frequency_penalty must be between -2 and 2"),
        ({"tools": [{"type": "function"}]}, 400, "does not support tools"),
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


def test_health_says_ready(url: str) -> None:
    health = httpx.get(f"{url}/health").json()

    assert (health["status"], health["model"], health["error"]) == ("ready", "fake/1", None)


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
    connection = send(url, {**CHAT, "stream": stream, "max_tokens": 1000})
    until(lambda: engine.said >= 3)

    hang_up(connection)
    said = engine.said

    assert engine.ended.wait(10)
    assert engine.said - said <= 4


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


def test_a_token_does_not_wait_for_the_one_before_it_to_arrive() -> None:
    """By asyncio, which sets TCP_NODELAY where the listening socket names its protocol."""

    async def option() -> int:
        got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        sock = bind_socket("127.0.0.1", 0)
        async with await asyncio.start_server(accept, sock=sock):
            _, writer = await asyncio.open_connection(*sock.getsockname())
            writer.close()
            return await got

    assert asyncio.run(option())


def test_a_port_in_use_is_told() -> None:
    with bind_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"Port {port} is in use"):
            bind_socket("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 70000), ("127.0.0.1", -1), ("nowhere.invalid", 0), ("192.0.2.1", 0)]
)
def test_an_address_that_is_none_is_refused(host: str, port: int) -> None:
    with pytest.raises(BadInput, match="Can't listen on"):
        bind_socket(host, port)


# ---------------------------------------------------------------- the real model


@pytest.mark.model
@pytest.mark.parametrize("number", [1, 2, 3], ids=["transformers", "onnx", "onnx chat"])
def test_the_openai_client_talks_to_a_real_version(built: Built, number: int) -> None:
    folder = artifacts.local_folder(built.settings, reader.get_version(built.settings, f"{MODEL}/{number}"))
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


@pytest.mark.model
def test_a_real_version_does_all_that_the_protocol_has(built: Built) -> None:
    folder = artifacts.local_folder(built.settings, reader.get_version(built.settings, f"{MODEL}/2"))
    assert folder
    asked: list[Any] = [
        {"role": "developer", "content": "You are a patient teacher who answers in one or two short sentences. " * 5},
        {"role": "user", "content": "What is the capital of Spain?"},
    ]
    schema = {"type": "object", "properties": {"city": {"enum": ["Madrid", "Paris"]}}, "required": ["city"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}

    with serving(lambda: open_artifact(folder)) as url:
        wait_loaded(url)
        create = client_of(url).chat.completions.create
        options: dict[str, Any] = {"model": "fake/1", "messages": asked, "max_completion_tokens": 20, "seed": 4}
        first = create(**options, n=2, temperature=0.9, logprobs=True, top_logprobs=3)
        again = create(**options, n=2, temperature=0.9, logprobs=True, top_logprobs=3)
        told = create(**options, response_format=form, presence_penalty=0.5, frequency_penalty=0.5)
        counted = httpx.post(f"{url}/tokenize", json={"messages": asked}).json()

    assert [choice.message for choice in first.choices] == [choice.message for choice in again.choices]
    assert [choice.logprobs for choice in first.choices] == [choice.logprobs for choice in again.choices]
    assert first.choices[0].message.content != first.choices[1].message.content
    assert first.usage is not None
    assert again.usage is not None
    assert first.usage.prompt_tokens_details is not None
    assert again.usage.prompt_tokens_details is not None
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens - 1
    assert json.loads(told.choices[0].message.content or "")["city"] in ("Madrid", "Paris")
    assert counted["count"] == first.usage.prompt_tokens


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("temperature", 3, "temperature"),
        ("max_tokens", 0, "max_tokens"),
        ("max_completion_tokens", 0, "max_completion_tokens"),
        ("n", 9, "n"),
        ("stop", ["", "a"], "stop"),
    ],
)
def test_a_value_out_of_range_names_its_parameter(url: str, name: str, value: Any, param: str) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, name: value})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "invalid_value")


def test_an_address_that_is_none_is_no_unknown_model(url: str) -> None:
    nowhere = httpx.get(f"{url}/v1/embeddings")
    unknown = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "model": "gpt-9"})

    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, None)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


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


# ---------------------------------------------------------------- while the person reads


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_after_an_answer_the_server_reads_what_the_next_turn_begins_with(
    url: str, engine: FakeEngine, stream: bool
) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": stream})

    assert answer.status_code == 200
    until(lambda: engine.read)
    assert engine.read == [f"{engine.prompts[0]}<assistant>{''.join(engine.words)}"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/completions", {"prompt": "One, two,"}), ("/v1/chat/completions", {**CHAT, "n": 2})],
    ids=["a bare prompt", "several answers"],
)
def test_where_nobody_can_know_the_next_turn_nothing_is_read_ahead(
    url: str, engine: FakeEngine, path: str, body: dict[str, Any]
) -> None:
    httpx.post(f"{url}{path}", json=body)
    time.sleep(0.6)  # longer than it waits for a quiet moment

    assert engine.prompts
    assert engine.read == []


# ---------------------------------------------------------------- too many at once


class Held(FakeEngine):
    """Answers nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__(words=("well",))
        self.go = threading.Event()

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        while not self.go.wait(0.02):
            if stopped():
                return
            yield None
        yield from super().stream(prompt, options, stopped)


@contextmanager
def asking(url: str, count: int) -> Iterator[list[int]]:
    """So many requests in threads of their own; their statuses once they have ended."""
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(httpx.post(f"{url}/v1/chat/completions", json=CHAT, timeout=30).status_code)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield statuses
    for thread in threads:
        thread.join(20)


def load_of(url: str) -> tuple[int, int]:
    health = httpx.get(f"{url}/health").json()
    return health["running"], health["waiting"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_server_with_a_full_queue_says_when_to_come_back(stream: bool) -> None:
    engine = Held()
    with serving(lambda: engine, parallel=1, queue=1) as url:
        wait_loaded(url)
        with asking(url, 2) as statuses:
            until(lambda: load_of(url) == (1, 1))
            answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": stream})
            with pytest.raises(openai.RateLimitError):
                client_of(url).completions.create(model="fake/1", prompt="Once")
            invoked = httpx.post(f"{url}/invocations", json={"inputs": "Once"})
            engine.go.set()
        assert statuses == [200, 200]
        assert load_of(url) == (0, 0)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "1 requests are waiting already" in error["message"]
    assert invoked.status_code == 429


def test_of_many_requests_at_the_same_moment_no_more_are_let_in_than_the_queue_holds() -> None:
    engine = Held()
    with serving(lambda: engine, parallel=2, queue=3) as url:
        wait_loaded(url)
        with asking(url, 30) as statuses:
            until(lambda: len(statuses) == 25)
            engine.go.set()

    assert sorted(statuses) == [200] * 5 + [429] * 25


def test_what_cant_be_answered_is_told_even_when_the_queue_is_full() -> None:
    engine = Held()
    with serving(lambda: engine, parallel=1, queue=0) as url:
        wait_loaded(url)
        with asking(url, 1):
            until(lambda: load_of(url) == (1, 0))
            assert httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "n": 99}).status_code == 400
            assert httpx.post(f"{url}/tokenize", json={"prompt": "abc"}).json()["count"] == 3
            engine.go.set()


def test_hanging_up_takes_a_call_of_predict_out_of_the_queue() -> None:
    engine = Held()
    predicted: list[Any] = []
    engine.predict = lambda body: predicted.append(body)  # type: ignore[method-assign]
    with serving(lambda: engine, parallel=1) as url:
        wait_loaded(url)
        first = send(url, {**CHAT, "stream": True})
        until(lambda: httpx.get(f"{url}/health").json()["running"] == 1)
        second = send(url, {"inputs": [1]}, "/invocations")
        until(lambda: httpx.get(f"{url}/health").json()["waiting"] == 1)
        hang_up(second)
        until(lambda: httpx.get(f"{url}/health").json()["waiting"] == 0)
        engine.go.set()
        assert first.getresponse().read().endswith(b"data: [DONE]\n\n")

    assert predicted == []


# ---------------------------------------------------------------- hanging up before the first word


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_hanging_up_while_the_prompt_is_read_stops_the_answer(stream: bool) -> None:
    engine = Held()
    with serving(lambda: engine) as url:
        wait_loaded(url)
        connection = send(url, {**CHAT, "stream": stream})
        until(lambda: load_of(url) == (1, 0))

        hang_up(connection)

        until(lambda: load_of(url) == (0, 0), 5)
    assert engine.said == 0


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_hanging_up_while_it_waits_takes_a_request_out_of_the_queue(stream: bool) -> None:
    engine = Held()
    with serving(lambda: engine, parallel=1) as url:
        wait_loaded(url)
        with asking(url, 1) as statuses:
            until(lambda: load_of(url) == (1, 0))
            connection = send(url, {**CHAT, "stream": stream})
            until(lambda: load_of(url) == (1, 1))

            hang_up(connection)

            until(lambda: load_of(url) == (1, 0), 5)
            engine.go.set()
    assert statuses == [200]
    assert len(engine.prompts) == 1


def test_a_model_that_hangs_after_its_reader_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi3core.serving.child.worker._PATIENCE", 0.1)
    engine, hung = FakeEngine(("a", "b"), pause=1.5), threading.Event()
    with serving(lambda: engine, on_hung=hung.set) as url:
        wait_loaded(url)
        connection = send(url, {**CHAT, "stream": True})
        until(lambda: load_of(url) == (1, 0))
        assert not hung.is_set()

        hang_up(connection)

        assert hung.wait(5)


def send(url: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return connection


def hang_up(connection: http.client.HTTPConnection) -> None:
    assert connection.sock
    connection.sock.close()


# ---------------------------------------------------------------- models of other kinds


@contextmanager
def serving_kind(engine: FakeEngine) -> Iterator[str]:
    with serving(lambda: engine) as url:
        wait_loaded(url)
        yield url


class TakesMessages(FakeEngine):
    """Knows neither tokens nor a template."""

    chat = "messages"
    context_length = None  # type: ignore[assignment]
    supports = frozenset({"max_tokens", "temperature"})

    def prepare(self, messages: Messages) -> Prompt:
        return messages

    def count(self, prompt: Prompt) -> int | None:
        return None

    def check(self, prompt: Prompt, options: Options) -> int:
        return 0


class TakesPrompts(TakesMessages):
    """One text in, one text out."""

    chat = "prompt"

    def prepare(self, messages: Messages) -> Prompt:
        if len(messages) != 1:
            raise BadInput("This model takes one question and no conversation.")
        return messages[0]["content"]


class TakesRows(TakesMessages):
    """No words at all."""

    chat = "none"
    signature: ClassVar[dict[str, Any]] = {"inputs": [{"name": "x", "type": "double"}]}

    def predict(self, body: dict[str, Any]) -> Any:
        if "inputs" not in body:
            raise BadInput("The body has no inputs.")
        if body["inputs"] == "break":
            raise RuntimeError("the runtime broke")
        if body["inputs"] == "exit":
            raise SystemExit(1)
        return {"predictions": [2 * x for x in body["inputs"]]}


def test_a_model_of_messages_gets_them_as_they_are() -> None:
    engine = TakesMessages()
    with serving_kind(engine) as url:
        answer = client_of(url).chat.completions.create(model="fake/1", messages=HELLO, max_tokens=2)
        streamed = list(client_of(url).chat.completions.create(model="fake/1", messages=HELLO, stream=True))
        completed = httpx.post(f"{url}/v1/completions", json={"prompt": "Once"})
        rendered = httpx.post(f"{url}/apply-template", json=CHAT)
        counted = httpx.post(f"{url}/tokenize", json=CHAT)
        props = httpx.get(f"{url}/props").json()

    assert answer.choices[0].message.content == "Madrid is"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == "Madrid is it."
    assert engine.prompts == [HELLO, HELLO]
    assert (completed.status_code, rendered.status_code) == (400, 400)
    assert "use /v1/chat/completions" in completed.json()["error"]["message"]
    assert counted.json() == {"count": None, "max_model_len": None, "prompt": None}
    assert (props["chat"], props["n_ctx"], props["supports"]) == ("messages", None, ["max_tokens", "temperature"])


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("top_k", 5, "top_k"),
        ("seed", 5, "seed"),
        ("n", 2, "n"),
        ("presence_penalty", 1, "presence_penalty"),
        ("response_format", {"type": "json_object"}, "response_format"),
        ("logprobs", True, "logprobs"),
        ("top_p", Options().top_p, "top_p"),  # our own default is no neutral value
        ("top_k", Options().top_k, "top_k"),
    ],
)
def test_an_option_that_the_model_does_not_honour_is_refused_by_name(option: str, value: Any, name: str) -> None:
    engine = TakesMessages()
    with serving_kind(engine) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, option: value})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, name, "unsupported_parameter")
    assert f"does not support {name}" in error["message"]
    assert engine.asked == []


def test_an_option_that_asks_for_nothing_special_is_accepted_by_any_model() -> None:
    neutral = {"n": 1, "presence_penalty": 0, "frequency_penalty": 0, "stop": [], "response_format": {"type": "text"}}
    neutral |= {"top_p": 1, "repetition_penalty": 1.0}
    with serving_kind(TakesMessages()) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, **neutral, "logprobs": False})

    assert answer.status_code == 200, answer.text


def test_a_model_of_prompts_takes_one_question_and_no_conversation() -> None:
    engine = TakesPrompts()
    with serving_kind(engine) as url:
        asked = httpx.post(f"{url}/v1/chat/completions", json=CHAT)
        completed = httpx.post(f"{url}/v1/completions", json={"prompt": "Once"})
        conversation = httpx.post(f"{url}/v1/chat/completions", json={"messages": [*HELLO, *HELLO]})
        rendered = httpx.post(f"{url}/apply-template", json=CHAT)

    assert asked.json()["choices"][0]["message"]["content"] == "Madrid is it."
    assert completed.json()["choices"][0]["text"] == "Madrid is it."
    assert engine.prompts == ["Where?", "Once"]
    assert conversation.status_code == 400
    assert "no conversation" in conversation.json()["error"]["message"]
    assert rendered.status_code == 400


def test_a_model_without_words_answers_invocations_only() -> None:
    with serving_kind(TakesRows()) as url:
        predicted = httpx.post(f"{url}/invocations", json={"inputs": [1, 2.5]})
        refused = [
            httpx.post(f"{url}/v1/chat/completions", json=CHAT),
            httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}),
            httpx.post(f"{url}/v1/completions", json={"prompt": "Once"}),
            httpx.post(f"{url}/apply-template", json=CHAT),
        ]
        props = httpx.get(f"{url}/props").json()

    assert predicted.json() == {"predictions": [2, 5.0]}
    assert [answer.status_code for answer in refused] == [400] * 4
    for answer in refused[:3]:
        for way in ("JSON form on the app's Chat page", "mlflow models serve", "/invocations"):
            assert way in answer.json()["error"]["message"]
    assert props["signature"] == TakesRows.signature


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b'{"data": [1]}', 400, "has no inputs"),
        (b"[1]", 400, "must be a JSON object"),
        (b"{ broken", 400, "no JSON"),
        (b"", 400, "no JSON"),
        (b'{"inputs": "break"}', 500, "the runtime broke"),
        (b'{"inputs": "exit"}', 500, "tried to end its process"),
    ],
)
def test_invocations_that_fail_are_told_in_a_sentence(body: bytes, status: int, told: str) -> None:
    with serving_kind(TakesRows()) as url:
        answer = httpx.post(f"{url}/invocations", content=body, headers={"Content-Type": "application/json"})
        after = httpx.post(f"{url}/invocations", json={"inputs": [1]})

    assert answer.status_code == status, answer.text
    assert told in answer.json()["error"]["message"]
    assert after.json() == {"predictions": [2]}


# ---------------------------------------------------------------- tokens


def test_tokens_of_a_prompt_are_counted(url: str) -> None:
    counted = httpx.post(f"{url}/tokenize", json={"prompt": "Once"}).json()

    assert counted == {"count": 4, "max_model_len": 200, "prompt": "Once"}


def test_tokens_of_messages_are_those_of_the_rendered_prompt(url: str) -> None:
    counted = httpx.post(f"{url}/tokenize", json=CHAT).json()

    assert counted == {"count": 12, "max_model_len": 200, "prompt": "<user>Where?"}


def test_a_prompt_that_is_too_long_is_counted_all_the_same(url: str) -> None:
    assert httpx.post(f"{url}/tokenize", json={"prompt": "x" * 5000}).json()["count"] == 5000


def test_tokens_are_counted_while_an_answer_is_written() -> None:
    engine = Held()
    with serving(lambda: engine) as url:
        wait_loaded(url)
        with asking(url, 1):
            until(lambda: load_of(url) == (1, 0))
            assert httpx.post(f"{url}/tokenize", json={"prompt": "Once"}, timeout=2).json()["count"] == 4
            engine.go.set()
