"""Records of what was done to the registry: a table of them, and all that one of them holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from pages.components.shared import ui
from pages.components.shared.escape import escape, in_table, short
from phi3core.promotion.policy import evidence
from phi3core.promotion.policy.request_status import FILES
from phi3core.promotion.record.model import Record

from . import checklist

STATUSES = {
    "done": "The change was made.",
    "open": "Under way at this moment, or its promoter died.",
    "failed": "It was refused, or somebody else won; the outcome says what happened.",
    "interrupted": "Its promoter died on the way; a later look repaired what it left.",
}
_COLORS = {"done": "green", "open": "blue", "failed": "red", "interrupted": "orange"}
_VISIBLE = 14  # rows before the table scrolls by itself
_COLUMNS = {
    "": st.column_config.TextColumn(width=105),
    "When": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width=130),
    "What": st.column_config.TextColumn(width=90),
    "Status": st.column_config.MultiselectColumn(options=list(_COLORS), color=list(_COLORS.values()), width=100),
    "Why": st.column_config.TextColumn(width=320),
}
_DOUBTS = {
    "edited": "Edited since it was written: its seal does not match.",
    "key unknown": "Sealed with a key that this app does not have: set PHI3_RECORD_KEY to have it verified.",
    "no seal": "It has no seal: it was written before there were any, or not by this app.",
}


def show(records: Sequence[Record], key: str, chosen: str = "", link: bool = False) -> str:
    """A table, newest first; the selected record stands below it in full. Returns that record's id, or "".

    key: another one lets the selection begin anew. chosen: the id to begin with. link: to the version's page.
    """
    ids = [record.id for record in records]
    start = [ids.index(chosen)] if chosen in ids else []
    event = st.dataframe(
        _table(records),
        hide_index=True,
        column_config=_COLUMNS,
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": start, "columns": [], "cells": []}},
        row_height=32,
        height=34 + 32 * min(len(records), _VISIBLE),
        key=f"{key}_{hash(tuple(ids))}",  # rows mean other records when the list changes
        alt="Records, newest first",
    )
    rows = [row for row in event["selection"]["rows"] if row < len(records)]
    if not rows:
        st.caption("Select a row to see all that its record holds.")
        return ""
    detail(records[rows[0]], link)
    return ids[rows[0]]


def _table(records: Sequence[Record]) -> pd.DataFrame:
    table = {
        "When": [record.started for record in records],
        "Version": [in_table(record.ref) for record in records],
        "What": [in_table(record.action) for record in records],
        "Change": [in_table(change(record)) for record in records],
        "Who": [in_table(record.user) for record in records],
        "Status": [[record.status] for record in records],
        "Why": [in_table(record.reason) for record in records],
    }
    if any(record.doubt for record in records):
        table = {"": [f"✗ {record.doubt}" if record.doubt else "" for record in records], **table}
    return pd.DataFrame(table)


def detail(record: Record, link: bool = False) -> None:
    """All that a record holds. link: whether to link to the version's page."""
    with st.container(border=True):
        title = f"**{short(record.ref)}** · {short(record.action)}"
        if moved := change(record):
            title += f" · {short(moved)}"
        st.markdown(f"{title} {badge(record)}")
        if record.doubt == "edited":
            ui.show_error(_DOUBTS[record.doubt])
        # Lines, not a table: a table cuts what is long where the screen is narrow.
        facts = [f":gray[{name}] {escape(value)}" for name, value in _facts(record).items() if value]
        st.markdown("  \n".join(facts))
        if source := checklist.link(evidence.source_of(record)):
            st.markdown(source)
        if lines := [check for check in record.checks if check.get("name") != FILES]:
            st.caption("The policy, as it was met then")
            checklist.show_recorded(lines)
        if link and record.version is not None and record.action != "delete":
            query = {"model": record.model, "version": str(record.version)}
            label = f"Open {short(record.ref)}"
            st.page_link("pages/registry_page.py", label=label, icon=":material/inventory_2:", query_params=query)


def _facts(record: Record) -> dict[str, str]:
    took = f" – {_time(record.ended, record.started)}" if record.ended else " – not closed"
    host = f"on {record.host.split('/')[0]}" if record.host else ""
    became = {"": "", "None": ", left in no stage"}.get(record.replaced_to, f", became {record.replaced_to}")
    return {
        "Who": " · ".join(part for part in (record.user, record.role, host) if part),
        "When": f"{record.started:%Y-%m-%d %H:%M:%S}{took} UTC",
        "From": record.old,
        "To": record.new,
        "Who left": f"{record.replaced}{became}" if record.replaced else "",
        "Why": record.reason or "no reason given",
        "Against the policy": record.override,
        "Outcome": record.outcome,
        "Request": record.request,
        "SHA-256 of the files": record.digest,
        "Files": next((str(check.get("says", "")) for check in record.checks if check.get("name") == FILES), ""),
        "Seal": _DOUBTS.get(record.doubt, "intact"),
        "Record": record.id,
    }


def _time(ended: datetime, started: datetime) -> str:
    return f"{ended:%H:%M:%S}" if ended.date() == started.date() else f"{ended:%Y-%m-%d %H:%M:%S}"


def change(record: Record) -> str:
    """From where to where, as plain text; empty where nothing moves."""
    if record.action == "set policy":
        return record.new.partition(" needs ")[0]
    if record.old and record.new and record.old != record.new:
        return f"{record.old} → {record.new}"
    if record.old and not record.new:
        return f"{record.old} →"
    return f"→ {record.new}" if record.new else ""


def badge(record: Record) -> str:
    """Markdown."""
    return f":{_COLORS.get(record.status, 'gray')}-badge[{record.status}]"
