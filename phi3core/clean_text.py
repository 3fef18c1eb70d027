"""Text that can be stored and shown: without what a database, UTF-8 or a terminal does not take."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def clean(value: Any) -> Any:
    """Text, or plain data with text in it, without halves of UTF-16 pairs, which can neither be sent nor stored.

    Two halves that belong together, as a model may stream them, become their character.
    """
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def one_line(text: str, length: int) -> str:
    """The start of a text on one line, without control characters, cut behind a word with an ellipsis."""
    words = " ".join(_CONTROL.sub(" ", clean(text[: 8 * length])).split())
    if len(words) <= length and len(text) <= 8 * length:
        return words
    cut = words[: length - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[length // 2 :] else cut).rstrip(" .,:;") + "…"


def without_control(text: str) -> str:
    """The text without control characters but newlines and tabs: some databases refuse NUL."""
    return _CONTROL.sub("\ufffd", clean(text))
