"""The shapes in which MLflow models answer, whole and in pieces, read into text.

Chat completions and their chunks, text completions, ChatAgent's messages, ResponsesAgent's items and events, tables of
one cell, plain text. Knows nothing of models, servers or who is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from phi3core.errors import ServerError

# What OpenAI's protocol knows; other words, such as Hugging Face's “eos”, mean that the model was done.
_REASONS = {"stop", "length", "content_filter", "tool_calls", "function_call"}
_LIMITS = {"length", "max_tokens", "max_output_tokens"}
_TEXTS = ("content", "text", "generated_text", "output_text", "answer", "response", "output")


class _NoText(ServerError):
    """An answer in none of the shapes that hold a text."""


class AnswerReader:
    """Reads one answer, piece by piece or whole; the rest of what the model tells stands in its fields.

    finish_reason is ``stop`` unless the model says otherwise. Token counts are 0 where it tells none, and `counted` is
    False. otherwise: writes an answer that is no text; without it such an answer is an error.
    """

    def __init__(self, otherwise: Callable[[Any], str] | None = None) -> None:
        self.finish_reason = "stop"
        self.prompt_tokens = self.completion_tokens = 0
        self._otherwise = otherwise
        self._begun = False
        self._item = ""  # the message that the last text belonged to
        self._streamed: set[str] = set()
        self._tools: list[str] = []

    @property
    def counted(self) -> bool:
        return bool(self.prompt_tokens or self.completion_tokens)

    def read(self, answer: Any) -> str:
        """The text of a whole answer. Raises ServerError for what is no answer to a conversation."""
        text = self._text_of(answer, whole=True)
        self.close()
        return text

    def read_chunk(self, chunk: Any) -> str:
        """The text that one chunk of a stream adds; call `close` after the last. Raises ServerError likewise."""
        return self._text_of(chunk, whole=False)

    def close(self) -> None:
        """Raise ServerError when the model asked for a tool in place of answering."""
        if self._tools and not self._begun:
            raise ServerError(f"The model asks for the tool “{self._tools[0]}”, and tools can't be called from here.")

    def _text_of(self, answer: Any, whole: bool) -> str:
        try:
            return "".join(self._texts(_plain(answer), whole))
        except _NoText:
            if self._otherwise is None:
                raise
            return self._append(self._otherwise(answer), "an item of its own")

    def _texts(self, answer: Any, whole: bool) -> Iterator[str]:
        if isinstance(answer, str):
            yield self._append(answer)
            return
        if answer is None and not whole:
            return
        if not isinstance(answer, dict):
            raise _NoText(f"The model's answer is no text and no chat completion: it is {_kind(answer)}.")
        self._read_end(answer)
        if isinstance(answer.get("choices"), list):
            yield from self._choice(answer["choices"])
        elif isinstance(answer.get("messages"), list):
            for message in answer["messages"]:
                yield self._message(message)
        elif isinstance(answer.get("delta"), dict):  # before type: a ChatAgent may send one along
            yield self._message(answer["delta"])
        elif isinstance(answer.get("type"), str) and not whole:
            yield from self._event(answer)
        elif isinstance(answer.get("output"), list):
            for item in answer["output"]:
                yield self._output(item)
        else:
            yield self._append(_only_text(answer))

    def _choice(self, choices: list[Any]) -> Iterator[str]:
        """The first of the choices; OpenAI's chunk with the usage holds none."""
        for choice in choices[:1]:
            self._read_end(choice)
            message = choice.get("delta") or choice.get("message") or {}
            self._note_tools(message)
            yield self._append(_content(message.get("content")) or str(choice.get("text") or ""))

    def _message(self, message: dict[str, Any]) -> str:
        """A message of a ChatAgent; what its tools said is not the answer."""
        self._note_tools(message)
        if message.get("role") not in (None, "assistant"):
            return ""
        return self._append(_content(message.get("content")), str(message.get("id") or ""))

    def _event(self, event: dict[str, Any]) -> Iterator[str]:
        """A ResponsesAgent's event: text as it comes, or a whole item whose text may have come already."""
        kind = event["type"]
        if kind in ("error", "response.failed"):
            error = event.get("error") or (event.get("response") or {}).get("error") or event
            raise ServerError(f"The model failed: {error.get('message') or 'it does not say why'}.")
        if kind == "response.output_text.delta":
            self._streamed.add(str(event.get("item_id") or ""))
            yield self._append(str(event.get("delta") or ""), str(event.get("item_id") or ""))
        elif kind == "response.output_item.done":
            item = event.get("item") or {}
            if str(item.get("id") or "") not in self._streamed:
                yield self._output(item)
        elif kind in ("response.completed", "response.incomplete"):
            self._read_end(event.get("response") or {})

    def _output(self, item: dict[str, Any]) -> str:
        if item.get("type") == "function_call":
            self._tools.append(str(item.get("name")))
        if item.get("type", "message") != "message":
            return ""
        return self._append(_content(item.get("content")), str(item.get("id") or ""))

    def _append(self, text: str, item: str = "") -> str:
        """Text to pass on; that of another message begins a paragraph of its own."""
        if not text:
            return ""
        gap = "\n\n" if self._begun and item != self._item else ""
        self._begun, self._item = True, item
        return gap + text

    def _read_end(self, said: dict[str, Any]) -> None:
        """Take finish reason and usage from where they stand, if they do."""
        reason = said.get("finish_reason") or (said.get("incomplete_details") or {}).get("reason")
        if reason:
            reason = "length" if reason in _LIMITS else reason
            self.finish_reason = reason if reason in _REASONS else "stop"
        usage = said.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage, "prompt_tokens", "input_tokens") or self.prompt_tokens
            self.completion_tokens = _count(usage, "completion_tokens", "output_tokens") or self.completion_tokens

    def _note_tools(self, message: dict[str, Any]) -> None:
        for call in message.get("tool_calls") or []:
            if name := (call.get("function") or {}).get("name"):
                self._tools.append(str(name))


