"""Requests of OpenAI's chat and completions protocol, as data.

After OpenAI's API reference, with top_k, min_p and repetition_penalty as vLLM and Hugging Face's TGI name them.
What a model can't do is refused by name, or, where it would only shade the answer, left out and told: never ignored.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from phi3core.engine.interface import SHADES, Messages, Options, Prompt, has_effect
from phi3core.errors import OptionError
from phi3core.serving.body import RequestError

# Accepted and without effect on the answer, as at OpenAI.
_HARMLESS = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
# Accepted when they ask for what is the case anyway.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "prompt_cache_retention": ("in-memory", "in_memory", "24h"),  # how long is the model server's own affair
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "parallel_tool_calls": (True, False),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
}
# Not to be used, says the request, where the other is “none”.
_SWITCHED_OFF = {"tools": "tool_choice", "functions": "function_call"}
_MOST_PROMPTS = 2048  # as at OpenAI

Item = TypeVar("Item")
# Of a list that is of another form, the first place alone is told: a body holds millions of items, and pydantic would
# write an error for each.
Listed = Annotated[list[Item], Field(fail_fast=True)]


# Beside a message or a part of it, and nothing that a model reads: where an earlier answer found what it says, and what
# to keep of the prompt for the next time.
_BESIDE = {"annotations", "prompt_cache_breakpoint", "cache_control"}


class _Strict(BaseModel):
    """A part of a request that takes every field, so that `refuse_unknown` can name the one that is not supported."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    def refuse_unknown(self, where: str) -> None:
        """Raise RequestError for what says something and would be ignored."""
        for name, value in (self.model_extra or {}).items():
            if name not in _BESIDE and value not in (None, False, "", [], {}):
                message = f"This server does not support {where}.{name}: leave it out."
                raise RequestError(message, f"{where}.{name}", "unsupported_parameter")


class Part(_Strict):
    """A part of a message; text only."""

    type: str
    text: str = ""


class Message(_Strict):
    """A chat message. name: of its author; no template here has a place for it."""

    role: Literal["system", "developer", "user", "assistant"]
    name: str | None = None
    content: str | Listed[Part] | None = None

    def plain(self, where: str = "message") -> dict[str, str]:
        """The message as engines take it. where: what to call it. Raises RequestError for what is more than text."""
        self.refuse_unknown(where)
        role = "system" if self.role == "developer" else self.role  # OpenAI's newer word for it
        if isinstance(self.content, list):
            if odd := [part.type for part in self.content if part.type != "text"]:
                raise RequestError(
                    f"This model reads text only; the message holds a part of type “{odd[0]}”.", "messages"
                )
            for number, part in enumerate(self.content):
                part.refuse_unknown(f"{where}.content[{number}]")
            return {"role": role, "content": "".join(part.text for part in self.content)}
        return {"role": role, "content": self.content or ""}


def _plain(messages: list[Message]) -> Messages:
    return [message.plain(f"messages[{number}]") for number, message in enumerate(messages)]


class StreamOptions(_Strict):
    """include_usage: end the stream with a chunk that holds the usage."""

    include_usage: bool = False
    include_obfuscation: bool = False


class JsonSchema(_Strict):
    """What response_format of type json_schema names."""

    name: str = ""
    description: str | None = None
    strict: bool | None = None
    definition: dict[str, Any] = Field(alias="schema")


