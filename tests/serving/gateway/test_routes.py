"""What /v1 answers: versions by their references, as the model server writes it, and all that there are."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import openai
import pytest

from phi3core.promotion.promote import promote, set_alias
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.serving.gateway import catalogue
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client as store
from tests.support.clock import ManualClock
from tests.support.fakes import register
from tests.support.gateway import chat, passing_on
from tests.support.serving import HELLO, client_of, http
from tests.support.thread_child import ThreadChild

# ---------------------------------------------------------------- asking by reference


def test_a_version_is_opened_and_answers_under_its_reference(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("demo")

    answer = client.chat.completions.create(model="demo/1", messages=HELLO)

    assert answer.choices[0].message.content == " 0 1 2"
    assert answer.model == "demo/1"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert [server.ref for server in pool.running()] == ["demo/1"]


def test_an_alias_and_a_stage_name_the_version_that_answers(
    client: openai.OpenAI, settings: Settings, named: Callable[..., Version]
) -> None:
    for _ in range(2):
        named("demo")
    set_alias(settings, "demo/2", "champion")
    promote(settings, "demo/2", "Production")

    for reference in (
        "demo@champion",
        "demo/Production",
        "demo/production",
        "demo@production",
        "models:/demo/2",
        "models:/demo@champion",
    ):
        answer = client.completions.create(model=reference, prompt="Hello")

        assert (answer.model, answer.choices[0].text) == ("demo/2", " 0 1 2"), reference


def test_an_alias_that_moved_is_followed_and_the_store_is_not_asked_for_every_request(
    settings: Settings,
    pool: Pool,
    named: Callable[..., Version],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(2):
        named("demo")
    set_alias(settings, "demo/1", "champion")
    calls: list[str] = []
    real = reader.get_version
    with passing_on(settings, pool, clock) as (url, _):
        client = client_of(url)
        ask = lambda: client.completions.create(model="demo@champion", prompt="Hello").model  # noqa: E731
        with monkeypatch.context() as patch:
            patch.setattr(reader, "get_version", lambda config, ref: (calls.append(ref), real(config, ref))[1])
            assert [ask() for _ in range(10)] == ["demo/1"] * 10
            assert len(calls) == 1
        set_alias(settings, "demo/2", "champion")
        assert ask() == "demo/1"

        clock.advance(2.1)

        assert ask() == "demo/2"


def test_two_that_ask_for_a_closed_version_at_once_share_its_process(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("demo", load_seconds=0.5)
    said: list[str] = []
    ask = lambda: said.append(client.completions.create(model="demo/1", prompt="Hello").choices[0].text)  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert said == [" 0 1 2"] * 4
    assert len(pool.servers()) == 1


# ---------------------------------------------------------------- streams


def test_a_stream_comes_through_as_the_model_server_writes_it(
    url: str, pool: Pool, named: Callable[..., Version]
) -> None:
    version = named("demo", words=5)
    pool.open(version).wait_ready(60)
    server = pool.open(version)
    body = {"model": "demo/1", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    direct = http.post(
        f"{server.url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {server.key}"}
    )

    through = chat(url, body)

    assert through.headers["content-type"] == direct.headers["content-type"]
    assert through.headers["cache-control"] == "no-cache"
    assert [_without_id(line) for line in through.text.splitlines()] == [
        _without_id(line) for line in direct.text.splitlines()
    ]
    assert through.text.endswith("data: [DONE]\n\n")


def _without_id(line: str) -> Any:
    if not line.startswith("data: {"):
        return line
    data = json.loads(line.removeprefix("data: "))
    return {name: value for name, value in data.items() if name not in ("id", "created")}


def test_every_piece_is_passed_on_when_it_is_made(client: openai.OpenAI, named: Callable[..., Version]) -> None:
    named("slow", words=10, pause=0.06)
    came = []

    for chunk in client.chat.completions.create(model="slow/1", messages=HELLO, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            came.append(time.monotonic())

    assert len(came) == 10
    assert came[-1] - came[0] > 0.45, "they came in one burst"
    assert max(after - before for before, after in pairwise(came)) < 0.5


# ---------------------------------------------------------------- what is there


def test_every_reference_is_listed(client: openai.OpenAI, settings: Settings, named: Callable[..., Version]) -> None:
    for _ in range(2):
        named("demo")
    named("other one")
    set_alias(settings, "demo/1", "champion")
    promote(settings, "demo/2", "Production")

    listed = client.models.list().data

    roots = {model.id: getattr(model, "root", None) for model in listed}
    assert roots == {
        "demo/1": "demo/1",
        "demo/2": "demo/2",
        "demo@champion": "demo/1",
        "demo/Production": "demo/2",
        "other one/1": "other one/1",
    }
    assert all(abs(model.created - time.time()) < 600 for model in listed)
    assert client.models.retrieve("demo/Production").id == "demo/Production"
    assert client.models.retrieve("models:/demo/1").id == "demo/1"
    with pytest.raises(openai.NotFoundError, match="There is no version “demo/9”"):
        client.models.retrieve("demo/9")


def test_the_list_stands_at_its_address_with_a_slash_too(url: str, named: Callable[..., Version]) -> None:
    named("demo")

    assert [model["id"] for model in http.get(f"{url}/v1/models/").json()["data"]] == ["demo/1"]


def test_a_list_that_was_just_read_is_not_read_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = catalogue.list_references
    monkeypatch.setattr(
        "phi3core.serving.gateway.routes.list_references", lambda config: (calls.append(1), real(config))[1]
    )

    for _ in range(5):
        assert http.get(f"{url}/v1/models").status_code == 200

    assert len(calls) == 1


def test_a_thousand_versions_are_listed_in_two_calls(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.fakes import CountingClient

    for _ in range(30):
        register(settings, "many")
    counting = CountingClient(store(settings))
    monkeypatch.setattr(catalogue, "mlflow_client", lambda _: counting)
    monkeypatch.setattr(reader, "mlflow_client", lambda _: counting)

    assert len(catalogue.list_references(settings)) == 30

    assert counting.calls == {"search_model_versions": 1, "search_registered_models": 1}


# ---------------------------------------------------------------- what a model does not take


def test_what_a_model_does_not_take_is_left_out_and_told_by_v1_too(url: str, named: Callable[..., Version]) -> None:
    named("plain", supports=[])

    answer = chat(url, {"model": "plain/1", "messages": HELLO, "temperature": 0, "max_tokens": 5})

    assert answer.json()["choices"][0]["message"]["content"] == " 0 1 2"
    assert answer.headers["x-left-out"] == "max_tokens, temperature"
    assert answer.json()["warnings"] == ["Asked without max_tokens and temperature, which this model does not take."]


def test_a_strict_app_refuses_it(settings: Settings, named: Callable[..., Version]) -> None:
    named("plain", supports=[])
    own = replace(settings, strict=True)
    pool = Pool(own, start_child=ThreadChild, watch=False)
    try:
        with passing_on(own, pool) as (url, _):
            answer = chat(url, {"model": "plain/1", "messages": HELLO, "temperature": 0})
    finally:
        pool.close()

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "temperature")


# ---------------------------------------------------------------- what it takes


def test_what_requests_may_hold_is_served_as_a_schema(url: str) -> None:
    document = http.get(f"{url}/v1/openapi.json").json()

    schemas = document["components"]["schemas"]
    for path, schema, field in (
        ("/v1/chat/completions", "ChatRequest", "messages"),
        ("/v1/completions", "CompletionRequest", "prompt"),
        ("/v1/responses", "ResponseRequest", "input"),
    ):
        (content,) = document["paths"][path]["post"]["requestBody"]["content"].values()
        assert content["schema"] == {"$ref": f"#/components/schemas/{schema}"}
        assert {"model", "stream", "temperature", field} <= schemas[schema]["properties"].keys()
    named = {part.rpartition("/")[2] for part in re.findall(r'"#/[^"]+', json.dumps(document))}
    assert named <= schemas.keys()
