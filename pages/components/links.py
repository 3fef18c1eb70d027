"""Ways to a conversation: its address, and links to it."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import streamlit as st

from pages.components.literal import short
from phi3core import registry
from phi3core.errors import BadInput


def to_chat(id: str, label: str, icon: str | None = ":material/chat:") -> None:
    """A link that opens a conversation, with whom it was had with last. label: anybody's text."""
    st.page_link("pages/chat_page.py", label=short(label), icon=icon, query_params={"c": id})


def of_chat(id: str, ref: str, turn: str) -> str:
    """A conversation's whole address. turn: the selected one, if any (Tree.selected)."""
    return f"{app()}/chat?{urlencode(_query(id, ref) | ({'turn': turn} if turn else {}), safe='/@:')}"


def app() -> str:
    """The app's own address as the reader's browser knows it, without a page."""
    parts = urlsplit(st.context.url or "http://localhost:8501")
    return f"{parts.scheme}://{parts.netloc}"


def _query(id: str, ref: str) -> dict[str, str]:
    """Without a ref that leads nowhere, such as that of an imported turn."""
    if ref.startswith("endpoint:"):
        return {"c": id, "ref": ref}
    try:
        return {"c": id, "ref": str(registry.split(ref))}
    except BadInput:
        return {"c": id}
