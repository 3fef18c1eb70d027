"""A request of OpenAI's Responses API, text in and text out, as the chat request that asks for the same.

After OpenAI's API reference. What no model here can do is refused by name, never ignored; what is in the model server's
own hands, such as the range of an option, is left to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phi3core.serving.body import RequestError

Message = dict[str, str]

# Accepted and without effect on the answer, as at OpenAI.
_HARMLESS = {
    "user", "service_tier", "safety_identifier", "prompt_cache_retention", "max_tool_calls", "stream_options",
}  # fmt: skip
# Accepted when they ask for what is the case anyway.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "truncation": ("disabled",),
    "reasoning": ({}, {"effort": "none"}),
}
# As vLLM and our own chat requests name them: the Responses API has none of them.
_OF_CHAT = ("seed", "stop", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
# What the chat request calls what the client wrote.
_RENAMED = {
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "messages[": "input[",
}


_TEXTS = ("input_text", "output_text", "text")
_LOGPROBS = "message.output_text.logprobs"
_INCLUDED = {_LOGPROBS, "reasoning.encrypted_content"}  # of the latter there is never anything


def in_its_words(text: str) -> str:
    """What the model server says, with the names that the client used."""
    for ours, theirs in _RENAMED.items():
        text = text.replace(ours, theirs)
    return text


class _Format(BaseModel):
    """The form of the answer: free text, any JSON object, or JSON that follows a schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = "answer"
    definition: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None
    description: str | None = None


class _Text(BaseModel):
    """The text that the model gives. verbosity: OpenAI's default means what every model here does."""

    model_config = ConfigDict(extra="forbid")

    format: _Format | None = None
    verbosity: Literal["medium"] | None = None


class ResponseRequest(BaseModel):
    """POST /v1/responses."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1)
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    text: _Text | None = None
    include: list[str] | None = None
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    stream: bool | None = None

    @classmethod
    def read(cls, body: dict[str, Any]) -> ResponseRequest:
        """The request that a body holds. Raises RequestError for what it lacks and for what can't be done."""
        try:
            request = cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            if where.startswith("input."):
                raise RequestError("input must be a text or a list of messages.", "input") from error
            raise RequestError(f"{where}: {first['msg']}.", where) from error
        for name, value in (request.model_extra or {}).items():
            if value is None or name in _HARMLESS or name in _OF_CHAT or value in _NEUTRAL.get(name, ()):
                continue
            if name == "reasoning" and isinstance(value, dict) and not any(value.values()):
                continue
            if name == "tools" and (request.model_extra or {}).get("tool_choice") == "none":
                continue  # not to be used, says the request
            raise _unsupported(name, value)
        if odd := [name for name in request.include or () if name not in _INCLUDED]:
            raise _unsupported("include", odd)
        return request

    @property
    def format(self) -> _Format:
        return (self.text.format if self.text else None) or _Format()

    @property
    def kept(self) -> bool:
        """Whether the answer is to be stored: unless the client says otherwise, as at OpenAI."""
        return self.store is not False

    def messages(self, look_up: Callable[[str], str]) -> list[Message]:
        """The messages of the input. look_up: the text of an earlier answer's item. Raises RequestError."""
        if isinstance(self.input, str):
            return [{"role": "user", "content": self.input}]
        return [_message(item, f"input[{number}]", look_up) for number, item in enumerate(self.input)]

    def chat(self, messages: list[Message], conversation: str) -> dict[str, Any]:
        """The chat request that asks for the same, streamed. messages: all that the model reads but the instructions.

        conversation: its id, by which the model server finds what it keeps of it.
        """
        told = [{"role": "system", "content": self.instructions}] if self.instructions else []
        options = {
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "response_format": self._response_format(),
            "prompt_cache_key": self.prompt_cache_key or conversation,
            **{name: (self.model_extra or {}).get(name) for name in _OF_CHAT},
        }
        if self.top_logprobs is not None or _LOGPROBS in (self.include or ()):
            options |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        asked = {name: value for name, value in options.items() if value is not None}
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        return {"model": self.model, "messages": [*told, *messages], **asked, **stream}

    def _response_format(self) -> dict[str, Any] | None:
        form = self.format
        if form.type == "text":
            return None
        if form.type == "json_object":
            return {"type": "json_object"}
        if form.definition is None:
            raise RequestError("text.format of type json_schema needs a schema.", "text.format.schema")
        return {"type": "json_schema", "json_schema": {"name": form.name, "schema": form.definition, "strict": True}}


def _message(item: dict[str, Any], where: str, look_up: Callable[[str], str]) -> Message:
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if kind == "item_reference" and isinstance(item.get("id"), str):
        return {"role": "assistant", "content": look_up(item["id"])}
    if kind != "message":
        raise RequestError(
            f"This server reads messages only; {where} is of type “{str(kind)[:40]}”.", where, "unsupported_parameter"
        )
    if not isinstance(item.get("role"), str):
        raise RequestError(f"{where} has no role: write user, assistant, system or developer.", f"{where}.role")
    content = item.get("content")
    if isinstance(content, list):
        content = "".join(_texts(content, where))
    if not isinstance(content, str):
        raise RequestError(f"{where}.content must be a text or a list of parts.", f"{where}.content")
    return {"role": item["role"], "content": content}


def _texts(parts: list[Any], where: str) -> Iterable[str]:
    for number, part in enumerate(parts):
        place = f"{where}.content[{number}]"
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise RequestError(f"{place} is no part of a message: write {{“type”: “input_text”, “text”: …}}.", place)
        if part["type"] not in _TEXTS:
            raise RequestError(f"The models here read text only; {place} is of type “{part['type'][:40]}”.", place)
        if not isinstance(part.get("text"), str):
            raise RequestError(f"{place} has no text.", place)
        yield part["text"]


def _unsupported(name: str, value: Any) -> RequestError:
    shown = json.dumps(value, ensure_ascii=False)[:80]
    return RequestError(f"This server does not support {name}={shown}: leave it out.", name, "unsupported_parameter")
