"""What /v1 refuses, what fails behind it, and what it says when the app ends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from phi3core.errors import StoreDown
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.serving.body import parse_body
from phi3core.serving.gateway import forward
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support.fakes import until
from tests.support.gateway import chat, passing_on
from tests.support.serving import HELLO, client_of, http
from tests.support.thread_child import ThreadChild

# ---------------------------------------------------------------- what can't be


def test_a_reference_that_means_no_version_is_not_found(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("demo")
    for model in ("nothing/1", "demo/9", "demo@nobody", "demo/Production", "gpt-4", "demo/Live"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model=model, messages=HELLO)

        assert caught.value.code == "model_not_found", model
    assert pool.servers() == []


def test_a_request_that_names_no_model_is_refused(url: str) -> None:
    for body in ("", "[]", "{}", '{"model": 3}', '{"model": ""}', "{", '{"model": null}'):
        answer = http.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})

        assert answer.status_code == 400, body
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_what_the_model_server_refuses_is_passed_on(url: str, named: Callable[..., Version]) -> None:
    named("demo")

    answer = chat(url, {"model": "demo/1", "messages": HELLO, "temperature": 9})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "temperature must be between 0 and 2."
    assert "content-length" in answer.headers


def test_a_full_queue_is_passed_on_with_when_to_try_again(settings: Settings, named: Callable[..., Version]) -> None:
    own = replace(settings, parallel=1, queue=0)
    pool = Pool(own, start_child=ThreadChild, watch=False)
    version = named("slow", words=20, pause=0.03)
    try:
        with passing_on(own, pool) as (url, _):
            server = pool.open(version)
            server.wait_ready(60)
            body = {"model": "slow/1", "messages": HELLO}
            first = threading.Thread(target=chat, args=(url, body), daemon=True)
            first.start()
            until(lambda: (server.check_health(1), server.active_requests)[1])

            second = chat(url, body)
            first.join(20)
    finally:
        pool.close()

    assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert second.headers["retry-after"] == "1"


def test_a_version_that_can_not_be_loaded_says_why_and_is_not_tried_again(
    url: str, pool: Pool, named: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = named("broken", fail="raise")
    opened: list[str] = []
    real = pool.open
    monkeypatch.setattr(pool, "open", lambda asked: (opened.append(asked.ref), real(asked))[1])
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")  # which tries again by itself, if it is let

    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="broken/1", messages=HELLO)

    assert caught.value.status_code == 503
    assert "broken/1 could not be opened." in caught.value.message
    assert "no such weights" in caught.value.message
    assert opened == [version.ref]


def test_too_little_memory_is_told(settings: Settings, named: Callable[..., Version]) -> None:
    pool = Pool(settings, start_child=ThreadChild, watch=False, available=lambda: 100_000_000)
    named("demo")
    with passing_on(settings, pool) as (url, _):
        answer = chat(url, {"model": "demo/1", "messages": HELLO})

    assert answer.status_code == 503
    assert "demo/1 needs about 500 MB of memory, and 100 MB are free" in answer.json()["error"]["message"]


def test_a_store_that_is_down_is_told(
    client: openai.OpenAI, url: str, named: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    named("demo")

    def down(*_: object) -> Version:
        raise StoreDown("The MLflow store at http://store does not answer. Check that it runs.")

    monkeypatch.setattr(reader, "get_version", down)
    answer = chat(url, {"model": "demo/1", "messages": HELLO})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    assert answer.json()["error"]["message"].startswith("The MLflow store at http://store does not answer")
    assert answer.headers["retry-after"] == "5"
    monkeypatch.undo()
    assert client.completions.create(model="demo/1", prompt="Hello").choices[0].text == " 0 1 2"


def test_a_bug_of_ours_is_told_in_the_same_shape(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "get_version", lambda *_: 1 / 0)

    answer = chat(url, {"model": "demo/1", "messages": HELLO})

    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")


def test_an_address_that_is_not_there_answers_in_openais_shape(url: str) -> None:
    for answer in (http.get(f"{url}/v1/files"), http.get(f"{url}/v1/chat/completions")):
        assert answer.status_code in (404, 405)
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_address_that_is_not_there_names_those_that_are(url: str) -> None:
    answer = http.post(f"{url}/v1/embeddings", json={"model": "demo/1", "input": "Hello"})

    assert answer.status_code == 404
    told = answer.json()["error"]["message"]
    assert told.startswith("There is nothing at /v1/embeddings. This app has GET /v1/models, POST /v1/chat/completions")


@pytest.mark.parametrize("told", [True, False])
def test_a_request_that_is_too_long_is_refused(url: str, told: bool) -> None:
    body = b'{"model": "' + b"x" * 8_000_000 + b'"}'
    sent = body if told else (body[at : at + 1_000_000] for at in range(0, len(body), 1_000_000))
    answer = http.post(f"{url}/v1/completions", content=sent, headers={"Content-Type": "application/json"})

    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "The request is too long: 8 MB are the most."


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
def test_a_long_request_is_parsed_beside_the_event_loop(url: str, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    parsed: list[str] = []

    def parse(text: bytes) -> Any:
        parsed.append(threading.current_thread().name.partition("_")[0])
        return parse_body(text)

    monkeypatch.setattr(forward, "parse_body", parse)
    for size in (10, 200_000):
        content = json.dumps({"model": "none/1", "input": "x" * size})
        http.post(f"{url}/v1/{path}", content=content, headers={"Content-Type": "application/json"})

    assert len(parsed) == 2
    assert parsed[1] == "gateway" != parsed[0]


def test_a_request_of_very_many_parts_is_refused(url: str) -> None:
    body = b'{"model": "demo/1", "messages": [' + b"[]," * 100_000 + b"[]]}"
    answer = http.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert "too many lists and objects" in answer.json()["error"]["message"]


# ---------------------------------------------------------------- the end of the app


def test_an_answer_that_is_running_when_the_app_ends_breaks_off_and_says_so(
    settings: Settings, pool: Pool, named: Callable[..., Version]
) -> None:
    named("slow", words=1000, pause=0.02)
    with passing_on(settings, pool) as (url, gateway):
        stream = client_of(url).chat.completions.create(model="slow/1", messages=HELLO, stream=True)
        next(stream)
        started = time.monotonic()

        gateway.hang_up()

        with pytest.raises(openai.APIError, match="The app is stopping"):
            list(stream)
        assert time.monotonic() - started < 3


def test_who_waits_for_a_version_when_the_app_ends_is_told(
    settings: Settings, pool: Pool, named: Callable[..., Version], tmp_path: Path
) -> None:
    named("held", hold=True)

    def end_the_app() -> None:
        until(lambda: pool.running() and pool.running()[0].held)
        gateway.hang_up()
        (tmp_path / "held-0" / "go").touch()

    with passing_on(settings, pool) as (url, gateway):
        threading.Thread(target=end_the_app).start()

        answer = chat(url, {"model": "held/1", "messages": HELLO})

        later = http.get(f"{url}/v1/models")

    for told in (answer, later):
        assert (told.status_code, told.json()["error"]["message"]) == (503, "The app is stopping.")
