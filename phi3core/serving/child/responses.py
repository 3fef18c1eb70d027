"""Answers of OpenAI's chat and completions protocol: whole ones, chunks and counts of tokens."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from phi3core.engine.interface import Done, Token
from phi3core.serving.protocol import sse_event


@dataclass
class Choice:
    """One answer as it is collected."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: str = "length"


@dataclass(frozen=True)
class AnswerFormat:
    """Writes answers, whole or in chunks, in the shape of chat completions or of completions.

    with_usage: every chunk names its usage, null but in the last, as OpenAI does when it is asked for. warnings: what
    the reader must know of how the model was asked; a stream tells it at the end of the first answer.
    """

    chat: bool
    model: str
    with_logprobs: bool = False
    with_usage: bool = False
    warnings: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))
    _offsets: dict[int, int] = field(default_factory=dict)  # of each answer, where its next token begins

    def __post_init__(self) -> None:
        # A token's chunk is written a hundred times a second: all of it but the text is made once.
        marked = sse_event(self._chunk({"content": "\0"} if self.chat else "\0", None, 0, None))
        head, tail = marked.split('"\\u0000"')
        object.__setattr__(self, "_head_text", head)
        object.__setattr__(self, "_tail_text", tail)

    def whole(self, choices: list[Choice], done: Done) -> dict[str, Any]:
        listed = []
        for index, choice in enumerate(choices):
            message = {"role": "assistant", "content": choice.text, "refusal": None}
            content = {"message": message} if self.chat else {"text": choice.text}
            logprobs = self._logprobs(choice.tokens, index) if self.with_logprobs else None
            listed.append({"index": index, **content, "logprobs": logprobs, "finish_reason": choice.finish_reason})
        return {**self._head(False), "choices": listed, "usage": usage(done), **self._warned()}

    def first(self, index: int) -> str:
        """The chunk that opens a chat answer: it names the role."""
        return sse_event(self._chunk({"role": "assistant", "content": ""}, None, index, None)) if self.chat else ""

    def piece(self, text: str, index: int, tokens: Iterable[Token]) -> str:
        if index == 0 and not self.with_logprobs:
            return f"{self._head_text}{json.dumps(text)}{self._tail_text}"  # type: ignore[attr-defined]
        logprobs = self._logprobs(tokens, index) if self.with_logprobs else None
        return sse_event(self._chunk({"content": text} if self.chat else text, None, index, logprobs))

    def end(self, reason: str, index: int) -> str:
        warned = self._warned() if index == 0 else {}
        return sse_event(self._chunk({} if self.chat else "", reason, index, None) | warned)

    def usage(self, done: Done) -> str:
        """The chunk that ends a stream of which the usage was asked for; empty where it is unknown."""
        counts = usage(done)
        return sse_event({**self._head(True), "choices": [], "usage": counts}) if counts else ""

    def _chunk(
        self, content: dict[str, Any] | str, reason: str | None, index: int, logprobs: dict[str, Any] | None
    ) -> dict[str, Any]:
        part = {"delta": content} if self.chat else {"text": content}
        choice = {"index": index, **part, "logprobs": logprobs, "finish_reason": reason}
        return {**self._head(True), "choices": [choice], **({"usage": None} if self.with_usage else {})}

    def _warned(self) -> dict[str, Any]:
        return {"warnings": list(self.warnings)} if self.warnings else {}

    def _head(self, chunk: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.chat else "text_completion"
        prefix = "chatcmpl" if self.chat else "cmpl"
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def _logprobs(self, tokens: Iterable[Token], index: int) -> dict[str, Any]:
        if self.chat:
            return {"content": [_chat_logprob(token) for token in tokens], "refusal": None}
        columns: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        offset = self._offsets.get(index, 0)
        for token in tokens:
            known = not math.isnan(token.logprob)
            columns["tokens"].append(token.text)
            columns["token_logprobs"].append(token.logprob if known else None)
            columns["top_logprobs"].append(_likeliest(token) if known else None)
            columns["text_offset"].append(offset)
            offset += len(token.text)
        self._offsets[index] = offset
        return columns


def _likeliest(token: Token) -> dict[str, float]:
    """The likeliest tokens by their text; of several with the same, such as parts of letters, the likeliest."""
    found: dict[str, float] = {}
    for text, logprob in token.top:
        found.setdefault(text, logprob)
    return found


def _chat_logprob(token: Token) -> dict[str, Any]:
    def entry(text: str, logprob: float) -> dict[str, Any]:
        # A token that is a part of a letter is shown as a question mark, whose bytes it does not have.
        return {"token": text, "logprob": logprob, "bytes": None if "\ufffd" in text else list(text.encode())}

    return {**entry(token.text, token.logprob), "top_logprobs": [entry(*one) for one in token.top]}


def usage(done: Done) -> dict[str, Any] | None:
    """OpenAI's usage; None where the model gives no counts: a false number is worse than none."""
    if not done.counted:
        return None
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": done.cached_tokens},
    }
