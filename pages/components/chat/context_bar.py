"""How full the model's context is: a slim bar below the conversation."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.components.shared import live_part, reads
from phi3core.chat.context_window import count_tokens
from phi3core.chat.conversation import Conversation

from . import server_state
from .target import Selection

_NEARLY = 0.85  # of the context: from here on the bar says so


def show(chosen: Selection, conversation: Conversation, system: str) -> None:
    """A slim bar; nothing where the model does not tell. While an answer comes, it stays as it was."""
    if conversation.running:
        _draw_bar(conversation, st.session_state.get("chat_measured"))
        return
    measured = _measure(chosen, conversation, system)
    st.session_state["chat_measured"] = measured
    live_part.draw(_follow, chosen, conversation, system, bool(measured), every=None if measured else 1.0)


def _follow(by_itself: bool, chosen: Selection, conversation: Conversation, system: str, known: bool) -> None:
    measured = _measure(chosen, conversation, system)
    if by_itself and measured and not known:
        st.rerun()
    _draw_bar(conversation, measured)


def _draw_bar(conversation: Conversation, measured: tuple[int | None, int | None] | None) -> None:
    tokens, context = measured or (None, None)
    if not tokens or not context:
        return
    part = min(tokens / context, 1.0)
    forgot = conversation.path[-1].forgot if conversation.path else 0
    left = f" · the {forgot} oldest turns are not sent" if forgot > 1 else " · the oldest turn is not sent"
    full = " · nearly full" if part >= _NEARLY else ""
    words = f"{tokens:,} of {context:,} tokens{full}{left if forgot else ''}"
    st.progress(part, text=f":small[{words}]")


def _measure(chosen: Selection, conversation: Conversation, system: str) -> tuple[int | None, int | None] | None:
    """Tokens that would be sent with the next message, and the context's length in tokens.

    None while they are being counted; (None, None) where the model does not tell.
    """
    if chosen.endpoint is not None:
        server: Any = chosen.endpoint
        # Counting sends the conversation there, which only asking a question may do first.
        asked_before = any(turn.ref == chosen.ref for turn in conversation.path)
        if chosen.endpoint.kind != "openai" or not asked_before:
            return None, None
    else:
        state = server_state.read(chosen)
        server = state.server
        if not state.open or not state.props or state.chat != "template":
            return None, None
    path = conversation.path
    if not path and not system.strip():
        return 0, None
    last = (path[-1].id, path[-1].state) if path else ()
    key = ("measure", chosen.ref, server.key, conversation.id, last, system)
    return reads.latest(count_tokens, conversation, server, system, key=key).value