class ResponseFormat(_Strict):
    """The form of the answer: free text, any JSON object, or JSON that follows a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def schema_text(self) -> str | None:
        self.refuse_unknown("response_format")
        if self.type == "text":
            return None
        if self.type == "json_object":
            return json.dumps({"type": "object"})
        if self.json_schema is None:
            raise RequestError("response_format of type json_schema needs a json_schema.", "response_format")
        self.json_schema.refuse_unknown("response_format.json_schema")
        return json.dumps(self.json_schema.definition, sort_keys=True)


class Request(BaseModel):
    """What chat and completions requests share."""

    model_config = ConfigDict(extra="allow")

    model: str = ""
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | Listed[str] | None = None
    n: int | None = None
    response_format: ResponseFormat | None = None

    def options(self, defaults: Options, supports: frozenset[str], strict: bool = False) -> tuple[Options, list[str]]:
        """The defaults with what the request asks for, and what was left out of that, as the request names it.

        Args:
            supports: the options that the model takes. Others that only shade an answer are left out.
            strict: leave nothing out, and refuse those too.

        Raises:
            BadInput: something asked for can't be done.
        """
        for name, value in (self.model_extra or {}).items():
            if value is None or name in _HARMLESS or value in _NEUTRAL.get(name, ()):
                continue
            if (self.model_extra or {}).get(_SWITCHED_OFF.get(name, "")) == "none":
                continue
            message = f"This server does not support {name}={json.dumps(value)[:80]}: leave it out."
            raise RequestError(message, name, "unsupported_parameter")
        if self.stream_options and not self.stream:
            raise RequestError("stream_options goes with stream=true only.", "stream_options")
        if self.stream_options:
            self.stream_options.refuse_unknown("stream_options")
        requested = self._requested()
        if (key := (self.model_extra or {}).get("prompt_cache_key")) and "prompt_cache_key" in supports:
            requested["prompt_cache_key"] = str(key)
        unable = [name for name, value in requested.items() if name not in supports and has_effect(name, value)]
        if refused := [name for name in unable if strict or name not in SHADES]:
            named = self._spelled(refused[0])
            message = f"This model does not support {named}: leave it out."
            raise RequestError(message, named, "unsupported_parameter")
        try:
            changed = defaults.but(**requested)
        except OptionError as error:
            named = self._spelled(error.option)
            raise RequestError(str(error).replace(error.option, named, 1), named) from error
        if unable:
            changed = defaults.but(**{name: value for name, value in requested.items() if name not in unable})
        return changed, [self._spelled(name) for name in unable]

    def _spelled(self, option: str) -> str:
        """An option as this request writes it."""
        newer = option == "max_tokens" and self.max_completion_tokens is not None
        return "max_completion_tokens" if newer else _PUBLIC.get(option, option)

    def _requested(self) -> dict[str, Any]:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop) if self.stop is not None else None
        longest = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        return {
            "max_tokens": longest,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "seed": self.seed,
            "stop": stop,
            "n": self.n,
            "logprobs": self._alternatives(),
            "json_schema": self.response_format.schema_text() if self.response_format else None,
        }

    def _alternatives(self) -> int | None:
        raise NotImplementedError


# The request's name for an option, where it is another.
_PUBLIC = {"json_schema": "response_format"}


class ChatRequest(Request):
    """POST /v1/chat/completions."""

    messages: Listed[Message] = Field(min_length=1)
    logprobs: bool | None = None
    top_logprobs: int | None = None

    def plain(self) -> Messages:
        return _plain(self.messages)

    def _alternatives(self) -> int | None:
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError("top_logprobs goes with logprobs=true only.", "top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Request):
    """POST /v1/completions. prompt: one or several, each as text or as the ids of its tokens."""

    prompt: str | Listed[str] | Listed[StrictInt] | Listed[Listed[StrictInt]]
    logprobs: int | None = None
    echo: bool | None = None

    def prompts(self) -> list[Prompt]:
        """Each prompt as engines take it. Raises RequestError where there is none, or are too many."""
        items = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        ids = tuple(item for item in items if isinstance(item, int))  # of one prompt
        others = [item if isinstance(item, str) else tuple(item) for item in items if not isinstance(item, int)]
        found: list[Prompt] = [ids] if ids else [*others]
        if not 1 <= len(found) <= _MOST_PROMPTS:
            raise RequestError(f"prompt must hold between 1 and {_MOST_PROMPTS:,} prompts.", "prompt")
        return found

    def _alternatives(self) -> int | None:
        return self.logprobs

    def _spelled(self, option: str) -> str:
        return "logprobs" if option == "top_logprobs" else super()._spelled(option)

    def _requested(self) -> dict[str, Any]:
        return {**super()._requested(), "echo": self.echo}


class TemplateRequest(BaseModel):
    """POST /apply-template, as llama.cpp's server has it."""

    messages: Listed[Message] = Field(min_length=1)

    def plain(self) -> Messages:
        return _plain(self.messages)


class TokenizeRequest(BaseModel):
    """POST /tokenize, as vLLM's server has it: a prompt or messages."""

    prompt: str | None = None
    messages: Listed[Message] | None = None

    def plain(self) -> Messages:
        return _plain(self.messages or [])
