"""Clients that hang up: the model stops, and the next client is answered."""

from __future__ import annotations

import threading

import httpx
import openai
import pytest

from tests.support.fakes import FakeEngine, until
from tests.support.held import Held, asking, hang_up, load_of, send
from tests.support.serving import CHAT, HELLO, http, serving, wait_loaded

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

    answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "max_tokens": 2}, timeout=5)

    assert answer.json()["choices"][0]["message"]["content"] == "ab"


def test_the_server_answers_health_while_it_generates(engine: FakeEngine, url: str) -> None:
    engine.words, engine.pause = tuple("abcdefghij" * 10), 0.02
    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        next(answer.iter_lines())
        assert http.get(f"{url}/health", timeout=1).json()["status"] == "ready"


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
    monkeypatch.setattr("phi3core.serving.child.worker.HUNG_AFTER", 0.1)
    engine, hung = FakeEngine(("a", "b"), pause=1.5), threading.Event()
    with serving(lambda: engine, on_hung=hung.set) as url:
        wait_loaded(url)
        connection = send(url, {**CHAT, "stream": True})
        until(lambda: load_of(url) == (1, 0))
        assert not hung.is_set()

        hang_up(connection)

        assert hung.wait(5)
