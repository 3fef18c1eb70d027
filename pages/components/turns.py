"""How a turn of a conversation is drawn: finished, or while its answer comes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.components import ui
from phi3core.chat import Conversation, Turn
from phi3core.markdown import safe_markdown
from phi3core.registry import Version

_USER, _MODEL = ":material/person:", ":material/deployed_code:"


def show(turn: Turn, at: int) -> None:
    """A turn that has ended."""
    with st.chat_message("user", avatar=_USER):
        st.markdown(safe_markdown(turn.question))
    with st.chat_message("assistant", avatar=_MODEL):
        _show_answer(turn, at)


def show_last(conversation: Conversation, version: Version, system: str, options: dict[str, Any]) -> None:
    """The newest turn: streamed if its answer still comes, with a way to stop it; else with a way to ask again."""
    turn, at = conversation.turns[-1], len(conversation.turns) - 1
    if turn.state != "running":
        show(turn, at)
        label = {"failed": "Try again", "stopped": "Ask again"}.get(turn.state, "Regenerate")
        if st.button(label, icon=":material/refresh:", key="chat_again", type="tertiary"):
            conversation.again(version, system, options)
            st.rerun()
        return
    with st.chat_message("user", avatar=_USER):
        st.markdown(safe_markdown(turn.question))
    with st.chat_message("assistant", avatar=_MODEL):
        text, waiting = st.empty(), st.empty()
        st.button("Stop", icon=":material/stop_circle:", key="chat_stop", on_click=_stop, args=(turn,))
        for now in turn.follow():
            text.markdown(safe_markdown(now.answer) or "")
            if now.waiting:
                waiting.caption(f":material/progress_activity: {now.waiting} …")
            else:
                waiting.empty()
    st.rerun()  # draw it as ended, with its figures, and free the input


def _stop(turn: Turn) -> None:
    turn.stop()
    for _ in turn.follow():
        pass  # until it has stopped: within a token or two


def _show_answer(turn: Turn, at: int) -> None:
    if turn.answer:
        st.markdown(safe_markdown(turn.answer))
    elif turn.state == "done":
        st.caption("The model ended its answer without a word.")
    if turn.error:
        ui.show_error(turn.error)
    if turn.finish_reason == "length" and turn.state == "done":
        st.caption(":material/content_cut: Cut off at the longest answer allowed; raise it in the sidebar.")
    if turn.state == "stopped":
        st.caption(":material/stop_circle: Stopped.")
    with st.container(horizontal=True, vertical_alignment="center", key=f"turn_foot_{at}"):
        st.caption(_figures(turn))
        if turn.prompt:
            with st.popover("Rendered prompt", icon=":material/code:", type="tertiary"):
                st.caption("What the model read, by its own chat template.")
                st.code(turn.prompt, language=None, wrap_lines=True)


def _figures(turn: Turn) -> str:
    figures = [turn.ref]
    if turn.tokens_per_second:
        figures.append(f"{turn.tokens_per_second:.0f} tokens/s")
    if turn.first_token_ms:
        figures.append(f"first token {turn.first_token_ms:,.0f} ms")
    if turn.prompt_tokens:
        figures.append(f"{turn.prompt_tokens:,} + {turn.completion_tokens:,} tokens")
    elif turn.completion_tokens:
        figures.append(f"{turn.completion_tokens:,} tokens")
    return " · ".join(figures)
