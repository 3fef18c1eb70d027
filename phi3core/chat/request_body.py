"""What is sent to have a turn answered, by OpenAI's protocol: as JSON, and as the openai client takes it.

Knows neither servers nor conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phi3core.traces.turn import Turn

# What the openai client takes by name; everything else travels in its extra_body.
_COMPLETION_OPTIONS = {
    "model",
    "stream",
    "stream_options",
    "prompt",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
}
_CHAT_OPTIONS = (_COMPLETION_OPTIONS - {"prompt"}) | {
    "messages",
    "max_completion_tokens",
    "top_logprobs",
    "response_format",
    "prompt_cache_key",
}


def request_body(turn: Turn, model: str, messages: Sequence[dict[str, str]]) -> dict[str, Any]:
    """The JSON body that asks for a turn's answer, streamed.

    Args:
        turn: A raw prompt is sent as its question alone, to ``/completions``; else it goes to ``/chat/completions``.
        model: How the server calls its model.
        messages: What is sent, unless the turn is a raw prompt.
    """
    asking = {"model": model} | ({"prompt": turn.question} if turn.raw else {"messages": [*messages]})
    return asking | _options(turn) | asking | {"stream": True}  # in this order, and no option in the place of these


def client_arguments(body: dict[str, Any]) -> dict[str, Any]:
    """A body as arguments of the openai client's ``create``, which sends the same."""
    named = _COMPLETION_OPTIONS if "prompt" in body else _CHAT_OPTIONS
    arguments = {name: value for name, value in body.items() if name in named}
    extra = {name: value for name, value in body.items() if name not in named}
    return arguments | ({"extra_body": extra} if extra else {})


def _options(turn: Turn) -> dict[str, Any]:
    options = turn.options | ({"seed": turn.seed} if turn.seed is not None else {})
    if turn.raw:  # the older protocol has one number in place of the two
        if options.pop("logprobs", False):
            options["logprobs"] = options.get("top_logprobs", 0)
        options.pop("top_logprobs", None)
    if turn.schema is not None:
        json_schema = {"name": "answer", "schema": turn.schema, "strict": True}
        options["response_format"] = (
            {"type": "json_schema", "json_schema": json_schema} if turn.schema else {"type": "json_object"}
        )
    return options
