"""The reviews: what waits for this person first, then those they run, then the others."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.evaluation.reviews import review, waiting
from phi3core.evaluation.reviews.queue import Progress
from phi3core.evaluation.reviews.review import Review
from phi3core.timestamps import from_ms

from . import links
from .start import FORMS

_SHOWN = 20


def show(me: Person) -> None:
    """Draw them."""
    with ui.stop_on_error():
        found = reads.read("Reading the reviews …", review.search_reviews, ui.config(), max_age=2)
        mine = reads.read("Looking what waits for you …", waiting.read_waiting, ui.config(), me, max_age=2)
    waits = {one.id: progress for one, progress in mine.reviews}
    if mine.reviews:
        st.subheader("Waits for you", anchor=False)
        for one, progress in mine.reviews:
            _row(one, me, progress)
    others = [one for one in found if one.id not in waits]
    if others or not waits:
        st.subheader("Others" if waits else "Reviews", anchor=False)
    if not found:
        st.caption("None yet. Make one below: of an evaluation's answers, or of a prompt set.")
    for one in others[:_SHOWN]:
        _row(one, me, None)
    if len(others) > _SHOWN:
        st.caption(f"{len(others) - _SHOWN:,} older ones are listed by `phi3 review list`.")


def _row(one: Review, me: Person, progress: Progress | None) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"review_row_{one.id}"):
        with st.container():
            st.markdown(f"**{short(one.plan.question, 200)}** {_badge(one)}")
            st.caption(f"{_facts(one)}{_mine(progress)}")
        if progress is not None:
            links.button(
                "Go on" if progress.done else "Begin", one, f"review_judge_{one.id}", icon=":material/how_to_vote:",
                primary=True,
            )  # fmt: skip
        elif one.state == "open" and me.may("reviewer") and one.plan.asks(me):  # what waits there may not be read yet
            links.button("Judge", one, f"review_judge_{one.id}", icon=":material/how_to_vote:")
        if one.closed or one.is_run_by(me):
            links.button(
                "Result" if one.closed else "How it stands",
                one,
                f"review_result_{one.id}",
                "results",
                ":material/bar_chart:",
            )


def _badge(one: Review) -> str:
    if not one.intact:
        return ":red-badge[changed in the store]"
    return {"open": "", "over": ":orange-badge[past its deadline]", "closed": ":green-badge[closed]"}[one.state]


def _facts(one: Review) -> str:
    until = f" · until {from_ms(one.plan.deadline):%Y-%m-%d}" if one.plan.deadline and not one.closed else ""
    votes = ui.counted(one.plan.reviews, "vote")
    asked = f"{FORMS[one.plan.form]} · {ui.counted(one.items, 'item')}, {votes} each"
    return f"{asked} · {short(one.by)}, {ui.ago(from_ms(one.when))}{until}"


def _mine(progress: Progress | None) -> str:
    if progress is None:
        return ""
    return f" · **{progress.waiting:,} wait for you**, {progress.done:,} done"
