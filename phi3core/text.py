"""Small pieces of sentences and tables: a noun in its plural, a list in words, a size, a cell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def plural(count: int, noun: str) -> str:
    """The noun as it stands behind the count: ``file`` behind 1, ``files`` behind any other."""
    return noun if count == 1 else f"{noun}s"


def bytes_in_words(count: float) -> str:
    """A number of bytes in the unit that suits it: ``1.2 GB``, ``117 MB``, ``3.4 MB``, ``378 kB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            number = count / size
            return (
                f"{number:,.1f} {unit}" if unit == "GB" or (unit == "MB" and number < 10) else f"{number:,.0f} {unit}"
            )
    return f"{count:.0f} {plural(round(count), 'byte')}"


def two_digits(number: float) -> str:
    """A number with two digits at least: ``1,600``, ``16``, ``0.28``."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def join_words(items: Iterable[str]) -> str:
    """The items as a list in a sentence: ``a``, ``a and b``, ``a, b and c``; empty where there are none."""
    words = list(items)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def begins_like_formula(text: str) -> bool:
    """Whether a spreadsheet may run the text of a cell as a formula."""
    signs = ("=", "+", "-", "@", "\t", "\r")
    return text[:1] in signs or text.lstrip()[:1] in signs


def spreadsheet_cell(value: Any) -> Any:
    """The value for a cell of a CSV file, where a text that begins like a formula is marked as a text."""
    return f"'{value}" if isinstance(value, str) and begins_like_formula(value) else value
