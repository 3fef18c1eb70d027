"""Below an answer: its figures, and what can be done with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.components.prompt_sets import into_set
from pages.components.shared import ui
from pages.components.shared.escape import as_code, escape, short
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation
from phi3core.errors import BadInput, Phi3Error
from phi3core.evaluation.conversation_items import item_of
from phi3core.text import plural
from phi3core.traces.turn import Turn

from . import browser, token_view
from .target import Selection

_AGAIN = "Ask once more; this answer stays beside the new one"
_EDIT = "Edit the message and send it again; this one stays beside it"
_BRANCH = "Go on from here in a new conversation"
_SENT = "Rendered prompt and request"
_WHY = "Say why"
NAMES = {
    "chat_stop": "Stop",  # else its key is spoken as part of its name
    "turn_again_": "Regenerate",
    "turn_edit_open_": "Edit the message",
    "turn_branch_": "Branch",
    "turn_set_": into_set.LABEL,
    "turn_sent_": _SENT,
    "turn_why_": _WHY,
    "turn_probabilities_": "Token probabilities",
    "turn_-1_": "The answer before",
    "turn_1_": "The next answer",
}
"""The spoken names of buttons that show an icon alone, or more than their name, by the beginning of their keys."""


@dataclass(frozen=True)
class TurnRequest:
    """What a turn is asked again with: as the page stands now."""

    conversation: Conversation
    chosen: Selection
    system: str
    options: dict[str, Any]

    @property
    def may_write(self) -> bool:
        """Whether the person who looks goes on with the conversation."""
        return self.conversation.may_write(ui.person().name)

    def again(self, turn: Turn, question: str | None = None, forget: int | None = None) -> None:
        """Ask the turn again and draw the page anew, or show the error.

        question: another wording. forget: how many of the oldest turns are not sent.
        """
        try:
            self.conversation.ask_again(
                self.chosen.target, self.system, self.options, turn=turn, question=question, forget=forget,
                asked_ref=self.chosen.asked, user=ui.person().name,
            )  # fmt: skip
        except Phi3Error as error:
            ui.show_error(str(error))
            return
        st.session_state.pop("chat_editing", None)
        st.rerun()


@st.fragment
def show(request: TurnRequest, turn: Turn, last: bool) -> None:
    """Figures, thumbs and buttons: a click on them draws no other turn."""
    st.caption(figures(turn))
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):  # one row on a phone too
        _thumbs(request.conversation, turn)
        own = request.may_write
        label = {"failed": "Try again", "stopped": "Ask again"}.get(turn.state, "Regenerate")
        key = "chat_again" if last else f"turn_again_{turn.id}"
        name = label if last else ""
        if own and st.button(name, icon=":material/refresh:", key=key, type="tertiary", help=_AGAIN):
            request.again(turn)
        if own and st.button("", icon=":material/edit:", key=f"turn_edit_open_{turn.id}", type="tertiary", help=_EDIT):
            open_edit(turn)
        if st.button("", icon=":material/call_split:", key=f"turn_branch_{turn.id}", type="tertiary", help=_BRANCH):
            branch(request.conversation, turn)
        if not turn.raw and st.button(
            "", icon=into_set.ICON, key=f"turn_set_{turn.id}", type="tertiary", help=into_set.LABEL
        ):
            _into_set(request.conversation, turn)
        if turn.answer:
            browser.copy_button(turn.answer, key=f"turn_copy_{turn.id}")
        _popover("", ":material/code:", _SENT, f"turn_sent_{turn.id}", lambda: _sent(turn))
        if turn.tokens:
            shown = st.session_state.get(f"turn_tokens_{turn.id}")
            _toggle(turn, bool(shown))
    if turn.comment:
        st.caption(f":material/comment: {escape(turn.comment)}")
    if turn.tokens and st.session_state.get(f"turn_tokens_{turn.id}"):
        token_view.show(turn.tokens, f"turn_figure_{turn.id}")


def _into_set(conversation: Conversation, turn: Turn) -> None:
    try:
        item = item_of(conversation.sent_for(turn), turn.id[:12], turn.answer if turn.state == "done" else "")
    except BadInput as error:
        ui.show_error(str(error))
    else:
        into_set.show([item])


def open_edit(turn: Turn) -> None:
    """Draw the page anew with the turn's question in a box."""
    st.session_state.update({"chat_editing": turn.id, "chat_edits": st.session_state.get("chat_edits", 0) + 1})
    st.rerun()


