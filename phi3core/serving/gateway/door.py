"""What stands before the pages where people sign in: which sign-ins count, and what is closed before one.

Streamlit believes whatever cookie has the right signature, and takes uploads from whoever has a page open. Here a
cookie counts only while its sign-in is open (`access.sessions`), on connections that are already made too; and what
holds or takes data is for people with a role.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse

from phi3core.access import sessions
from phi3core.access.login import Login
from phi3core.access.roles import groups_claim
from phi3core.access.sign_in import has_same_groups, person_with_claims
from phi3core.errors import BadInput, ServerError
from phi3core.serving.guard import App, Receive, Scope, Send
from phi3core.settings import Settings

Cookies = Mapping[str, str]

_USER, _TOKENS = "_streamlit_user", "_streamlit_user_tokens"
_OF_SIGN_IN = re.compile(r"_streamlit_user(_tokens)?(_\d+)?")
_MAX_AGE = re.compile(rb"Max-Age=[1-9]\d*", re.IGNORECASE)
_LOGOUT, _CALLBACK = "/auth/logout", "/oauth2callback"
_OPEN = ("/_stcore/health", "/_stcore/host-config", "/_stcore/stream")
_CLOSED = ("/_stcore/", "/media/", "/component/", "/app/static/")


@dataclass(frozen=True)
class _SignIn:
    """id: as `sessions` knows it. claims: what the provider said of the person. token: with which it is asked again."""

    id: str
    claims: dict[str, Any]
    token: str


class Door:
    """ASGI middleware.

    read: what a browser's cookies hold under a name where their signature is right, else None. reload: Streamlit's
    message that makes a page load itself anew.
    """

    def __init__(
        self, app: App, settings: Settings, login: Login, read: Callable[[Cookies, str], bytes | None], reload: bytes
    ) -> None:
        self._app, self._settings, self._login, self._read = app, settings, login, read
        self._reload = reload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind, path = scope["type"], scope.get("path", "")
        if kind not in ("http", "websocket") or path.startswith("/v1/"):  # where cookies count for nothing
            await self._app(scope, receive, send)
            return
        signed = self._sign_in(cookie_parser(_cookie_header(scope)))
        if signed and not await self._counts(signed):
            signed = None
        if not signed:
            scope = {**scope, "headers": _without_sign_in(scope)}
        if path.startswith(_CLOSED) and path not in _OPEN and not (signed and self._may_look(signed.claims)):
            await PlainTextResponse("Sign in first.", 401)(scope, receive, send)
        elif path == _CALLBACK:
            await self._app(scope, receive, self._begin(signed, send))
        elif path == _LOGOUT and signed:
            sessions.end_session(self._settings, signed.id)
            await self._app(scope, receive, send)
        elif kind == "websocket" and signed:
            await self._app(scope, self._while_open(signed, receive, send), send)
        else:
            await self._app(scope, receive, send)

    def _sign_in(self, cookies: Cookies) -> _SignIn | None:
        """The sign-in that the cookies are of, whether it counts or not."""
        text = self._read(cookies, _USER)
        claims = json.loads(text) if text else None
        if not text or not claims:
            return None
        tokens = json.loads(self._read(cookies, _TOKENS) or "{}")
        return _SignIn(sessions.identify(cookies[_USER], text), claims, tokens.get("access_token", ""))

    async def _counts(self, signed: _SignIn) -> bool:
        """Whether the sign-in is open still. It ends where the provider says that the person's groups are others."""
        minutes = self._login.groups_minutes
        if minutes and sessions.is_due(self._settings, signed.id, minutes * 60):
            await asyncio.to_thread(self._confirm, signed)
        return sessions.is_open(self._settings, signed.id)

    def _confirm(self, signed: _SignIn) -> None:
        try:
            same = has_same_groups(self._login, signed.token, signed.claims, groups_claim(self._settings))
        except (ServerError, BadInput):  # the provider is silent, or a page will say what is wrong in the secrets file
            return
        if not same:
            sessions.end_session(self._settings, signed.id)

    def _may_look(self, claims: dict[str, Any]) -> bool:
        try:
            return person_with_claims(self._settings, claims).may("viewer")
        except BadInput:  # the page says what is wrong
            return False

    def _begin(self, before: _SignIn | None, send: Send) -> Send:
        """Open the sign-in whose cookie the answer sets, for as long as the browser keeps it, in place of another."""

        async def begun(message: Any) -> None:
            if message["type"] == "http.response.start" and (signed := self._sign_in(_set_cookies(message))):
                if before:
                    sessions.end_session(self._settings, before.id)
                email = str(signed.claims.get("email") or "")
                sessions.open_session(self._settings, signed.id, email, self._login.session_hours)
                message = {**message, "headers": [self._shorten(*header) for header in message["headers"]]}
            await send(message)

        return begun

    def _shorten(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        if name.lower() != b"set-cookie" or not _OF_SIGN_IN.fullmatch(value.partition(b"=")[0].decode("latin-1")):
            return name, value
        return name, _MAX_AGE.sub(b"Max-Age=%d" % (self._login.session_hours * 3600), value)

    def _while_open(self, signed: _SignIn, receive: Receive, send: Send) -> Receive:
        """What a page sends, until its sign-in ends: then it is cut off, and loads the sign-in page in its place."""

        async def received() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive" and not await self._counts(signed):
                await send({"type": "websocket.send", "bytes": self._reload})
                await send({"type": "websocket.close", "code": 1008})
                return {"type": "websocket.disconnect", "code": 1008}
            return message

        return received


def _cookie_header(scope: Scope) -> str:
    """All cookies of a request; of several with one name the last counts, as for Starlette."""
    return "; ".join(value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"cookie")


def _set_cookies(answer: Any) -> dict[str, str]:
    """The cookies that an answer sets."""
    cookies: dict[str, str] = {}
    for name, value in answer["headers"]:
        if name.lower() == b"set-cookie":
            cookies |= cookie_parser(value.decode("latin-1").partition(";")[0])
    return cookies


def _without_sign_in(scope: Scope) -> list[tuple[bytes, bytes]]:
    """A request's headers without the cookies of a sign-in."""
    cookies = [part for part in _cookie_header(scope).split(";") if not _OF_SIGN_IN.fullmatch(_name_of(part))]
    kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"cookie"]
    return [*kept, (b"cookie", ";".join(cookies).encode("latin-1"))]


def _name_of(cookie: str) -> str:
    return cookie.partition("=")[0].strip()
