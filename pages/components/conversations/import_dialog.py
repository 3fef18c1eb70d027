"""The dialog that imports conversations from files, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.shared import links, reads, ui
from pages.components.shared.escape import short
from phi3core.chat import import_export
from phi3core.errors import Phi3Error


@st.dialog("Import", icon=":material/upload:")
def show() -> None:
    st.markdown(
        "JSON that was exported here comes back whole, Markdown with what it shows. "
        'JSONL holds one conversation a line, as `{"messages": […]}`.'
    )
    if not ui.person().may("admin"):
        st.caption("Its turns become yours, and its ratings stay out: only an admin brings back who said what.")
    key = f"conversations_files_{st.session_state['conversations_imports']}"
    files = st.file_uploader("Files", ["json", "jsonl", "md", "markdown"], accept_multiple_files=True, key=key)
    if not st.button("Import", type="primary", disabled=not files, key="conversations_import_now", width="stretch"):
        return
    made: list[tuple[str, str]] = []
    refused: list[str] = []
    for file in files:
        try:
            words, data = f"Reading {short(file.name)} …", file.getvalue()
            found = reads.wait_for(
                words, import_export.import_file, ui.config(), ui.servers(), file.name, data, ui.person()
            )
        except (Phi3Error, OSError) as error:
            refused.append(str(error))
        else:
            made += [(conversation.id, conversation.title) for conversation in found]
    if made:
        st.session_state["conversations_made"] = (made, refused)
        st.rerun()
    _show_refused(refused)


def _show_refused(refused: Sequence[str]) -> None:
    for reason in refused:
        ui.show_error(f"{reason} Nothing of this file was kept.")


def show_made(made: Sequence[tuple[str, str]], refused: Sequence[str]) -> None:
    _show_refused(refused)
    with st.container(border=True):
        st.markdown(f":green[:material/check_circle:] {ui.counted(len(made), 'conversation')} imported")
        for conversation_id, title in made[:5]:
            links.chat_link(conversation_id, title)
        if len(made) > 5:
            st.caption(f"and {len(made) - 5:,} more, on top of the list")
