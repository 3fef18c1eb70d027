"""The conversations beside the chat: a person's pinned and newest ones, searched, opened, renamed and pinned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from pages.components.conversations import conversation_menu
from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import short
from phi3core.access.login import load_login
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.chat.conversation import Conversation
from phi3core.chat.conversation_filter import ConversationFilter
from phi3core.chat.search import ConversationSummary, search_conversations
from phi3core.errors import Phi3Error, StoreDown
from phi3core.settings import Settings

_MOST = 8  # that are not pinned
_LENGTH = 30  # characters of a title, which is about what a line of the sidebar holds
_FRESH = 10.0  # seconds; what this app changes itself is read at once
_PATIENCE = 0.2  # seconds
_SECONDS = 2.0  # to look for them in the store
_AWAY = "They can't be read while the store does not answer."
_RENAME, _PIN, _UNPIN, _DELETE = "Rename", "Pin", "Unpin", "Delete"
_ICONS = {_RENAME: "edit", _PIN: "keep", _UNPIN: "keep_off", _DELETE: "delete"}
NAMES = {"recent_menu_": "More about this conversation"}


@dataclass(frozen=True)
class Recent:
    """A person's conversations, newest first."""

    pinned: Sequence[ConversationSummary]
    others: Sequence[ConversationSummary]


def show(conversation: Conversation) -> None:
    """Draw them, the open one among them. Hardly waits for the store."""
    st.fragment(_show)(conversation)


def read_recent(settings: Settings, me: Person, everybody: bool, text: str) -> Recent:
    """Read them from the store. everybody: not only what this person has asked. Raises StoreDown."""
    wanted = ConversationFilter(user="" if everybody else me.name)
    newest = search_conversations(settings, text, 3 * _MOST, seconds=_SECONDS, wanted=wanted, reader=me).conversations
    pinned = search_conversations(
        settings, text, 50, seconds=_SECONDS, wanted=ConversationFilter(pinned_by=me.name), reader=me
    ).conversations
    others = [s for s in newest if not s.pinned_by(me.name) and not (s.origin and s.origin.kind == "compare")]
    return Recent(pinned, others[:_MOST])


def _show(conversation: Conversation) -> None:
    me = ui.person()
    st.markdown("**Recent**")
    text = st.text_input(
        "Search conversations", placeholder="Search", icon=":material/search:", key="recent_search",
        label_visibility="collapsed", type="search",
    ).strip()  # fmt: skip
    found = _read(me, text)
    if isinstance(found, str):
        st.caption(found)
        return
    found = found if text else _with_open_one(found, conversation)
    with st.container(gap=None):
        for summary in [*found.pinned, *found.others]:
            _row(summary, me, is_open=summary.id == conversation.id)
    if not found.pinned and not found.others:
        st.caption(f"None holds “{short(text, _LENGTH)}”." if text else "What you ask is kept here.")
    st.page_link("pages/conversations_page.py", label="All conversations", icon=":material/forum:")


def _read(me: Person, text: str) -> Recent | str:
    """What is known, or a sentence that says why nothing is."""
    asked = (ui.config(), me, not load_login(ui.config()), text)
    key = ("recent", me, text)
    # After a change of one's own, what was known before it is not good enough.
    if text or st.session_state.pop("recent_changed", False):
        try:
            return reads.read("Looking …", read_recent, *asked, max_age=_FRESH, key=key)
        except StoreDown:
            return _AWAY
    reading = reads.latest(read_recent, *asked, max_age=_FRESH, patience=_PATIENCE, key=key)
    if reading.value is not None:
        return reading.value
    if reading.error:
        return _AWAY
    live_part.draw(_look_again, every=1.0)
    return ":material/progress_activity: Reading them …"


def _look_again(by_itself: bool) -> None:
    """Nothing is known yet: the page is drawn again in a second, and this with it."""
    if by_itself:
        st.rerun()


def _with_open_one(found: Recent, conversation: Conversation) -> Recent:
    """The same with the open conversation as it is now: begun a moment ago, or under another name."""
    if not conversation.path:
        return found
    last = conversation.path[-1]
    listed = [summary.id for summary in (*found.pinned, *found.others)]
    mine = ConversationSummary(
        conversation.id, conversation.title, last.when, len(conversation.tree), last.ref, last.user,
        conversation.origin, author=conversation.author,
    )  # fmt: skip
    others = found.others if conversation.id in listed else [mine, *found.others][:_MOST]
    named = [
        [replace(s, title=conversation.title) if s.id == conversation.id else s for s in part]
        for part in (found.pinned, others)
    ]
    return Recent(*named)


def _row(summary: ConversationSummary, me: Person, is_open: bool) -> None:
    pinned = summary.pinned_by(me.name)
    with st.container(horizontal=True, vertical_alignment="center", wrap=False, gap=None, key=f"recent_{summary.id}"):
        title = short(summary.title, _LENGTH)
        label = f"**{title}**" if is_open else title
        icon = ":material/keep:" if pinned else None
        with st.container():  # as wide as there is room, with its text at the left
            pressed = st.button(label, key=f"recent_open_{summary.id}", type="tertiary", icon=icon, wrap=False)
        own = conversation_menu.may_change(summary.author)
        options = [_RENAME, _UNPIN if pinned else _PIN, _DELETE] if own else [_UNPIN if pinned else _PIN]
        action = st.menu_button(
            ":material/more_vert:", options, type="tertiary", key=f"recent_menu_{summary.id}",
            format_func=lambda option: f":material/{_ICONS[option]}: {option}",
        )  # fmt: skip
    if pressed:
        st.session_state.pop("chat_editing", None)
        st.query_params.from_dict({"c": summary.id})
        st.rerun()
    elif action == _RENAME:
        conversation_menu.rename(summary.id, summary.title)
    elif action == _DELETE:
        conversation_menu.delete([(summary.id, summary.title, summary.turns)], stay=True)
    elif action:
        _pin(summary, me, action == _PIN)


def _pin(summary: ConversationSummary, me: Person, pinned: bool) -> None:
    try:
        history.pin(ui.config(), summary.id, pinned, me)
    except (Phi3Error, OSError) as error:
        ui.show_error(str(error))
        return
    conversation_menu.mark_changed()
    st.rerun()
