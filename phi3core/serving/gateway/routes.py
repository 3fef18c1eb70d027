"""Every registered version behind the app's own port, over OpenAI's protocol: /v1 of server.py.

    GET  /v1/models            every version reference, MODEL/3, MODEL@alias and MODEL/Production
    POST /v1/chat/completions  "model" is a version reference; the version is opened when it is not open yet
    POST /v1/completions       likewise
    POST /v1/responses         likewise, over chat completions; stored as a conversation
    GET  /v1/responses/ID      one that was stored; DELETE removes it
    GET  /v1/openapi.json      what the requests may hold
    GET  /metrics              what was asked and how it went, for Prometheus
    GET  /ready                whether the app takes requests and the store answers, for a proxy; without a key

A request is passed on to the version's model server, and its answer comes back byte for byte as it is made
(`forward`); but for responses it knows nothing of what is said, only which version it is said to.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from phi3core.access.api_keys import key_required, person_with_key
from phi3core.access.limits import read_limits
from phi3core.access.login import allowed_hosts
from phi3core.access.loopback_only import LOOPBACK
from phi3core.clock import SYSTEM, Clock
from phi3core.errors import BadInput, NotFound, Phi3Error, ServerError, StoreError
from phi3core.registry.reference import parse_reference
from phi3core.serving.guard import WRONG_KEY, App, Guard, Refusal
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.store.client import ensure_reachable

from .catalogue import AsyncTTLCache, list_references
from .failures import crashed, http_error, our_error
from .forward import Forward
from .front import READY
from .metrics import Metrics
from .openapi import openapi
from .rate_limit import RATE_HEADERS, RateLimit
from .responses import History, Responses
from .stored_responses import StoredResponses
from .upstream import Upstream

_LISTED = 5.0
_REACHED = 2.0  # seconds that an answer of the store is good for: anybody may ask for it


class Gateway:
    """The routes below /v1, for the keys of `access.api_keys`; for every program here where none is needed.

    Raises BadInput where the secrets file can't be understood.
    """

    def __init__(self, settings: Settings, clock: Clock = SYSTEM) -> None:
        self._settings, self._clock = settings, clock
        self._hosts = LOOPBACK | allowed_hosts(settings)
        self._upstream = Upstream(settings, clock)
        self._responses = Responses(settings, self._upstream)
        self._stored = StoredResponses(settings, self._upstream)
        self._metrics = Metrics(settings, self._upstream)

    def routes(self) -> list[BaseRoute]:
        """For st.App's routes. They answer once `start` was called."""
        return [Mount("/v1", self._v1()), Route("/metrics", self._counts()), Route(READY, self._ready)]

    async def _ready(self, _: Request) -> Response:
        """Whether requests can be answered: for a proxy, which asks without a key, and is told no more."""
        try:
            self._upstream.session()
            await self._reached.get("")
        except StoreError:
            return JSONResponse({"status": "the store does not answer"}, 503)
        except ServerError:
            return JSONResponse({"status": "starting or stopping"}, 503)
        return JSONResponse({"status": "ready"})

    def _counts(self) -> App:
        handlers: dict[Any, Any] = {Phi3Error: our_error, Exception: crashed}
        app = Starlette(routes=[Route("/metrics", self._metrics.answer)], exception_handlers=handlers)
        return Guard(app, self._refused, self._hosts, self._settings.origins)

    def _v1(self) -> App:
        routes = [
            Route("/models", self._list),
            Route("/models/", self._list),
            Route("/models/{id:path}", self._show),
            Route("/openapi.json", _openapi),
            Route("/chat/completions", Forward(self._upstream, "/v1/chat/completions"), methods=["POST"]),
            Route("/responses", self._responses, methods=["POST"]),
            Route("/responses/{id}", self._stored.answer, methods=["GET", "DELETE"]),
            Route("/completions", Forward(self._upstream, "/v1/completions"), methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: http_error, Phi3Error: our_error, Exception: crashed}
        app = Starlette(routes=routes, exception_handlers=handlers)
        origins = self._settings.origins
        guarded = Guard(RateLimit(app, self._settings, self._clock), self._refused, self._hosts, origins)
        counted = self._metrics.count(guarded)
        # Before the guard, so that a browser asks beforehand without a key, and shows its page what the guard says.
        return CORSMiddleware(
            counted,
            allow_origins=origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=("Retry-After", *RATE_HEADERS),
        )

    async def start(self, pool: Pool, history: History) -> None:
        """Take requests, in the event loop that runs this."""
        await self._upstream.start(pool)
        self._responses.history = self._stored.history = history
        listed = lambda _: self._upstream.call(list_references, self._settings)  # noqa: E731
        self._listed = AsyncTTLCache(listed, _LISTED, self._clock)
        reached = lambda _: self._upstream.call(ensure_reachable, self._settings)  # noqa: E731
        self._reached = AsyncTTLCache(reached, _REACHED, self._clock)

    def hang_up(self) -> None:
        """Break off all answers, from any thread or a signal's handler: the app ends and waits for them otherwise."""
        self._upstream.hang_up()

    async def stop(self) -> None:
        """Take no more requests."""
        await self._upstream.stop()

    def _refused(self, key: str) -> Refusal | None:
        """Why a request with this key is refused; the secrets file is read anew for every request."""
        try:
            read_limits(self._settings)
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
        self._upstream.session()
        return JSONResponse({"object": "list", "data": await self._listed.get("")})

    async def _show(self, request: Request) -> Response:
        self._upstream.session()
        asked = request.path_params["id"]
        with contextlib.suppress(BadInput):  # then it is none of those that are listed
            asked = str(parse_reference(asked))
        for listed in await self._listed.get(""):
            if listed["id"] == asked:
                return JSONResponse(listed)
        raise NotFound(f"There is no version “{asked}”. GET /v1/models lists them.")


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi())
