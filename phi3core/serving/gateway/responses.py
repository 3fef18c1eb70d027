"""POST /v1/responses: OpenAI's Responses API over the chat completions of the model servers.

A request becomes a chat request, and the chunks of its answer become events or one whole response. What is stored, and
what an earlier response said, is for the History to know.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.exceptions import HTTPException

from phi3core.access.api_keys import key_required, person_with_key
from phi3core.access.roles import Person, local_person
from phi3core.clean_text import clean
from phi3core.errors import NotFound
from phi3core.registry.models import Version
from phi3core.registry.reference import parse_reference
from phi3core.serving.body import RequestError
from phi3core.serving.guard import Receive, Scope, Send, headers_of, key_of
from phi3core.serving.protocol import error_body
from phi3core.settings import Settings
from phi3core.traces.turn import Turn

from .forward import Forward, parse
from .rate_limit import Use, use_of
from .relay import JSON, LEFT_OUT, Reply, read_body
from .response_events import MESSAGE, RESPONSE, ResponseWriter
from .response_request import Message, ResponseRequest, in_its_words
from .upstream import Upstream


class Thread(Protocol):
    """A conversation up to the place where the next response goes. messages: what was said, without instructions."""

    @property
    def id(self) -> str: ...

    @property
    def messages(self) -> list[Message]: ...

    def add(self, turn: Turn) -> None:
        """Keep a response there; `turn.sent` is all that was sent for it. Raises OSError."""


class History(Protocol):
    """The conversations that responses are stored in and go on from."""

    def begin(self, user: str) -> Thread:
        """A new conversation."""

    def find(self, turn: str, user: str) -> Thread:
        """The conversation up to a turn and its answer. Raises NotFound where it is not this user's; StoreDown."""

    def get(self, turn: str, user: str) -> Turn:
        """A turn. Raises as `find`."""

    def delete(self, turn: str, person: Person) -> None:
        """Remove a turn for good. Raises as `find`, and Conflict where others go on from it."""


class Responses(Forward):
    """An ASGI app that answers one request."""

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        super().__init__(upstream, "/v1/chat/completions")
        self._settings = settings
        self.history: History | None = None  # until the app has started

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await self._read(await read_body(receive), lambda text: ResponseRequest.read(parse(text)))
        version = await self._upstream.version(request.model)
        user = asking_person(self._settings, headers_of(scope)).name
        thread, messages = await self._upstream.call(self._prepare, request, user)
        chat = {**request.chat(messages, thread.id), "model": version.ref}
        writer = ResponseWriter(request, uuid.uuid4().hex, version.ref, request.kept)
        begun = time.monotonic()

        async def keep() -> None:
            turn = _turn(writer, version, user, clean(chat["messages"]), time.monotonic() - begun)
            await self._upstream.call(thread.add, turn)

        reply = ResponseReply(send, use_of(scope), writer, bool(request.stream), keep)
        await self._upstream.run(self.answer(chat, reply), receive)

    def _prepare(self, request: ResponseRequest, user: str) -> tuple[Thread, list[Message]]:
        """The conversation that the request belongs to, and all that the model reads but the instructions."""
        history = self.history
        assert history is not None, "the gateway has not started"

        def find(id: str, prefix: str, param: str) -> Thread:
            try:
                return history.find(id.removeprefix(prefix), user)
            except NotFound as error:
                text = f"There is no “{id[:80]}” of yours, or it was not stored: send what was said instead."
                raise RequestError(text, param, "previous_response_not_found") from error

        messages = request.messages(lambda id: find(id, MESSAGE, "input").messages[-1]["content"])
        if request.previous_response_id is None:
            return history.begin(user), messages
        thread = find(request.previous_response_id, RESPONSE, "previous_response_id")
        return thread, [*thread.messages, *messages]


def asking_person(settings: Settings, headers: dict[str, str]) -> Person:
    """Who asks: the owner of the key, the local user where none is needed."""
    if not key_required(settings):
        return local_person(settings)
    person = person_with_key(settings, key_of(headers))
    if person is None:  # it was taken back a moment ago
        raise HTTPException(401, "The API key is not valid any more.")
    return person


