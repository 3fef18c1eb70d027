"""The list of conversations: searched, ticked, and what can be done with one or several."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from pages.components.prompt_sets import into_set
from pages.components.shared import links, reads, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.chat import history, import_checks, import_export, search
from phi3core.chat.conversation_filter import ConversationFilter
from phi3core.chat.live_conversations import load_conversation
from phi3core.chat.search import ANY, ConversationSummary, SearchResult
from phi3core.errors import Phi3Error, StoreDown
from phi3core.evaluation import conversation_items
from phi3core.evaluation.items import Item
from phi3core.serving.pool import Pool
from phi3core.timestamps import from_ms

from . import conversation_menu, list_filters, replay_dialog

_SECONDS = 2.0  # to look for them in the store, at first
_PAGE = 30  # conversations to begin with, and with each “Show more”
_ORIGINS = {
    "branch": ":material/alt_route: branch",
    "replay": ":material/replay: replay",
    "import": ":material/upload: imported",
    "compare": ":material/compare: comparison",
}
_INDENT = "\u2060\u2002"  # a link has a margin, so what stands below it needs one; a space alone is cut off
_RENAME, _REPLAY, _COMPARE, _EXPORT, _DELETE = "Rename", "Replay", "Compare", "Export", "Delete"
_ICONS = {
    _RENAME: "edit",
    _REPLAY: "replay",
    _COMPARE: "compare_arrows",
    _EXPORT: "download",
    _DELETE: "delete",
}


@st.fragment
def show(wanted: ConversationFilter = ANY) -> None:
    """Draw the conversations that meet the search and the filters."""
    text = st.session_state.get("conversations_search", "").strip()
    limit = st.session_state.setdefault("conversations_limit", _PAGE)
    found, down = SearchResult([]), ""
    try:
        found = _listed(text, limit + 1, wanted)
    except StoreDown as error:
        down = str(error)
        found = search.search_conversations(
            ui.config(), text, limit + 1, pending_only=True, wanted=wanted, reader=ui.person()
        )
    listed = found.conversations
    list_filters.remember(listed)
    if down:
        ui.show_error(down)
        st.button("Try again", icon=":material/refresh:", key="conversations_retry")
        if listed:
            st.caption("These wait on this machine until it does:")
    elif not listed:
        _empty(text, wanted, found.since)
    if (text or wanted) and listed:
        what = f"The newest {limit:,} conversations" if len(listed) > limit else ui.counted(len(listed), "conversation")
        st.caption(f"{what}{f' with “{short(text)}”' if text else ' found'}{_among(found.since)}")
    elif found.since and listed:
        st.caption(f"The conversations{_among(found.since)}")
    if listed:
        _chosen(listed[:limit])
    for summary in listed[:limit]:
        _row(summary)
    if len(listed) > limit:
        st.button("Show more", icon=":material/expand_more:", key="conversations_more", on_click=_show_more)
    elif found.since:
        st.button("Look further back", icon=":material/history:", key="conversations_further", on_click=_look_further)


def read_anew() -> None:
    """Called when the page is drawn: what a tick at a row keeps from being read again is read once more."""
    st.session_state.pop("conversations_read", None)


def _listed(text: str, limit: int, wanted: ConversationFilter) -> SearchResult:
    """Read once a draw of the page: a tick at a row draws the list alone and asks the store for nothing."""
    if st.session_state.get("conversations_searched") != (text, wanted):
        st.session_state.update({"conversations_searched": (text, wanted), "conversations_seconds": _SECONDS})
    asked = (text, limit, st.session_state["conversations_seconds"], wanted)
    kept = st.session_state.get("conversations_read")
    if kept and kept[0] == asked:
        known: SearchResult = kept[1]
        return known
    words = "Searching …" if text or wanted else "Reading the conversations …"
    found = reads.wait_for(
        words, search.search_conversations, ui.config(), text, limit, False, asked[2], wanted, ui.person()
    )
    st.session_state["conversations_read"] = (asked, found)
    return found


def _among(since: int) -> str:
    """How far back the search went, where it did not reach the beginning."""
    return f" among the newest, back to {from_ms(since):%Y-%m-%d %H:%M} UTC" if since else ""


def _show_more() -> None:
    st.session_state["conversations_limit"] += _PAGE


def _look_further() -> None:
    st.session_state["conversations_seconds"] *= 5


def _empty(text: str, wanted: ConversationFilter, since: int) -> None:
    if text or wanted:
        holds = f" holds “{short(text)}” in its title, questions or answers" if text else ""
        meets = f"{' and' if text else ''} meets the filters" if wanted else ""
        st.info(f"No conversation{_among(since)}{holds}{meets}.", icon=":material/search_off:")
        if wanted:
            list_filters.clear_button("conversations_clear_empty")
        return
    if since:
        return
    st.info("There are no conversations yet. Talk to a version, or import a file.", icon=":material/forum:")
    st.page_link("pages/chat_page.py", label="Talk to a version", icon=":material/chat:")


def _key(conversation_id: str) -> str:
    return f"conversations_pick_{conversation_id}"


def _chosen(listed: Sequence[ConversationSummary]) -> None:
    """The line above the list: how many are ticked, and what can be done with them."""
    chosen = [summary for summary in listed if st.session_state.get(_key(summary.id))]
    with st.container(horizontal=True, vertical_alignment="center", key="conversations_bar"):
        # Its tick follows from those below: it is set before it is drawn.
        st.session_state["conversations_all"] = len(chosen) == len(listed)
        ids = [summary.id for summary in listed]
        label = f"{len(chosen)} selected" if chosen else "Select all"
        st.checkbox(label, key="conversations_all", on_change=_tick_all, args=(ids,))
        if chosen:
            st.button(
                "Select none", icon=":material/deselect:", key="conversations_none", type="tertiary",
                on_click=_tick, args=(ids, False),
            )  # fmt: skip
            if st.button("Export", icon=":material/download:", key="conversations_export", type="tertiary"):
                _export(chosen)
            if st.button(into_set.LABEL, icon=into_set.ICON, key="conversations_into_set", type="tertiary"):
                _into_set(chosen)
            own = all(conversation_menu.may_change(summary.author) for summary in chosen)
            if own and st.button("Delete", icon=":material/delete:", key="conversations_delete", type="tertiary"):
                conversation_menu.delete([(summary.id, summary.title, summary.turns) for summary in chosen])


def _tick_all(ids: Sequence[str]) -> None:
    _tick(ids, st.session_state["conversations_all"])


def _tick(ids: Sequence[str], ticked: bool) -> None:
    for conversation_id in ids:
        st.session_state[_key(conversation_id)] = ticked


@st.dialog("Export", icon=":material/download:")
def _export(chosen: Sequence[ConversationSummary]) -> None:
    st.markdown(
        'One file of OpenAI messages, `{"messages": […]}`, with a line for each conversation: the answers that are '
        "shown in it. “Share” in the chat has more kinds."
    )
    try:
        text = reads.wait_for(
            "Reading the conversations …", _as_jsonl, [summary.id for summary in chosen], ui.servers(), ui.person()
        )
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    count = text.count("\n")
    if count < len(chosen):
        st.caption(f"{ui.counted(len(chosen) - count, 'conversation')} without any answer left out.")
    st.download_button(
        f"Download {ui.counted(count, 'conversation')}", text, "conversations.jsonl", "application/jsonl",
        type="primary", icon=":material/download:", on_click="ignore", disabled=not count, width="stretch",
        key="conversations_download",
    )  # fmt: skip


def _into_set(chosen: Sequence[ConversationSummary]) -> None:
    ids = [summary.id for summary in chosen]
    try:
        items = reads.wait_for("Reading the conversations …", _items, ids, ui.servers(), ui.person())
    except Phi3Error as error:
        ui.show_error(str(error))
    else:
        into_set.show(items)


def _items(ids: Sequence[str], pool: Pool, me: Person) -> list[Item]:
    return conversation_items.items_of(load_conversation(ui.config(), pool, one, me) for one in ids)


def _as_jsonl(ids: Sequence[str], pool: Pool, me: Person) -> str:
    return import_export.to_jsonl([load_conversation(ui.config(), pool, one, me) for one in ids])


def _row(summary: ConversationSummary) -> None:
    with st.container(horizontal=True, vertical_alignment="center", wrap=False, key=f"conversation_{summary.id}"):
        title = short(summary.title)
        st.checkbox(f"Select {title}", key=_key(summary.id), label_visibility="collapsed", width="content")
        with st.container(gap=None):
            links.chat_link(summary.id, summary.title, icon=None)
            st.caption(_INDENT + _facts(summary))
        own = conversation_menu.may_change(summary.author)
        options = [_RENAME, _REPLAY, _EXPORT, _DELETE] if own else [_REPLAY, _EXPORT]
        if summary.origin and summary.origin.kind in ("replay", "compare"):
            options.insert(options.index(_REPLAY) + 1, _COMPARE)
        action = st.menu_button(
            ":material/more_vert:", options, type="tertiary", key=f"conversations_menu_{summary.id}",
            format_func=lambda option: f":material/{_ICONS[option]}: {option}",
        )  # fmt: skip
    if action:
        _do(action, summary)


def _facts(summary: ConversationSummary) -> str:
    facts = [short(summary.ref, 60)] if summary.ref and summary.ref != import_checks.IMPORTED else []
    facts += [ui.counted(summary.turns, "turn"), _when(summary.when)]
    facts += [short(summary.user, 40)] if summary.user else []
    facts += [_ORIGINS[summary.origin.kind]] if summary.origin and summary.origin.kind in _ORIGINS else []
    # What waits for a moment only is not worth a word.
    stuck = summary.pending and history.sending_error(ui.config())
    facts += [":orange[:material/cloud_upload: waits for the store]"] if stuck else []
    return " · ".join(facts)


def _when(milliseconds: int) -> str:
    when = from_ms(milliseconds)
    recent = (datetime.now(UTC) - when).days < 7
    return ui.ago(when) if recent else f"{when:%Y-%m-%d}"


def _do(action: str, summary: ConversationSummary) -> None:
    if action == _RENAME:
        conversation_menu.rename(summary.id, summary.title)
    elif action == _DELETE:
        conversation_menu.delete([(summary.id, summary.title, summary.turns)])
    elif action == _COMPARE:
        if summary.origin and summary.origin.kind == "compare":
            st.switch_page("pages/compare_page.py", query_params={"c": summary.origin.conversation})
        st.switch_page("pages/conversations_page.py", query_params={"replay": summary.id})
    else:
        try:
            found = reads.wait_for(
                "Reading the conversation …", load_conversation, ui.config(), ui.servers(), summary.id, ui.person()
            )
        except Phi3Error as error:
            ui.show_error(str(error))
        else:
            (conversation_menu.export if action == _EXPORT else replay_dialog.show)(found)
