"""The model server: one version behind OpenAI's protocol, as an ASGI app.

    GET  /health               {"status": "loading" | "ready" | "failed", ...}
    GET  /v1/models
    POST /v1/chat/completions  streamed and not
    POST /v1/completions       the prompt as it is, without a chat template
    POST /apply-template       the prompt that messages become, and its length (as llama.cpp's server has it)
    GET  /props                the model's context and default options (likewise)

One worker thread generates, one answer at a time; the event loop stays free to answer. Run as a module it is
the child process of pool.py: it tells its port on standard output and ends when its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse

from ..engine import Done, Engine, Options
from ..errors import BadInput, Conflict, Phi3Error, ServerError
from ..parent import when_parent_ends
from .guard import LOOPBACK, Guard
from .protocol import ChatRequest, CompletionRequest, Format, TemplateRequest, error_body, error_response, event

_PAUSE = 0.0001  # seconds


class Loaded:
    """The engine and its worker thread; `status` is loading, ready or failed."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self.status, self.error = "loading", ""
        self._engine: Engine | None = None
        self._load = load
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")

    def start(self) -> None:
        self._worker.submit(self._run_load)

    def _run_load(self) -> None:
        try:
            self._engine = self._load()
            self.status = "ready"
        except Phi3Error as error:
            self.status, self.error = "failed", str(error)
        except BaseException as error:
            self.status, self.error = "failed", f"The model can't be loaded: {error!r}"
        if self.error:
            print(self.error, file=sys.stderr, flush=True)

    @property
    def engine(self) -> Engine:
        """Raises ServerError while there is none."""
        if self._engine is None:
            raise ServerError(self.error or "The model is still loading. Try again in a moment.")
        return self._engine

    async def render(self, messages: list[dict[str, str]]) -> str:
        return await asyncio.to_thread(self.engine.render, messages)

    async def check(self, prompt: str) -> int:
        return await asyncio.to_thread(self.engine.check, prompt)

    async def stream(self, prompt: str, options: Options) -> AsyncIterator[str | Done]:
        """Pieces and then Done, generated in the worker thread; closing this stops it within a token."""
        engine, loop = self.engine, asyncio.get_running_loop()
        queue: asyncio.Queue[str | Done | BaseException] = asyncio.Queue()
        over = threading.Event()

        def work() -> None:
            try:
                for item in engine.stream(prompt, options, over.is_set):
                    loop.call_soon_threadsafe(queue.put_nowait, item)
                    # onnxruntime-genai holds the GIL through a token; without a pause the event loop
                    # starves and answers arrive in bursts (docs/decisions/0004).
                    time.sleep(_PAUSE)
            except BaseException as error:
                loop.call_soon_threadsafe(queue.put_nowait, error)

        self._worker.submit(work)
        try:
            while True:
                item = await queue.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if isinstance(item, Done):
                    return
        finally:
            over.set()


def create_app(load: Callable[[], Engine], names: list[str], key: str | None, local: bool = True) -> FastAPI:
    """The app that serves one model.

    names: what clients may call it, the first being what answers say. key: the API key, or None. local: accept
    only requests addressed to loopback.
    """
    loaded = Loaded(load)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loaded.start()
        yield

    # FastAPI's own documentation pages load their scripts from the internet.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, key=key, hosts=LOOPBACK if local else None)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BadInput, _bad_input)
    app.add_exception_handler(ServerError, _not_ready)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _crashed)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": loaded.status, "model": names[0], "error": loaded.error or None, "pid": os.getpid()}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "phi3-playground"} for name in names]
        return {"object": "list", "data": listed}

    @app.get("/props")
    async def props() -> dict[str, Any]:
        engine = loaded.engine
        return {"n_ctx": engine.context_length, "default_generation_settings": asdict(engine.options)}

    @app.post("/apply-template")
    async def apply_template(request: TemplateRequest) -> dict[str, Any]:
        return {"prompt": await loaded.render([message.plain() for message in request.messages])}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: ChatRequest, http: Request) -> Response:
        _check_name(request.model, names)
        options = request.options(loaded.engine.options)
        prompt = await loaded.render([message.plain() for message in request.messages])
        return await _answer(loaded, request, http, prompt, options, Format(True, names[0]))

    @app.post("/v1/completions", response_model=None)
    async def completions(request: CompletionRequest, http: Request) -> Response:
        _check_name(request.model, names)
        options = request.options(loaded.engine.options)
        return await _answer(loaded, request, http, request.prompt, options, Format(False, names[0]))

    return app


