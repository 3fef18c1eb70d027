"""The model server: what it refuses, how it loads, where it listens."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import httpx
import openai
import pytest

from phi3core.engine.interface import Engine
from phi3core.errors import BadInput, Conflict, SourceError
from phi3core.serving.child.app import bind_socket
from tests.support.fakes import FakeEngine, until
from tests.support.held import Held, asking, load_of
from tests.support.serving import CHAT, HELLO, http, serving, wait_loaded

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
        ({"top_p": -0.1}, 400, "top_p must be"),
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
    answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": stream, **change})

    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert told in error["message"]
    assert error["type"] == "invalid_request_error"
    assert engine.said == 0


def test_the_model_may_be_named_as_mlflow_writes_it(url: str) -> None:
    answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "model": "models:/fake/1"})

    assert (answer.status_code, answer.json()["model"]) == (200, "fake/1")


@pytest.mark.parametrize("body", [b"{ broken", b"", b"[]", b'"text"', b"null", b"\xff\xfe"])
def test_a_body_that_is_no_request_is_refused(url: str, body: bytes) -> None:
    answer = http.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("prompt", "told"), [("", "The prompt is empty"), ("x" * 500, "context holds 200"), ([1, "a"], "")]
)
def test_a_prompt_that_cant_be_completed_is_refused(url: str, prompt: Any, told: str) -> None:
    answer = http.post(f"{url}/v1/completions", json={"prompt": prompt})

    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_a_full_context_has_openais_code(url: str) -> None:
    answer = http.post(f"{url}/v1/completions", json={"prompt": "x" * 500})

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

    answer = http.post(f"{url}/v1/chat/completions", json=CHAT)

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
    answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, name: value})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "invalid_value")


def test_an_address_that_is_none_is_no_unknown_model(url: str) -> None:
    nowhere = http.get(f"{url}/v1/embeddings")
    unknown = http.post(f"{url}/v1/chat/completions", json={**CHAT, "model": "gpt-9"})

    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, None)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
def test_there_are_no_pages_that_load_scripts_from_the_internet(url: str, path: str) -> None:
    assert http.get(f"{url}{path}").status_code == 404


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**63, 10**30])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_seed_out_of_range_is_refused_with_a_sentence(url: str, engine: FakeEngine, seed: int, stream: bool) -> None:
    answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "seed": seed, "stream": stream})

    assert answer.status_code == 400, answer.text
    assert "seed must be a whole number of at most 64 bits" in answer.json()["error"]["message"]
    assert engine.asked == []


# ---------------------------------------------------------------- loading


def test_health_says_ready(url: str) -> None:
    health = http.get(f"{url}/health").json()

    assert (health["status"], health["model"], health["error"]) == ("ready", "fake/1", None)


def test_while_the_model_loads_the_server_says_so() -> None:
    go = threading.Event()

    def load() -> Engine:
        go.wait(20)
        return FakeEngine()

    with serving(load) as url:
        assert http.get(f"{url}/health").json()["status"] == "loading"
        answer = http.post(f"{url}/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "still loading" in answer.json()["error"]["message"]
        go.set()
        wait_loaded(url)
        assert http.post(f"{url}/v1/chat/completions", json=CHAT).status_code == 200


@pytest.mark.parametrize("error", [SourceError("The model can't be loaded: damaged."), RuntimeError("damaged")])
def test_a_model_that_cant_be_loaded_is_told_with_its_reason(error: Exception) -> None:
    def load() -> Engine:
        raise error

    with serving(load) as url:
        wait_loaded(url)
        health = http.get(f"{url}/health").json()
        answer = http.post(f"{url}/v1/chat/completions", json=CHAT)

    assert health["status"] == "failed"
    assert "The model can't be loaded" in health["error"]
    assert answer.status_code == 503
    assert "damaged" in answer.json()["error"]["message"]


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


# ---------------------------------------------------------------- tokens


def test_tokens_of_a_prompt_are_counted(url: str) -> None:
    counted = http.post(f"{url}/tokenize", json={"prompt": "Once"}).json()

    assert counted == {"count": 4, "max_model_len": 200, "prompt": "Once"}


def test_tokens_of_messages_are_those_of_the_rendered_prompt(url: str) -> None:
    counted = http.post(f"{url}/tokenize", json=CHAT).json()

    assert counted == {"count": 12, "max_model_len": 200, "prompt": "<user>Where?"}


def test_a_prompt_that_is_too_long_is_counted_all_the_same(url: str) -> None:
    assert http.post(f"{url}/tokenize", json={"prompt": "x" * 5000}).json()["count"] == 5000


def test_tokens_are_counted_while_an_answer_is_written() -> None:
    engine = Held()
    with serving(lambda: engine) as url:
        wait_loaded(url)
        with asking(url, 1):
            until(lambda: load_of(url) == (1, 0))
            assert http.post(f"{url}/tokenize", json={"prompt": "Once"}, timeout=2).json()["count"] == 4
            engine.go.set()
