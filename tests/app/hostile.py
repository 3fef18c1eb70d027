"""What a browser would make of a page that shows a stranger's text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from markdown_it import MarkdownIt
from streamlit.testing.v1 import AppTest

from tests.support.stranger import MARK

_COMMONMARK = MarkdownIt("commonmark")
_DIRECTIVE = re.compile(rf"(?<!\\):(?:[\w-]+\[[^\]]*{MARK}|material/skull)")
_CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)")
# What Streamlit never reads as Markdown, by its own frontend: the kind of element, and the field.
_PLAIN = {
    "Text": {"body"},
    "Code": {"code_text"},
    "TextArea": {"default", "value", "placeholder"},
    "TextInput": {"default", "value", "placeholder"},
    "ChatInput": {"default", "value", "placeholder"},
    "Selectbox": {"options", "raw_value"},
    "MultiSelect": {"options", "default", "raw_values"},
    "PageLink": {"page", "query_string", "page_script_hash"},
    "LinkButton": {"url"},
    "DownloadButton": {"url"},
    "Arrow": {"columns", "data", "alt"},
    "PlotlyChart": {"spec", "config", "alt"},
    "BidiComponent": {"json", "mixed"},
    "PageConfig": {"title"},
}
_NAMES = {"id", "key", "element_id", "form_id", "user_key", "css_id", "fragment_id"}


def drawn(at: AppTest) -> Iterator[tuple[str, str, str]]:
    """Every text that holds a stranger's mark: the kind of element, its field, the text."""
    waiting: list[Any] = [*at._tree.children.values()]
    while waiting:
        node = waiting.pop()
        waiting += [*getattr(node, "children", {}).values()]
        if (proto := getattr(node, "proto", None)) is not None and hasattr(proto, "ListFields"):
            yield from _texts(proto)


def _texts(proto: Any) -> Iterator[tuple[str, str, str]]:
    kind = proto.DESCRIPTOR.name
    for field, value in proto.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                if hasattr(part, "ListFields"):  # else a map's key
                    yield from _texts(part)
        elif field.type == FieldDescriptor.TYPE_STRING and field.name not in _NAMES:
            for text in [value] if isinstance(value, str) else value:
                if MARK in text:
                    yield kind, field.name, text


def obeyed(at: AppTest) -> list[str]:
    """What of a stranger's text a browser would obey on this page; [] where all of it is letters."""
    found = []
    for kind, field, text in drawn(at):
        if kind == "PlotlyChart" and field == "spec":
            found += [f"{kind}.{field}: {part}" for part in _of_chart(json.loads(text))]
        elif field not in _PLAIN.get(kind, ()):
            found += [f"{kind}.{field}: {what}" for what in of_markdown(text)]
    return found


def _of_chart(figure: dict[str, Any]) -> Iterator[str]:
    """The tags that Plotly would read in its texts: of what stands behind a point, only where it is drawn."""
    for trace in figure["data"]:
        told = trace.pop("customdata", [])
        numbers = {int(number) for number in re.findall(r"%{customdata\[(\d)\]}", trace.get("hovertemplate", ""))}
        drawn_parts = [
            part for parts in told if isinstance(parts, list) for at, part in enumerate(parts) if at in numbers
        ]
        yield from re.findall(r"<(?:a|img)\b.{0,60}", json.dumps([trace, drawn_parts]))


def of_markdown(text: str) -> list[str]:
    """The same of one text that is drawn as Markdown."""
    bare = _CODE.sub("", text)
    found = [f"directive {part}" for part in _DIRECTIVE.findall(bare)]
    found += ["formula"] if re.search(rf"(?<!\\)\$x{MARK}", bare) else []
    # What is left of an image in what is meant as Markdown: a link that shows its target.
    named = "image: " in text
    queue = list(_COMMONMARK.parse(text))
    while queue:
        token = queue.pop()
        queue += token.children or []
        address = str(token.attrs.get("src") or token.attrs.get("href") or "")
        if MARK in address and (token.type == "image" or (token.type == "link_open" and not named)):
            found.append(f"{token.type} {address}")
        if token.type == "text" and not named and re.search(rf"(://|www\.){MARK}", token.content):
            found.append(f"address {token.content[:80]}")
        if token.type == "inline" and re.search(rf"(?<![\\\w])\*\*bold{MARK}", _CODE.sub("", token.content)):
            found.append("bold")
    return found


def is_shown(at: AppTest) -> bool:
    """Whether the page shows any of it at all: a page that shows none proves nothing."""
    return any(True for _ in drawn(at)) or any(MARK in str(table.value) for table in [*at.dataframe, *at.table])