async def _answer(
    loaded: Loaded,
    request: ChatRequest | CompletionRequest,
    http: Request,
    prompt: str,
    options: Options,
    form: Format,
) -> Response:
    await loaded.check(prompt)  # before the stream begins, while an error can still have a status of its own
    stream = loaded.stream(prompt, options)
    if request.stream:
        with_usage = bool(request.stream_options and request.stream_options.include_usage)
        events = _events(stream, form, with_usage)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    text: list[str] = []
    while not isinstance(item := await anext(stream), Done):
        text.append(item)
        if len(text) % 8 == 0 and await http.is_disconnected():
            await stream.aclose()  # type: ignore[attr-defined]
            return Response(status_code=499)  # nobody is there to read it
    return JSONResponse(form.whole("".join(text), item))


async def _events(stream: AsyncIterator[str | Done], form: Format, with_usage: bool) -> AsyncIterator[str]:
    try:
        if opening := form.first():
            yield event(opening)
        while not isinstance(item := await anext(stream), Done):
            if item:
                yield event(form.piece(item))
        yield event(form.last(item))
        if with_usage:
            yield event(form.usage(item))
        yield "data: [DONE]\n\n"
    except Exception as error:  # the status is long sent: tell it in the stream, as OpenAI does
        print(f"An answer broke off: {error!r}", file=sys.stderr, flush=True)
        yield event(error_body(500, f"The model failed in mid-answer: {error}"))
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


def _check_name(model: str, names: list[str]) -> None:
    if model and model not in names:
        raise HTTPException(404, f"The model “{model}” is not served here; this server has {', '.join(names)}.")


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return error_response(400, f"{where or 'The request'}: {first['msg']}.", "invalid_request")


async def _bad_input(_: Request, error: Exception) -> Response:
    full = "context holds" in str(error)
    return error_response(400, str(error), "context_length_exceeded" if full else None)


async def _not_ready(_: Request, error: Exception) -> Response:
    return error_response(503, str(error), "model_not_ready")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_response(error.status_code, str(error.detail), "model_not_found" if error.status_code == 404 else None)


async def _crashed(_: Request, error: Exception) -> Response:
    return error_response(500, f"The model failed: {error}")


def bind(host: str, port: int) -> socket.socket:
    """A listening address; port 0 takes any free one. Raises Conflict when it is taken, BadInput when it is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen()  # from here on a client waits, instead of being refused
    except (OSError, OverflowError) as error:
        sock.close()
        if isinstance(error, OSError) and error.errno in (98, 48):  # EADDRINUSE on Linux and macOS
            raise Conflict(f"Port {port} is in use. Stop what uses it, or choose another with --port.") from error
        raise BadInput(f"Can't listen on {host}:{port}: {error}.") from error
    return sock


def serve(app: FastAPI, sock: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[sock])


def main() -> None:
    """The child process of pool.py."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ref")
    parser.add_argument("--artifact")
    asked = parser.parse_args()
    sock = bind("127.0.0.1", 0)
    print(json.dumps({"port": sock.getsockname()[1]}), flush=True)
    # Not sys.exit: a generation may be running in another thread, and there is nobody left to finish it for.
    when_parent_ends(lambda: os._exit(0))
    serve(create_app(lambda: load(asked.ref, asked.artifact), [asked.ref], os.environ["PHI3_SERVER_KEY"]), sock)


def load(ref: str, artifact: str | None) -> Engine:
    """The engine of a version: from its folder where that is known, else asked from the store and downloaded."""
    from .. import engine

    if artifact is None:
        from .. import registry, settings

        config = settings.load()
        artifact = str(registry.download(config, registry.resolve(config, ref)))
    return engine.open_artifact(Path(artifact))


if __name__ == "__main__":
    main()
