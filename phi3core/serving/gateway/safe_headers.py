"""Headers of every answer that tell a browser what may not be done with it."""

from __future__ import annotations

from typing import Any

from phi3core.serving.guard import App, Receive, Scope, Send

_SAFE = (
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # addresses name models and conversations
)


class SafeHeaders:
    """ASGI middleware: no other web page frames ours, and no browser guesses a type or tells our addresses elsewhere.

    secure: whether the app is reached over https alone, so that its cookies are sent over nothing else.
    """

    def __init__(self, app: App, secure: bool) -> None:
        self._app, self._secure = app, secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._headers(message.get("headers", ()))}
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)

    def _headers(self, given: Any) -> list[tuple[bytes, bytes]]:
        ours = {name for name, _ in _SAFE} - {b"content-security-policy"}  # of several such, all hold
        kept = [(name, value) for name, value in given if name.lower() not in ours]
        return [(name, self._secured(name, value)) for name, value in kept] + [*_SAFE]

    def _secured(self, name: bytes, value: bytes) -> bytes:
        if not self._secure or name.lower() != b"set-cookie" or b"; secure" in value.lower():
            return value
        return value + b"; Secure"
