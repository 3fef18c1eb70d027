"""What stands before the pages: which host names they answer to, and the way back after a sign-in.

Streamlit lets in a web page that rebinds a name of its own to this machine, and any page of another program on it:
here only names that are known are served, and only our own pages. And it ends every sign-in at the first page: here
it ends at the page that was asked for. It sends small messages late: here they are sent at once. Knows nothing of
people and roles.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import psutil

from phi3core.serving.guard import App, Receive, Scope, Send, headers_of, hostname, is_own, refuse_host

SIGN_IN_FAILED = "phi3_sign_in_failed"
"""A cookie that is there for a moment after a sign-in that came to nothing."""
_RETURN_COOKIE = "phi3_wanted"
_LOGIN, _CALLBACK, _SIGNED_IN = "/auth/login", "/oauth2callback", b"_streamlit_user="
_HALF = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")  # a surrogate, in what would be UTF-8
_MINUTES = 10  # to sign in
_LONGEST = 2000  # characters of an address that is come back to: a cookie holds 4096 bytes


def send_at_once(port: int) -> None:
    """Have what is sent on connections to this port of this process not wait for what was sent before (TCP_NODELAY).

    Streamlit makes its socket without a word on the protocol, and asyncio sets the option only where there is one: a
    token, or a part of a page, that follows another would come 40 ms late.
    """
    for found in psutil.Process().net_connections("tcp"):
        if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.fd >= 0:
            with socket.socket(fileno=os.dup(found.fd)) as same:
                same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections inherit it


READY = "/ready"
"""Asked by a proxy, under whatever name it has for this machine."""


class Front:
    """ASGI middleware.

    hosts: the names that the pages answer to. readable: whether Streamlit can read a message of a page.
    """

    def __init__(self, app: App, hosts: frozenset[str], readable: Callable[[bytes], bool]) -> None:
        self._app, self._hosts, self._readable = app, hosts, readable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind, path = scope["type"], scope.get("path", "")
        if kind not in ("http", "websocket") or path.startswith("/v1/") or path in ("/_stcore/health", READY):
            await self._app(scope, receive, send)  # /v1 has a guard of its own
            return
        headers = headers_of(scope)
        name = hostname(headers.get("host", ""))
        if name not in self._hosts or (kind == "websocket" and not is_own(headers)):
            await _refuse(scope, receive, send, name)
        elif kind == "websocket":
            await self._app(scope, self._repair(receive), send)
        elif path == _LOGIN:
            await self._app(scope, receive, _edit_start(send, lambda answer: _remember_page(scope, answer)))
        elif path == _CALLBACK:
            await self._app(scope, receive, _edit_start(send, lambda answer: _return_to_page(scope, answer)))
        else:
            await self._app(scope, receive, send)

    def _repair(self, receive: Receive) -> Receive:
        """Replace half characters in messages that can't be read otherwise, by U+FFFD, which is as long."""

        async def repaired() -> Any:
            message = await receive()
            data = message.get("bytes") or b""
            if _HALF.search(data) and not self._readable(data):
                return {**message, "bytes": _HALF.sub("\ufffd".encode(), data)}
            return message

        return repaired


async def _refuse(scope: Scope, receive: Receive, send: Send, name: str) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.websockets import WebSocketClose

    if scope["type"] == "websocket":
        await WebSocketClose(1008)(scope, receive, send)
        return
    await PlainTextResponse(refuse_host(name), 403)(scope, receive, send)


# ---------------------------------------------------------------- the way back


def _remember_page(scope: Scope, answer: dict[str, Any]) -> None:
    """Remember the page that the browser comes from while its person signs in elsewhere."""
    headers = headers_of(scope)
    came = urlsplit(headers.get("referer", ""))
    page = came.path + (f"?{came.query}" if came.query else "")
    ours = came.netloc.lower() == headers.get("host", "").lower() and _is_page(page)
    if ours:
        _set_cookie(answer, _RETURN_COOKIE, quote(page, safe=""), _MINUTES * 60)
    if answer["status"] >= 400:  # the provider can't be reached
        _redirect(answer, page if ours else "/")
        _set_cookie(answer, SIGN_IN_FAILED, "1", 30)


def _return_to_page(scope: Scope, answer: dict[str, Any]) -> None:
    """Go to the page that was remembered; one says there whether the sign-in failed."""
    try:
        found = SimpleCookie(headers_of(scope).get("cookie", "")).get(_RETURN_COOKIE)
    except CookieError:
        found = None
    page = unquote(found.value) if found else ""
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    _set_cookie(answer, _RETURN_COOKIE, "", 0)
    if "state" not in asked and "error" not in asked:
        return  # a sign-out ends here too
    _redirect(answer, page if _is_page(page) else "/")
    if not _signs_in(answer):
        _set_cookie(answer, SIGN_IN_FAILED, "1", 30)


def _is_page(page: str) -> bool:
    """Whether this is a path of ours, and can't lead a browser elsewhere."""
    plain = page.isascii() and page.isprintable() and "\\" not in page and " " not in page
    return page.startswith("/") and not page.startswith("//") and plain and len(page) <= _LONGEST


def _edit_start(send: Send, change: Callable[[Any], None]) -> Send:
    """Change the answer's status and headers before they are sent."""

    async def changed(message: Any) -> None:
        if message["type"] == "http.response.start":
            change(message)
        await send(message)

    return changed


def _redirect(answer: dict[str, Any], page: str) -> None:
    answer["status"] = 302
    kept = [(name, value) for name, value in answer["headers"] if name.lower() != b"location"]
    answer["headers"] = [*kept, (b"location", page.encode("ascii"))]


def _set_cookie(answer: dict[str, Any], name: str, value: str, seconds: int) -> None:
    cookie = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax"
    answer["headers"] = [*answer["headers"], (b"set-cookie", cookie.encode("ascii"))]


def _signs_in(answer: dict[str, Any]) -> bool:
    """Whether the answer sets the cookie of a person who has signed in, and does not just take an old one away."""
    cookies = [value for name, value in answer["headers"] if name.lower() == b"set-cookie"]
    return any(cookie.startswith(_SIGNED_IN) and not cookie.startswith(_SIGNED_IN + b'""') for cookie in cookies)
