"""How much a person and a key ask of /v1, and the refusal of more: OpenAI's 429 and its headers.

Requests and tokens are counted as in a bucket that refills steadily: a minute's worth may come at once, and what is
missing comes back bit by bit. Tokens are taken out as they are read and written, so that the answer that begins with
the last of them is not broken off. The tokens of a stream are counted by its pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.responses import JSONResponse

from phi3core.access.api_keys import hash_key, key_required, person_with_key
from phi3core.access.limits import Limit, Limits, read_limits
from phi3core.clock import SYSTEM, Clock
from phi3core.serving.guard import App, Receive, Scope, Send, headers_of, key_of
from phi3core.serving.protocol import error_response
from phi3core.settings import Settings
from phi3core.text import plural

RATE_HEADERS = tuple(
    f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")
)
_USE = "phi3.use"
_CODE = "rate_limit_exceeded"
Refusal = tuple[float, str]
"""Seconds until another try can succeed, and why this one is refused."""


class _Bucket:
    """So many a minute; 0 stands for no limit."""

    def __init__(self) -> None:
        self._most, self._left, self._at = 0, 0.0, 0.0

    def fill(self, most: int, now: float) -> None:
        if most != self._most:  # new, or the administrator has changed it
            self._left, self._most = (most if not self._most else min(self._left, most)), most
        self._left = min(most, self._left + (now - self._at) * most / 60)
        self._at = now

    def take(self, count: int) -> None:
        self._left -= count

    def seconds_to(self, level: float) -> float:
        """Until so many are there."""
        return max(0.0, (level - self._left) * 60 / self._most) if self._most else 0.0

    def headers(self, name: str) -> dict[str, str]:
        if not self._most:
            return {}
        return {
            f"x-ratelimit-limit-{name}": str(self._most),
            f"x-ratelimit-remaining-{name}": str(max(0, math.floor(self._left))),
            f"x-ratelimit-reset-{name}": f"{self.seconds_to(self._most):.3f}s",
        }


class _Account:
    """What one person or key has asked for. who: as the refusal says it."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._requests, self._tokens, self.running = _Bucket(), _Bucket(), 0

    def refuse(self, limit: Limit, now: float, answers: bool) -> Refusal | None:
        """Why another request is too much now. answers: whether it asks for an answer."""
        self._requests.fill(limit.requests_per_minute, now)
        self._tokens.fill(limit.tokens_per_minute, now)
        most = limit.requests_per_minute
        if wait := self._requests.seconds_to(1):
            return wait, f"{self._who} may send {most:,} {plural(most, 'request')} a minute"
        if answers and limit.running and self.running >= limit.running:
            return 1, f"{self._who} may have {limit.running} {plural(limit.running, 'answer')} under way at a time"
        if answers and (wait := self._tokens.seconds_to(1)):
            return wait, f"{self._who} may use {limit.tokens_per_minute:,} tokens a minute"
        return None

    def take_request(self) -> None:
        self._requests.take(1)

    def take_tokens(self, count: int) -> None:
        self._tokens.take(count)

    def headers(self) -> dict[str, str]:
        return self._requests.headers("requests") | self._tokens.headers("tokens")


class Use:
    """What one request takes out of the accounts that it is on."""

    def __init__(self, accounts: list[_Account]) -> None:
        self._accounts = accounts

    def spend(self, tokens: int) -> None:
        """Tokens were read or written for it."""
        for account in self._accounts:
            account.take_tokens(tokens)


def use_of(scope: Scope) -> Use:
    """The use that a request is counted on."""
    found: Use = scope.get(_USE) or Use([])
    return found


class RateLimit:
    """ASGI middleware, behind what asks for the key."""

    def __init__(self, app: App, settings: Settings, clock: Clock = SYSTEM) -> None:
        self._app, self._settings, self._clock = app, settings, clock
        self._accounts: dict[str, _Account] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answers, now = scope["method"] == "POST", self._clock.now()
        accounts = self._accounts_of(key_of(headers_of(scope)))
        refusals = [refusal for account, limit in accounts if (refusal := account.refuse(limit, now, answers))]
        own = [account for account, _ in accounts]

        def told() -> dict[str, str]:
            return {name: value for account in own for name, value in account.headers().items()}

        if refusals:
            await _refuse(max(refusals), told())(scope, receive, send)
            return
        for account in own:
            account.take_request()
        with _running(own if answers else []):
            await self._app({**scope, _USE: Use(own)}, receive, _with_headers(send, told))

    def _accounts_of(self, key: str) -> list[tuple[_Account, Limit]]:
        """The accounts that a request with this key is on; none where nobody needs one and no limit is written."""
        needed, limits = key_required(self._settings), read_limits(self._settings)
        if not needed:
            return [(self._account("", "This machine"), limits)] if limits else []
        limits, person = limits or Limits(), person_with_key(self._settings, key)
        if person is None:  # it was taken back a moment ago; what comes next says so
            return []
        own = self._account(hash_key(key), "This key"), limits.key
        return [own, (self._account(f"person {person.name.casefold()}", person.name), limits)]

    def _account(self, name: str, who: str) -> _Account:
        return self._accounts.setdefault(name, _Account(who))


@contextmanager
def _running(accounts: list[_Account]) -> Iterator[None]:
    for account in accounts:
        account.running += 1
    try:
        yield
    finally:
        for account in accounts:
            account.running -= 1


def _refuse(refusal: Refusal, headers: dict[str, str]) -> JSONResponse:
    seconds, why = refusal
    wait = max(1, math.ceil(seconds))
    answer = error_response(429, f"Rate limit reached: {why}. Try again in {wait} s.", _CODE)
    answer.headers.update(headers | {"retry-after": str(wait), "retry-after-ms": str(round(seconds * 1000))})
    return answer


def _with_headers(send: Send, told: Callable[[], dict[str, str]]) -> Send:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            more = [(name.encode(), value.encode()) for name, value in told().items()]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sent