def _plain(answer: Any) -> Any:
    """One answer out of MLflow's tables, arrays and lists of answers. Raises ServerError for several or none."""
    if isinstance(answer, dict) and set(answer) == {"predictions"}:
        return _plain(answer["predictions"])
    if hasattr(answer, "to_dict"):  # pandas, or an answer of mlflow's own classes
        named = hasattr(answer, "columns")
        answer = (
            answer.to_dict("records") if named else answer.tolist() if hasattr(answer, "tolist") else answer.to_dict()
        )
    elif hasattr(answer, "model_dump"):
        answer = answer.model_dump(exclude_none=True)
    elif hasattr(answer, "tolist"):  # numpy
        answer = answer.tolist()
    if not isinstance(answer, list | tuple):
        return answer
    if len(answer) != 1:
        raise _NoText(f"The model gave {len(answer)} answers to one question.")
    return _plain(answer[0])


def _content(content: Any) -> str:
    """The text of a message, which may come in parts; images and reasoning are left out."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or part.get("refusal") or "") for part in content if isinstance(part, dict))
    return str(content or "")


def _only_text(answer: dict[str, Any]) -> str:
    """The text of a row with one column of text, or with one that is named like an answer."""
    if len(answer) == 1 and isinstance(value := next(iter(answer.values())), str):
        return value
    for name in _TEXTS:
        if isinstance(answer.get(name), str):
            return str(answer[name])
    raise _NoText(f"The model's answer is no text and no chat completion: it is {_kind(answer)}.")


def _kind(answer: Any) -> str:
    if isinstance(answer, dict):
        return f"a dict with {', '.join(sorted(map(str, answer))[:8]) or 'nothing in it'}"
    return f"of type {type(answer).__name__}"


def _count(usage: dict[str, Any], *names: str) -> int:
    found = next((usage[name] for name in names if isinstance(usage.get(name), int | float)), 0)
    return int(found)