def _turn(writer: ResponseWriter, version: Version, user: str, sent: list[Message], seconds: float) -> Turn:
    """The response as a turn of a conversation."""
    request, counts = writer.request, writer.usage or {}
    extra = request.model_extra or {}
    options = {"max_tokens": request.max_output_tokens, "temperature": request.temperature, "top_p": request.top_p}
    options |= {name: extra.get(name) for name in ("seed", "stop", "top_k", "min_p", "repetition_penalty")}
    options |= {name: extra.get(name) for name in ("presence_penalty", "frequency_penalty")}
    form, logged = request.format, version.source.removeprefix("models:/")
    return Turn(
        question=sent[-1]["content"],
        ref=version.ref,
        system=clean(request.instructions or ""),
        options={name: value for name, value in options.items() if value is not None},
        id=writer.id,
        user=user,
        asked_ref=str(parse_reference(request.model)),
        when=round(writer.created * 1000),  # two may come within a second
        schema=None if form.type == "text" else form.definition or {},
        seed=extra.get("seed"),
        answer=clean(writer.text),
        state="done",
        finish_reason=writer.finish_reason,
        note=" ".join(writer.warnings),
        prompt_tokens=counts.get("prompt_tokens", 0),
        completion_tokens=counts.get("completion_tokens", 0),
        cached_tokens=(counts.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        took_ms=round(seconds * 1000),
        model_id=logged if logged.startswith("m-") else "",
        sent=sent,
    )


class ResponseReply(Reply):
    """Makes a response of the chunks of a chat completion. keep: stores it; called once it is whole."""

    def __init__(
        self, send: Send, use: Use, writer: ResponseWriter, stream: bool, keep: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(send, use)
        self._writer, self._stream, self._keep = writer, stream, keep
        self._refusal: tuple[int, Any] | None = None
        self._headers: dict[str, str] = JSON
        self._rest = b""

    async def begin(self, status: int, headers: Any, length: int | None = None) -> None:
        if length is not None:  # a whole answer to a request for a stream: the model server refuses it
            self._refusal = status, headers
            return
        told = {LEFT_OUT: in_its_words(headers[LEFT_OUT])} if LEFT_OUT in headers else {}
        self._headers = JSON | told
        if self._stream:
            await super().begin(status, {name.lower(): value for name, value in headers.items()} | told)
            await super().piece(self._writer.begin())

    async def piece(self, piece: bytes) -> None:
        if self._refusal:
            status, headers = self._refusal
            told = _refused_in_its_words(piece)
            await super().begin(status, headers, len(told))
            await super().piece(told)
            return
        *events, self._rest = (self._rest + piece).split(b"\n\n")
        if (made := b"".join(map(self._take, events))) and self._stream:
            await super().piece(made)

    def _take(self, event: bytes) -> bytes:
        data = event.removeprefix(b"data: ")
        if data == b"[DONE]":
            return b""
        chunk = json.loads(data)
        if "error" in chunk:
            self._writer.error = chunk["error"]["message"]
            return b""
        return self._writer.take(chunk)

    async def fail(self, text: str, code: str) -> None:  # noqa: ARG002 (a response has one code for them all)
        self._writer.error = text

    async def end(self) -> None:
        writer = self._writer
        if self._refusal or self._ended:
            await super().end()
            return
        if not writer.finish_reason and not writer.error:
            writer.error = "The answer broke off."
        if writer.kept and not writer.error:
            try:
                await self._keep()
            except Exception as error:  # a full disk, say: the client must not go on from what was not kept
                writer.error = f"The answer could not be stored: {error}. Ask with “store”: false."
        if self._stream:
            await super().piece(writer.end())
        else:
            body = error_body(500, writer.error) if writer.error else writer.whole()
            text = json.dumps(body).encode()
            await super().begin(500 if writer.error else 200, self._headers, len(text))
            await super().piece(text)
        await super().end()


def _refused_in_its_words(refusal: bytes) -> bytes:
    """What the model server refuses, with the names that the client used."""
    body = json.loads(refusal)
    error = body.get("error") or {}
    for part in [part for part in ("message", "param") if error.get(part)]:
        error[part] = in_its_words(error[part])
    return json.dumps(body).encode()
