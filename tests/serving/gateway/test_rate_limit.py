"""How much a person and a key may ask of /v1."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import httpx
import openai
import pytest

from phi3core.access.api_keys import hash_key
from phi3core.access.login import load_login
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support.clock import ManualClock
from tests.support.fakes import until
from tests.support.gateway import chat, passing_on
from tests.support.secrets import LOGIN
from tests.support.serving import HELLO, client_of, http

KEYS = f'[keys]\n{hash_key("vera")} = "vera@example.org"\n{hash_key("phone")} = "Vera@example.org"\n' + (
    f'{hash_key("bob")} = "bob@example.org"\n'
)
Ask = Callable[..., httpx.Response]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def url(settings: Settings, pool: Pool, clock: ManualClock) -> Iterator[str]:
    load_login.cache_clear()
    with passing_on(settings, pool, clock) as (address, _):
        yield address


@pytest.fixture
def limit(settings: Settings) -> Callable[[str], None]:
    """Write these limits, as an administrator would while the app runs."""
    return lambda limits: settings.secrets.write_text(f"{KEYS}\n[limits]\n{limits}\n") and None


def models(url: str, key: str) -> httpx.Response:
    return http.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})


def ask(url: str, key: str, max_tokens: int = 3, stream: bool = False) -> httpx.Response:
    body = {"model": "demo/1", "messages": HELLO, "max_tokens": max_tokens, "stream": stream}
    return chat(url, body, Authorization=f"Bearer {key}")


def test_a_minutes_requests_may_come_at_once_and_come_back_bit_by_bit(
    url: str, limit: Callable[[str], None], clock: ManualClock
) -> None:
    limit("requests_per_minute = 3")
    first = models(url, "vera")
    told = {name: first.headers[f"x-ratelimit-{name}-requests"] for name in ("limit", "remaining", "reset")}
    assert told == {"limit": "3", "remaining": "2", "reset": "20.000s"}
    assert [models(url, "vera").status_code for _ in range(3)] == [200, 200, 429]
    clock.advance(20)
    assert [models(url, "vera").status_code for _ in range(2)] == [200, 429]
    assert models(url, "bob").status_code == 200


def test_a_refusal_is_openais(url: str, limit: Callable[[str], None]) -> None:
    limit("requests_per_minute = 1")
    models(url, "vera")
    answer = models(url, "vera")
    assert answer.json()["error"] == {
        "message": "Rate limit reached: vera@example.org may send 1 request a minute. Try again in 60 s.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    headers = ("retry-after", "retry-after-ms", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
    assert [answer.headers[name] for name in headers] == ["60", "60000", "0", "60.000s"]
    with pytest.raises(openai.RateLimitError):
        client_of(url, "vera").models.list()


def test_all_keys_of_a_person_count_together_and_each_may_have_less(url: str, limit: Callable[[str], None]) -> None:
    limit("requests_per_minute = 3\n[limits.key]\nrequests_per_minute = 2")
    assert [models(url, "vera").status_code for _ in range(3)] == [200, 200, 429]
    assert "This key may send 2" in models(url, "vera").json()["error"]["message"]
    assert [models(url, "phone").status_code for _ in range(2)] == [200, 429]
    assert models(url, "bob").status_code == 200


def test_only_so_many_answers_are_under_way_at_a_time(
    url: str, limit: Callable[[str], None], named: Callable[..., Version], pool: Pool
) -> None:
    named("demo", words=200, pause=0.05)
    limit("running = 1")
    statuses: list[int] = []
    with http.stream(
        "POST",
        f"{url}/v1/chat/completions",
        json={"model": "demo/1", "messages": HELLO, "stream": True},
        headers={"Authorization": "Bearer vera"},
    ) as stream:
        pieces = stream.iter_bytes()  # kept: the connection ends with it
        next(pieces)
        statuses += [ask(url, "phone").status_code, models(url, "vera").status_code, ask(url, "bob").status_code]
    assert statuses == [429, 200, 200]
    until(lambda: ask(url, "vera", 1).status_code == 200)  # once the first has ended


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_read_and_written_counts_and_more_is_refused_until_it_has_come_back(
    url: str, limit: Callable[[str], None], named: Callable[..., Version], clock: ManualClock, stream: bool
) -> None:
    named("demo")
    limit("tokens_per_minute = 60")
    before = ask(url, "vera", 1, stream)
    assert before.status_code == 200
    left = int(models(url, "vera").headers["x-ratelimit-remaining-tokens"])
    read = len("<user>Where?")  # every letter is a token of the made-up engine
    assert 60 - read - 4 <= left <= 60 - read - 1  # a stream's first and last pieces count too
    assert [ask(url, "vera", 3, stream).status_code for _ in range(5)][-1] == 429
    assert models(url, "vera").status_code == 200  # which takes no tokens
    clock.advance(60)
    assert ask(url, "vera", 1, stream).status_code == 200


def test_without_a_table_whoever_has_a_key_has_the_limits_that_are_told_and_who_needs_none_has_none(
    url: str, settings: Settings
) -> None:
    assert "x-ratelimit-limit-requests" not in models(url, "none").headers
    settings.secrets.write_text(KEYS)
    headers = models(url, "vera").headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-limit-tokens"]) == ("600", "200000")
    settings.secrets.write_text("[limits]\nrequests_per_minute = 1\n")
    assert [models(url, "none").status_code for _ in range(2)] == [200, 429]


def test_a_limit_that_is_none_lets_nobody_in_and_stands_in_the_log(
    url: str, limit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    limit("running = -1")
    assert models(url, "vera").status_code == 503
    assert "“running” must be a whole number, 0 for no limit." in capsys.readouterr().err


def test_a_login_without_keys_refuses_before_anything_is_counted(url: str, settings: Settings) -> None:
    settings.secrets.write_text(LOGIN)
    load_login.cache_clear()
    answer = models(url, "vera")
    assert answer.status_code == 401
    assert "x-ratelimit-limit-requests" not in answer.headers


def test_requests_at_the_same_moment_are_all_counted(url: str, limit: Callable[[str], None]) -> None:
    limit("requests_per_minute = 5")
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(models(url, "vera").status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 5 + [429] * 3
