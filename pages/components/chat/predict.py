"""A JSON form for a model that can't be chatted with: what its /invocations take."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import as_code
from phi3core.chat.model_client import invoke_server
from phi3core.errors import Phi3Error

from . import examples
from .server_state import ServerState
from .target import Selection


def show(chosen: Selection, state: ServerState) -> None:
    """The signature, a request to edit, and what came back."""
    assert state.server is not None
    signature = state.props.get("signature") or {}
    st.info(
        f"{as_code(chosen.ref)} can't be chatted with: it takes neither messages nor one text. Ask it with inputs of "
        "its own, as MLflow's /invocations takes them.",
        icon=":material/data_object:",
    )
    with st.expander("Signature", icon=":material/schema:", expanded=True):
        if signature:
            st.code(json.dumps({n: p for n, p in signature.items() if p}, indent=2), "json", height=240)
        else:
            st.caption("The model was logged without one.")
    key = f"chat_body_{chosen.ref}"
    st.session_state.setdefault(key, json.dumps(examples.example(signature), indent=2))
    body = st.text_area("Inputs, as JSON", key=key, height=220)
    if st.button("Predict", type="primary", icon=":material/play_arrow:", key="chat_predict"):
        server = state.server
        st.session_state["chat_prediction"] = (chosen.ref, reads.start(invoke_server, server, body))
    ref, coming = st.session_state.get("chat_prediction", ("", None))
    if ref == chosen.ref and coming is not None:
        live_part.draw(_show_result, coming, coming.done(), every=None if coming.done() else 0.5)


def _show_result(by_itself: bool, coming: Any, done: bool) -> None:
    if not coming.done():
        st.caption(":material/progress_activity: The model works on it …")
        return
    if by_itself and not done:
        st.rerun()
    try:
        found = coming.result()
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    text = json.dumps(found, indent=2, ensure_ascii=False)
    st.caption("Predictions")
    if len(text) > 100_000:
        st.download_button("Download them", text, "predictions.json", "application/json", icon=":material/download:")
        text = text[:100_000] + "\n…"
    st.code(text, "json", wrap_lines=True, height=400 if text.count("\n") > 20 else "content")
