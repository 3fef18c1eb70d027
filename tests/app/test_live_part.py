"""A part of a page that draws itself again and again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import streamlit as st

from pages.components.shared import live_part


def test_only_a_run_by_itself_may_have_the_page_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[Callable[[], None], float | None]] = []

    def fragment(function: Callable[[], None], run_every: float | None) -> Callable[[], None]:
        kept.append((function, run_every))
        return function

    monkeypatch.setattr(st, "fragment", fragment)
    runs: list[tuple[bool, str]] = []

    def part(by_itself: bool, word: str) -> None:
        runs.append((by_itself, word))

    live_part.draw(part, "one", every=0.5)
    [(again, every)] = kept
    again()
    again()

    assert runs == [(False, "one"), (True, "one"), (True, "one")]
    assert every == 0.5
    assert again.__qualname__ == part.__qualname__  # two parts in one container are told apart by it
    live_part.draw(part, "two", every=None)
    assert runs[-1] == (False, "two")  # drawn with its page once more
