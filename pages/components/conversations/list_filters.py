"""The filters of the list of conversations: version, person, rating, date, origin."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from phi3core.chat.conversation_filter import BEGUN_HERE, ConversationFilter
from phi3core.chat.search import ConversationSummary

_RATINGS = {"Thumbs up": "up", "Thumbs down": "down", "Not rated": "none"}
_ORIGINS = {
    "Begun here": BEGUN_HERE,
    "Branched": "branch",
    "Replayed": "replay",
    "Compared": "compare",
    "Imported": "import",
}
_EMPTY = {"ref": None, "user": None, "rating": None, "origin": None, "dates": ()}


def show() -> ConversationFilter:
    """Draw them in a popover, and return what they ask for."""
    seen: dict[str, list[str]] = st.session_state.setdefault("conversations_seen", {"ref": [], "user": []})
    count = sum(bool(st.session_state.get(_key(name))) for name in _EMPTY)
    label = f"Filters · {count}" if count else "Filters"
    # Opened, it runs the page: the list below has told by then what there is to choose from.
    with st.popover(label, icon=":material/filter_list:", key="conversations_filters", on_change="rerun"):
        ref = st.selectbox(
            "Version", seen["ref"], index=None, key=_key("ref"), placeholder="Any", accept_new_options=True,
            help="That answered: a reference such as phi3/3, or a model's name for all its versions.",
        )  # fmt: skip
        user = st.selectbox(
            "Person", seen["user"], index=None, key=_key("user"), placeholder="Any", accept_new_options=True
        )
        rating = st.selectbox("Rating", list(_RATINGS), index=None, key=_key("rating"), placeholder="Any")
        dates = st.date_input("Date", value=[], key=_key("dates"), help="From the first day to the last.")
        origin = st.selectbox("Origin", list(_ORIGINS), index=None, key=_key("origin"), placeholder="Any")
        st.caption("One answer of the conversation meets all of them.")
        clear_button("conversations_clear")
    since, until = _span(dates if isinstance(dates, tuple) else (dates,) if dates else ())
    return ConversationFilter(
        (ref or "").strip(), (user or "").strip(), _RATINGS.get(rating or "", ""), since, until,
        _ORIGINS.get(origin or "", ""),
    )  # fmt: skip


def clear_button(key: str) -> None:
    """A button that shows everything again."""
    st.button("Clear the filters", icon=":material/filter_list_off:", key=key, on_click=_clear)


def remember(listed: Iterable[ConversationSummary]) -> None:
    """Offer the versions and people of these conversations as filters from now on."""
    seen: dict[str, list[str]] = st.session_state["conversations_seen"]
    for summary in listed:
        for name, value in (("ref", summary.ref), ("user", summary.user)):
            if value and value not in seen[name]:
                seen[name] = sorted([*seen[name], value])


def _clear() -> None:
    st.session_state.update({_key(name): empty for name, empty in _EMPTY.items()})


def _key(name: str) -> str:
    return f"conversations_filter_{name}"


def _span(dates: tuple[date, ...]) -> tuple[int, int]:
    """The beginning of the first day and the end of the last, in milliseconds since 1970; a day is the reader's."""
    if not dates:
        return 0, 0
    try:
        zone = ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):  # a browser may name one that this machine does not know
        zone = ZoneInfo("UTC")
    starts = [datetime.combine(day, time(), zone) for day in (dates[0], dates[-1] + timedelta(days=1))]
    since, until = (int(start.timestamp() * 1000) for start in starts)
    return since, until
