"""Ways to a conversation: its address, and links to it."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import streamlit as st

from phi3core.errors import BadInput
from phi3core.registry.models import parse_reference

from .escape import short


def to_chat(id: str, label: str, icon: str | None = ":material/chat:") -> None:
    """A link that opens a conversation, with whom it was had with last. label: anybody's text."""
    st.page_link("pages/chat_page.py", label=short(label), icon=icon, query_params={"c": id})


def of_chat(id: str, ref: str, turn: str) -> str:
    """A conversation's whole address. turn: the selected one, if any (Tree.selected)."""
    query = {"c": id, "ref": _leading_somewhere(ref), "turn": turn}
    return f"{app()}/chat?{urlencode({name: value for name, value in query.items() if value}, safe='/@:')}"


def app() -> str:
    """The app's own address as the reader's browser knows it, without a page."""
    parts = urlsplit(st.context.url or "http://localhost:8501")
    return f"{parts.scheme}://{parts.netloc}"


def _leading_somewhere(ref: str) -> str:
    """The reference, or "" for one that leads nowhere, such as that of an imported turn."""
    if ref.startswith("endpoint:"):
        return ref
    try:
        return str(parse_reference(ref))
    except BadInput:
        return ""
