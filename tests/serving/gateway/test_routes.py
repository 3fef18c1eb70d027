"""The app's /v1 as its clients see it: real children with a made-up engine behind it, a real registry."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from phi3core.access.api_keys import generate_key, hash_key
from phi3core.errors import StoreDown
from phi3core.promotion.promote import promote, set_alias
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.serving.child.app import bind_socket
from phi3core.serving.gateway import catalogue
from phi3core.serving.gateway.routes import Gateway
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client as store
from tests.support import children
from tests.support.fakes import register, until
from tests.support.serving import client_of

HELLO: list[Any] = [{"role": "user", "content": "Where?"}]


@contextmanager
def passing_on(settings: Settings, pool: Pool) -> Iterator[tuple[str, Gateway]]:
    """An app with the gateway and a page, and the gateway itself."""
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        await gateway.start(pool)
        yield
        await gateway.stop()

    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse("a page")

    app = Starlette(routes=[gateway.mount(), Route("/page", page, methods=["GET", "POST"])], lifespan=lifespan)
    sock = bind_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}", gateway
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()


@pytest.fixture
def pool(settings: Settings) -> Iterator[Pool]:
    opened = Pool(settings, command=children.COMMAND)
    yield opened
    opened.close()


@pytest.fixture
def url(settings: Settings, pool: Pool) -> Iterator[str]:
    with passing_on(settings, pool) as (address, _):
        yield address


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return client_of(url)


@pytest.fixture
def named(settings: Settings, tmp_path: Path) -> Callable[..., Version]:
    """A version of a model of that name whose child does what is said."""

    def make(name: str, **what: Any) -> Version:
        count = len(list(tmp_path.glob(f"{name}-*")))
        return children.register(settings, children.make(tmp_path / f"{name}-{count}", **what), name)

    return make


def chat(url: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=body or {}, headers=headers, timeout=60)


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


@pytest.mark.parametrize("reference", ["demo@champion", "demo/Production", "demo/production", "demo@production"])
def test_an_alias_and_a_stage_name_the_version_that_answers(
    client: openai.OpenAI, settings: Settings, named: Callable[..., Version], reference: str
) -> None:
    for _ in range(2):
        named("demo")
    set_alias(settings, "demo/2", "champion")
    promote(settings, "demo/2", "Production")

    answer = client.completions.create(model=reference, prompt="Hello")

    assert (answer.model, answer.choices[0].text) == ("demo/2", " 0 1 2")


def test_an_alias_that_moved_is_followed(
    client: openai.OpenAI, settings: Settings, named: Callable[..., Version]
) -> None:
    for _ in range(2):
        named("demo")
    set_alias(settings, "demo/1", "champion")
    ask = lambda: client.completions.create(model="demo@champion", prompt="Hello").model  # noqa: E731
    assert ask() == "demo/1"

    set_alias(settings, "demo/2", "champion")

    until(lambda: ask() == "demo/2", 4)


def test_the_store_is_not_asked_for_every_request(
    client: openai.OpenAI, named: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    named("demo")
    calls: list[str] = []
    real = reader.get_version
    monkeypatch.setattr(reader, "get_version", lambda config, ref: (calls.append(ref), real(config, ref))[1])
    client.completions.create(model="demo/1", prompt="Hello")
    started = time.monotonic()

    for _ in range(10):
        client.completions.create(model="demo/1", prompt="Hello")

    assert len(calls) <= 2 + (time.monotonic() - started) / 2


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
    direct = httpx.post(
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
    named("slow", words=10, pause=0.1)
    came = []

    for chunk in client.chat.completions.create(model="slow/1", messages=HELLO, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            came.append(time.monotonic())

    assert len(came) == 10
    assert came[-1] - came[0] > 0.7, "they came in one burst"
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
    with pytest.raises(openai.NotFoundError, match="There is no version “demo/9”"):
        client.models.retrieve("demo/9")


def test_a_list_that_was_just_read_is_not_read_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = catalogue.references
    monkeypatch.setattr("phi3core.serving.gateway.routes.references", lambda config: (calls.append(1), real(config))[1])

    for _ in range(5):
        assert httpx.get(f"{url}/v1/models").status_code == 200

    assert len(calls) == 1


def test_a_thousand_versions_are_listed_in_two_calls(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.fakes import CountingClient

    for _ in range(30):
        register(settings, "many")
    counting = CountingClient(store(settings))
    monkeypatch.setattr(catalogue, "mlflow_client", lambda _: counting)
    monkeypatch.setattr(reader, "mlflow_client", lambda _: counting)

    assert len(catalogue.references(settings)) == 30

    assert counting.calls == {"search_model_versions": 1, "search_registered_models": 1}


# ---------------------------------------------------------------- what can't be


@pytest.mark.parametrize("model", ["nothing/1", "demo/9", "demo@nobody", "demo/Production", "gpt-4", "demo/Live"])
def test_a_reference_that_means_no_version_is_not_found(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version], model: str
) -> None:
    named("demo")

    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=model, messages=HELLO)

    assert caught.value.code == "model_not_found"
    assert pool.servers() == []


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"model": 3}', '{"model": ""}', "{", '{"model": null}'])
def test_a_request_that_names_no_model_is_refused(url: str, body: str) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_what_the_model_server_refuses_is_passed_on(url: str, named: Callable[..., Version]) -> None:
    named("demo")

    answer = chat(url, {"model": "demo/1", "messages": HELLO, "temperature": 9})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "temperature must be between 0 and 2."
    assert "content-length" in answer.headers


def test_a_full_queue_is_passed_on_with_when_to_try_again(settings: Settings, named: Callable[..., Version]) -> None:
    own = replace(settings, parallel=1, queue=0)
    pool = Pool(own, command=children.COMMAND)
    version = named("slow", words=30, pause=0.1)
    try:
        with passing_on(own, pool) as (url, _):
            pool.open(version).wait_ready(60)
            body = {"model": "slow/1", "messages": HELLO}
            first = threading.Thread(target=chat, args=(url, body), daemon=True)
            first.start()
            until(lambda: pool.running()[0].status().state == "busy")

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
    pool = Pool(settings, command=children.COMMAND, available=lambda: 100_000_000)
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
    for answer in (httpx.get(f"{url}/v1/files"), httpx.get(f"{url}/v1/chat/completions")):
        assert answer.status_code in (404, 405)
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_request_that_is_too_long_is_refused(url: str) -> None:
    body = b'{"model": "' + b"x" * 33_000_000 + b'"}'
    answer = httpx.post(f"{url}/v1/completions", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 413


# ---------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 403, "forbidden_host"),
        ({"Host": "[::1"}, 403, "forbidden_host"),
        ({"Origin": "http://evil.example"}, 403, "forbidden_origin"),
        ({"Origin": "http://127.0.0.1:1"}, 403, "forbidden_origin"),
        ({"Origin": "null"}, 403, "forbidden_origin"),
        ({"Content-Type": "text/plain"}, 415, "not_json"),
    ],
)
def test_a_web_page_of_somebody_else_is_refused(
    url: str, pool: Pool, named: Callable[..., Version], headers: dict[str, str], status: int, code: str
) -> None:
    named("demo")

    answer = chat(url, {"model": "demo/1", "messages": HELLO}, **headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert pool.servers() == []


def test_our_own_origin_may_ask(url: str) -> None:
    assert httpx.get(f"{url}/v1/models", headers={"Origin": url}).status_code == 200


def test_the_pages_are_not_guarded_by_it(url: str) -> None:
    answer = httpx.post(f"{url}/page", content="x", headers={"Origin": "http://elsewhere.example"})

    assert (answer.status_code, answer.text) == (200, "a page")


def test_with_a_key_nobody_asks_without_it(settings: Settings, pool: Pool, named: Callable[..., Version]) -> None:
    named("demo")
    with passing_on(replace(settings, api_key="secret"), pool) as (url, _):
        for address in ("/v1/models", "/v1/health", "/v1/nothing"):
            assert httpx.get(url + address).status_code == 401
        with pytest.raises(openai.AuthenticationError):
            client_of(url, "wrong").chat.completions.create(model="demo/1", messages=HELLO)
        assert pool.servers() == []

        answer = client_of(url, "secret").chat.completions.create(model="demo/1", messages=HELLO)

        assert answer.choices[0].message.content == " 0 1 2"
        assert httpx.get(f"{url}/page").status_code == 200


LOGIN = """
[auth]
redirect_uri = "https://play.example/oauth2callback"
cookie_secret = "0123456789abcdef0123456789abcdef"
client_id = "phi3"
client_secret = "s"
server_metadata_url = "https://id.example/.well-known/openid-configuration"
"""


def test_where_people_sign_in_a_program_needs_somebodys_key(settings: Settings, pool: Pool) -> None:
    key = generate_key()
    settings.secrets.write_text(LOGIN)
    with passing_on(settings, pool) as (url, _):
        ask = lambda key: httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})  # noqa: E731
        assert (ask("none").status_code, ask(key).status_code) == (401, 401)

        settings.secrets.write_text(f'{LOGIN}[keys]\n{hash_key(key)} = "vera@example.org"\n')

        assert ask(key).status_code == 200  # without a restart, and a viewer may
        assert ask(hash_key(key)).status_code == 401  # what is in the file opens nothing


def test_who_has_no_role_any_more_asks_nothing_and_a_broken_file_lets_nobody_in(
    settings: Settings, pool: Pool, capfd: pytest.CaptureFixture[str]
) -> None:
    key = generate_key()
    keys = f'[keys]\n{hash_key(key)} = "vera@example.org"\n'
    settings.secrets.write_text(f'{LOGIN}{keys}[roles]\ndefault = "none"\n')
    with passing_on(settings, pool) as (url, _):
        for broken, status, code in (("", 403, "no_role"), ("[roles", 503, "no_keys")):
            with settings.secrets.open("a") as file:
                file.write(broken)
            answer = httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert "secrets.toml" not in answer.text
    assert "secrets.toml" in capfd.readouterr().err


def test_the_names_of_the_login_and_of_the_settings_are_served_and_no_others(settings: Settings, pool: Pool) -> None:
    settings.secrets.write_text(LOGIN)
    with passing_on(replace(settings, hosts=frozenset({"gpu-7"}), api_key="secret"), pool) as (url, _):
        for host, status in (("play.example", 200), ("gpu-7:8501", 200), ("localhost", 200), ("other.example", 403)):
            headers = {"Host": host, "Authorization": "Bearer secret"}
            assert httpx.get(f"{url}/v1/models", headers=headers).status_code == status


# ---------------------------------------------------------------- the end of the app


def test_an_answer_that_is_running_when_the_app_ends_breaks_off_and_says_so(
    settings: Settings, pool: Pool, named: Callable[..., Version]
) -> None:
    named("slow", words=100, pause=0.1)
    with passing_on(settings, pool) as (url, gateway):
        stream = client_of(url).chat.completions.create(model="slow/1", messages=HELLO, stream=True)
        next(stream)
        started = time.monotonic()

        gateway.hang_up()

        with pytest.raises(openai.APIError, match="The app is stopping"):
            list(stream)
        assert time.monotonic() - started < 3


def test_who_waits_for_a_version_when_the_app_ends_is_told(
    settings: Settings, pool: Pool, named: Callable[..., Version]
) -> None:
    named("held", hold=True)
    with passing_on(settings, pool) as (url, gateway):
        threading.Timer(1.0, gateway.hang_up).start()

        answer = chat(url, {"model": "held/1", "messages": HELLO})

        later = httpx.get(f"{url}/v1/models")

    for told in (answer, later):
        assert (told.status_code, told.json()["error"]["message"]) == (503, "The app is stopping.")
