"""The tab with what people said of a version: thumbs, votes, reviews, comments, conversations."""

from __future__ import annotations

import streamlit as st

from pages.components.promotions import checklist
from pages.components.shared import links, reads, ui
from pages.components.shared.escape import escape, short
from phi3core.clean_text import one_line
from phi3core.registry.models import Version
from phi3core.timestamps import from_ms
from phi3core.traces import feedback
from phi3core.traces.feedback import Reviews
from phi3core.traces.votes import Score

from . import verdicts

_FRESH = 20.0  # seconds
_TITLE = 48  # letters: a link is cut, not wrapped, on a phone


def show(version: Version, production: Version | None) -> None:
    with ui.show_errors():
        me = ui.person()
        asked = (ui.config(), version, True, me)
        found = reads.read("Reading the reviews …", feedback.read_reviews, *asked, max_age=_FRESH)
        _counts(found, production)
        if version.stage != "Production":
            _needs(version, "Production")
        verdicts_shown = verdicts.show(version)
        for comment in found.comments[:20]:
            icon = ":green[:material/thumb_up:]" if comment.up else ":red[:material/thumb_down:]"
            st.markdown(f"{icon} {escape(comment.text)} :gray[{short(comment.user)}]")
            links.chat_link(comment.conversation, "Open the conversation")
        if len(found.comments) > 20:
            st.caption(f"and {len(found.comments) - 20:,} more comments.")
        if found.latest_conversations:
            st.caption("Conversations, the newest first")
        for talk in found.latest_conversations:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                links.chat_link(talk.conversation, one_line(talk.title or talk.question, _TITLE))
                when = ui.ago(from_ms(talk.when))
                st.caption(f"{short(talk.user, 40)} · {when}" if talk.user else when, width="content")
        if found.conversations > len(found.latest_conversations):
            st.caption(f"and {found.conversations - len(found.latest_conversations):,} more.")
        if not found.given and not found.conversations and not verdicts_shown:
            st.caption("Nobody has talked to it or judged it yet. Thumbs and votes are given in conversations.")
        if st.button("Talk to it", icon=":material/chat:", key="version_talk"):
            st.switch_page("pages/chat_page.py", query_params={"ref": version.ref})


def _needs(version: Version, stage: str) -> None:
    """The policy's checklist, read when it is opened: it compares files and reads records."""
    box = st.expander(
        f"What {stage} needs", icon=":material/checklist:", type="compact", on_change="rerun",
        key=f"version_policy_{version.ref}",
    )  # fmt: skip
    if box.open:
        with box:
            checklist.show(checklist.read(version, stage), stage)


def _counts(found: Reviews, production: Version | None) -> None:
    with st.container(horizontal=True, gap="large"):
        st.metric("Conversations", f"{found.conversations:,}", width="content")
        st.metric("Thumbs up", f"{found.up:,}", width="content")
        st.metric("Thumbs down", f"{found.down:,}", width="content")
        st.metric(
            "Votes won", won(found.score), width="content", help="Of the votes between two answers that somebody won."
        )
        if production is not None and production.version != found.version.version:
            st.metric(f"Against {short(production.ref)}", won(found.against(production)), width="content")
    if found.people:
        st.caption(f"By {', '.join(short(person) for person in found.people[:10])}.")


def won(score: Score) -> str:
    """The votes that a version has won, never as a share alone: “100 %” of one vote is “1 of 1”."""
    return "–" if score.rate is None else f"{score.won:,} of {score.won + score.lost:,} · {score.rate * 100:.0f} %"
