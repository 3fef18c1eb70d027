"""What stands before a model server: key, Host, Origin and content type are checked on every request.

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

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """ASGI middleware. key None lets everybody in who passes the other checks; hosts None accepts any Host."""

    def __init__(self, app: App, key: str | None, hosts: frozenset[str] | None) -> None:
        self._app, self._key, self._hosts = app, key, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refuse(scope)):
            from .protocol import error_response

            await error_response(*refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refuse(self, scope: Scope) -> tuple[int, str, str] | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = _hostname(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return 403, f"The host “{host}” is not served here: use http://127.0.0.1.", "forbidden_host"
        origin = headers.get("origin")
        # The port too: another program's web page on this machine is another origin.
        if origin and origin.partition("://")[2].lower() != headers.get("host", "").lower():
            return 403, f"Requests from web pages of {origin} are not accepted.", "forbidden_origin"
        if scope["method"] == "POST" and headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return 415, "Send the request as JSON, with the header Content-Type: application/json.", "not_json"
        if self._key and scope["path"] != "/health":
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not secrets.compare_digest(given.encode(), self._key.encode()):
                return 401, "The API key is missing or wrong: send it as Authorization: Bearer KEY.", "invalid_api_key"
        return None


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # half an IPv6 address
        return ""
