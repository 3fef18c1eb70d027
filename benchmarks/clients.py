"""What an OpenAI client sees of an answer: when each token came. One way to measure for us and for every rival."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from openai import OpenAI

STORY = [{"role": "user", "content": "Write a long story about the sea."}]
WARM = {"temperature": 0.2, "top_p": 0.9, "seed": 1}


@dataclass(frozen=True)
class Target:
    """A server of OpenAI's protocol: its address without /v1, its key, and what the model is called there."""

    url: str
    key: str = "none"
    model: str = "any"

    def ask(self, messages: list[dict[str, str]], tokens: int, timed: Timed | None = None, **more: Any) -> Timed:
        """See `ask`; with a client of its own, as another program has."""
        return ask(client(self.url, self.key), self.model, messages, tokens, timed, **more)


@dataclass
class Timed:
    """One answer: when it was asked for, when each piece of it came (seconds), its tokens, its text."""

    asked: float
    times: list[float] = field(default_factory=list)
    tokens: int = 0
    text: str = ""

    @property
    def first(self) -> float:
        """Seconds to the first token."""
        return self.times[0] - self.asked

    @property
    def speed(self) -> float:
        """Tokens per second after the first."""
        return (self.tokens - 1) / (self.times[-1] - self.times[0])

    @property
    def gaps(self) -> list[float]:
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


def client(url: str, key: str = "none") -> OpenAI:
    """A client of a server's base URL, without /v1."""
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=600)


def ask(
    openai: OpenAI, model: str, messages: list[dict[str, str]], tokens: int, timed: Timed | None = None, **more: Any
) -> Timed:
    """Stream one answer of at most so many tokens. timed: filled in as it comes, for other threads to read."""
    timed = timed or Timed(0)
    request: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": tokens, **WARM, **more}
    timed.asked = time.perf_counter()
    with openai.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                timed.times.append(time.perf_counter())
                timed.text += chunk.choices[0].delta.content
            if chunk.usage:
                timed.tokens = chunk.usage.completion_tokens
    timed.tokens = timed.tokens or len(timed.times)  # not every server tells usage in its stream
    return timed
