"""OpenAI's chat and completions protocol as data: requests in, chunks and errors out.

After OpenAI's API reference, with top_k and repetition_penalty as vLLM and Hugging Face's TGI name them.
What a model server can't do is refused by name, never ignored.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from ..engine import Done, Options
from ..errors import BadInput

# Accepted and without effect on the answer, as at OpenAI.
_HARMLESS = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
# Accepted when they ask for what is the case anyway.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "parallel_tool_calls": (True, False),
    "tool_choice": ("none", "auto"),
}


class Part(BaseModel):
    """A part of a message; text only."""

    type: str
    text: str = ""


class Message(BaseModel):
    """A chat message."""

    role: str
    content: str | list[Part] | None = None

    def plain(self) -> dict[str, str]:
        if isinstance(self.content, list):
            if odd := [part.type for part in self.content if part.type != "text"]:
                raise BadInput(f"This model reads text only; the message holds a part of type “{odd[0]}”.")
            return {"role": self.role, "content": "".join(part.text for part in self.content)}
        return {"role": self.role, "content": self.content or ""}


class StreamOptions(BaseModel):
    """include_usage: end the stream with a chunk that holds the usage."""

    include_usage: bool = False


class Request(BaseModel):
    """What chat and completions requests share."""

    model_config = ConfigDict(extra="allow")

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None

    def options(self, defaults: Options) -> Options:
        """The defaults with what the request asks for. Raises BadInput for what can't be done."""
        for name, value in (self.model_extra or {}).items():
            if value is None or name in _HARMLESS or value in _NEUTRAL.get(name, ()):
                continue
            raise BadInput(f"This server does not support {name}={json.dumps(value)[:80]}: leave it out.")
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop) if self.stop is not None else None
        return defaults.but(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            stop=stop,
        )


class ChatRequest(Request):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)


class CompletionRequest(Request):
    """POST /v1/completions, with one prompt of text."""

    prompt: str


class TemplateRequest(BaseModel):
    """POST /apply-template, as llama.cpp's server has it."""

    messages: list[Message] = Field(min_length=1)


@dataclass(frozen=True)
class Format:
    """Writes one answer, whole or in chunks, in the shape of chat completions or of completions."""

    chat: bool
    model: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str, done: Done) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": done.finish_reason}
        return {**self._head(False), "choices": [choice], "usage": usage(done)}

    def first(self) -> dict[str, Any] | None:
        """The chunk that opens a chat stream: it names the role."""
        return self._chunk({"role": "assistant", "content": ""}, None) if self.chat else None

    def piece(self, text: str) -> dict[str, Any]:
        return self._chunk({"content": text} if self.chat else text, None)

    def last(self, done: Done) -> dict[str, Any]:
        return self._chunk({} if self.chat else "", done.finish_reason)

    def usage(self, done: Done) -> dict[str, Any]:
        return {**self._head(True), "choices": [], "usage": usage(done)}

    def _chunk(self, content: dict[str, Any] | str, reason: str | None) -> dict[str, Any]:
        part = {"delta": content} if self.chat else {"text": content}
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": reason}
        return {**self._head(True), "choices": [choice]}

    def _head(self, chunk: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.chat else "text_completion"
        prefix = "chatcmpl" if self.chat else "cmpl"
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}


def usage(done: Done) -> dict[str, int]:
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
    }


def event(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def error_body(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_response(status: int, message: str, code: str | None = None) -> JSONResponse:
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(error_body(status, message, code), status, headers)
