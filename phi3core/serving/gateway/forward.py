"""One request passed on to a version's model server, and its answer byte for byte as it is made."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from phi3core.errors import BadInput, ServerError
from phi3core.serving.body import LONG, parse_body
from phi3core.serving.guard import Receive, Scope, Send
from phi3core.serving.handle import ModelServer
from phi3core.serving.protocol import PROMPT_TOKENS

from .failures import Died, Unreached
from .rate_limit import use_of
from .relay import JSON, Reply, read_body
from .upstream import Upstream

_PIECE = b'data: {"'  # begins each piece of a stream

T = TypeVar("T")


class Forward:
    """An ASGI app that passes one request on. Not a function, which Starlette would wrap in its own response."""

    def __init__(self, upstream: Upstream, path: str) -> None:
        self._upstream, self._path = upstream, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._read(await read_body(receive), parse)
        await self._upstream.run(self.answer(body, Reply(send, use_of(scope))), receive)

    async def _read(self, text: bytes, parse: Callable[[bytes], T]) -> T:
        """A request's body, parsed beside the event loop where that takes a while."""
        self._upstream.session()
        return parse(text) if len(text) < LONG else await self._upstream.call(parse, text)

    async def answer(self, body: dict[str, Any], reply: Reply) -> None:
        """Have the model server of the version that the body names answer it."""
        try:
            try:
                await self._ask(body, reply)
            except Unreached:  # it died before: it has read nothing of this request, and is opened again
                await self._ask(body, reply)
        except asyncio.CancelledError:
            # Goes nowhere where the client has gone; one that does not read must not keep the app from ending.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reply.abort("The app is stopping."), 1)
            raise

    async def _ask(self, body: dict[str, Any], reply: Reply) -> None:
        server = await self._upstream.server(body["model"])
        with server.hold():
            await self._ready(server)
            payload = await self._upstream.call(lambda: json.dumps({**body, "model": server.ref}).encode())
            await self._pass_on(server, payload, reply)

    async def _ready(self, server: ModelServer) -> None:
        while not server.ready:
            status = await self._upstream.call(server.status)
            if status.state == "failed":
                raise ServerError(f"{server.ref} could not be opened. {status.reason}")
            await asyncio.sleep(0 if status.open else 0.1)

    async def _pass_on(self, server: ModelServer, payload: bytes, reply: Reply) -> None:
        import aiohttp

        headers = {**JSON, "accept-encoding": "identity", "authorization": f"Bearer {server.key}"}
        try:
            async with self._upstream.session().post(server.url + self._path, data=payload, headers=headers) as answer:
                if answer.content_type == "text/event-stream":
                    reply.use.spend(int(answer.headers.get(PROMPT_TOKENS, 0)))
                    await reply.begin(answer.status, answer.headers)
                    async for piece in answer.content.iter_any():
                        reply.use.spend(piece.count(_PIECE))
                        await reply.piece(piece)
                else:
                    whole = await answer.read()  # before anything is sent: it can still fail with a status
                    reply.use.spend(_tokens_in(whole) if answer.ok else 0)
                    await reply.begin(answer.status, answer.headers, len(whole))
                    await reply.piece(whole)
        except aiohttp.ClientError as error:
            await self._broke_off(server, reply, error)
        await reply.end()

    async def _broke_off(self, server: ModelServer, reply: Reply, error: Exception) -> None:
        import aiohttp

        when = "in mid-answer" if reply.begun else "before it answered"
        reason = await self._upstream.call(_reason, server) or f"Its connection broke off ({error})."
        text = f"The model server of {server.ref} died {when}. {reason}"
        if not reply.begun:
            raise (Unreached if isinstance(error, aiohttp.ClientConnectorError) else Died)(text)
        await reply.fail(text, "model_server_died")


def _reason(server: ModelServer) -> str:
    """What became of a server whose connection broke; empty when it lives."""
    deadline = time.monotonic() + 2  # a process that was just killed takes a moment to be seen dead
    while not (reason := server.failure()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return reason


def _tokens_in(answer: bytes) -> int:
    """How many tokens a whole answer says were read and written for it."""
    usage = json.loads(answer).get("usage") or {}
    return int(usage.get("total_tokens") or 0)


def parse(text: bytes) -> dict[str, Any]:
    body = parse_body(text)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise BadInput("The request names no model: give a version reference, as in {“model”: “name/3”, …}.")
    return body
