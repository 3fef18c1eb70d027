"""Addresses and links: to a conversation, to this app, to a run in MLflow's own pages."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

import streamlit as st

from phi3core.errors import BadInput
from phi3core.registry.reference import parse_reference
from phi3core.store.client import hide_password

from . import ui
from .escape import as_code, short


def chat_link(conversation_id: str, label: str, icon: str | None = ":material/chat:") -> None:
    """A link that opens a conversation, with the model that answered last. label: any text; it is escaped."""
    st.page_link("pages/chat_page.py", label=short(label), icon=icon, query_params={"c": conversation_id})


def chat_address(conversation_id: str, ref: str, turn: str) -> str:
    """A conversation's whole address. turn: the selected one, if any (Tree.selected)."""
    query = {"c": conversation_id, "ref": _reference(ref), "turn": turn}
    return f"{app_address()}/chat?{urlencode({name: value for name, value in query.items() if value}, safe='/@:')}"


def app_address() -> str:
    """The app's own address as the reader's browser knows it, without a page."""
    parts = urlsplit(st.context.url or "http://localhost:8501")
    return f"{parts.scheme}://{parts.netloc}"


def _reference(ref: str) -> str:
    """The reference, or "" for one that leads nowhere, such as that of an imported turn."""
    if ref.startswith("endpoint:"):
        return ref
    try:
        return str(parse_reference(ref))
    except BadInput:
        return ""


def run_link(experiment_id: str, run_id: str) -> None:
    """The run in MLflow's own UI: a link where the store is a server, else how to open it there."""
    uri = ui.config().tracking_uri
    path = f"/#/experiments/{quote(experiment_id)}/runs/{quote(run_id)}"
    if uri.startswith("http"):
        url = hide_password(uri, uri).replace(":…@", "@").rstrip("/") + path
        st.link_button("Run in MLflow", url, icon=":material/open_in_new:", type="tertiary")
        return
    with st.popover("Run", icon=":material/science:", type="tertiary"):
        st.markdown(f"Run {as_code(run_id)}. To see it in MLflow's own UI, start that once:")
        st.code(f"mlflow ui --backend-store-uri {uri}", language="sh", wrap_lines=True)
        st.link_button("Open the run there", f"http://127.0.0.1:5000{path}", icon=":material/open_in_new:")
