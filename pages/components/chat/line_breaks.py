"""Single line breaks in a model's Markdown: in a poem or an address they are meant, and Markdown joins the lines."""

from __future__ import annotations

from markdown_it import MarkdownIt

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_BREAK = "  "


def with_line_breaks(text: str) -> str:
    """The same Markdown with every line of a paragraph on its own; code, tables and headings are left alone."""
    if "\n" not in text:
        return text
    lines, broken = text.split("\n"), _broken(text)
    return "\n".join(line + _BREAK if at in broken and not _breaks(line) else line for at, line in enumerate(lines))


def _breaks(line: str) -> bool:
    """Whether it ends with a break already."""
    return line.endswith((_BREAK, "\\"))


def _broken(text: str) -> set[int]:
    """The lines of paragraphs, but for the last of each."""
    found: set[int] = set()
    for token in _MARKDOWN.parse(text):
        if token.type == "paragraph_open" and token.map:
            first, end = token.map
            found |= set(range(first, end - 1))
    return found
