"""The record with its filter: one page at a time from the store, and a file of all that the filter shows."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

import streamlit as st

from pages.components.shared import ui
from phi3core.promotion.record import search
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.search import Page

from . import record_list, record_reads
from .record_reads import Filter

ACTIONS = (
    "promote", "roll back", "set alias", "delete alias", "request", "approve", "reject", "withdraw", "set policy",
    "delete", "copy", "set tag", "delete tag", "describe", "trust", "distrust", "review", "evaluate",
    "repair", "found", "restore",
)  # fmt: skip
_ROWS = 50
_EXPORTED = 1000  # records that are read at once for a file
_KIND = {"csv": "text/csv", "json": "application/json"}


def show(model: str, chosen: str = "") -> str:
    """Draw it, and return the id of the record that is open, or "". chosen: the one to begin with. Raises Phi3Error."""
    asked = _filter(model)
    token, before = _place(asked)
    page = record_reads.page(asked, token, _ROWS)
    opened = ""
    if page.records:
        opened = record_list.show(page.records, f"record_table_{_entry()}", chosen, link=True)
    else:
        _empty(asked, bool(before))
    _foot(asked, page, before)
    return opened


def everything(asked: Filter) -> list[Record]:
    """All pages of what the filter shows. Raises Phi3Error."""
    found: list[Record] = []
    token: str | None = None
    while True:
        page = record_reads.search_page(ui.config(), asked, token, _EXPORTED)
        found += page.records
        if not (token := page.next):
            return found


def _filter(model: str) -> Filter:
    """The widgets of the filter; their keys are set by the page, from its address."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        return _fields(model)


def _fields(model: str) -> Filter:
    action = st.selectbox("What", ["", *ACTIONS], format_func=_all, key="promotions_action", width=130)
    state = st.selectbox("Status", ["", *record_list.STATUSES], format_func=_all, key="promotions_status", width=115)
    user = st.text_input("Who", key="promotions_user", placeholder="Everybody", width=130)
    # What it begins with stands in its key: Streamlit minds a range that is set from both sides.
    begin = st.session_state.get("promotions_days", ())
    days = st.date_input("Days, UTC", begin, key=f"record_days_{_entry()}", format="YYYY-MM-DD", width=205)
    st.session_state["promotions_days_shown"] = days
    words = st.text_input(
        "Text", key="promotions_text", placeholder="In reasons", icon=":material/search:", width=175
    )  # fmt: skip
    since, until = _range(days)
    return Filter(model, action=action, status=state, user=user.strip(), since=since, until=until, text=words.strip())


def _all(value: str) -> str:
    return value or "All"


def _entry() -> int:
    """How often the page was entered by a new address."""
    return int(st.session_state.get("promotions_entry", 0))


def _range(days: Any) -> tuple[datetime | None, datetime | None]:
    """From the start of the first day to the end of the last; a range that has only begun is its first day on."""
    if not days:
        return None, None
    first, *rest = days if isinstance(days, tuple) else (days,)
    since = _midnight(first)
    return since, _midnight(rest[0]) + timedelta(days=1) - timedelta(milliseconds=1) if rest else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _place(asked: Filter) -> tuple[str | None, list[str | None]]:
    """The token of the page that is shown, and those of the pages before it. Another filter begins anew."""
    if st.session_state.get("promotions_asked") != asked:
        st.session_state["promotions_asked"], st.session_state["promotions_tokens"] = asked, [None]
    tokens: list[str | None] = st.session_state["promotions_tokens"]
    return tokens[-1], tokens[:-1]


def _foot(asked: Filter, page: Page, before: list[str | None]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="record_foot"):
        if before or page.next:
            st.button(
                "Newer", icon=":material/chevron_left:", key="record_newer", disabled=not before, on_click=_newer
            )  # fmt: skip
            first = len(before) * _ROWS + 1
            st.caption(f"{first:,} – {first + len(page.records) - 1:,}", width="content")
            st.button(
                "Older", icon=":material/chevron_right:", icon_position="right", key="record_older",
                disabled=not page.next, on_click=_older, args=(page.next,),
            )  # fmt: skip
        if page.records:
            for form, kind in _KIND.items():
                st.download_button(
                    f"Export {form.upper()}", partial(_export, asked, form),
                    f"promotions.{form}", kind, key=f"record_{form}", icon=":material/download:", on_click="ignore",
                    type="tertiary", help="Everything that the filter shows, on all pages",
                )  # fmt: skip


def _export(asked: Filter, form: str) -> str:
    return search.export(everything(asked), form)


def _newer() -> None:
    st.session_state["promotions_tokens"].pop()


def _older(token: str) -> None:
    st.session_state["promotions_tokens"].append(token)


def _empty(asked: Filter, later: bool) -> None:
    if later:
        st.info("There are no older records.", icon=":material/history_edu:")
    elif asked in (Filter(), Filter(asked.model)):
        whose = "of this model " if asked.model else ""
        st.info(
            f"Nothing {whose}was promoted yet. Whoever moves a version, changes an alias or decides on a request "
            "leaves a record here: who, when, what, why, and what the policy said.",
            icon=":material/history_edu:",
        )
    else:
        st.info("No record matches this filter.", icon=":material/search_off:")
