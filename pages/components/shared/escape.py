"""Text as Markdown that shows it letter by letter, whatever it holds.

Whatever people, files, models or stores wrote passes through here where it is drawn, and nowhere before: `escape` for a
whole text, `short` for a line, `as_code` for a name, `in_chart` for a chart, `in_table` for a cell. A model's answer
and a version's description, which are meant as Markdown, are drawn by `phi3core.markdown.safe_markdown` instead.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from phi3core.chat.replay import DiffPiece
from phi3core.clean_text import one_line, without_control
from phi3core.text import begins_like_formula

_MARKUP = re.compile(r"([!-/:-@\[-`{-~])")
_JOINER = "\u2060"  # WORD JOINER: no width, but it parts what would be taken for more than letters
_SPACE = "\u00a0"
# What Streamlit replaces even where it is escaped: icons and emoji, links without brackets, arrows on their own.
_ICON = re.compile(r":(?=[\w+/-])")
_WWW = re.compile(r"\b(www)\.", re.IGNORECASE)
_ARROW = re.compile(r"(?<!\S)([<>~-])([->=]{1,2})(?!\S)")
_COLORS = {"old": "red", "new": "green"}


def escape(text: str) -> str:
    """Markdown that shows the text as it is; line breaks stay, and so do spaces."""
    return "  \n".join(_line(line) or _SPACE for line in without_control(text).split("\n"))


def short(text: str, length: int = 80) -> str:
    """Markdown that shows the start of the text as it is, on one line."""
    return _line(one_line(text, length))


def as_code(text: str, length: int = 250) -> str:
    """Markdown that shows the start of the text as code, on one line. Not within :red[…], which a bracket would end."""
    return f"`{one_line(text, length).replace('`', chr(39)).replace('![', f'!{_JOINER}[')}`"


def in_chart(text: str, length: int = 200) -> str:
    """The start of the text on one line for a chart: Plotly takes some HTML in its texts, links too."""
    return html.escape(one_line(text, length))


def in_table(text: str) -> str:
    """The text for a cell of st.dataframe, which anybody can download: no spreadsheet takes it for a formula."""
    return _JOINER + text if begins_like_formula(text) else text


def from_table(text: str) -> str:
    """What `in_table` was given."""
    return text.removeprefix(_JOINER)


def differences(pieces: Iterable[DiffPiece], side: str) -> str:
    """Markdown of one of two answers, with what only it has on a colour. side: ``old`` or ``new``."""
    return "".join(_colored(text, side) if changed else escape(text) for changed, text in _joined(pieces, side))


def _joined(pieces: Iterable[DiffPiece], side: str) -> list[tuple[bool, str]]:
    """One answer's stretches, changed or not.

    What two changed words have between them but no letters is no agreement worth showing: it counts as changed.
    """
    kept = [(piece.kind != "same", piece.text) for piece in pieces if piece.kind in ("same", side)]
    joined: list[tuple[bool, str]] = []
    for at, (changed, text) in enumerate(kept):
        between = 0 < at < len(kept) - 1 and kept[at - 1][0] and kept[at + 1][0]
        changed = changed or (between and not re.search(r"[\w\n]", text))
        if joined and joined[-1][0] == changed:
            text = joined.pop()[1] + text
        joined.append((changed, text))
    return joined


def _colored(text: str, side: str) -> str:
    lines = without_control(text).split("\n")
    shown = [_background(line, side, at < len(lines) - 1) for at, line in enumerate(lines)]
    return "  \n".join(shown)


def _background(line: str, side: str, broken: bool) -> str:
    """A line, or its part; broken: the line break behind it is part of the difference, which a coloured space shows."""
    start, text, end = _parted(line)
    if not text:  # only the spaces differ: they are what is shown
        text, start, end = _SPACE * len(line), "", ""
    text = _line(text) + (_SPACE if broken else "")
    return f"{start}:{_COLORS[side]}-background[{text}]{end}" if text else ""


def _parted(line: str) -> tuple[str, str, str]:
    """A line's spaces at its start, its text, and its spaces at its end: a coloured stretch may not begin with them."""
    text = line.strip(" \t")
    if not text:
        return "", "", ""
    start = line.index(text)
    return _line(line[:start]), text, _line(line[start + len(text) :])


def _line(line: str) -> str:
    line = line.replace("\t", "    ")
    line = _ICON.sub(":" + _JOINER, line).replace("@", _JOINER + "@")
    line = _ARROW.sub(rf"\1{_JOINER}\2", _WWW.sub(rf"\1{_JOINER}.", line))
    line = _MARKUP.sub(r"\\\1", line)
    line = line.replace("  ", _SPACE + " ")
    return _SPACE + line[1:] if line.startswith(" ") else line
