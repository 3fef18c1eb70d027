"""The client's end of a request that the gateway passes on: its body, its leaving, and the reply to it."""

from __future__ import annotations

import json
from typing import Any

from starlette.exceptions import HTTPException

from phi3core.serving.guard import Receive, Send
from phi3core.serving.protocol import error_body, sse_event

from .rate_limit import Use

JSON = {"content-type": "application/json"}
LEFT_OUT = "x-left-out"
"""Names what of the request was left out, because the model does not take it."""
_PASSED_ON = ("content-type", "cache-control", "retry-after", "x-accel-buffering", LEFT_OUT)


class Reply:
    """The response to the client. As little work as possible for each piece. use: what its tokens are counted on."""

    def __init__(self, send: Send, use: Use) -> None:
        self._send, self.use = send, use
        self.begun = self._ended = self._sized = False
        self._last = b""

    async def begin(self, status: int, headers: Any, length: int | None = None) -> None:
        kept = [(name.encode(), headers[name].encode("latin-1")) for name in _PASSED_ON if name in headers]
        if length is not None:
            self._sized = True
            kept.append((b"content-length", str(length).encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": kept})
        self.begun = True

    async def piece(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self._last = piece

    async def fail(self, text: str, code: str) -> None:
        """Write the error into the stream, as OpenAI does, since the status is long sent."""
        boundary = "" if not self._last or self._last.endswith(b"\n\n") else "\n\n"
        await self.piece((boundary + sse_event(error_body(500, text, code))).encode())

    async def abort(self, text: str) -> None:
        """End the response early, whether it has begun or not."""
        if not self.begun:
            await self.begin(503, JSON)
            await self.piece(json.dumps(error_body(503, text, "stopping")).encode())
        elif not self._ended and not self._sized:
            await self.fail(text, "stopping")
        await self.end()

    async def end(self) -> None:
        if not self._ended:
            self._ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def wait_disconnected(receive: Receive) -> None:
    """Return when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_body(receive: Receive) -> bytes:
    """A request's body. Raises HTTPException for one that breaks off."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "The request broke off.")
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)
