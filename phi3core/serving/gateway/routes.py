"""Every registered version behind the app's own port, over OpenAI's protocol: /v1 of server.py.

    GET  /v1/models            every version reference, MODEL/3, MODEL@alias and MODEL/Production
    POST /v1/chat/completions  "model" is a version reference; the version is opened when it is not open yet
    POST /v1/completions       likewise

A request is passed on to the version's model server, and its answer comes back byte for byte as it is made. Knows
nothing of what is said, only which version it is said to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from phi3core.access.api_keys import key_required, person_with_key
from phi3core.access.login import allowed_hosts
from phi3core.clock import SYSTEM, Clock
from phi3core.errors import BadInput, NotFound, Phi3Error, ServerError
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.registry.reference import parse_reference
from phi3core.serving.guard import LOOPBACK, WRONG_KEY, Guard, Receive, Refusal, Scope, Send
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool
from phi3core.settings import Settings

from .catalogue import AsyncTTLCache, list_references
from .failures import Died, Unreached, crashed, http_error, our_error
from .relay import JSON, Reply, read_body, wait_disconnected

if TYPE_CHECKING:
    import aiohttp

_RESOLVED = 2.0  # seconds that a reference's version is remembered: an alias that moved is followed soon enough
_LISTED = 5.0

T = TypeVar("T")


class Gateway:
    """The routes below /v1, for the keys of `access.api_keys`; for every program here where none is needed.

    Raises BadInput where the secrets file can't be understood.
    """

    def __init__(self, settings: Settings, clock: Clock = SYSTEM) -> None:
        self._settings, self._clock = settings, clock
        self._hosts = LOOPBACK | allowed_hosts(settings)
        self._answers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._session: aiohttp.ClientSession | None = None

    def mount(self) -> Mount:
        """For st.App's routes. Answers once `start` was called."""
        routes = [
            Route("/models", self._list),
            Route("/models/", self._list),
            Route("/models/{id:path}", self._show),
            Route("/chat/completions", _Forward(self, "/v1/chat/completions"), methods=["POST"]),
            Route("/completions", _Forward(self, "/v1/completions"), methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: http_error, Phi3Error: our_error, Exception: crashed}
        app = Starlette(routes=routes, exception_handlers=handlers)
        origins = self._settings.origins
        guarded = Guard(app, self._refused, self._hosts, origins)
        # Before the guard, so that a browser asks beforehand without a key, and shows its page what the guard says.
        cors = CORSMiddleware(
            guarded,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=("Retry-After",),
        )
        return Mount("/v1", cors)

    async def start(self, pool: Pool) -> None:
        """Take requests, in the event loop that runs this."""
        import aiohttp

        settings = self._settings
        self._pool, self._loop = pool, asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="gateway")
        self._versions = AsyncTTLCache(lambda ref: self.call(reader.get_version, settings, ref), _RESOLVED, self._clock)
        self._listed = AsyncTTLCache(lambda _: self.call(list_references, settings), _LISTED, self._clock)
        self._session = aiohttp.ClientSession(
            # A connection of its own for each request: one that is kept may have been closed by the other end.
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def hang_up(self) -> None:
        """Break off all answers, from any thread or a signal's handler: the app ends and waits for them otherwise."""
        self._stopping = True
        if self._session:
            self._loop.call_soon_threadsafe(lambda: [answer.cancel() for answer in self._answers])

    async def stop(self) -> None:
        """Take no more requests."""
        self.hang_up()
        if self._session:
            await self._session.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function that blocks gives, run in a thread."""
        return await self._loop.run_in_executor(self._threads, function, *arguments)

    def session(self) -> aiohttp.ClientSession:
        """What model servers are asked through. Raises ServerError unless requests are taken."""
        if self._session is None or self._stopping:
            raise ServerError(
                "The app is stopping." if self._stopping else "The app is starting. Try again in a moment."
            )
        return self._session

    async def server(self, reference: str) -> ModelServer:
        """The server of the version that a reference means now; it may still be loading.

        Raises NotFound, StoreError, Busy or ServerError.
        """
        self.session()
        try:
            version: Version = await self._versions.get(reference)
        except BadInput as error:  # to a client a malformed reference is a model that does not exist
            raise NotFound(str(error)) from error
        return await self.call(self._pool.open, version)

    async def run(self, work: Coroutine[Any, Any, None], receive: Receive) -> None:
        """Do this until it is done, or the client has gone, or the app ends."""
        answering = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(wait_disconnected(receive))
        self._answers.add(answering)
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._answers.discard(answering)
            for task in (answering, leaving):
                task.cancel()
            await asyncio.wait({answering, leaving})
        if not answering.cancelled():
            answering.result()

    def _refused(self, key: str) -> Refusal | None:
        """Why a request with this key is refused; the secrets file is read anew for every request."""
        try:
            if not key_required(self._settings):
                return None
            person = person_with_key(self._settings, key)
        except BadInput as error:
            print(f"/v1 lets nobody in: {error}", file=sys.stderr, flush=True)  # for the administrator alone
            return 503, "The app can't read who may come in. Its administrator finds the reason in its log.", "no_keys"
        if person is None:
            return WRONG_KEY
        if not person.may("viewer"):
            return 403, f"{person.name} has no role here: an admin can give one.", "no_role"
        return None

    async def _list(self, _: Request) -> Response:
        self.session()
        return JSONResponse({"object": "list", "data": await self._listed.get("")})

    async def _show(self, request: Request) -> Response:
        self.session()
        asked = request.path_params["id"]
        with contextlib.suppress(BadInput):  # then it is none of those that are listed
            asked = str(parse_reference(asked))
        for listed in await self._listed.get(""):
            if listed["id"] == asked:
                return JSONResponse(listed)
        raise NotFound(f"There is no version “{asked}”. GET /v1/models lists them.")


class _Forward:
    """An ASGI app that passes one request on. Not a function, which Starlette would wrap in its own response."""

    def __init__(self, gateway: Gateway, path: str) -> None:
        self._gateway, self._path = gateway, path

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        body = _parse(await read_body(receive))
        await self._gateway.run(self._answer(body, send), receive)

    async def _answer(self, body: dict[str, Any], send: Send) -> None:
        reply = Reply(send)
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
        server = await self._gateway.server(body["model"])
        with server.hold():
            await self._ready(server)
            payload = json.dumps({**body, "model": server.ref}).encode()
            await self._pass_on(server, payload, reply)

    async def _ready(self, server: ModelServer) -> None:
        while not server.ready:
            status = await self._gateway.call(server.status)
            if status.state == "failed":
                raise ServerError(f"{server.ref} could not be opened. {status.reason}")
            await asyncio.sleep(0 if status.open else 0.1)

    async def _pass_on(self, server: ModelServer, payload: bytes, reply: Reply) -> None:
        import aiohttp

        headers = {**JSON, "accept-encoding": "identity", "authorization": f"Bearer {server.key}"}
        try:
            async with self._gateway.session().post(server.url + self._path, data=payload, headers=headers) as upstream:
                if upstream.content_type == "text/event-stream":
                    await reply.begin(upstream.status, upstream.headers)
                    async for piece in upstream.content.iter_any():
                        await reply.piece(piece)
                else:
                    whole = await upstream.read()  # before anything is sent: it can still fail with a status
                    await reply.begin(upstream.status, upstream.headers, len(whole))
                    await reply.piece(whole)
        except aiohttp.ClientError as error:
            await self._broke_off(server, reply, error)
        await reply.end()

    async def _broke_off(self, server: ModelServer, reply: Reply, error: Exception) -> None:
        import aiohttp

        when = "in mid-answer" if reply.begun else "before it answered"
        reason = await self._gateway.call(_reason, server) or f"Its connection broke off ({error})."
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


def _parse(text: bytes) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise BadInput(f"The request is no JSON: {error}.") from error
    if not isinstance(body, dict) or not isinstance(body.get("model"), str) or not body["model"]:
        raise BadInput("The request names no model: give a version reference, as in {“model”: “name/3”, …}.")
    return body
