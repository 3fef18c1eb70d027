"""The texts that are read, as tokens: passages of several kinds, and prompts for greedy answers.

They were written for this project and have its licence. Every model reads the same letters; how many tokens they are is
its tokenizer's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from phi3core.engine.interface import Messages
from phi3core.engine.kv_cache import Tokens
from phi3core.errors import BadInput

KINDS = ("prose", "code", "dialogue", "languages")
TEMPLATE = "template"
"""The kind of text that the model's own chat template makes of a conversation."""
_FOLDER = Path(__file__).with_name("texts")
_TOKENS = 1000  # of each kind at most
_WINDOW = 512  # tokens that are read in one go: llama.cpp's


@dataclass(frozen=True)
class Passage:
    """Tokens that are read from the first one on. Each but the first is predicted from those before it."""

    kind: str
    tokens: Tokens

    @property
    def predicted(self) -> int:
        """How many of its tokens are predicted."""
        return len(self.tokens) - 1


def read_passages(
    encode: Callable[[str], Tokens], render: Callable[[Messages], str] | None, context: int
) -> list[Passage]:
    """All passages, in order, each as long as the model's context and `_WINDOW` allow.

    Args:
        encode: the model's tokenizer.
        render: its chat template; None where it has none, or none that takes a conversation of several turns.
        context: tokens that the model takes at most.
    """
    made = [(kind, _text(kind)) for kind in KINDS]
    if render:
        with contextlib.suppress(BadInput):  # it takes no such conversation: there is no text of this kind then
            made.append((TEMPLATE, render(_conversation())))
    return [passage for kind, text in made for passage in _cut(kind, encode(text)[:_TOKENS], context)]


def prompts() -> list[str]:
    """What is asked for greedy answers, as a person would."""
    return _text("prompts").splitlines()


def _cut(kind: str, tokens: Tokens, context: int) -> Iterator[Passage]:
    """Pieces of about the same length, none of them of a single token."""
    count = -(-len(tokens) // min(_WINDOW, context))
    for number in range(count):
        part = tokens[len(tokens) * number // count : len(tokens) * (number + 1) // count]
        if len(part) > 1:
            yield Passage(kind, part)


def _conversation() -> Messages:
    turns = _text(TEMPLATE).split("\n%\n")
    return [{"role": ("user", "assistant")[at % 2], "content": turn.strip()} for at, turn in enumerate(turns)]


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.txt").read_text("utf-8")
