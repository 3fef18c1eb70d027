"""Which requests reach a model server: by Host, Origin, key and content type."""

from __future__ import annotations

import json

import openai
import pytest

from tests.support.fakes import FakeEngine
from tests.support.serving import CHAT, HELLO, client_of, http, serving, wait_loaded


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_a_host_that_is_not_this_machine_is_refused(url: str, host: str) -> None:
    for path in ("/health", "/v1/models"):
        answer = http.get(f"{url}{path}", headers={"Host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_host")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "[::1]:8501", "LOCALHOST:1"])
def test_the_names_of_this_machine_are_accepted(url: str, host: str) -> None:
    assert http.get(f"{url}/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://evil.example:8501", "null", "http://127.0.0.1.evil.io"]
)
def test_a_web_page_of_another_origin_is_refused(url: str, engine: FakeEngine, origin: str) -> None:
    answer = http.post(f"{url}/v1/chat/completions", json=CHAT, headers={"Origin": origin})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_origin")
    assert engine.prompts == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_that_any_web_page_may_send_is_refused(url: str, engine: FakeEngine, kind: str) -> None:
    answer = http.post(f"{url}/v1/chat/completions", content=json.dumps(CHAT), headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "not_json")
    assert engine.prompts == []


def test_json_with_a_charset_is_json(url: str) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}

    assert http.post(f"{url}/v1/chat/completions", content=json.dumps(CHAT), headers=headers).status_code == 200


def test_without_the_key_only_health_answers(engine: FakeEngine) -> None:
    with serving(lambda: engine, key="secret") as url:
        wait_loaded(url)
        for wrong in ("none", "secre", "secret2", "sécret".encode().decode("latin-1")):
            headers = {"Authorization": f"Bearer {wrong}".encode()}
            answer = http.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert http.get(f"{url}/v1/models").status_code == 401
        with pytest.raises(openai.AuthenticationError):
            client_of(url, "wrong").models.list()
        assert client_of(url, "secret").chat.completions.create(model="fake/1", messages=HELLO).usage
        assert engine.prompts == ["<user>Where?"]


def test_beyond_loopback_any_host_is_served(engine: FakeEngine) -> None:
    with serving(lambda: engine, key="secret", local=False) as url:
        answer = http.get(f"{url}/v1/models", headers={"Host": "model.example", "Authorization": "Bearer secret"})

    assert answer.status_code == 200
