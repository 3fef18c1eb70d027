"""What can be done with a conversation besides talking: its link, its name, its files, its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import streamlit as st

from pages.components.shared import links, reads, ui
from pages.components.shared.escape import short
from phi3core.chat import import_export, markdown_export
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import delete_conversation, rename_conversation
from phi3core.errors import Phi3Error

from . import replay_dialog

_PAGE = "pages/conversations_page.py"
_FILES = {
    "Markdown": ("md", "text/markdown", markdown_export.to_markdown, "To read: the answers that are shown."),
    "JSON": ("json", "application/json", import_export.to_json, "To keep: everything, for “Import” to bring back."),
    "JSONL": (
        "jsonl",
        "application/jsonl",
        lambda conversation: import_export.to_jsonl([conversation]),
        "To train with: OpenAI messages, one conversation a line.",
    ),
}


def menu(conversation: Conversation) -> None:
    """A popover with everything there is to do with a conversation; nothing where it has no turns yet."""
    if not conversation.tree:
        return
    conversation_id = conversation.id
    with st.popover("Share", icon=":material/ios_share:", type="tertiary", key=f"share_{conversation_id}"):
        st.caption("Link, for whoever can open this app")
        ref = conversation.asked_ref or conversation.ref
        st.code(links.chat_address(conversation_id, ref, conversation.selected), language=None, wrap_lines=True)
        st.caption("Export")
        _download_buttons(conversation, f"share_{{}}_{conversation_id}")
        st.caption("Conversation")
        with st.container(horizontal=True):
            own = may_change(conversation.author)
            if own and st.button("Rename", icon=":material/edit:", key=f"share_rename_{conversation_id}"):
                rename(conversation_id, conversation.title)
            busy = conversation.running
            if st.button("Replay", icon=":material/replay:", key=f"share_replay_{conversation_id}", disabled=busy):
                replay_dialog.show(conversation)
            if own and st.button("Delete", icon=":material/delete:", key=f"share_delete_{conversation_id}"):
                delete([(conversation_id, conversation.title, len(conversation.tree))])


@st.dialog("Export", icon=":material/download:")
def export(conversation: Conversation) -> None:
    """One conversation as a file, of each kind."""
    st.markdown(f"**{short(conversation.title)}** · {ui.counted(len(conversation.tree), 'turn')}")
    for name, (_, _, _, about) in _FILES.items():
        st.caption(f"{name}: {about[:1].lower()}{about[1:]}")
    _download_buttons(conversation, "export_{}")


def _download_buttons(conversation: Conversation, key: str) -> None:
    """A button for each kind of file. key: with ``{}`` for the kind."""
    with st.container(horizontal=True):
        for name, (ending, mime, write, about) in _FILES.items():
            st.download_button(
                name, partial(write, conversation), f"{file_name(conversation.title)}.{ending}", mime,
                key=key.format(ending), icon=":material/download:", on_click="ignore", help=about,
            )  # fmt: skip


def may_change(author: str) -> bool:
    """Whether the person who looks may rename and delete a conversation of this author."""
    me = ui.person()
    return me.may("admin") or me.name.casefold() == author.casefold()


def mark_changed() -> None:
    """A conversation's name, place or existence is another now: the lists of them wait for the new one."""
    reads.invalidate()
    st.session_state["recent_changed"] = True


def file_name(title: str) -> str:
    """A title as every file system takes it, without an ending."""
    return re.sub(r"[^\w]+", "-", title).strip("-_").lower()[:60] or "conversation"


@st.dialog("Rename", icon=":material/edit:")
def rename(conversation_id: str, title: str) -> None:
    with st.form("share_rename_form", border=False):
        new = st.text_input("Title", title, max_chars=200, key=f"share_title_{conversation_id}")
        pressed = st.form_submit_button("Rename", type="primary", key="share_rename_confirm", width="stretch")
    if pressed:
        try:
            rename_conversation(ui.config(), conversation_id, new, ui.person())
        except Phi3Error as error:
            ui.show_error(str(error))
            return
        mark_changed()
        st.rerun()


@st.dialog("Delete", icon=":material/delete:")
def delete(doomed: Sequence[tuple[str, str, int]], stay: bool = False) -> None:
    """Ask, then delete.

    Args:
        doomed: id, title and number of turns of each conversation.
        stay: go on with the chat, with a new conversation where the open one went; else to the list of them.
    """
    turns = sum(count for _, _, count in doomed)
    which = "this conversation" if len(doomed) == 1 else f"these {len(doomed)} conversations"
    st.markdown(f"Delete {which} for good?")
    lines = [f"- **{short(title)}** · {ui.counted(count, 'turn')}" for _, title, count in doomed[:8]]
    st.markdown("\n".join(lines + [f"- and {len(doomed) - 8} more"] * (len(doomed) > 8)))
    traces = f", with {'its trace' if turns == 1 else f'all {turns} traces'} in MLflow" if ui.config().tracing else ""
    st.markdown(
        f"Their questions, answers and ratings go{traces}. What branched from them or repeats them stays. "
        "It can't be undone."
    )
    if st.button("Delete", type="primary", icon=":material/delete:", key="share_delete_confirm", width="stretch"):
        try:
            for conversation_id, _, _ in doomed:
                delete_conversation(ui.config(), conversation_id, ui.person())
        except (Phi3Error, OSError) as error:
            ui.show_error(str(error))
            return
        mark_changed()
        result = f"{ui.counted(len(doomed), 'conversation')} deleted."
        if st.session_state.get("chat_conversation") in [conversation_id for conversation_id, _, _ in doomed]:
            del st.session_state["chat_conversation"]
            st.session_state["chat_begin"] = stay
        if stay:
            st.toast(result, icon=":material/delete:")
            st.rerun()
        st.session_state["conversations_result"] = result
        st.switch_page(_PAGE)
