"""The model server: one version behind OpenAI's protocol, as an ASGI app.

    GET  /health               {"status": "loading" | "ready" | "failed", "running": 1, ...}, without the key "status"
    GET  /metrics              counts of answers and tokens, for Prometheus
    GET  /v1/models
    POST /v1/chat/completions  streamed and not
    POST /v1/completions       the prompt as it is, without a chat template
    POST /apply-template       the prompt that messages become (as llama.cpp's server has it)
    POST /tokenize             how many tokens a prompt or messages have (as vLLM's server has it)
    GET  /props                how the model takes a conversation, its context and options (likewise)
    POST /invocations          MLflow's own protocol, for models of another kind

worker.py runs the model in a thread of its own; the event loop stays free to answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from phi3core.access.loopback_only import LOOPBACK
from phi3core.engine.interface import NO_CHAT, Engine, Messages, Prompt
from phi3core.errors import BadInput, Conflict, NotFound
from phi3core.registry.reference import MLFLOW_SCHEME
from phi3core.serving.body import RequestError
from phi3core.serving.guard import Guard, headers_of, key_of, require_key
from phi3core.serving.protocol import PROMPT_TOKENS
from phi3core.text import join_words

from .answers import answer_all, collect, write_events
from .bodies import Inputs, read_body
from .failures import add_error_handlers
from .metrics import Metrics, WatchedAnswers
from .requests import ChatRequest, CompletionRequest, TemplateRequest, TokenizeRequest
from .responses import AnswerFormat
from .worker import Worker

MOST_ECHOED = 500_000
"""Tokens that a request with echo may have, each counted with its alternatives: half a kilobyte until they are sent."""


def create_app(
    load: Callable[[], Engine],
    names: list[str],
    key: str | None,
    local: bool = True,
    parallel: int = 8,
    queue: int = 32,
    on_hung: Callable[[], object] | None = None,
    strict: bool = False,
) -> FastAPI:
    """The app that serves one model.

    names: what clients may call it, the first being what answers say. key: the API key, or None. local: accept
    only requests addressed to loopback. parallel, queue, on_hung: see Worker. strict: refuse options that the model
    does not take, also where they would only shade an answer.
    """
    worker = Worker(load, parallel, queue, on_hung)
    metrics = Metrics(names[0], worker)
    answer = partial(_answer, worker, metrics, strict)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield

    # FastAPI's own documentation pages load their scripts from the internet.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, authorize=require_key(key), hosts=LOOPBACK if local else None)
    add_error_handlers(app)

    @app.get("/health")
    async def health(http: Request) -> dict[str, Any]:
        if require_key(key)(key_of(headers_of(http.scope))):  # another user of the machine learns no more
            return {"status": worker.status}
        return {
            "status": worker.status,
            "model": names[0],
            "error": worker.error or None,
            "pid": os.getpid(),
            "running": worker.running,
            "waiting": worker.waiting,
        }

    @app.get("/metrics")
    async def counts() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "phi3-playground"} for name in names]
        return {"object": "list", "data": listed}

    @app.get("/props")
    async def props() -> dict[str, Any]:
        engine = worker.engine
        return {
            "chat": engine.chat,
            "n_ctx": engine.context_length,
            "default_generation_settings": asdict(engine.options),
            "supports": sorted(engine.supports),
            "signature": engine.signature,
            "batched": engine.batched,
            "exact": engine.exact,
        }

    @app.post("/apply-template")
    async def apply_template(http: Request) -> dict[str, Any]:
        request = await read_body(http, TemplateRequest)
        engine = worker.engine
        if engine.chat != "template":
            raise BadInput("This model has no chat template: there is no rendered prompt.")
        return {"prompt": await asyncio.to_thread(lambda: engine.prepare(request.plain()))}

    @app.post("/tokenize")
    async def tokenize(http: Request) -> dict[str, Any]:
        request = await read_body(http, TokenizeRequest)
        engine = worker.engine
        prompt: Prompt = request.prompt or ""
        if request.messages:
            prompt = await asyncio.to_thread(lambda: engine.prepare(request.plain()))
        count = await asyncio.to_thread(engine.count, prompt)
        shown = prompt if isinstance(prompt, str) else None
        return {"count": count, "max_model_len": engine.context_length, "prompt": shown}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(http: Request) -> Response:
        request = await read_body(http, ChatRequest)
        _check_name(request.model, names)
        if worker.engine.chat == "none":
            raise BadInput(NO_CHAT)
        messages = await asyncio.to_thread(request.plain)
        prompt = await asyncio.to_thread(worker.engine.prepare, messages)
        return await answer(request, http, [prompt], names[0], messages)

    @app.post("/v1/completions", response_model=None)
    async def completions(http: Request) -> Response:
        request = await read_body(http, CompletionRequest)
        _check_name(request.model, names)
        if worker.engine.chat not in ("template", "prompt"):
            if worker.engine.chat == "none":
                raise BadInput(NO_CHAT)
            raise BadInput("This model takes messages and no prompt of text: use /v1/chat/completions instead.")
        return await answer(request, http, request.prompts(), names[0])

    @app.post("/invocations", response_model=None)
    async def invocations(http: Request) -> Response:
        engine, body = worker.engine, (await read_body(http, Inputs)).root

        async def predicted() -> Response:
            return await asyncio.to_thread(JSONResponse, await worker.call(lambda: engine.predict(body)))

        return await _until_disconnected(http, predicted())

    return app


async def _answer(
    worker: Worker,
    metrics: Metrics,
    strict: bool,
    request: ChatRequest | CompletionRequest,
    http: Request,
    prompts: list[Prompt],
    name: str,
    messages: Messages | None = None,
) -> Response:
    engine = worker.engine
    options, left_out = request.options(engine.options, engine.supports, strict)
    # Before the stream begins, while an error can still have a status of its own.
    needs = await asyncio.to_thread(lambda: [engine.check(prompt, options) for prompt in prompts])
    alternatives = options.logprobs or 0
    if options.echo and sum(needs) * options.n * (1 + alternatives) > MOST_ECHOED:
        counted = f", each with its {alternatives} alternatives" if alternatives else ""
        told = f"With echo a request holds at most {MOST_ECHOED:,} tokens, prompts and answers{counted}"
        raise RequestError(f"{told}: send fewer at once.", "prompt")
    with_usage = bool(request.stream_options and request.stream_options.include_usage)
    form = AnswerFormat(
        isinstance(request, ChatRequest), name, options.logprobs is not None, with_usage, _warnings(left_out)
    )
    headers = {"X-Left-Out": ", ".join(left_out)} if left_out else {}
    answer = metrics.watch(lambda: answer_all(worker, prompts, needs, options))

    def read_ahead(text: str) -> None:
        """The next turn begins with this answer: the model reads it while the person does."""
        if messages and options.n == 1 and engine.chat == "template":
            turns = [*messages, {"role": "assistant", "content": text}]
            asyncio.get_running_loop().run_in_executor(None, lambda: worker.read_ahead(engine.prepare(turns), options))

    if request.stream:
        headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        counts = await asyncio.to_thread(lambda: [engine.count(prompt) or 0 for prompt in prompts])
        headers |= {PROMPT_TOKENS: str(sum(counts))}
        return _Stream(answer, write_events(answer, form, read_ahead), headers)

    async def whole() -> Response:
        choices, done = await collect(answer, options.n * len(prompts))
        read_ahead(choices[0].text)
        # With the probabilities of many tokens it takes seconds.
        return await asyncio.to_thread(lambda: JSONResponse(form.whole(choices, done), headers=headers))

    try:
        return await _until_disconnected(http, whole())
    finally:
        await answer.aclose()


def _warnings(left_out: list[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    return (f"Asked without {join_words(left_out)}, which this model does not take.",)


async def _until_disconnected(http: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """The response that some work leads to; the work is given up when the client hangs up."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(http))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return Response(status_code=499)  # the client does not read it
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


class _Stream(StreamingResponse):
    """Gives the answer up however the response ends: also when the client has gone before it has begun."""

    def __init__(self, answer: WatchedAnswers, events: AsyncIterator[str], headers: dict[str, str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()


async def _disconnected(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _check_name(model: str, names: list[str]) -> None:
    if model and model.removeprefix(MLFLOW_SCHEME) not in names:
        raise NotFound(f"The model “{model}” is not served here; this server has {', '.join(names)}.")


# ---------------------------------------------------------------- listening


def bind_socket(host: str, port: int) -> socket.socket:
    """A listening address; port 0 takes any free one. Raises Conflict when it is taken, BadInput when it is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends at once (TCP_NODELAY) only where it is; else tokens wait 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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


def run_app(app: FastAPI, sock: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[sock])