def _toggle(turn: Turn, shown: bool) -> None:
    name = f"turn_tokens_{turn.id}"
    hint = "Hide the token probabilities" if shown else "Show the token probabilities"
    st.button(
        "", icon=":material/equalizer:", key=f"turn_probabilities_{turn.id}", type="tertiary", help=hint,
        on_click=st.session_state.update, args=({name: not shown},),
    )  # fmt: skip


def _popover(label: str, icon: str, hint: str, key: str, draw: Callable[[], None]) -> None:
    """Drawn only once it is opened: a hundred rendered prompts are megabytes."""
    popover = st.popover(label, icon=icon, help=hint, type="tertiary", key=key, on_change="rerun")
    if popover.open:
        with popover:
            draw()


def _sent(turn: Turn) -> None:
    if turn.prompt:
        st.caption("What the model read." if turn.raw else "What the model read, by its own chat template.")
        st.code(turn.prompt, language=None, wrap_lines=True, height=300 if len(turn.prompt) > 1000 else "content")
    st.caption("Asked with")
    asked: dict[str, Any] = {"model": turn.ref, "asked_for": turn.asked_ref, **turn.options, "seed": turn.seed}
    asked |= {"response_format": turn.schema} if turn.schema is not None else {}
    asked |= {"turns_left_out": turn.forgot} if turn.forgot else {}
    asked |= {"system": turn.system} if turn.system else {}
    st.code(json.dumps({n: v for n, v in asked.items() if v not in ("", None)}, indent=2, ensure_ascii=False), "json")


def _thumbs(conversation: Conversation, turn: Turn) -> None:
    if not turn.answer:
        return
    key = f"turn_thumb_{turn.id}"
    st.session_state[key] = None if turn.thumb is None else int(turn.thumb)
    may = ui.person().may("reviewer")
    st.feedback("thumbs", key=key, on_change=_rate, args=(conversation, turn, key), disabled=not may)
    if turn.thumb is None or not may:
        return
    box = f"turn_why_{turn.id}"
    with st.popover("", icon=":material/comment:", help=_WHY, type="tertiary", key=box, on_change="rerun"):
        with st.form(f"turn_comment_{turn.id}", border=False):
            comment = st.text_area(
                "Comment", turn.comment, placeholder="What is good or bad about it?", height=80,
                key=f"turn_comment_text_{turn.id}",
            )  # fmt: skip
            if st.form_submit_button(
                "Save", key=f"turn_comment_save_{turn.id}", on_click=st.session_state.update, args=({box: False},)
            ):  # which closes the box
                _toast_error(lambda: conversation.rate(turn, turn.thumb, comment, ui.person()))
                st.rerun(scope="fragment")


def _rate(conversation: Conversation, turn: Turn, key: str) -> None:
    value = st.session_state[key]
    thumb = None if value is None else bool(value)
    _toast_error(lambda: conversation.rate(turn, thumb, turn.comment, ui.person()))


def _toast_error(act: Callable[[], None]) -> None:
    """Do it, and show one of our errors as a toast."""
    try:
        act()
    except Phi3Error as error:
        st.toast(escape(str(error)), icon=":material/error:")


def branch(conversation: Conversation, turn: Turn) -> None:
    """Go on from a turn in a new conversation, or show the error."""
    try:
        made = add_conversation(conversation.branch(turn, ui.person().name))
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    st.session_state["chat_conversation"] = made.id
    st.query_params["c"] = made.id
    st.toast("This is a new conversation; the one before stays as it is.", icon=":material/call_split:")
    st.rerun()


def figures(turn: Turn) -> str:
    """One line: who answered, how fast, how much."""
    parts = [as_code(turn.ref) if turn.ref.startswith("endpoint:") else short(turn.ref, 250)]
    if turn.imported:
        parts.append("imported: only its file says so")
    if turn.tokens_per_second:
        parts.append(ui.speed(turn.tokens_per_second))
    if turn.first_token_ms:
        parts.append(f"first token {turn.first_token_ms:,.0f} ms")
    if turn.prompt_tokens:
        cached = f" ({turn.cached_tokens:,} cached)" if turn.cached_tokens else ""
        parts.append(f"{turn.prompt_tokens:,}{cached} + {turn.completion_tokens:,} tokens")
    elif turn.completion_tokens:
        parts.append(f"{turn.completion_tokens:,} tokens")
    if turn.forgot:
        parts.append(f"without the oldest {turn.forgot} {plural(turn.forgot, 'turn')}")
    return " · ".join(parts)
