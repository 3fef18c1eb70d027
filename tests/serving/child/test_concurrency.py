"""Many requests at once, and what is read ahead while there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.support.fakes import FakeEngine, until
from tests.support.held import Held, asking, hang_up, load_of, send
from tests.support.serving import CHAT, client_of, http, serving, wait_loaded


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


# ---------------------------------------------------------------- while the person reads


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_after_an_answer_the_server_reads_what_the_next_turn_begins_with(
    url: str, engine: FakeEngine, stream: bool
) -> None:
    answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": stream})

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
    http.post(f"{url}{path}", json=body)
    time.sleep(0.6)  # longer than it waits for a quiet moment

    assert engine.prompts
    assert engine.read == []


# ---------------------------------------------------------------- too many at once


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_server_with_a_full_queue_says_when_to_come_back(stream: bool) -> None:
    engine = Held()
    with serving(lambda: engine, parallel=1, queue=1) as url:
        wait_loaded(url)
        with asking(url, 2) as statuses:
            until(lambda: load_of(url) == (1, 1))
            answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": stream})
            with pytest.raises(openai.RateLimitError):
                client_of(url).completions.create(model="fake/1", prompt="Once")
            invoked = http.post(f"{url}/invocations", json={"inputs": "Once"})
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
            assert http.post(f"{url}/v1/chat/completions", json={**CHAT, "n": 99}).status_code == 400
            assert http.post(f"{url}/tokenize", json={"prompt": "abc"}).json()["count"] == 3
            engine.go.set()


def test_hanging_up_takes_a_call_of_predict_out_of_the_queue() -> None:
    engine = Held()
    predicted: list[Any] = []
    engine.predict = lambda body: predicted.append(body)  # type: ignore[method-assign]
    with serving(lambda: engine, parallel=1) as url:
        wait_loaded(url)
        first = send(url, {**CHAT, "stream": True})
        until(lambda: http.get(f"{url}/health").json()["running"] == 1)
        second = send(url, {"inputs": [1]}, "/invocations")
        until(lambda: http.get(f"{url}/health").json()["waiting"] == 1)
        hang_up(second)
        until(lambda: http.get(f"{url}/health").json()["waiting"] == 0)
        engine.go.set()
        assert first.getresponse().read().endswith(b"data: [DONE]\n\n")

    assert predicted == []
