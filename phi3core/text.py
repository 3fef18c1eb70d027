"""Small pieces of sentences: a noun in its plural, a list in words."""

from __future__ import annotations

from collections.abc import Iterable


def plural(count: int, noun: str) -> str:
    """The noun as it stands behind the count: ``file`` behind 1, ``files`` behind any other."""
    return noun if count == 1 else f"{noun}s"


def join_words(items: Iterable[str]) -> str:
    """The items as a list in a sentence: ``a``, ``a and b``, ``a, b and c``; empty where there are none."""
    words = list(items)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
