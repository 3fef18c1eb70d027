"""The gateway in an app of its own, for tests of /v1."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from phi3core.chat.response_history import ResponseHistory
from phi3core.clock import SYSTEM, Clock
from phi3core.serving.child.app import bind_socket
from phi3core.serving.gateway.routes import Gateway
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support.fakes import until
from tests.support.serving import http


@contextmanager
def passing_on(settings: Settings, pool: Pool, clock: Clock = SYSTEM) -> Iterator[tuple[str, Gateway]]:
    """An app with the gateway and a page, and the gateway itself."""
    gateway = Gateway(settings, clock)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        await gateway.start(pool, ResponseHistory(settings, pool))
        yield
        await gateway.stop()

    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse("a page")

    app = Starlette(routes=[*gateway.routes(), Route("/page", page, methods=["GET", "POST"])], lifespan=lifespan)
    sock = bind_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}", gateway
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()


def chat(url: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    return http.post(f"{url}/v1/chat/completions", json=body or {}, headers=headers, timeout=60)
