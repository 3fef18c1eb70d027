"""One answer by OpenAI's protocol, streamed into a turn by the openai client.

Which server it is, and what an error means there, is for `answer` to know.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from phi3core.engine.interface import Token
from phi3core.errors import ServerError
from phi3core.http_client import shut_down, trace_socket

from .live_turn import LiveTurn
from .request_body import client_arguments, request_body

_CONNECT, _SILENCE = 10.0, 600.0  # seconds: until a connection stands, and between two pieces of an answer
_SHORTEST = 0.02  # seconds from the first piece to the last, for a speed to mean anything
_BURST = 0.0002  # seconds a token: what comes faster waited in a buffer, and only its reading is measured


def import_client() -> None:
    """Import the openai client, so that the first answer does not wait for it (0.4 s, more while others import too)."""
    import openai.resources.chat  # noqa: F401


def stream_answer(
    url: str, key: str, model: str, live: LiveTurn, messages: list[dict[str, str]], conversation: str = ""
) -> None:
    """Fill the turn in with the answer of a server.

    Args:
        url: the server's base URL, which ends in /v1.
        messages: what is sent, unless the turn is a raw prompt.
        conversation: its id, by which a version's server finds its key-value cache; empty sends none.

    Raises:
        openai.OpenAIError: what the openai client raises.
        ServerError: the answer broke off without an error.
    """
    from openai import DefaultHttpxClient, OpenAI, Timeout

    timeout = Timeout(_SILENCE, connect=_CONNECT)
    turn = live.turn
    hooks = {"request": [_stoppable(live)]}
    # A redirect would take the key to another server.
    with DefaultHttpxClient(timeout=timeout, follow_redirects=False, event_hooks=hooks) as http:
        client = OpenAI(base_url=url, api_key=key, max_retries=0, timeout=timeout, http_client=http)
        body = request_body(turn, model, messages) | {"stream_options": {"include_usage": True}}
        body |= {"prompt_cache_key": conversation} if conversation and not turn.raw else {}
        # Looked up before the time is taken: the first time, the client imports half of itself for it.
        create: Any = client.completions.create if turn.raw else client.chat.completions.create
        asked, first, last = time.perf_counter(), 0.0, 0.0
        counted = False
        try:
            chunks = create(**client_arguments(body))
            left_out = _left_out(chunks.response.headers)
            if "seed" in left_out and "seed" not in turn.options:
                live.drop_seed()  # it was drawn here, and nobody need be told
                left_out.remove("seed")
            for chunk in chunks:
                if live.stopping:
                    break
                counted = counted or bool(chunk.usage)
                if left_out and (warnings := getattr(chunk, "warnings", None)):
                    live.add_note(" ".join(map(str, warnings)))
                    left_out = []
                if _apply_chunk(live, chunk):
                    last = time.perf_counter()
                    first = first or last
        finally:  # an answer that was stopped or broke off has its figures too
            if turn.finish_reason and not counted:
                live.set_counts(0, 0)  # only pieces were counted, and a piece need not be a token
            live.set_speed((first - asked) * 1000 if first else 0.0, _speed(turn.completion_tokens, last - first))
    if not turn.finish_reason and not live.stopping:
        raise ServerError("The answer broke off.")


def _left_out(headers: Mapping[str, str]) -> list[str]:
    """The options that a model server of ours did not hand to its model."""
    return [name for name in headers.get("X-Left-Out", "").split(", ") if name]


def _speed(tokens: int, seconds: float) -> float:
    """Tokens per second after the first one; 0 where they came in a burst, which says nothing of the model's speed."""
    if tokens < 2 or seconds < max(_SHORTEST, tokens * _BURST):
        return 0.0
    return (tokens - 1) / seconds


def _apply_chunk(live: LiveTurn, chunk: Any) -> bool:
    """Put one chunk of the stream into the turn; whether it held text."""
    if chunk.usage:
        details = getattr(chunk.usage, "prompt_tokens_details", None)
        cached = getattr(details, "cached_tokens", None) or 0
        live.set_counts(chunk.usage.prompt_tokens, chunk.usage.completion_tokens, cached)
    if not chunk.choices:
        return False
    choice, raw = chunk.choices[0], live.turn.raw
    if choice.finish_reason:
        live.set_finish_reason(choice.finish_reason)
    if choice.logprobs:
        live.append_tokens(_old_tokens(choice.logprobs) if raw else _tokens(choice.logprobs))
    text = choice.text if raw else choice.delta.content
    if text:
        live.append(text)
    return bool(text)


def _tokens(logprobs: Any) -> Iterable[Token]:
    for token in logprobs.content or []:
        top = tuple((other.token, _finite(other.logprob)) for other in token.top_logprobs or [])
        yield Token(token.token, _finite(token.logprob), top)


def _old_tokens(logprobs: Any) -> Iterable[Token]:
    tops = logprobs.top_logprobs or []
    for at, (text, logprob) in enumerate(zip(logprobs.tokens or [], logprobs.token_logprobs or [])):
        top = tops[at] if at < len(tops) and tops[at] else {}
        yield Token(text, _finite(logprob), tuple((other, _finite(value)) for other, value in top.items()))


def _finite(logprob: float | None) -> float:
    """The logarithm, or -9999 as OpenAI writes an impossible token: JSON knows no infinity."""
    return logprob if logprob is not None and math.isfinite(logprob) else -9999.0


def _stoppable(live: LiveTurn) -> Any:
    """A hook for the openai client's requests by which stopping the turn cuts its connection at once.

    Closing a response from another thread would not wake the one that reads it, and there is none yet while the
    server has not answered; the socket itself is there as soon as the connection stands.
    """
    trace = trace_socket(lambda connection: live.when_stopped(lambda: shut_down(connection)))

    def hook(request: Any) -> None:
        request.extensions["trace"] = trace

    return hook
