"""Asking an engine of a logged MLflow model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phi3core.engine.interface import Done, End, Piece
from phi3core.engine.pyfunc import PyfuncEngine

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "hi there"},
]
KINDS = ("chat", "agent", "responses", "text")
Opener = Callable[[str], PyfuncEngine]


def ask(engine: PyfuncEngine, *said: str | dict[str, str], **options: Any) -> tuple[list[str], str, Done]:
    """The pieces of an answer, its finish reason, and its end."""
    messages = [{"role": "user", "content": one} if isinstance(one, str) else one for one in said]
    items = list(engine.stream(engine.prepare(messages), engine.options.but(**options), lambda: False))
    (end,) = [item for item in items if isinstance(item, End)]
    assert isinstance(items[-1], Done)
    return [item.text for item in items if isinstance(item, Piece)], end.finish_reason, items[-1]
