"""How much a page may upload: Streamlit bounds each file, and keeps any number of them in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from starlette.responses import PlainTextResponse

from phi3core.serving.guard import App, Receive, Scope, Send, headers_of

_UPLOADS = "/_stcore/upload_file/"
MOST = 40_000_000
"""Bytes that one open page may have uploaded at a time."""


class UploadLimit:
    """ASGI middleware. held: the bytes that are in memory of what a page uploaded, by Streamlit's id of it."""

    def __init__(self, app: App, held: Callable[[str], int], most: int = MOST) -> None:
        self._app, self._held, self._most = app, held, most
        self._coming: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "PUT" or not path.startswith(_UPLOADS):
            await self._app(scope, receive, send)
            return
        page = path.removeprefix(_UPLOADS).partition("/")[0]
        length = headers_of(scope).get("content-length", "")
        if not length.isascii() or not length.isdigit():  # else it could not be known beforehand
            await PlainTextResponse("Say how long the file is, with Content-Length.", 411)(scope, receive, send)
            return
        if self._held(page) + self._coming[page] + int(length) > self._most:
            text = f"This page holds too much already: {self._most // 1_000_000} MB are the most."
            await PlainTextResponse(text, 413)(scope, receive, send)
            return
        self._coming[page] += int(length)
        try:
            await self._app(scope, receive, send)
        finally:
            self._coming[page] -= int(length)
            if not self._coming[page]:
                del self._coming[page]
