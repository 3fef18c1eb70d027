"""A response as OpenAI's Responses API writes it: the whole object, and the events of a stream.

Made from the chunks of a chat completion. Knows neither servers nor stores.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from .response_request import ResponseRequest, in_its_words

RESPONSE, MESSAGE = "resp_", "msg_"
"""What the ids of responses and of the messages in them begin with; the rest is the turn's id in both."""
STOPPED = "stopped"
"""The finish reason of an answer that a person has stopped."""


@dataclass
class ResponseWriter:
    """Writes one response. id: the turn's. ref: the version that answers. kept: whether the response is stored.

    text, finish_reason, usage and warnings are what has come of the answer so far; usage stays None where the model
    counts none.
    """

    request: ResponseRequest
    id: str
    ref: str
    kept: bool
    created: float = field(default_factory=time.time)
    text: str = ""
    finish_reason: str = ""
    usage: dict[str, Any] | None = None
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    _logprobs: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 0

    @property
    def status(self) -> str:
        if self.error:
            return "failed"
        told = {"": "in_progress", "length": "incomplete", STOPPED: "cancelled"}
        return told.get(self.finish_reason, "completed")

    # ------------------------------------------------------------ the stream

    def begin(self) -> bytes:
        """The events before the first piece of text."""
        return b"".join(
            [
                self._event("response.created", response=self.whole()),
                self._event("response.in_progress", response=self.whole()),
                self._event("response.output_item.added", output_index=0, item=self._item(content=[])),
                self._event("response.content_part.added", **self._place(), part=self._part("", [])),
            ]
        )

    def take(self, chunk: dict[str, Any]) -> bytes:
        """The events of one chunk of the chat completion; empty where it holds no text."""
        self.usage = chunk.get("usage") or self.usage
        self.warnings += map(in_its_words, chunk.get("warnings") or ())
        for choice in chunk.get("choices") or ():
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            text = (choice.get("delta") or {}).get("content") or ""
            logprobs = (choice.get("logprobs") or {}).get("content") or []
            if text or logprobs:
                self.text += text
                self._logprobs += logprobs
                return self._event("response.output_text.delta", **self._place(), delta=text, logprobs=logprobs)
        return b""

    def end(self) -> bytes:
        """The events after the last piece of text; the error, where there is one, is in the last of them."""
        events = []
        if not self.error:
            events += [
                self._event("response.output_text.done", **self._place(), text=self.text, logprobs=self._logprobs),
                self._event("response.content_part.done", **self._place(), part=self._part(self.text, self._logprobs)),
                self._event("response.output_item.done", output_index=0, item=self._item()),
            ]
        return b"".join([*events, self._event(f"response.{self.status}", response=self.whole())])

    # ------------------------------------------------------------ the object

    def whole(self) -> dict[str, Any]:
        """The response as it is now."""
        request, extra, begun = self.request, self.request.model_extra or {}, self.status != "in_progress"
        form = request.format.model_dump(by_alias=True, exclude_none=True)
        return {
            "id": RESPONSE + self.id,
            "object": "response",
            "created_at": int(self.created),
            "status": self.status,
            "background": False,
            "error": {"code": "server_error", "message": self.error} if self.error else None,
            "incomplete_details": {"reason": "max_output_tokens"} if self.status == "incomplete" else None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "model": self.ref,
            "output": [self._item()] if begun else [],
            "parallel_tool_calls": extra.get("parallel_tool_calls") is not False,
            "previous_response_id": request.previous_response_id,
            "reasoning": {"effort": None, "summary": None},
            "store": self.kept,
            "temperature": request.temperature,
            "text": {"format": form if form["type"] != "text" else {"type": "text"}},
            "tool_choice": extra.get("tool_choice") or "auto",
            "tools": [],
            "top_logprobs": request.top_logprobs,
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": _usage(self.usage) if self.usage else None,
            "user": extra.get("user"),
            **({"warnings": self.warnings} if self.warnings else {}),
        }

    def _item(self, content: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """The message of the response. content: instead of all that there is."""
        content = [self._part(self.text, self._logprobs)] if content is None else content
        status = "incomplete" if self.status in ("failed", "cancelled") else self.status
        return {"id": MESSAGE + self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _part(self, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}

    def _place(self) -> dict[str, Any]:
        return {"item_id": MESSAGE + self.id, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **data: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **data})}\n\n".encode()


def _usage(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts of a chat completion under the names that responses have for them."""
    cached = (counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": counts["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": counts["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counts["total_tokens"],
    }
