"""What stands before a model server and before /v1: key, Host, Origin, content type and length of every request.

A server on loopback can be reached by any web page in the user's browser, so being local is no protection:
a page could post to it across origins, or rebind a name of its own to 127.0.0.1.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str, str]
"""Status, what the client reads, OpenAI's code."""
Authorize = Callable[[str], Refusal | None]
"""Why a request with this key ("" without one) is refused; None where it is not."""

_LONGEST = 8_000_000  # bytes of a request: several times as many as a prompt of 128,000 tokens has
WRONG_KEY: Refusal = (401, "The API key is missing or wrong: send it as Authorization: Bearer KEY.", "invalid_api_key")


_TOO_LONG = f"The request is too long: {_LONGEST // 1_000_000} MB are the most."


def require_key(key: str | None) -> Authorize:
    """Refuse requests without this key; None refuses none."""
    return lambda given: None if not key or secrets.compare_digest(given.encode(), key.encode()) else WRONG_KEY


class Guard:
    """ASGI middleware.

    hosts: the names that a request's Host may hold; None accepts any. origins: other web pages that may ask, as
    ``https://tool.example``; None where no setting names them, and none the hosts.
    """

    def __init__(
        self,
        app: App,
        authorize: Authorize,
        hosts: frozenset[str] | None,
        origins: frozenset[str] | None = None,
    ) -> None:
        self._app, self._authorize, self._hosts, self._origins = app, authorize, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refuse(scope)):
            from .protocol import error_response

            await error_response(*refusal)(scope, receive, send)
            return
        await self._app(scope, _bounded(receive) if scope["type"] == "http" else receive, send)

    def _refuse(self, scope: Scope) -> Refusal | None:
        headers = headers_of(scope)
        host = hostname(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            told = f"The host “{host}” is not served here: use http://127.0.0.1."
            return 403, told if self._origins is None else refuse_host(host), "forbidden_host"
        if not is_own(headers) and headers["origin"] not in (self._origins or ()):
            told = f"Requests from web pages of {headers['origin']} are not accepted"
            told += "." if self._origins is None else ": name it in PHI3_ORIGINS when the app starts, if you trust it."
            return 403, told, "forbidden_origin"
        if scope["method"] == "POST" and headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return 415, "Send the request as JSON, with the header Content-Type: application/json.", "not_json"
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > _LONGEST:
            return 413, _TOO_LONG, "request_too_long"
        if scope["path"] == "/health":
            return None
        return self._authorize(key_of(headers))


def _bounded(receive: Receive) -> Receive:
    """A body whose length is not told beforehand, up to the most. Raises HTTPException for more."""
    size = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > _LONGEST:
            from starlette.exceptions import HTTPException

            raise HTTPException(413, _TOO_LONG)
        return message

    return bounded


def headers_of(scope: Scope) -> dict[str, str]:
    """A request's headers, by their names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def key_of(headers: dict[str, str]) -> str:
    """The API key that a request gives, "" where it gives none."""
    return headers.get("authorization", "").removeprefix("Bearer ").strip()


def is_own(headers: dict[str, str]) -> bool:
    """Whether a request comes from a page of the very address that it goes to, or from no web page at all."""
    origin = headers.get("origin")
    # The port too: another program's web page on this machine is another origin.
    return not origin or origin.partition("://")[2].lower() == headers.get("host", "").lower()


def refuse_host(name: str) -> str:
    """What the client of a host name reads that the app does not know."""
    return f"The host “{name}” is not served here: use http://localhost, or name it in PHI3_HOSTS when the app starts."


def hostname(host: str) -> str:
    """The name in a Host header, without its port; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # half an IPv6 address
        return ""
