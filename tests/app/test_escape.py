"""Any text shown letter by letter, and the differences between two answers."""

from __future__ import annotations

import re

import pytest

from pages.components.shared import escape
from phi3core.chat.replay import DiffPiece
from tests.app.talks import NASTY, shown


@pytest.mark.parametrize(
    "text",
    [NASTY, "# no heading", "1. no list", "- no list", "a_b_ `c` ~~d~~ | e |", "$x$ and $5", ":red[no colour]", "a\\b"],
)
def test_literal_text_is_no_markup(text: str) -> None:
    escaped = escape.escape(text)
    assert shown(escaped) == text
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped)
    assert not re.search(r"[!-/:-@\[-`{-~]", bare)


def test_differences_leave_no_gap_between_changed_words() -> None:
    pieces = [
        DiffPiece("old", "big"),
        DiffPiece("new", "small"),
        DiffPiece("same", " "),
        DiffPiece("old", "dog"),
        DiffPiece("new", "cat"),
    ]
    assert escape.differences(pieces, "old") == ":red-background[big dog]"
    assert escape.differences(pieces, "new") == ":green-background[small cat]"


def test_a_difference_in_line_breaks_is_seen() -> None:
    pieces = [DiffPiece("same", "a"), DiffPiece("old", "\n"), DiffPiece("new", " "), DiffPiece("same", "b")]
    assert escape.differences(pieces, "old") == "a:red-background[\u00a0]  \nb"
    assert escape.differences(pieces, "new") == "a:green-background[\u00a0]b"


def test_a_bracket_in_a_difference_does_not_end_it() -> None:
    assert escape.differences([DiffPiece("new", "](x)")], "new") == r":green-background[\]\(x\)]"
