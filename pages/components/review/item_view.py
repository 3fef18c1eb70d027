"""What is judged: the question with the conversation before it, and the answers without a name."""

from __future__ import annotations

import streamlit as st

from pages.components.chat.turns import show_text
from pages.components.shared.escape import escape
from phi3core.clean_text import without_control
from phi3core.evaluation.reviews.sight import Sight

_ICONS = {"user": ":material/person:", "assistant": ":material/deployed_code:", "system": ":material/settings:"}


def show(shown: Sight) -> None:
    """Draw it; on a phone two answers stand one below the other."""
    for message in shown.messages:
        role = message["role"]
        with st.chat_message(role, avatar=_ICONS.get(role)):
            st.text(without_control(message["content"]))
    if shown.hint:
        st.caption(f":material/visibility: What to look at: {escape(shown.hint)}")
    for at, (column, text) in enumerate(zip(st.columns(len(shown.texts), gap="small"), shown.texts), start=1):
        with column, st.container(border=True, key=f"review_answer_{shown.key}_{at}"):
            if len(shown.texts) > 1:
                st.markdown(f"**{at}**")
            show_text(text)
