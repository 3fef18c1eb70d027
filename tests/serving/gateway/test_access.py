"""Which requests /v1 lets in: by Host, Origin, content type and key."""

from __future__ import annotations

import http.client as http_client
from collections.abc import Callable
from dataclasses import replace

import openai
import pytest

from phi3core.access.api_keys import generate_key, hash_key
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support.gateway import chat, passing_on
from tests.support.secrets import LOGIN
from tests.support.serving import HELLO, client_of, http


def test_a_web_page_of_somebody_else_is_refused(url: str, pool: Pool, named: Callable[..., Version]) -> None:
    named("demo")
    for headers, status, code in (
        ({"Host": "evil.example"}, 403, "forbidden_host"),
        ({"Host": "[::1"}, 403, "forbidden_host"),
        ({"Origin": "http://evil.example"}, 403, "forbidden_origin"),
        ({"Origin": "http://127.0.0.1:1"}, 403, "forbidden_origin"),
        ({"Origin": "null"}, 403, "forbidden_origin"),
        ({"Content-Type": "text/plain"}, 415, "not_json"),
    ):
        answer = chat(url, {"model": "demo/1", "messages": HELLO}, **headers)

        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), headers
    assert pool.servers() == []


def test_our_own_origin_may_ask(url: str) -> None:
    assert http.get(f"{url}/v1/models", headers={"Origin": url}).status_code == 200


def test_the_pages_are_not_guarded_by_it(url: str) -> None:
    answer = http.post(f"{url}/page", content="x", headers={"Origin": "http://elsewhere.example"})

    assert (answer.status_code, answer.text) == (200, "a page")


def test_with_a_key_nobody_asks_without_it(settings: Settings, pool: Pool, named: Callable[..., Version]) -> None:
    named("demo")
    with passing_on(replace(settings, api_key="secret"), pool) as (url, _):
        for address in ("/v1/models", "/v1/health", "/v1/nothing"):
            assert http.get(url + address).status_code == 401
        with pytest.raises(openai.AuthenticationError):
            client_of(url, "wrong").chat.completions.create(model="demo/1", messages=HELLO)
        assert pool.servers() == []

        answer = client_of(url, "secret").chat.completions.create(model="demo/1", messages=HELLO)

        assert answer.choices[0].message.content == " 0 1 2"
        assert http.get(f"{url}/page").status_code == 200


def test_where_people_sign_in_a_program_needs_somebodys_key(settings: Settings, pool: Pool) -> None:
    key = generate_key()
    settings.secrets.write_text(LOGIN)
    with passing_on(settings, pool) as (url, _):
        ask = lambda key: http.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})  # noqa: E731
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
            answer = http.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert "secrets.toml" not in answer.text
    assert "secrets.toml" in capfd.readouterr().err


def test_the_names_of_the_login_and_of_the_settings_are_served_and_no_others(settings: Settings, pool: Pool) -> None:
    settings.secrets.write_text(LOGIN)
    with passing_on(replace(settings, hosts=frozenset({"gpu-7"}), api_key="secret"), pool) as (url, _):
        for host, status in (("play.example", 200), ("gpu-7:8501", 200), ("localhost", 200), ("other.example", 403)):
            headers = {"Host": host, "Authorization": "Bearer secret"}
            answer = http.get(f"{url}/v1/models", headers=headers)
            assert answer.status_code == status
    assert "PHI3_HOSTS" in answer.json()["error"]["message"]


# ---------------------------------------------------------------- web pages of other origins


def test_a_web_page_that_a_setting_names_may_ask_and_reads_the_answer(
    settings: Settings, pool: Pool, named: Callable[..., Version]
) -> None:
    named("demo")
    tool = {"Origin": "https://tool.example"}
    with passing_on(replace(settings, origins=frozenset({"https://tool.example"}), api_key="secret"), pool) as (url, _):
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-own"}
        preflight = http.options(f"{url}/v1/chat/completions", headers=tool | asked)
        answer = chat(url, {"model": "demo/1", "messages": HELLO}, **tool, Authorization="Bearer secret")
        without_key = chat(url, {"model": "demo/1", "messages": HELLO}, **tool)

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == "authorization,x-own"
    assert (answer.status_code, without_key.status_code) == (200, 401)
    for one in (preflight, answer, without_key):
        assert one.headers["access-control-allow-origin"] == "https://tool.example"
        assert "access-control-allow-credentials" not in one.headers


def test_no_other_web_page_may_and_none_does_unless_a_setting_says_so(settings: Settings, pool: Pool) -> None:
    asked = {"Access-Control-Request-Method": "POST"}
    for origins in (frozenset[str](), frozenset({"https://tool.example"})):
        with passing_on(replace(settings, origins=origins), pool) as (url, _):
            for origin in (
                "https://tool.example.evil.example",
                "http://tool.example",
                "https://tool.example:444",
                "null",
            ):
                preflight = http.options(f"{url}/v1/models", headers={"Origin": origin, **asked})
                answer = http.get(f"{url}/v1/models", headers={"Origin": origin})

                assert (preflight.status_code, answer.status_code) == (400, 403), origin
                assert "PHI3_ORIGINS" in answer.json()["error"]["message"]
                for one in (preflight, answer):
                    assert "access-control-allow-origin" not in one.headers


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../page", "/v1/%2e%2e/page", "/v1/models/../../page", "/v1/models/%2e%2e%2f%2e%2e%2fpage", "/v1//page",
        "/v1/..%5cpage", "/v1/models/..;/page", "/v1/./page",
    ],
)  # fmt: skip
def test_no_way_leads_from_below_v1_to_a_page(settings: Settings, pool: Pool, path: str) -> None:
    for key, status in (("secret", 401), ("", 404)):
        with passing_on(replace(settings, api_key=key), pool) as (url, _):
            connection = http_client.HTTPConnection(url.removeprefix("http://"), timeout=20)
            connection.request("GET", path)  # as it is: other clients tidy an address up first
            answer = connection.getresponse()
            assert (answer.status, b"a page" in answer.read()) == (status, False)
            connection.close()
